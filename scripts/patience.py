"""A session that waits for what passes by itself: locks, deadlocks, timeouts, a lost connection. With a limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import psycopg

from scripts import faults
from scripts.connection import Session, connect
from scripts.errors import UserError
from scripts.faults import Fault
from scripts.interrupts import StopRequest
from scripts.run_lock import RunLock, WorkerLock
from scripts.settings import Database

ATTEMPTS = 12
LONGEST_PAUSE_SECONDS = 15.0
RECONNECT_SECONDS = 180.0
#: statement_timeout is long itself: so many of them are enough.
TIMEOUTS = 2
#: How long a batch waits for a row that somebody else is changing.
BATCH_LOCK_SECONDS = 0.5
#: Settings with which the server notices a client that vanished: its session holds the lock until then.
ALIVE = {"tcp_keepalives_idle": "30", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "3"}

T = TypeVar("T")


class PatientSession:
    """A session of a run that holds its target's lock, or a companion of one.

    `session` is replaced when the connection was lost.
    """

    def __init__(
        self,
        database: Database,
        lock: RunLock | WorkerLock,
        stop: StopRequest,
        notice: Callable[[str], None],
        prepare: Callable[[Session], None],
        application_name: str,
    ) -> None:
        self._database = database
        self._lock = lock
        self._stop = stop
        self._notice = notice
        self._prepare = prepare
        self._name = application_name
        self._rejoin: Callable[[Session], None] | None = None
        self._rejoining = False
        self.retries = 0
        self.session = connect(database, application_name=application_name)
        self.pid = 0  # of its server process; a pooler tells the client another one
        try:
            lock.acquire(self.session)
            self.pid = _pid(self.session)
            prepare(self.session)
        except BaseException:
            self.close()
            raise

    def companion(self, stop: StopRequest) -> PatientSession:
        """One more session of the same run, for a worker. Raises UserError when it cannot be opened."""
        assert isinstance(self._lock, RunLock)
        return PatientSession(
            self._database, WorkerLock(self._lock), stop, self._notice, self._prepare, f"{self._name} worker"
        )

    def prepare_with(self, prepare: Callable[[Session], None]) -> None:
        """Prepare the connection like this, and those that may follow it."""
        self._prepare = prepare
        self.do(prepare)

    def rejoin_with(self, rejoin: Callable[[Session], None]) -> None:
        """Do this first whenever the connection was lost and the lock is held again."""
        self._rejoin = rejoin

    @property
    def holder(self) -> int:
        """The server process that holds the lock."""
        assert isinstance(self._lock, RunLock)
        return self._lock.pid

    def cancel(self) -> None:
        """Cancel the statement in hand; called from another thread."""
        with suppress(psycopg.Error):
            self.session.cancel_safe(timeout=5)

    def close(self) -> None:
        """Close the connection, and let go of the lock with it."""
        self._lock.release()
        self.session.close()

    def do(self, action: Callable[[Session], T]) -> T:
        """Run an action, again after what passes by itself. The action must be one that may be repeated.

        Raises the last psycopg.Error when it does not pass, RunInProgress when another run took the lock meanwhile.
        """
        attempt = timeouts = 0
        while True:
            try:
                self._lock.check(self.session)
                if self._rejoining and self._rejoin:
                    self._rejoin(self.session)
                self._rejoining = False
                return action(self.session)
            except psycopg.Error as error:
                lost = self.session.broken or self.session.closed
                fault = Fault.LOST if lost else faults.classify(error)
                if not lost:
                    with suppress(psycopg.Error):  # it may be about to break
                        self.session.rollback()
                attempt += 1
                timeouts += error.sqlstate == "57014"
                waits = fault is Fault.LOST or (fault is Fault.RETRY and not self._stop.requested)
                if not waits or attempt >= ATTEMPTS or timeouts >= TIMEOUTS:
                    raise
                self.retries += 1
                if fault is Fault.LOST:
                    self._notice("The connection was lost; connecting again.")
                    self._reconnect()
                else:
                    pause = min(0.25 * 2 ** (attempt - 1), LONGEST_PAUSE_SECONDS)
                    self._notice(f"{faults.describe(error)}; trying again in {pause:g} s.")
                    self._stop.wait(pause)

    def _reconnect(self) -> None:
        deadline = time.monotonic() + RECONNECT_SECONDS
        pause = 0.5
        self.session.close()
        while True:
            try:
                session = connect(self._database, application_name=self._name)
                try:
                    self._lock.take_back(session)
                    self.pid = _pid(session)
                    self._prepare(session)
                except BaseException:
                    session.close()
                    raise
            except (UserError, psycopg.Error):
                if time.monotonic() > deadline or self._stop.requested:
                    raise
                self._stop.wait(pause)
                pause = min(pause * 2, 5.0)
            else:
                self.session = session
                self._rejoining = True
                return


def brief_lock_timeout(session: Session) -> str:
    """The lock_timeout of batches: that of the session's settings, but no longer than BATCH_LOCK_SECONDS.

    A batch that waits holds the locks of other rows itself. It gives up before deadlock_timeout: an application that
    waits for this batch, while the batch waits for it, is not the one whose statement fails.
    """
    row = session.execute(
        "select least(nullif(extract(epoch from %s::interval), 0), %s) * 1000",
        [session.settings["lock_timeout"], BATCH_LOCK_SECONDS],
    ).fetchone()
    assert row is not None
    return f"{max(1, round(row[0]))}ms"


def _pid(session: Session) -> int:
    row = session.execute("select pg_backend_pid()").fetchone()
    assert row is not None
    return int(row[0])
