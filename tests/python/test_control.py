"""`migrate pause`, `resume` and `cancel`, given in another terminal to a run that is going on."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from conftest import Cli
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
    wait_for_batches,
)

from scripts import locks
from scripts.connection import connect
from scripts.errors import UserError
from scripts.ledger import Ledger
from scripts.paths import project_dir
from scripts.settings import Database

ROWS = 3_000
LEDGER = Ledger(MODEL_SCHEMA, "shop")
SHOP = "{source_schema: shop}"
# Slow enough for a person to say something meanwhile.
SLOWER = World(value="case when pg_sleep(0.002) is not null then e.body end")


def run_row(database: Database, columns: str = "run_id") -> tuple[Any, ...]:
    return query(database, f"select {columns} from {MODEL_SCHEMA}.migration_runs order by started_at desc limit 1")[0]


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def batches(database: Database) -> int:
    return int(query(database, "select count(*) from shop.migration_log where kind = 'apply'")[0][0])


def test_a_run_pauses_goes_on_and_is_cancelled(database: Database, cli: Cli) -> None:
    create(database, SLOWER, ROWS)
    process = start(database, SLOWER)
    wait_for_batches(database, 3)
    (run_id,) = run_row(database)
    somebody = str(uuid4())
    cli("pause", str(run_id)[:8], "--performed-by", somebody, database=database, MIGRATION_VARS=SHOP)
    until(lambda: run_row(database, "waiting_for") == ("paused",), "the run does not pause")
    paused = batches(database)
    time.sleep(0.7)
    assert batches(database) == paused, "a paused run writes"
    assert process.poll() is None
    assert run_row(database, "control, controlled_by::text, status, waiting_since is not null") == (
        "pause", somebody, "running", True
    )  # fmt: skip
    assert "running, waits: paused" in cli("log", database=database, MIGRATION_VARS=SHOP).stdout

    cli("resume", str(run_id), database=database, MIGRATION_VARS=SHOP)
    until(lambda: batches(database) > paused, "the run does not go on")
    assert run_row(database, "waiting_for, waiting_since") == (None, None)

    with connect(database) as session:
        LEDGER.request(session, run_id, "pause")
    until(lambda: run_row(database, "waiting_for") == ("paused",), "the run does not pause again")
    cli("cancel", str(run_id), database=database, MIGRATION_VARS=SHOP)
    assert process.wait(20) == 130
    status, control, waits, written = run_row(
        database, "status, control, summary -> 'waits', (summary ->> 'succeeded')::integer"
    )
    assert (status, control) == ("cancelled", "cancel")
    assert [(wait["reason"], wait["count"]) for wait in waits] == [("paused", 2)]
    assert waits[0]["seconds"] > 0.7
    left = pending(database, SLOWER)
    assert left == ROWS - written > 0
    check_books(database, SLOWER)
    assert apply(database, SLOWER).tally.succeeded == left


def test_a_paused_run_can_be_cancelled_or_interrupted(database: Database) -> None:
    create(database, SLOW, ROWS)
    for end in ("cancelled", "interrupted"):
        process = start(database, SLOW)
        until(lambda: LEDGER.exists(connect(database)) and run_row(database, "status") == ("running",), "no run")
        (run_id,) = run_row(database)
        with connect(database) as session:
            LEDGER.request(session, run_id, "pause")
            until(lambda: run_row(database, "waiting_for") == ("paused",), "the run does not pause")
            if end == "cancelled":
                LEDGER.request(session, run_id, "cancel")
            else:
                process.terminate()
        assert process.wait(20) == 130
        assert run_row(database, "status, waiting_for") == (end, None)


def test_a_run_that_comes_back_after_another_one_writes_nothing(database: Database) -> None:
    """Its connection was lost, and before it was there again somebody took it for crashed and undid it."""
    create(database, SLOW, ROWS)
    process = start(database, SLOW)
    wait_for_batches(database, 3)
    (run_id,) = run_row(database)
    target = {"schema": "shop", "table": SLOW.table, "column": "Canonical", "key": SLOW.key}
    with connect(database) as session, connect(database) as another:
        LEDGER.request(session, run_id, "pause")
        until(lambda: run_row(database, "waiting_for") == ("paused",), "the run does not pause")
        lock = locks.run_key(target["schema"], target["table"], target["column"])
        queued = threading.Thread(target=lambda: another.execute("select pg_advisory_lock(%s)", [lock]))
        queued.start()
        lost = LEDGER.find_run(session, str(run_id)).backend_pid
        until(
            lambda: query(database, "select 1 from pg_locks where not granted and locktype = 'advisory'") != [],
            "nobody waits for the lock",
        )
        session.execute("select pg_terminate_backend(%s)", [lost])
        queued.join(20)
        assert LEDGER.find_run(session, str(run_id)).status == "crashed"
        undone = LEDGER.open_run(
            another, command="orders", migration_type="event", kind="rollback", target=target, rolls_back=run_id
        )
        LEDGER.request(session, undone, "run")
        LEDGER.close_run(another, undone, "done")
    left = pending(database, SLOW)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, pending(database, SLOW)) == (1, left), said
    assert "another run or rollback has worked on the same column since" in said
    assert query(database, f"select status from {MODEL_SCHEMA}.migration_runs order by number") == [
        ("failed",), ("done",)
    ]  # fmt: skip
    check_books(database, SLOW)


def test_what_is_not_going_on_cannot_be_controlled(database: Database) -> None:
    create(database, SLOW, 10)
    done = apply(database, SLOW).run_id
    with connect(database) as session:
        with pytest.raises(UserError, match=r"is not going on \(done\): there is nothing to pause"):
            LEDGER.request(session, done, "pause")
        crashed = LEDGER.open_run(
            session, command="orders", migration_type="event", kind="apply", target={"schema": "shop", "table": "x"}
        )
        with pytest.raises(UserError, match=r"is not going on \(crashed\): there is nothing to cancel"):
            LEDGER.request(session, crashed, "cancel")
        with pytest.raises(UserError, match="No run has an id"):
            LEDGER.request(session, UUID(int=0), "pause")


def test_a_run_that_crashed_is_resumed_with_its_settings(demo_database: Database, cli: Cli) -> None:
    ledger = Ledger(MODEL_SCHEMA)
    waiting = query(demo_database, f"select count(*) from {MODEL_SCHEMA}.canonical_events where is_pending")[0][0]
    limit = waiting - 20
    command = [str(Path(sys.executable).parent / "migrate"), "events", "--apply", "--yes", "--no-build"]
    options = ["--batch-size", "1", "--limit", str(limit), "--max-sessions", "70"]
    process = subprocess.Popen(
        [*command, *options], env={**os.environ, "DATABASE_URL": demo_database.conninfo},
        cwd=project_dir(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with connect(demo_database) as session:
        until(lambda: bool(ledger.runs(session)), "no run")
        crashed = ledger.runs(session)[0].run_id
        ledger.request(session, crashed, "pause")
        until(lambda: ledger.runs(session)[0].waiting_for == "paused", "the run does not pause")
        process.kill()
        process.wait()
        done = ledger.find_run(session, str(crashed)).succeeded
        assert 0 < done < limit
        until(lambda: ledger.runs(session)[0].status == "crashed", "a killed run is not shown as crashed")
        assert cli("status", database=demo_database).stdout.count("crashed") == 2  # the run, and what to do
        resumed = cli("resume", str(crashed)[:8], "--yes", database=demo_database)
        assert "ended as crashed; `migrate events --apply` starts with its settings" in resumed.stderr
        last = ledger.runs(session)[0]
        assert (last.status, last.succeeded, last.settings["limit"]) == ("done", limit - done, limit - done)
        assert (last.settings["batch_size"], last.settings["max_sessions"]) == (1, 70)
        refused = cli("resume", str(last.run_id), database=demo_database, expect=2)
        assert "there is nothing to resume" in refused.stderr
