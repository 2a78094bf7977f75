"""The write-back: fills a target column from its model, batch by batch, with log and undo in the same transaction.

A batch is one statement: the update, the row of `migration_log` and the row of `migration_undo` are written together
or not at all. A run walks the table in physical order, with one worker or several (see worker.py), and sweeps at the
end for rows that moved or arrived meanwhile.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import Any
from uuid import UUID

import psycopg
from psycopg import RawCursor
from psycopg.types.numeric import Int8

from scripts import automatic_sql, batches, throttles
from scripts.batch_statement import Plan
from scripts.batches import START, Leaf, Part
from scripts.connection import Session
from scripts.control import Gate
from scripts.errors import UserError
from scripts.interrupts import StopRequest
from scripts.patience import ALIVE, PatientSession, brief_lock_timeout
from scripts.settings import Database
from scripts.worker import Observer, Options, RunFailedError, Shared, Tally, Worker, failure

#: An application that keeps inserting rows would keep a run busy for ever.
PASSES = 25

# Besides those of every session: one plan for all batches, since planning a large view costs tens of milliseconds;
# no wait for the disk at each commit, since a crash loses whole batches and the next run finds their rows pending.
SETTINGS = {
    **automatic_sql.OFF,  # the run writes its rows itself
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
    **ALIVE,
}


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
        self._database = database
        self._plan = plan
        self._patient = patient
        self._run_id = run_id
        self._stop = stop
        self._observer = observer
        self._options = options
        self._shared = Shared(options, observer)
        self._others: list[Worker] = []
        self._gate = Gate(
            plan.ledger, run_id, stop, observer.waiting, throttles.chosen(options.pace, plan.leaves, self._sessions)
        )
        self._own = self._worker(patient, stop, lambda: self._gate.let_pass(patient))
        patient.rejoin_with(lambda session: plan.ledger.rejoin(session, run_id, patient.holder))
        # For the other workers: somebody asked to stop, or one of them, or this session, cannot go on.
        self._halt = StopRequest(stop)

    @property
    def tally(self) -> Tally:
        """What was done so far."""
        return self._shared.tally

    @property
    def cancelled(self) -> bool:
        """Whether somebody cancelled the run from elsewhere."""
        return self._gate.cancelled

    def run(self) -> Tally:
        """Write every pending row, or until the limit or a request to stop. The caller closes the run.

        Raises RunFailed or RunInProgress when it cannot go on; `tally` then says what was done.
        """
        began = time.monotonic()
        shared, tally, plan = self._shared, self.tally, self._plan
        try:
            if plan.target.refreshing:
                shared.horizon = self._patient.do(batches.next_transaction)
            self._patient.prepare_with(prepare_to_write)
            self._hire()
            while not self._stop.requested and not shared.full and tally.passes < PASSES:
                before, retries = tally.processed, self._retries
                # The first pass writes, the second takes what moved or arrived meanwhile. What is still missed then
                # belongs to an application that hardly lets go of it.
                locking = tally.passes > 1 and shared.missed > 0
                shared.missed = 0
                tally.passes += 1
                self._pass(sweep=tally.passes > 1, locking=locking)
                if not self._stop.requested:
                    self._patient.do(lambda session: plan.ledger.flush(session, self._run_id))
                # A server that crashed lost what it had not flushed: rows that were written are pending again.
                shared.lost = self._retries != retries and tally.recount(self._patient.do(self._counted))
                if tally.processed == before and not shared.lost and (locking or not shared.missed):
                    break
        except psycopg.Error as error:
            raise failure(error, self._database, self._plan) from None
        finally:
            tally.retries = self._retries
            tally.waits = self._gate.waits
            tally.seconds = time.monotonic() - began
            for worker in self._others:
                worker.patient.close()
        return tally

    def _hire(self) -> None:
        """Open a session for each worker, when there are to be several."""
        if self._options.pace.workers == 1:
            return
        if not self._plan.target.complete:
            self.tally.workers = 1
            self._observer.notice("One worker: where a model leaves rows to a person, batches cannot be shared out.")
            return
        for _ in range(self._options.pace.workers):
            try:
                patient = self._patient.companion(self._halt)
            except UserError as error:
                self._observer.notice(f"{error.message} Going on with {max(1, len(self._others))} workers.")
                break
            self._others.append(self._worker(patient, self._halt, lambda: self._gate.wait(self._halt)))
        self.tally.workers = max(1, len(self._others))

    def _worker(self, patient: PatientSession, stop: StopRequest, let_pass: Callable[[], None]) -> Worker:
        return Worker(self._database, self._plan, patient, self._run_id, self._options, self._shared, stop, let_pass)

    def _counted(self, session: Session) -> dict[str, Any]:
        return self._plan.ledger.counted(session, self._run_id)

    @property
    def _retries(self) -> int:
        return sum(worker.patient.retries for worker in (self._own, *self._others))

    def _sessions(self) -> list[int]:
        """The process numbers of this run's sessions."""
        return [worker.patient.pid for worker in (self._own, *self._others)]

    # ---------- one pass

    def _leaves(self, session: Session) -> Sequence[Leaf]:
        return batches.leaves(session, self._plan.target.schema, self._plan.target.table)

    def _pass(self, *, sweep: bool, locking: bool) -> None:
        tally = self.tally
        # Partitions may have come since the run began.
        leaves = self._patient.do(self._leaves) if sweep else self._plan.leaves
        parts = [
            part
            for leaf in leaves
            for part in self._patient.do(partial(batches.parts, leaf=leaf, workers=tally.workers, to_the_end=sweep))
        ]
        if self._others and len(parts) > 1:
            self._together(deque(parts), sweep=sweep, locking=locking)
            return
        for part in parts:
            if self._stop.requested or self._shared.full:
                return
            self._own.write(part, sweep=sweep, locking=locking)

    def _together(self, parts: deque[Part], *, sweep: bool, locking: bool) -> None:
        """Let the workers write, each the next part that nobody has taken, and look after the gate meanwhile."""
        errors: list[BaseException] = []

        def work(worker: Worker) -> None:
            try:
                while parts and not self._halt.requested and not self._shared.full:
                    with suppress(IndexError):  # another one was faster
                        worker.write(parts.popleft(), sweep=sweep, locking=locking)
            except BaseException as error:
                errors.append(error)
                self._halt.request()

        threads = [Thread(target=work, args=(worker,), daemon=True) for worker in self._others]
        for thread in threads:
            thread.start()
        try:
            while any(thread.is_alive() for thread in threads):
                if self._gate.due and not self._stop.requested:
                    self._patient.do(self._gate.look)
                _join(threads, 0.1)
        except BaseException as error:
            self._halt.request()
            self._shared.abandoned = isinstance(error, KeyboardInterrupt)
            raise
        finally:
            while any(thread.is_alive() for thread in threads):
                if self._shared.abandoned:
                    for worker in self._others:
                        worker.patient.cancel()
                _join(threads, 0.5)
        if errors:
            raise errors[0]


def _join(threads: Sequence[Thread], seconds: float) -> None:
    """Wait for one of the threads, but not for long."""
    for thread in threads:
        if thread.is_alive():
            thread.join(seconds)
            return


def prepare(session: Session) -> None:
    """Give a session the settings of a run."""
    session.settings = {**session.settings, **SETTINGS, **compression(session)}
    if not session.transaction_pooling:
        session.apply_settings(local=False)


def prepare_to_write(session: Session) -> None:
    """Give a session the settings of batches: those of a run, and a short wait for locks."""
    session.settings["lock_timeout"] = brief_lock_timeout(session)
    prepare(session)


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
        # Of the rows that a refresh compares, few may have to be written.
        span = batches.walk(session, plan.target, leaf).next(START, 1_000 if plan.target.refreshing else rows)
        if span is None:
            continue
        found: set[str] = set()
        try:
            with session.transaction(force_rollback=True):
                if session.transaction_pooling:
                    session.apply_settings(local=True)
                for row in RawCursor(session).execute(plan.trial_statement(leaf), [span.after, span.upto, Int8(rows)]):
                    found.update(row[0])
        except psycopg.Error:
            return []
        return sorted(found)
    return []


__all__ = ["Observer", "Options", "RunFailedError", "Tally", "WriteBack", "prepare", "trial"]
