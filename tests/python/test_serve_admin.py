"""The admin page over real HTTP: who gets in, what a button needs, and what a run does not care about."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from html import unescape
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
from conftest import Cli, create_database, drop_database, on
from serving import EVENTS, SECRET, Served, bearer, serving, slow_down, speed_up, token, user

from scripts import locks, project
from scripts.settings import Database

ADMIN = "/admin/data-migration"
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=alert(1)>\"'`{{7*7}}"


@pytest.fixture(scope="module")
def prepared(server: str, demo_template: str) -> Iterator[str]:
    """The name of a demo with scripts in names, texts and the log, and every model that the pages need."""
    name = create_database(server, template=demo_template)
    database = on(server, name)
    with psycopg.connect(database.conninfo, autocommit=True) as session:
        session.execute("update public.campaigns set name = %s, data_source = coalesce(data_source, %s)", [HOSTILE] * 2)
        session.execute("update public.integrations set name = %s", [HOSTILE])
        session.execute(
            "update public.events set message_template = %s, user_name = %s, "
            "event_data = jsonb_set(event_data, '{product_name}', to_jsonb(%s::text)) "
            "where jsonb_typeof(event_data) = 'object'",
            [HOSTILE] * 3,
        )
        session.execute(
            "insert into public.migration_log (migration_type, batch_number, records_processed, records_succeeded, "
            "records_failed, started_at, error_details, dry_run) values ('event', 1, 1, 0, 1, now(), %s, false)",
            [json.dumps([{"id": HOSTILE, "error": HOSTILE}, {"odd": HOSTILE}])],
        )
    project.bring_up_to_date(database, "campaigns", also=("ambiguous_campaigns",))
    yield name
    drop_database(server, name)


@pytest.fixture
def copy(server: str, prepared: str) -> Iterator[Database]:
    """A database of its own."""
    name = create_database(server, template=prepared)
    yield on(server, name)
    drop_database(server, name)


@pytest.fixture
def served(copy: Database, tmp_path: Path) -> Iterator[Served]:
    with serving(copy, tmp_path) as found:
        yield found


@pytest.fixture
def browser(served: Served) -> Iterator[Browser]:
    with Browser(served) as found:
        yield found


class Browser:
    """What a browser without JavaScript does: it keeps cookies, follows links and sends forms."""

    def __init__(self, served: Served, link: str | None = None) -> None:
        self.served = served
        self.client = served.client(follow_redirects=True)
        answer = self.client.get(link or f"/login?token={served.token}")
        assert answer.status_code == 200, answer.text
        assert "token" not in str(answer.url)
        self.csrf = csrf_of(answer.text)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def get(self, path: str) -> httpx.Response:
        return self.client.get(path)

    def send(self, path: str, **fields: str) -> httpx.Response:
        """Send a form as the page would."""
        return self.client.post(path, data={"csrf": self.csrf, **fields}, headers={"Origin": self.served.base})

    def start(self, action: str, **fields: str) -> httpx.Response:
        return self.send(f"{ADMIN}/start", action=action, **fields)

    def finished(self, answer: httpx.Response) -> str:
        """The page of a job that was started, once it has ended."""
        for _ in range(600):
            page = self.get(answer.url.path).text
            if "It goes on whether or not" not in page:
                return page
            time.sleep(0.2)
        raise AssertionError("the job does not end")

    def dry_run(self, command: str) -> tuple[str, int]:
        """Make a dry run and review it; its job's id, and the number of rows."""
        answer = self.start("dry_run", command=command)
        page = self.finished(answer)
        assert "What would be written" in page, page
        job = answer.url.path.rpartition("/")[2]
        report = self.get(f"{ADMIN}/jobs/{job}/report.json").json()
        reviewed = self.send(f"{ADMIN}/jobs/{job}/review")
        assert reviewed.status_code == 200
        return job, report["summary"]["writable"]


def csrf_of(page: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found is not None, page[:2000]
    return unescape(found[1])


def count(database: Database, query: str) -> int:
    with psycopg.connect(database.conninfo) as session:
        row = session.execute(query).fetchone()
    return int(row[0]) if row else 0


# ---------- who gets in


def test_the_link_signs_in_once_and_leaves_no_secret_behind(served: Served) -> None:
    with served.client() as client:
        assert client.head(f"/login?token={served.token}").status_code == 405
        answer = client.get(f"/login?token={served.token}")
        assert (answer.status_code, answer.headers["location"]) == (303, ADMIN)
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert str(served.token) not in cookie
        # Two servers of one machine do not sign each other out.
        assert cookie.startswith(f"migration-{served.base.rsplit(':', 1)[1]}=")
        assert client.get(ADMIN).status_code == 200
    with served.client() as other:
        assert other.get(f"/login?token={served.token}").status_code == 401
        # It is no bearer token any more either.
        assert other.post(EVENTS, headers=bearer(served.token or "")).status_code == 401
        for path in (ADMIN, "/", "/index.html", "/runs.html", "/data/runs.csv", f"{ADMIN}/log", f"{ADMIN}/jobs/x"):
            answer = other.get(path)
            assert (answer.status_code, answer.headers.get("location")) in ((303, "/login"), (303, "/index.html"))
        assert other.get(f"{ADMIN}/live").status_code == 401
        assert other.get("/login").status_code == 200
    assert str(served.token) not in served.log()


def test_failed_logins_are_limited(served: Served) -> None:
    with served.client(headers={"Origin": served.base}) as client:
        answers = [client.post("/login", data={"token": f"wrong {n}"}).status_code for n in range(12)]
        assert answers == [401] * 10 + [429] * 2
        refused = client.get(f"/login?token={served.token}")
        assert refused.status_code == 429
        assert 0 < int(refused.headers["retry-after"]) <= 300


def test_an_administrator_of_supabase_signs_in_with_a_token(copy: Database, tmp_path: Path) -> None:
    admin = user(copy, "admin")
    with serving(copy, tmp_path, SUPABASE_JWT_SECRET=SECRET) as served, served.client() as client:
        assert served.token is None
        own = {"Origin": served.base}
        assert client.post("/login", data={"token": token(user(copy, "selfmade"))}, headers=own).status_code == 403
        assert client.post("/login", data={"token": token(admin, exp=1)}, headers=own).status_code == 401
        assert client.post("/login", data={"token": token(admin)}).status_code == 403
        answer = client.post("/login", data={"token": token(admin)}, headers=own)
        assert answer.status_code == 303
        page = client.get(ADMIN).text
        assert admin in page
        assert "one-time link" not in page
        started = client.post(
            f"{ADMIN}/start", data={"csrf": csrf_of(page), "action": "dry_run", "command": "events"}, headers=own
        )
        job = started.headers["location"]
        for _ in range(300):
            if "What would be written" in client.get(job).text:
                break
            time.sleep(0.2)
        performed = count(copy, f"select count(*) from public.migration_log where performed_by = '{admin}'")
        assert performed == 1
        assert SECRET not in (Path(os.environ["MIGRATION_STATE_DIR"]) / "serve").as_posix()


def test_what_changes_something_needs_the_page_and_its_token(served: Served, browser: Browser) -> None:
    fields = {"action": "dry_run", "command": "events"}
    own = {"Origin": served.base}
    refused = [
        ({"csrf": browser.csrf}, {}),
        ({"csrf": browser.csrf}, {"Origin": "https://evil.example"}),
        ({"csrf": browser.csrf}, {"Origin": "null"}),
        ({"csrf": browser.csrf}, {"Origin": served.base.replace("127.0.0.1", "localhost")}),
        ({}, own),
        ({"csrf": ""}, own),
        ({"csrf": "x" * 43}, own),
    ]
    for more, headers in refused:
        for path in (f"{ADMIN}/start", f"{ADMIN}/jobs/x/review", f"{ADMIN}/campaigns", f"{ADMIN}/link", "/logout"):
            assert browser.client.post(path, data={**fields, **more}, headers=headers).status_code == 403, (path, more)
    assert browser.get(f"{ADMIN}/start").status_code in (404, 405)
    assert "Nothing was started from here yet" in browser.get(ADMIN).text
    assert "You are not signed in" in httpx.post(f"{served.base}{ADMIN}/start", data=fields, headers=own).text

    assert browser.send("/logout").url.path == "/login"
    assert browser.get(ADMIN).url.path == "/login"


def test_a_second_administrator_gets_a_link_of_its_own(served: Served, browser: Browser) -> None:
    page = browser.send(f"{ADMIN}/link").text
    found = re.search(r"/login\?token=[\w-]+", page)
    assert found is not None
    with Browser(served, found[0]) as second:
        second.start("backup")
        assert "Backup" in browser.get(ADMIN).text


# ---------- what a button needs


def test_apply_opens_after_a_reviewed_dry_run_only(browser: Browser, copy: Database, cli: Cli) -> None:
    nothing = browser.start("apply", command="campaigns", dry_run="", typed="60")
    assert nothing.status_code == 400
    job, rows = browser.dry_run("campaigns")
    assert rows > 10
    form = {"command": "campaigns", "dry_run": job}
    for typed in ("", "0", str(rows + 1), f"-{rows}", "yes", f"{rows}0"):
        answer = browser.start("apply", typed=typed, **form)
        assert answer.status_code == 400
        assert "Not confirmed" in answer.text
    # A newer dry run takes the place of the one on this page, and nobody has reviewed it.
    newer = browser.start("dry_run", command="campaigns")
    browser.finished(newer)
    assert "newer dry run" in browser.start("apply", typed=str(rows), **form).text
    form["dry_run"] = newer.url.path.rpartition("/")[2]
    assert "review" in browser.start("apply", typed=str(rows), **form).text
    assert count(copy, "select count(*) from canonical_migration.migration_runs where kind = 'apply'") == 0
    browser.send(f"{ADMIN}/jobs/{form['dry_run']}/review")

    # The data changes between dry run and apply: nothing is written, and the reason is told.
    with psycopg.connect(copy.conninfo, autocommit=True) as session:
        session.execute("delete from public.campaigns where id = (select campaign_id from "
                        "canonical_migration.campaign_data_sources where is_pending limit 1)")  # fmt: skip
    browser.start("apply", typed=str(rows), **form)
    page = wait_for(browser, lambda text: "Result of the last apply" in text)
    failed = re.search(rf'({ADMIN}/jobs/[\w-]+)">Result of the last apply', page)
    assert failed is not None
    assert "Not as in the plan" in browser.get(failed[1]).text
    assert count(copy, "select count(*) from canonical_migration.migration_runs where kind = 'apply'") == 0
    assert "was started from this dry run" in browser.start("apply", typed=str(rows), **form).text

    job, rows = browser.dry_run("campaigns")
    # Somebody writes from a terminal: what was reviewed is not what is pending any more.
    cli("campaigns", "--apply", "--yes", "--limit", "1", database=copy)
    assert "has written since this dry run" in browser.get(ADMIN).text
    assert "has written since" in browser.start("apply", command="campaigns", dry_run=job, typed=str(rows)).text
    job, rows = browser.dry_run("campaigns")
    done = browser.start("apply", command="campaigns", dry_run=job, typed=f"{rows:,}")
    assert done.status_code == 200
    wait_for(browser, lambda text: "some rows failed" not in text and "It is being applied" not in text)
    assert count(copy, "select count(*) from canonical_migration.campaign_data_sources where is_pending") == 0


def wait_for(browser: Browser, met: object, path: str = ADMIN) -> str:
    for _ in range(300):
        page = browser.get(path).text
        if callable(met) and met(page):
            return page
        time.sleep(0.2)
    raise AssertionError("it does not come")


def test_a_run_does_not_care_about_browser_or_server(copy: Database, tmp_path: Path, cli: Cli) -> None:
    slow_down(copy)
    with ExitStack() as stack, serving(copy, tmp_path) as served, Browser(served) as browser:
        job, rows = browser.dry_run("events")
        browser.start("apply", command="events", dry_run=job, typed=str(rows), batch_size="1")
        page = wait_for(browser, lambda text: "data-run=" in text)
        run = re.search(r'data-run="([\w-]+)"', page)
        assert run is not None

        # A second apply, from here or by an endpoint, is refused with the holder named.
        again = browser.start("apply", command="events", dry_run=job, typed=str(rows))
        assert again.status_code == 409
        assert run[1][:8] in again.text
        with browser.client.stream("GET", f"{ADMIN}/live") as stream:
            line = next(line for line in stream.iter_lines() if line.startswith("data: "))
        state = json.loads(line.removeprefix("data: "))["runs"][run[1]]
        assert int(state["expected"].replace(",", "")) == rows
        assert {"rate", "left", "batch", "done", "groups"} <= state.keys()

        # Somebody watches until the end.
        watcher = stack.enter_context(served.client(cookies=browser.client.cookies))
        stack.enter_context(watcher.stream("GET", f"{ADMIN}/live"))
        browser.send(f"{ADMIN}/runs/{run[1]}/control", control="pause")
        wait_for(browser, lambda text: 'data-put="waiting">paused<' in text)
        assert browser.send(f"{ADMIN}/runs/{run[1]}/control", control="stop").status_code == 400
    # The server has ended; the run has not, and another server knows it.
    waiting = "select count(*) from canonical_migration.migration_runs where waiting_for is not null"
    assert count(copy, waiting) == 1
    with serving(copy, tmp_path) as served, Browser(served) as browser:
        page = browser.get(ADMIN).text
        assert 'data-put="waiting">paused<' in page
        assert 'class="chip running"' in page
        speed_up(copy)
        browser.send(f"{ADMIN}/runs/{run[1]}/control", control="run")
        wait_for(browser, lambda text: "It is being applied" not in text)
        assert count(copy, "select count(*) from canonical_migration.canonical_events where is_pending") == 0

        preview = browser.start("rollback_preview", run=run[1])
        assert "What would be restored" in browser.finished(preview)
        kept = preview.url.path.rpartition("/")[2]
        wrong = browser.start("rollback", preview=kept, typed="1")
        assert (wrong.status_code, "Not confirmed" in wrong.text) == (400, True)
        back = browser.start("rollback", preview=kept, typed=str(rows))
        assert "What was restored" in browser.finished(back)
        assert count(copy, "select count(*) from canonical_migration.canonical_events where is_pending") == rows
        assert "started already" in browser.start("rollback", preview=kept, typed=str(rows)).text


def test_a_killed_job_is_told_as_such(browser: Browser, copy: Database) -> None:
    with psycopg.connect(copy.conninfo) as session:
        session.execute("lock table public.events in access exclusive mode")
        started = browser.start("backup")
        folder = next((Path(os.environ["MIGRATION_STATE_DIR"]) / "serve").glob(
            f"*/jobs/{started.url.path.rpartition('/')[2]}"))  # fmt: skip
        process = psutil.Process(json.loads((folder / "process.json").read_text())["pid"])
        assert os.getsid(process.pid) == process.pid
        assert copy.conninfo not in " ".join(process.cmdline())
        process.send_signal(signal.SIGKILL)
        page = browser.finished(started)
    assert "ended unexpectedly" in page


def test_another_run_elsewhere_refuses_the_button(browser: Browser, copy: Database, cli: Cli) -> None:
    job, rows = browser.dry_run("campaigns")
    with psycopg.connect(copy.conninfo, autocommit=True) as session:
        session.execute("select pg_advisory_lock(%s)", [locks.run_key("public", "campaigns", "data_sources")])
        browser.start("apply", command="campaigns", dry_run=job, typed=str(rows))
        page = wait_for(browser, lambda text: "It is being applied" not in text)
    found = re.search(rf'({ADMIN}/jobs/[\w-]+)">Result of the last apply', page)
    assert found is not None
    assert "Another run is working on public.campaigns.data_sources" in browser.get(found[1]).text


# ---------- campaigns, files, pages


def test_a_campaign_is_settled_and_taken_back(browser: Browser, copy: Database) -> None:
    page = browser.get("/campaigns.html").text
    form = re.search(r'name="campaign" value="([\w-]+)">(.*?)</form>', page, re.DOTALL)
    assert form is not None
    answer = re.search(r'name="answer" value="([^"]+)"', form[2])
    assert answer is not None
    settled = browser.send(f"{ADMIN}/campaigns", campaign=form[1], answer=answer[1], note="because <b>")
    assert settled.status_code == 200
    assert "Settled" in settled.text
    with psycopg.connect(copy.conninfo) as session:
        row = session.execute(
            "select coalesce(integration_id::text, provider), note, decided_by, decided_at is not null "
            "from canonical_migration.campaign_decisions where campaign_id = %s", [form[1]]
        ).fetchone()  # fmt: skip
    assert row == (answer[1], "because <b>", "local administrator", True)
    # Another administrator, whose page still has it among the open ones, hears of it.
    second = browser.send(f"{ADMIN}/campaigns", campaign=form[1], answer=answer[1])
    assert second.status_code == 400
    assert "settled meanwhile, by local administrator at" in second.text
    assert count(copy, "select count(*) from canonical_migration.campaign_decisions") == 1
    browser.send(f"{ADMIN}/campaigns", campaign=form[1], take_back="yes")
    again = browser.send(f"{ADMIN}/campaigns", campaign=form[1], answer="00000000-0000-4000-8000-000000000000")
    assert again.status_code == 400
    assert "Not decided" in again.text
    assert f'value="{form[1]}"' in browser.get("/campaigns.html").text
    for wrong in ("", "x", "../..", "00000000-0000-4000-8000-000000000000"):
        assert browser.send(f"{ADMIN}/campaigns", campaign=wrong, answer=answer[1]).status_code == 400


def test_only_a_jobs_own_files_are_served(browser: Browser, served: Served) -> None:
    job = browser.start("dry_run", command="campaigns")
    browser.finished(job)
    base = job.url.path
    report = browser.get(f"{base}/report.json")
    assert report.headers["content-disposition"].startswith("attachment")
    assert report.json()["kind"] == "dry_run"
    assert browser.get(f"{base}/plan.json").status_code == 200
    for path in (
        f"{base}/job.json", f"{base}/..%2Fjob.json", f"{base}/%2e%2e/%2e%2e/%2e%2e/%2e%2e/pyproject.toml",
        f"{base}/....//report.json", f"{ADMIN}/jobs/..%2f..%2fjobs/report.json", f"{ADMIN}/jobs/%2e%2e/report.json",
        "/static/..%2ftemplates%2fadmin.html", "/static/%2e%2e/app.py", "/static//etc/passwd", "/static/../guard.py",
        "/validation/..%2f..%2fjobs", "/validation/%2e%2e/%2e%2e/dbt_project.yml", "/validation//etc/passwd",
        "/lineage/%2e%2e/%2e%2e/etc/passwd", "/data/../../etc/passwd.csv", "/runs/..%2f..%2f.json", "/%00", "/a" * 500,
        f"{base}/report.json%00.txt",
    ):  # fmt: skip
        target = served.base + path
        with httpx.Client(cookies=browser.client.cookies) as raw:
            answer = raw.get(httpx.URL(target))
        assert answer.status_code in (400, 404, 405), path
        assert "root:" not in answer.text
        assert "[project]" not in answer.text


def test_nothing_that_data_says_runs_on_a_page(browser: Browser, copy: Database) -> None:
    for command in ("campaigns", "events"):
        job = browser.start("dry_run", command=command)
        assert "What would be written" in browser.finished(job)
    validation = browser.start("validate")
    browser.finished(validation)
    paths = [ADMIN, f"{ADMIN}/log", f"{ADMIN}/log?run={HOSTILE}&kind={HOSTILE}&before={HOSTILE}~{HOSTILE}",
             job.url.path, validation.url.path, f"/login?x={HOSTILE}", f"/{HOSTILE}",
             f"/campaigns.html?settled={HOSTILE}"]  # fmt: skip
    paths += ["/index.html", "/events.html", "/campaigns.html", "/campaigns-settled.html", "/runs.html",
              "/validation.html", "/lineage.html", "/downloads.html", "/validation/index.html"]  # fmt: skip
    docs = browser.get("/validation/index.html").text
    for path in ("/validation/%00", "/validation/" + "a" * 5_000 + ".html", "/validation/x%00.html"):
        assert browser.get(path).status_code == 404, path
    paths += [f"/validation/{one}" for one in re.findall(r'href="(validations/[^"]+)"', docs)[:2]]
    for path in paths:
        answer = browser.get(path)
        assert answer.status_code in (200, 404), path
        assert "<script>document.title" not in answer.text, path
        assert "<img src=x" not in answer.text, path
        assert " onclick=" not in answer.text, path
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self';" in policy, path
        assert "49" not in re.findall(r"owned.{0,80}", answer.text), path
    hostile_name = "&lt;script&gt;document.title"
    assert hostile_name in browser.get("/campaigns.html").text
    # What another program put into the log may be anything.
    log = browser.get(f"{ADMIN}/log").text
    assert hostile_name not in log
    assert "xxxxxx" in log
    assert browser.get("/data/campaigns_ambiguous.json").status_code == 200


def test_the_reports_about_a_large_table_are_read_when_somebody_asks(changed_demo: Database, tmp_path: Path) -> None:
    with psycopg.connect(changed_demo.conninfo, autocommit=True) as session:
        session.execute("alter table public.events set (autovacuum_enabled = off)")
        session.execute(
            "do $$ begin while pg_relation_size('public.events') < 34000000 loop "
            "update public.events set canonical_event = canonical_event; end loop; end $$"
        )
    with serving(changed_demo, tmp_path) as served, Browser(served) as browser:
        page = browser.get("/events.html").text
        assert "were not read yet" in page
        assert "Read them now" in page
        assert browser.get("/data/providers.csv").status_code == 409
        assert browser.client.post(f"{ADMIN}/events", headers={"Origin": served.base}).status_code == 403
        page = browser.send(f"{ADMIN}/events").text
        for _ in range(120):
            if "Every event was read at" in page:
                break
            assert "being read" in page
            time.sleep(0.5)
            page = browser.get("/events.html").text
        assert "Rows were written since" not in page
        events = json.loads(browser.get("/data/providers.json").text)
        assert sum(row["events"] for row in events) == count(changed_demo, "select count(*) from public.events")
        with psycopg.connect(changed_demo.conninfo, autocommit=True) as session:
            session.execute("update public.migration_log set completed_at = now()")
        assert "Rows were written since" in browser.get("/events.html").text


def test_a_download_of_the_whole_log_counts_as_its_export(changed_demo: Database, tmp_path: Path) -> None:
    query = "select count(*) from canonical_migration.migration_evidence where kind = 'log_export'"
    with serving(changed_demo, tmp_path) as served, Browser(served) as browser:
        assert "No export of the whole log is recorded" in browser.get("/index.html").text
        rows = browser.get("/data/migration_log.json").json()
        assert count(changed_demo, query) == 1
        page = browser.get("/index.html").text
        assert f"{len(rows):,} rows as json" in page
        assert "local administrator" in page


def test_the_log_is_filtered_and_paged_with_100_000_rows(browser: Browser, copy: Database) -> None:
    with psycopg.connect(copy.conninfo, autocommit=True) as session:
        session.execute("""
            with runs as (
                insert into canonical_migration.migration_runs (
                    run_id, command, migration_type, kind, status, started_at, ended_at, settings
                )
                select
                    gen_random_uuid(), 'events', 'event', 'apply', 'done', now() - n * interval '1 hour',
                    now() - n * interval '1 hour', '{"target": {"schema": "public", "table": "events",
                    "column": "canonical_event", "key": "id"}}'
                from generate_series(1, 100) as n
                returning run_id, started_at
            )
            insert into public.migration_log (
                run_id, kind, migration_type, batch_number, records_processed, records_succeeded, records_failed,
                started_at, completed_at, dry_run, details
            )
            select
                r.run_id, 'apply', 'event', b, 10, 10 - (b % 100 = 0)::integer, (b % 100 = 0)::integer,
                r.started_at + b * interval '1 s', r.started_at + b * interval '1 s', false,
                '{"groups": {"shopify": 10}}'
            from runs as r cross join generate_series(1, 1000) as b
        """)
        session.execute("analyze public.migration_log")
    began = time.monotonic()
    page = browser.get(f"{ADMIN}/log").text
    assert "100,001 rows" in page or "100,00" in page
    assert page.count("<tr>") == 51
    older = re.search(r'href="([^"]+before=[^"]+)">Older', page)
    assert older is not None
    second = browser.get(unescape(older[1])).text
    assert second.count("<tr>") == 51
    rows = [
        set(re.findall(r'datetime="([^"]+)">[^<]+</time></th><td><a href="/runs/([\w-]+)', text))
        for text in (page, second)
    ]
    assert not rows[0] & rows[1]
    failed = browser.get(f"{ADMIN}/log?failures=yes&kind=apply&type=event").text
    assert "1,00" in failed
    assert browser.get(f"{ADMIN}/log?type=campaign").text.count("<tr>") <= 51
    assert "No row of the log is like that" in browser.get(f"{ADMIN}/log?run=ffffffffff").text
    assert browser.get(f"{ADMIN}/log?since=2020-01-01&until=2020-01-02").status_code == 200
    for path in (ADMIN, "/index.html", "/runs.html"):
        answer = browser.get(path)
        assert answer.status_code == 200
        assert len(answer.content) < 2_000_000
    assert time.monotonic() - began < 60
    with browser.client.stream("GET", "/data/migration_log.csv") as download:
        assert sum(1 for _ in download.iter_lines()) > 100_000
