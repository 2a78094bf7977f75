"""The dbt project as the tool runs it: targets, builds that are skipped or refused, and failures in words."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from scripts import locks, paths, project, settings
from scripts.connection import connect
from scripts.errors import RunInProgress, UserError
from scripts.settings import Database

SECRET = "p4ss-w0rd-of-the-t3st"

MODEL = """
{{ config(meta={'migration': {
    'command': 'orders', 'migration_type': 'event', 'source_table': 'shop.orders', 'key': 'id', 'model_key': 'id',
    'tenant': 'site', 'target_column': 'canonical', 'previous': 'stored', 'pending_flag': 'is_pending',
    'location': 'row_location', 'table_oid': 'row_table', 'group_by': 'site', 'pending_sql': '{column} is null',
    'complete': true, 'batch_size': 7,
}}) }}

select * from {{ ref('stg_orders') }}
"""
SOURCES = """
sources:
    - name: shop
      schema: "{{ var('source_schema') }}"
      tables:
          - name: orders
            identifier: "{{ var('orders_table') }}"
"""


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all tests, so that dbt reads the project as it begins only once."""
    return tmp_path_factory.mktemp("project")


@pytest.fixture
def small(small_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A small dbt project of its own: two models for `orders`, and one that reads the first of them."""
    files = {
        "dbt_project.yml": "name: canonical_migration\nversion: '1.0.0'\nconfig-version: 2\n"
        "profile: canonical_migration\n"
        "vars: {source_schema: shop, orders_table: orders, contract_version: '3'}\n",
        "models/_sources.yml": SOURCES,
        "models/stg_orders.sql": "select *, canonical as stored, true as is_pending, ctid as row_location, "
        "tableoid as row_table from {{ source('shop', 'orders') }}\n",
        "models/canonical_orders.sql": MODEL,
        "models/report.sql": "select count(*) as n from {{ ref('stg_orders') }}\n",
    }
    for name, text in files.items():
        (small_folder / name).parent.mkdir(parents=True, exist_ok=True)
        (small_folder / name).write_text(text)
    monkeypatch.setenv("MIGRATION_PROJECT_DIR", str(small_folder))
    project._project_vars.cache_clear()
    yield small_folder
    project._project_vars.cache_clear()


@pytest.fixture
def shop(small: Path, database: Database) -> Database:
    """A database with the small project's table."""
    with psycopg.connect(database.conninfo, autocommit=True) as session:
        session.execute("create schema shop; create schema canonical_migration")
        session.execute("create table shop.orders (id int primary key, site int, canonical jsonb)")
    return database


def views(database: Database) -> dict[str, int]:
    """The views of the tool, with a number that changes when one is made anew."""
    with psycopg.connect(database.conninfo) as session:
        query = (
            "select relname::text, oid::bigint from pg_class where relkind = 'v' and relnamespace = %s::regnamespace"
        )
        return dict(session.execute(query, (database.schema,)).fetchall())


# ---------- targets


def test_the_targets_of_the_project(demo_database: Database) -> None:
    found = project.targets(demo_database)
    events, campaigns = found["events"], found["campaigns"]
    assert (events.schema, events.table, events.target_column) == ("public", "events", "canonical_event")
    assert (campaigns.schema, campaigns.table, campaigns.target_column) == ("public", "campaigns", "data_sources")
    assert (events.complete, campaigns.complete) == (True, False)
    assert events.lock != campaigns.lock
    with connect(demo_database) as session:
        for target in found.values():
            query = f"select * from {target.schema}.{target.table} where {target.pending} limit 1"
            session.execute(query.encode())


def test_a_target_of_another_project(shop: Database) -> None:
    found = project.target(shop, "orders")
    assert (found.schema, found.table, found.model, found.batch_size) == ("shop", "orders", "canonical_orders", 7)
    assert found.pending == '"canonical" is null'
    assert found.contract_version == "3"
    with pytest.raises(UserError, match="there are: orders"):
        project.target(shop, "events")


def test_vars_move_a_target(shop: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIGRATION_VARS", "{orders_table: Old orders, contract_version: '4'}")
    found = project.target(shop, "orders")
    assert (found.table, found.contract_version) == ("Old orders", "4")


def test_a_target_that_lacks_something_is_named(shop: Database, small: Path) -> None:
    (small / "models/canonical_orders.sql").write_text(
        MODEL.replace("'tenant': 'site', ", "").replace("shop.orders", "x.y")
    )
    with pytest.raises(UserError, match=r"canonical_orders.*lacks.*tenant, source_table"):
        project.targets(shop)


# ---------- bringing models up to date


def test_models_are_built_once_and_again_when_something_changed(shop: Database, small: Path) -> None:
    first = project.bring_up_to_date(shop, "orders")
    before = views(shop)
    assert set(before) == {"stg_orders", "canonical_orders"}
    with psycopg.connect(shop.conninfo) as session:
        tables = session.execute("select relname::text from pg_class where relkind = 'r' and oid >= 16384").fetchall()
    assert sorted(tables) == [("model_builds",), ("orders",)], "a build makes nothing else of the ledger"
    assert project.bring_up_to_date(shop, "orders") == first
    assert views(shop) == before

    with psycopg.connect(shop.conninfo, autocommit=True) as session:
        session.execute("alter table shop.orders add column note text")
    second = project.bring_up_to_date(shop, "orders")
    assert second != first
    assert views(shop) != before

    # A report that somebody built goes when its source is made anew, and must come back with it.
    assert project.build(shop, ["report"], show=False) == 0
    (small / "models/stg_orders.sql").write_text((small / "models/stg_orders.sql").read_text() + "-- changed\n")
    assert project.bring_up_to_date(shop, "orders") != second
    assert set(views(shop)) == {"stg_orders", "canonical_orders", "report"}

    # A build of one view takes along what reads it.
    assert project.build(shop, ["stg_orders"], show=False) == 0
    assert set(views(shop)) == {"stg_orders", "canonical_orders", "report"}

    # A report that a command reads is made anew when it has changed, and only then.
    project.bring_up_to_date(shop, "orders", also=["report"])
    before = views(shop)
    project.bring_up_to_date(shop, "orders", also=["report"])
    assert views(shop) == before
    (small / "models/report.sql").write_text("select count(*) as orders from {{ ref('stg_orders') }}\n")
    project.bring_up_to_date(shop, "orders", also=["report"])
    assert views(shop)["report"] != before["report"]

    with psycopg.connect(shop.conninfo, autocommit=True) as session:
        session.execute("drop view canonical_migration.stg_orders cascade")
    project.bring_up_to_date(shop, "orders")
    assert set(views(shop)) >= {"stg_orders", "canonical_orders"}


@pytest.fixture
def in_place(small: Path) -> Iterator[Path]:
    """The small project with the real one's way to build a view."""
    folder = small / "macros"
    folder.mkdir()
    for name in ("create_view_as.sql", "materialize_view.sql"):
        shutil.copy(Path(__file__).parents[2] / "macros" / "project" / name, folder)
    yield small
    shutil.rmtree(folder)


def columns(database: Database, view: str) -> list[str]:
    """The names of a view's columns, in order."""
    with psycopg.connect(database.conninfo) as session:
        cursor = session.execute(f"select * from {database.schema}.{view} limit 0")
        return [column.name for column in cursor.description or []]


def test_views_are_replaced_in_place(in_place: Path, shop: Database) -> None:
    assert project.build(shop, show=False) == 0
    first = views(shop)
    with psycopg.connect(shop.conninfo) as reader:
        # A build that has nothing to change does not even wait for who reads.
        reader.execute(f"select * from {shop.schema}.report, {shop.schema}.canonical_orders")
        assert project.build(replace(shop, lock_timeout="1s"), show=False) == 0
    assert views(shop) == first

    stg_orders = in_place / "models" / "stg_orders.sql"
    text = stg_orders.read_text()
    stg_orders.write_text(text.replace(" from ", ", 1 as added from ", 1))
    with psycopg.connect(shop.conninfo, autocommit=True) as session:
        session.execute(f"grant select on {shop.schema}.report to public")
    assert project.build(shop, ["stg_orders"], show=False) == 0
    assert columns(shop, "stg_orders")[-1] == "added"
    assert columns(shop, "canonical_orders")[-1] == "row_table", "what depends on it is there still, as it was"
    assert views(shop) == first
    with psycopg.connect(shop.conninfo) as session:
        granted = session.execute(
            "select count(*) from pg_class, aclexplode(relacl) as a where relname = 'report' and a.grantee = 0"
        ).fetchone()
    assert granted == (1,)


def test_views_with_other_columns_are_made_anew(in_place: Path, shop: Database) -> None:
    assert project.build(shop, show=False) == 0
    first = views(shop)
    with psycopg.connect(shop.conninfo, autocommit=True) as session:
        session.execute(f"drop view {shop.schema}.report; create table {shop.schema}.report as select 1::bigint as n")
    (in_place / "models" / "canonical_orders.sql").write_text("select id from {{ ref('stg_orders') }}")
    assert project.build(shop, show=False) == 0
    assert columns(shop, "canonical_orders") == ["id"]
    assert {name for name, number in views(shop).items() if first[name] != number} == {"canonical_orders", "report"}
    stg_orders = in_place / "models" / "stg_orders.sql"
    stg_orders.write_text(stg_orders.read_text().replace("true as is_pending, ", ""))
    # What depended on it was dropped with it, and is there again although only the one was asked for.
    assert project.build(shop, ["stg_orders"], show=False) == 0
    assert "is_pending" not in columns(shop, "stg_orders")
    assert columns(shop, "canonical_orders") == ["id"]
    assert views(shop).keys() == first.keys(), "nothing half made is left"


def test_threads_that_drop_views_do_not_wait_for_each_other_for_ever(in_place: Path, shop: Database) -> None:
    cross = "select a.value from {{{{ ref('{}') }}}} as a cross join {{{{ ref('{}') }}}} as b"
    models = {
        "part_1": "select 1 as value",
        "part_2": "select 2 as value",
        "one": "select value from {{ ref('part_1') }}",
        "two": "select value from {{ ref('part_2') }}",
        "first": cross.format("part_1", "two"),
        "second": cross.format("part_2", "one"),
    }
    paths_of = [in_place / "models" / f"{name}.sql" for name in models]
    for path in paths_of:
        path.write_text(models[path.stem])
    # To drop part_1 the server locks `first` and then `one`, and wants `second`, which reads `one`; to drop part_2
    # it locks `second` and `two`, and wants `first`. Whoever locks `one` and `two` brings both to that point.
    with psycopg.connect(shop.conninfo, autocommit=True) as session:
        for name, text in models.items():
            session.execute(
                f"create view {shop.schema}.{name} as "
                + text.replace("value", "older").replace("{{ ref('", f"{shop.schema}.").replace("') }}", "")
            )
    try:
        with psycopg.connect(shop.conninfo) as holder, ThreadPoolExecutor() as pool:
            for name in ("one", "two"):
                holder.execute(f"comment on view {shop.schema}.{name} is 'locks it, and not what it reads'")
            built = pool.submit(project.run_dbt, replace(shop, threads=2), ["run", "--select", *models], show=False)
            with psycopg.connect(shop.conninfo, autocommit=True) as session:
                waiting = (
                    "select count(*) from pg_stat_activity "
                    "where datname = current_database() and wait_event_type = 'Lock'"
                )
                while not built.done() and session.execute(waiting).fetchone() != (2,):
                    time.sleep(0.02)
            holder.rollback()
            assert built.result() == 0
        assert columns(shop, "second") == ["value"]
    finally:
        for path in paths_of:
            path.unlink()


def test_nothing_is_built_while_a_run_is_active(shop: Database, small: Path) -> None:
    project.bring_up_to_date(shop, "orders")
    before = views(shop)
    with locks.held(shop, project.target(shop, "orders").lock):
        project.bring_up_to_date(shop, "orders")
        (small / "models/stg_orders.sql").write_text((small / "models/stg_orders.sql").read_text() + "-- changed\n")
        with pytest.raises(RunInProgress, match="--no-build") as caught:
            project.bring_up_to_date(shop, "orders")
        assert caught.value.exit_code == 3
        with pytest.raises(RunInProgress):
            project.build(shop, show=False)
    assert views(shop) == before


def test_a_bare_dbt_build_is_refused_while_a_run_is_active(demo_database: Database) -> None:
    before = views(demo_database)
    with (
        locks.held(demo_database, project.target(demo_database, "events").lock),
        pytest.raises(UserError, match=r"A run is writing to this database now \(migrate lock, process \d+, since 2"),
    ):
        project.run_dbt(demo_database, ["run", "--select", "stg_events"], show=False)
    assert views(demo_database) == before


def test_the_tools_own_schema_may_have_another_name(shop: Database) -> None:
    database = replace(shop, schema="tool_2")
    project.bring_up_to_date(database, "orders")
    assert set(views(database)) == {"stg_orders", "canonical_orders"}


def test_it_works_from_any_folder(shop: Database, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("elsewhere")
    before = Path.cwd()
    os.chdir(folder)
    try:
        project.bring_up_to_date(shop, "orders")
    finally:
        os.chdir(before)
    assert list(folder.iterdir()) == []


def test_the_database_of_the_url_wins_over_the_shells_variables(shop: Database) -> None:
    database = settings.from_url(make_conninfo(shop.conninfo, port="5432"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"PGPORT": "1", "PGDATABASE": "elsewhere", "DBT_TARGET": "elsewhere"}.items():
            patch.setenv(name, value)
        project.bring_up_to_date(database, "orders")
    assert "canonical_orders" in views(shop)


# ---------- failures


def test_a_table_that_is_missing_is_named_with_the_remedy(shop: Database) -> None:
    with psycopg.connect(shop.conninfo, autocommit=True) as session:
        session.execute("drop table shop.orders")
    with pytest.raises(UserError, match=r"no table shop\.orders.*source_schema"):
        project.bring_up_to_date(shop, "orders")


def test_a_column_that_is_missing_is_named(shop: Database) -> None:
    with psycopg.connect(shop.conninfo, autocommit=True) as session:
        session.execute("alter table shop.orders drop column canonical")
    with pytest.raises(
        UserError, match=r"shop\.orders .*no column canonical .*alter table .* add column .canonical. jsonb;"
    ):
        project.bring_up_to_date(shop, "orders")


def test_a_model_that_fails_is_named_with_the_databases_words(shop: Database, small: Path) -> None:
    (small / "models/stg_orders.sql").write_text("select no_such_column from {{ source('shop', 'orders') }}\n")
    with pytest.raises(UserError) as caught:
        project.bring_up_to_date(shop, "orders")
    assert "model stg_orders: " in caught.value.message
    assert 'column "no_such_column" does not exist' in caught.value.message
    assert "Traceback" not in caught.value.message


def test_a_project_that_cannot_be_read_is_told(shop: Database, small: Path) -> None:
    (small / "models/stg_orders.sql").write_text("select * from {{ ref('nothing') }}\n")
    with pytest.raises(UserError, match=r"dbt .*nothing"):
        project.targets(shop)


def test_a_lock_that_does_not_come_free_is_told(shop: Database) -> None:
    project.bring_up_to_date(shop, "orders")
    impatient = replace(shop, lock_timeout="200ms")
    with psycopg.connect(shop.conninfo, autocommit=True) as session:
        session.execute("alter table shop.orders add column note text")
        with session.transaction():
            session.execute("select count(*) from canonical_migration.stg_orders")
            with pytest.raises(UserError, match="MIGRATION_LOCK_TIMEOUT"):
                project.bring_up_to_date(impatient, "orders")


def test_a_role_that_may_not_create_is_told(shop: Database) -> None:
    with psycopg.connect(shop.conninfo, autocommit=True) as session:
        session.execute("drop role if exists weak; create role weak login; grant usage on schema shop to weak")
        session.execute("grant select on shop.orders to weak")
    weak = settings.from_url(make_conninfo(shop.conninfo, user="weak"))
    with pytest.raises(UserError, match="permission denied") as caught:
        project.bring_up_to_date(replace(weak, schema="tool_3"), "orders")
    assert "create schema" in caught.value.message

    with pytest.raises(UserError, match="permission denied") as caught:
        project.bring_up_to_date(weak, "orders")
    assert "grant usage, create on schema" in caught.value.message
    assert 'to "weak";' in caught.value.message


# ---------- secrets


def test_a_build_under_row_level_security_says_what_to_do(
    shop: Database, cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    with psycopg.connect(shop.conninfo, autocommit=True) as session:
        session.execute("drop role if exists hidden; create role hidden login; grant usage on schema shop to hidden")
        session.execute("grant select on shop.orders to hidden; alter table shop.orders enable row level security")
        session.execute("grant usage, create on schema canonical_migration to hidden")
        session.execute("insert into shop.orders values (1, 1, null)")
    project_file = paths.project_dir() / "tests/orders_have_an_id.sql"
    project_file.parent.mkdir(exist_ok=True)
    project_file.write_text("select * from {{ ref('stg_orders') }} where id is null\n")
    try:
        done = cli("build", database=settings.from_url(make_conninfo(shop.conninfo, user="hidden")), expect=1)
    finally:
        project_file.unlink()
    assert "role with BYPASSRLS" in done.stderr


def test_no_secret_reaches_a_file_or_the_screen(
    shop: Database, own_state: Path, cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    # The server asks for no password over its socket, so any one will do.
    secret = settings.from_url(make_conninfo(shop.conninfo, password=SECRET))
    done = cli("build", database=secret)
    assert SECRET not in done.stdout + done.stderr
    assert project.build(secret, ["stg_orders"], show=False) == 0
    written = [path for path in (own_state / "dbt").rglob("*") if path.is_file()]
    assert any(path.name == "dbt.log" for path in written)
    assert [path for path in written if SECRET.encode() in path.read_bytes()] == []


def test_an_installation_without_a_project_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MIGRATION_PROJECT_DIR", str(tmp_path))
    with pytest.raises(UserError, match="MIGRATION_PROJECT_DIR"):
        paths.project_dir()


def test_the_profile_for_dbt_by_itself(server: str, cli: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    folder = cli("db", "profile").stdout.strip()
    dbt = shutil.which("dbt", path=f"{Path(sys.executable).parent}")
    assert dbt is not None
    done = subprocess.run(
        [dbt, "debug", "--connection", "--profiles-dir", folder, "--project-dir", str(paths.project_dir()),
         "--log-path", folder],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
