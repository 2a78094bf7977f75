"""The write-back: fills a target column from its model, batch by batch, with log and undo in the same transaction.

A batch is one statement: the update, the row of `migration_log` and the row of `migration_undo` are written together
or not at all. A run walks the table in physical order, splits a batch that a row makes fail until that row is alone,
and sweeps at the end for rows that moved or arrived meanwhile.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from uuid import UUID, uuid4

import psycopg
from psycopg import RawCursor, sql
from psycopg.types.numeric import Int4, Int8

from scripts import batches, faults
from scripts.batch_statement import Plan
from scripts.batches import START, Leaf, Span, Walk
from scripts.connection import Session, explain, transaction
from scripts.control import Gate
from scripts.errors import UserError
from scripts.faults import Fault
from scripts.interrupts import StopRequest
from scripts.patience import PatientSession
from scripts.settings import Database

#: So many rows failing one after the other, with none written between, is no matter of single rows.
FAILURES_IN_A_ROW = 1_000
#: An application that keeps inserting rows would keep a run busy for ever.
PASSES = 25

# Besides those of every session: one plan for all batches, since planning a large view costs tens of milliseconds;
# no wait for the disk at each commit, since a crash loses whole batches and the next run finds their rows pending.
SETTINGS = {
    "plan_cache_mode": "force_generic_plan",
    "synchronous_commit": "off",
    "max_parallel_workers_per_gather": "0",
    "enable_tidscan": "on",
    "enable_seqscan": "off",
    "work_mem": "64MB",
    "enable_memoize": "off",  # it would hash every payload to look for one seen before
    "enable_mergejoin": "off",  # it would sort the batch's payloads by a word, and spill to disk when they are large
    "idle_session_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}


class Observer(Protocol):
    """Who watches a run."""

    def advance(self, succeeded: int, failed: int) -> None:
        """A batch ended."""

    def notice(self, message: str) -> None:
        """Something a person should know: a retry, a reconnection, a failed row."""

    def waiting(self, reason: str | None) -> None:
        """The run waits, and why; None when it goes on."""


@dataclass(frozen=True)
class Options:
    """How a run works."""

    batch_size: int
    limit: int | None = None  # rows to take up at most: written or failed
    performed_by: UUID | None = None
    expected_rows: int | None = None  # as the survey found; for those who watch
    limit_written: bool = False  # rows that fail do not count for the limit


@dataclass
class Tally:
    """What a run did."""

    batches: int = 0
    succeeded: int = 0
    failed: int = 0
    bytes: int = 0
    other_columns_changed: int = 0
    groups: Counter[str] = field(default_factory=Counter)
    passes: int = 0
    retries: int = 0
    seconds: float = 0.0
    waits: list[dict[str, Any]] = field(default_factory=list)  # see control.Gate

    @property
    def processed(self) -> int:
        """Rows taken up: written or failed."""
        return self.succeeded + self.failed


class RunFailedError(UserError):
    """A run that could not go on. What it wrote stays, is logged and can be undone. Exit code 1."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_code=1)


class WriteBack:
    """One run over one target. `run` may be called once."""

    def __init__(
        self,
        database: Database,
        plan: Plan,
        patient: PatientSession,
        run_id: UUID,
        options: Options,
        stop: StopRequest,
        observer: Observer,
    ) -> None:
        self.tally = Tally()
        self._database = database
        self._plan = plan
        self._patient = patient
        self._run_id = run_id
        self._options = options
        self._stop = stop
        self._observer = observer
        self._gate = Gate(plan.ledger, run_id, stop, observer.waiting)
        self._batch_size = options.batch_size
        self._number = 0
        self._failures: list[dict[str, Any]] = []  # of the batch in hand
        self._skip: list[str] = []
        self._failed_in_a_row = 0
        self._statements: dict[tuple[int, bool], bytes] = {}  # by leaf: the text is the same for every batch

    # ---------- the run

    def run(self) -> Tally:
        """Write every pending row, or until the limit or a request to stop. The caller closes the run.

        Raises RunFailed or RunInProgress when it cannot go on; `tally` then says what was done.
        """
        began = time.monotonic()
        try:
            while not self._ended() and self.tally.passes < PASSES:
                before = self.tally.processed
                self.tally.passes += 1
                for leaf in self._plan.leaves:
                    self._walk(leaf)
                if self.tally.processed == before:
                    break
        except psycopg.Error as error:
            raise self._failed(error) from None
        finally:
            self.tally.retries = self._patient.retries
            self.tally.waits = self._gate.waits
            self.tally.seconds = time.monotonic() - began
        return self.tally

    @property
    def cancelled(self) -> bool:
        """Whether somebody cancelled the run from elsewhere."""
        return self._gate.cancelled

    def _ended(self) -> bool:
        room = self._room()
        return self._stop.requested or (room is not None and room <= 0)

    def _room(self) -> int | None:
        """Rows that may still be taken up; None without a limit."""
        limit = self._options.limit
        if limit is None:
            return None
        return limit - (self.tally.succeeded if self._options.limit_written else self.tally.processed)

    def _walk(self, leaf: Leaf) -> None:
        """One pass over a leaf."""
        # In the first pass, rows that failed are behind the cursor.
        skip = list(self._skip) if self.tally.passes > 1 else []
        walk = self._patient.do(lambda session: batches.walk(session, self._plan.target, leaf, skip))
        after = START
        while True:
            self._gate.let_pass(self._patient)
            if self._ended():
                return
            room = self._room()
            rows = self._batch_size if room is None else min(self._batch_size, room)
            span = self._next(walk, after, rows)
            if span is None:
                return
            self._batch(walk, span)
            after = span.upto

    def _next(self, walk: Walk, after: str, rows: int, upto: str = batches.END) -> Span | None:
        def find(session: Session) -> Span | None:
            walk.session = session
            return walk.next(after, rows, upto)

        return self._patient.do(find)

    # ---------- one batch

    def _batch(self, walk: Walk, span: Span) -> None:
        self._failures = []
        before = self.tally.succeeded
        try:
            self._write_or_split(walk, span)
        except UserError:
            # What was found out so far is not lost when the run cannot go on.
            with suppress(psycopg.Error, UserError):
                self._log_failures(span)
            raise
        self._log_failures(span)
        self._observer.advance(self.tally.succeeded - before, len(self._failures))

    def _write_or_split(self, walk: Walk, span: Span) -> None:
        if span.rows == 1:
            # Nothing but this row, so that the right one is blamed if it fails.
            span = replace(span, after=batches.before(span.upto))
        try:
            self._write(span)
        except psycopg.Error as error:
            if faults.classify(error) is Fault.DATA:
                if span.rows == 1:
                    self._fail(span, error)
                else:
                    self._halve(walk, span)
            elif error.sqlstate == "57014" and span.rows > 1:
                self._batch_size = max(1, min(self._batch_size, span.rows) // 2)
                self._observer.notice(
                    f"A batch of {span.rows:,} rows takes longer than statement_timeout; "
                    f"going on with {self._batch_size:,}."
                )
                self._halve(walk, span)
            else:
                raise self._failed(error) from None

    def _halve(self, walk: Walk, span: Span) -> None:
        """Write a range in two halves, which are split again when they fail."""
        half = self._next(walk, span.after, span.rows // 2, span.upto)
        if half is None:
            return
        self._write_or_split(walk, half)
        # A request to stop waits for the batch in hand, but not for the search for bad rows in it.
        if half.upto != span.upto and not self._stop.requested:
            rest = max(1, span.rows - half.rows)
            self._write_or_split(walk, replace(span, after=half.upto, rows=rest))

    def _write(self, span: Span) -> None:
        """Write one batch; try again after what passes by itself."""
        log_id = uuid4()
        self._number += 1
        number = self._number
        skip = self._skip if self.tally.passes > 1 else []
        parameters: list[Any] = [
            span.after, span.upto, Int8(span.rows), log_id, self._run_id, Int4(number), self._options.performed_by,
        ]  # fmt: skip
        if skip:
            parameters.append(skip)
        attempted = False

        def write(session: Session) -> tuple[Any, ...]:
            nonlocal attempted
            if attempted:
                # The connection may have been lost after the commit: the log row tells.
                found = self._written(session, log_id)
                if found is not None:
                    return found
            attempted = True
            pooled = session.transaction_pooling
            statement = self._statement(session, span.leaf, skip=bool(skip))
            with transaction(session) if pooled else nullcontext():
                row = RawCursor(session).execute(statement, parameters, prepare=not pooled).fetchone()
            assert row is not None
            return row

        rows, changed, size, groups = self._patient.do(write)
        if rows:
            self._failed_in_a_row = 0
            self.tally.batches += 1
            self.tally.succeeded += rows
            self.tally.other_columns_changed += changed
            self.tally.bytes += int(size)
            self.tally.groups.update(groups)

    def _statement(self, session: Session, leaf: Leaf, *, skip: bool) -> bytes:
        made = self._statements.get((leaf.oid, skip))
        if made is None:
            made = self._statements[leaf.oid, skip] = self._plan.statement(leaf, skip=skip).as_bytes(session)
        return made

    def _written(self, session: Session, log_id: UUID) -> tuple[Any, ...] | None:
        return session.execute(
            sql.SQL(
                "select records_succeeded, (details ->> 'other_columns_changed')::bigint, "
                "(details ->> 'bytes')::bigint, details -> 'groups' from {} where id = %s"
            ).format(self._plan.ledger.log_table),
            [log_id],
        ).fetchone()

    # ---------- rows that cannot be written

    def _fail(self, span: Span, error: psycopg.Error) -> None:
        """Record the one row of a range as failed, and pass it over for the rest of the run."""
        target = self._plan.target
        key = self._patient.do(
            lambda session: session.execute(
                sql.SQL("select t.{}::text from {} as t where t.ctid = {}").format(
                    sql.Identifier(target.key), span.leaf.relation, batches.tid(span.upto)
                )
            ).fetchone()
        )
        if key is None:
            return  # it has moved: the sweep takes it
        said = faults.describe(error, self._plan.vocabulary)
        self._failures.append({"id": key[0], "error": said})
        self._skip.append(key[0])
        self.tally.failed += 1
        self._failed_in_a_row += 1
        if self.tally.failed <= 10:
            self._observer.notice(f"Row {key[0]} cannot be written: {said}")
        elif self.tally.failed == 11:
            self._observer.notice("More rows cannot be written; `migrate log` lists all of them.")
        if self._failed_in_a_row >= FAILURES_IN_A_ROW:
            raise RunFailedError(
                f"{self._failed_in_a_row:,} rows failed one after the other, the last with {said}. That is no matter "
                "of single rows: mend the cause, then run the command again."
            )

    def _log_failures(self, span: Span) -> None:
        """One log row for the rows of a batch that could not be written."""
        failures = self._failures
        if not failures:
            return
        plan = self._plan
        log_id = uuid4()
        self._number += 1
        number = self._number
        now = self._patient.do(lambda session: session.execute("select clock_timestamp()").fetchone())
        assert now is not None

        def write(session: Session) -> None:
            if self._written(session, log_id) is None:
                plan.ledger.write_log(
                    session, run_id=self._run_id, kind="apply", migration_type=plan.target.migration_type,
                    batch_number=number, processed=len(failures), succeeded=0, failed=len(failures),
                    started_at=now[0], error_details=failures, performed_by=self._options.performed_by, log_id=log_id,
                    details={"table": f"{span.leaf.schema}.{span.leaf.name}", "after": span.after, "upto": span.upto},
                )  # fmt: skip

        self._patient.do(write)
        self.tally.batches += 1

    def _failed(self, error: psycopg.Error) -> UserError:
        known = explain(error, self._database)
        said = faults.describe(error, self._plan.vocabulary)
        return RunFailedError(known.message if known else f"A batch failed: {said}.")


def prepare(session: Session) -> None:
    """Give a session the settings of a run."""
    session.settings = {**session.settings, **SETTINGS, **compression(session)}
    if not session.transaction_pooling:
        session.apply_settings(local=False)


def compression(session: Session) -> dict[str, str]:
    """lz4 for the new values where the server has it and nobody chose otherwise: pglz takes a tenth of a run's time."""
    row = session.execute(
        "select 1 from pg_catalog.pg_settings "
        "where name = 'default_toast_compression' and source = 'default' and 'lz4' = any(enumvals)"
    ).fetchone()
    return {"default_toast_compression": "lz4"} if row else {}


def trial(session: Session, plan: Plan, rows: int = 3) -> list[str]:
    """Which columns of the fingerprint the table's own triggers change, found by an update that is rolled back.

    Only where there are triggers; a few pending rows are updated as a batch would. Empty when nothing is pending or
    the update fails (then the run itself finds the row).
    """
    if not plan.has_triggers or not plan.columns:
        return []
    for leaf in plan.leaves:
        span = batches.walk(session, plan.target, leaf).next(START, rows)
        if span is None:
            continue
        found: set[str] = set()
        try:
            with session.transaction(force_rollback=True):
                if session.transaction_pooling:
                    session.apply_settings(local=True)
                for row in RawCursor(session).execute(
                    plan.trial_statement(leaf), [span.after, span.upto, Int8(span.rows)]
                ):
                    found.update(row[0])
        except psycopg.Error:
            return []
        return sorted(found)
    return []
