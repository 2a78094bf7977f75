"""The report models on the demo: their numbers against the tables, and input that could break them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from psycopg.types.json import Jsonb

from scripts import project
from scripts.connection import connect
from scripts.settings import Database

# Contract section 6, the fields marked R.
REQUIRED = {
    "shopify": {"customer_name", "product_name", "price", "currency"},
    "stripe": {"customer_name", "amount", "currency"},
    "woocommerce": {"customer_name", "product_name", "order_total"},
    "testimonials": {"author_name", "rating", "message"},
    "announcements": {"title", "message"},
    "instant_capture": {"message", "time_ago"},
    "live_visitors": {"visitor_count", "location"},
    "generic": {"message"},
}
REPORTS = "canonical_migration"


def ask(database: Database, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connect(database) as session:
        session.execute(f"set search_path = {REPORTS}, public")
        cursor = session.execute(query, parameters or None)
        return cursor.fetchall() if cursor.description else []


def test_required_fields_are_the_contracts() -> None:
    path = Path(__file__).parents[2] / "models" / "events" / "_events__models.yml"
    models = {model["name"]: model for model in yaml.safe_load(path.read_text(encoding="utf-8"))["models"]}
    found = {
        provider: {
            column["name"].removeprefix("template.")
            for column in models[f"{provider}_events"]["columns"]
            if column.get("config", {}).get("meta", {}).get("required")
        }
        for provider in REQUIRED
    }
    assert found == REQUIRED


def test_the_coverage_report_reads_them_and_counts_what_is_stored(migrated_demo: Database) -> None:
    rows = ask(migrated_demo, "select distinct mapping, field from field_coverage where is_required")
    assert rows
    assert all(field.removeprefix("template.") in REQUIRED[mapping] for mapping, field in rows)
    # Each provider of the demo lists each of its mapping's fields, and what is counted is what was written.
    wrong = ask(
        migrated_demo,
        """
        with stored as (
            select canonical_event ->> 'provider' as provider, key as field, count(*) as present
            from events, jsonb_object_keys(canonical_event -> 'normalized') as key
            where id not in (select event_id from canonical_drift)
            group by 1, 2
        ),
        drifted as (select distinct provider from canonical_drift)
        select c.provider, c.field, c.present, s.present
        from field_coverage as c
        left join stored as s using (provider, field)
        where c.provider not in (select provider from drifted) and c.present <> coalesce(s.present, 0)
            or c.present + c.missing <> c.events or c.display_words > c.present
        """,
    )
    assert wrong == []
    assert ask(migrated_demo, "select sum(display_words) > 0 from field_coverage")[0][0]


def test_status_and_preview_agree_with_the_tables(migrated_demo: Database) -> None:
    status = ask(
        migrated_demo,
        "select total_campaigns, migrated_campaigns + pending_campaigns + malformed_campaigns, total_events_30_days, "
        "migrated_events_30_days, pending_events_30_days, total_events, migrated_events, migrated_events_share "
        "from migration_status",
    )
    recent = ask(migrated_demo, "select count(*) from events where created_at >= now() - interval '30 days'")[0][0]
    campaigns, events = ask(migrated_demo, "select (select count(*) from campaigns), (select count(*) from events)")[0]
    assert status == [(campaigns, campaigns, recent, recent, 0, events, events, 1)]
    left = ask(
        migrated_demo,
        "select ambiguous_campaigns = (select count(*) from ambiguous_campaigns), "
        "pending_campaigns + malformed_campaigns = ambiguous_campaigns from migration_status",
    )
    assert left == [(True, True)]
    sums = ask(migrated_demo, "select sum(events), sum(pending), sum(resolvable) from migration_preview")
    assert sums == [(events, 0, 0)]


def test_drift_and_orphans_on_changed_and_malformed_rows(changed_demo: Database) -> None:
    database = changed_demo
    before = {row[0] for row in ask(database, "select event_id from canonical_drift")}
    ids = [
        row[0]
        for row in ask(
            database,
            "select id from events where id not in (select event_id from canonical_drift) "
            "and canonical_event ->> 'provider' = 'announcements' order by id limit 3",
        )
    ]
    ask(
        database,
        "update events set canonical_event = jsonb_set(canonical_event, '{normalized,template.title}', '1') "
        "where id = %s",
        ids[0],
    )
    ask(database, "update events set event_data = event_data || '{\"other\": 1}' where id = %s", ids[1])
    ask(database, "update events set canonical_event = '[1]' where id = %s", ids[2])
    drift = {
        row[0]: (row[1], row[2]) for row in ask(database, "select event_id, reason, changed_keys from canonical_drift")
    }
    assert set(drift) - before == set(ids)
    assert drift[ids[0]] == ("edited", ["template.title"])
    assert drift[ids[1]][0] == "event_data_changed"
    assert drift[ids[2]][0] == "not_an_envelope"

    count = "select count(*) from orphaned_integrations"
    orphaned = ask(database, count)[0][0]
    named = ask(
        database,
        "select id, data_sources from campaigns where data_sources #>> '{0,integration_id}' is not null "
        "and jsonb_array_length(data_sources) = 1 order by id limit 1",
    )[0]
    values: list[Any] = [
        {"integration_id": "x"},
        "text",
        7,
        [None, [], {"integration_id": {}}, {"integration_id": "not a uuid"}],
    ]
    for value in values:
        ask(database, "update campaigns set data_sources = %s where id = %s", Jsonb(value), named[0])
        assert ask(database, count)[0][0] >= orphaned
    upper = [{**named[1][0], "integration_id": f" {named[1][0]['integration_id'].upper()} "}]
    ask(database, "update campaigns set data_sources = %s where id = %s", Jsonb(upper), named[0])
    assert ask(database, count)[0][0] == orphaned


def test_templates_may_hold_anything_or_be_missing(changed_demo: Database) -> None:
    database = changed_demo
    values: list[Any] = [None, {}, "text", 1, True, [[]], [{}], ["", None, 1], ["template.title"], [" template.title "]]
    for number, value in enumerate(values):
        ask(
            database,
            "insert into templates (provider, template_key, name, required_fields) values (%s, %s, 'x', %s)",
            " Announcements ", f"odd {number}", Jsonb(value),
        )  # fmt: skip
    rows = ask(
        database,
        "select problem is null, ready = events, events > 0 from template_readiness "
        "where template_key ^@ 'odd ' order by length(template_key), template_key",
    )
    fine, broken = (True, True, True), (False, False, True)
    assert rows == [fine, broken, broken, broken, broken, broken, broken, broken, fine, fine]

    ask(database, "drop table templates cascade")
    assert project.build(database, ["stg_templates", "template_readiness"], exclude=["resource_type:unit_test"]) == 0
    assert ask(database, "select count(*) from template_readiness") == [(0,)]


def test_the_analyses_run_and_the_rollback_by_hand_restores_the_run(
    changed_demo: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = changed_demo
    run, written = ask(
        database,
        "select r.run_id::text, sum(l.records_succeeded) from migration_runs as r "
        "inner join migration_log as l using (run_id) where r.kind = 'apply' and r.command = 'events' group by 1",
    )[0]
    monkeypatch.setenv("MIGRATION_VARS", json.dumps({"run_id": run}))
    project.run_dbt(database, ["compile", "--select", "path:analyses"], show=False)
    folder = project.target_dir(database) / "compiled" / "canonical_migration" / "analyses"
    compiled = {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("*.sql")}

    # Campaigns without sources are those that a person has to settle; only they may be left.
    assert all(row[3] for row in ask(database, compiled["campaigns_without_sources"]))
    assert ask(database, compiled["recent_events_without_canonical_event"]) == [(0, 0)]
    orphaned = ask(database, "select integration_id from orphaned_integrations")
    assert {row[0] for row in ask(database, compiled["integrations_without_campaign"])} == {row[0] for row in orphaned}
    progress = {row[0]: row[1:] for row in ask(database, compiled["migration_progress"])}
    total, migrated, pending = progress["events of the last 30 days"]
    assert (migrated, pending) == (total, 0)

    with connect(database) as session:
        session.execute(compiled["backup"])
    copies = ask(
        database,
        "select relname, relrowsecurity from pg_class where relname ~ '_backup_' and relkind = 'r' order by 1",
    )
    assert [(name.partition("_")[0], closed) for name, closed in copies] == [("campaigns", True), ("events", True)]

    with connect(database) as session:
        session.execute(compiled["rollback"] + "\ncommit;")
    assert ask(database, "select sum(pending) from migration_preview") == [(written,)]
