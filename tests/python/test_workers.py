"""Several workers on one target: each its own pages, the same books, and nothing lost whatever happens to them."""

from __future__ import annotations

import random
import signal
import time
from dataclasses import replace
from itertools import pairwise
from typing import Any

import psycopg
import pytest
from writeback_world import (
    Notes,
    World,
    apply,
    check_books,
    create,
    opened,
    pending,
    query,
    start,
    statuses,
    wait_for_batches,
)

from scripts import batches, run_lock
from scripts.batches import Leaf, Part
from scripts.connection import connect
from scripts.errors import RunInProgress, UserError
from scripts.migration import RunFailedError
from scripts.pace import Pace
from scripts.settings import Database

ROWS = 3_000
TWO = Pace(workers=2)
PLAIN = World().spread
SLOW = World(value="case when pg_sleep(0.0005) is not null then e.body end").spread


def ranges(database: Database) -> list[tuple[str, tuple[int, int], tuple[int, int]]]:
    """Table, first and last place of each batch of the log."""
    found = query(
        database,
        "select details ->> 'table', details ->> 'after', details ->> 'upto' from shop.migration_log "
        "where kind = 'apply' and records_succeeded > 0",
    )
    return [(name, batches.place(after), batches.place(upto)) for name, after, upto in found]


@pytest.mark.parametrize("workers", [2, 3])
def test_several_workers_write_every_row_once(database: Database, workers: int) -> None:
    create(database, PLAIN, ROWS)
    result = apply(database, PLAIN, batch_size=100, pace=Pace(workers=workers))
    assert (result.tally.succeeded, result.pending_left, result.tally.workers) == (ROWS, 0, workers)
    assert result.tally.other_columns_changed == 0
    check_books(database, PLAIN)
    numbers = [row[0] for row in query(database, "select batch_number from shop.migration_log order by 1")]
    assert len(set(numbers)) == len(numbers) == result.tally.batches
    # What the last batch in hand of a worker did not need may be missing, since the others went on.
    assert numbers[-1] < len(numbers) + workers
    # No row's page was in the hands of two: batches do not overlap, and parts end between pages.
    found = sorted(ranges(database))
    for (_, _, upto), (_, after, _) in pairwise(found):
        assert upto <= after


def test_workers_share_partitions_and_stop_at_the_limit(database: Database) -> None:
    world = World(partitioned=True)
    create(database, world, 2_000)
    with psycopg.connect(database.conninfo, autocommit=True) as session:
        for leaf in ("jan", "feb_a", "feb_b", "others"):
            session.execute(f"alter table shop.{leaf} set (fillfactor = 10)")
            session.execute(f"vacuum full shop.{leaf}")
    for done in (777, 1_500):
        result = apply(database, world, batch_size=30, limit=done - (2_000 - pending(database, world)), pace=TWO)
        assert pending(database, world) == 2_000 - done
        assert result.tally.processed == (777 if done == 777 else 1_500 - 777)
    assert apply(database, world, pace=TWO).tally.succeeded == 500
    check_books(database, world)


def test_a_limit_that_one_worker_has_reserved_is_reached_all_the_same(database: Database) -> None:
    """What is left of a part is less than a batch: the worker that reserved the whole limit cannot fill it."""
    create(database, PLAIN, ROWS)
    for done in range(100, 2_000, 270):
        result = apply(database, PLAIN, batch_size=270, limit=done - (ROWS - pending(database, PLAIN)), pace=TWO)
        assert (ROWS - pending(database, PLAIN), result.tally.processed) == (done, 100 if done == 100 else 270)
    check_books(database, PLAIN)


def test_parts_cover_a_leaf_once_and_get_smaller(database: Database) -> None:
    create(database, PLAIN, ROWS)
    with connect(database) as session:
        leaf = batches.leaves(session, PLAIN.schema, PLAIN.table)[0]
        pages = batches.page_count(session, leaf)
        assert pages is not None
        parts = batches.parts(session, leaf, 2, to_the_end=False)
        assert [part.after for part in parts] == ["(0,0)", *(part.upto for part in parts[:-1])]
        assert parts[-1].upto == f"({pages},0)"
        sizes = [batches.place(part.upto)[0] - batches.place(part.after)[0] for part in parts]
        assert sizes == sorted(sizes, reverse=True)
        assert len(sizes) > 4
        assert batches.parts(session, leaf, 2, to_the_end=True)[-1].upto == batches.END
        assert batches.parts(session, leaf, 1, to_the_end=False) == [Part(leaf)]
        session.execute("create table shop.empty (id uuid)")
        empty: Leaf = batches.leaves(session, "shop", "empty")[0]
        assert batches.parts(session, empty, 2, to_the_end=True) == [Part(empty)]


def test_bad_rows_are_found_by_every_worker(database: Database) -> None:
    world = World(value="jsonb_build_object('x', 1 / ((e.body ->> 'n')::int % 100))").spread
    create(database, world, ROWS)
    result = apply(database, world, batch_size=60, pace=TWO)
    assert (result.tally.succeeded, result.tally.failed, result.pending_left) == (ROWS - 30, 30, 30)
    check_books(database, world)
    logged = query(database, "select records_failed, batch_number from shop.migration_log")
    assert sum(failed for failed, _ in logged) == 30
    assert len({number for _, number in logged}) == len(logged)
    assert max(number for _, number in logged) < len(logged) + 2


def test_what_ends_one_worker_ends_the_run(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.worker.FAILURES_IN_A_ROW", 20)
    world = World(value="jsonb_build_object('x', 1 / ((e.body ->> 'n')::int * 0))").spread
    create(database, world, ROWS)
    with pytest.raises(RunFailedError, match=r"rows failed one after the other, the last with 22012"):
        apply(database, world, pace=TWO)
    assert statuses(database) == ["failed"]
    assert 20 <= query(database, "select sum(records_failed) from shop.migration_log")[0][0] <= 25


def test_a_model_that_leaves_rows_to_a_person_has_one_worker(database: Database) -> None:
    world = replace(PLAIN, complete=False)
    create(database, world, 200)
    notes = Notes()
    result = apply(database, world, notes=notes, pace=TWO)
    assert (result.tally.succeeded, result.tally.workers) == (200, 1)
    assert any("One worker" in notice for notice in notes.notices)


@pytest.mark.parametrize("seed", range(2))
def test_kill_9_with_two_workers(database: Database, seed: int) -> None:
    moments = random.Random(seed)
    create(database, SLOW, ROWS)
    for _ in range(2):
        process = start(database, SLOW, workers=2)
        time.sleep(moments.uniform(0.1, 0.6))
        process.kill()
        process.wait()
        # The next one waits for the batches in hand, whatever the moment.
        with opened(database, SLOW):
            check_books(database, SLOW)
            left = pending(database, SLOW)
            time.sleep(0.1)
            assert pending(database, SLOW) == left
    assert set(statuses(database)) == {"crashed"}
    result = apply(database, SLOW, pace=TWO)
    assert (result.tally.succeeded, result.pending_left) == (left, 0)
    check_books(database, SLOW)
    assert statuses(database)[0] == "done"


def test_a_run_waits_for_the_batch_that_a_killed_one_left_behind(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    nap = "case when (e.body ->> 'n')::int = 500 then 4 else 0 end"
    world = World(value=f"case when pg_sleep({nap}) is not null then e.body end").spread
    create(database, world, ROWS)
    process = start(database, world, workers=2)
    asleep = "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"
    deadline = time.monotonic() + 20
    while query(database, asleep) != [(1,)] and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    monkeypatch.setattr(run_lock, "WORKERS_GRACE_SECONDS", 0.3)
    with pytest.raises(RunInProgress, match="migrate orders worker"):
        apply(database, world)
    # It is not over, so that nobody rolls it back yet.
    assert statuses(database) == ["running"]
    monkeypatch.undo()
    result = apply(database, world, pace=TWO)
    assert result.pending_left == 0
    assert statuses(database) == ["done", "crashed"]
    check_books(database, world)


@pytest.mark.parametrize("which", ["migrate orders", "migrate orders worker"])
def test_a_session_that_is_ended_is_opened_again(database: Database, which: str) -> None:
    create(database, SLOW, ROWS)
    process = start(database, SLOW, workers=2)
    for count in (3, 12):
        wait_for_batches(database, count)
        query(
            database,
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where application_name = %s and datname = current_database() limit 1",
            [which],
        )
    _, error = process.communicate(timeout=60)
    assert process.returncode == 0, error
    assert pending(database, SLOW) == 0
    check_books(database, SLOW)
    assert statuses(database) == ["done"]


def test_signals_end_all_workers(database: Database) -> None:
    create(database, SLOW, ROWS)
    process = start(database, SLOW, workers=2)
    wait_for_batches(database, 4)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    left = pending(database, SLOW)
    assert 0 < left < ROWS
    check_books(database, SLOW)
    assert statuses(database) == ["interrupted"]


def test_a_second_signal_cancels_the_statements_of_all_workers(database: Database) -> None:
    nap = "case when (e.body ->> 'n')::int in (500, 2500) then 60 else 0 end"
    stuck = World(value=f"case when pg_sleep({nap}) is not null then e.body end").spread
    create(database, stuck, ROWS)
    process = start(database, stuck, workers=2)
    asleep = "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"
    deadline = time.monotonic() + 20
    while query(database, asleep) != [(2,)] and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert process.poll() is None, "the first one waits for the batches"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 130
    assert statuses(database) == ["interrupted"]
    check_books(database, stuck)
    assert query(database, asleep) == [(0,)]


def test_a_worker_whose_run_has_lost_its_lock_writes_nothing(database: Database) -> None:
    create(database, PLAIN, 10)
    with opened(database, PLAIN) as writing:
        patient: Any = writing._patient
        query(
            database,
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where application_name = 'migrate orders' and datname = current_database()",
        )
        time.sleep(0.2)
        with pytest.raises(UserError, match="lost its lock"):
            patient.companion(writing._stop)
