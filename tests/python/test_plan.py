"""`--save-plan` and `--plan`: what was reviewed is what is written, or nothing is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli

from scripts import demo
from scripts.connection import connect
from scripts.settings import Database

PENDING = "select count(*) from canonical_migration.canonical_events where is_pending"
COPY = (
    "insert into events (website_id, event_type, event_data, integration_type, canonical_event) "
    "select e.website_id, e.event_type, e.event_data, e.integration_type, '{}' from events as e "
    "inner join canonical_migration.canonical_events as c on c.event_id = e.id and c.provider = 'stripe' limit 1"
)


def ask(database: Database, query: str) -> Any:
    with connect(database) as session:
        cursor = session.execute(query)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


@pytest.fixture
def plan(demo_database: Database, cli: Cli, tmp_path: Path) -> Path:
    """A plan of everything that is pending."""
    file = tmp_path / "events.plan"
    cli("events", "--save-plan", str(file), database=demo_database)
    return file


def test_a_plan_is_applied_when_all_is_as_it_was(demo_database: Database, cli: Cli, plan: Path) -> None:
    saved = json.loads(plan.read_text())
    pending = ask(demo_database, PENDING)
    assert saved["pending"] == saved["writable"] == pending
    assert sum(group["rows"] for group in saved["groups"].values()) == pending
    assert saved["groups"]["stripe"]["settled_rows"] == saved["groups"]["stripe"]["rows"]
    assert saved["contract_version"] == "1"
    assert saved["database"]["system_identifier"].isdigit()
    assert [path.name for path in plan.parent.iterdir()] == [plan.name]

    checked = json.loads(cli("events", "--plan", str(plan), "--json", database=demo_database).stdout)
    assert checked["kind"] == "dry_run"
    assert checked["plan"] == {
        "dry_run": saved["dry_run"], "made_at": saved["made_at"], "differences": [], "new_rows": 0,
    }  # fmt: skip
    assert ask(demo_database, PENDING) == pending

    done = json.loads(cli("events", "--apply", "--yes", "--plan", str(plan), "--json", database=demo_database).stdout)
    assert done["result"]["succeeded"] == pending
    settings = f"select settings ->> 'plan' from canonical_migration.migration_runs where run_id = '{done['run_id']}'"
    assert ask(demo_database, settings) == saved["dry_run"]

    # A run of it that ended early is not resumed with models that nobody has reviewed.
    ask(
        demo_database,
        f"update canonical_migration.migration_runs set status = 'failed' where run_id = '{done['run_id']}'",
    )
    other = {"MIGRATION_VARS": '{"contract_version": "2"}'}
    refused = cli("resume", done["run_id"], "--yes", database=demo_database, expect=2, **other)
    assert "the models are no longer the ones that were reviewed" in refused.stderr
    cli("resume", done["run_id"], "--yes", database=demo_database)

    again = cli("events", "--apply", "--yes", "--plan", str(plan), database=demo_database, expect=2)
    rows = saved["groups"]["stripe"]["rows"]
    assert f"provider stripe: {rows} rows in the plan, 0 now" in again.stderr


def test_what_changed_since_is_told_and_nothing_is_written(demo_database: Database, cli: Cli, plan: Path) -> None:
    rows = json.loads(plan.read_text())["groups"]
    ask(
        demo_database,
        "update events set event_data = event_data || '{\"amount\": 1}' where id = (select event_id "
        "from canonical_migration.canonical_events where provider = 'stripe' and is_pending order by 1 limit 1)",
    )
    ask(
        demo_database,
        "delete from events where id = (select event_id from canonical_migration.canonical_events "
        "where provider = 'announcements' and is_pending order by 1 limit 1)",
    )
    pending = ask(demo_database, PENDING)

    done = cli("events", "--apply", "--yes", "--plan", str(plan), "--json", database=demo_database, expect=2)
    document = json.loads(done.stdout)
    assert document["status"] == "differs"
    assert document["plan"]["differences"] == [
        f"provider announcements: {rows['announcements']['rows']} rows in the plan, "
        f"{rows['announcements']['rows'] - 1} now",
        f"provider stripe: {rows['stripe']['rows']} rows as in the plan, but other values (or other rows)",
    ]
    for difference in document["plan"]["differences"]:
        assert difference in done.stderr
    assert ask(demo_database, PENDING) == pending
    # The row that was changed is no new one.
    loose = cli("events", "--apply", "--yes", "--plan", str(plan), "--allow-new", database=demo_database, expect=2)
    assert (
        f"provider stripe: {rows['stripe']['rows']} rows in the plan, {rows['stripe']['rows'] - 1} now" in loose.stderr
    )
    assert ask(demo_database, PENDING) == pending
    assert ask(demo_database, "select count(*) from migration_log where not dry_run") == 0


def test_a_change_that_the_hash_of_jsonb_does_not_see(demo_database: Database, cli: Cli, tmp_path: Path) -> None:
    """It takes no notice of where an object ends, nor of zeros after the point."""
    file = str(tmp_path / "events.plan")
    change = (
        "update events set event_data = event_data || '{}' where id = (select event_id "
        "from canonical_migration.canonical_events where provider = 'announcements' and is_pending order by 1 limit 1)"
    )
    for before, after in (
        ('{"zzzzz1": {}, "zzzzz2": 1}', '{"zzzzz1": {"zzzzz2": 1}}'),
        ('{"zzzzz3": 1.0}', '{"zzzzz3": 1.00}'),
    ):
        ask(demo_database, change.format(before))
        cli("events", "--save-plan", file, database=demo_database)
        ask(demo_database, change.format(after).replace("event_data ||", "event_data - 'zzzzz2' ||"))
        assert "but other values" in cli("events", "--plan", file, database=demo_database, expect=2).stderr


def test_rows_that_came_since_may_be_allowed(demo_database: Database, cli: Cli, tmp_path: Path) -> None:
    file = str(tmp_path / "events.plan")
    with connect(demo_database) as open_before, open_before.transaction():
        # Not there yet when the plan is made, though its transaction is older than the plan.
        with open_before.transaction():
            open_before.execute(COPY)
        cli("events", "--save-plan", file, database=demo_database)
    ask(demo_database, COPY)
    pending = ask(demo_database, PENDING)

    strict = cli("events", "--apply", "--yes", "--plan", file, database=demo_database, expect=2)
    assert strict.stderr.count("provider ") == 1
    assert "--allow-new" in strict.stderr
    assert ask(demo_database, PENDING) == pending

    done = cli("events", "--apply", "--yes", "--plan", file, "--allow-new", "--json", database=demo_database)
    assert "2 rows came since" in done.stderr
    assert json.loads(done.stdout)["plan"]["new_rows"] == 2
    assert ask(demo_database, PENDING) == 0


def test_a_plan_of_other_models_or_another_database_is_refused(
    demo_database: Database, migrated_demo: Database, cli: Cli, plan: Path
) -> None:
    other = cli("events", "--plan", str(plan), database=migrated_demo, expect=2)
    names = ask(demo_database, "select current_database()"), ask(migrated_demo, "select current_database()")
    assert f"database name: {names[0]} in the plan, {names[1]} now" in other.stderr

    pending = ask(demo_database, PENDING)
    newer = cli(
        "events", "--apply", "--yes", "--plan", str(plan), database=demo_database, expect=2,
        MIGRATION_VARS='{"contract_version": "2"}',
    )  # fmt: skip
    assert "models contract version: 1 in the plan, 2 now" in newer.stderr
    assert "models checksum: " in newer.stderr
    assert "provider stripe: " in newer.stderr
    assert ask(demo_database, PENDING) == pending


def test_options_and_files_that_do_not_fit_are_refused(demo_database: Database, cli: Cli, plan: Path) -> None:
    def refused(*arguments: str) -> str:
        return cli(*arguments, database=demo_database, expect=2).stderr

    assert "leave out --apply" in refused("events", "--save-plan", str(plan), "--apply", "--yes")
    assert "give --plan FILE too" in refused("events", "--allow-new")
    assert "made by `migrate events`" in refused("campaigns", "--plan", str(plan))
    assert "made by `migrate events`" in refused("events", "--refresh", "--plan", str(plan))
    assert "made with no limit" in refused("events", "--plan", str(plan), "--limit", "5")
    assert "cannot be read" in refused("events", "--plan", str(plan.with_name("missing")))
    for text in ("", "[1]", "{}", plan.read_text()[:-40], json.dumps(json.loads(plan.read_text()) | {"groups": []})):
        broken = plan.with_name("broken")
        broken.write_text(text)
        assert "is no plan of this version" in refused("events", "--plan", str(broken))
    assert "--save-plan must name a file" in refused("events", "--save-plan", str(plan / "below"))


def test_the_first_plan_of_a_new_database_can_be_applied(database: Database, cli: Cli, tmp_path: Path) -> None:
    """The first build makes a table that the models read: that is no change of the models."""
    demo.create(database, events=20, seed=7)
    plan = tmp_path / "plan.json"
    cli("campaigns", "--save-plan", str(plan), database=database)
    cli("campaigns", "--apply", "--yes", "--plan", str(plan), database=database)
