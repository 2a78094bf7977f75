"""The lock that a run holds for as long as it writes to a target: one run at a time."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime

import psycopg

from scripts import locks
from scripts.connection import Session, connect, keep_open
from scripts.errors import RunInProgress, UserError
from scripts.settings import Database

GRACE_SECONDS = 2.0
#: A worker ends with the batch in hand.
WORKERS_GRACE_SECONDS = 30.0

_HOLDERS = """
    select l.pid, coalesce(a.application_name, ''), coalesce(a.usename::text, ''), a.backend_start
    from pg_catalog.pg_locks as l
    left join pg_catalog.pg_stat_activity as a on a.pid = l.pid
    where
        l.locktype = 'advisory'
        and l.database = (select d.oid from pg_catalog.pg_database as d where d.datname = current_database())
        and l.classid::bigint = %s and l.objid::bigint = %s and l.objsubid = 1 and l.granted
"""


class RunLock:
    """The advisory lock of one target.

    Over a direct connection it is a lock of the session that writes: it cannot be lost while that session lives, and
    it outlives a killed client until the statement in hand has ended. Behind a pooler in transaction mode there are
    no session locks; there a second connection keeps a transaction open for the lock alone (it pins one server
    process of the pool, holds neither a snapshot nor an id, so vacuum is not kept from anything), and `check` looks
    before each batch whether that process still holds it.
    """

    def __init__(self, database: Database, key: int, what: str) -> None:
        self._database = database
        self.key = key
        self._what = what
        self._guard: Session | None = None
        self._holder: Session | None = None
        self.pid = 0
        self._started: datetime | None = None

    def acquire(self, session: Session) -> None:
        """Take the lock, or raise RunInProgress, which names the holder.

        Workers of a run whose client was killed end with the batch in hand: they are waited for.
        """
        self._acquire(session)
        self._wait_for_workers(session)

    def _acquire(self, session: Session) -> None:
        previous = (self.pid, self._started)
        if session.transaction_pooling:
            self._close_guard()
            holder = self._guard = connect(self._database, autocommit=False, application_name="migrate lock")
            keep_open(holder)
            query = "select pg_try_advisory_xact_lock(%s)"
        else:
            holder, query = session, "select pg_try_advisory_lock(%s)"
        # The server needs a moment to notice that an earlier run's client has ended or was killed.
        deadline = time.monotonic() + GRACE_SECONDS
        while True:
            row = holder.execute(query, [self.key]).fetchone()
            if row and row[0]:
                break
            if time.monotonic() > deadline:
                raise self._in_progress(session, previous)
            time.sleep(0.1)
        self._holder = holder
        found = holder.execute(
            "select pg_backend_pid(), (select backend_start from pg_stat_activity where pid = pg_backend_pid())"
        ).fetchone()
        if found:
            self.pid, self._started = found

    def take_back(self, session: Session) -> None:
        """Take the lock again after the connection was lost; the server may not have noticed yet that it was.

        Our own lost session is ended when it still holds the lock. Raises RunInProgress when another run has it.
        Our own workers go on meanwhile; as long as they live no other run begins.
        """
        if self.pid and self._started:
            # Same process number and same start: nobody else's session can be meant.
            session.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where pid = %s and backend_start = %s and pid <> pg_backend_pid()",
                [self.pid, self._started],
            )
        self._acquire(session)

    def _wait_for_workers(self, session: Session) -> None:
        assert self._holder is not None
        key = locks.workers_key(self.key)
        pooled = session.transaction_pooling
        query = "select pg_try_advisory_xact_lock(%s)" if pooled else "select pg_try_advisory_lock(%s)"
        deadline = time.monotonic() + WORKERS_GRACE_SECONDS
        while True:
            row = self._holder.execute(query, [key]).fetchone()
            if row and row[0]:
                break
            if time.monotonic() > deadline:
                error = self._in_progress(session, (0, None), key)
                self.release()
                raise error
            time.sleep(0.1)
        if not pooled:
            self._holder.execute("select pg_advisory_unlock(%s)", [key])

    def held(self, session: Session) -> bool:
        """Whether the run's main session holds the lock, as another session sees it."""
        holders = session.execute(_HOLDERS, [self.key >> 32, self.key & 0xFFFFFFFF]).fetchall()
        return any(holder[0] == self.pid for holder in holders)

    def check(self, session: Session) -> None:
        """Behind a pooler: make sure that the lock is still held, or raise UserError. Else it cannot be lost."""
        if not session.transaction_pooling:
            return
        if not self.held(session):
            raise UserError(
                f"The lock of this run on {self._what} was lost (its connection was closed by the pooler or an "
                "administrator). The run stopped, so that no second one works beside it. Run the command again.",
                exit_code=1,
            )

    def release(self) -> None:
        """Let go of the lock."""
        if self._guard is None and self._holder is not None:
            # The session is about to be closed, but the server takes a moment to let go by itself.
            with suppress(psycopg.Error):
                self._holder.execute("select pg_advisory_unlock(%s)", [self.key])
        self._holder = None
        self._close_guard()

    def _close_guard(self) -> None:
        if self._guard is not None:
            with suppress(psycopg.Error):
                self._guard.close()
            self._guard = None

    def _in_progress(
        self, session: Session, previous: tuple[int, datetime | None], key: int | None = None
    ) -> RunInProgress:
        key = key or self.key
        holders = session.execute(_HOLDERS, [key >> 32, key & 0xFFFFFFFF]).fetchall()
        self._close_guard()
        if not holders:
            return RunInProgress(f"Another run on {self._what} has just ended. Try again.")
        pid, application, user, since = holders[0]
        started = f" since {since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if since else ""
        by = f", user {user}" if user else ""
        own = " It is this run's own lost session." if (pid, since) == previous else ""
        return RunInProgress(
            f"Another run is working on {self._what}: server process {pid} "
            f"({application or 'unnamed application'}{by}){started}.{own} Wait until it is done, or stop it with "
            "Ctrl-C where it runs. `migrate log` shows its progress."
        )


class WorkerLock:
    """What the other sessions of a run hold: a lock beside the run's own, in shared mode, while they live."""

    def __init__(self, run: RunLock) -> None:
        self._run = run
        self.key = locks.workers_key(run.key)

    def acquire(self, session: Session) -> None:
        """Take the lock. Raises UserError when the run itself has lost its own: another one may have begun."""
        session.execute("select pg_advisory_lock_shared(%s)", [self.key])
        if not self._run.held(session):
            session.execute("select pg_advisory_unlock_shared(%s)", [self.key])
            raise UserError("The run's main session lost its lock. Run the command again: it goes on.", exit_code=1)

    def take_back(self, session: Session) -> None:
        """Take the lock again on a new connection."""
        self.acquire(session)

    def check(self, session: Session) -> None:
        """It cannot be lost while the session lives, and no other run begins while it is held."""

    def release(self) -> None:
        """It goes with the session."""


def for_target(database: Database, schema: str, table: str, column: str) -> RunLock:
    """The lock of a target."""
    return RunLock(database, locks.run_key(schema, table, column), f"{schema}.{table}.{column}")
