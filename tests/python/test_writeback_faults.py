"""The write-back engine under real signals: a stopped or killed run leaves nothing torn, and the next goes on."""

from __future__ import annotations

import random
import signal
import time
from dataclasses import replace

import pytest
from writeback_world import (
    MODEL_SCHEMA,
    SLOW,
    apply,
    check_books,
    create,
    opened,
    pending,
    query,
    start,
    statuses,
    table,
    wait_for_batches,
)

from scripts.settings import Database

ROWS = 3_000


@pytest.mark.parametrize("seed", range(4))
def test_kill_9_loses_nothing_and_writes_nothing_twice(database: Database, seed: int) -> None:
    moments = random.Random(seed)
    create(database, SLOW, ROWS)
    for _ in range(3):
        process = start(database, SLOW)
        time.sleep(moments.uniform(0.0, 0.35))
        process.kill()
        process.wait()
        # Whatever the moment: table, log and undo agree.
        time.sleep(0.2)
        check_books(database, SLOW)
    left = pending(database, SLOW)
    assert set(statuses(database)) == {"crashed"}
    with opened(database, SLOW) as writing:
        assert len(writing.crashed()) == len(statuses(database))
    result = apply(database, SLOW)
    assert (result.tally.succeeded, result.pending_left) == (left, 0)
    check_books(database, SLOW)
    assert statuses(database)[0] == "done"
    assert set(statuses(database)[1:]) == {"crashed"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_the_batch_in_hand(database: Database, number: signal.Signals) -> None:
    create(database, SLOW, ROWS)
    process = start(database, SLOW)
    wait_for_batches(database, 5)
    process.send_signal(number)
    assert process.wait(20) == 130
    left = pending(database, SLOW)
    assert 0 < left < ROWS
    assert left % 50 == 0
    check_books(database, SLOW)
    runs = query(
        database,
        f"select status, (summary ->> 'succeeded')::int, ended_at is not null from {MODEL_SCHEMA}.migration_runs",
    )
    assert runs == [("interrupted", ROWS - left, True)]
    assert apply(database, SLOW).tally.succeeded == left
    check_books(database, SLOW)


def test_a_second_signal_cancels_the_statement(database: Database) -> None:
    nap = "case when (e.body ->> 'n')::int = 500 then 60 else 0 end"
    stuck = replace(SLOW, value=f"case when pg_sleep({nap}) is not null then e.body end")
    create(database, stuck, ROWS)
    process = start(database, stuck)
    wait_for_batches(database, 9)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None, "the first one waits for the batch"
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert query(database, f"select status from {MODEL_SCHEMA}.migration_runs") == [("interrupted",)]
    check_books(database, stuck)
    assert query(database, f"select count(*) from {table(stuck)} where \"Canonical\" ? 'n'")[0][0] == 450
