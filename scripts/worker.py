"""A worker: writes the pending rows of ranges of a table, batch by batch, on a session of its own.

A batch that a row makes fail is split until that row is alone; it is recorded and passed over.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from uuid import UUID, uuid4

import psycopg
from psycopg import RawCursor, sql
from psycopg.types.numeric import Int4, Int8

from scripts import batches, faults
from scripts.batch_size import BatchSize
from scripts.batch_statement import LARGE, Plan
from scripts.batches import Leaf, Part, Span, Walk
from scripts.connection import Session, explain, transaction
from scripts.errors import UserError
from scripts.faults import Fault
from scripts.interrupts import StopRequest
from scripts.pace import Pace
from scripts.patience import PatientSession
from scripts.settings import Database

#: Bounds of so many batches are looked up at once: less than a second's work, and an eighth of the round trips.
LOOK_AHEAD = 8
#: So many rows failing one after the other, with none written between, is no matter of single rows.
FAILURES_IN_A_ROW = 1_000
#: So many rows that stay pending although nobody else can write them: a trigger keeps them so.
KEPT_IN_A_ROW = 20


class Observer(Protocol):
    """Who watches a run. Never called by two workers at once."""

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
    pace: Pace = field(default_factory=Pace)
    plan: str | None = None  # the dry run whose saved plan is applied

    def as_json(self) -> dict[str, Any]:
        """For `migration_runs.settings`."""
        return {
            "batch_size": self.batch_size, "limit": self.limit, "expected_rows": self.expected_rows,
            "limit_written": self.limit_written, "plan": self.plan,
            **self.pace.as_json(),
        }  # fmt: skip


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
    workers: int = 1
    retries: int = 0
    seconds: float = 0.0
    waits: list[dict[str, Any]] = field(default_factory=list)  # see control.Gate

    @property
    def processed(self) -> int:
        """Rows taken up: written or failed."""
        return self.succeeded + self.failed

    def recount(self, logged: dict[str, Any]) -> bool:
        """Take what the log says (see `Ledger.counted`); returns whether it has lost rows that were counted."""
        before = self.succeeded
        for name, value in logged.items():
            setattr(self, name, Counter(value) if name == "groups" else value)
        return self.succeeded < before


class RunFailedError(UserError):
    """A run that could not go on. What it wrote stays, is logged and can be undone. Exit code 1."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_code=1)


class Shared:
    """What the workers of a run have in common; every method may be called by any of them."""

    def __init__(self, options: Options, observer: Observer) -> None:
        self.tally = Tally(workers=options.pace.workers)
        self.size = BatchSize(options.batch_size, options.pace.target_seconds)
        self.skip: list[str] = []  # keys of rows that failed
        self.missed = 0  # rows of this pass that were found pending and not written: they moved, or were locked
        self.kept_in_a_row = 0
        self.horizon = 0  # of a refresh: see batches.comparing
        self.lost = False  # the pass before lost rows that it had written
        self.abandoned = False  # statements are being cancelled
        self._limit = options.limit
        self._limit_written = options.limit_written
        self._observer = observer
        self._lock = threading.RLock()
        self._number = 0
        self._unused: list[int] = []  # numbers that were given back
        self._reserved = 0
        self._given_back = threading.Condition(self._lock)
        self._failed_in_a_row = 0

    @property
    def full(self) -> bool:
        """Whether the limit is reached."""
        return self._limit is not None and self._counted >= self._limit

    @property
    def _counted(self) -> int:
        """Rows that count for the limit."""
        return self.tally.succeeded if self._limit_written else self.tally.processed

    def number(self) -> int:
        """The smallest batch number that nobody has."""
        with self._lock:
            if self._unused:
                return heapq.heappop(self._unused)
            self._number += 1
            return self._number

    def unused(self, number: int) -> None:
        """Nothing was logged under a number: the next batch gets it."""
        with self._lock:
            heapq.heappush(self._unused, number)

    def reserve(self, stop: StopRequest) -> int:
        """How many rows the next batch may take, within the limit; to be given back after it. 0: the end.

        Waits while others have reserved all that the limit leaves: they may find fewer rows, or fail to write them.
        """
        with self._lock:
            if self._limit is None:
                return self.size.rows
            while not (left := max(0, self._limit - self._counted - self._reserved)):
                if self.full or stop.requested:
                    return 0
                self._given_back.wait(0.2)
            rows = min(self.size.rows, left)
            self._reserved += rows
            return rows

    def give_back(self, rows: int) -> None:
        """A reservation has ended; what came of it is in the tally."""
        with self._lock:
            if self._limit is not None:
                self._reserved -= rows
                self._given_back.notify_all()

    def wrote(self, rows: int, changed: int, size: int, groups: dict[str, int]) -> None:
        """A batch wrote rows."""
        with self._lock:
            self._failed_in_a_row = 0
            self.tally.batches += 1
            self.tally.succeeded += rows
            self.tally.other_columns_changed += changed
            self.tally.bytes += size
            self.tally.groups.update(groups)

    def failed(self, key: str, said: str) -> None:
        """A row cannot be written. Raises RunFailedError when it is no matter of single rows."""
        with self._lock:
            self.skip.append(key)
            self.tally.failed += 1
            self._failed_in_a_row += 1
            if self.tally.failed <= 10:
                self._observer.notice(f"Row {key} cannot be written: {said}")
            elif self.tally.failed == 11:
                self._observer.notice("More rows cannot be written; `migrate log` lists all of them.")
            if self._failed_in_a_row >= FAILURES_IN_A_ROW:
                raise RunFailedError(
                    f"{self._failed_in_a_row:,} rows failed one after the other, the last with {said}. That is no "
                    "matter of single rows: mend the cause, then run the command again."
                )

    def logged_failures(self) -> None:
        """A log row tells of rows that failed."""
        with self._lock:
            self.tally.batches += 1

    def ended(self, rows: int, written: int, failed: int) -> None:
        """A batch that was to take up so many rows has ended."""
        with self._lock:
            self.missed += max(0, rows - written - failed)
            self._observer.advance(written, failed)

    def notice(self, message: str) -> None:
        """Tell who watches."""
        with self._lock:
            self._observer.notice(message)


class _RowLockedError(Exception):
    """Somebody else holds the lock of a row of this batch. Nothing was written."""

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self.place = place


def failure(error: psycopg.Error, database: Database, plan: Plan) -> RunFailedError:
    """An error of the database that ends a run, in words."""
    known = explain(error, database)
    said = faults.describe(error, plan.vocabulary)
    return RunFailedError(known.message if known else f"A batch failed: {said}.")


class Worker:
    """Writes batches on one session. Used by one thread at a time."""

    def __init__(
        self,
        database: Database,
        plan: Plan,
        patient: PatientSession,
        run_id: UUID,
        options: Options,
        shared: Shared,
        stop: StopRequest,
        let_pass: Callable[[], None],
    ) -> None:
        self.patient = patient
        self._database = database
        self._plan = plan
        self._run_id = run_id
        self._options = options
        self._shared = shared
        self._stop = stop
        self._let_pass = let_pass
        self._failures: list[dict[str, Any]] = []  # of the batch in hand
        self._written = 0
        self._skip: list[str] = []
        self._statements: dict[tuple[Leaf, bool], bytes] = {}  # by leaf: the text is the same for every batch

    def write(self, part: Part, *, sweep: bool, locking: bool) -> None:
        """Write the pending rows of a part of a leaf, until its end, the limit or a request to stop.

        In a sweep, rows that failed before are passed over (in the first pass they are behind the cursor). With
        `locking`, rows that others change all the time are locked first. Raises psycopg.Error or UserError when the
        run cannot go on.
        """
        self._skip = list(self._shared.skip) if sweep else []
        target = self._plan.target
        if target.refreshing:
            # It compares every row once, and sweeps only for those that are certainly out of date.
            again = sweep and not self._shared.lost
            target = target.swept() if again else batches.comparing(target, self._shared.horizon)
        walk = self.patient.do(
            lambda session: batches.walk(
                session, target, part.leaf, self._skip, self._payload(), self._options.pace.most_bytes, LOOK_AHEAD
            )
        )
        after = part.after
        while True:
            self._let_pass()
            if self._stop.requested:
                return
            rows = self._shared.reserve(self._stop)
            try:
                span = self._next(walk, after, rows, part.upto) if rows > 0 else None
                if span is None:
                    return
                self._batch(walk, span, locking)
            finally:
                self._shared.give_back(rows)
            after = span.upto

    def _payload(self) -> list[str]:
        """Columns whose values may be large, which make a batch heavy."""
        return [column.name for column in self._plan.columns if LARGE.match(column.type)]

    def _next(self, walk: Walk, after: str, rows: int, upto: str) -> Span | None:
        def find(session: Session) -> Span | None:
            walk.session = session
            return walk.next(after, rows, upto)

        return self.patient.do(find)

    # ---------- one batch

    def _batch(self, walk: Walk, span: Span, locking: bool) -> None:
        self._failures = []
        self._written = 0
        keys = self._keys(walk, span) if locking else []
        try:
            self._write_or_split(walk, span)
            if self._written + len(self._failures) < len(keys):
                self._write_locked(span.leaf, keys)
        except UserError:
            # What was found out so far is not lost when the run cannot go on.
            with suppress(psycopg.Error, UserError):
                self._log_failures(span)
            raise
        self._log_failures(span)
        # Most of the rows that a refresh compares are right as they are.
        rows = 0 if self._plan.target.refreshing else span.rows
        self._shared.ended(rows, self._written, len(self._failures))

    def _write_or_split(self, walk: Walk, span: Span) -> None:
        if span.rows == 1:
            # Nothing but this row, so that the right one is blamed if it fails.
            span = replace(span, after=batches.before(span.upto))
        try:
            self._write(span)
        except _RowLockedError as locked:
            self._go_round(walk, span, locked.place)
        except psycopg.Error as error:
            if self._shared.abandoned:
                raise
            if faults.classify(error) is Fault.DATA:
                if span.rows == 1:
                    self._fail(span, error)
                else:
                    self._halve(walk, span)
            elif error.sqlstate == "57014" and span.rows > 1:
                self._shared.size.timed_out(span.rows)
                self._shared.notice(
                    f"A batch of {span.rows:,} rows takes longer than statement_timeout; "
                    f"going on with {self._shared.size.rows:,}."
                )
                self._halve(walk, span)
            else:
                raise failure(error, self._database, self._plan) from None

    def _go_round(self, walk: Walk, span: Span, place: str) -> None:
        """Write a range without a row that somebody else holds: a later pass takes it."""
        left, taken = span.rows - 1, self._written + len(self._failures)
        for after, upto in ((span.after, batches.before(place)), (place, span.upto)):
            left -= self._written + len(self._failures) - taken
            taken = self._written + len(self._failures)
            part = self._next(walk, after, left, upto) if left > 0 and not self._stop.requested else None
            if part is not None:
                self._write_or_split(walk, part)

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

    def _write(self, span: Span, key: str | None = None) -> int:
        """Write one batch, or one row that is locked by its key first; try again after what passes by itself."""
        log_id = uuid4()
        number = self._shared.number()
        skip = self._skip
        used: list[Session] = []

        def write(session: Session) -> tuple[Any, ...]:
            if used:
                # The connection may have been lost after the commit: the log row tells.
                found = self._logged(session, log_id)
                if found is not None:
                    return found
            if session not in used:
                used.append(session)
            pooled = session.transaction_pooling
            statement = self._statement(session, span.leaf, skip=bool(skip))
            began = time.monotonic()
            with transaction(session) if pooled or key is not None else nullcontext():
                place = span if key is None else self._lock(session, span.leaf, key)
                if place is None:
                    return 0, 0, 0, {}
                parameters: list[Any] = [
                    place.after, place.upto, Int8(place.rows), log_id, self._run_id, Int4(number),
                    self._options.performed_by,
                ]  # fmt: skip
                row = self._execute(session, statement, [*parameters, skip] if skip else parameters, span)
            assert row is not None
            if key is None:
                self._shared.size.took(span.rows, time.monotonic() - began)
            else:
                self._shared.kept_in_a_row = 0 if row[0] else self._shared.kept_in_a_row + 1
            return row

        try:
            rows, changed, size, groups = self.patient.do(write)
        except (_RowLockedError, psycopg.Error) as error:
            lost = isinstance(error, psycopg.Error) and faults.classify(error) is Fault.LOST
            self._not_logged(number, certain=len(used) == 1 and not lost)
            raise
        if rows:
            self._written += rows
            self._shared.wrote(rows, changed, int(size), groups)
        else:
            self._not_logged(number, certain=len(used) == 1)
        return int(rows)

    def _not_logged(self, number: int, *, certain: bool) -> None:
        """Give a batch's number back, unless a lost session may still commit under it."""
        if certain:
            self._shared.unused(number)

    def _execute(self, session: Session, statement: bytes, parameters: list[Any], span: Span) -> tuple[Any, ...] | None:
        try:
            return RawCursor(session).execute(statement, parameters, prepare=not session.transaction_pooling).fetchone()
        except psycopg.errors.LockNotAvailable as error:
            place = faults.locked_row(error)
            if place and batches.within(place, span):
                raise _RowLockedError(f"({place[0]},{place[1]})") from None
            raise

    def _statement(self, session: Session, leaf: Leaf, *, skip: bool) -> bytes:
        made = self._statements.get((leaf, skip))
        if made is None:
            made = self._statements[leaf, skip] = self._plan.statement(leaf, skip=skip).as_bytes(session)
        return made

    def _logged(self, session: Session, log_id: UUID) -> tuple[Any, ...] | None:
        return session.execute(
            sql.SQL(
                "select records_succeeded, (details ->> 'other_columns_changed')::bigint, "
                "(details ->> 'bytes')::bigint, details -> 'groups' from {} where id = %s"
            ).format(self._plan.ledger.log_table),
            [log_id],
        ).fetchone()

    # ---------- rows that others change all the time

    def _keys(self, walk: Walk, span: Span) -> list[str]:
        def find(session: Session) -> list[str]:
            walk.session = session
            return walk.keys(span)

        return self.patient.do(find)

    def _write_locked(self, leaf: Leaf, keys: list[str]) -> None:
        """Lock those of the rows that are still pending, one by one, and write each at the place where it is then."""
        failed = {entry["id"] for entry in self._failures}
        for key in keys:
            if key in failed or self._stop.requested or self._shared.kept_in_a_row >= KEPT_IN_A_ROW:
                continue
            try:
                self._write(Span(leaf, batches.START, batches.END, 1), key)
            except psycopg.Error as error:
                if self._shared.abandoned or faults.classify(error) not in (Fault.DATA, Fault.RETRY):
                    raise
                said = faults.describe(error, self._plan.vocabulary)
                if faults.classify(error) is Fault.DATA:
                    self._record(key, said)
                else:
                    self._shared.notice(f"Row {key} stays pending: {said}. The next run takes it.")

    def _lock(self, session: Session, leaf: Leaf, key: str) -> Span | None:
        """Lock a row that is still pending, wherever it is by now; None when it is not, or is gone."""
        target = self._plan.target
        # While it holds no other lock it may wait as long as the settings say.
        session.execute("select set_config('lock_timeout', %s, true)", [self._database.lock_timeout])
        row = session.execute(
            sql.SQL("select t.ctid::text from {} as t where t.{} = %s and {} for no key update").format(
                leaf.relation, sql.Identifier(target.key), batches.pending_sql(target, "t")
            ),
            [key],
        ).fetchone()
        return Span(leaf, batches.before(row[0]), row[0], 1) if row else None

    # ---------- rows that cannot be written

    def _fail(self, span: Span, error: psycopg.Error) -> None:
        """Record the one row of a range as failed, and pass it over for the rest of the run."""
        target = self._plan.target
        query = sql.SQL("select t.{}::text from {} as t where t.ctid = {}").format(
            sql.Identifier(target.key), span.leaf.relation, batches.tid(span.upto)
        )

        def find(session: Session) -> tuple[Any, ...] | None:
            with transaction(session):
                return session.execute(query).fetchone()

        key = self.patient.do(find)
        if key is not None:  # else it has moved: the sweep takes it
            self._record(key[0], faults.describe(error, self._plan.vocabulary))

    def _record(self, key: str, said: str) -> None:
        self._failures.append({"id": key, "error": said})
        self._shared.failed(key, said)

    def _log_failures(self, span: Span) -> None:
        """One log row for the rows of a batch that could not be written."""
        failures = self._failures
        if not failures:
            return
        plan = self._plan
        log_id = uuid4()
        number = self._shared.number()
        now = self.patient.do(lambda session: session.execute("select clock_timestamp()").fetchone())
        assert now is not None

        def write(session: Session) -> None:
            with transaction(session):
                if self._logged(session, log_id) is None:
                    plan.ledger.write_log(
                        session, run_id=self._run_id, kind="apply", migration_type=plan.target.migration_type,
                        batch_number=number, processed=len(failures), succeeded=0, failed=len(failures),
                        started_at=now[0], error_details=failures, performed_by=self._options.performed_by,
                        log_id=log_id, details={
                            "table": f"{span.leaf.schema}.{span.leaf.name}", "after": span.after, "upto": span.upto,
                        },
                    )  # fmt: skip

        self.patient.do(write)
        self._shared.logged_failures()
