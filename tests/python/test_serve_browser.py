"""The whole workflow by hand, in a real browser: as two administrators do it, on a phone and in the dark too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from browser import DESK, PHONE, Visit, browser, visit
from playwright.sync_api import Browser, Page, expect
from serving import Served, free_port, serving, slow_down, speed_up

from scripts.settings import Database

__all__ = ["browser"]
ADMIN = "/admin/data-migration"


@pytest.fixture
def served(demo_database: Database, tmp_path: Path) -> Iterator[Served]:
    with serving(demo_database, tmp_path) as found:
        yield found


@pytest.fixture
def opened(served: Served, browser: Browser) -> Iterator[Visit]:
    """The admin page, signed in by the link."""
    with visit(browser, f"{served.base}/login?token={served.token}") as found:
        found.page.set_default_timeout(120_000)
        expect.set_options(timeout=120_000)
        yield found


def test_the_whole_workflow(served: Served, opened: Visit, browser: Browser) -> None:
    page = opened.page
    assert page.url == f"{served.base}{ADMIN}"
    looks_right(opened)

    # A campaign that the rules cannot settle.
    page.goto(f"{served.base}/campaigns.html")
    form = page.locator("form.settle").first
    campaign = form.locator("[name=campaign]").get_attribute("value")
    form.get_by_role("radio").first.check()
    answer = form.get_by_role("radio").first.get_attribute("value")
    form.get_by_label("Why").fill("it is what feeds it")
    form.get_by_role("button", name="Settle").click()
    expect(page.get_by_role("status").first).to_contain_text(f"Settled: {campaign}")
    looks_right(opened)
    with psycopg.connect(served.database.conninfo) as session:
        decided = session.execute(
            "select coalesce(integration_id::text, provider), decided_by from canonical_migration.campaign_decisions "
            "where campaign_id = %s",
            [campaign],
        ).fetchone()
    assert decided == (answer, "local administrator")

    # Campaigns: dry run, report, review, apply.
    page.goto(f"{served.base}{ADMIN}")
    expect(page.locator("#campaigns").get_by_text("A dry run comes first")).to_be_visible()
    page.locator("#campaigns").get_by_role("button", name="Dry run").click()
    expect(page.get_by_role("heading", name="What would be written")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="report of Dry run of campaigns").click()
    report = json.loads(Path(download.value.path()).read_text())
    assert report["kind"] == "dry_run"
    rows = report["summary"]["writable"]
    assert rows > 10
    expect(page.get_by_text("would be written").first).to_be_visible()
    looks_right(opened)
    page.get_by_role("button", name="I have reviewed this report").click()
    page.get_by_label("Type the number of rows to write").fill(str(rows))
    page.get_by_role("button", name="Apply to campaigns").click()
    expect(page.locator("#campaigns").get_by_role("link", name="Result of the last apply")).to_be_visible()

    # Events, with live progress; a second administrator sees the same.
    slow_down(served.database)
    page.locator("#events").get_by_role("button", name="Dry run").click()
    page.get_by_role("button", name="I have reviewed this report").click()
    typed = page.get_by_label("Type the number of rows to write")
    rows = int(typed.get_attribute("data-expected") or "0")
    typed.fill(f"{rows}0")
    page.get_by_role("button", name="Apply to events").click()
    expect(page.get_by_role("alert")).to_contain_text("Not confirmed")
    opened.complaints.clear()  # the browser's own word about the status 400
    page.locator("#events-typed").fill(f"{rows:,}")
    page.get_by_text("Options").click()
    page.get_by_label("Rows in a batch").fill("1")
    page.get_by_role("button", name="Apply to events").click()
    progress = page.locator("#events .progress")
    expect(progress).to_contain_text(f"of {rows:,} rows")
    progress.get_by_role("button", name="Pause").click()
    expect(progress).to_contain_text("It waits: paused")
    done = int((progress.locator("[data-put=done]").inner_text()).replace(",", ""))
    assert 0 < done < rows
    assert progress.locator(".groups dd").count() > 1
    looks_right(opened)
    for size, scheme in ((PHONE, "dark"), (PHONE, "light"), (DESK, "dark")):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        page.reload()
        looks_right(opened)
    page.set_viewport_size({"width": DESK[0], "height": DESK[1]})
    page.emulate_media(color_scheme="light")
    page.get_by_role("button", name="Make a one-time link").click()
    link = page.locator(".command code").inner_text()
    with visit(browser, link) as second:
        expect(second.page.locator("#events .progress")).to_contain_text("It waits: paused")
        # What the other one starts is seen here too, and takes the focus from nobody.
        page.goto(f"{served.base}{ADMIN}")
        page.locator("#events .progress").get_by_role("button", name="Resume").focus()
        second.page.get_by_label("Events older than 30 days too").check()
        second.page.get_by_role("button", name="Back up").click()
        expect(second.page.get_by_role("heading", name="Backup tables")).to_be_visible()
        expect(page.get_by_role("row", name="Backup")).to_contain_text("done")
        expect(page.locator("#events .progress").get_by_role("button", name="Resume")).to_be_focused()
        speed_up(served.database)
        second.page.goto(f"{served.base}{ADMIN}")
        second.page.locator("#events .progress").get_by_role("button", name="Resume").click()
        # Numbers come by themselves, and the panel is drawn anew at the end.
        expect(second.page.locator("#events").get_by_role("link", name="Result of the last apply")).to_be_visible(
            timeout=120_000
        )
        assert second.complaints == []
    page.goto(f"{served.base}{ADMIN}")
    expect(page.locator("#events .progress")).to_have_count(0)
    assert pending(served.database) == 0

    # Proof.
    page.get_by_role("button", name="Validate").click()
    page.get_by_role("link", name="Open the Data Docs").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("o fault")
    page.get_by_role("link", name="Result in detail").last.click()
    met = page.locator(".hide-succeeded-validation-target-child")
    assert met.count() > 0
    expect(met.first).to_be_visible()
    page.get_by_text("Failed Only").click()
    expect(met.first).to_be_hidden()
    page.goto(f"{served.base}/events.html")
    expect(page.get_by_text("Every event was read at")).to_be_visible()
    looks_right(opened)
    assert opened.complaints == []

    # And back again.
    page.goto(f"{served.base}{ADMIN}")
    page.get_by_role("row", name="events apply").get_by_role("button", name="Roll back").click()
    page.get_by_label("Type the number of rows to restore").fill(str(rows))
    looks_right(opened)
    page.get_by_role("button", name="Roll back").click()
    expect(page.get_by_role("heading", name="What was restored")).to_be_visible()
    assert pending(served.database) == rows
    page.goto(f"{served.base}{ADMIN}/log?kind=rollback")
    expect(page.get_by_role("row").nth(1)).to_contain_text("event rollback")
    looks_right(opened)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    looks_right(opened)
    assert opened.complaints == []
    assert str(served.token) not in json.dumps([url for url in opened.requests if "/login" not in url])


def test_it_works_without_javascript(served: Served, browser: Browser) -> None:
    with visit(browser, f"{served.base}/login?token={served.token}", scripts=False, size=PHONE) as found:
        page = found.page
        page.set_default_timeout(120_000)
        page.locator("#events").get_by_role("button", name="Dry run").click()
        # The page reloads itself while the job runs.
        page.get_by_role("button", name="I have reviewed this report").click()
        rows = page.locator("#events-typed").get_attribute("data-expected")
        assert rows is not None
        page.locator("#events-typed").fill(rows)
        page.get_by_role("button", name="Apply to events").click()
        expect(page.locator("#events").get_by_role("link", name="Result of the last apply")).to_be_visible(
            timeout=120_000
        )
        assert pending(served.database) == 0


def test_a_page_notices_that_the_server_was_restarted(
    demo_database: Database, tmp_path: Path, browser: Browser
) -> None:
    port = str(free_port())
    with ExitStack() as later:
        with serving(demo_database, tmp_path, "--port", port) as served:
            found = later.enter_context(visit(browser, f"{served.base}/login?token={served.token}"))
            expect(found.page.locator("#away")).to_be_hidden()
        expect(found.page.locator("#away")).to_contain_text("The server does not answer", timeout=60_000)
        assert found.violations() == []
        later.enter_context(serving(demo_database, tmp_path, "--port", port))
        # It knows nobody any more.
        expect(found.page.get_by_role("heading", name="Sign in")).to_be_visible(timeout=60_000)


def pending(database: Database) -> int:
    with psycopg.connect(database.conninfo) as session:
        row = session.execute("select count(*) from canonical_migration.canonical_events where is_pending").fetchone()
    return int(row[0]) if row else -1


def looks_right(found: Visit) -> None:
    """Nothing that axe objects to, nothing wider than the window, no complaints."""
    assert found.violations() == []
    page: Page = found.page
    assert page.viewport_size is not None
    assert found.width() <= page.viewport_size["width"], page.url
    assert found.complaints == []
