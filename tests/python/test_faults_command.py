"""The real command, killed at work: shown as crashed, gone on with, rolled back; and a clock that is set back."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli
from writeback_world import MODEL_SCHEMA, SLOW, apply, check_books, create, opened, pending, query, statuses

from scripts.connection import connect
from scripts.paths import project_dir
from scripts.settings import Database

EMPTY = "select count(*) from public.events where canonical_event is null or canonical_event in ('{}', '[]', 'null')"
RESTORED = "select count(*) from public.migration_log where kind = 'rollback'"
VALUES = "select md5(string_agg(coalesce(canonical_event::text, '-'), '' order by id)) from public.events"


def killed(database: Database, *arguments: str, after: float, what: str) -> None:
    """Start the command, and kill it a moment after it has begun to write its log."""
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "migrate"), *arguments],
        env={**os.environ, "DATABASE_URL": database.conninfo}, cwd=project_dir(), stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    begun = query(database, what)[0][0]
    while process.poll() is None and query(database, what)[0][0] <= begun:
        time.sleep(0.005)
    time.sleep(after)
    process.kill()
    process.wait()


def test_a_killed_command_is_shown_as_crashed_gone_on_with_and_rolled_back(demo_database: Database, cli: Cli) -> None:
    database, moments = demo_database, random.Random(11)
    logged = "select count(*) from public.migration_log where kind = 'apply'"
    before = query(database, VALUES)
    wanted = query(database, EMPTY)[0][0]
    for _ in range(2):
        killed(
            database, "events", "--apply", "--yes", "--no-build", "--batch-size", "3",
            after=moments.uniform(0, 0.1), what=logged,
        )  # fmt: skip

    def shown() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(cli("status", "--json", database=database).stdout)["runs"]
        return found

    runs = shown()
    assert [run["status"] for run in runs] == ["crashed", "crashed"]
    text = cli("status", database=database).stdout
    assert text.count("crashed") >= 2
    assert "goes on" in text
    left = query(database, EMPTY)[0][0]
    assert sum(run["succeeded"] for run in runs) == wanted - left > 0

    # A crashed run can be proven, and taken back; a rollback that is killed too is taken up again.
    first = runs[-1]["run_id"]
    assert json.loads(cli("verify", first, "--json", database=database).stdout)["holds"]
    killed(database, "rollback", first, "--apply", "--yes", after=0, what=RESTORED)
    cli("rollback", first, "--apply", "--yes", database=database)
    assert query(database, EMPTY)[0][0] == left + runs[-1]["succeeded"]

    # The next run finishes the work; all of it can be undone.
    done = json.loads(cli("events", "--apply", "--yes", "--no-build", "--json", database=database).stdout)
    assert (done["status"], done["result"]["pending_left"]) == ("done", 0)
    assert done["result"]["succeeded"] == left + runs[-1]["succeeded"]
    for run in (done["run_id"], runs[0]["run_id"]):
        cli("rollback", run, "--apply", "--yes", database=database)
    assert (
        query(database, "select md5(string_agg(coalesce(canonical_event::text, '-'), '' order by id)) from events")
        == before
    )


# ---------- clocks


def set_back(database: Database) -> None:
    """What a clock leaves behind that was a year ahead: its rows seem to come from the future."""
    for table, columns in (
        (f"{MODEL_SCHEMA}.migration_runs", ("started_at", "ended_at")),
        ("shop.migration_log", ("started_at", "completed_at", "created_at")),
    ):
        moved = ", ".join(f"{column} = {column} + interval '1 year'" for column in columns)
        with connect(database) as session:
            session.execute(f"update {table} set {moved}".encode())


def test_runs_are_told_apart_though_the_clock_was_set_back(database: Database) -> None:
    create(database, SLOW, 300)
    apply(database, SLOW, limit=100)
    with opened(database, SLOW) as writing:
        # A run that crashed: on the books as running, and nobody holds the lock.
        writing.ledger.open_run(
            writing.session, command="orders", migration_type="event", kind="apply",
            target={"schema": "shop", "table": SLOW.table, "column": "Canonical", "key": SLOW.key},
        )  # fmt: skip
    set_back(database)
    with opened(database, SLOW) as writing:
        # It holds the lock while its user thinks: that does not make the crashed one run.
        assert statuses(database) == ["crashed", "done"]
        writing.ledger.open_run(
            writing.session, command="orders", migration_type="event", kind="apply",
            target={"schema": "shop", "table": SLOW.table, "column": "Canonical", "key": SLOW.key},
        )  # fmt: skip
        # The one at work is the last that was opened, whatever the times say.
        assert statuses(database) == ["running", "crashed", "done"]
    assert apply(database, SLOW).tally.succeeded == 200
    assert statuses(database) == ["done", "crashed", "crashed", "done"]
    assert pending(database, SLOW) == 0
    check_books(database, SLOW)


def test_a_rollback_knows_what_came_later_though_the_clock_was_set_back(
    database: Database, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    create(database, SLOW, 60)
    shop = "{source_schema: shop}"
    first = apply(database, SLOW).run_id
    cli("rollback", str(first), "--apply", "--yes", database=database, MIGRATION_VARS=shop)
    set_back(database)
    second = apply(database, SLOW).run_id
    refused = cli("rollback", str(first), "--apply", "--yes", database=database, expect=2, MIGRATION_VARS=shop)
    assert str(second)[:8] in refused.stderr
    cli("rollback", str(second), "--apply", "--yes", database=database, MIGRATION_VARS=shop)
    assert pending(database, SLOW) == 60


def test_no_batch_ends_before_it_began_though_the_clock_was_set_back_meanwhile(database: Database) -> None:
    create(database, SLOW, 60)
    with connect(database) as session:
        session.execute(
            """
            create schema clock;
            create function clock.clock_timestamp() returns timestamptz language sql volatile
            as $$ select pg_catalog.clock_timestamp() - interval '1 hour' $$;
            do $$ begin
                execute format('alter database %I set search_path = clock, pg_catalog, public', current_database());
            end $$;
            """
        )
    assert apply(database, SLOW).tally.succeeded == 60
    ends = "select bool_and(completed_at >= started_at), count(*) from shop.migration_log"
    assert query(database, ends) == [(True, 1)]
