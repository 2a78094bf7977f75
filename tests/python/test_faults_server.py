"""What a server can do to a run: crash, fill its disk, end its session, run behind a pooler that loses connections.

Each test has a server of its own, which it may break, and looks at the same things: nothing is lost, nothing is written
twice, log and undo agree with the table, and the next run finishes the work.
"""

from __future__ import annotations

import locale
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
import servers
from servers import PrivateServer
from writeback_world import (
    MODEL_SCHEMA,
    SLOW,
    World,
    apply,
    check_books,
    create,
    pending,
    query,
    start,
    statuses,
    table,
    wait_for_batches,
)

from scripts import embedded, settings, verify
from scripts.connection import OLDEST_VERSION, connect
from scripts.ledger import Ledger
from scripts.settings import Database
from scripts.writeback import WriteBack

ROWS = 1_500
SESSIONS = "pg_stat_activity where application_name = 'migrate orders'"


@pytest.fixture(scope="module", params=[OLDEST_VERSION, embedded.VERSION])
def own_server(request: pytest.FixtureRequest) -> Iterator[PrivateServer]:
    """A server that may be crashed: the oldest version that is supported, then the newest.

    It writes its log to the disk so seldom that a crash loses every commit that nobody waited for.
    """
    version: int = request.param
    if version not in servers.programs():
        pytest.skip(f"PostgreSQL {version} is not installed here")
    with servers.private(version, "-c fsync=off -c wal_writer_delay=10s -c wal_writer_flush_after=1GB") as server:
        yield server


@pytest.fixture
def here(own_server: PrivateServer) -> Database:
    """An empty database on it."""
    with psycopg.connect(own_server.conninfo, autocommit=True) as session:
        session.execute("drop database if exists shop with (force)")
        session.execute("create database shop encoding 'UTF8' template template0")
    return settings.from_url(own_server.conninfo.replace("dbname=postgres", "dbname=shop"), origin="the test")


def check_finished(database: Database, world: World = SLOW) -> None:
    """Everything is written, once, and the runs can prove it."""
    assert pending(database, world) == 0
    check_books(database, world)
    with connect(database) as session:
        ledger = Ledger(MODEL_SCHEMA, world.schema)
        for run in ledger.runs(session):
            proof = verify.verify(session, ledger, run)
            assert proof.holds, proof.problems


def output(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and stderr of a run, once it has ended."""
    _, said = process.communicate(timeout=90)
    return process.returncode, said


# ---------- crashes


@pytest.mark.parametrize("batches", [0, 20])
def test_a_crash_of_the_server_in_the_middle_of_a_run(own_server: PrivateServer, here: Database, batches: int) -> None:
    """The run connects again and goes on. What the crash lost, it lost whole: the rows are pending and come again."""
    create(here, SLOW, ROWS)
    process = start(here, SLOW)
    while not query(here, f"select 1 from {MODEL_SCHEMA}.migration_runs"):
        time.sleep(0.01)
    wait_for_batches(here, batches)
    own_server.stop("immediate")
    time.sleep(0.2)
    own_server.start()
    assert output(process)[0] == 0
    assert statuses(here) == ["done"]
    check_finished(here)


def test_a_crash_of_the_server_when_all_is_written(
    own_server: PrivateServer, here: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was counted as written is lost, and nothing seems to be left to do."""
    create(here, SLOW, 300)
    one_pass = WriteBack._pass

    def then_crash(run: WriteBack, **how: bool) -> None:
        one_pass(run, **how)
        if run.tally.passes == 2:
            own_server.stop("immediate")
            own_server.start()

    monkeypatch.setattr(WriteBack, "_pass", then_crash)
    result = apply(here, SLOW)
    assert (result.status, result.tally.succeeded, result.pending_left) == ("done", 300, 0)
    check_finished(here)


def test_a_crash_of_server_and_client(own_server: PrivateServer, here: Database) -> None:
    create(here, SLOW, ROWS)
    process = start(here, SLOW)
    wait_for_batches(here, 15)
    own_server.stop("immediate")
    process.kill()
    process.wait()
    own_server.start()
    check_books(here, SLOW)
    # The run is on the books, as what it is, although all its batches may be lost.
    assert statuses(here) == ["crashed"]
    left = pending(here, SLOW)
    assert apply(here, SLOW).tally.succeeded == left
    assert statuses(here) == ["done", "crashed"]
    check_finished(here)


def test_sessions_that_are_ended_again_and_again(here: Database) -> None:
    moments = random.Random(5)
    create(here, SLOW, ROWS)
    process = start(here, SLOW)
    ended = 0
    for _ in range(6):
        time.sleep(moments.uniform(0.0, 0.3))
        ended += len(
            query(
                here, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'migrate orders'"
            )
        )
    assert ended
    assert output(process)[0] == 0
    assert statuses(here) == ["done"]
    check_finished(here)


# ---------- the disk


@contextmanager
def small_disk(owner: str | None, megabytes: int) -> Iterator[Path]:
    """A disk of its own, as root; where that is not allowed the test says so."""
    folder = Path("/tmp") / f"small_disk_{os.getpid()}"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder], capture_output=True, check=False
    )
    if done.returncode != 0:
        folder.rmdir()
        pytest.skip("NOT TESTED: a full disk (mounting a small one takes root)")
    try:
        if owner:
            shutil.chown(folder, owner)
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
        folder.rmdir()


def test_a_full_disk(own_server: PrivateServer, here: Database) -> None:
    """The run ends with the remedy; what was written stays, and once there is room the next run goes on."""
    rows = 4_000
    long = "(select string_agg(md5(e.key || ' ' || i), '') from generate_series(1, 20) as i)"  # does not compress
    world = replace(SLOW, value=f"jsonb_build_object('text', {long})")
    create(here, world, rows)
    with small_disk(servers.account(), 3) as disk:
        with psycopg.connect(here.conninfo, autocommit=True) as session:
            session.execute(f"create tablespace small location '{disk}'")
            session.execute(f"alter table {table(world)} set tablespace small")
        try:
            code, said = output(start(here, world))
            assert code == 1
            assert "disk" in said
            assert "Run the command again" in said
            left = pending(here, world)
            assert 0 < left < rows
            assert statuses(here) == ["failed"]
            check_books(here, world)
            subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
            assert apply(here, world).tally.succeeded == left
            check_finished(here, world)
        finally:
            with psycopg.connect(here.conninfo, autocommit=True) as session:
                session.execute(f"alter table {table(world)} set tablespace pg_default")
                session.execute("drop tablespace small")


# ---------- its language


def test_a_server_that_does_not_speak_english(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a trigger raised is told by words that are the same in every language: it is a row's fault, and masked."""
    words = "C.UTF-8"  # a locale that lets LANGUAGE choose, without being installed for each language
    try:
        locale.setlocale(locale.LC_MESSAGES, words)
    except locale.Error:
        pytest.skip(f"NOT TESTED: messages in another language (there is no locale {words})")
    finally:
        locale.setlocale(locale.LC_MESSAGES, "C")
    if OLDEST_VERSION not in servers.programs():
        pytest.skip(f"PostgreSQL {OLDEST_VERSION} is not installed here")
    monkeypatch.setenv("LANGUAGE", "de")
    refuse = f"""
    create function shop.refuse() returns trigger language plpgsql as $$ begin
        if (new.body ->> 'n')::int % 50 = 7 then
            raise exception '% may not be changed', new.body ->> 'name' using errcode = '42501';
        end if;
        return new;
    end $$;
    create trigger refuse before update on {table(World())} for each row execute function shop.refuse();
    """
    world = World(extra=[refuse])
    with servers.private(OLDEST_VERSION, f"-c fsync=off -c lc_messages={words}") as server:
        database = settings.from_url(server.conninfo, origin="the test")
        create(database, world, 100)
        result = apply(database, world)
        assert (result.status, result.tally.succeeded, result.tally.failed) == ("done", 98, 2)
        said = query(database, "select string_agg(error_details::text, ' ') from shop.migration_log")[0][0]
        assert "42501: … may not be changed" in said
        assert "Ann" not in said
