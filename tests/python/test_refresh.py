"""`--refresh`: rewrites what the tool wrote and would write otherwise today, and leaves alone what others wrote."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from conftest import Cli
from typer.testing import CliRunner

from scripts.cli import app
from scripts.connection import connect
from scripts.settings import Database

VERSION_2 = {"MIGRATION_VARS": '{"contract_version": "2"}'}
# Rows by number: announcements that the tool wrote, in the order of their keys.
ROW = (
    "(select event_id from canonical_migration.canonical_events as c "
    "where provider = 'announcements' and stored_value = canonical_event order by event_id limit 1 offset {})"
)
STORED = "select id::text, canonical_event::text from events order by id"


def ask(database: Database, query: str) -> list[tuple[Any, ...]]:
    with connect(database) as session:
        cursor = session.execute(query)
        return cursor.fetchall() if cursor.description else []


def refresh(cli: Cli, database: Database, *arguments: str, **env: Any) -> dict[str, Any]:
    document = json.loads(cli("events", "--refresh", "--json", *arguments, database=database, **env).stdout)
    assert isinstance(document, dict)
    return document


def drift(database: Database) -> dict[str, tuple[str, bool]]:
    rows = ask(database, "select event_id::text, reason, is_refreshable from canonical_migration.canonical_drift")
    return {row[0]: (row[1], row[2]) for row in rows}


def test_own_rows_are_rewritten_and_those_of_others_left_alone(changed_demo: Database, cli: Cli) -> None:
    database = changed_demo
    before = drift(database)
    assert {reason for reason, _ in before.values()} == {"other_writer"}  # the demo has rows that were never pending
    rows = [ask(database, f"select {ROW.format(number)}::text")[0][0] for number in range(4)]
    ask(database, f"update events set event_data = event_data || '{{\"title\": \"New\"}}' where id = '{rows[0]}'")
    ask(
        database,
        "update events set canonical_event = jsonb_set(canonical_event, '{normalized,template.title}', '\"Mended\"') "
        f"where id = '{rows[1]}'",
    )
    # A column that goes into the value, and one whose change a person overruled by hand.
    ask(
        database, f"update events set created_at = created_at + interval '1 day' where id in ('{rows[2]}', '{rows[3]}')"
    )
    ask(
        database,
        f"update events set canonical_event = canonical_event || '{{\"by\": \"hand\"}}' where id = '{rows[3]}'",
    )
    expected = {
        rows[0]: ("event_data_changed", True),
        rows[1]: ("edited", False),
        rows[2]: ("mapping_changed", True),
        rows[3]: ("edited", False),
    }
    assert drift(database) == before | expected
    stored = ask(database, STORED)

    looked = refresh(cli, database)
    assert looked["summary"]["groups"] == {"announcements": 2}
    alone = {row["key"]: row["reason"] for row in looked["summary"]["left_alone"]}
    assert alone == {key: reason for key, (reason, own) in (before | expected).items() if not own}
    assert ask(database, STORED) == stored

    # Whatever somebody has not committed for hours: it is older than every row version that was written since.
    with psycopg.connect(database.conninfo, dbname="postgres") as forgotten:
        forgotten.execute("select pg_current_xact_id()")
        own = f"where id in ('{rows[0]}', '{rows[2]}')"
        ask(database, f"update events set views = coalesce(views, 0) + 1 {own}")
        shown = cli("events", "--refresh", "--apply", "--yes", database=database)
    assert f"left alone         {len(alone)}" in shown.stderr
    assert "written  2 rows" in shown.stdout
    now = dict(ask(database, STORED))
    assert {key for key, value in stored if now[key] != value} == {rows[0], rows[2]}
    assert drift(database) == before | {rows[1]: ("edited", False), rows[3]: ("edited", False)}
    run = ask(database, "select run_id::text from canonical_migration.migration_runs order by started_at desc limit 1")
    cli("verify", run[0][0], database=database)
    assert refresh(cli, database, "--apply", "--yes")["run_id"] is None

    # Undone, the row holds what an earlier run wrote: still the tool's own.
    cli("rollback", run[0][0], "--apply", "--yes", database=database)
    assert ask(database, STORED) == stored
    assert drift(database) == before | expected
    assert refresh(cli, database, "--apply", "--yes")["result"]["succeeded"] == 2

    # What is put back by hand is a person's, though the tool wrote the same before.
    value = dict(stored)[rows[0]].replace("'", "''")
    ask(database, f"update events set canonical_event = '{value}' where id = '{rows[0]}'")
    assert drift(database)[rows[0]] == ("edited", False)


def test_a_new_contract_version_rewrites_every_row_of_an_older_one(
    demo_database: Database, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = demo_database
    cli("events", "--apply", "--yes", database=database)
    edited, pending = (ask(database, f"select {ROW.format(number)}::text")[0][0] for number in (0, 1))
    ask(
        database, f"update events set canonical_event = canonical_event || '{{\"by\": \"hand\"}}' where id = '{edited}'"
    )
    ask(database, f"update events set canonical_event = '{{}}' where id = '{pending}'")

    part = refresh(cli, database, "--apply", "--yes", "--limit", "30", "--batch-size", "7", **VERSION_2)
    assert part["result"]["succeeded"] == 30
    others = {row["key"]: row["reason"] for row in part["summary"]["left_alone"]}
    assert others.pop(edited) == "edited"
    assert set(others.values()) == {"other_writer"}  # the demo has rows that were never pending
    rows = ask(database, "select count(*) from events")[0][0] - len(others) - 2
    # So few pages would be one worker's.
    command = ["events", "--refresh", "--apply", "--yes", "--batch-size", "20", "--workers", "2", "--json"]
    with monkeypatch.context() as patch:
        patch.setattr("scripts.batches.PART_PAGES", 2)
        for name, value in {"DATABASE_URL": database.conninfo, **VERSION_2}.items():
            patch.setenv(name, value)
        done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    rest = json.loads(done.stdout)
    assert (rest["result"]["succeeded"], rest["result"]["workers"]) == (rows - 30, 2)
    proof = json.loads(cli("verify", rest["run_id"], "--json", database=database).stdout)
    assert proof["rows"]["target_as_written"] == rows - 30
    version = "canonical_event #>> '{normalized,meta.contract_version}'"
    assert ask(database, f"select count(*) from events where {version} = '2'") == [(rows,)]
    assert ask(database, f"select canonical_event::text from events where id = '{pending}'") == [("{}",)]
    assert refresh(cli, database, **VERSION_2)["summary"]["groups"] == {}

    # An older tool changes nothing of a newer one.
    older = refresh(cli, database)["summary"]
    assert older["writable"] == 0
    assert [row["reason"] for row in older["left_alone"]].count("newer_contract_version") == rows


def test_campaigns_have_no_refresh(demo_database: Database, cli: Cli) -> None:
    said = cli("campaigns", "--refresh", database=demo_database, expect=2).stderr
    assert "`migrate campaigns` has no --refresh" in said
