"""Who can read what the tool leaves behind: the log for administrators, the rest for nobody else."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from scripts import backup, demo
from scripts.connection import Session, connect
from scripts.ledger import Ledger
from scripts.settings import Database

LOG = "public.migration_log"


class Product:
    """The demo's database with an administrator, a plain user and one who made himself superadmin in profiles."""

    def __init__(self, database: Database) -> None:
        demo.create(database, 30, 1)
        self.session: Session = connect(database)
        self.ledger = Ledger(database.schema)
        self.ledger.ensure(self.session)
        self.admin, self.user, self.climber = (self._user(name) for name in ("admin", "user", "climber"))
        self.session.execute("insert into public.user_roles (user_id, role) values (%s, 'admin')", [self.admin])
        with acting(self.session, "authenticated", self.climber):
            changed = self.session.execute(
                "update public.profiles set role = 'superadmin' where id = %s", [self.climber]
            )
            assert changed.rowcount == 1  # the product lets him
        run_id = self.ledger.open_run(
            self.session, command="events", migration_type="event", kind="apply",
            target={"schema": "public", "table": "events", "column": "canonical_event", "key": "id"},
        )  # fmt: skip
        self.session.execute(
            "insert into public.migration_log (migration_type, batch_number, run_id) values ('event', 1, %s)", [run_id]
        )
        self.session.execute(
            sql.SQL("insert into {} (log_id, run_id, row_ids) values (gen_random_uuid(), %s, '{{}}')").format(
                self.ledger.undo_table
            ),
            [run_id],
        )
        backup.create(
            self.session, schema=database.schema, source_schema="public",
            tables={"campaigns": "campaigns", "events": "events"}, every_event=True,
        )  # fmt: skip
        # What a model is: a view with the reader's rights.
        self.session.execute(
            sql.SQL("create view {} with (security_invoker = true) as select * from public.events").format(
                sql.Identifier(database.schema, "canonical_events")
            )
        )

    def _user(self, name: str) -> UUID:
        made = uuid4()
        self.session.execute("insert into auth.users (id, email) values (%s, %s)", [made, f"{name}@example.org"])
        self.session.execute("insert into public.profiles (id) values (%s)", [made])
        return made

    def relations(self) -> list[str]:
        """Everything in the tool's schema that can be selected from."""
        rows = self.session.execute(
            """
            select c.oid::regclass::text
            from pg_class as c
            where c.relnamespace = %s::regnamespace and c.relkind in ('r', 'p', 'v', 'm')
            """,
            [self.ledger.schema],
        ).fetchall()
        return [row[0] for row in rows]


@contextmanager
def acting(session: Session, role: str, user: UUID | None = None) -> Iterator[None]:
    """As PostgREST does it: the role, and the claims of the token; row security as the product has it."""
    claims = {"role": role} | ({"sub": str(user)} if user else {})
    with session.transaction():
        session.execute(
            "select set_config('request.jwt.claims', %s, true), set_config('row_security', 'on', true)",
            [json.dumps(claims)],
        )
        session.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
        yield
        session.execute("set local role none")


def sees(session: Session, relation: str, role: str, user: UUID | None = None) -> int:
    """How many rows the role gets; 0 also when it is refused."""
    try:
        with acting(session, role, user):
            row = session.execute(sql.SQL("select count(*) from {}").format(sql.SQL(relation))).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return 0
    return int(row[0]) if row else 0


@pytest.fixture(scope="module")
def product(make_database: Callable[[], Database]) -> Product:
    return Product(make_database())


@pytest.mark.parametrize(("role", "who"), [("anon", None), ("authenticated", "user"), ("authenticated", "climber")])
def test_nobody_else_reads_anything(product: Product, role: str, who: str | None) -> None:
    user = getattr(product, who) if who else None
    relations = product.relations()
    assert {name.split(".")[1].split("_")[0] for name in relations} >= {"migration", "events", "campaigns", "canonical"}
    everything = [LOG, *relations]
    assert {name: sees(product.session, name, role, user) for name in everything} == dict.fromkeys(everything, 0)


@pytest.mark.parametrize(("role", "who"), [("anon", None), ("authenticated", "user"), ("authenticated", "climber")])
def test_nobody_else_writes_anything(product: Product, role: str, who: str | None) -> None:
    user = getattr(product, who) if who else None
    for name in [LOG, *product.relations()]:
        for statement in (
            f"insert into {name} default values",
            f"delete from {name}",
            f"truncate {name}",
            f"drop table if exists {name}",
            f"lock table {name}",
        ):
            with (
                pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.WrongObjectType)),
                acting(product.session, role, user),
            ):
                product.session.execute(statement.encode())


def test_even_with_usage_of_the_schema_the_tables_stay_closed(product: Product) -> None:
    tool = sql.Identifier(product.ledger.schema)
    product.session.execute(
        sql.SQL("grant usage on schema {} to anon; grant select on all tables in schema {} to anon").format(tool, tool)
    )
    try:
        tables = [name for name in product.relations() if not name.endswith("canonical_events")]
        assert {name: sees(product.session, name, "anon") for name in tables} == dict.fromkeys(tables, 0)
    finally:
        product.ledger.ensure(product.session)  # takes the rights away again
    row = product.session.execute(
        "select has_schema_privilege('anon', %s, 'usage')", [product.ledger.schema]
    ).fetchone()
    assert row == (False,)


def test_an_administrator_reads_and_adds_to_the_log_and_nothing_more(product: Product) -> None:
    assert sees(product.session, LOG, "authenticated", product.admin) == 1
    assert all(sees(product.session, name, "authenticated", product.admin) == 0 for name in product.relations())
    with acting(product.session, "authenticated", product.admin):
        product.session.execute("insert into public.migration_log (migration_type, batch_number) values ('event', 9)")
    for statement in ("update public.migration_log set batch_number = 0", "delete from public.migration_log",
                      "truncate public.migration_log"):  # fmt: skip
        with (
            pytest.raises(psycopg.errors.InsufficientPrivilege),
            acting(product.session, "authenticated", product.admin),
        ):
            product.session.execute(statement)
    product.session.execute("delete from public.migration_log where batch_number = 9")


@pytest.mark.parametrize("who", ["user", "climber"])
def test_others_cannot_write_the_log(product: Product, who: str) -> None:
    for statement in ("insert into public.migration_log (migration_type) values ('event')",
                      "truncate public.migration_log"):  # fmt: skip
        with (
            pytest.raises(psycopg.errors.InsufficientPrivilege),
            acting(product.session, "authenticated", getattr(product, who)),
        ):
            product.session.execute(statement)


def test_without_is_admin_the_roles_table_counts(make_database: Callable[[], Database]) -> None:
    product = Product(make_database())
    product.session.execute("drop function public.is_admin(uuid) cascade")
    product.ledger.ensure(product.session)
    assert product.ledger.ensure(product.session) == []
    assert sees(product.session, LOG, "authenticated", product.admin) == 1
    assert sees(product.session, LOG, "authenticated", product.user) == 0
    assert sees(product.session, LOG, "authenticated", product.climber) == 0
    assert sees(product.session, LOG, "anon") == 0


def test_outside_supabase_a_role_may_read(make_database: Callable[[], Database]) -> None:
    database = make_database()
    session = connect(database)
    ledger = Ledger(database.schema)
    ledger.ensure(session)
    policies = "select policyname from pg_policies where tablename = 'migration_log'"
    if session.execute("select 1 from pg_roles where rolname = 'migration_admin'").fetchone():
        pytest.skip("the server has a role migration_admin of its own")
    assert session.execute(policies).fetchall() == []
    session.execute(
        "create role migration_admin; create role migration_reader; grant migration_admin to migration_reader"
    )
    try:
        assert ledger.ensure(session)
        session.execute("insert into public.migration_log (migration_type) values ('event')")
        session.execute("create role migration_stranger; grant usage on schema public to migration_stranger")
        assert sees(session, LOG, "migration_reader") == 1
        assert sees(session, LOG, "migration_stranger") == 0
    finally:
        roles: list[Any] = ["migration_reader", "migration_stranger", "migration_admin"]
        for role in roles:
            if session.execute("select 1 from pg_roles where rolname = %s", [role]).fetchone():
                session.execute(sql.SQL("drop owned by {0}; drop role {0}").format(sql.Identifier(role)))
