"""The write-back engine through a pooler in transaction mode: pgbouncer where there is one, else a small stand-in."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pooler import BINARY, pooled
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from writeback_world import MODEL_SCHEMA, Notes, World, apply, check_books, create, opened, pending, query, statuses

from scripts import writeback
from scripts.errors import RunInProgress, UserError
from scripts.pace import Pace
from scripts.settings import Database

# Slow enough that something can happen meanwhile.
SLOW = World(value="case when pg_sleep(0.0004) is not null then e.body end")

# Of this database only: other tests may run on the same server.
LOCKS = """
from pg_locks as l
inner join pg_database as d on d.oid = l.database and d.datname = current_database()
where l.locktype = 'advisory' and l.granted
"""


class Bouncer:
    """A pgbouncer in front of one database."""

    def __init__(self, database: Database) -> None:
        parameters = conninfo_to_dict(database.conninfo)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._folder = Path(tempfile.mkdtemp(prefix="bouncer_"))
        self._folder.chmod(0o777)
        host = Path(str(parameters.get("host") or ""))
        self._account = host.owner() if host.is_dir() else "nobody"
        server = " ".join(
            f"{name}='{parameters[name]}'" for name in ("host", "port", "user", "password") if parameters.get(name)
        )
        (self._folder / "ini").write_text(
            f"[databases]\npooled = {server} dbname={parameters['dbname']}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self._port}\nunix_socket_dir =\nauth_type = any\n"
            f"pool_mode = transaction\ndefault_pool_size = 4\nlogfile = {self._folder}/log\n"
        )
        self.database = replace(
            database, conninfo=make_conninfo("", host="127.0.0.1", port=self._port, user="x", dbname="pooled")
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert BINARY is not None
        # It refuses to run as root, and the embedded server's socket is open to its own account alone.
        as_root = ["-u", self._account] if os.geteuid() == 0 else []
        self._process = subprocess.Popen(
            [BINARY, "-q", *as_root, str(self._folder / "ini")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(100):
            try:
                psycopg.connect(self.database.conninfo, connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                time.sleep(0.05)
        raise AssertionError((self._folder / "log").read_text())

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder)


@pytest.fixture
def bouncer(database: Database) -> Iterator[Bouncer]:
    """A real pgbouncer."""
    if BINARY is None:
        pytest.skip("pgbouncer is not installed")
    made = Bouncer(database)
    made.start()
    yield made
    made.remove()


@pytest.fixture
def through(database: Database) -> Iterator[Database]:
    """The database through a pooler of either kind."""
    if BINARY is None:
        with pooled(database.conninfo, size=4) as conninfo:
            yield replace(database, conninfo=conninfo)
        return
    made = Bouncer(database)
    made.start()
    yield made.database
    made.remove()


@pytest.fixture
def in_background() -> Iterator[Callable[[Database, Notes], list[Any]]]:
    """Start a run in a thread; what becomes of it is put into the list."""
    threads: list[threading.Thread] = []

    def run(database: Database, notes: Notes) -> list[Any]:
        became: list[Any] = []

        def work() -> None:
            try:
                became.append(apply(database, SLOW, notes=notes))
            except UserError as error:
                became.append(error)

        threads.append(threading.Thread(target=work))
        threads[-1].start()
        deadline = time.monotonic() + 30
        while not _has_begun(database) and time.monotonic() < deadline:
            time.sleep(0.05)
        became.append(threads[-1])
        return became

    yield run
    for thread in threads:
        thread.join()


def _has_begun(database: Database) -> bool:
    log = "shop.migration_log"
    return bool(query(database, f"select to_regclass('{log}') is not null")[0][0]) and bool(
        query(database, f"select exists (select 1 from {log})")[0][0]
    )


def finished(became: list[Any]) -> Any:
    thread = next(item for item in became if isinstance(item, threading.Thread))
    thread.join(60)
    return next(item for item in became if item is not thread)


def test_a_run_through_the_pooler(database: Database, through: Database) -> None:
    create(database, SLOW, 500)
    with opened(through, SLOW) as writing:
        assert writing.session.transaction_pooling
        result = writing.apply(writeback.Options(100), Notes())
    assert (result.tally.succeeded, result.pending_left) == (500, 0)
    check_books(database, SLOW)
    # Neither a lock nor a setting stays behind in the pool.
    assert query(database, f"select count(*) {LOCKS}") == [(0,)]
    with psycopg.connect(through.conninfo) as other:
        assert other.execute("show plan_cache_mode").fetchone() == ("auto",)


def test_several_workers_are_refused_before_anything_is_written(database: Database, through: Database) -> None:
    create(database, SLOW, 50)
    with opened(through, SLOW) as writing, pytest.raises(UserError, match=r"Several workers.*Leave out --workers"):
        writing.apply(writeback.Options(10, pace=Pace(workers=2)), Notes())
    assert pending(database, SLOW) == 50
    assert query(database, f"select count(*) from {MODEL_SCHEMA}.migration_runs") == [(0,)]
    assert query(database, f"select count(*) {LOCKS}") == [(0,)]


@pytest.mark.parametrize("second", ["direct", "pooled"])
def test_one_run_at_a_time(
    database: Database, through: Database, second: str, in_background: Callable[[Database, Notes], list[Any]]
) -> None:
    create(database, SLOW, 5_000)
    became = in_background(through, Notes())
    with pytest.raises(RunInProgress, match="server process"):
        apply(database if second == "direct" else through, SLOW)
    assert statuses(database) == ["running"]
    assert finished(became).tally.succeeded == 5_000


def test_a_lost_lock_stops_the_run(
    database: Database, through: Database, in_background: Callable[[Database, Notes], list[Any]]
) -> None:
    create(database, SLOW, 6_000)
    became = in_background(through, Notes())
    query(database, f"select pg_terminate_backend(l.pid) {LOCKS}")
    error = finished(became)
    assert isinstance(error, UserError)
    assert "lock of this run" in error.message
    assert 0 < pending(database, SLOW) < 6_000
    check_books(database, SLOW)
    assert query(database, f"select status from {MODEL_SCHEMA}.migration_runs") == [("failed",)]
    assert apply(through, SLOW).pending_left == 0


def test_the_servers_of_a_pooler_are_ended_again_and_again(
    database: Database, bouncer: Bouncer, in_background: Callable[[Database, Notes], list[Any]]
) -> None:
    """The session that holds the lock is let be: without it a run stops (see above)."""
    create(database, SLOW, 4_000)
    notes = Notes()
    became = in_background(bouncer.database, notes)
    for _ in range(4):
        time.sleep(0.3)
        query(
            database,
            f"""
            select pg_terminate_backend(a.pid) from pg_stat_activity as a
            where a.datname = current_database() and a.pid <> pg_backend_pid()
            and a.application_name not like 'migrate lock%' and a.pid not in (select l.pid {LOCKS})
            """,
        )
    result = finished(became)
    assert not isinstance(result, UserError), result
    assert result.pending_left == 0
    assert notes.notices
    check_books(database, SLOW)


def test_a_pooler_that_is_restarted(
    database: Database, bouncer: Bouncer, in_background: Callable[[Database, Notes], list[Any]]
) -> None:
    create(database, SLOW, 4_000)
    notes = Notes()
    became = in_background(bouncer.database, notes)
    bouncer.stop()
    time.sleep(1)
    bouncer.start()
    result = finished(became)
    assert not isinstance(result, UserError), result
    assert result.pending_left == 0
    assert any("connecting again" in notice for notice in notes.notices)
    check_books(database, SLOW)
