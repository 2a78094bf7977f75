"""The rows of `migration_undo` and where in the table their rows are: what rollback and verify have in common."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from psycopg import sql

from scripts.connection import Session
from scripts.errors import UserError
from scripts.ledger import Ledger, Run

Name = tuple[str, str]  # schema and table


@dataclass(frozen=True)
class Batch:
    """An undo row, without its arrays. `number` is the batch's number in the run's log (None: its log row is gone)."""

    log_id: UUID
    number: int | None
    schema: str
    table: str
    leaf: int | None
    rows: int
    uuid_keys: bool


def batches(session: Session, ledger: Ledger, run: Run, number: int | None = None) -> tuple[list[Batch], list[int]]:
    """The batches of a run by its undo rows, the last first, and the numbers of logged ones that have none."""
    rows = session.execute(
        sql.SQL(
            """
            select
                u.log_id, l.batch_number, u.source_schema, u.source_table, u.leaf::bigint,
                coalesce(cardinality(u.row_ids), cardinality(u.row_keys), 0), u.row_ids is not null
            from {undo} as u
            left join {log} as l on l.id = u.log_id
            where u.run_id = %(run)s and (%(number)s::integer is null or l.batch_number = %(number)s)
            order by l.batch_number desc nulls last, u.log_id
            """
        ).format(undo=ledger.undo_table, log=ledger.log_table),
        {"run": run.run_id, "number": number},
    ).fetchall()
    without = session.execute(
        sql.SQL(
            """
            select l.batch_number
            from {log} as l
            where
                l.run_id = %(run)s and l.records_succeeded > 0
                and (%(number)s::integer is null or l.batch_number = %(number)s)
                and not exists (select 1 from {undo} as u where u.log_id = l.id)
            order by l.batch_number
            """
        ).format(undo=ledger.undo_table, log=ledger.log_table),
        {"run": run.run_id, "number": number},
    ).fetchall()
    return [Batch(*row) for row in rows], [row[0] for row in without]


def check_table(session: Session, schema: str, table: str, column: str, key: str) -> None:
    """Raise UserError when the table of a run, or a column that is needed there, is gone."""
    found = session.execute(
        """
        select a.attname::text
        from pg_catalog.pg_attribute as a
        where a.attrelid = pg_catalog.to_regclass(%s) and a.attnum > 0 and not a.attisdropped
        """,
        [sql.Identifier(schema, table).as_string(session)],
    ).fetchall()
    if not found:
        raise UserError(f"The table {schema}.{table} that the run wrote to is gone (or was renamed).")
    missing = {column, key} - {row[0] for row in found}
    if missing:
        raise UserError(
            f"{schema}.{table} has no column {', '.join(sorted(missing))} any more, so nothing can be restored there."
        )


def tables(session: Session, batch: Batch) -> list[Name]:
    """Where to look for a batch's rows: its partition, as long as it is one, then the whole table."""
    root = sql.Identifier(batch.schema, batch.table).as_string(session)
    row = session.execute(
        """
        select n.nspname::text, c.relname::text
        from pg_catalog.pg_class as c
        inner join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
        where
            c.oid = %s::bigint::oid
            and c.oid <> pg_catalog.to_regclass(%s)
            and exists (
                select 1
                from pg_catalog.pg_partition_ancestors(c.oid::regclass) as p (relid)
                where p.relid = pg_catalog.to_regclass(%s)
            )
        """,
        [batch.leaf, root, root],
    ).fetchone()
    whole = (batch.schema, batch.table)
    return [(row[0], row[1]), whole] if row else [whole]


def prefer_index(session: Session, table: Name, key: str) -> None:
    """Make the open transaction find rows by the key's index; without one the planner may choose."""
    found = session.execute(
        """
        select 1
        from pg_catalog.pg_index as i
        inner join pg_catalog.pg_attribute as a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
        where i.indrelid = pg_catalog.to_regclass(%s) and i.indisvalid and i.indpred is null and a.attname = %s
        """,
        [sql.Identifier(*table).as_string(session), key],
    ).fetchone()
    if found:
        session.execute("set local enable_seqscan = off")
        session.execute("set local enable_mergejoin = off")


def key_cast(session: Session, table: Name, key: str, batch: Batch) -> sql.SQL:
    """What makes an undo entry's key comparable with the column: keys that are no uuid are kept as text."""
    row = session.execute(
        """
        select pg_catalog.format_type(a.atttypid, a.atttypmod)
        from pg_catalog.pg_attribute as a
        where a.attrelid = pg_catalog.to_regclass(%s) and a.attname = %s
        """,
        [sql.Identifier(*table).as_string(session), key],
    ).fetchone()
    # The index wants the column's own type.
    return sql.SQL("" if batch.uuid_keys or row is None else f"::{row[0]}")
