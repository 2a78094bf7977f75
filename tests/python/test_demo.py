"""The demo: every shape and case is there, the same seed gives the same rows, and nobody else's tables are touched."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from scripts import demo, project
from scripts.demo import load, ownership, shapes
from scripts.demo.values import ENUM_TYPES, Values, dumps
from scripts.errors import UserError
from scripts.paths import project_dir
from scripts.settings import Database

TODAY = date(2025, 6, 30)
LAYOUT = [f"public.{name}" for name in ownership.TABLES] + ["auth.users"]

#: Every writer of the product, whose rows the demo must have.
WRITERS = {
    "webhook-stripe", "webhook-shopify", "webhook-woocommerce", "webhook-typeform", "webhook-calendly",
    "webhook-generic", "webhook-zapier", "webhook-beehiiv", "webhook-circle", "webhook-convertkit",
    "webhook-flutterwave", "webhook-framer", "webhook-ghost", "webhook-gumroad", "webhook-learndash",
    "webhook-mixpanel", "webhook-plaid", "webhook-razorpay", "webhook-segment", "webhook-thinkific", "webhook-paypal",
    "webhook-webflow", "webhook-wordpress", "webhook-jotform", "process-announcements", "track-form", "sync-ga4",
    "ReviewActivate", "ReviewActivate demo", "CSVUploadDialog", "ecommerce-integration", "shopify-webhook",
    "woocommerce-webhook", "social-items-to-events", "widget-api", "javascript-api", "generate_demo_events()",
    "import", "import testimonials", "import visitors", "migrated", "hostile",
}  # fmt: skip


def connect(database: Database) -> psycopg.Connection[Any]:
    return psycopg.connect(database.conninfo, autocommit=True, options="-c timezone=UTC")


def one(session: psycopg.Connection[Any], query: str, *values: Any) -> Any:
    row = session.execute(query, values).fetchone()
    return row[0] if row else None


def fingerprint(database: Database) -> dict[str, str]:
    """A hash of each table's rows, in the order in which they lie."""
    with connect(database) as session:
        return {
            name: str(
                one(
                    session,
                    sql.SQL("select coalesce(md5(string_agg(md5(t::text), '' order by ctid)), '') from {} as t")
                    .format(sql.Identifier(*name.split(".")))
                    .as_string(session),
                )
            )
            for name in LAYOUT
        }


def relations(database: Database) -> list[str]:
    with connect(database) as session:
        return [
            row[0]
            for row in session.execute(
                "select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace "
                "where n.nspname in ('public', 'auth') and c.relkind in ('r', 'p', 'v') order by 1"
            ).fetchall()
        ]


@pytest.fixture(scope="module")
def made(make_database: Callable[[], Database]) -> tuple[Database, demo.DemoSummary]:
    """A demo of the default size, made once for the tests that only read."""
    database = make_database()
    return database, demo.create(database, today=TODAY)


# ---------- shapes


def test_every_writer_has_a_shape() -> None:
    assert {shape.writer for shape in shapes.ALL} == WRITERS


def test_names_of_shapes_are_unique() -> None:
    assert len(shapes.BY_NAME) == len(shapes.ALL)


@pytest.mark.parametrize("name", list(shapes.BY_NAME))
def test_a_sample_is_one_known_row(name: str) -> None:
    row = shapes.sample(name)
    assert dumps(row["event_data"]) == dumps(shapes.sample(name)["event_data"])
    assert set(row) <= set(load.EVENT_COLUMNS) | {"widget", "integration"}
    assert row.get("integration_type") in {None, *ENUM_TYPES}


def test_words_that_the_enum_lacks_are_repaired() -> None:
    v = Values(1)
    assert {v.repaired("beehiiv") for _ in range(100)} == {"manual", None}
    assert v.repaired("flutterwave") == "flutterwave"


def test_a_million_events_are_made_one_at_a_time() -> None:
    plan = load.Plan(events=10**9, today=TODAY)
    world, _, evidence = load.world(plan)
    rows = list(itertools.islice(load.events(plan, world, evidence), 500))
    assert len({row[0] for _, row in rows}) == 500


# ---------- what is made


def test_default_size_and_age(made: tuple[Database, demo.DemoSummary]) -> None:
    database, summary = made
    now = datetime(TODAY.year, TODAY.month, TODAY.day, tzinfo=UTC)
    with connect(database) as session:
        for hours in (0, 12, 23.9):  # all day long
            since = now + timedelta(hours=hours) - timedelta(days=30)
            assert one(session, "select count(*) from public.events where created_at > %s", since) == 995
        assert one(session, "select count(*) from public.events") == 1200 == summary.events
    assert summary.recent == 995


def test_every_shape_of_a_writer_is_there(made: tuple[Database, demo.DemoSummary]) -> None:
    _, summary = made
    missing = [s.name for s in shapes.ALL if not s.hostile and s.name not in summary.shapes]
    assert missing == []
    assert sum(summary.shapes.values()) == sum(summary.writers.values()) == 1200
    assert max(summary.writers, key=summary.writers.__getitem__) == "process-announcements"
    assert 100 <= summary.hostile <= 240


def test_every_hostile_shape_comes_in_a_larger_demo() -> None:
    plan = load.Plan(events=6500, today=TODAY)
    world, _, evidence = load.world(plan)
    found = {shape.name for shape, _ in load.events(plan, world, evidence)}
    assert found == set(shapes.BY_NAME)


def test_stored_rows_are_what_the_shapes_say(made: tuple[Database, demo.DemoSummary]) -> None:
    database, summary = made
    plan = load.Plan(today=TODAY)
    world, _, evidence = load.world(plan)
    expected = {row[0]: row for _, row in load.events(plan, world, evidence)}
    columns = sql.SQL(", ").join(map(sql.Identifier, load.EVENT_COLUMNS[8:15]))
    with connect(database) as session:
        query = sql.SQL("select id::text, {}, event_data = (%s)::jsonb from public.events where id = %s").format(
            columns
        )
        for row in expected.values():
            found = session.execute(query, (row[7], row[0])).fetchone()
            assert found is not None
            assert found[1:-1] == row[8:15]
            assert found[-1] is True
    assert summary.tables["public.events"] == len(expected)


def test_the_schema_is_the_products(made: tuple[Database, demo.DemoSummary]) -> None:
    database, _ = made
    with connect(database) as session:
        labels = one(session, "select enum_range(null::public.integration_type)::text[]")
        assert set(labels) == ENUM_TYPES
        assert not {"announcements", "instant_capture", "live_visitors", "testimonials"} & set(labels)
        default = "select pg_get_expr(adbin, adrelid) from pg_attrdef d join pg_attribute a on a.attrelid = d.adrelid "
        default += "and a.attnum = d.adnum where adrelid = %s::regclass and attname = %s"
        assert "'manual'" in one(session, default, "public.events", "integration_type")
        assert "'{}'" in one(session, default, "public.events", "canonical_event")
        assert "'[]'" in one(session, default, "public.campaigns", "data_sources")
        unprotected = one(
            session,
            "select array_agg(relname) from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' "
            "and not relrowsecurity",
        )
        assert unprotected is None
        assert (
            one(session, "select count(*) from pg_constraint where contype = 'f' and conrelid = 'events'::regclass")
            == 3
        )


def test_updated_at_is_kept_by_a_trigger(made: tuple[Database, demo.DemoSummary]) -> None:
    database, _ = made
    with connect(database) as session, session.transaction(force_rollback=True):
        changed = session.execute(
            "update public.events set views = 1 where id in (select id from public.events limit 1) "
            "returning updated_at = now()"
        ).fetchone()
        assert changed == (True,)


def test_who_calls_himself_superadmin_is_none(made: tuple[Database, demo.DemoSummary]) -> None:
    database, _ = made
    with connect(database) as session:
        query = "select p.role, public.is_admin(p.id) from public.profiles as p where p.full_name = %s"
        assert session.execute(query, ("Selfmade",)).fetchone() == ("superadmin", False)
        assert session.execute(query, ("Root",)).fetchone() == ("user", True)
        assert session.execute(query, ("Owner",)).fetchone() == ("user", False)


def test_policies_show_a_user_only_the_own_rows(made: tuple[Database, demo.DemoSummary]) -> None:
    database, _ = made
    with connect(database) as session:
        user = one(session, "select id from public.profiles where full_name = 'Owner'")
        own = one(session, "select count(*) from public.integrations where user_id = %s", user)
        everything = one(session, "select count(*) from public.integrations")
        assert 0 < own < everything
        with session.transaction(force_rollback=True):
            session.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps({"sub": str(user)}),))
            session.execute("set local role authenticated")
            assert one(session, "select count(*) from public.integrations") == own
        with session.transaction(force_rollback=True):
            session.execute("set local role anon")
            assert one(session, "select count(*) from public.integrations") == 0


def test_secrets_are_fake_and_easy_to_search_for(made: tuple[Database, demo.DemoSummary]) -> None:
    database, _ = made
    with connect(database) as session:
        assert one(session, "select count(*) from public.integrations") > 50
        assert one(session, "select bool_and(credentials ->> 'api_key' like 'demo-secret-%%') from public.integrations")


def test_migrated_rows_have_a_valid_envelope(made: tuple[Database, demo.DemoSummary]) -> None:
    database, summary = made
    with connect(database) as session:
        rows = session.execute(
            "select id::text, event_type, event_data = canonical_event -> 'payload', canonical_event "
            "from public.events where pg_column_size(canonical_event) > 12"
        ).fetchall()
        assert len(rows) == summary.events - summary.pending > 0
        for event_id, event_type, same_payload, envelope in rows:
            assert same_payload
            assert envelope["event_id"] == event_id
            assert envelope["provider_event_type"] == event_type
            assert all(key.startswith(("template.", "meta.")) for key in envelope["normalized"])
        # Pending in each of the ways that jsonb has: an undo must tell them apart.
        for condition in ("is null", "= 'null'", "= '[]'", "= '{}'"):
            assert one(session, f"select count(*) from public.events where canonical_event {condition}") > 0


def test_realtime_publication(database: Database) -> None:
    demo.create(database, 10, today=TODAY, realtime=True)
    with connect(database) as session:
        found = session.execute("select pubname, tablename from pg_publication_tables").fetchall()
    assert found == [("supabase_realtime", "events")]


# ---------- the same again


def test_same_seed_same_rows(make_database: Callable[[], Database], made: tuple[Database, demo.DemoSummary]) -> None:
    first = fingerprint(made[0])
    again, other = make_database(), make_database()
    demo.create(again, today=TODAY)
    assert fingerprint(again) == first
    demo.create(other, seed=2, today=TODAY)
    assert fingerprint(other)["public.events"] != first["public.events"]


def test_reset_makes_it_anew_and_is_asked_for(database: Database) -> None:
    demo.create(database, 300, today=TODAY)
    before = fingerprint(database)
    with connect(database) as session:
        session.execute("create schema canonical_migration")
        session.execute("create view canonical_migration.reader as select * from public.events")
        session.execute("create view canonical_migration.reader_of_reader as select * from canonical_migration.reader")
        session.execute("create table canonical_migration.model_builds (command text)")
        session.execute("insert into canonical_migration.model_builds values ('events')")
        session.execute("create table canonical_migration.backup as select * from public.events")
        session.execute("delete from public.events")
    with pytest.raises(UserError, match="--reset"):
        demo.create(database, 300, today=TODAY)
    with connect(database) as session:
        assert one(session, "select count(*) from public.events") == 0
    summary = demo.create(database, 300, today=TODAY, reset=True)
    assert fingerprint(database) == before
    assert summary.dropped_views == ["canonical_migration.reader", "canonical_migration.reader_of_reader"]
    with connect(database) as session:
        # The models went, so they count as not built; a backup keeps its rows and its columns of our types.
        assert one(session, "select count(*) from canonical_migration.model_builds") == 0
        assert one(session, "select count(*) from canonical_migration.backup where integration_type = 'manual'") > 0


def test_no_events_at_all(database: Database) -> None:
    summary = demo.create(database, 0, today=TODAY)
    assert summary.events == summary.tables["public.events"] == 0
    assert summary.tables["public.campaigns"] == len(summary.campaigns)


# ---------- refusals


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("create table public.events (id int)", "public.events"),
        ("create view public.widgets as select 1 as id", "public.widgets"),
        ("create table public.profiles (id int); comment on table public.profiles is 'mine'", "public.profiles"),
        ("create type public.event_status as enum ('x')", "public.event_status"),
        ("create function public.is_admin(u uuid) returns boolean language sql as 'select true'", "public.is_admin"),
    ],
)
def test_tables_of_others_are_never_touched(database: Database, statement: str, named: str) -> None:
    with connect(database) as session:
        session.execute(statement)
    before = relations(database)
    for reset in (False, True):
        with pytest.raises(UserError, match=named):
            demo.create(database, 10, reset=reset)
    assert relations(database) == before


def test_a_real_auth_users_is_left_alone(database: Database) -> None:
    with connect(database) as session:
        session.execute("create schema auth")
        session.execute("create table auth.users (id uuid primary key, email text)")
        session.execute("insert into auth.users values (gen_random_uuid(), 'somebody@example.net')")
    summary = demo.create(database, 10)
    demo.create(database, 10, reset=True)
    with connect(database) as session:
        assert session.execute("select email from auth.users").fetchall() == [("somebody@example.net",)]
    assert "auth.users" not in summary.tables
    assert summary.tables["public.profiles"] == 6


def test_nothing_is_left_half_made(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    demo.create(database, 50, today=TODAY)
    before = fingerprint(database)

    def fail(*_: Any) -> None:
        raise psycopg.errors.DiskFull("no space left on device")

    monkeypatch.setattr(ownership, "mark", fail)
    with pytest.raises(UserError):
        demo.create(database, 70, today=TODAY, reset=True)
    assert fingerprint(database) == before


def test_a_role_without_the_right_is_told_so(database: Database) -> None:
    with connect(database) as session:
        session.execute("drop role if exists demo_reader")
        session.execute("create role demo_reader nosuperuser")
        try:
            session.execute("grant demo_reader to current_user")
            limited = Database(conninfo=database.conninfo, label=database.label, origin="the test", role="demo_reader")
            with pytest.raises(UserError, match="owner"):
                demo.create(limited, 10)
        finally:
            session.execute("drop role demo_reader")
    assert relations(database) == []


def test_the_owner_of_a_database_need_not_be_a_superuser(database: Database) -> None:
    with connect(database) as session:
        session.execute("drop role if exists demo_owner")
        session.execute("create role demo_owner nosuperuser nocreaterole")
        name = sql.Identifier(session.info.dbname)
        session.execute(sql.SQL("alter database {} owner to demo_owner").format(name))
        owner = Database(conninfo=database.conninfo, label=database.label, origin="the test", role="demo_owner")
        try:
            summary = demo.create(owner, 60, today=TODAY)
            again = demo.create(owner, 60, today=TODAY, reset=True)
        finally:
            session.execute("reassign owned by demo_owner to current_user")
            session.execute("drop owned by demo_owner")
            session.execute("drop role demo_owner")
    # Roles that may not be created are left out with a note; nothing else is said.
    assert all("role" in notice for notice in (*summary.notices, *again.notices))
    assert again.tables == summary.tables


def test_a_negative_number_is_refused(database: Database) -> None:
    with pytest.raises(UserError, match="--events"):
        demo.create(database, -1)


def test_another_source_schema_is_refused(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIGRATION_VARS", "{source_schema: app}")
    with pytest.raises(UserError, match="source_schema"):
        demo.create(database, 1)


# ---------- campaigns and providers: what the demo says must become of a row is what the models do


def test_campaigns_cover_every_reason(made: tuple[Database, demo.DemoSummary]) -> None:
    _, summary = made
    assert len({c.case for c in summary.campaigns}) == len(summary.campaigns)
    reasons = {c.reason for c in summary.campaigns if c.outcome == "ambiguous"}
    assert reasons >= {
        "not_an_array", "element_not_object", "provider_blank", "provider_not_lower_case", "integration_id_not_uuid",
        "integration_not_found", "integration_of_other_website", "integration_id_missing", "duplicate_element",
        "rules_disagree", "widgets_disagree", "native_config_of_two_kinds", "no_clue", "campaign_without_website",
        "several_active_integrations", "only_inactive_integrations", "only_a_connector", "only_on_other_website",
        "no_integration",
    }  # fmt: skip


def test_models_do_what_the_demo_expects(make_database: Callable[[], Database]) -> None:
    database = make_database()
    plan = load.Plan(events=6500, today=TODAY)  # with every hostile shape
    summary = demo.create(database, plan.events, today=TODAY)
    project.bring_up_to_date(database, "events")
    project.bring_up_to_date(database, "campaigns")
    world, _, evidence = load.world(plan)
    with connect(database) as session:
        schema = database.schema
        found = {
            str(row[0]): row[1:]
            for row in session.execute(
                f"select event_id, provider, canonical_event -> 'normalized' ->> 'meta.provider_resolved_by' "
                f"from {schema}.canonical_events"
            ).fetchall()
        }
        wrong = {
            shape.name: found.get(row[0])
            for shape, row in load.events(plan, world, evidence)
            if shape.provider is not None and found.get(row[0]) != (shape.provider, shape.resolved_by)
        }
        assert wrong == {}
        campaigns = {
            str(row[0]): row[1:]
            for row in session.execute(
                f"select campaign_id, outcome, case when outcome = 'resolved' then provider end, integration_id::text, "
                f"reason from {schema}.campaign_resolutions"
            ).fetchall()
        }
        differing = {
            c.case: campaigns.get(c.id)
            for c in summary.campaigns
            if campaigns.get(c.id) != (c.outcome, c.provider, c.integration_id, c.reason)
        }
        assert differing == {}


# ---------- the command


def migrate(database: Database, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scripts.cli", "demo", *arguments],
        env={**os.environ, "DATABASE_URL": database.conninfo},
        cwd=project_dir(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_command_prints_a_summary_and_refuses_the_second_time(database: Database) -> None:
    done = migrate(database, "--events", "250", "--today", "2025-06-30")
    assert done.returncode == 0, done.stderr
    assert "process-announcements" in done.stdout
    assert "250 events" in done.stderr

    again = migrate(database, "--events", "250")
    assert again.returncode == 2
    assert "--reset" in again.stderr
    assert "Traceback" not in again.stderr
    assert again.stdout == ""

    reset = migrate(database, "--events", "120", "--reset", "--json", "--today", "2025-06-30")
    assert reset.returncode == 0, reset.stderr
    summary = json.loads(reset.stdout)
    assert summary["events"] == sum(summary["writers"].values()) == 120
    assert summary["today"] == "2025-06-30"
    assert "demo-secret" not in reset.stdout + reset.stderr + done.stdout + done.stderr
