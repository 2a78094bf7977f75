"""`migrate automatic`: rows that the application writes get their value, and its own write never fails."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import small_target
from psycopg import sql
from psycopg.types.json import Jsonb
from small_target import SmallTarget
from typer.testing import CliRunner, Result

from scripts import automatic, project
from scripts.cli import app
from scripts.connection import connect
from scripts.errors import UserError
from scripts.ledger import Ledger
from scripts.settings import Database

App = psycopg.Connection[Any]
PENDING = "(canonical_event is null or canonical_event in ('{}', '[]', 'null'))"
PURCHASE = {"product_name": "Hat", "customer_name": "Ann Lee", "price": "12.50", "currency": "USD"}
CLAIM = "request.jwt.claim.sub"


@pytest.fixture
def shop(demo_database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """The demo, to be migrated by `migrate`."""
    monkeypatch.setenv("DATABASE_URL", demo_database.conninfo)
    return demo_database


@pytest.fixture
def on(shop: Database) -> Database:
    """The demo with the triggers on."""
    assert migrate("automatic", "on", "--yes", "--no-build").exit_code == 0
    return shop


@pytest.fixture
def things(any_database: Database) -> SmallTarget:
    """A small table on each version of the server, with the triggers on."""
    return switched_on(small_target.make(any_database, 20))


def migrate(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def states() -> dict[str, dict[str, Any]]:
    result = migrate("automatic", "status", "--json")
    assert result.exit_code == 0, result.output
    return {state["command"]: state for state in json.loads(result.stdout)}


def switched_on(small: SmallTarget) -> SmallTarget:
    made = automatic.switch_on(small.session, small.database, small.ledger, small.target, performed_by=None)
    assert made
    return small


@contextmanager
def application(database: Database) -> Iterator[App]:
    """The product's own session: the owner of a website, under row level security, with no right in our schema."""
    with psycopg.connect(database.conninfo, autocommit=True) as session:
        owner = session.execute("select user_id from public.websites order by id limit 1").fetchone()
        assert owner is not None
        session.execute("select set_config(%s, %s, false)", [CLAIM, str(owner[0])])
        session.execute("set role authenticated")
        yield session


def insert(session: App, data: Any = None, **columns: Any) -> str:
    """One event of the signed-in user's website; returns its id."""
    given = {"event_type": "purchase", "event_data": Jsonb(PURCHASE if data is None else data), **columns}
    row = session.execute(
        sql.SQL(
            "insert into public.events (id, website_id, {}) "
            "select gen_random_uuid(), min(w.id::text)::uuid, {} from public.websites as w returning id"
        ).format(sql.SQL(", ").join(map(sql.Identifier, given)), sql.SQL(", ").join(sql.Placeholder() for _ in given)),
        list(given.values()),
    ).fetchone()
    assert row is not None
    return str(row[0])


def stored(database: Database, key: str) -> Any:
    return ask(database, "select canonical_event from public.events where id = %s", [key])[0][0]


def product_name(database: Database, key: str) -> Any:
    return stored(database, key)["normalized"].get("template.product_name")


def ask(database: Database, query: Any, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]:
    with connect(database) as session:
        cursor = session.execute(query, parameters)
        return cursor.fetchall() if cursor.description else []


def errors(database: Database) -> list[tuple[Any, ...]]:
    return ask(
        database,
        "select sqlstate, sum(rows_left)::int, count(*)::int from canonical_migration.automatic_errors "
        "group by 1 order by 1",
    )


def put_model(database: Database, value: str, model: str = "canonical_events") -> None:
    """Put another view in the place of the model, with the same columns; `{v}` is what it made before."""
    with connect(database) as session:
        columns = ", ".join(
            value.format(v="m.canonical_event") + " as canonical_event" if name == "canonical_event" else f"m.{name}"
            for (name,) in session.execute(
                "select attname::text from pg_attribute where attrelid = %s::regclass and attnum > 0 order by attnum",
                [f"canonical_migration.{model}"],
            ).fetchall()
        )
        session.execute(
            f"""
            begin;
            alter view canonical_migration.{model} rename to real_model;
            create view canonical_migration.{model} with (security_invoker = true) as
            select {columns} from canonical_migration.real_model as m;
            commit
            """
        )


# ---------- what it does


def test_rows_of_the_application_get_what_the_models_make(on: Database) -> None:
    with application(on) as session:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("select * from canonical_migration.canonical_events")
        keys = [insert(session)]
        keys += [
            str(row[0])
            for row in session.execute(
                "insert into public.events (website_id, event_type, event_data) "
                "select w.id, 'review', jsonb_build_object('n', i) from generate_series(1, 250) as i, "
                "(select id from public.websites order by id limit 1) as w returning id"
            )
        ]
        site = session.execute("select id from public.websites order by id limit 1").fetchone()
        assert site is not None
        session.execute("reset role")  # `copy` takes no part in row level security
        with session.cursor() as cursor, cursor.copy("copy public.events (id, website_id) from stdin") as copy:
            keys.append(str(uuid4()))
            copy.write_row([keys[-1], site[0]])
        session.execute("set role authenticated")
        # Both kinds of trigger fire for one statement.
        for price in ("1", "2"):
            session.execute(
                "insert into public.events (id, website_id, event_data) values (%s, %s, %s) "
                "on conflict (id) do update set event_data = excluded.event_data",
                [keys[0], site[0], Jsonb({**PURCHASE, "price": price})],
            )
    differing = ask(
        on,
        "select count(*), count(*) filter (where e.canonical_event is distinct from m.canonical_event) "
        "from public.events as e inner join canonical_migration.canonical_events as m on m.event_id = e.id "
        "where e.id = any(%s::uuid[])",
        [keys],
    )
    assert differing == [(252, 0)]
    assert stored(on, keys[0])["payload"]["price"] == "2"
    assert errors(on) == []
    assert states()["events"]["state"] == "on"


def test_a_writer_that_brings_its_own_value_is_left_alone(on: Database) -> None:
    own = {"event_id": "mine", "normalized": {}}
    with application(on) as session:
        key = insert(session, canonical_event=Jsonb(own))
        assert stored(on, key) == own
        session.execute("update public.events set event_data = %s where id = %s", [Jsonb({"a": 1}), key])
        assert stored(on, key) == own


def test_a_changed_row_is_made_anew_unless_a_person_edited_it(on: Database) -> None:
    with application(on) as session:
        key, edited = insert(session), insert(session)
        cap = Jsonb({**PURCHASE, "product_name": "Cap"})
        session.execute(
            'update public.events set canonical_event = canonical_event || \'{"note": "by hand"}\' where id = %s',
            [edited],
        )
        session.execute("update public.events set event_data = %s where id = any(%s::uuid[])", [cap, [key, edited]])
        assert product_name(on, key) == "Cap"
        assert (product_name(on, edited), stored(on, edited)["note"]) == ("Hat", "by hand")
        # Emptied: pending again, so filled again.
        session.execute("update public.events set canonical_event = '{}' where id = %s", [edited])
        assert product_name(on, edited) == "Cap"
        session.execute("update public.events set canonical_event = '{\"mine\": 1}' where id = %s", [edited])
    assert errors(on) == []
    # What `--refresh` may rewrite later: the tool's own values, and no others.
    own = ask(
        on,
        "select e.id::text, jsonb_hash_extended(e.canonical_event, 0) = w.written "
        "from canonical_migration.last_written('public', 'events', 'canonical_event') as w "
        "inner join public.events as e on e.id::text = w.row_key order by e.id = %s::uuid desc",
        [key],
    )
    assert own == [(key, True), (edited, False)]


def test_a_counter_is_not_looked_at(on: Database) -> None:
    with application(on) as session:
        key = insert(session)
    # Were the model asked, it would fail.
    put_model(on, "case when true then ({v} -> (1 / 0)) end")
    with application(on) as session:
        session.execute("update public.events set views = views + 1, clicks = 3 where id = %s", [key])
    assert errors(on) == []


@pytest.mark.parametrize("command", ["events", "campaigns"])
def test_models_do_not_read_what_they_say_they_do_not(shop: Database, command: str) -> None:
    target = project.target(shop, command)
    values = {"views": "views + 7", "clicks": "clicks + 7", "updated_at": "updated_at - interval '9 days'"}
    query = sql.SQL("select {}::text, {}::text from {} order by 1").format(
        *(sql.Identifier(name) for name in (target.model_key, target.target_column)),
        sql.Identifier(target.model_schema, target.model),
    )
    with connect(shop) as session:
        session.execute("set session_replication_role = replica")
        before = session.execute(query).fetchall()
        for column in target.unread:
            session.execute(f"update public.{target.table} set {column} = {values[column]}")
        assert session.execute(query).fetchall() == before


def test_campaigns_that_can_be_decided_are_and_the_others_wait(on: Database) -> None:
    decidable, ambiguous = (
        ask(
            on,
            "select r.campaign_id from canonical_migration.campaign_resolutions as r "
            "where r.outcome = %s and r.value_state = 'empty' and r.website_id is not null "
            "and coalesce(r.rule, 'none') = %s and not r.is_decided order by 1 limit 1",
            [outcome, rule],
        )[0][0]
        for outcome, rule in (("resolved", "data_source"), ("ambiguous", "none"))
    )
    copied = (
        "user_id, website_id, name, description, status, campaign_type, data_source, native_config, "
        "integration_settings"
    )
    made = {}
    for which in (decidable, ambiguous):
        with psycopg.connect(on.conninfo) as session:
            owner = session.execute("select user_id from public.campaigns where id = %s", [which]).fetchone()
            assert owner is not None
            session.execute("select set_config(%s, %s, false)", [CLAIM, str(owner[0])])
            session.execute("set role authenticated")
            row = session.execute(
                f"insert into public.campaigns ({copied}) select {copied} from public.campaigns where id = %s "
                "returning id",
                [which],
            ).fetchone()
            assert row is not None
            made[which] = row[0]
    query = "select data_sources from public.campaigns where id = %s"
    expected = ask(
        on, "select data_sources from canonical_migration.campaign_data_sources where campaign_id = %s", [decidable]
    )
    assert ask(on, query, [made[decidable]]) == expected
    assert expected[0][0][0]["provider"]
    assert ask(on, query, [made[ambiguous]]) == [([],)]
    assert errors(on) == []


@pytest.mark.parametrize("key", ["bigint", "text"])
def test_partitions_and_other_keys(any_database: Database, key: str) -> None:
    parts = [("2025-01-01", "2025-07-01"), ("2025-07-01", "2026-01-01")]
    small = switched_on(small_target.make(any_database, 20, key=key, partitions=parts))
    new = {"bigint": ["9001", "9002"], "text": ['it\'s "new"', "x,{}"]}[key]
    with psycopg.connect(any_database.conninfo, autocommit=True) as session:
        # Through the table, and straight into a partition.
        for name, table, day in zip(new, ("things", "things_1"), ("2025-03-01", "2025-08-01"), strict=True):
            session.execute(
                f"insert into public.{table} (id, payload, made_at) values (%s::{key}, '{{\"n\": 1}}', %s)", [name, day]
            )
        for name in new:
            found = session.execute(
                f"select canonical_event from public.things where id = %s::{key}", [name]
            ).fetchone()
            assert found is not None
            assert found[0]["event_id"] == name
        # To another partition, with another payload.
        session.execute(
            f"update public.things set made_at = '2025-09-01', payload = '{{\"n\": 2}}' where id = %s::{key}", [new[0]]
        )
        found = session.execute(f"select canonical_event from public.things where id = %s::{key}", [new[0]]).fetchone()
        assert found is not None
        assert found[0]["payload"] == {"n": 2}
        state = automatic._state(small.session, any_database, small.target)
        assert (state.state, state.errors) == ("on", [])
        session.execute(
            "create table public.later partition of public.things for values from ('2026-01-01') to ('2027-01-01')"
        )
    state = automatic._state(small.session, any_database, small.target)
    assert state.state == "incomplete"
    assert "public.later" in state.problem
    switched_on(small)
    assert automatic._state(small.session, any_database, small.target).state == "on"


# ---------- the application's write never fails


def test_a_model_that_raises_leaves_only_its_row_pending(on: Database) -> None:
    put_model(
        on, "case when m.canonical_event -> 'payload' ? 'bad' then to_jsonb(1 / (length({v}::text) * 0)) else {v} end"
    )
    with application(on) as session:
        good = insert(session)
        bad = insert(session, {"bad": "ann@example.org"})
        keys = session.execute(
            "insert into public.events (website_id, event_data) "
            "select w.id, case when i = 77 then '{\"bad\": 1}' else '{}' end::jsonb from generate_series(1, 100) as i, "
            "(select id from public.websites order by id limit 1) as w returning id"
        ).fetchall()
    assert stored(on, good)
    assert stored(on, bad) == {}
    assert ask(
        on, f"select count(*) from public.events where id = any(%s) and {PENDING}", [[key for (key,) in keys]]
    ) == [(1,)]
    assert errors(on) == [("22012", 2, 2)]
    recorded = states()["events"]["errors"]
    assert recorded[0]["message"] == "division by zero"
    # Mended, and changed by the application: the row is filled.
    ask(on, "drop view canonical_migration.canonical_events; "
            "alter view canonical_migration.real_model rename to canonical_events")  # fmt: skip
    with application(on) as session:
        session.execute("update public.events set event_data = '{}' where id = %s", [bad])
    assert stored(on, bad)


def test_records_are_bounded_and_nobody_waits_for_them(on: Database) -> None:
    ask(on, "drop view canonical_migration.canonical_events cascade")
    with application(on) as first, application(on) as second:
        insert(first)
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
            first.execute("select lastval()")  # the application's own sequences, and no other's
        for session in (first, second):
            session.execute("set lock_timeout = '10s'")
            session.autocommit = False
        began = time.monotonic()
        for _ in range(20):
            insert(first)
            insert(second)
        assert time.monotonic() - began < 8  # a wait for the other's transaction would last for ever
        first.commit()
        second.commit()
        for session in (first, second):
            session.autocommit = True
            for _ in range(20):
                insert(session)
    [(state, rows, records)] = errors(on)
    assert (state, rows) == ("42P01", 81)
    assert records <= 40
    with application(on) as session:
        for _ in range(60):
            insert(session)
    assert errors(on) == [("42P01", 141, records)]
    found = states()["events"]["errors"][0]
    assert "canonical_migration.canonical_events" in found["message"]
    assert len(found["row_keys"]) == 1
    hint = json.loads(migrate("status", "--json").stdout)["next_steps"]
    assert any("migrate automatic status" in step for step in hint)


@pytest.mark.parametrize("milliseconds", [60, 150])
def test_a_short_statement_timeout_is_kept_from_the_application(on: Database, milliseconds: int) -> None:
    put_model(on, "case when pg_sleep(0.4) is not null then {v} end")
    with application(on) as session:
        session.execute("select set_config('statement_timeout', %s, false)", [str(milliseconds)])
        keys = [insert(session) for _ in range(3)]
    assert [stored(on, key) for key in keys] == [{}] * 3
    assert errors(on) == [("57014", 3, 3)]


def test_a_rebuild_of_the_models_blocks_no_write_for_long(on: Database) -> None:
    with psycopg.connect(on.conninfo) as builder, application(on) as session:
        insert(session)
        builder.execute("alter view canonical_migration.stg_events set (security_invoker = true)")
        began = time.monotonic()
        key = insert(session)
        assert time.monotonic() - began < 5
        assert stored(on, key) == {}
    assert errors(on) == [("55P03", 1, 1)]


def test_serializable_transactions_are_left_alone(on: Database) -> None:
    with application(on) as session:
        session.execute("set default_transaction_isolation = 'serializable'")
        key = insert(session)
        session.execute("set default_transaction_isolation = 'repeatable read'")
        other = insert(session)
    assert stored(on, key) == {}
    assert stored(on, other)
    assert errors(on) == []


def test_a_trigger_of_the_product_that_refuses_updates(on: Database) -> None:
    ask(
        on,
        """
        create function public.refuse() returns trigger language plpgsql as
        $$ begin raise exception 'no: %', new.event_data; end $$;
        create trigger refuse before update of canonical_event on public.events
        for each row execute function public.refuse();
        """,
    )
    with application(on) as session:
        key = insert(session)
    assert stored(on, key) == {}
    recorded = states()["events"]["errors"]
    assert [(error["sqlstate"], error["message"]) for error in recorded] == [("P0001", "raised by refuse")]


def test_large_and_deep_payloads(on: Database) -> None:
    deep = "[" * 6000 + "]" * 6000
    with application(on) as session:
        large = insert(session, {"text": "x" * 1_000_000, "list": [{"n": n} for n in range(5_000)]})
        row = session.execute(
            "insert into public.events (website_id, event_data) "
            "select id, %s::jsonb from public.websites order by id limit 1 returning id",
            [deep],
        ).fetchone()
        assert row is not None
        session.execute(
            "update public.events set event_type = 'review' where id = any(%s::uuid[])", [[large, str(row[0])]]
        )
    assert stored(on, large)["payload"]["list"][4_999] == {"n": 4_999}
    filled = ask(on, f"select not {PENDING} from public.events where id = %s", [row[0]])[0][0]
    assert filled or errors(on)


def test_two_sessions_at_once(on: Database) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with application(on) as session:
                for _ in range(30):
                    insert(session)
        except psycopg.Error as error:
            failures.append(error)

    before = ask(on, f"select count(*) from public.events where {PENDING}")
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert ask(on, f"select count(*) from public.events where {PENDING}") == before
    assert errors(on) == []


def test_the_application_writes_while_dbt_builds(on: Database) -> None:
    done = threading.Event()
    failures: list[BaseException] = []
    keys: list[str] = []

    def work() -> None:
        with application(on) as session:
            while not done.is_set():
                try:
                    keys.append(insert(session))
                except psycopg.Error as error:
                    failures.append(error)
                time.sleep(0.01)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        models = ["resolved_events", "canonical_events"]
        no_tests = ["resource_type:test", "resource_type:unit_test"]
        assert project.build(on, models, exclude=no_tests, show=False) == 0
    finally:
        done.set()
        thread.join()
    assert failures == []
    left = ask(on, f"select count(*)::int from public.events where id = any(%s) and {PENDING}", [keys])[0][0]
    assert left == sum(rows for _, rows, _ in errors(on))
    assert {state for state, _, _ in errors(on)} <= {"42P01", "55P03"}
    with application(on) as session:
        assert stored(on, insert(session))
    assert states()["events"]["state"] == "on"


def test_two_writers_of_one_row_leave_what_the_last_one_wrote(on: Database) -> None:
    """A webhook that comes twice: the second waits for the first, and does not see its row in its own snapshot."""
    key = str(uuid4())
    upsert = (
        "insert into public.events (id, website_id, event_data) select %s, min(w.id::text)::uuid, %s "
        "from public.websites as w on conflict (id) do update set event_data = excluded.event_data"
    )
    for cap in ("Cap", "Coat"):
        with application(on) as first, application(on) as second:
            first.autocommit = False
            first.execute(upsert, [key, Jsonb(PURCHASE)])
            other = threading.Thread(
                target=second.execute, args=(upsert, [key, Jsonb({**PURCHASE, "product_name": cap})])
            )
            other.start()
            while not ask(on, "select count(*) from pg_locks where not granted")[0][0]:
                time.sleep(0.01)
            first.commit()
            other.join()
        assert product_name(on, key) == cap
    assert errors(on) == []
    # What is remembered of the tool's own values: one line for each row, while the row is there.
    remembered = "select count(*)::int from canonical_migration.automatic_values"
    assert ask(on, remembered) == [(1,)]
    with connect(on) as session:
        for left in (1, 0):
            Ledger(on.schema).collect_written(session, "public", "events", "canonical_event", "id")
            assert session.execute(remembered).fetchone() == (left,)
            session.execute("delete from public.events where id = %s", [key])


def test_no_error_gets_out_even_when_none_can_be_written_down(on: Database) -> None:
    for harm, mend in (
        (
            "alter schema canonical_migration rename to elsewhere",
            "alter schema elsewhere rename to canonical_migration",
        ),
        (
            "alter function canonical_migration.automatic_failed rename to gone; "
            "alter view canonical_migration.canonical_events rename to gone",
            "alter function canonical_migration.gone rename to automatic_failed; "
            "alter view canonical_migration.gone rename to canonical_events",
        ),
    ):
        ask(on, harm)
        with application(on) as session:
            key = insert(session)
            session.execute("update public.events set event_data = '{}' where id = %s", [key])
        ask(on, mend)
        assert stored(on, key) == {}
    with application(on) as session:
        assert stored(on, insert(session))


def test_triggers_of_the_product_find_what_they_name_without_a_schema(on: Database) -> None:
    ask(
        on,
        """
        create table public.seen (id uuid);
        create function public.see() returns trigger language plpgsql as
        $$ begin insert into seen values (new.id); return new; end $$;
        create trigger see after update on public.events for each row execute function public.see();
        """,
    )
    with application(on) as session:
        key = insert(session)
    assert stored(on, key)
    assert ask(on, "select id::text from public.seen") == [(key,)]


# ---------- together with runs


def test_runs_and_rollbacks_are_left_alone(on: Database) -> None:
    with application(on) as session:
        own = insert(session)
    applied = migrate("events", "--apply", "--yes", "--json", "--no-build", "--batch-size", "100")
    assert applied.exit_code == 0, applied.output
    found = json.loads(applied.stdout)
    assert "once for each batch" not in json.dumps(found["summary"])
    assert found["result"]["other_columns_changed"] == 0
    written = found["result"]["succeeded"]
    assert migrate("verify").exit_code == 0
    done = migrate("rollback", found["run_id"], "--apply", "--yes", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["restored"] == written
    assert "migrate automatic off" in done.stderr
    assert ask(on, f"select count(*)::int from public.events where {PENDING}") == [(written,)]
    assert stored(on, own)
    with application(on) as session:
        # A counter brings nothing back that was rolled back.
        session.execute("update public.events set views = views + 1")
    assert ask(on, f"select count(*)::int from public.events where {PENDING}") == [(written,)]


# ---------- on, off and what is shown


def catalog(database: Database) -> list[tuple[Any, ...]]:
    return ask(
        database,
        "select tgrelid::regclass::text, tgname::text from pg_trigger where not tgisinternal "
        "union all select pronamespace::regnamespace::text, oid::regprocedure::text from pg_proc "
        "where pronamespace in ('public'::regnamespace, 'canonical_migration'::regnamespace) order by 1, 2",
    )


def test_on_twice_and_off_again(shop: Database) -> None:
    before = catalog(shop)
    assert {state["state"] for state in states().values()} == {"off"}
    person = str(uuid4())
    refused = migrate("automatic", "on", "--no-build")
    assert isinstance(refused.exception, UserError)
    assert "--yes" in refused.exception.message
    assert catalog(shop) == before
    first = migrate("automatic", "on", "events", "--yes", "--no-build", "--performed-by", person)
    assert first.exit_code == 0, first.output
    assert "update_events_updated_at" in first.stderr
    assert "returning" in first.stderr
    assert states()["events"]["performed_by"] == person
    assert states()["campaigns"]["state"] == "off"
    made = ask(shop, "select max(oid::bigint) from pg_trigger")
    assert migrate("automatic", "on", "--yes", "--no-build").exit_code == 0
    assert migrate("automatic", "on", "--yes", "--no-build").exit_code == 0
    assert ask(shop, "select switched, count(*) from canonical_migration.automatic_switches group by 1") == [("on", 2)]
    assert {state["state"] for state in states().values()} == {"on"}
    assert ask(
        shop, "select min(oid::bigint) <= %s from pg_trigger where tgname like '%%events_changed'", list(made[0])
    ) == [(True,)]
    put_model(shop, "case when true then ({v} -> (1 / 0)) end")
    with application(shop) as session:
        insert(session)
    assert migrate("automatic", "off", "events").exit_code == 0
    assert (states()["events"]["state"], states()["campaigns"]["state"]) == ("off", "on")
    assert migrate("automatic", "off").exit_code == 0
    assert migrate("automatic", "off").exit_code == 0
    assert catalog(shop) == before
    with application(shop) as session:
        assert stored(shop, insert(session)) == {}
    assert errors(shop) == [("22012", 1, 1)]
    assert states()["events"]["errors"]
    assert states()["events"]["role"]


def test_nobody_else_may_use_what_is_there(on: Database) -> None:
    open_functions = ask(
        on,
        "select p.proname::text from pg_proc as p, unnest(array['anon', 'authenticated', 'service_role']) as r (role) "
        "where p.pronamespace = 'canonical_migration'::regnamespace and p.proname like 'automatic%%' "
        "and has_function_privilege(r.role, p.oid, 'execute')",
    )
    assert open_functions == []
    careless = ask(
        on,
        "select proname::text from pg_proc where pronamespace = 'canonical_migration'::regnamespace "
        "and prosecdef and array_position(proconfig, 'search_path=pg_catalog, pg_temp') is null",
    )
    assert careless == []
    # A temporary table of the application's own that shadows a name is not what the definer's function reads.
    with application(on) as session:
        session.execute("create temp table events (id uuid, canonical_event jsonb)")
        session.execute("set search_path = pg_temp, public")
        session.execute("set timezone = 'Asia/Tokyo'")
        key = insert(session)
    same = "select e.canonical_event = m.canonical_event from public.events as e " \
        "inner join canonical_migration.canonical_events as m on m.event_id = e.id where e.id = %s"  # fmt: skip
    assert ask(on, same, [key]) == [(True,)]


def test_what_is_broken_or_outdated_is_said_and_mended(on: Database) -> None:
    for harm in (
        "alter table public.events disable trigger canonical_migration_events_changed",
        "drop trigger canonical_migration_events_inserted on public.events",
        "comment on function canonical_migration.automatic_events_changed() is 'older'",
    ):
        ask(on, harm)
        assert states()["events"]["state"] == "incomplete"
        assert any(
            "migrate automatic on" in step for step in json.loads(migrate("status", "--json").stdout)["next_steps"]
        )
        assert migrate("automatic", "on", "--yes", "--no-build").exit_code == 0
        assert states()["events"]["state"] == "on"
    with application(on) as session:
        assert stored(on, insert(session))
    ask(
        on,
        "create constraint trigger later after update on public.events deferrable for each row "
        "execute function public.update_updated_at_column()",
    )
    assert states()["events"]["state"] == "incomplete"
    assert "(later)" in states()["events"]["problem"]


def test_teardown_takes_the_triggers_along(on: Database) -> None:
    said = migrate("teardown", "--yes", "--json")
    assert said.exit_code == 0, said.output
    assert len(json.loads(said.stdout)["removed"]["triggers"]) == 4
    with application(on) as session:
        assert stored(on, insert(session)) == {}
    assert errors(on) == []
    assert states()["events"]["state"] == "off"


def test_a_locked_table_is_not_waited_for_long(shop: Database) -> None:
    with psycopg.connect(shop.conninfo) as holder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(automatic, "LOCK_TRIES", 2)
        patch.setattr(automatic, "LOCK_TIMEOUT", "100ms")
        holder.execute(
            "update public.events set views = views where id = (select min(id::text)::uuid from public.events)"
        )
        result = migrate("automatic", "on", "events", "--yes", "--no-build")
    assert isinstance(result.exception, UserError)
    assert "locked" in result.exception.message
    assert states()["events"]["state"] == "off"


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (
            "create constraint trigger later after update on public.events deferrable initially deferred "
            "for each row execute function public.update_updated_at_column()",
            "later",
        ),
        ("alter table public.events drop constraint events_pkey cascade", "index on id"),
    ],
)
def test_what_would_break_the_promise_is_refused(shop: Database, harm: str, words: str) -> None:
    ask(shop, harm)
    result = migrate("automatic", "on", "events", "--yes", "--no-build")
    assert isinstance(result.exception, UserError), result.output
    assert words in result.exception.message


def test_a_role_that_sees_or_owns_too_little_is_refused(shop: Database) -> None:
    role = f"narrow_{uuid4().hex[:8]}"
    with connect(shop) as session:
        session.execute(f"create role {role}")
        session.execute(f"grant all on schema canonical_migration, public to {role}")
        session.execute(f"grant all on all tables in schema canonical_migration, public to {role}")
    narrow = replace(shop, role=role)
    try:
        with connect(narrow) as session, pytest.raises(UserError, match="bypassrls"):
            automatic.check(session, narrow, project.target(shop, "events"))
        with connect(shop) as session:
            session.execute(f"alter role {role} bypassrls")
        with connect(narrow) as session, pytest.raises(UserError, match="owner"):
            automatic.check(session, narrow, project.target(shop, "events"))
    finally:
        with connect(shop) as session:
            session.execute(f"drop owned by {role}")
            session.execute(f"drop role {role}")


# ---------- on each version of the server


def test_the_rule_on_every_version(things: SmallTarget) -> None:
    with psycopg.connect(things.database.conninfo, autocommit=True) as session:

        def value(key: str) -> Any:
            row = session.execute("select canonical_event from public.things where id = %s", [key]).fetchone()
            assert row is not None
            return row[0]

        key = str(uuid4())
        session.execute("insert into public.things (id, payload, made_at) values (%s, '{\"n\": 1}', now())", [key])
        assert value(key)["payload"] == {"n": 1}
        session.execute("update public.things set payload = '{\"n\": 2}' where id = %s", [key])
        assert value(key)["payload"] == {"n": 2}
        with session.transaction():
            session.execute("update public.things set payload = '{\"n\": 3}' where id = %s", [key])
            session.execute("update public.things set payload = '{\"n\": 4}' where id = %s", [key])
        assert value(key)["payload"] == {"n": 4}
        session.execute("update public.things set canonical_event = '{\"mine\": 1}' where id = %s", [key])
        session.execute("update public.things set payload = '{\"n\": 5}' where id = %s", [key])
        assert value(key) == {"mine": 1}
        # A key that changes is a new row's.
        session.execute("set canonical_migration.automatic = off")
        session.execute("update public.things set canonical_event = '{}' where id = %s", [key])
        session.execute("reset canonical_migration.automatic")
        key, old = str(uuid4()), key
        session.execute("update public.things set id = %s where id = %s", [key, old])
        assert value(key)["event_id"] == key
        session.execute("drop view canonical_migration.canonical_things")
        session.execute("insert into public.things (id, payload, made_at) values (gen_random_uuid(), '{}', now())")
        session.execute("update public.things set payload = '{\"n\": 6}'")
        session.execute("set canonical_migration.automatic = off")
        session.execute("insert into public.things (id, payload, made_at) values (gen_random_uuid(), '{}', now())")
        recorded = session.execute(
            "select sqlstate, rows_left::int from canonical_migration.automatic_errors order by last_at"
        ).fetchall()
    assert [state for state, _ in recorded] == ["42P01", "42P01"]
    assert recorded[0][1] == 1


def test_the_model_is_asked_by_the_index(things: SmallTarget) -> None:
    """However large the table is: a plan that scanned it would read all of its pages."""
    things.session.execute(
        "insert into public.things (id, payload, made_at) "
        "select gen_random_uuid(), jsonb_build_object('t', repeat(md5(i::text), 20)), now() "
        "from generate_series(1, 20000) as i"
    )
    with psycopg.connect(things.database.conninfo, autocommit=True) as session:
        statement = "insert into public.things (id, payload, made_at) values (gen_random_uuid(), '{}', now())"
        session.execute(statement)
        plan = session.execute(f"explain (analyze, buffers, format json) {statement}").fetchone()
    assert plan is not None
    blocks = session_blocks(plan[0][0])
    assert 0 < blocks < 200


def session_blocks(plan: dict[str, Any]) -> int:
    """Pages that a statement looked at, its triggers included."""
    node = plan["Plan"]
    return int(node["Shared Hit Blocks"]) + int(node["Shared Read Blocks"])
