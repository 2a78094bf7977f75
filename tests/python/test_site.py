"""`migrate site`, looked at with a browser: strangers' scripts in the data, and a log of 100,000 rows."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from browser import DESK, PHONE, browser, visit
from conftest import Cli, create_database, drop_database, on
from playwright.sync_api import Browser
from psycopg.types.json import Jsonb

from scripts.connection import Session, connect
from scripts.evidence import VALIDATION
from scripts.settings import Database
from scripts.site.lineage import without_requests
from scripts.site.reader import RUNS_WITH_PAGES

__all__ = ["browser"]

#: What a stranger may put anywhere: markup, quotes, a template's and a spreadsheet's language.
HOSTILE = (
    "=1+1\"'><script>window.pwned = 1</script><img src=https://evil.example/x onerror='window.pwned = 1'>{{ 7*7 }}"
)
PERSON = "quentin.tarantula@example.com"
#: A telephone as a number, and a place that tells where somebody lives.
PHONE_NUMBER, LATITUDE = 2348012345678, 6.5243793
LOG_ROWS = 100_000
CALLS = 320
REFRESHED = 12_345


@dataclass(frozen=True)
class World:
    """A database with everything in it that is hard to show, and its two sites."""

    database: Database
    long_run: UUID
    crashed: UUID
    rolled_back: UUID
    masked: Path
    shown: Path


@pytest.fixture(scope="module")
def world(server: str, migrated_template: str, cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Built once: nobody changes it."""
    name = create_database(server, template=migrated_template)
    database = on(server, name)
    folder = tmp_path_factory.mktemp("sites")
    with connect(database) as session:
        rolled_back = _one(session, "select run_id from canonical_migration.migration_runs where command = 'campaigns'")
        cli("rollback", str(rolled_back), "--apply", "--yes", database=database)
        cli("verify", database=database)
        _put_hostile_values(session)
        long_run, crashed = _put_long_run(session), _put_crashed_run(session)
        _put_calls_of_an_endpoint(session)
        _put_refresh(session)
        cli("log", "--output", str(folder / "log.csv"), database=database)
        _put_validation(session)
    data_docs = folder / "data_docs"
    data_docs.mkdir()
    (data_docs / "index.html").write_text("<!DOCTYPE html><title>Data Docs</title>")
    (data_docs / ".migrate-validate").write_text(f"Made by `migrate validate`\n{database.label}\n")
    cli("site", "--output", str(folder / "masked"), "--data-docs", str(data_docs), database=database)
    (data_docs / ".migrate-validate").write_text("Made by `migrate validate`\nof another database\n")
    cli(
        "site", "--output", str(folder / "shown"), "--show-personal-data", "--data-docs", str(data_docs),
        database=database,
    )  # fmt: skip
    yield World(database, long_run, crashed, rolled_back, folder / "masked", folder / "shown")
    drop_database(server, name)


def _one(session: Session, query: str) -> UUID:
    row = session.execute(query).fetchone()
    assert row is not None
    return UUID(str(row[0]))


def _put_hostile_values(session: Session) -> None:
    """Strangers' markup wherever a stranger's text may stand, and a person's address beside it."""
    text = f"{HOSTILE} {PERSON}"
    session.execute("update campaigns set name = %s, description = %s", [text, text])
    session.execute("update campaigns set native_config = %s where data_sources = '[]'", [Jsonb({HOSTILE: text})])
    # Values that Python cannot follow.
    session.execute(
        """
        update campaigns
        set native_config = (repeat('{"a":', 3000) || repeat('9', 5000) || repeat('}', 3000))::jsonb
        where id in (select id from campaigns where data_sources = '[]' order by id limit 1)
        """
    )
    session.execute("update integrations set name = %s", [text])
    session.execute(
        "update templates set template_key = template_key || %s, required_fields = %s", [HOSTILE, Jsonb([HOSTILE])]
    )
    session.execute(
        "update integrations set provider = %s where id in (select integration_id from events limit 20)", [HOSTILE]
    )
    session.execute(
        """
        update events
        set
            event_data = event_data || %(data)s,
            canonical_event = jsonb_set(canonical_event, array['normalized', %(key)s], '"x"')
        where id in (select id from events where jsonb_typeof(event_data) = 'object' order by id limit 200)
        """,
        {
            "data": Jsonb(
                {
                    HOSTILE: text,
                    "email": PERSON,
                    "customer": {"name": text},
                    "phone": PHONE_NUMBER,
                    "lat": LATITUDE,
                    "opened_by": {PERSON: 1},
                }
            ),
            "key": HOSTILE,
        },
    )
    session.execute(
        "insert into migration_log (migration_type, batch_number, records_processed, records_failed, error_details) "
        "values ('event', 1, 1, 1, %s)",
        [Jsonb([{"row": text}])],
    )


def _put_long_run(session: Session) -> UUID:
    """A run of 100,000 batches, 300 of them with a failed row."""
    run_id = uuid4()
    session.execute(
        """
        insert into canonical_migration.migration_runs
            (run_id, command, migration_type, kind, status, started_at, ended_at, settings, summary)
        values (%s, 'events', 'event', 'apply', 'done', now() - interval '30 hours', now() - interval '1 hour', %s, %s)
        """,
        [
            run_id,
            Jsonb({"target": {"schema": "public", "table": "events", "column": "canonical_event", "key": "id"},
                   "expected_rows": 100_000_000}),
            Jsonb({"groups": {HOSTILE: 5}, "waits": [{"reason": HOSTILE, "seconds": 12.5, "count": 3}]}),
        ],
    )  # fmt: skip
    session.execute(
        """
        insert into migration_log (
            run_id, kind, migration_type, batch_number, records_processed, records_succeeded, records_failed,
            started_at, completed_at, error_details
        )
        select
            %(run)s, 'apply', 'event', i, 1000, 1000 - (i %% 333 = 0)::int, (i %% 333 = 0)::int,
            now() - interval '30 hours' + i * interval '1 second',
            now() - interval '30 hours' + (i + 0.8) * interval '1 second',
            case
                when i %% 333 = 0 then jsonb_build_array(jsonb_build_object('id', i::text, 'error', %(error)s::text))
            end
        from generate_series(1, %(rows)s) as i
        """,
        {"run": run_id, "error": f"23514: {HOSTILE}", "rows": LOG_ROWS},
    )
    return run_id


def _put_crashed_run(session: Session) -> UUID:
    run_id = uuid4()
    session.execute(
        """
        insert into canonical_migration.migration_runs
            (run_id, command, migration_type, kind, status, started_at, settings, backend_pid)
        values (%s, 'events', 'event', 'apply', 'running', now() - interval '40 hours', %s, 0)
        """,
        [run_id, Jsonb({"target": {"schema": "public", "table": "events", "column": "canonical_event", "key": "id"}})],
    )
    return run_id


def _put_calls_of_an_endpoint(session: Session) -> None:
    """A run of one batch for each call, more than have pages of their own; before all others."""
    session.execute(
        """
        with runs as (
            insert into canonical_migration.migration_runs
                (number, run_id, command, migration_type, kind, status, started_at, ended_at, settings)
            overriding system value
            select
                -i, gen_random_uuid(), 'events', 'event', 'apply', 'done',
                now() - interval '50 hours' + i * interval '1 s',
                now() - interval '50 hours' + i * interval '1 s', '{"target": {"schema": "public", "table": "events",
                "column": "canonical_event", "key": "id"}}'
            from generate_series(1, %s) as i
            returning run_id, started_at
        )

        insert into migration_log (
            run_id, kind, migration_type, batch_number, records_processed, records_succeeded, records_failed,
            started_at, completed_at
        )
        select run_id, 'apply', 'event', 1, 10, 10, 0, started_at, started_at + interval '20 ms'
        from runs
        """,
        [CALLS],
    )


def _put_refresh(session: Session) -> None:
    """A run that wrote to rows which held a value already; and a row of the log that another program wrote."""
    run_id = uuid4()
    session.execute(
        """
        insert into canonical_migration.migration_runs
            (run_id, command, migration_type, kind, status, started_at, ended_at, settings)
        values (%s, 'events', 'event', 'apply', 'done', now() - interval '1 day', now(), '{"refresh": true}')
        """,
        [run_id],
    )
    session.execute(
        """
        insert into migration_log (run_id, kind, migration_type, batch_number, records_succeeded, started_at,
            completed_at)
        values
            (%s, 'apply', 'event', 1, %s, now() - interval '1 day', now()),
            (null, null, 'event', 1, 54321, now() - interval '1 day', now())
        """,
        [run_id, REFRESHED],
    )


def _put_validation(session: Session) -> None:
    """What `migrate validate` records (test_validation.py sees it do so)."""
    summary = {
        "expectations": 3, "met": 2, "failed": 1, "warnings": 0, "skipped": None,
        "suites": [{"title": "The envelope", "expectations": 3, "met": 2, "failed": 1}],
        "not_met": [{"suite": "The envelope", "sentence": HOSTILE, "column": "kind", "state": "failed",
                     "measured": "1 of 10 events"}],
    }  # fmt: skip
    session.execute(
        "insert into canonical_migration.migration_evidence (kind, summary) values (%s, %s)",
        [VALIDATION, Jsonb(summary)],
    )


def _pages(site: Path) -> list[str]:
    """The pages of a site: each of the single ones, and of those of the runs each kind."""
    every = sorted(site.rglob("*.html"))
    plain = {path for path in every if path.parent.name == "runs" and "in 1 batch<" in path.read_text(encoding="utf-8")}
    left_out = sorted(plain)[4:]
    return [
        path.relative_to(site).as_posix() for path in every if path.parent.name != "validation" and path not in left_out
    ]


# ---------- every page


def test_every_page_works_offline_at_every_width_and_no_script_of_a_stranger_runs(
    world: World, browser: Browser
) -> None:
    """The site with personal data shown: nothing in it is made harmless by masking."""
    pages = _pages(world.shown)
    assert len(pages) > 15
    for path in pages:
        with visit(browser, (world.shown / path).as_uri(), size=PHONE, scheme="dark") as found:
            assert found.complaints == [], path
            assert found.page.evaluate("window.pwned") is None, path
            assert all(url.startswith("file://") and ".example" not in url for url in found.requests), path
            assert found.width() <= PHONE[0], path
            assert "49" not in found.page.locator("h1").all_text_contents(), path
            assert found.page.locator("img:not([src$='icon.svg'])").count() == 0, path


@pytest.mark.parametrize(("scheme", "size"), [("light", DESK), ("dark", PHONE)])
def test_axe_finds_nothing_on_any_kind_of_page(
    world: World, browser: Browser, scheme: str, size: tuple[int, int]
) -> None:
    kinds = [path for path in _pages(world.masked) if "/" not in path and not re.search(r"-\d+\.html$", path)]
    runs = [f"runs/{one}.html" for one in (world.long_run, world.crashed, world.rolled_back)]
    pages = [*kinds, *runs, f"runs/{world.long_run}-report.html"]
    if scheme == "dark":  # the structure is the same; these have every colour
        pages = ["index.html", "campaigns.html", "events.html", runs[0]]
    for path in pages:
        with visit(browser, (world.masked / path).as_uri(), size=size, scheme=scheme) as found:
            for details in found.page.locator("details").all()[:5]:
                details.evaluate("one => { one.open = true }")
            assert found.violations() == [], path


def test_links_lead_to_files_of_the_site(world: World) -> None:
    for path in _pages(world.masked):
        text = (world.masked / path).read_text(encoding="utf-8")
        for link in re.findall(r'(?:href|src)="([^"#]+)', text):
            assert (world.masked / path).parent.joinpath(link).resolve().is_file(), (path, link)
        # What a strict Content-Security-Policy would refuse.
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=\"|<script(?![^>]* (src|type=\"application/json\"))", text), (
            path
        )


# ---------- what the pages say


def test_the_checklist_tells_what_really_happened(world: World, browser: Browser) -> None:
    with visit(browser, (world.masked / "index.html").as_uri()) as found:
        steps = {
            one.locator("h3").inner_text(): one.inner_text() for one in found.page.locator(".checklist > li").all()
        }
    assert list(steps) == ["Dry run", "Backup", "Applied", "Validated", "Log exported", "Ready for rollout"]
    assert "look at it" in steps["Applied"]
    assert "campaigns are pending" in steps["Applied"]
    assert "not yet" in steps["Backup"]
    assert "1 of 3 expectations failed" in steps["Validated"]
    assert "verification: nothing but the target column was changed" in steps["Validated"]
    assert "done" in steps["Log exported"]
    with (world.masked.parent / "log.csv").open(encoding="utf-8", newline="") as file:
        exported = sum(1 for _ in csv.DictReader(file))
    assert exported > LOG_ROWS
    assert f"{exported:,} rows as csv" in steps["Log exported"]
    assert "Not yet. In the way" in steps["Ready for rollout"]


def test_a_run_tells_its_state_its_pauses_and_what_undid_it(world: World, browser: Browser) -> None:
    def text(run_id: UUID) -> str:
        with visit(browser, (world.masked / f"runs/{run_id}.html").as_uri()) as found:
            assert found.page.locator("canvas").count() == (1 if run_id == world.long_run else 0)
            return found.page.locator("main").inner_text()

    assert "crashed" in text(world.crashed)
    rolled_back = text(world.rolled_back)
    assert "rolled back" in rolled_back
    long = text(world.long_run)
    assert "of 100,000,000 expected" in long
    assert "12 s" in long
    assert "the first 200 of 300" in long
    assert f"the first and the last 50 of {LOG_ROWS:,}" in long


def test_a_campaign_comes_with_the_command_and_the_seed_line_that_settle_it(world: World, browser: Browser) -> None:
    with connect(world.database) as session:
        row = session.execute(
            "select campaign_id, settle_command, settle_seed_line from canonical_migration.ambiguous_campaigns "
            "where can_be_accepted order by confidence desc, reason, campaign_id limit 1"
        ).fetchone()
    assert row is not None
    with visit(browser, (world.masked / "campaigns.html").as_uri()) as found:
        card = found.page.locator(f"#campaign-{row[0]}")
        assert row[1] in card.inner_text()
        assert row[2] in (card.text_content() or "")


def test_a_seed_line_is_newer_than_the_decision_that_it_replaces(world: World) -> None:
    schema = "canonical_migration"
    with connect(world.database) as session, session.transaction(force_rollback=True):
        campaign = _one(
            session,
            f"select campaign_id from {schema}.ambiguous_campaigns where can_be_accepted and suggested_from = 'events' "
            "order by campaign_id limit 1",
        )
        session.execute(
            f"insert into {schema}.campaign_decisions (campaign_id, provider, decided_by, decided_at) "
            "values (%s, 'shopify', 'me', now() - interval '1 minute')",
            [campaign],
        )
        row = session.execute(
            f"select reason, settle_seed_line from {schema}.ambiguous_campaigns where campaign_id = %s", [campaign]
        ).fetchone()
        assert row is not None
        assert row[0] == "decision_needs_integration"
        values = [text or None for text in row[1].split(",")]
        session.execute(f"insert into {schema}.campaign_overrides values (%s, %s, %s, %s, %s)", values)
        found = session.execute(
            f"select outcome, decided_in from {schema}.campaign_resolutions where campaign_id = %s", [campaign]
        ).fetchone()
    assert found == ("resolved", "seed")


def test_a_migrated_campaign_is_shown_with_what_it_holds(world: World) -> None:
    shown = {row["campaign_id"]: row for row in json.loads((world.masked / "data/campaigns_settled.json").read_text())}
    with connect(world.database) as session:
        stored = session.execute(
            "select id::text, data_sources -> 0 ->> 'provider', data_sources -> 0 ->> 'integration_id' from campaigns "
            "where id::text = any(%s) and data_sources #> '{1}' is null",
            [[one for one, row in shown.items() if row["outcome"] == "migrated"]],
        ).fetchall()
    assert any(integration for _, _, integration in stored)
    for campaign, provider, integration in stored:
        assert (shown[campaign]["provider"], shown[campaign]["integration_id"]) == (provider, integration)


def test_the_progress_is_what_the_runs_wrote_less_what_was_taken_back(world: World) -> None:
    """A refresh writes to rows that held a value already, and what another program logged is not this tool's."""
    steps = json.loads((world.masked / "data/progress.json").read_text())
    runs = json.loads((world.masked / "data/runs.json").read_text())
    for migration_type in ("event", "campaign"):
        written = sum(
            -one["succeeded"] if one["kind"] == "rollback" else one["succeeded"]
            for one in runs
            if one["migration_type"] == migration_type and one["succeeded"] != REFRESHED
        )
        assert [one["rows"] for one in steps if one["migration_type"] == migration_type][-1] == written


def test_of_thousands_of_runs_some_have_pages_and_the_lists_have_all(world: World) -> None:
    pages = list((world.masked / "runs").glob("*[0-9a-f].html"))
    assert len(pages) == RUNS_WITH_PAGES
    text = (world.masked / "runs.html").read_text()
    assert f"{RUNS_WITH_PAGES} of the 3" in text
    assert text.count("data-kind=") > CALLS
    # What is more than one good batch has a page, however old.
    assert {world.long_run, world.crashed, world.rolled_back} <= {UUID(path.stem) for path in pages}


def test_the_filters_of_the_runs(world: World, browser: Browser) -> None:
    url = (world.masked / "runs.html").as_uri()
    with visit(browser, url) as found:
        rows = found.page.locator("#runs tbody tr:visible")
        every = rows.count()
        form = found.page.get_by_role("search")
        form.get_by_label("Kind").select_option("rollback")
        assert rows.count() == 1
        form.get_by_label("Kind").select_option("")
        form.get_by_label("with failures").check()
        assert [one.locator("code").first.inner_text() for one in rows.all()] == [str(world.long_run)[:8]]
        form.get_by_label("with failures").uncheck()
        form.get_by_label("Text").fill(str(world.crashed)[:13])
        assert rows.count() == 1
        assert "1 of" in form.get_by_role("status").inner_text()
        form.get_by_label("Text").fill("nothing like this")
        assert found.page.get_by_text("No run matches.").is_visible()
    with visit(browser, url, scripts=False) as found:
        assert found.page.locator("#runs tbody tr:visible").count() == every
        assert found.page.get_by_role("search").count() == 0


def test_the_keyboard_reaches_the_content_and_the_wide_tables(world: World, browser: Browser) -> None:
    with visit(browser, (world.masked / "events.html").as_uri(), size=PHONE) as found:
        found.page.keyboard.press("Tab")
        assert found.page.evaluate("document.activeElement.textContent") == "Skip to the content"
        found.page.keyboard.press("Enter")
        assert found.page.evaluate("document.activeElement.id") == "main"
        table = found.page.get_by_role("group", name="Coverage of fields by provider")
        table.focus()
        found.page.keyboard.press("ArrowRight")
        found.page.wait_for_function("document.activeElement.scrollLeft > 0")


# ---------- what is in the files


def test_personal_data_is_masked_unless_it_is_asked_for(world: World) -> None:
    def files_with(site: Path, text: str) -> list[str]:
        return [
            path.relative_to(site).as_posix()
            for path in site.rglob("*")
            if path.is_file() and text in path.read_text(encoding="utf-8", errors="replace")
        ]

    for value in (PERSON, PHONE_NUMBER, LATITUDE):
        assert files_with(world.masked, str(value)) == [], value
        assert "events.html" in files_with(world.shown, str(value)), value
    shown = files_with(world.shown, PERSON)
    assert {"events.html", "campaigns.html", "data/campaigns_settled.csv", "data/migration_log.csv"} <= set(shown)


def test_every_download_parses_and_holds_what_the_database_does(world: World) -> None:
    csv.field_size_limit(10_000_000)
    for path in [*(world.shown / "data").iterdir(), *(world.shown / "runs").glob("*.json")]:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            json.loads(text)
        else:
            rows = list(csv.DictReader(text.splitlines(keepends=True)))
            assert all(None not in row and None not in row.values() for row in rows), path
            # No spreadsheet reckons.
            assert not [cell for row in rows for cell in row.values() if cell.startswith("=")], path
    with connect(world.database) as session:
        assert session.execute("select count(*) from migration_log").fetchone() == (
            len(json.loads((world.shown / "data/migration_log.json").read_text())),
        )
    batches = (world.shown / f"runs/{world.long_run}.csv").read_text().count("\n")
    assert batches == LOG_ROWS + 1
    report = json.loads((world.shown / f"runs/{world.long_run}.json").read_text())
    assert (report["failed"], len(report["failures"]), report["status"]) == (300, 300, "done")


def test_a_long_log_stays_usable(world: World) -> None:
    large = {path.name: path.stat().st_size for path in world.masked.rglob("*.html") if path.stat().st_size > 400_000}
    assert large == {}


def test_the_data_docs_are_shown_only_beside_the_database_that_they_are_of(world: World) -> None:
    assert (world.masked / "validation/index.html").is_file()
    assert not (world.shown / "validation").exists()
    assert "migrate validate" in (world.shown / "validation.html").read_text()


def test_dbts_page_asks_for_nothing(browser: Browser, tmp_path: Path) -> None:
    """The places that `without_requests` mends, as dbt's page has them."""
    page = tmp_path / "index.html"
    page.write_text(
        without_requests(
            """<!DOCTYPE html><link rel="shortcut icon" href="${require('./assets/favicons/favicon.ico')}"/>
            <svg><use xlink:href="{{ getIcon(item.type, 'on') }}"></use></svg>"""
        )
    )
    with visit(browser, page.as_uri()) as found:
        assert found.complaints == []
        assert [url for url in found.requests if not url.startswith("data:")] == [page.as_uri()]


# ---------- the folder


def test_the_site_replaces_itself_and_nothing_else(demo_database: Database, cli: Cli, tmp_path: Path) -> None:
    """On a database where the report models are not built and nothing was run: the pages say so."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("do not touch")
    done = cli("site", "--output", str(mine), database=demo_database, expect=2)
    assert "holds files of somebody else" in done.stderr
    assert [path.name for path in mine.iterdir()] == ["letter.txt"]

    site = tmp_path / "new" / "site"
    cli("site", "--output", str(site), "--no-build", database=demo_database)
    assert "migrate build" in (site / "events.html").read_text()
    assert "Nothing has been run here yet" in (site / "runs.html").read_text()
    (site / "left over.html").write_text("of the site before")
    cli("site", "--output", str(site), "--no-build", database=demo_database)
    assert not (site / "left over.html").exists()
    assert [path.name for path in site.parent.iterdir()] == ["site"]
