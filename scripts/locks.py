"""The tool's advisory locks: their keys in one place, and how to hold one.

A key is a bigint: the high half is NAMESPACE, the low half tells the lock. So SQL can ask for all of
them at once (`pg_locks` shows the halves as `classid` and `objid`, with `objsubid` = 1):

    low half 0   a build of the models (one per database)
    any other    a run that writes to a target (one per target; the low half is a CRC of its name)

Beside each run's key lies another one, in a namespace of its own, that the run's other sessions hold in shared mode.

A build is refused while a run is active, and a run waits for a build.
"""

import os
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import LiteralString

from scripts.connection import Session, connect, keep_open
from scripts.errors import RunInProgress
from scripts.settings import Database

NAMESPACE = 0x43414E4F  # "CANO"
BUILD_KEY = NAMESPACE << 32
BUILD_WAIT_SECONDS = 120.0

_ACTIVE_RUNS: LiteralString = """
    select l.pid, l.objid::bigint, coalesce(a.application_name, ''), a.backend_start
    from pg_locks as l
    left join pg_stat_activity as a on l.pid = a.pid
    where
        l.locktype = 'advisory'
        and l.database = (select d.oid from pg_database as d where d.datname = current_database())
        and l.classid::bigint = %s
        and l.objid::bigint <> 0
        and l.objsubid = 1
        and l.granted
"""

# Builds that a thread of this process holds already, so that `building` may be nested in it.
_held: dict[tuple[int, int, str], int] = {}


def lock_key(name: str) -> int:
    """The key of a named lock; the same name gives the same key in every process. Never the build's key."""
    return BUILD_KEY | (zlib.crc32(name.encode()) or 1)


def run_key(schema: str, table: str, column: str) -> int:
    """The key of the lock that a run holds while it writes to this column."""
    return lock_key(f"{schema}.{table}.{column}")


def workers_key(run: int) -> int:
    """The key that the workers of a run share, from the run's own key."""
    return (NAMESPACE + 2) << 32 | (run & 0xFFFFFFFF)


def active_runs(session: Session) -> list[int]:
    """The backend pids of the runs (of any target in this database) that are writing now."""
    with session.cursor() as cursor:
        cursor.execute(_ACTIVE_RUNS, (NAMESPACE,))
        return [row[0] for row in cursor.fetchall()]


@contextmanager
def held(database: Database, key: int, *, wait_seconds: float = 0.0) -> Iterator[bool]:
    """Try to hold a lock in a transaction of its own connection; yields whether it is held.

    A lock of a transaction, not of a session, so that it holds behind a pooler in transaction mode too.
    The transaction stays idle and has neither a snapshot nor an id, so it keeps nothing from vacuum.
    """
    with connect(database, application_name="migrate lock") as session, session.transaction():
        keep_open(session)
        deadline = time.monotonic() + wait_seconds
        while True:
            row = session.execute("select pg_try_advisory_xact_lock(%s)", (key,)).fetchone()
            if (row is not None and row[0]) or time.monotonic() >= deadline:
                break
            time.sleep(0.3)
        yield bool(row is not None and row[0])


@contextmanager
def building(database: Database) -> Iterator[None]:
    """Hold the database's build lock: nobody rebuilds the models meanwhile. May be nested in one thread.

    A run takes it, brings its models up to date, takes its target's lock, and lets go of this one.
    Raises RunInProgress when somebody else still builds after two minutes.
    """
    name = (os.getpid(), threading.get_ident(), database.conninfo)
    if _held.get(name):
        _held[name] += 1
        try:
            yield
        finally:
            _held[name] -= 1
        return
    with held(database, BUILD_KEY, wait_seconds=BUILD_WAIT_SECONDS) as got:
        if not got:
            raise RunInProgress(
                f"Another process is building the models in {database.label}. Wait until it is done and try again."
            )
        _held[name] = 1
        try:
            yield
        finally:
            del _held[name]
