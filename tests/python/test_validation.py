"""`migrate validate`: a migrated demo passes, what is wrong is found, and the site is readable offline."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from browser import PHONE, browser, visit
from conftest import Cli
from playwright.sync_api import Browser

from scripts import validation
from scripts.connection import connect
from scripts.errors import UserError
from scripts.settings import Database
from scripts.validation_suites import (
    DECIMAL,
    DECIMAL_FIELDS,
    MONEY,
    MONEY_FIELDS,
    NAME_FIELDS,
    NO_PLACEHOLDER,
    NUMBER_FIELDS,
    PLACE_FIELDS,
    PROVIDER,
    SAFE_URL,
    URL_FIELDS,
)

__all__ = ["browser"]


def ask(database: Database, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connect(database) as session:
        cursor = session.execute(query, parameters or None)
        return cursor.fetchall() if cursor.description else []


class _Resources(HTMLParser):
    """What a page loads, and where it links to."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "href" and tag == "a":
                self.links.append(value or "")
            elif name in ("src", "href", "srcset", "data", "poster", "action"):
                self.loaded.append(value or "")


# ---------- a healthy database


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("validation") / "data docs"


@pytest.fixture(scope="module")
def document(migrated_demo: Database, site: Path) -> dict[str, Any]:
    """What `migrate validate --json` prints for the migrated demo, run as a person runs it."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "migrate"), "validate", "--json", "--output", str(site)],
        env={**os.environ, "DATABASE_URL": migrated_demo.conninfo},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "%|" not in done.stdout + done.stderr, "a progress bar"
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_migrated_demo_passes(document: dict[str, Any], migrated_demo: Database, site: Path) -> None:
    assert document["success"]
    assert document["failed"] == 0
    assert document["site"] == str(site / "index.html")
    suites = {suite["name"]: suite["expectations"] for suite in document["suites"]}
    assert list(suites) == [
        "1_product_checks", "2_campaign_data_sources", "3_envelope", "4_values", "5_log", "6_undo", "7_for_a_person",
        "8_drift",
    ]  # fmt: skip
    # None of them passed because there was nothing to look at.
    for name in ("2_campaign_data_sources", "3_envelope", "4_values", "5_log", "6_undo"):
        assert all(one["of"] > 0 for one in suites[name]), name
    notices = {one["column"]: (one["state"], one["count"]) for one in suites["7_for_a_person"]}
    ambiguous = ask(migrated_demo, "select count(*) from canonical_migration.ambiguous_campaigns")[0][0]
    orphaned = ask(migrated_demo, "select count(*) from canonical_migration.orphaned_integrations")[0][0]
    assert notices["ambiguous_campaigns"] == ("warning", ambiguous)
    assert notices["orphaned_integrations"] == ("note", orphaned)
    # For the checklist of the review site; test_site.py shows what it makes of it.
    recorded = ask(
        migrated_demo, "select summary from canonical_migration.migration_evidence where kind = 'validation'"
    )
    assert [(one["expectations"], one["failed"]) for (one,) in recorded] == [(document["expectations"], 0)]


def test_the_site_loads_nothing_from_elsewhere(document: dict[str, Any], site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    # The index, and for each suite what is expected and what was found.
    assert len(pages) == 1 + 2 * len(document["suites"])
    for page in pages:
        text = page.read_text(encoding="utf-8")
        found = _Resources()
        found.feed(text)
        assert found.loaded, page
        for reference in found.loaded:
            if not reference.startswith("data:"):
                assert (page.parent / reference).resolve().is_file(), (page, reference)
        for link in found.links:
            assert link.startswith("#") or (page.parent / link.partition("#")[0]).resolve().is_file(), (page, link)
        assert "<script>" not in text
        assert not re.search(r"(@import|url\()\s*['\"]?(https?:)?//", text)
    for asset in (site / "static").iterdir():
        assert "//" not in re.sub(r"^\s*//.*$", "", asset.read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_the_site_names_no_person_and_no_secret(document: dict[str, Any], migrated_demo: Database, site: Path) -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in site.rglob("*") if path.is_file())
    people = ask(
        migrated_demo,
        "select distinct v from events, unnest(array[user_name, user_email]) as v where length(v) > 6 and v ~ '[ @]'",
    )
    assert len(people) > 20
    assert [name for (name,) in people if name in text or name in json.dumps(document)] == []
    assert "postgresql" not in text
    assert "PGPASSWORD" not in text


def test_the_pages_work_in_a_browser_without_a_network(document: dict[str, Any], site: Path, browser: Browser) -> None:
    pages = [site / "index.html", site / "expectations" / "3_envelope.html"]
    for folder in ("3_envelope", "5_log"):
        pages += (site / "validations" / folder).rglob("*.html")
    assert len(pages) == 4
    for page in pages:
        with visit(browser, page.as_uri(), size=PHONE, scheme="dark") as found:
            assert found.complaints == [], page
            assert all(url.startswith(("file://", "data:")) for url in found.requests), page
            assert found.width() <= PHONE[0], page
            assert found.violations() == [], page


# ---------- what is wrong is found


def _break(database: Database) -> dict[str, str]:
    """Break one thing after the other, each in rows of its own; returns the expectations that must fail."""
    events = [
        str(row[0])
        for row in ask(
            database,
            "select id from events where canonical_event #>> '{normalized,meta.contract_version}' = '1' "
            "and canonical_event ->> 'provider' = 'announcements' order by id limit 40",
        )
    ]
    field = "jsonb_set(canonical_event, '{{normalized,{}}}', '{}')"
    changes = {
        ("3_envelope", "kind"): "'7'",
        ("3_envelope", "keys"): "canonical_event || '{\"extra\": 1}'",
        ("3_envelope", "provider"): "jsonb_set(canonical_event, '{provider}', '\" Stripe\"')",
        ("3_envelope", "event_id_is_the_rows"): "jsonb_set(canonical_event, '{event_id}', '\"x\"')",
        ("3_envelope", "event_type_is_the_rows"): "jsonb_set(canonical_event, '{provider_event_type}', 'null')",
        ("3_envelope", "timestamp_is_created_at"): "jsonb_set(canonical_event, '{timestamp}', '\"2025-01-01\"')",
        ("3_envelope", "payload_is_event_data"): "canonical_event #- '{payload,title}'",
        ("3_envelope", "normalized_kind"): "jsonb_set(canonical_event, '{normalized}', '[]')",
        ("3_envelope", "wrong_keys"): field.format("title", '"x"'),
        ("3_envelope", "wrong_values"): field.format("template.title", "null"),
        ("4_values", "meta.provider_resolved_by"): field.format("meta.provider_resolved_by", '"guess"'),
        ("4_values", "meta_provider_is_the_envelopes"): field.format("meta.provider", '"x"'),
        ("4_values", "meta_timestamp_is_the_envelopes"): field.format("meta.timestamp", '"2025-01-15T00:00:00.000Z"'),
        ("4_values", "display_defaults_are_fields"): field.format("meta.display_defaults", '"template.none"'),
        ("4_values", "template.currency"): field.format("template.currency", '"eur"'),
        ("4_values", "template.amount"): field.format("template.amount", '"1299.5 dollars"'),
        ("4_values", "template.price"): field.format("template.price", '"1,299.00"'),
        ("4_values", "template.cta_url"): field.format("template.cta_url", r'"java\tscript:alert(1)"'),
        ("4_values", "template.rating"): field.format("template.rating", "6"),
        ("4_values", "template.rating_stars"): field.format("template.rating_stars", '"☆☆☆☆★"'),
        ("4_values", "template.quantity"): field.format("template.quantity", '"2"'),
        ("4_values", "template.time_ago"): field.format("template.time_ago", '"2 minutes ago"'),
        ("4_values", "template.location"): field.format("template.location", '"Unknown"'),
        ("4_values", "template.user_name"): field.format("template.user_name", '"123"'),
        ("1_product_checks", "recent_events_null"): "null",
        ("1_product_checks", "recent_events_empty"): "'{}'",
    }
    for value in changes.values():
        ask(
            database,
            f"update events set canonical_event = {value}, created_at = least(created_at, now() - interval '1 day') "
            "where id = %s",
            events.pop(),
        )
    # Only what is recent counts as the product's fault.
    ask(database, "update events set created_at = now() where canonical_event is null or canonical_event = '{}'")
    campaigns = [
        row[0]
        for row in ask(
            database,
            "select id from campaigns where data_sources #>> '{0,integration_id}' is not null "
            "and jsonb_array_length(data_sources) = 1 and id not in "
            "(select campaign_id from canonical_migration.ambiguous_campaigns) order by id limit 2",
        )
    ]
    ask(
        database,
        "update campaigns set data_sources = jsonb_set(data_sources, '{0,filters}', 'null') where id = %s",
        campaigns[0],
    )
    log = [row[0] for row in ask(database, "select id from migration_log where kind = 'apply' order by id limit 3")]
    ask(database, "update migration_log set completed_at = null where id = %s", log[0])
    ask(database, "update migration_log set records_processed = records_processed + 1 where id = %s", log[0])
    ask(
        database,
        "insert into migration_log (run_id, kind, migration_type, batch_number, records_processed, "
        "records_succeeded, records_failed, started_at, completed_at, error_details, dry_run) "
        'select run_id, kind, migration_type, 99, 1, 0, 1, now(), now(), \'[{"id": "x"}]\', false '
        "from migration_log where id = %s",
        log[0],
    )
    undo = "canonical_migration.migration_undo"
    ask(database, f"update {undo} set previous = previous[2:] where log_id = %s", log[0])
    ask(database, f"delete from {undo} where log_id = %s", log[1])
    expected = {column: suite for suite, column in changes}
    return expected | {
        "filters_kind": "2_campaign_data_sources",
        "completed_at": "5_log",
        "rows_add_up": "5_log",
        "failed_rows": "5_log",
        "one_undo_entry_per_written_row": "6_undo",
        "batches_that_differ": "6_undo",
        "uneven_entries": "6_undo",
    }


def test_each_fault_is_found_and_named_by_id_only(changed_demo: Database, cli: Cli, tmp_path: Path) -> None:
    expected = _break(changed_demo)
    done = cli("validate", "--json", "--output", str(tmp_path / "site"), database=changed_demo, expect=1)
    document = json.loads(done.stdout)
    failed = {
        one["column"]: (suite["name"], one)
        for suite in document["suites"]
        for one in suite["expectations"]
        if one["state"] == "failed"
    }
    assert {column: suite for column, (suite, _) in failed.items() if column in expected} == expected
    # Only consequences of the above besides.
    assert set(failed) - set(expected) <= {"normalized_kind", "number_of_stars", "is_in_order"}
    assert not document["success"]
    for column, (_, one) in failed.items():
        assert one["examples"], column
        assert all(re.fullmatch(r"[0-9a-f-]{36}( #\d+)?", example) for example in one["examples"]), column
    site = "\n".join(path.read_text(encoding="utf-8") for path in (tmp_path / "site").rglob("*.html"))
    assert "alert(1)" not in site
    assert "1299.5 dollars" not in site


def test_a_failed_row_is_settled_when_a_later_run_wrote_it_and_foreign_log_rows_are_left_alone(
    changed_demo: Database, tmp_path: Path
) -> None:
    ask(
        changed_demo,
        "insert into migration_log (run_id, kind, migration_type, batch_number, records_processed, records_succeeded, "
        "records_failed, started_at, completed_at, error_details, dry_run) "
        "select run_id, kind, 'event', 98, 1, 0, 1, now(), now(), "
        "(select jsonb_build_array(jsonb_build_object('id', id, 'error', 'x')) from events limit 1), false "
        "from migration_log where kind = 'apply' limit 1",
    )
    ask(
        changed_demo,
        "insert into migration_log (migration_type, batch_number, records_failed, started_at, created_at) "
        "values ('event', 1, 5, '2020-01-01', '2020-01-01')",
    )
    found = validation.validate(changed_demo, tmp_path / "site")
    assert found.failed == []


def test_without_any_run_log_and_undo_are_not_judged(demo_database: Database, cli: Cli, tmp_path: Path) -> None:
    ask(demo_database, "drop table migration_log cascade")
    done = cli("validate", "--problems", "--output", str(tmp_path / "site"), database=demo_database, expect=1)
    assert "Not judged: log and undo" in done.stderr
    assert "has an empty canonical_event" in done.stdout
    assert "The log" not in done.stdout


# ---------- usage


def test_a_folder_of_somebody_else_is_not_replaced(migrated_demo: Database, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="somebody else"):
        validation.validate(migrated_demo, tmp_path)
    with pytest.raises(UserError, match="is a file"):
        validation.validate(migrated_demo, tmp_path / "mine.txt")
    assert (tmp_path / "mine.txt").read_text(encoding="utf-8") == "mine"


def test_a_role_under_row_level_security_gets_the_remedy(changed_demo: Database, cli: Cli, tmp_path: Path) -> None:
    role = "validation_reader"
    with connect(changed_demo) as session:
        session.execute(f"drop role if exists {role}")
        for statement in (
            "create role {r} login", "grant usage on schema public, canonical_migration to {r}",
            "grant select on all tables in schema public, canonical_migration to {r}",
            "grant execute on all functions in schema canonical_migration to {r}",
        ):  # fmt: skip
            session.execute(statement.format(r=role))
    try:
        limited = Database(f"{changed_demo.conninfo} user={role}", label="the reader", origin="the test")
        done = cli("validate", "--output", str(tmp_path / "site"), database=limited, expect=2)
        assert "BYPASSRLS" in done.stderr
        assert not (tmp_path / "site" / "index.html").exists()
    finally:
        with connect(changed_demo) as session:
            session.execute(f"drop owned by {role}")
            session.execute(f"drop role {role}")


# ---------- the definitions


def test_every_field_of_the_models_has_its_rule() -> None:
    path = Path(__file__).parents[2] / "models" / "events" / "_events__models.yml"
    fields = {
        column["name"]: column["data_type"]
        for model in yaml.safe_load(path.read_text(encoding="utf-8"))["models"]
        for column in model["columns"]
        if "." in column["name"]
    }
    assert {name for name in fields if re.search(r"(_url|_image|_avatar)$", name)} == set(URL_FIELDS)
    assert {name for name in fields if re.search(r"location$", name)} - {"template.visitor_location"} == set(
        PLACE_FIELDS
    )
    numbers = {name for name, kind in fields.items() if kind == "numeric"} - {"template.rating"}
    assert numbers == set(NUMBER_FIELDS)
    assert {*MONEY_FIELDS, *DECIMAL_FIELDS, *NAME_FIELDS} <= set(fields)


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        (
            SAFE_URL,
            ["https://a.example/b?c=d:e", "HTTP://a.example", "/path:x", "page.html", "?a=b:c", "a/b:c"],
            ["javascript:alert(1)", " javascript:x", "java\tscript:x", "\x01javascript:x", "data:text/html,x",
             "javascript&colon;alert(1)", "vbscript:x", "JaVaScRiPt:x", "http:"],
        ),
        (
            MONEY,
            ["$1,299.00", "¥4,999", "KES 49.00", "-$5.00", "A$1.00", "12.50", "KWD 1.234"],
            ["1299.00$", "12,50 ", "$", "free"],
        ),
        (DECIMAL, ["199.50", "-5.00", "4999"], ["1,299.00", "$5", "1.", ""]),
        (PROVIDER, ["stripe", "google reviews", "x"], [" stripe", "Stripe", "stripe ", ""]),
        (NO_PLACEHOLDER, ["Lagos, NG", "Nullarbor"], ["Unknown", "undefined, undefined", "N/A", "NULL"]),
    ],
)  # fmt: skip
def test_a_pattern_means_what_it_says(database: Database, pattern: str, good: list[str], bad: list[str]) -> None:
    query = "select v from unnest(%s::text[]) as v where v ~ %s"
    assert [row[0] for row in ask(database, query, [*good, *bad], pattern)] == good


def test_a_database_without_campaigns_is_told(demo_database: Database, cli: Cli) -> None:
    ask(demo_database, "drop table campaigns cascade")
    assert "has no table public.campaigns" in cli("validate", database=demo_database, expect=2).stderr
