"""Prove that a run changed nothing but its target column, from what it logged and from the rows as they are now.

Three things are looked at. Each batch compared every other column before and after its own statement; the counts of
log and undo must agree; and the fingerprints stored after the write are computed again over the rows as they are now,
which tells what the application has changed since. That last part proves nothing against the run: a row may change
at any time after it was written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from psycopg import RawCursor, sql

from scripts import undo_rows
from scripts.connection import Session, transaction
from scripts.errors import UserError
from scripts.fingerprint import Column, fingerprint_columns, fingerprint_sql
from scripts.ledger import Ledger, Run
from scripts.undo_rows import Batch, Name


@dataclass
class Rows:
    """The run's rows as they are now. Ids are text."""

    entries: int = 0
    same: int = 0
    changed: list[str] = field(default_factory=list)  # another column was changed since
    missing: list[str] = field(default_factory=list)  # deleted since
    unknown: int = 0  # no fingerprint to compare with
    target_as_written: int = 0
    target_restored: int = 0
    target_changed: int = 0

    def add(self, other: Rows) -> None:
        """Sum up."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass
class Proof:
    """What `verify` found. `problems` says in words what does not hold; the proof fails when there are any."""

    run: Run
    batches: int = 0
    logged: int = 0  # rows that the log says were written
    undo_entries: int = 0  # 0 for a rollback, which needs none
    other_columns_changed: int = 0  # rows in which a batch saw another column differ before and after
    columns: list[str] = field(default_factory=list)
    excepted: dict[str, str] = field(default_factory=dict)  # column -> what keeps it
    rows: Rows = field(default_factory=Rows)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether the run changed nothing but its target, as far as it can be shown."""
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """For --json and --report; ids, no values."""
        return {
            "run_id": self.run.run_id,
            "kind": self.run.kind,
            "status": self.run.status,
            "holds": self.holds,
            "problems": self.problems,
            "notes": self.notes,
            "batches": self.batches,
            "logged": self.logged,
            "undo_entries": self.undo_entries,
            "other_columns_changed": self.other_columns_changed,
            "columns": self.columns,
            "excepted": self.excepted,
            "rows": vars(self.rows),
        }


def verify(session: Session, ledger: Ledger, run: Run, progress: Callable[[int], None] = lambda _: None) -> Proof:
    """Check a run (apply or rollback); reads only. `progress` is called with the rows of each batch.

    For a rollback the rows are those of the run that it undid. Raises UserError for a dry run, and when the table
    is gone.
    """
    if run.kind == "dry_run":
        raise UserError(f"Run {run.run_id} was a dry run: it wrote nothing, so there is nothing to verify.")
    proof = Proof(run)
    _check_log(session, ledger, proof)
    source = run
    if run.kind == "rollback":
        source = ledger.find_run(session, str(run.rolls_back))
    batches, without_undo = undo_rows.batches(session, ledger, source)
    if run.kind == "apply":
        _check_counts(session, ledger, proof, batches, without_undo)
    _check_rows(session, ledger, proof, source, batches, progress)
    return proof


# ---------- the batches' own comparison


def _check_log(session: Session, ledger: Ledger, proof: Proof) -> None:
    rows = session.execute(
        sql.SQL(
            """
            select
                l.batch_number,
                l.records_succeeded,
                (l.details ->> 'other_columns_changed')::bigint,
                l.completed_at is null
            from {} as l
            where l.run_id = %s and not coalesce(l.dry_run, false)
            order by l.batch_number
            """
        ).format(ledger.log_table),
        [proof.run.run_id],
    ).fetchall()
    unproven, opened = [], []
    for number, succeeded, changed, is_open in rows:
        if is_open:
            opened.append(number)
        if not succeeded:
            continue
        proof.batches += 1
        proof.logged += succeeded
        if changed is None:
            unproven.append(number)
        else:
            proof.other_columns_changed += changed
    if proof.other_columns_changed:
        proof.problems.append(
            f"In {proof.other_columns_changed:,} rows another column differed before and after the write: a trigger "
            "of the table changes a column that was not recognised as kept by triggers."
        )
    if unproven:
        proof.problems.append(f"{_listed('Batch', unproven)} recorded no comparison of the other columns.")
    if opened:
        proof.problems.append(f"{_listed('Batch', opened)} was never closed in migration_log.")
    done = (proof.run.summary or {}).get("succeeded")
    if isinstance(done, int) and done != proof.logged:
        proof.problems.append(f"The run's summary counts {done:,} written rows, its log {proof.logged:,}.")
    if proof.run.status == "crashed":
        proof.notes.append(
            "The run crashed. What is logged was written, batch by batch; run the command again for the rest."
        )


# ---------- log against undo


def _check_counts(
    session: Session, ledger: Ledger, proof: Proof, batches: list[Batch], without_undo: list[int]
) -> None:
    proof.undo_entries = sum(batch.rows for batch in batches)
    if without_undo:
        proof.problems.append(f"{_listed('Batch', without_undo)} has no undo row, so it cannot be rolled back.")
    unlogged = [batch for batch in batches if batch.number is None]
    if unlogged:
        proof.problems.append(f"{len(unlogged)} undo rows have no row in migration_log (somebody deleted it).")
    uneven = session.execute(
        sql.SQL(
            """
            select l.batch_number
            from {undo} as u
            inner join {log} as l on l.id = u.log_id
            where
                u.run_id = %s
                and (
                    l.records_succeeded is distinct from coalesce(cardinality(u.row_ids), cardinality(u.row_keys))
                    or l.records_succeeded is distinct from cardinality(u.previous)
                    or l.records_succeeded is distinct from cardinality(u.written)
                    or l.records_succeeded is distinct from coalesce(cardinality(u.fingerprints), l.records_succeeded)
                )
            order by l.batch_number
            """
        ).format(undo=ledger.undo_table, log=ledger.log_table),
        [proof.run.run_id],
    ).fetchall()
    if uneven:
        proof.problems.append(f"{_listed('Batch', [row[0] for row in uneven])} counts other rows in log and undo.")
    elif not without_undo and not unlogged and proof.undo_entries != proof.logged:
        proof.problems.append(f"The log counts {proof.logged:,} rows, the undo {proof.undo_entries:,}.")
    twice = session.execute(
        sql.SQL(
            """
            select count(*) - count(distinct e.key)
            from {} as u
            cross join lateral unnest(coalesce(u.row_ids::text[], u.row_keys)) as e (key)
            where u.run_id = %s
            """
        ).format(ledger.undo_table),
        [proof.run.run_id],
    ).fetchone()
    if twice and twice[0]:
        proof.notes.append(
            f"{twice[0]:,} rows were written twice: the application emptied them again while the run was going on."
        )


# ---------- the rows as they are now

_LOOK = """
with undo as (
    select u.{keys} as keys, u.previous, u.written, u.fingerprints
    from {undo} as u
    where u.log_id = $1::uuid
),

entries as (
    select e.key, e.previous, e.written, e.fingerprint
    from undo as u
    cross join lateral unnest(u.keys, u.previous, u.written, u.fingerprints)
        as e (key, previous, written, fingerprint)
),

seen as (
    select
        e.key,
        b.ctid is not null as found,
        e.fingerprint is not null and {comparable} as known,
        e.fingerprint = {now} as same,
        case
            when pg_catalog.jsonb_hash_extended(b.{column}, 0) = e.written then 'written'
            when b.{column} is not distinct from e.previous then 'restored'
            else 'changed'
        end as target
    from entries as e
    left join {table} as b on b.{key} = e.key{cast}
)

select
    count(*),
    count(*) filter (where s.found and s.known and s.same),
    array_agg(s.key::text) filter (where s.found and s.known and not s.same),
    array_agg(s.key::text) filter (where not s.found),
    count(*) filter (where s.found and not s.known),
    count(*) filter (where s.found and s.target = 'written'),
    count(*) filter (where s.found and s.target = 'restored'),
    count(*) filter (where s.found and s.target = 'changed')
from seen as s
"""


def _check_rows(
    session: Session,
    ledger: Ledger,
    proof: Proof,
    source: Run,
    batches: list[Batch],
    progress: Callable[[int], None],
) -> None:
    target = source.target
    if not {"schema", "table", "column", "key"} <= target.keys():
        raise UserError(
            f"Run {source.run_id} does not say what it wrote; its row in migration_runs was changed by hand."
        )
    columns = [Column.from_json(value) for value in source.settings.get("fingerprint") or []]
    proof.columns = [column.name for column in columns]
    proof.excepted = dict(source.settings.get("excepted") or {})
    undo_rows.check_table(session, target["schema"], target["table"], target["column"], target["key"])
    altered = _altered(session, target, columns)
    if altered:
        proof.notes.append(
            f"The table was altered since ({altered}), so the stored fingerprints cannot be computed again."
        )
    elif not columns and batches:
        proof.problems.append("The run stored no fingerprints of its rows.")
    usable = columns if not altered else []
    for batch in batches:
        with transaction(session):
            undo_rows.prefer_index(session, undo_rows.tables(session, batch)[0], target["key"])
            for table in undo_rows.tables(session, batch):
                found = _look(session, ledger, target, batch, table, usable)
                if not found.missing:
                    break
        proof.rows.add(found)
        progress(batch.rows)


def _look(
    session: Session, ledger: Ledger, target: dict[str, Any], batch: Batch, table: Name, columns: list[Column]
) -> Rows:
    statement = sql.SQL(_LOOK).format(
        undo=ledger.undo_table,
        keys=sql.Identifier("row_ids" if batch.uuid_keys else "row_keys"),
        comparable=sql.SQL("true" if columns else "false"),
        now=fingerprint_sql(columns, "b"),
        table=sql.Identifier(*table),
        column=sql.Identifier(target["column"]),
        key=sql.Identifier(target["key"]),
        cast=undo_rows.key_cast(session, table, target["key"], batch),
    )
    row = RawCursor(session).execute(statement, [batch.log_id]).fetchone()
    assert row is not None
    entries, same, changed, missing, unknown, written, restored, other = row
    return Rows(entries, same, changed or [], missing or [], unknown, written, restored, other)


def _altered(session: Session, target: dict[str, Any], columns: list[Column]) -> str:
    """Which columns of the run's fingerprints are gone or have another type, in words; empty when none."""
    now = {
        column.name: column
        for column in fingerprint_columns(session, target["schema"], target["table"], target["column"])
    }
    gone = [column.name for column in columns if column.name not in now]
    other = [column.name for column in columns if column.name in now and now[column.name].type != column.type]
    parts = []
    if gone:
        parts.append(f"no longer there: {', '.join(gone)}")
    if other:
        parts.append(f"of another type: {', '.join(other)}")
    return "; ".join(parts)


def _listed(word: str, numbers: list[int]) -> str:
    shown = ", ".join(str(number) for number in numbers[:10])
    more = f" and {len(numbers) - 10} more" if len(numbers) > 10 else ""
    return f"{word} {shown}{more}"
