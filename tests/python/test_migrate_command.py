"""`migrate events` and `migrate campaigns` as a person runs them, on the demo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from scripts import demo, locks, project
from scripts.commands.run import commands
from scripts.connection import connect
from scripts.settings import Database

EVENTS = 300


def migrate(database: Database, *arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.cli", *arguments],
        cwd=Path(__file__).parents[2], env={**os.environ, "DATABASE_URL": make_conninfo(database.conninfo)},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == expect, done.stderr
    assert "Traceback" not in done.stderr
    return done


def ask(database: Database, query: str) -> list[tuple[Any, ...]]:
    with connect(database) as session:
        return session.execute(query).fetchall()


@pytest.fixture(scope="module")
def filled(make_database: Callable[[], Database]) -> Database:
    """The demo, with its models built by the first dry run."""
    database = make_database()
    demo.create(database, events=EVENTS, seed=3)
    migrate(database, "events")
    return database


def test_the_commands_come_from_the_models() -> None:
    assert commands() == ["events", "campaigns"]


def test_the_first_dry_run_remembers_what_it_built(filled: Database) -> None:
    assert project.built_checksum(filled, "events") == project.models_checksum(filled, "events")


def test_a_dry_run_writes_one_log_row_and_shows_what_would_be(filled: Database, tmp_path: Path) -> None:
    fingerprint = "select md5(string_agg(e::text || e.xmin || e.ctid, '' order by e.id)) from events as e"
    before = ask(filled, fingerprint), ask(filled, "select count(*) from migration_log")[0][0]
    report = tmp_path / "report.json"
    performer = "5f0c8a52-63a1-4f0b-9a43-a8ac5ad7d8ab"
    done = migrate(filled, "events", "--json", "--report", str(report), "--performed-by", performer)
    assert (ask(filled, fingerprint), ask(filled, "select count(*) from migration_log")[0][0] - 1) == before

    document = json.loads(done.stdout)
    assert json.loads(report.read_text()) == document
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    assert document["kind"] == "dry_run"
    summary = document["summary"]
    pending = ask(filled, "select count(*) from canonical_migration.canonical_events where is_pending")[0][0]
    assert summary["pending"] == summary["writable"] == sum(summary["groups"].values()) == pending
    groups = ask(
        filled, "select provider, count(*) from canonical_migration.canonical_events where is_pending group by 1"
    )
    assert summary["groups"] == dict(groups)
    assert len(summary["samples"]) == 3
    assert summary["estimated_seconds"] is not None
    assert summary["excepted_columns"] == {"updated_at": "trigger update_events_updated_at"}
    row = ask(
        filled,
        "select dry_run, kind, records_processed, records_succeeded, performed_by::text, details ? 'samples' "
        "from migration_log order by created_at desc limit 1",
    )
    assert row == [(True, "dry_run", pending, 0, performer, False)]
    # The same rows give the same digest.
    assert json.loads(migrate(filled, "events", "--json").stdout)["summary"]["digest"] == summary["digest"]


def test_samples_are_masked_unless_asked_otherwise(filled: Database) -> None:
    names = {
        word
        for (text,) in ask(
            filled, "select user_name || ' ' || coalesce(user_email, '') from events where user_name ~ ' '"
        )
        for word in str(text).split()
        if len(word) > 4
    }
    shown = migrate(filled, "events").stdout
    assert not {name for name in names if name in shown}
    document = json.loads(migrate(filled, "events", "--json", "--show-personal-data").stdout)
    stored = [sample["after"]["payload"] for sample in document["summary"]["samples"]]
    for sample, payload in zip(document["summary"]["samples"], stored, strict=True):
        assert ask(filled, f"select event_data from events where id = '{sample['id']}'") == [(payload,)]


def test_apply_refuses_where_nobody_can_be_asked(filled: Database) -> None:
    done = migrate(filled, "events", "--apply", expect=2)
    assert "--yes" in done.stderr
    assert ask(filled, "select count(*) from migration_log where kind = 'apply'") == [(0,)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--batch-size", "0"], "--batch-size"),
        (["--performed-by", "me"], "--performed-by"),
        (["--report", "/no/such/folder/report.json"], "--report"),
    ],
)
def test_wrong_options_are_named(filled: Database, arguments: list[str], said: str) -> None:
    assert said in migrate(filled, "events", *arguments, expect=2).stderr


def test_a_second_run_ends_with_code_3(filled: Database) -> None:
    key = locks.run_key("public", "events", "canonical_event")
    with locks.held(filled, key) as got:
        assert got
        done = migrate(filled, "events", "--apply", "--yes", expect=3)
    assert "public.events.canonical_event" in done.stderr
    assert "migrate lock" in done.stderr


def test_apply_and_campaigns(filled: Database) -> None:
    pending = ask(filled, "select count(*) from canonical_migration.canonical_events where is_pending")[0][0]
    some = json.loads(
        migrate(filled, "events", "--apply", "--yes", "--json", "--limit", "25", "--batch-size", "10").stdout
    )
    assert (some["status"], some["result"]["succeeded"], some["result"]["batches"]) == ("done", 25, 3)
    rest = json.loads(migrate(filled, "events", "--apply", "--yes", "--json").stdout)
    assert (rest["result"]["succeeded"], rest["result"]["failed"]) == (pending - 25, 0)
    assert rest["result"]["pending_left"] == rest["result"]["other_columns_changed"] == 0
    differing = ask(
        filled,
        "select count(*) from events as e inner join canonical_migration.canonical_events as c on c.event_id = e.id "
        f"where e.canonical_event is distinct from c.canonical_event and e.id in (select unnest(row_ids) "
        f"from canonical_migration.migration_undo where run_id in ('{some['run_id']}', '{rest['run_id']}'))",
    )
    assert differing == [(0,)]
    assert "Nothing is pending" in migrate(filled, "events", "--apply", "--yes").stdout

    with psycopg.connect(filled.conninfo, autocommit=True) as session:
        session.execute("drop view if exists canonical_migration.ambiguous_campaigns cascade")
    planned = json.loads(migrate(filled, "campaigns", "--json").stdout)["summary"]
    # What a run leaves to a person is listed beside it.
    assert ask(filled, "select count(*) from canonical_migration.ambiguous_campaigns")[0][0] > 0
    resolved = ask(filled, "select count(*) from canonical_migration.campaign_data_sources")[0][0]
    assert planned["writable"] == resolved
    done = json.loads(migrate(filled, "campaigns", "--apply", "--yes", "--json").stdout)
    assert done["result"]["succeeded"] == resolved
    again = json.loads(migrate(filled, "campaigns", "--json").stdout)
    assert again["summary"]["writable"] == 0
    assert again["summary"]["pending"] == done["result"]["pending_left"]


def test_a_table_that_is_not_there_is_named(database: Database) -> None:
    done = migrate(database, "events", expect=2)
    assert "events" in done.stderr


def test_a_role_that_would_see_only_part_of_the_rows_is_refused(filled: Database) -> None:
    role = "migrate_test_" + filled.conninfo.rsplit("test_", 1)[-1][:8].strip("'\" ")
    with connect(filled) as session:
        session.execute(f"create role {role} login")
        session.execute(f"grant usage on schema public, canonical_migration to {role}")
        session.execute(f"grant all on all tables in schema public, canonical_migration to {role}")
    try:
        filled_as = replace(filled, conninfo=make_conninfo(filled.conninfo, user=role))
        done = migrate(filled_as, "events", "--no-build", expect=2)
        assert "Row level security" in done.stderr or "row-level security" in done.stderr
        assert "BYPASSRLS" in done.stderr.upper()
    finally:
        with connect(filled) as session:
            session.execute(f"drop owned by {role}")
            session.execute(f"drop role {role}")
