"""Backups: closed, counted, never overwritten."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from typer.testing import CliRunner

from scripts import backup
from scripts.backup import Backup
from scripts.cli import app
from scripts.connection import Session, connect
from scripts.errors import UserError
from scripts.ledger import Ledger
from scripts.settings import Database

SOURCE = """
create table public.campaigns (id integer primary key, data_sources jsonb);
create table public.events (id integer primary key, created_at timestamptz, event_data json, canonical_event jsonb);
insert into public.campaigns select i, case when i % 2 = 0 then '[]'::jsonb end from generate_series(1, 7) as i;
insert into public.events
select i, now() - i * interval '1 day', '{"a" :  1}', (array[null, '{}', 'null']::jsonb[])[1 + i % 3]
from generate_series(1, 50) as i;
insert into public.events values (100, null, '{}', null);
"""


@pytest.fixture
def session(database: Database) -> Session:
    made = connect(database)
    made.execute(SOURCE)
    Ledger(database.schema).ensure(made)
    return made


def taken(session: Session, *, every_event: bool = False) -> dict[str, Backup]:
    made = backup.create(
        session, schema="canonical_migration", source_schema="public",
        tables={"campaigns": "campaigns", "events": "events"}, every_event=every_event,
    )  # fmt: skip
    return {one.kind: one for one in made}


def test_the_last_30_days_and_all_campaigns(session: Session) -> None:
    made = taken(session)
    assert (made["campaigns"].rows, made["events"].rows, made["events"].left_out) == (7, 29, 22)
    same = session.execute(
        sql.SQL(
            "select count(*) from {} as c inner join public.events as e on e.id = c.id "
            "where c.event_data::text = e.event_data::text "
            "and c.canonical_event::text is not distinct from e.canonical_event::text"
        ).format(sql.Identifier("canonical_migration", made["events"].name))
    ).fetchone()
    assert same == (29,)


def test_every_event(session: Session) -> None:
    assert taken(session, every_event=True)["events"].rows == 51


def test_it_is_closed(session: Session) -> None:
    for one in taken(session).values():
        row = session.execute(
            "select relrowsecurity, coalesce(relacl::text, '') from pg_class where relname = %s", [one.name]
        ).fetchone()
        assert row is not None
        assert row[0]
        assert "anon" not in row[1]


def test_nothing_is_overwritten(session: Session) -> None:
    taken(session)
    session.execute("delete from public.events")
    with pytest.raises(UserError, match="never overwritten"):
        taken(session)
    assert [one.rows for one in backup.existing(session, "canonical_migration")] == [7, 29]


def test_both_or_none(session: Session) -> None:
    session.execute("alter table public.events drop created_at")
    with pytest.raises(UserError, match="--all"):
        taken(session)
    assert backup.existing(session, "canonical_migration") == []
    assert taken(session, every_event=True)["events"].rows == 51


def test_a_missing_table_is_named(session: Session) -> None:
    session.execute("drop table public.campaigns")
    with pytest.raises(UserError, match="campaigns_table"):
        taken(session)


def test_a_table_in_partitions(make_database: Callable[[], Database]) -> None:
    session = connect(make_database())
    session.execute(
        """
        create table public.campaigns (id integer);
        create table public.events (id integer, created_at timestamptz) partition by list (id);
        create table public.events_1 partition of public.events for values in (1);
        create table public.events_2 partition of public.events default;
        insert into public.events values (1, now()), (2, now()), (3, now() - interval '1 year');
        """
    )
    Ledger("canonical_migration").ensure(session)
    assert taken(session)["events"].rows == 2


def test_a_copy_that_misses_rows_is_not_kept(session: Session) -> None:
    # A role under row level security gets an error, because every session of the tool turns filtering off.
    session.execute(
        """
        create role backup_tester;
        grant usage on schema public to backup_tester;
        grant create, usage on schema canonical_migration to backup_tester;
        grant select on public.events, public.campaigns to backup_tester;
        alter table public.events enable row level security;
        create policy part on public.events using (id < 5);
        set role backup_tester;
        """
    )
    try:
        with pytest.raises(Exception, match="row-level security"):
            taken(session)
        session.execute("reset role")
        assert backup.existing(session, "canonical_migration") == []
    finally:
        session.execute("reset role; drop owned by backup_tester; drop role backup_tester")


def test_both_are_of_one_moment(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that is inserted between the two copies is in neither."""
    copied = backup._copy

    def copy_and_insert(*arguments: Any) -> None:
        copied(*arguments)
        with psycopg.connect(session.info.dsn, autocommit=True) as application:
            application.execute("insert into public.events select max(id) + 1, now(), '{}', null from public.events")

    monkeypatch.setattr(backup, "_copy", copy_and_insert)
    assert taken(session)["events"].rows == 29


def test_the_command(session: Session, database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATABASE_URL", database.conninfo)
    runner = CliRunner()
    assert "no backups" in runner.invoke(app, ["backup", "--list"]).stdout
    first = runner.invoke(app, ["backup"])
    assert first.exit_code == 0, first.output
    assert "events_backup_" in first.stdout
    second = runner.invoke(app, ["backup"])
    assert isinstance(second.exception, UserError)
    listed = json.loads(runner.invoke(app, ["backup", "--list", "--json"]).stdout)
    assert [(one["kind"], one["rows"]) for one in listed] == [("campaigns", 7), ("events", 29)]
