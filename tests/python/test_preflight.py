"""What is found out before a run: wrong ones are refused with the remedy, costs are said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from writeback_world import MODEL_SCHEMA, World, create, table

from scripts import preflight
from scripts.connection import connect
from scripts.errors import UserError
from scripts.preflight import Preflight
from scripts.settings import Database

WORLD = World()
TABLE = table(WORLD)


@pytest.fixture(scope="module")
def made(make_database: Callable[[], Database]) -> Database:
    """A table with its model and a few rows, shared: each test takes back what it changes."""
    database = make_database()
    create(database, WORLD, 20)
    return database


@pytest.fixture
def change(made: Database) -> Iterator[Callable[..., None]]:
    """Run statements, and others afterwards that take them back."""
    undo: list[str] = []

    def run(statement: str, back: str | None = None) -> None:
        with psycopg.connect(made.conninfo, autocommit=True) as session:
            session.execute(statement)
        if back:
            undo.append(back)

    yield run
    with psycopg.connect(made.conninfo, autocommit=True) as session:
        for statement in reversed(undo):
            session.execute(statement)


def inspect(database: Database, world: World = WORLD) -> Preflight:
    with connect(database) as session:
        return preflight.inspect(session, database, world.target)


def said(found: Preflight, about: str) -> str:
    return " ".join(finding.message for finding in found.findings if finding.about == about)


def test_a_plain_table_has_nothing_to_say(made: Database) -> None:
    found = inspect(made)
    assert [finding for finding in found.findings if finding.about != "replication"] == []
    assert found.excepted == {}
    assert found.plan.tenant_may_be_null
    assert found.plan.key_is_uuid


@pytest.mark.parametrize(
    ("world", "message"),
    [
        (replace(WORLD, table="nothing"), r"There is no table .*nothing.* source_schema"),
        (replace(WORLD, key="nothing"), "has no column nothing"),
        (replace(WORLD, model="nothing"), r'The model .*"nothing" is not in .* Run `migrate build`'),
    ],
)
def test_what_is_missing_is_named(made: Database, world: World, message: str) -> None:
    with pytest.raises(UserError, match=message):
        inspect(made, world)


def test_a_column_of_another_type_is_refused(made: Database) -> None:
    class Other(World):
        @property
        def target(self):  # type: ignore[no-untyped-def]
            return replace(super().target, target_column="note")

    with pytest.raises(UserError, match="note is json; the tool fills columns of type jsonb"):
        inspect(made, Other())


@pytest.fixture
def role(made: Database) -> Iterator[str]:
    """A role with every right but to see all rows."""
    name = "preflight_" + made.conninfo.split("test_")[1][:8].strip("'\" ")
    with psycopg.connect(made.conninfo, autocommit=True) as session:
        session.execute(f"create role {name} login")
        session.execute(f"grant usage on schema shop, {MODEL_SCHEMA} to {name}")
        session.execute(f"grant all on all tables in schema shop, {MODEL_SCHEMA} to {name}")
        yield name
        session.execute(f"drop owned by {name}")
        session.execute(f"drop role {name}")


def test_row_level_security_is_refused_with_the_remedy(made: Database, role: str, change: Callable[..., None]) -> None:
    change(f"alter table {TABLE} enable row level security", f"alter table {TABLE} disable row level security")
    limited = replace(made, conninfo=make_conninfo(made.conninfo, user=role))
    with pytest.raises(UserError, match=rf"alter role {role} bypassrls"):
        inspect(limited)


def test_a_role_without_the_right_to_update_is_told_the_grant(
    made: Database, role: str, change: Callable[..., None]
) -> None:
    change(f"revoke update on {TABLE} from {role}")
    limited = replace(made, conninfo=make_conninfo(made.conninfo, user=role))
    with pytest.raises(UserError, match=rf"grant update \(Canonical\) on .* to {role};"):
        inspect(limited)


def test_a_read_only_role_is_told(made: Database, role: str, change: Callable[..., None]) -> None:
    change(f"alter role {role} set default_transaction_read_only = on")
    limited = replace(made, conninfo=make_conninfo(made.conninfo, user=role))
    with pytest.raises(UserError, match="read-only for this role"):
        inspect(limited)


def test_a_rule_is_refused(made: Database, change: Callable[..., None]) -> None:
    change(f"create rule also as on update to {TABLE} do also select 1", f"drop rule also on {TABLE}")
    with pytest.raises(UserError, match="has a rule for update"):
        inspect(made)


def test_publications_are_named(made: Database, change: Callable[..., None]) -> None:
    change(f"create publication supabase_realtime for table {TABLE}", "drop publication supabase_realtime")
    assert "one message to every listening client" in said(inspect(made), "publications")
    change(f"alter table {TABLE} replica identity full", f"alter table {TABLE} replica identity default")
    assert "twice the write-ahead log" in said(inspect(made), "replica identity")
    change(f"alter table {TABLE} replica identity nothing")
    with pytest.raises(UserError, match="replica identity full"):
        inspect(made)


def test_triggers_indexes_and_vacuum_are_named(made: Database, change: Callable[..., None]) -> None:
    change(
        """
        create function shop.touch() returns trigger language plpgsql as
        $$ begin new.seen := 1; new."at" = now(); return new; end $$
        """,
        "drop function shop.touch",
    )
    change(
        f"create trigger touch before update on {TABLE} for each row execute function shop.touch()",
        f"drop trigger touch on {TABLE}",
    )
    # One that looks at another column only is not fired by the run.
    change(
        f"create trigger other before update of body on {TABLE} for each row execute function shop.touch()",
        f"drop trigger other on {TABLE}",
    )
    change(f'create index by_value on {TABLE} using gin ("Canonical")', "drop index shop.by_value")
    change(f"alter table {TABLE} set (autovacuum_enabled = false)", f"alter table {TABLE} reset (autovacuum_enabled)")
    found = inspect(made)
    assert "touch (before each row: touch)" in said(found, "triggers")
    assert "other" not in said(found, "triggers")
    assert set(found.excepted) == {"seen", "at"}
    assert "by_value" in said(found, "indexes")
    assert "Autovacuum is off" in said(found, "vacuum")


def test_disk_space_is_weighed(made: Database) -> None:
    with connect(made) as session:
        some = preflight.disk_finding(session, WORLD.target, 1000, 2000.0)
        much = preflight.disk_finding(session, WORLD.target, 10**12, 2000.0)
        none = preflight.disk_finding(session, WORLD.target, 0, 2000.0)
    assert some is not None
    assert "2.1 MB" in some.message
    assert none is None
    assert much is not None
    if "cannot be seen" not in some.message:
        assert much.level == "warning"


def test_statement_triggers_of_a_partitioned_table_are_said_not_to_fire(database: Database) -> None:
    world = World(partitioned=True)
    create(database, world, 10)
    with psycopg.connect(database.conninfo, autocommit=True) as session:
        session.execute("create function shop.note() returns trigger language plpgsql as 'begin return null; end'")
        session.execute(
            sql.SQL("create trigger noted after update on {} execute function shop.note()").format(
                sql.Identifier(world.schema, world.table)
            )
        )
    assert "do not fire: noted" in said(inspect(database, world), "triggers")


def test_a_foreign_partition_is_refused(database: Database) -> None:
    world = World(partitioned=True)
    create(database, world, 10)
    with psycopg.connect(database.conninfo, autocommit=True) as session:
        try:
            session.execute("create extension file_fdw")
        except psycopg.Error:
            pytest.skip("this server has no file_fdw")
        session.execute("create server files foreign data wrapper file_fdw")
        session.execute(
            sql.SQL(
                "create foreign table shop.far partition of {} for values from ('2024-01-01') to ('2024-02-01') "
                "server files options (filename '/dev/null')"
            ).format(sql.Identifier(world.schema, world.table))
        )
    with pytest.raises(UserError, match=r"shop\.far holds rows .* no ordinary table"):
        inspect(database, world)
