"""Which database the settings mean, and what a person is told when they are wrong."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest
from conftest import Cli
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from typer.testing import CliRunner

from scripts import demo, settings
from scripts.cli import app
from scripts.errors import UserError
from scripts.settings import Database

SECRET = "p4ss-w0rd-of-the-t3st"


@pytest.fixture
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for a profiles.yml."""
    monkeypatch.setenv("DBT_PROFILES_DIR", str(tmp_path))
    return tmp_path


def write(folder: Path, *, outputs: str, profile: str = "canonical_migration", target: str = "dev") -> None:
    text = f"{profile}:\n  target: {target}\n  outputs:\n" + "\n".join(f"    {line}" for line in outputs.splitlines())
    (folder / "profiles.yml").write_text(text + "\n")


def output(name: str, **values: str) -> str:
    given = {
        "type": "postgres", "host": "db.example.com", "port": "5432", "user": "app", "password": SECRET,
        "dbname": "shop", "schema": "canonical_migration", "threads": "3", **values,
    }  # fmt: skip
    return "\n".join([f"{name}:", *(f"  {key}: {value}" for key, value in given.items())])


def refusal(profile: str | None = None, target: str | None = None) -> str:
    with pytest.raises(UserError) as caught:
        settings.resolve(profile, target)
    assert caught.value.exit_code == 2
    assert SECRET not in caught.value.message
    return caught.value.message


# ---------- DATABASE_URL


@pytest.mark.parametrize(
    ("url", "label"),
    [
        (f"postgresql://app:{SECRET}@db.example.com/shop", "app@db.example.com:5432/shop"),
        (f"postgres://app:{SECRET}@db.example.com:6543/shop?sslmode=require", "app@db.example.com:6543/shop"),
        (f"postgresql://app:{SECRET}@a:5432,b:5433/shop?target_session_attrs=primary", "app@a:5432,b:5433/shop"),
        (f"postgresql://app:{SECRET}@/shop?host=/var/run/postgresql", "app@socket /var/run/postgresql/shop"),
        (f"postgresql://app:{SECRET}@%2Ftmp%2Fpg/shop", "app@socket /tmp/pg/shop"),
        (f"postgresql://app:{SECRET}%40%2F%25@[2001:db8::1]:5432/shop", "app@2001:db8::1:5432/shop"),
        (f"host=db.example.com user=app password={SECRET} dbname=shop", "app@db.example.com:5432/shop"),
        (f"  host = db.example.com user=app password='{SECRET}://x' dbname=shop", "app@db.example.com:5432/shop"),
        ("postgresql:///shop", "socket default/shop"),
        ("service=shop", "service shop"),
    ],
)
def test_every_form_of_a_url_is_taken_and_shown_without_its_password(
    url: str, label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    database = settings.resolve()
    assert database.label == label
    assert SECRET not in repr(database)
    assert database.conninfo == url.strip()


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://app:{SECRET}@more@db.example.com/shop",
        f"postgresql://app:{SECRET}/more@db.example.com/shop",
        f"postgresql://app:5432/{SECRET}@db.example.com/shop",
        f"postgresql://app:{SECRET}%zz@db.example.com/shop",
        f"postgresql://app@db.example.com:{SECRET}/shop",
        f"postgresql://app:{SECRET}@db.example.com:99999/shop",
        f"postgresql://app:{SECRET}@db.example.com/shop?{SECRET}=1",
        f"mysql://app:{SECRET}@db.example.com/shop",
        f"postgresql+psycopg2://app:{SECRET}@db.example.com/shop",
        f"host=db.example.com {SECRET}",
        SECRET,
    ],
)
def test_a_url_that_cannot_be_read_is_refused_without_quoting_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    message = refusal()
    assert message.startswith("DATABASE_URL ")
    assert "postgresql://" in message


def test_the_command_line_shows_the_message_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://app:{SECRET}@more@db.example.com/shop")
    done = CliRunner().invoke(app, ["build"])
    assert isinstance(done.exception, UserError)
    assert SECRET not in done.output + str(done.exception)


def test_an_option_that_contradicts_the_url_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql:///shop")
    assert "DATABASE_URL is set" in refusal(target="production")


def test_without_settings_it_is_the_embedded_server(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "  ")
    database = settings.resolve()
    assert database.origin == "the embedded server"
    assert str(conninfo_to_dict(database.conninfo)["host"]).startswith("/")


# ---------- dbt profiles


def test_a_profile_is_read_as_dbt_reads_it(profiles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", SECRET)
    values = {
        "password": "\"{{ env_var('SHOP_PASSWORD') }}\"",
        "port": "\"{{ env_var('SHOP_PORT', '5433') | as_number }}\"",
        "sslmode": "verify-full",
        "sslrootcert": "/etc/ssl/ca.pem",
        "role": "migrator",
        "search_path": "'public, extensions'",
        "schema": "tool",
    }
    write(profiles, outputs=output("dev") + "\n" + output("live", **values))
    database = settings.resolve(target="live")
    given = conninfo_to_dict(database.conninfo)
    assert {name: given[name] for name in ("host", "port", "user", "password", "dbname")} == {
        "host": "db.example.com", "port": "5433", "user": "app", "password": SECRET, "dbname": "shop",
    }  # fmt: skip
    assert (given["sslmode"], given["sslrootcert"]) == ("verify-full", "/etc/ssl/ca.pem")
    assert given["options"] == "-c search_path=public,\\ extensions"
    assert (database.schema, database.role, database.threads) == ("tool", "migrator", 3)
    assert "live" in database.origin
    assert SECRET not in repr(database)


def test_a_variable_that_is_missing_is_named(profiles: Path) -> None:
    write(profiles, outputs=output("dev", password="\"{{ env_var('SHOP_OTHER_PASSWORD') }}\""))
    assert "SHOP_OTHER_PASSWORD" in refusal()


def test_a_key_that_is_missing_is_named(profiles: Path) -> None:
    write(profiles, outputs="dev:\n  type: postgres\n  host: db.example.com\n  schema: tool\n  user: app\n  port: 5432")
    assert "it lacks" in refusal()


def test_a_profile_or_target_that_does_not_exist(profiles: Path) -> None:
    write(profiles, outputs=output("dev"))
    assert "it has: canonical_migration" in refusal(profile="other")
    assert "it has: dev" in refusal(target="other")


def test_a_profile_for_another_database_is_refused(profiles: Path) -> None:
    write(profiles, outputs=output("dev", type="snowflake"))
    assert "is for snowflake" in refusal()


def test_a_profiles_file_that_is_broken_is_named_without_quoting_it(profiles: Path) -> None:
    (profiles / "profiles.yml").write_text(f"canonical_migration:\n  outputs: [{SECRET}\n    password: {SECRET}\n")
    assert "profiles.yml is not valid YAML, line" in refusal()


def test_another_projects_profile_does_not_hide_the_embedded_server(profiles: Path, server: str) -> None:
    write(profiles, outputs=output("dev"), profile="another_project")
    assert settings.resolve().origin == "the embedded server"


def test_a_folder_without_profiles_is_refused(profiles: Path) -> None:
    assert "DBT_PROFILES_DIR" in refusal()


def test_options_need_a_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "profiles_file", lambda: None)
    assert "profiles.yml.example" in refusal(target="live")


def test_the_example_works_for_each_target(profiles: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from scripts.paths import project_dir

    (profiles / "profiles.yml").write_text((project_dir() / "profiles.yml.example").read_text())
    monkeypatch.delenv(settings.SOCKET_VARIABLE, raising=False)
    assert settings.resolve().label.startswith("postgres@socket /")
    monkeypatch.setenv("PGHOST", "db.example.com")
    assert settings.resolve(target="postgres").label == "postgres@db.example.com:5432/postgres"
    monkeypatch.setenv("SUPABASE_DB_HOST", "db.abc.supabase.co")
    supabase = settings.resolve(target="supabase")
    assert supabase.label == "postgres@db.abc.supabase.co:5432/postgres"
    assert conninfo_to_dict(supabase.conninfo)["sslmode"] == "verify-full"


# ---------- the tool's own schema, timeouts and vars


@pytest.mark.parametrize(
    "schema", ["public", "Tool", 'a"b', "pg_tool", "1tool", "information_schema", "auth", "a" * 64, "a b"]
)
def test_a_schema_that_is_not_the_tools_own_is_refused(schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql:///shop")
    monkeypatch.setenv("MIGRATION_SCHEMA", schema)
    assert "MIGRATION_SCHEMA" in refusal()


def test_the_products_schema_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql:///shop")
    monkeypatch.setenv("MIGRATION_VARS", "{source_schema: app}")
    monkeypatch.setenv("MIGRATION_SCHEMA", "app")
    assert "MIGRATION_SCHEMA" in refusal()


def test_a_schema_of_ones_own_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql:///shop")
    assert settings.resolve().schema == "canonical_migration"
    monkeypatch.setenv("MIGRATION_SCHEMA", "tool_2")
    assert settings.resolve().schema == "tool_2"


def test_a_schema_that_differs_from_the_profiles_is_refused(profiles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(profiles, outputs=output("dev"))
    monkeypatch.setenv("MIGRATION_SCHEMA", "other")
    assert "'canonical_migration'" in refusal()


@pytest.mark.parametrize("name", ["MIGRATION_STATEMENT_TIMEOUT", "MIGRATION_LOCK_TIMEOUT"])
def test_timeouts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql:///shop")
    monkeypatch.setenv(name, "90s")
    database = settings.resolve()
    assert "90s" in (database.statement_timeout, database.lock_timeout)
    monkeypatch.setenv(name, "soon; drop table x")
    assert name in refusal()


@pytest.mark.parametrize("text", ["[a]", "a", "{"])
def test_vars_that_are_no_mapping_are_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql:///shop")
    monkeypatch.setenv("MIGRATION_VARS", text)
    assert "MIGRATION_VARS" in refusal()


@pytest.mark.parametrize("name", ['x"; drop table events; --', "a\\b", "$body$", "a\nb", "", "x" * 64, 7])
@pytest.mark.parametrize("var", ["source_schema", "events_table"])
def test_a_var_that_is_no_name_is_refused(name: object, var: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql:///shop")
    monkeypatch.setenv("MIGRATION_VARS", json.dumps({var: name}))
    assert f"The var {var} in MIGRATION_VARS" in refusal()


def test_names_that_look_like_sql_are_names(database: Database, cli: Cli) -> None:
    """The whole path where schema and table are named so that every place that forgets a quote breaks."""
    schema, table = "it's; drop schema public; --", "e {v} %s '; select '"
    demo.create(database, 30, 1)
    given = json.dumps({"source_schema": schema, "events_table": table})
    with psycopg.connect(database.conninfo, autocommit=True) as session:
        session.execute(sql.SQL("alter schema public rename to {}").format(sql.Identifier(schema)))
        session.execute(
            sql.SQL("alter table {} rename to {}").format(sql.Identifier(schema, "events"), sql.Identifier(table))
        )
        session.execute("create schema public")
    done = cli("events", "--apply", "--yes", "--json", database=database, MIGRATION_VARS=given)
    run_id = json.loads(done.stdout)["run_id"]
    for arguments in (
        ("events", "--refresh"), ("automatic", "on", "events", "--yes"), ("automatic", "off"),
        ("status",), ("verify", run_id), ("backup",), ("log",), ("runner",), ("rollback", run_id, "--apply", "--yes"),
        ("teardown", "--yes"),
    ):  # fmt: skip
        cli(*arguments, database=database, MIGRATION_VARS=given)
    with psycopg.connect(database.conninfo) as session:
        there = session.execute("select count(*) from pg_namespace where nspname in ('public', %s)", [schema])
        assert there.fetchone() == (2,)
