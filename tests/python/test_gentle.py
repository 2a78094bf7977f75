"""A run beside others: applications at full speed, batches that keep to a time, and throttles with real causes."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any

import psycopg
import pytest
from conftest import Cli
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn
from writeback_world import MODEL_SCHEMA, Notes, World, apply, check_books, create, insert, key, pending, query, table

from scripts import batches, throttles
from scripts.batch_size import BatchSize
from scripts.connection import connect
from scripts.migration import Result
from scripts.pace import Pace
from scripts.settings import Database

PLAIN = World()
SLOW = World(value="case when pg_sleep(0.001) is not null then e.body end")
ROWS = 2_000


def execute(database: Database, *statements: str) -> None:
    """Run statements that answer nothing."""
    with psycopg.connect(database.conninfo, autocommit=True) as session:
        for statement in statements:
            session.execute(sql.SQL(statement))


class Running:
    """A run in a thread of its own."""

    def __init__(self, database: Database, world: World, pace: Pace, batch_size: int = 50) -> None:
        self.notes = Notes()
        self._results: list[Result] = []
        self._thread = threading.Thread(
            target=lambda: self._results.append(
                apply(database, world, batch_size=batch_size, pace=pace, notes=self.notes)
            )
        )
        self._thread.start()

    def until(self, reason: str | None, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Wait until the run waits for a reason with these words (None: until it goes on again), doing `meanwhile`."""
        deadline = time.monotonic() + 30
        while not self.notes.reasons or (
            (reason not in (self.notes.reasons[-1] or "")) if reason else self.notes.reasons[-1] is not None
        ):
            assert time.monotonic() < deadline, f"{reason}: {self.notes.reasons}"
            meanwhile()
            time.sleep(0.02)

    def result(self) -> Result:
        """How it ended."""
        self._thread.join(90)
        return self._results[0]


# ---------- an application at full speed


@pytest.mark.parametrize("workers", [1, 2])
def test_an_application_at_full_speed_waits_for_no_more_than_a_batch(database: Database, workers: int) -> None:
    world = SLOW.spread
    create(database, world, ROWS)
    ended = threading.Event()
    slowest: list[float] = []
    errors: list[Exception] = []
    inserted, updates, last = [0], [0], dict[int, int]()

    def work(step: Callable[[psycopg.Connection[Any]], None]) -> None:
        try:
            with psycopg.connect(database.conninfo, autocommit=True) as session:
                while not ended.is_set():
                    began = time.monotonic()
                    step(session)
                    slowest.append(time.monotonic() - began)
        except Exception as error:
            errors.append(error)

    def change(session: psycopg.Connection[Any]) -> None:
        updates[0] += 1
        number = 7 if updates[0] % 3 == 0 else updates[0] * 13 % ROWS + 1  # one of them again and again
        session.execute(
            f"update {table(world)} set seen = seen + 1, body = body || jsonb_build_object('again', %s::integer) "
            f"where (body ->> 'n')::int = %s",
            [updates[0], number],
        )
        last[number] = updates[0]

    def add(session: psycopg.Connection[Any]) -> None:
        inserted[0] += 1
        insert(session, world, 1, 100_000 + inserted[0])

    # Without an index an update would take as long as a batch itself.
    execute(database, f"create index on {table(world)} (((body ->> 'n')::int))")
    threads = [threading.Thread(target=work, args=(step,)) for step in (change, add)]
    for thread in threads:
        thread.start()
    run = Running(database, world, Pace(workers=workers))
    try:
        deadline = time.monotonic() + 60
        # Into the last passes.
        while sum(done for done, _ in run.notes.advances) < ROWS and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    result = run.result()
    assert not errors
    assert inserted[0] > 50
    assert updates[0] > 50
    assert (result.status, result.pending_left, result.tally.failed) == ("done", 0, 0)
    assert result.tally.succeeded == ROWS + inserted[0]
    assert result.tally.other_columns_changed == 0
    # A second for the machine, which other tests keep busy.
    longest = query(
        database, "select max(extract(epoch from completed_at - started_at))::float from shop.migration_log"
    )
    assert max(slowest) < longest[0][0] + 1.0
    assert query(database, f"select sum(seen)::int, count(*)::int from {table(world)}") == [
        (updates[0], ROWS + inserted[0])
    ]
    seen = query(
        database, f"select (body ->> 'n')::int, (body ->> 'again')::int from {table(world)} where body ? 'again'"
    )
    assert dict(seen) == last


# ---------- batches that keep to a time, and to a size


def test_a_batch_grows_slowly_and_shrinks_at_once() -> None:
    size = BatchSize(1_000, 2.0)
    size.took(1_000, 0.1)
    assert size.rows == 1_200
    size.took(300, 0.01)  # the last of a part: says nothing
    assert size.rows == 1_200
    size.took(1_200, 1.9)
    assert size.rows == 1_263
    size.took(1_263, 20.0)
    assert size.rows == 126
    size.took(1, 30.0)
    assert size.rows == 1
    size.took(1, 0.001)
    assert size.rows == 2
    fixed = BatchSize(1_000)
    fixed.took(1_000, 99.0)
    assert fixed.rows == 1_000
    fixed.timed_out(1_000)
    assert fixed.rows == 500


def written(database: Database) -> list[int]:
    return [row[0] for row in query(database, "select records_succeeded from shop.migration_log order by batch_number")]


def test_batches_keep_to_the_time(database: Database) -> None:
    create(database, SLOW, 1_000)
    result = apply(database, SLOW, batch_size=400, pace=Pace(target_seconds=0.1))
    assert result.pending_left == 0
    sizes = written(database)
    assert sizes[0] == 400
    assert sizes[1] <= 100  # a row takes a millisecond and more
    assert all(after <= max(before * 1.2, before + 1) for before, after in pairwise(sizes))
    check_books(database, SLOW)


@pytest.mark.parametrize("workers", [1, 2])
def test_large_payloads_do_not_blow_a_batch_up(database: Database, workers: int) -> None:
    large = "(select json_agg(md5(random()::text || i)) from generate_series(1, 3000) as i)"  # 100 kB and more
    world = World(
        extra=[
            f"alter table {table(PLAIN)} alter column note set storage external",
            f"update {table(PLAIN)} set note = {large} where (body ->> 'n')::int > 80",
            f"vacuum full {table(PLAIN)}",
        ]
    )
    create(database, world, 100)
    assert query(database, f"select min(pg_column_size(note)) > 100000 from {table(world)} where seen = 0 "
                           "and (body ->> 'n')::int > 80") == [(True,)]  # fmt: skip
    result = apply(database, world, batch_size=90, pace=Pace(workers=workers, batch_bytes=350_000))
    assert result.pending_left == 0
    per_batch = query(
        database,
        f"""
        select max(b.size), max(b.rows) from (
            select sum(pg_column_size(t.note)) as size, count(*) as rows
            from {MODEL_SCHEMA}.migration_undo as u
            cross join unnest(u.row_ids) as i (id)
            inner join {table(world)} as t on t.{key(world)} = i.id
            group by u.log_id
        ) as b
        """,
    )
    assert 200_000 < per_batch[0][0] <= 350_000
    assert per_batch[0][1] > 50
    # One that is larger than the limit alone is a batch of its own.
    execute(database, f'update {table(world)} set "Canonical" = null')
    apply(database, world, pace=Pace(batch_bytes=50_000))
    assert pending(database, world) == 0
    assert written(database).count(1) >= 20


# ---------- throttles


@contextmanager
def replica(server: Database, slot: str = "", *, flushes: bool = True) -> Iterator[Callable[[], None]]:
    """A replica that says how far it is only when it is told to; one that does not flush says what it received."""
    conn = PGconn.connect(make_conninfo(server.conninfo, replication="true", application_name="reader").encode())

    def at() -> int:
        high, low = query(server, "select pg_current_wal_lsn()::text")[0][0].split("/")
        return int(high, 16) << 32 | int(low, 16)

    def tell() -> None:
        place = at()
        flushed = place if flushes else 0
        conn.put_copy_data(b"r" + struct.pack("!QQQqb", place, flushed, flushed, 0, 0))
        while conn.flush():
            time.sleep(0.01)

    try:
        place = at() & ~0xFFFFFF
        slotted = f"SLOT {slot} " if slot else ""
        start = f"{place >> 32:X}/{place & 0xFFFFFFFF:X}"
        conn.send_query(f"START_REPLICATION {slotted}PHYSICAL {start}".encode())
        conn.get_result()
        tell()
        yield tell
    finally:
        conn.finish()


def test_a_replica_that_lags_is_waited_for(database: Database) -> None:
    create(database, SLOW, ROWS)
    with replica(database) as tell:
        run = Running(database, SLOW, Pace(max_lag=0.5))
        run.until("replica reader is")
        (reason,) = query(database, f"select waiting_for from {MODEL_SCHEMA}.migration_runs")[0]
        assert reason.endswith("s behind, more than 0.5 s")
        done = pending(database, SLOW)
        time.sleep(0.6)
        assert pending(database, SLOW) == done
        run.until(None, tell)  # once might be too little: waiting is written down, and the replica behind again
    result = run.result()
    assert result.pending_left == 0
    assert "replication lag" in [wait["reason"] for wait in result.tally.waits]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_replication_slot_left_behind_is_named(database: Database, workers: int) -> None:
    world = SLOW.spread
    create(database, world, ROWS)
    slot = f"left_{workers}"
    query(database, "select pg_create_physical_replication_slot(%s, true)::text", [slot])
    try:
        run = Running(database, world, Pace(max_lag=0.5, workers=workers))
        run.until(f"replication slot {slot} (nobody reads it) is")
        time.sleep(0.4)  # the batch in hand of the other worker
        done = pending(database, world)
        time.sleep(0.6)
        assert 0 < pending(database, world) == done
    finally:
        query(database, "select pg_drop_replication_slot(%s)::text", [slot])
    assert run.result().pending_left == 0
    check_books(database, world)


def test_who_needs_no_wait_is_not_waited_for(database: Database) -> None:
    """An archiver that has received all and flushes at the end of a file; a slot that the server has given up."""
    slots = ("archive", "given_up") if query(database, "show server_version_num")[0][0] >= "180000" else ("archive",)
    for slot in slots:
        query(database, "select pg_create_physical_replication_slot(%s, true)::text", [slot])
    throttle = throttles.chosen(Pace(max_lag=0.3), [], list)[0]
    try:
        with replica(database, "archive", flushes=False) as tell, connect(database) as session:
            if "given_up" in slots:
                execute(database, "alter system set idle_replication_slot_timeout = '1s'", "select pg_reload_conf()")
                time.sleep(1.2)
                execute(database, "checkpoint")
                lost = "select restart_lsn is not null from pg_replication_slots where wal_status = 'lost'"
                assert query(database, lost) == [(True,)]
            deadline = time.monotonic() + 2.5
            while time.monotonic() < deadline:
                execute(database, "select pg_logical_emit_message(false, '', 'x')")
                tell()
                assert throttle.look(session) is None
                time.sleep(0.1)
    finally:
        if "given_up" in slots:
            execute(database, "alter system reset idle_replication_slot_timeout", "select pg_reload_conf()")
        for slot in slots:
            query(database, "select pg_drop_replication_slot(%s)::text", [slot])


def test_too_many_active_sessions_are_waited_for(database: Database) -> None:
    create(database, SLOW, ROWS)
    stop = threading.Event()

    def busy() -> None:
        with psycopg.connect(database.conninfo, autocommit=True) as session:
            while not stop.is_set():
                session.execute("select pg_sleep(0.3)")

    threads = [threading.Thread(target=busy) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        run = Running(database, SLOW, Pace(workers=2, max_sessions=2))
        run.until("sessions are active, more than 2")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert run.result().pending_left == 0


def test_the_rate_of_wal_is_kept(database: Database) -> None:
    create(database, SLOW, ROWS)
    began = time.monotonic()
    position = "select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint"
    before = query(database, position)[0][0]
    result = apply(database, SLOW, pace=Pace(max_wal_rate=0.2))
    seconds = time.monotonic() - began
    # What was written in the first second, before the rate was known, is not waited off by a run that has ended.
    megabytes = (query(database, position)[0][0] - before) / 2**20
    assert result.pending_left == 0
    assert [wait["reason"] for wait in result.tally.waits] == ["WAL rate"]
    assert megabytes / seconds < 0.5


def test_dead_rows_are_vacuumed_away(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttles, "VACUUM_SECONDS", 1.0)
    kill = f"update {table(PLAIN)} set seen = seen + 1"
    world = replace(SLOW, extra=[f"alter table {table(PLAIN)} set (autovacuum_enabled = false)", kill, kill])
    create(database, world, ROWS)
    time.sleep(1.2)  # until the server has counted
    with psycopg.connect(database.conninfo) as old:
        old.execute("set transaction isolation level repeatable read")
        old.execute("select count(*) from pg_class")  # it may still want to see them
        execute(database, kill)
        run = Running(database, world, Pace(max_dead=0.3))
        run.until("vacuum cannot remove them while an old transaction")
        done = pending(database, world)
        time.sleep(0.6)
        assert pending(database, world) == done
    result = run.result()
    assert result.pending_left == 0
    assert any("more than 30%: vacuum" in (reason or "") for reason in run.notes.reasons)
    found = query(database, "select vacuum_count > 1 from pg_stat_user_tables where relname = %s", [world.table])
    assert found == [(True,)]


def test_what_cannot_be_read_makes_the_run_wait(database: Database) -> None:
    create(database, PLAIN, 100)
    role = f"reader_{query(database, 'select current_database()')[0][0]}"
    execute(
        database,
        f"create role {role} login",
        f"grant usage on schema shop to {role}",
        f"alter table {table(PLAIN)} set (autovacuum_enabled = false)",
        f"update {table(PLAIN)} set seen = 1",
    )
    try:
        with replica(database), connect(replace(database, role=role)) as session:
            leaves = batches.leaves(session, PLAIN.schema, PLAIN.table)
            pace = Pace(max_lag=9, max_dead=0.01, max_sessions=9, max_wal_rate=9)
            said = {each.kind: each for each in throttles.chosen(pace, leaves, list)}
            grant = f'let an administrator run `grant pg_monitor to "{role}";`'
            assert said["replication lag"].look(session) == (
                f"the replication lag cannot be read: {grant}, or switch this off with --max-lag off"
            )
            assert said["active sessions"].look(session) == (
                f"the active sessions cannot be read: {grant}, or switch this off with --max-sessions off"
            )
            assert said["WAL rate"].look(session) is None
            dead = throttles.chosen(Pace(max_dead=0.01, max_lag=None), leaves, list)[0]
            deadline = time.monotonic() + 60
            while "only its owner may vacuum" not in (dead.look(session) or "") and time.monotonic() < deadline:
                time.sleep(0.2)
            assert "only its owner may vacuum" in (dead.look(session) or "")
        assert throttles.chosen(Pace(max_lag=None), leaves, list) == []
    finally:
        execute(database, f"drop owned by {role}", f"drop role {role}")


def test_the_options_of_the_command(demo_database: Database, cli: Cli) -> None:
    refused = cli("events", "--max-lag", "soon", database=demo_database, expect=2)
    assert "neither a number nor off" in refused.stderr
    cli(
        "events", "--apply", "--yes", "--no-build", "--workers", "2", "--target-seconds", "0.5", "--max-lag", "off",
        "--max-sessions", "80", "--max-wal-rate", "900", "--max-dead", "0.9", database=demo_database,
    )  # fmt: skip
    settings = query(
        demo_database,
        "select settings, status from canonical_migration.migration_runs order by started_at desc limit 1",
    )
    stored, status = settings[0]
    assert status == "done"
    assert Pace.from_json(stored) == Pace(
        workers=2, target_seconds=0.5, max_lag=None, max_wal_rate=900, max_dead=0.9, max_sessions=80
    )
    assert stored["expected_rows"] > 100
