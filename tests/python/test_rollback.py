"""Rollback: exactly the previous values, of exactly the rows that still hold what the run wrote."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg
import pytest
import small_target
from small_target import SmallTarget
from typer.testing import CliRunner, Result

from scripts import backup, connection, undo
from scripts.cli import app
from scripts.errors import UserError
from scripts.interrupts import StopRequest
from scripts.settings import Database
from scripts.undo import Outcome
from scripts.verify import verify


def rolled_back(things: SmallTarget, run_id: Any, batch: int | None = None) -> tuple[str, Outcome]:
    planned = undo.plan(things.session, things.ledger, things.ledger.find_run(things.session, str(run_id)), batch)
    _, status, outcome = undo.rollback(things.database, things.ledger, planned, StopRequest())
    return status, outcome


def migrate(things: SmallTarget, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    monkeypatch.setenv("DATABASE_URL", things.database.conninfo)
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize("key", ["uuid", "bigint", "text"])
def test_every_previous_value_comes_back_exactly(database: Database, key: str) -> None:
    things = small_target.make(database, 60, key=key)
    before, others = things.stored(), things.others()
    assert len(set(before.values())) == 4  # NULL, {}, [], JSON null
    run_id = things.run(batch_size=7)
    assert not set(before.values()) & set(things.stored().values())

    status, outcome = rolled_back(things, run_id)

    assert (status, outcome.restored, outcome.failed, outcome.differing) == ("done", 60, [], [])
    assert things.stored() == before
    assert things.others() == others


def test_rows_changed_since_are_left_alone_and_listed(database: Database) -> None:
    things = small_target.make(database, 40)
    before = things.stored()
    run_id = things.run()
    keys = sorted(before)
    edited, emptied, gone, counted = keys[0], keys[1], keys[2], keys[3]
    things.session.execute("update public.things set canonical_event = '{\"mine\": 1}' where id = %s", [edited])
    things.session.execute("update public.things set canonical_event = null where id = %s", [emptied])
    things.session.execute("delete from public.things where id = %s", [gone])
    things.session.execute("update public.things set views = views + 1 where id = %s", [counted])

    _, outcome = rolled_back(things, run_id)

    after = things.stored()
    assert after[edited] == (False, '{"mine": 1}')
    assert after[emptied] == (True, None)
    assert after[counted] == before[counted]
    assert outcome.missing == [gone]
    already = [emptied] if before[emptied] == (True, None) else []
    assert sorted(outcome.changed + already) == sorted([edited, emptied])
    logged = [row for row in things.ledger.log(things.session) if row["kind"] == "rollback"]
    assert [one for row in logged for one in row["details"]["missing"]] == [gone]
    assert all(row["records_processed"] == row["records_succeeded"] + row["records_failed"] for row in logged)


def test_a_rollback_is_logged_like_a_run(database: Database) -> None:
    things = small_target.make(database, 25)
    run_id = things.run(batch_size=10)
    rolled_back(things, run_id)
    newest = things.ledger.runs(things.session)[0]
    assert (newest.kind, newest.status, newest.rolls_back, newest.succeeded) == ("rollback", "done", run_id, 25)
    rows = things.log_rows(newest.run_id)
    assert [row["records_succeeded"] for row in rows] == [5, 10, 10]  # the last batch first
    assert all(row["completed_at"] and not row["dry_run"] for row in rows)


def test_a_second_rollback_finds_nothing_and_writes_nothing(database: Database) -> None:
    things = small_target.make(database, 12)
    before = things.stored()
    run_id = things.run()
    rolled_back(things, run_id)
    rows = len(list(things.ledger.log(things.session)))
    status, outcome = rolled_back(things, run_id)
    assert (status, outcome.restored, outcome.already) == ("done", 0, 12)
    assert things.stored() == before
    assert len(list(things.ledger.log(things.session))) == rows


def test_one_batch_can_be_rolled_back_alone(database: Database) -> None:
    things = small_target.make(database, 30)
    run_id = things.run(batch_size=10)
    _, outcome = rolled_back(things, run_id, batch=2)
    assert outcome.restored == 10
    _, outcome = rolled_back(things, run_id)
    assert (outcome.restored, outcome.already) == (20, 10)
    # A batch of which nothing was left has no number.
    newest = things.ledger.runs(things.session)[0].run_id
    assert [row["batch_number"] for row in things.log_rows(newest)] == [1, 2]
    with pytest.raises(UserError, match="batch 77"):
        rolled_back(things, run_id, batch=77)


def test_what_wrote_nothing_or_is_a_rollback_is_refused(database: Database) -> None:
    things = small_target.make(database, 5)
    run_id = things.run()
    rolled_back(things, run_id)
    with pytest.raises(UserError, match=r"itself a rollback.*migrate things --apply"):
        rolled_back(things, things.ledger.runs(things.session)[0].run_id)
    dry = things.ledger.open_run(
        things.session, command="things", migration_type="event", kind="dry_run",
        target={"schema": "public", "table": "things", "column": "canonical_event", "key": "id"},
    )  # fmt: skip
    with pytest.raises(UserError, match="dry run"):
        rolled_back(things, dry)


def test_rows_written_again_by_a_later_run_are_that_runs_to_roll_back(database: Database) -> None:
    things = small_target.make(database, 5)
    first = things.run()
    rolled_back(things, first)
    second = things.run()
    with pytest.raises(UserError, match=f"migrate rollback {str(second)[:8]}"):
        rolled_back(things, first)
    _, outcome = rolled_back(things, second)
    assert outcome.restored == 5


def test_a_row_that_cannot_be_restored_does_not_stop_the_others(database: Database) -> None:
    things = small_target.make(database, 40)
    before = things.stored()
    run_id = things.run(batch_size=20)
    things.session.execute(
        "alter table public.things add constraint no_json_null check (canonical_event <> 'null') not valid"
    )
    status, outcome = rolled_back(things, run_id)
    assert (status, outcome.restored, len(outcome.failed)) == ("failed", 30, 10)
    assert {failure["id"] for failure in outcome.failed} == {
        key for key, value in before.items() if value == (False, "null")
    }
    assert all("no_json_null" in failure["error"] and "number" not in failure["error"] for failure in outcome.failed)
    things.session.execute("alter table public.things drop constraint no_json_null")
    _, outcome = rolled_back(things, run_id)
    assert outcome.restored == 10
    assert things.stored() == before


def test_a_value_that_a_trigger_does_not_let_in_is_not_called_restored(database: Database) -> None:
    things = small_target.make(database, 40)
    before = things.stored()
    run_id = things.run(batch_size=20)
    written = things.stored()
    things.session.execute(
        """
        create function public.keep() returns trigger language plpgsql as $$ begin
            if new.canonical_event = 'null' then new.canonical_event := old.canonical_event; end if; return new;
        end $$;
        create trigger keep before update on public.things for each row execute function public.keep();
        """
    )
    status, outcome = rolled_back(things, run_id)
    kept = {key for key, value in before.items() if value == (False, "null")}
    assert (status, outcome.restored, {failure["id"] for failure in outcome.failed}) == ("failed", 30, kept)
    assert things.stored() == {key: (written if key in kept else before)[key] for key in before}
    things.session.execute("drop trigger keep on public.things")
    _, outcome = rolled_back(things, run_id)
    assert outcome.restored == 10
    assert things.stored() == before


def test_a_batch_that_was_committed_after_the_plan_was_made_is_restored_too(database: Database) -> None:
    """Behind a pooler a killed run's last batch may still be at work when its rollback is planned."""
    things = small_target.make(database, 30)
    before = things.stored()
    run_id = things.run(batch_size=10, limit=20)
    planned = undo.plan(things.session, things.ledger, things.ledger.find_run(things.session, str(run_id)))
    late = things.run()
    for table in ("public.migration_log", "canonical_migration.migration_undo"):
        things.session.execute(f"update {table} set run_id = %s where run_id = %s".encode(), [run_id, late])
    things.session.execute("delete from canonical_migration.migration_runs where run_id = %s", [late])
    _, status, outcome = undo.rollback(things.database, things.ledger, planned, StopRequest())
    assert (status, outcome.restored) == ("done", 30)
    assert things.stored() == before


def test_partitions_also_when_a_row_has_moved_to_another(database: Database) -> None:
    halves = [("2025-01-01", "2025-07-01"), ("2025-07-01", "2026-07-01")]
    things = small_target.make(database, 365, partitions=halves)
    before = things.stored()
    run_id = things.run(batch_size=50)
    moved = things.session.execute(
        "update public.things set made_at = made_at + interval '6 months' where made_at < '2025-01-10' returning id"
    ).fetchall()
    assert moved
    _, outcome = rolled_back(things, run_id)
    assert (outcome.restored, outcome.missing, outcome.changed) == (365, [], [])
    assert things.stored() == before


def test_a_partition_that_was_detached_keeps_its_values(database: Database) -> None:
    halves = [("2025-01-01", "2025-07-01"), ("2025-07-01", "2026-07-01")]
    things = small_target.make(database, 365, partitions=halves)
    run_id = things.run(batch_size=50)
    detached = things.session.execute("select count(*) from public.things_0").fetchone()
    things.session.execute("drop view if exists canonical_migration.canonical_things")
    things.session.execute("alter table public.things detach partition public.things_0")
    _, outcome = rolled_back(things, run_id)
    assert detached is not None
    assert (outcome.restored, len(outcome.missing)) == (365 - detached[0], detached[0])


def test_rows_are_restored_while_an_application_writes(database: Database) -> None:
    things = small_target.make(database, 400)
    before = things.stored()
    run_id = things.run(batch_size=50)
    done = threading.Event()

    def application() -> None:
        with psycopg.connect(things.database.conninfo, autocommit=True) as session:
            while not done.is_set():
                with suppress(psycopg.errors.DeadlockDetected):  # as any two that write many rows
                    session.execute(
                        "update public.things set views = views + 1 where (payload ->> 'number')::int % 7 = 3"
                    )

    writer = threading.Thread(target=application)
    writer.start()
    try:
        _, outcome = rolled_back(things, run_id)
    finally:
        done.set()
        writer.join()
    # Whatever the race left alone is listed, and the next rollback takes it.
    assert outcome.restored + len(outcome.changed) == 400
    _, again = rolled_back(things, run_id)
    assert outcome.restored + again.restored == 400
    assert outcome.differing == []
    assert things.stored() == before


def test_behind_a_pooler_settings_hold_for_each_transaction(
    make_database: Callable[[], Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No real pooler: sessions that believe in one, so nothing may rest on a setting or a lock of the session."""
    monkeypatch.setattr(connection, "_is_pooled", lambda session, database: True)
    things = small_target.make(make_database(), 40)
    before, others = things.stored(), things.others()
    run_id = things.run(batch_size=10)
    assert verify(things.session, things.ledger, things.ledger.find_run(things.session, str(run_id))).holds
    status, outcome = rolled_back(things, run_id)
    assert (status, outcome.restored, things.stored(), things.others()) == ("done", 40, before, others)
    assert len(list(things.ledger.log(things.session))) == 8
    things.session.execute("create table public.campaigns (id integer); create table public.events (id integer)")
    made = backup.create(
        things.session, schema=things.ledger.schema, source_schema="public",
        tables={"campaigns": "campaigns", "events": "events"}, every_event=True,
    )  # fmt: skip
    assert [one.rows for one in made] == [0, 0]


# ---------- the command


def slow_down(things: SmallTarget) -> None:
    things.session.execute(
        """
        create function public.slow() returns trigger language plpgsql as
        $$ begin perform pg_sleep(0.3); return null; end $$;
        create trigger slow after update on public.things for each statement execute function public.slow();
        """
    )


def started(things: SmallTarget, run_id: Any) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.cli", "rollback", str(run_id)[:8], "--apply", "--yes"],
        env={**os.environ, "DATABASE_URL": things.database.conninfo},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if sum(row["kind"] == "rollback" for row in things.ledger.log(things.session)) >= 2:
            return process
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("the rollback did not begin")


def finish(things: SmallTarget) -> None:
    things.session.execute("drop trigger slow on public.things")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:  # the server may still be at the dead client's last statement
        held = things.session.execute("select pg_try_advisory_lock(%s)", [things.lock]).fetchone()
        if held and held[0]:
            things.session.execute("select pg_advisory_unlock(%s)", [things.lock])
            return
        time.sleep(0.1)


@pytest.mark.parametrize("again", ["rollback", "resume"])
def test_kill_in_the_middle_loses_nothing(database: Database, monkeypatch: pytest.MonkeyPatch, again: str) -> None:
    things = small_target.make(database, 100)
    before, others = things.stored(), things.others()
    run_id = things.run(batch_size=10)
    slow_down(things)
    process = started(things, run_id)
    process.kill()
    process.wait()
    finish(things)
    killed = things.ledger.runs(things.session)[0]
    assert (killed.kind, killed.status) == ("rollback", "crashed")
    restored = sum(1 for key, value in things.stored().items() if value == before[key])
    assert restored == killed.succeeded
    assert 0 < restored < 100

    ended = str(run_id if again == "rollback" else killed.run_id)[:8]
    result = migrate(things, monkeypatch, again, ended, *(["--apply"] if again == "rollback" else []), "--yes")

    assert result.exit_code == 0, result.output
    newest = things.ledger.runs(things.session)[0]
    summary = newest.summary or {}
    assert (newest.status, newest.rolls_back) == ("done", run_id)
    assert (summary["restored"], summary["already"]) == (100 - restored, restored)
    assert things.stored() == before
    assert things.others() == others
    numbers = [row["batch_number"] for row in things.log_rows(newest.run_id)]
    assert numbers == list(range(1, (100 - restored) // 10 + 1))


def test_ctrl_c_finishes_the_batch_in_hand(database: Database) -> None:
    things = small_target.make(database, 100)
    before = things.stored()
    run_id = things.run(batch_size=10)
    slow_down(things)
    process = started(things, run_id)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    finish(things)
    interrupted = things.ledger.runs(things.session)[0]
    assert interrupted.status == "interrupted"
    assert sum(1 for key, value in things.stored().items() if value == before[key]) == interrupted.succeeded
    rolled_back(things, run_id)
    assert things.stored() == before


def test_the_command_is_a_dry_run_without_apply(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    things = small_target.make(database, 10)
    run_id = things.run()
    written, rows = things.stored(), len(list(things.ledger.log(things.session)))
    result = migrate(things, monkeypatch, "rollback", str(run_id)[:8])
    assert result.exit_code == 0
    assert "to be restored" in result.stdout
    assert things.stored() == written
    assert len(list(things.ledger.log(things.session))) == rows
    assert len(things.ledger.runs(things.session)) == 1


def test_the_command_asks_or_wants_yes(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    things = small_target.make(database, 10)
    run_id = things.run()
    refused = migrate(things, monkeypatch, "rollback", str(run_id), "--apply")
    assert isinstance(refused.exception, UserError)
    assert "--yes" in refused.exception.message
    done = migrate(things, monkeypatch, "rollback", str(run_id), "--apply", "--yes")
    assert done.exit_code == 0
    assert things.ledger.runs(things.session)[0].kind == "rollback"


def test_a_run_in_progress_is_waited_for(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    things = small_target.make(database, 10)
    run_id = things.run()
    things.session.execute("select pg_advisory_lock(%s)", [things.lock])
    result = migrate(things, monkeypatch, "rollback", str(run_id), "--apply", "--yes")
    assert isinstance(result.exception, UserError)
    assert result.exception.exit_code == 3


@pytest.mark.parametrize("change", ["drop table {} cascade", "alter table {} drop column canonical_event cascade"])
def test_what_is_gone_is_named(make_database: Callable[[], Database], change: str) -> None:
    things = small_target.make(make_database(), 5)
    run_id = things.run()
    things.session.execute(change.format("public.things"))
    with pytest.raises(UserError, match=r"public\.things"):
        rolled_back(things, run_id)
