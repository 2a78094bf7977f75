"""The ledger's tables: made once, upgraded in place, closed; and runs whose process died."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from scripts import locks, settings
from scripts.connection import Session, connect
from scripts.errors import UserError
from scripts.ledger import Ledger
from scripts.settings import Database

TARGET = {"schema": "public", "table": "events", "column": "canonical_event", "key": "id"}

# As the product's own migration made it: no extra columns, rows, and policies that trust profiles.role.
OLD_LOG = """
create table public.profiles (id uuid primary key, role text);
create table public.migration_log (
    id uuid primary key default gen_random_uuid(),
    migration_type text not null check (migration_type in ('campaign', 'event')),
    batch_number integer not null,
    records_processed integer not null default 0,
    records_succeeded integer not null default 0,
    records_failed integer not null default 0,
    started_at timestamptz not null default now(),
    completed_at timestamptz,
    error_details jsonb,
    performed_by uuid not null,
    dry_run boolean not null default false,
    created_at timestamptz not null default now()
);
alter table public.migration_log enable row level security;
create policy "Admins read" on public.migration_log for select using (
    exists (select 1 from public.profiles as p where p.role = 'superadmin')
);
insert into public.migration_log (migration_type, batch_number, records_processed, records_succeeded, performed_by)
select 'event', i, 100, 100, gen_random_uuid() from generate_series(1, 3) as i;
"""


@pytest.fixture
def session(database: Database) -> Session:
    return connect(database)


@pytest.fixture
def ledger(database: Database) -> Ledger:
    return Ledger(database.schema)


def opened(session: Session, ledger: Ledger, **more: Any) -> Any:
    return ledger.open_run(
        session, **({"command": "events", "migration_type": "event", "kind": "apply", "target": TARGET} | more)
    )


def test_it_is_made_once(session: Session, ledger: Ledger) -> None:
    assert ledger.ensure(session)
    assert ledger.ensure(session) == []
    run_id = opened(session, ledger)
    ledger.close_run(session, run_id, "done", {"rows": 1})
    assert ledger.find_run(session, str(run_id)).summary == {"rows": 1}


def test_several_commands_at_once(database: Database, ledger: Ledger) -> None:
    results: list[list[str] | BaseException] = []
    ready = threading.Barrier(6)

    def command() -> None:
        with connect(database) as session:
            ready.wait()
            try:
                results.append(ledger.ensure(session))
            except BaseException as error:
                results.append(error)

    threads = [threading.Thread(target=command) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not [result for result in results if isinstance(result, BaseException)]
    assert len([result for result in results if result]) == 1


def test_an_older_log_is_upgraded_and_keeps_its_rows(session: Session, ledger: Ledger) -> None:
    session.execute(OLD_LOG)
    before = session.execute("select * from public.migration_log order by batch_number").fetchall()
    done = ledger.ensure(session)
    rows = session.execute("select * from public.migration_log order by batch_number").fetchall()
    assert [row[: len(before[0])] for row in rows] == before
    assert any("add column run_id" in what for what in done)
    indexes = session.execute("select indexdef from pg_indexes where tablename = 'migration_log'").fetchall()
    assert any("(migration_type, started_at DESC)" in row[0] for row in indexes)
    # What the tool writes fits: no performed_by.
    run_id = opened(session, ledger)
    session.execute(
        "insert into public.migration_log (migration_type, batch_number, run_id) values ('event', 1, %s)", [run_id]
    )
    assert len(list(ledger.log(session))) == 4
    assert ledger.ensure(session) == []


def test_a_policy_that_lets_others_in_is_dropped_and_can_be_brought_back(session: Session, ledger: Ledger) -> None:
    session.execute(OLD_LOG)
    session.execute("create policy only_mine on public.migration_log as restrictive using (true)")
    ledger.ensure(session)
    policies = session.execute("select policyname from pg_policies where tablename = 'migration_log'").fetchall()
    assert ("Admins read",) not in policies
    assert ("only_mine",) in policies  # a restrictive policy lets nobody in
    reverse = session.execute(
        sql.SQL("select reverse from {} where what like '%Admins read%'").format(
            sql.Identifier(ledger.schema, "ledger_changes")
        )
    ).fetchone()
    assert reverse is not None
    session.execute(reverse[0])
    assert session.execute("select 1 from pg_policies where policyname = 'Admins read'").fetchone()


def test_an_index_of_another_name_is_enough(session: Session, ledger: Ledger) -> None:
    session.execute(OLD_LOG)
    session.execute("create index theirs on public.migration_log (migration_type, started_at desc)")
    assert not any("type_started_at" in what for what in ledger.ensure(session))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("alter table public.migration_log alter error_details type text", r"error_details is text.*jsonb"),
        ("alter table public.migration_log add tenant uuid not null default gen_random_uuid();"
         "alter table public.migration_log alter tenant drop default", "tenant is not null without a default"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(session: Session, ledger: Ledger, change: str, said: str) -> None:
    session.execute(OLD_LOG)
    session.execute(change)
    with pytest.raises(UserError, match=said):
        ledger.ensure(session)


def test_the_source_schema_must_exist(session: Session) -> None:
    with pytest.raises(UserError, match="source_schema"):
        Ledger("canonical_migration", "nowhere").ensure(session)
    with pytest.raises(UserError, match="schema of its own"):
        Ledger("public", "public").ensure(session)


# ---------- rights


@pytest.fixture
def other(session: Session, database: Database) -> Any:
    """Another role's session; the role is dropped afterwards."""
    name = f"tester_{database.schema[:3]}_{id(session)}"
    session.execute(sql.SQL("create role {} login").format(sql.Identifier(name)))
    other_database = settings.from_url(make_conninfo(database.conninfo, user=name), origin="the test")
    try:
        yield connect(other_database)
    finally:
        session.execute(sql.SQL("drop owned by {}; drop role {}").format(sql.Identifier(name), sql.Identifier(name)))


def follow(session: Session, error: UserError) -> None:
    """Run the statement that a message recommends."""
    statement = next(part for part in error.message.split("`") if part.startswith(("grant", "create schema")))
    session.execute(statement)


def test_missing_rights_are_named_until_all_are_there(session: Session, other: Session, ledger: Ledger) -> None:
    for _ in range(5):
        try:
            ledger.ensure(other)
        except UserError as error:
            follow(session, error)
    assert ledger.ensure(other) == []
    opened(other, ledger)


def test_an_older_log_of_another_owner(session: Session, other: Session, ledger: Ledger) -> None:
    session.execute("create role log_owner")
    try:
        session.execute(OLD_LOG)
        session.execute("alter table public.migration_log owner to log_owner; grant create on schema public to public")
        session.execute(
            sql.SQL("grant create on database {} to {}").format(
                sql.Identifier(session.info.dbname), sql.Identifier(other.info.user)
            )
        )
        with pytest.raises(UserError, match="grant log_owner to") as caught:
            ledger.ensure(other)
        follow(session, caught.value)
        ledger.ensure(other)
    finally:
        session.execute("reassign owned by log_owner to current_user; drop owned by log_owner; drop role log_owner")


def test_a_role_that_sees_part_of_the_log_is_refused(session: Session, other: Session, ledger: Ledger) -> None:
    ledger.ensure(session)
    who = sql.Identifier(other.info.user)
    session.execute(
        sql.SQL(
            "grant usage on schema canonical_migration to {0}; grant all on all tables in schema canonical_migration "
            "to {0}; grant all on public.migration_log to {0}"
        ).format(who)
    )
    with pytest.raises(UserError, match="bypassrls"):
        ledger.ensure(other)


def test_a_read_only_connection_is_named(session: Session, ledger: Ledger) -> None:
    session.execute("set default_transaction_read_only = on")
    with pytest.raises(UserError, match="read-only"):
        ledger.ensure(session)


# ---------- runs


def test_a_run_whose_lock_nobody_holds_has_crashed(session: Session, ledger: Ledger) -> None:
    ledger.ensure(session)
    first = opened(session, ledger)
    assert ledger.find_run(session, str(first)).status == "crashed"
    key = locks.run_key("public", "events", "canonical_event")
    with psycopg.connect(session.info.dsn, autocommit=True) as another:
        another.execute("select pg_advisory_lock(%s)", [key])
        # Another process has the lock, and has not begun to write: it asks its user, or looks at the rows.
        assert ledger.find_run(session, str(first)).status == "crashed"
    session.execute("select pg_advisory_lock(%s)", [key])
    assert ledger.find_run(session, str(first)).status == "running"
    second = opened(session, ledger)
    assert ledger.find_run(session, str(first)).status == "crashed"  # the lock is the later run's
    assert ledger.find_run(session, str(second)).status == "running"
    session.execute("select pg_advisory_unlock(%s)", [key])
    ledger.close_run(session, second, "interrupted")
    assert ledger.find_run(session, str(second)).status == "interrupted"


def test_nothing_ends_before_it_began_though_the_clock_was_set_back(session: Session, ledger: Ledger) -> None:
    ledger.ensure(session)
    run_id = opened(session, ledger)
    later = datetime.now(UTC) + timedelta(hours=1)
    session.execute("update canonical_migration.migration_runs set started_at = %s", [later])
    ledger.write_log(
        session, run_id=run_id, kind="apply", migration_type="event", batch_number=1, processed=1, succeeded=0,
        failed=1, started_at=later,
    )  # fmt: skip
    ledger.close_run(session, run_id, "failed")
    (row,) = ledger.log(session)
    assert row["started_at"] == row["completed_at"] == later
    run = ledger.find_run(session, str(run_id))
    assert run.started_at == run.ended_at == later


def test_a_run_is_found_by_the_beginning_of_its_id(session: Session, ledger: Ledger) -> None:
    ledger.ensure(session)
    run_id = opened(session, ledger)
    assert ledger.find_run(session, str(run_id)[:6].upper()).run_id == run_id
    with pytest.raises(UserError, match="No run"):
        ledger.find_run(session, "%")
    opened(session, ledger)
    with pytest.raises(UserError, match="2 runs"):
        ledger.find_run(session, "")
