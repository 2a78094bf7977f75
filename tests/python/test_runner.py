"""The least-privilege role of `migrate runner`: it can do the whole path, and nothing that the path does not need."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from conftest import DEMO_EVENTS, Cli, create_database, drop_database, on
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from serving import EVENTS, bearer, serving
from typer.testing import CliRunner, Result

from scripts import demo, project
from scripts.cli import app
from scripts.connection import connect
from scripts.errors import UserError
from scripts.ledger import Ledger
from scripts.settings import Database

PRODUCT = ("profiles", "user_roles", "websites", "feature_flags")


class Product:
    """A product's database whose default rights are taken away, and the name of a role for it."""

    def __init__(self, server: str, database: Database) -> None:
        self.server = server
        self.database = database
        self.role = f'runner "{uuid.uuid4().hex[:6]}'  # a name that needs quotes
        self.execute("revoke usage on schema auth from public")
        name = conninfo_to_dict(database.conninfo)["dbname"]
        self.execute(f"revoke all on database {name} from public")

    @property
    def as_runner(self) -> Database:
        """The database, connected as the role."""
        return replace(self.database, conninfo=make_conninfo(self.database.conninfo, user=self.role))

    def execute(self, text: str) -> None:
        with psycopg.connect(self.database.conninfo, autocommit=True) as session:
            session.execute(text)

    def ask(self, text: str, *values: Any) -> Any:
        with psycopg.connect(self.database.conninfo, autocommit=True) as session:
            row = session.execute(text, values).fetchone()
        return row[0] if row else None

    def runner(self, *options: str, expect: int = 0) -> Result:
        """`migrate runner` as the owner of the tables."""
        return invoke(self.database, "runner", "--role", self.role, *options, expect=expect)

    def make(self, *options: str) -> str:
        """Make the role; returns the SQL that the command printed before."""
        printed = self.runner(*options).stdout
        assert "ready" in self.runner(*options, "--apply", "--yes").stderr
        return printed

    def run(self, *arguments: str, expect: int = 0) -> Any:
        """A command as the role; its result as JSON where it prints that."""
        done = invoke(self.as_runner, *arguments, expect=expect)
        return json.loads(done.stdout) if "--json" in arguments else done

    def close(self) -> None:
        with psycopg.connect(self.database.conninfo, autocommit=True) as session:
            if session.execute("select 1 from pg_roles where rolname = %s", [self.role]).fetchone():
                session.execute(sql.SQL("drop owned by {0} cascade; drop role {0}").format(sql.Identifier(self.role)))


def invoke(database: Database, *arguments: str, expect: int = 0) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", database.conninfo)
        done = CliRunner().invoke(app, list(arguments))
    message = done.exception.message if isinstance(done.exception, UserError) else ""
    code = done.exception.exit_code if isinstance(done.exception, UserError) else done.exit_code
    assert code == expect, done.output + message
    assert isinstance(done.exception, UserError | SystemExit | None), repr(done.exception)
    done.stderr_bytes = (done.stderr + message).encode()
    return done


@pytest.fixture
def product(server: str, demo_database: Database) -> Iterator[Product]:
    """On the embedded server, where its owner has built the models already."""
    made = Product(server, demo_database)
    yield made
    made.close()


@pytest.fixture
def each_product(each_server: str) -> Iterator[Product]:
    """On each version; nothing of the tool is there yet."""
    name = create_database(each_server)
    demo.create(on(each_server, name), 120, 3)
    made = Product(each_server, on(each_server, name))
    yield made
    made.close()
    drop_database(each_server, name)


# ---------- the whole path


def test_it_builds_writes_and_undoes_with_policies_of_its_own(each_product: Product) -> None:
    product = each_product
    product.make("--policies")
    assert product.ask("select rolbypassrls from pg_roles where rolname = %s", product.role) is False

    pending = product.run("events", "--json")["summary"]["pending"]
    assert 100 < pending < 120
    written = product.run("events", "--apply", "--yes", "--json")
    assert (written["status"], written["result"]["succeeded"], written["result"]["pending_left"]) == (
        "done",
        pending,
        0,
    )
    assert product.run("verify", written["run_id"], "--json")["holds"]
    assert product.run("backup", "--all", "--json")[1]["rows"] == 120
    product.run("rollback", written["run_id"], "--apply", "--yes")
    left = {one["command"]: one["rows_pending"] for one in product.run("status", "--json")["targets"]}
    assert left["events"] == pending
    product.run("teardown", "--yes")

    # Nothing of it was done with more than the role has, and all of it is in the log.
    assert (
        product.ask("select count(*) from pg_auth_members as m where pg_get_userbyid(m.member) = %s", product.role) == 0
    )
    assert product.ask("select count(distinct run_id) from public.migration_log") == 3


def test_it_takes_over_what_the_owner_has_built(product: Product, cli: Cli) -> None:
    """Models, log and undo of the owner become the role's. (test_no_personal_data.py has the rest of the path.)"""
    invoke(product.database, "campaigns", "--apply", "--yes", "--limit", "5")
    product.make("--policies")
    assert product.run("campaigns", "--apply", "--yes", "--json")["status"] == "done"
    assert product.ask("select count(distinct run_id) from public.migration_log where kind = 'apply'") == 2
    cli("build", "--select", "no_rows_are_hidden_by_row_level_security", database=product.as_runner)
    # Rights that somebody gave it besides are taken away when it is made again.
    role = sql.Identifier(product.role).as_string(None)
    product.execute(f"grant all on public.events to {role}; grant select on public.profiles to {role}")
    product.make("--policies")
    assert not product.ask("select has_table_privilege(%s, 'public.events', 'delete')", product.role)
    assert not product.ask("select has_table_privilege(%s, 'public.profiles', 'select')", product.role)


def test_the_review_site_and_the_server_need_no_more(product: Product, tmp_path: Path) -> None:
    product.make("--policies")
    site = tmp_path / "site"
    product.run("site", "--output", str(site))
    with serving(product.as_runner, tmp_path) as served, served.client() as client:
        assert client.get(f"/login?token={served.token}").status_code == 303
        for page in sorted(site.glob("*.html")):
            shown = client.get(f"/{page.name}")
            assert shown.status_code == 200, page.name
            # Each section is read on its own, and one that cannot be says why.
            assert "permission denied" not in page.read_text() + shown.text, page.name
    with serving(product.as_runner, tmp_path) as served, served.client(headers=bearer(served.token or "")) as client:
        written = client.post(EVENTS, json={"dryRun": False, "batchSize": 5}).json()
        assert (written["migrated"], written["errors"]) == (5, [])
    assert product.ask("select count(*) from public.migration_log where kind = 'apply'") == 1


def test_the_triggers_work_with_the_role_s_rights_and_no_others(product: Product) -> None:
    """The role could make the models do anything: with the owner's rights the triggers would be a way up for it."""
    key = str(uuid.uuid4())

    def filled() -> Any:
        product.execute("insert into public.events (website_id) select id from public.websites limit 1")
        product.execute(f"insert into public.events (id, website_id) select '{key}', id from public.websites limit 1")
        row = product.ask("delete from public.events where id = %s returning canonical_event <> '{}'", key)
        assert product.ask("select count(*) from canonical_migration.automatic_errors") == 0
        return row

    def owners() -> Any:
        return product.ask(
            "select array_agg(distinct o.rolname::text) from pg_proc as p "
            "inner join pg_roles as o on o.oid = p.proowner where p.proname like 'automatic\\_%%'"
        )

    me = product.ask("select current_user")
    invoke(product.database, "automatic", "on", "events", "--yes", "--no-build")
    assert (filled(), owners()) == (True, [me])
    for policies in (["--policies"], []):
        product.make(*policies)
        assert (filled(), owners()) == (True, [product.role])
        states = {one["command"]: one["state"] for one in product.run("automatic", "status", "--json")}
        assert states == {"events": "on", "campaigns": "off"}
        # Switched on when the role is there already.
        for command in (("automatic", "off"), ("teardown", "--yes"), ("automatic", "on", "events", "--yes")):
            code = 2 if command[1] != "on" else 0
            assert ("`migrate automatic off` first" in product.run(*command, expect=code).stderr) == (code == 2)
        assert "Only the owner of" in product.run("automatic", "on", "campaigns", "--yes", expect=2).stderr
        invoke(product.database, "automatic", "off")
        invoke(product.database, "automatic", "on", "events", "--yes", "--no-build")
        assert (filled(), owners()) == (True, [product.role])
    product.runner("--drop", "--apply", "--yes")
    assert (filled(), owners()) == (True, [me])


def test_a_role_that_bypasses_row_level_security(product: Product) -> None:
    product.make()
    assert product.ask("select rolbypassrls from pg_roles where rolname = %s", product.role)
    assert product.ask("select count(*) from pg_policies where policyname like 'migration_runner%%'") == 0
    assert product.run("campaigns", "--apply", "--yes", "--json")["status"] == "done"
    with connect(product.as_runner) as session:
        assert session.execute("show row_security").fetchone() == ("off",)


def test_an_owner_who_is_no_superuser_can_make_it(each_product: Product) -> None:
    """As on Supabase, where `postgres` owns the tables, makes roles and bypasses row level security, but no more."""
    product = each_product
    owner, name = f"owner_{uuid.uuid4().hex[:6]}", conninfo_to_dict(product.database.conninfo)["dbname"]
    product.execute(
        f"create role {owner} login createrole bypassrls; grant all on database {name} to {owner} with grant option;"
        f"grant all on schema public to {owner} with grant option; grant usage on schema auth to {owner}"
    )
    for table in ("events", "campaigns", "integrations", "integration_connectors", "widgets", "templates"):
        product.execute(f"alter table public.{table} owner to {owner}")
    superuser, product.database = (
        product.database,
        replace(product.database, conninfo=make_conninfo(product.database.conninfo, user=owner)),
    )
    try:
        product.make()
        # Before version 16 only a superuser may let others bypass row level security.
        modern = product.ask("select current_setting('server_version_num')::int >= 160000")
        assert product.ask("select rolbypassrls from pg_roles where rolname = %s", product.role) is modern
        product.make()
        with connect(product.as_runner) as session:
            assert session.execute("select count(*) from public.events").fetchone() == (120,)
            Ledger(product.database.schema).ensure(session)
        product.runner("--drop", "--apply", "--yes")
        assert product.ask("select count(*) from pg_roles where rolname = %s", product.role) == 0
    finally:
        product.database = superuser
        product.execute(f"reassign owned by {owner} to current_user; drop owned by {owner} cascade; drop role {owner}")


# ---------- what it may not do


def test_it_may_do_nothing_else(product: Product) -> None:
    product.make()
    allowed = {
        "select count(*) from public.events",
        "select provider, is_active from public.integrations",
        "update public.events set canonical_event = null where false",
        "update public.campaigns set data_sources = null where false",
        "insert into public.migration_log (migration_type) values ('event')",
    }
    refused = {
        "select credentials from public.integrations",
        "select config from public.integration_connectors",
        "update public.events set status = status where false",
        "update public.campaigns set name = name where false",
        "update public.integrations set name = name where false",
        "delete from public.events where false",
        "insert into public.events default values",
        "truncate public.campaigns",
        "update public.migration_log set batch_number = 0",
        "delete from public.migration_log",
        "alter table public.events add column x int",
        "create table public.x (id int)",
        "create schema another",
        "create role another",
        "select * from auth.users",
        *(f"select * from public.{table}" for table in PRODUCT),
    }
    with connect(product.as_runner) as session:
        for statement in allowed:
            session.execute(statement.encode())
        for statement in refused:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(statement.encode())


def test_the_columns_that_it_may_read_are_those_that_the_models_read(demo_database: Database) -> None:
    """The sources' YAML says which; the built views say which of them are really read."""
    with connect(demo_database) as session:
        read = session.execute(
            """
            select distinct c.relname::text, a.attname::text
            from pg_depend as d
            inner join pg_rewrite as r on r.oid = d.objid and d.classid = 'pg_rewrite'::regclass
            inner join pg_class as v on v.oid = r.ev_class and v.relnamespace = 'canonical_migration'::regnamespace
            inner join pg_class as c on c.oid = d.refobjid and c.relnamespace = 'public'::regnamespace
            inner join pg_attribute as a on a.attrelid = c.oid and a.attnum = d.refobjsubid
            where d.refclassid = 'pg_class'::regclass and d.refobjsubid > 0
            """
        ).fetchall()
    named = {(one.table, column) for one in project.sources(demo_database) for column in one.columns}
    built = {table for table, _ in read}
    assert {"integrations", "widgets"} <= built
    assert {pair for pair in named if pair[0] in built} == {
        pair for pair in read if pair[0] not in ("events", "campaigns")
    }


# ---------- row level security is never trusted blindly


def test_a_policy_that_hides_rows_stops_it(product: Product) -> None:
    product.make("--policies")
    ours = product.ask(
        "select quote_ident(policyname) from pg_policies where tablename = 'events' and cmd = 'SELECT'"
        " and policyname like 'migration_runner%%'"
    )

    def counted() -> Any:
        with connect(product.as_runner) as session:
            return session.execute("select count(*) from public.events").fetchone()

    assert counted() == (DEMO_EVENTS,)
    for policy, back in (
        ("create policy narrow on public.events as restrictive for select using (status = 'approved')",
         "drop policy narrow on public.events"),
        ("create policy narrow on public.events as restrictive for update using (status = 'approved')",
         "drop policy narrow on public.events"),
        (f"drop policy {ours} on public.events", None),
        (f"alter policy {ours} on public.events using (status = 'approved')", None),
    ):  # fmt: skip
        product.execute(policy)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            counted()
        assert "migrate runner" in product.run("events", "--no-build", expect=2).stderr
        if back:
            assert "restrictive policy narrow" in product.runner("--policies", expect=2).stderr
            product.execute(back)
        else:
            product.make("--policies")
        assert counted() == (DEMO_EVENTS,)


def test_a_policy_that_comes_during_a_run_ends_it(product: Product) -> None:
    """The rows that it hides look as if they were not there: the run must not say that all is done."""
    product.make("--policies")
    narrow = "create policy narrow on public.events as restrictive for select using (provider_is_known(id))"
    product.execute(
        """
        create function public.provider_is_known(uuid) returns boolean language sql as 'select false';
        create function public.slow() returns trigger language plpgsql as $$
        begin perform pg_sleep(0.01); return new; end $$;
        create trigger slow before update on public.events for each row execute function public.slow();
        """
    )

    def hide() -> None:
        while not product.ask("select count(*) from public.migration_log where kind = 'apply'"):
            time.sleep(0.05)
        product.execute(f"set lock_timeout = '20s'; {narrow}")

    other = threading.Thread(target=hide)
    other.start()
    done = product.run("events", "--apply", "--yes", "--no-build", "--batch-size", "20", expect=1)
    other.join()
    assert "Since the run began a policy hides rows" in done.stderr
    assert product.ask("select status from canonical_migration.migration_runs where kind = 'apply'") == "failed"
    assert product.ask("select count(*) from public.events where canonical_event = '{}'") > 0


# ---------- the command


def test_what_it_prints_is_what_it_does_and_doing_it_twice_changes_nothing(product: Product) -> None:
    printed = product.make("--policies")
    rights = """
        select array_agg(t order by t) from (
            select relname || relacl::text from pg_class where relacl is not null and relnamespace <> 11
            union all select attname || attacl::text from pg_attribute where attacl is not null
            union all select tablename || policyname || coalesce(qual, '') || roles::text from pg_policies
        ) as x (t)
    """
    first = product.ask(rights)
    again = product.make("--policies")
    assert product.ask(rights) == first
    assert "create policy" not in again
    assert "create role" not in again
    # The other way round: gone, then by the printed file.
    product.runner("--drop", "--apply", "--yes")
    assert product.ask("select count(*) from pg_roles where rolname = %s", product.role) == 0
    product.execute(printed)
    assert product.ask(rights) == first


def test_a_password_comes_from_the_environment_and_is_sent_as_a_hash(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIGRATION_RUNNER_PASSWORD", "open sesame")
    done = product.runner("--apply", "--yes")
    assert "sesame" not in done.stdout + done.stderr
    assert str(product.ask("select rolpassword from pg_authid where rolname = %s", product.role)).startswith("SCRAM-")


def test_what_cannot_be_its_name(product: Product) -> None:
    me = product.ask("select current_user")
    for name, said in ((me, "You are connected as"), ("pg_runner", "may not begin with pg_"), ("", "bytes")):
        assert said in invoke(product.database, "runner", "--role", name, expect=2).stderr
