"""Copies of campaigns and events in the tool's own schema, closed to everybody else from their first moment."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import IsolationLevel, sql

from scripts.connection import Session, transaction
from scripts.errors import UserError
from scripts.preflight import free_bytes, size

EVENT_DAYS = 30
#: What a copy is named after, and the dbt var with the source table's name.
KINDS = ("campaigns", "events")


@dataclass(frozen=True)
class Backup:
    """A backup table. `rows` and `made_at` are None when the table was not made by this tool."""

    name: str
    kind: str
    rows: int | None
    left_out: int | None  # rows of the source that are older than the window, or have no date
    bytes: int
    made_at: datetime | None

    def as_json(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self)


def create(
    session: Session,
    *,
    schema: str,
    source_schema: str,
    tables: dict[str, str],
    every_event: bool = False,
    notice: Callable[[str], None] = lambda _: None,
) -> list[Backup]:
    """Copy campaigns and events into `<schema>.<kind>_backup_<YYYYMMDD>`, in one transaction and one snapshot.

    `tables` gives the source table of each of KINDS. Events are those of the last 30 days unless `every_event`.
    The schema must be there (`Ledger.ensure` makes it). Raises UserError when a backup of today (UTC) is there, when
    a source table is missing, when the disk is known to be too small, or when the counts differ.
    """
    sources = {kind: (source_schema, tables[kind]) for kind in KINDS}
    before = session.isolation_level
    session.isolation_level = IsolationLevel.REPEATABLE_READ  # of transactions that begin from now on
    try:
        with transaction(session):
            day = _one(session, "select to_char(now() at time zone 'UTC', 'YYYYMMDD')")
            names = {kind: f"{kind}_backup_{day}" for kind in KINDS}
            _refuse_to_overwrite(session, schema, list(names.values()))
            for kind, source in sources.items():
                _check_source(session, kind, source, needs_date=kind == "events" and not every_event)
            _check_disk(session, list(sources.values()), notice)
            for kind, source in sources.items():
                window = None if kind == "campaigns" or every_event else EVENT_DAYS
                _copy(session, sql.Identifier(schema, names[kind]), sql.Identifier(*source), window)
    except psycopg.errors.DuplicateTable:
        raise UserError("Another backup was made in this moment. `migrate backup --list` shows it.") from None
    finally:
        session.isolation_level = before
    made = {backup.name: backup for backup in existing(session, schema)}
    return [made[name] for name in names.values()]


def existing(session: Session, schema: str) -> list[Backup]:
    """The backup tables that are there, the newest first."""
    rows = session.execute(
        r"""
        select
            c.relname::text,
            split_part(c.relname, '_backup_', 1),
            pg_catalog.pg_total_relation_size(c.oid),
            pg_catalog.obj_description(c.oid, 'pg_class')
        from pg_catalog.pg_class as c
        inner join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
        where n.nspname = %s and c.relkind = 'r' and c.relname ~ '^(campaigns|events)_backup_[0-9]{8}$'
        order by right(c.relname, 8) desc, c.relname
        """,
        [schema],
    ).fetchall()
    found = []
    for name, kind, total, comment in rows:
        facts = _facts(comment)
        made_at = facts.get("made_at")
        found.append(
            Backup(
                name=name,
                kind=kind,
                rows=facts.get("rows"),
                left_out=facts.get("left_out"),
                bytes=total,
                made_at=datetime.fromisoformat(made_at) if isinstance(made_at, str) else None,
            )
        )
    return found


def _facts(comment: str | None) -> dict[str, Any]:
    try:
        facts = json.loads(comment or "")
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def _refuse_to_overwrite(session: Session, schema: str, names: Sequence[str]) -> None:
    there = session.execute(
        """
        select c.relname::text
        from pg_catalog.pg_class as c
        inner join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
        where n.nspname = %s and c.relname = any(%s)
        order by c.relname
        """,
        [schema, list(names)],
    ).fetchall()
    if there:
        listed = ", ".join(f"{schema}.{row[0]}" for row in there)
        raise UserError(
            f"There is a backup of today (UTC) already: {listed}. It is never overwritten. "
            f"If you do not need it, drop it (`drop table {listed};`) or rename it, then run the command again."
        )


def _check_source(session: Session, kind: str, source: tuple[str, str], *, needs_date: bool) -> None:
    columns = {
        row[0]
        for row in session.execute(
            """
            select a.attname::text
            from pg_catalog.pg_attribute as a
            where a.attrelid = pg_catalog.to_regclass(%s) and a.attnum > 0 and not a.attisdropped
            """,
            [sql.Identifier(*source).as_string(session)],
        ).fetchall()
    }
    if not columns:
        raise UserError(
            f"There is no table {'.'.join(source)}. Set the dbt vars source_schema and {kind}_table to where the "
            "product keeps it, or connect to the right database."
        )
    if needs_date and "created_at" not in columns:
        raise UserError(f"{'.'.join(source)} has no column created_at to tell the last days by: use --all.")


def _check_disk(session: Session, sources: Sequence[tuple[str, str]], notice: Callable[[str], None]) -> None:
    """A copy takes at most what the table itself takes, and the same again in the write-ahead log."""
    needed = 0
    for source in sources:
        needed += _one(
            session,
            """
            select coalesce(sum(pg_catalog.pg_table_size(p.relid)), 0)::bigint
            from (
                select pg_catalog.to_regclass(%(name)s) as relid
                union
                select t.relid from pg_catalog.pg_partition_tree(pg_catalog.to_regclass(%(name)s)) as t
            ) as p
            """,
            {"name": sql.Identifier(*source).as_string(session)},
        )
    free = free_bytes(session)
    if free is None:
        notice(f"The copies may take up to {size(needed)}; make sure that the server has twice this free.")
    elif free < 2 * needed:
        raise UserError(
            f"The copies may take up to {size(needed)} and as much write-ahead log, but only {size(free)} are free on "
            "the server's disk. Make room first."
        )


def _copy(session: Session, name: sql.Identifier, source: sql.Identifier, days: int | None) -> None:
    """Create the copy, close it, and compare the counts, all in the open transaction's snapshot."""
    condition: sql.Composable = sql.SQL("true")
    if days is not None:
        condition = sql.SQL("s.created_at >= now() - {}::interval").format(f"{days} days")
    session.execute(sql.SQL("create table {} as select s.* from {} as s where {}").format(name, source, condition))
    session.execute(sql.SQL("alter table {} enable row level security").format(name))
    for role in ("public", "anon", "authenticated"):
        known = role == "public" or _one(session, "select exists (select 1 from pg_roles where rolname = %s)", [role])
        if known:
            grantee: sql.Composable = sql.SQL("public") if role == "public" else sql.Identifier(role)
            session.execute(sql.SQL("revoke all on table {} from {}").format(name, grantee))
    counts = session.execute(
        sql.SQL(
            """
            select
                (select count(*) from {} as s where {}),
                (select count(*) from {} as s),
                (select count(*) from {} as c)
            """
        ).format(source, condition, source, name)
    ).fetchone()
    assert counts is not None
    expected, total, copied = counts
    if expected != copied:
        raise UserError(
            f"The copy {name.as_string(session)} holds {copied:,} rows instead of {expected:,}; nothing was kept. "
            "Does the role see every row of the table?",
            exit_code=1,
        )
    # When the snapshot was taken, by the clock that the runs go by.
    made_at = _one(session, "select now()")
    facts = {"rows": copied, "left_out": total - copied, "made_at": made_at.isoformat(timespec="seconds")}
    session.execute(sql.SQL("comment on table {} is {}").format(name, sql.Literal(json.dumps(facts))))


def _one(session: Session, query: Any, parameters: Any = None) -> Any:
    row = session.execute(query, parameters).fetchone()
    return row[0] if row else None
