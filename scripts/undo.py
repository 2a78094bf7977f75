"""Undo a run: put back exactly what was there before, in exactly those rows that still hold what the run wrote.

A batch of the run is a batch of the rollback: one statement finds its rows by key, compares the hash of the current
value with the hash of what was written, and restores the previous value from the undo row. Values never pass through
Python, where SQL NULL and JSON null would become the same. A row that was changed since, or that is gone, is left
alone and listed. Interrupted anywhere, a second rollback of the same run finds what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg import RawCursor, sql
from psycopg.types.numeric import Int8

from scripts import automatic_sql, faults, throttles, undo_rows
from scripts.connection import Session, explain, transaction
from scripts.control import Gate
from scripts.errors import UserError
from scripts.faults import Fault
from scripts.fingerprint import Column, fingerprint_columns, fingerprint_sql, kept_by_triggers
from scripts.interrupts import StopRequest
from scripts.ledger import Ledger, Run
from scripts.pace import Pace
from scripts.patience import ALIVE, PatientSession, brief_lock_timeout
from scripts.run_lock import for_target
from scripts.settings import Database
from scripts.undo_rows import Batch, Name, key_cast

# A row that somebody changes in the very moment is looked at again this often.
_TRIES = 5
_KEPT = "a trigger of the table does not let the previous value in"


@dataclass
class Outcome:
    """What became, or would become, of a run's rows. Ids are text; failures are `{"id": ..., "error": ...}`."""

    entries: int = 0
    restored: int = 0
    already: int = 0
    changed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)  # another column differs before and after
    batches: int = 0

    @property
    def told(self) -> bool:
        """Whether there is something to log: not when every row was restored before."""
        return bool(self.restored or self.changed or self.missing or self.failed)

    def add(self, other: Outcome) -> None:
        """Sum up."""
        self.entries += other.entries
        self.restored += other.restored
        self.already += other.already
        self.changed += other.changed
        self.missing += other.missing
        self.failed += other.failed
        self.differing += other.differing
        self.batches += other.batches

    def as_json(self) -> dict[str, Any]:
        """Numbers only: what goes into `migration_runs.summary`."""
        return {
            "entries": self.entries,
            "restored": self.restored,
            "already": self.already,
            "changed": len(self.changed),
            "missing": len(self.missing),
            "failed": len(self.failed),
            "fingerprint_mismatches": len(self.differing),
            "batches": self.batches,
        }


@dataclass(frozen=True)
class Plan:
    """Everything that a rollback of one run needs to know before it starts."""

    run: Run
    column: str
    key: str
    batches: list[Batch]
    without_undo: list[int]
    only: int | None = None  # the one batch that was asked for

    @property
    def entries(self) -> int:
        """Rows that the run wrote, by its undo rows."""
        return sum(batch.rows for batch in self.batches)


def plan(session: Session, ledger: Ledger, run: Run, batch: int | None = None) -> Plan:
    """Check that a run can be rolled back, and list its batches, the last first.

    Raises UserError with the reason when it cannot: a dry run, a rollback, a table or column that is gone,
    a batch that is not there, or rows that a later run wrote again.
    """
    name = str(run.run_id)
    if run.kind == "dry_run":
        raise UserError(f"Run {name} was a dry run: it wrote nothing, so there is nothing to roll back.")
    if run.kind == "rollback":
        raise UserError(
            f"Run {name} is itself a rollback (of {run.rolls_back}). To bring the values back, run "
            f"`migrate {run.command} --apply`: the rows are pending again, and the models make the same values from "
            "the same rows."
        )
    target = run.target
    column, key = target.get("column"), target.get("key")
    if not column or not key:
        raise UserError(
            f"Run {name} does not say which column it wrote; its row in migration_runs was changed by hand."
        )
    batches, without_undo = undo_rows.batches(session, ledger, run, batch)
    if batch is not None and not batches and batch not in without_undo:
        raise UserError(
            f"Run {name} wrote nothing in a batch {batch}. `migrate log --run {name[:8]}` lists its batches."
        )
    for schema, table in {(one.schema, one.table) for one in batches}:
        undo_rows.check_table(session, schema, table, column, key)
    if batch is None:
        _refuse_second_time(session, ledger, run)
    return Plan(run, column, key, batches, without_undo, batch)


def preview(
    session: Session, ledger: Ledger, planned: Plan, progress: Callable[[Outcome], None] = lambda _: None
) -> Outcome:
    """What `rollback` would do, without doing it: `restored` counts the rows that it would restore.

    Nothing is written anywhere. `progress` is called with each batch.
    """
    total = Outcome()
    for batch in planned.batches:
        with transaction(session):
            tables = undo_rows.tables(session, batch)
            undo_rows.prefer_index(session, tables[0], planned.key)
            for table in tables:
                found = _execute(
                    session, _Statements(session, ledger, planned, batch, table).look(), batch, 1, batch.rows
                )
                if not found.missing:
                    break
        one = Outcome(
            entries=batch.rows,
            restored=len(found.holds),
            already=found.already,
            changed=found.changed,
            missing=found.missing,
            batches=1,
        )
        total.add(one)
        progress(one)
    return total


def rollback(
    database: Database,
    ledger: Ledger,
    planned: Plan,
    stop: StopRequest,
    *,
    performed_by: UUID | None = None,
    progress: Callable[[Outcome], None] = lambda _: None,
    notice: Callable[[str], None] = lambda _: None,
    waiting: Callable[[str | None], None] = lambda _: None,
    pace: Pace = Pace(),  # noqa: B008  (it is frozen)
) -> tuple[UUID, str, Outcome]:
    """Roll the run back; returns the rollback's own run id, how it ended ("done", "failed",
    "interrupted" or "cancelled"), and sums.

    Holds the lock of the run's target and looks at `stop` before each batch; of `pace` it keeps the limits of lag and
    WAL. Raises RunInProgress when a run of this
    target is active, UserError (exit code 1) when the database refuses for a reason that no single row causes.
    """
    target = planned.run.target
    lock = for_target(database, target["schema"], target["table"], target["column"])
    patient = PatientSession(database, lock, stop, notice, _prepare, "migrate rollback")
    try:
        return _Rollback(
            database, ledger, planned, performed_by, patient, stop, progress, waiting, pace or Pace()
        ).run()
    finally:
        patient.close()


# ---------- the plan


def _refuse_second_time(session: Session, ledger: Ledger, run: Run) -> None:
    """After a complete rollback, rows that hold the run's values again were written by a later run."""
    later = session.execute(
        sql.SQL(
            """
            with runs as (
                -- An older tool's table lacks the number until the next run upgrades it.
                select r.*, coalesce((to_jsonb(r) ->> 'number')::bigint, 0) as place from {runs} as r
            )

            select b.run_id, a.run_id
            from runs as b
            inner join runs as a on (a.place, a.started_at) > (b.place, b.started_at)
            where
                b.kind = 'rollback' and b.rolls_back = %(run)s and b.status = 'done'
                and not coalesce((b.settings ->> 'one_batch')::boolean, false)
                and a.kind = 'apply'
                and (a.settings -> 'target') - 'model' - 'key' = (b.settings -> 'target') - 'model' - 'key'
            order by a.place desc, a.started_at desc
            limit 1
            """
        ).format(runs=ledger.runs_table),
        {"run": run.run_id},
    ).fetchone()
    if later is not None:
        raise UserError(
            f"Run {run.run_id} was rolled back already (by {later[0]}), and run {later[1]} has written to the same "
            f"column since. Roll that one back instead: `migrate rollback {str(later[1])[:8]}`."
        )


# ---------- one batch

# $1 id of the undo row, $2 and $3 the places in its arrays. b is the row as it was, t the same version of it (the same
# place): a row that somebody changes in this moment is not there any more, stays as it is and is looked at again.
_RESTORED = """restored as (
    update {table} as t
    set {column} = e.previous
    from entries as e
    inner join {table} as b on b.{key} = e.key{cast}
    where
        t.ctid = b.ctid
        and t.tableoid = b.tableoid
        and t.{key} = b.{key}
        and pg_catalog.jsonb_hash_extended(b.{column}, 0) = e.written
    returning
        e.place,
        e.key,
        t.{column} is not distinct from e.previous as exact,
        {before} is distinct from {after} as differs
)"""
_NOT_RESTORED = """restored as (
    select e.place, e.key, true as exact, false as differs
    from entries as e
    where false
)"""
_STATEMENT = """
with undo as (
    select u.{keys} as keys, u.previous, u.written
    from {undo} as u
    where u.log_id = $1::uuid
),

entries as (
    select e.key, e.previous, e.written, e.place
    from undo as u
    cross join lateral unnest(u.keys, u.previous, u.written) with ordinality as e (key, previous, written, place)
    where e.place between $2::bigint and $3::bigint
),

{restored},

rest as (
    select
        e.key,
        e.place,
        case
            when b.ctid is null then 'missing'
            when pg_catalog.jsonb_hash_extended(b.{column}, 0) = e.written then 'holds'
            when b.{column} is not distinct from e.previous then 'already'
            else 'changed'
        end as what
    from entries as e
    left join {table} as b on b.{key} = e.key{cast}
    where not exists (select 1 from restored as r where r.place = e.place)
)

select
    (select count(*) from restored as r where r.exact),
    (select array_agg(r.key::text order by r.place) from restored as r where not r.exact),
    (select array_agg(r.key::text) from restored as r where r.differs),
    (select count(*) from rest as r where r.what = 'already'),
    (select array_agg(r.key::text order by r.place) from rest as r where r.what = 'changed'),
    (select array_agg(r.key::text order by r.place) from rest as r where r.what = 'missing'),
    (select array_agg(r.key::text order by r.place) from rest as r where r.what = 'holds')
"""


class _Statements:
    """The statements that look at, or restore, the rows of one batch in one table."""

    def __init__(self, session: Session, ledger: Ledger, planned: Plan, batch: Batch, table: Name) -> None:
        self._ledger = ledger
        self._planned = planned
        self._batch = batch
        self._table = sql.Identifier(*table)
        self._cast = key_cast(session, table, planned.key, batch)

    def look(self) -> sql.Composed:
        """Writes nothing: rows that would be restored are the ones that still hold the run's value."""
        return self._statement(sql.SQL(_NOT_RESTORED))

    def restore(self, columns: Sequence[Column]) -> sql.Composed:
        """Restores, and says whether another column differs before and after."""
        return self._statement(
            sql.SQL(_RESTORED).format(
                **self._names(), before=fingerprint_sql(columns, "b"), after=fingerprint_sql(columns, "t")
            )
        )

    def _statement(self, restored: sql.Composable) -> sql.Composed:
        return sql.SQL(_STATEMENT).format(
            restored=restored,
            undo=self._ledger.undo_table,
            keys=sql.Identifier("row_ids" if self._batch.uuid_keys else "row_keys"),
            **self._names(),
        )

    def _names(self) -> dict[str, sql.Composable]:
        return {
            "table": self._table,
            "column": sql.Identifier(self._planned.column),
            "key": sql.Identifier(self._planned.key),
            "cast": self._cast,
        }


@dataclass(frozen=True)
class _Found:
    """What a statement returned."""

    restored: int
    kept: list[str]  # updated, but a trigger of the table put something else there
    differing: list[str]
    already: int
    changed: list[str]
    missing: list[str]
    holds: list[str]


def _execute(session: Session, statement: sql.Composed, batch: Batch, first: int, last: int) -> _Found:
    cursor = RawCursor(session)
    row = cursor.execute(
        statement, [batch.log_id, Int8(first), Int8(last)], prepare=not session.transaction_pooling
    ).fetchone()
    assert row is not None
    restored, kept, differing, already, changed, missing, holds = row
    return _Found(restored, kept or [], differing or [], already, changed or [], missing or [], holds or [])


def _prepare(session: Session) -> None:
    # Each batch waits for the disk: there is no second pass that would find what a crash of the server lost.
    session.settings = {
        **session.settings,
        "lock_timeout": brief_lock_timeout(session),
        **automatic_sql.OFF,  # what is restored must stay
        "max_parallel_workers_per_gather": "0",
        "idle_session_timeout": "0",
        "idle_in_transaction_session_timeout": "0",
        **ALIVE,
    }
    if not session.transaction_pooling:
        session.apply_settings(local=False)


class _Rollback:
    """One rollback, as a loop over the batches of the run that it undoes."""

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        planned: Plan,
        performed_by: UUID | None,
        patient: PatientSession,
        stop: StopRequest,
        progress: Callable[[Outcome], None],
        waiting: Callable[[str | None], None],
        pace: Pace,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._plan = planned
        self._performed_by = performed_by
        self._patient = patient
        self._stop = stop
        self._progress = progress
        self._run_id = uuid4()
        self._number = 0
        self._columns: dict[Name, list[Column]] = {}
        self._max_lag = pace.max_lag
        self._gate = Gate(ledger, self._run_id, stop, waiting, throttles.chosen(pace, [], list))

    def run(self) -> tuple[UUID, str, Outcome]:
        total = Outcome()
        status = "failed"
        undone = self._plan.run
        self._patient.do(
            lambda session: self._ledger.open_run(
                session,
                command=undone.command,
                migration_type=undone.migration_type,
                kind="rollback",
                target=undone.target,
                settings={
                    "one_batch": self._plan.only is not None,
                    "batch": self._plan.only,
                    "expected_rows": self._plan.entries,
                    "max_lag": self._max_lag,
                },
                rolls_back=undone.run_id,
                performed_by=self._performed_by,
                run_id=self._run_id,
                holder=self._patient.holder,
            )
        )
        self._patient.rejoin_with(lambda session: self._ledger.rejoin(session, self._run_id, self._patient.holder))
        try:
            for batch in self._batches():
                self._gate.let_pass(self._patient)
                if self._stop.requested:
                    status = "cancelled" if self._gate.cancelled else "interrupted"
                    break
                one = self._patient.do(partial(self._batch, batch=batch, log_id=uuid4()))
                self._number += one.told
                total.add(one)
                self._progress(one)
            else:
                status = "failed" if total.failed else "done"
        except KeyboardInterrupt:
            status = "interrupted"
            raise
        except psycopg.Error as error:
            known = explain(error, self._database)
            raise UserError(
                f"The rollback stopped: {known.message if known else faults.describe(error)} What was restored stays "
                "restored; run the command again for the rest.",
                exit_code=1,
            ) from None
        finally:
            self._close(status, total)
        return self._run_id, status, total

    def _batches(self) -> Iterator[Batch]:
        """The batches of the plan, and those that the run committed after the plan was made."""
        found, seen = self._plan.batches, set[UUID]()
        while found:
            for batch in found:
                seen.add(batch.log_id)
                yield batch
            now, _ = self._patient.do(
                lambda session: undo_rows.batches(session, self._ledger, self._plan.run, self._plan.only)
            )
            found = [batch for batch in now if batch.log_id not in seen]

    def _close(self, status: str, total: Outcome) -> None:
        def close(session: Session) -> None:
            self._ledger.close_run(session, self._run_id, status, {**total.as_json(), "waits": self._gate.waits})

        # When the connection is gone for good the run shows as crashed, and its log rows tell what it did.
        with suppress(psycopg.Error, UserError):
            self._patient.do(close)

    # ---------- one batch

    def _batch(self, session: Session, batch: Batch, log_id: UUID) -> Outcome:
        with transaction(session):
            logged = self._logged(session, batch, log_id)
            if logged is not None:  # the connection was lost after the commit
                return logged
            started = session.execute("select clock_timestamp()").fetchone()
            assert started is not None
            tables = undo_rows.tables(session, batch)
            undo_rows.prefer_index(session, tables[0], self._plan.key)
            outcome = Outcome(entries=batch.rows, batches=1)
            self._range(session, batch, tables, 1, batch.rows, outcome)
            if outcome.told:
                self._ledger.write_log(
                    session,
                    log_id=log_id,
                    run_id=self._run_id,
                    kind="rollback",
                    migration_type=self._plan.run.migration_type,
                    batch_number=self._number + 1,
                    processed=outcome.restored + len(outcome.failed),
                    succeeded=outcome.restored,
                    failed=len(outcome.failed),
                    started_at=started[0],
                    performed_by=self._performed_by,
                    error_details=outcome.failed or None,
                    details={
                        "rolls_back": str(batch.log_id),
                        "rolls_back_batch": batch.number,
                        "already_restored": outcome.already,
                        "changed_since": outcome.changed,
                        "missing": outcome.missing,
                        "other_columns_changed": len(outcome.differing),
                        "differing": outcome.differing,
                    },
                )
        return outcome

    def _logged(self, session: Session, batch: Batch, log_id: UUID) -> Outcome | None:
        row = session.execute(
            sql.SQL("select records_succeeded, error_details, details from {} where id = %s").format(
                self._ledger.log_table
            ),
            [log_id],
        ).fetchone()
        if row is None:
            return None
        restored, failed, details = row
        return Outcome(
            entries=batch.rows,
            restored=restored,
            already=details["already_restored"],
            changed=details["changed_since"],
            missing=details["missing"],
            failed=failed or [],
            differing=details["differing"],
            batches=1,
        )

    def _range(
        self, session: Session, batch: Batch, tables: list[Name], first: int, last: int, outcome: Outcome
    ) -> None:
        """Restore the entries first to last; a row that cannot be restored is found by halving, and recorded."""
        if first > last:
            return
        try:
            with session.transaction():
                found = self._restore(session, batch, tables, first, last)
        except psycopg.Error as error:
            # A lost connection, a lock or a deadlock concerns the whole transaction.
            timed_out = error.sqlstate == "57014" and first < last
            if session.broken or session.closed or not (timed_out or faults.classify(error) is Fault.DATA):
                raise
            if first == last:
                row = session.execute(
                    sql.SQL(
                        "select coalesce(row_ids[%(n)s]::text, row_keys[%(n)s]) from {} where log_id = %(id)s"
                    ).format(self._ledger.undo_table),
                    {"n": first, "id": batch.log_id},
                ).fetchone()
                outcome.failed.append({"id": row[0] if row else "", "error": faults.describe(error)})
                return
            middle = (first + last) // 2
            self._range(session, batch, tables, first, middle, outcome)
            self._range(session, batch, tables, middle + 1, last, outcome)
            return
        outcome.restored += found.restored
        outcome.failed += [{"id": key, "error": _KEPT} for key in found.kept]
        outcome.already += found.already
        outcome.changed += found.changed + found.holds
        outcome.missing += found.missing
        outcome.differing += found.differing

    def _restore(self, session: Session, batch: Batch, tables: list[Name], first: int, last: int) -> _Found:
        """Restore in the partition, then elsewhere what is not there; rows that moved in the moment are tried again."""
        restored, differing = 0, list[str]()
        for position, table in enumerate(tables):
            statement = _Statements(session, self._ledger, self._plan, batch, table).restore(
                self._fingerprint(session, batch, table)
            )
            for _ in range(_TRIES):
                found = _execute(session, statement, batch, first, last)
                # What earlier statements of this batch restored looks to this one as if it had always been so.
                already = found.already - restored
                restored += found.restored
                differing += found.differing
                if not found.holds:
                    break
            if not found.missing or position == len(tables) - 1:
                break
        return _Found(restored, found.kept, differing, already, found.changed, found.missing, found.holds)

    def _fingerprint(self, session: Session, batch: Batch, table: Name) -> list[Column]:
        if table not in self._columns:
            kept = {**kept_by_triggers(session, *table), **kept_by_triggers(session, batch.schema, batch.table)}
            self._columns[table] = fingerprint_columns(session, *table, self._plan.column, left_out=kept)
        return self._columns[table]
