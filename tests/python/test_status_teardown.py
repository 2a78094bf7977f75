"""`migrate status` says what to do next; `migrate teardown` removes the models and nothing else."""

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner, Result

from scripts import demo, locks, project
from scripts.cli import app
from scripts.connection import Session, connect
from scripts.errors import UserError
from scripts.ledger import Ledger
from scripts.settings import Database

TARGET = {"schema": "public", "table": "events", "column": "canonical_event", "key": "id"}


@pytest.fixture(scope="module")
def built(make_database: Callable[[], Database]) -> Database:
    """The demo with the models of `migrate campaigns` (they need no events)."""
    database = make_database()
    demo.create(database, 30, 1)
    with connect(database) as session:
        Ledger(database.schema).ensure(session)
    project.bring_up_to_date(database, "campaigns")
    return database


@pytest.fixture
def session(built: Database, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setenv("DATABASE_URL", built.conninfo)
    return connect(built)


def migrate(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def status() -> dict[str, Any]:
    result = migrate("status", "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_status_tells_what_is_pending_and_what_comes_next(session: Session) -> None:
    found = {target["command"]: target for target in status()["targets"]}
    pending = session.execute(
        "select count(*) from public.events where canonical_event is null or canonical_event in ('{}', '[]', 'null')"
    ).fetchone()
    assert pending == (found["events"]["rows_pending"],)
    assert 0 < found["campaigns"]["writable"] < found["campaigns"]["rows_pending"]
    [(listed,)] = session.execute("select count(*) from canonical_migration.ambiguous_campaigns").fetchall()
    assert f"{listed} campaigns need a person: `migrate decide`." in status()["next_steps"]
    assert any("`migrate events` shows" in step for step in status()["next_steps"])
    assert migrate("status").exit_code == 0


def test_status_tells_a_crashed_run(session: Session, built: Database) -> None:
    ledger = Ledger(built.schema)
    run_id = ledger.open_run(session, command="events", migration_type="event", kind="apply", target=TARGET)
    try:
        assert status()["runs"][0]["status"] == "crashed"
        assert any(str(run_id)[:8] in step and "crashed" in step for step in status()["next_steps"])
        session.execute("select pg_advisory_lock(%s)", [locks.run_key("public", "events", "canonical_event")])
        assert status()["runs"][0]["status"] == "running"
        assert "is going on" in status()["next_steps"][-1]
    finally:
        session.execute("select pg_advisory_unlock_all()")
        ledger.close_run(session, run_id, "failed")


def test_everything_in_the_tools_schema_is_closed(session: Session) -> None:
    open_tables = session.execute(
        "select relname from pg_class where relnamespace = 'canonical_migration'::regnamespace "
        "and relkind in ('r', 'p') and not relrowsecurity"
    ).fetchall()
    assert open_tables == []
    views_of_the_owner = session.execute(
        "select relname from pg_class where relnamespace = 'canonical_migration'::regnamespace "
        "and relkind = 'v' and not coalesce(reloptions @> '{security_invoker=true}', false)"
    ).fetchall()
    assert views_of_the_owner == []
    usage = session.execute(
        "select r.role from unnest(array['anon', 'authenticated']) as r (role) "
        "where has_schema_privilege(r.role, 'canonical_migration', 'usage')"
    ).fetchall()
    assert usage == []


def test_teardown_is_refused_while_a_run_is_active(session: Session, built: Database) -> None:
    with psycopg.connect(built.conninfo, autocommit=True) as holder:
        holder.execute("select pg_advisory_lock(%s)", [locks.run_key("public", "events", "canonical_event")])
        result = migrate("teardown", "--yes")
    assert isinstance(result.exception, UserError)
    assert result.exception.exit_code == 3


def test_teardown_is_refused_when_others_depend_on_a_model(session: Session) -> None:
    session.execute("create view public.theirs as select * from canonical_migration.campaign_data_sources")
    result = migrate("teardown", "--yes")
    assert isinstance(result.exception, UserError)
    assert "public.theirs" in result.exception.message or "view theirs" in result.exception.message
    session.execute("select 1 from canonical_migration.campaign_data_sources")
    session.execute("drop view public.theirs")


def test_teardown_removes_the_models_and_keeps_the_rest(session: Session, built: Database) -> None:
    migrate("backup")
    session.execute(
        "insert into canonical_migration.campaign_decisions (campaign_id, note) "
        "select id, 'kept' from public.campaigns limit 1"
    )
    assert isinstance(migrate("teardown").exception, UserError)  # nobody to ask
    result = migrate("teardown", "--yes", "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert "campaign_data_sources" in said["removed"]["views"]
    left = session.execute(
        "select relname, relkind::text from pg_class where relnamespace = 'canonical_migration'::regnamespace "
        "and relkind in ('r', 'v', 'm', 'p')"
    ).fetchall()
    assert {kind for _, kind in left} == {"r"}
    names = {name for name, _ in left}
    assert names >= {"migration_runs", "migration_undo", "campaign_decisions"}
    assert any(name.startswith("events_backup_") for name in names)
    assert names | {"public.migration_log"} == set(said["kept"])
    assert session.execute("select note from canonical_migration.campaign_decisions").fetchone() == ("kept",)
    # The product may alter its columns again, and the models come back when they are needed.
    session.execute("alter table public.campaigns alter name type varchar(500)")
    assert migrate("teardown", "--yes").exit_code == 0
    project.bring_up_to_date(built, "campaigns")
    session.execute("select 1 from canonical_migration.campaign_data_sources")
