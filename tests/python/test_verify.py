"""Verify: what a run proved about the other columns, and what the rows say now."""

import threading
from contextlib import suppress
from dataclasses import replace

import psycopg
import pytest
import small_target
from psycopg import sql
from psycopg.types.json import Jsonb
from small_target import SmallTarget
from typer.testing import CliRunner

from scripts import fingerprint, undo
from scripts.cli import app
from scripts.connection import Session, connect
from scripts.errors import UserError
from scripts.fingerprint import Column
from scripts.interrupts import StopRequest
from scripts.settings import Database
from scripts.verify import Proof, verify


def proof_of(things: SmallTarget, run_id: object) -> Proof:
    return verify(things.session, things.ledger, things.ledger.find_run(things.session, str(run_id)))


def test_a_run_is_proven(database: Database) -> None:
    things = small_target.make(database, 50)
    proof = proof_of(things, things.run(batch_size=20))
    assert proof.holds
    assert (proof.batches, proof.logged, proof.undo_entries, proof.other_columns_changed) == (3, 50, 50, 0)
    assert (proof.rows.same, proof.rows.target_as_written, proof.rows.entries) == (50, 50, 50)
    assert proof.excepted == {"updated_at": "trigger touch"}
    assert set(proof.columns) == {"id", "website_id", "payload", "views", "made_at"}


def test_what_the_application_changed_since_is_told_and_is_no_failure(database: Database) -> None:
    things = small_target.make(database, 20)
    run_id = things.run()
    keys = sorted(things.stored())
    things.session.execute("update public.things set views = 5 where id = %s", [keys[0]])
    things.session.execute("delete from public.things where id = %s", [keys[1]])
    things.session.execute("update public.things set canonical_event = '{}' where id = %s", [keys[2]])
    proof = proof_of(things, run_id)
    assert proof.holds
    assert (proof.rows.changed, proof.rows.missing, proof.rows.same) == ([keys[0]], [keys[1]], 18)
    assert proof.rows.target_as_written == 18


def test_a_run_beside_a_writing_application_is_proven(database: Database) -> None:
    things = small_target.make(database, 500)
    done = threading.Event()

    def application() -> None:
        with psycopg.connect(things.database.conninfo, autocommit=True) as session:
            while not done.is_set():
                with suppress(psycopg.errors.DeadlockDetected):  # as any two that write many rows
                    session.execute(
                        "update public.things set views = views + 1 where (payload ->> 'number')::int % 9 = 1"
                    )

    writer = threading.Thread(target=application)
    writer.start()
    try:
        run_id = things.run(batch_size=25)
        during = proof_of(things, run_id)
    finally:
        done.set()
        writer.join()
    assert during.holds
    after = proof_of(things, run_id)
    assert after.holds
    # Rows that the application locks without pause may have to wait for the next run.
    left = 500 - after.logged
    assert left <= 56
    if left:
        assert proof_of(things, things.run()).logged == left
    assert len(after.rows.changed) <= 56  # only rows that the application writes
    assert after.rows.same + len(after.rows.changed) == after.logged
    assert not any(text in (None, "{}") for _, text in things.stored().values())


def test_a_trigger_that_changes_another_column_is_found(database: Database) -> None:
    things = small_target.make(database, 10)
    things.session.execute(
        """
        create function public.hidden() returns trigger language plpgsql as
        $$ begin return jsonb_populate_record(new, '{"views": 77}'); end $$;
        create trigger hidden before update on public.things for each row execute function public.hidden();
        """
    )
    proof = proof_of(things, things.run())
    assert not proof.holds
    assert proof.other_columns_changed == 10


def test_a_rollback_is_proven_too(database: Database) -> None:
    things = small_target.make(database, 30)
    run_id = things.run(batch_size=10)
    planned = undo.plan(things.session, things.ledger, things.ledger.find_run(things.session, str(run_id)))
    own, _, _ = undo.rollback(things.database, things.ledger, planned, StopRequest())
    proof = proof_of(things, own)
    assert proof.holds
    assert (proof.batches, proof.logged, proof.rows.target_restored, proof.rows.same) == (3, 30, 30, 30)
    assert proof_of(things, run_id).rows.target_restored == 30


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("delete from canonical_migration.migration_undo where cardinality(row_ids) = 5", "no undo row"),
        ("delete from public.migration_log where batch_number = 2", "no row in migration_log"),
        ("update public.migration_log set records_succeeded = 9 where batch_number = 1", "Batch 1 counts"),
        ("update public.migration_log set details = null where batch_number = 1", "Batch 1 recorded no comparison"),
        ("update public.migration_log set completed_at = null where batch_number = 1", "never closed"),
    ],
)
def test_what_does_not_add_up_is_a_problem(database: Database, harm: str, said: str) -> None:
    things = small_target.make(database, 15)
    run_id = things.run(batch_size=10)
    things.session.execute(harm)
    proof = proof_of(things, run_id)
    assert not proof.holds
    assert any(said in problem for problem in proof.problems)


def test_added_dropped_and_retyped_columns(database: Database) -> None:
    things = small_target.make(database, 10)
    run_id = things.run()
    things.session.execute("alter table public.things add extra text default 'x'")
    assert proof_of(things, run_id).rows.same == 10
    things.session.execute("alter table public.things alter views type text")
    proof = proof_of(things, run_id)
    assert proof.holds
    assert (proof.rows.unknown, proof.rows.same) == (10, 0)
    assert any("another type: views" in note for note in proof.notes)
    things.session.execute("alter table public.things drop views")
    assert any("no longer there: views" in note for note in proof_of(things, run_id).notes)


def test_a_run_that_stored_jsonb_in_the_earlier_form_is_still_proven(database: Database) -> None:
    things = small_target.make(database, 10)
    run_id = things.run()
    run = things.ledger.find_run(things.session, str(run_id))
    columns = [replace(Column.from_json(one), form="plain") for one in run.settings["fingerprint"]]
    assert any(column.type == "jsonb" for column in columns)
    things.session.execute(
        sql.SQL(
            """
            update canonical_migration.migration_undo as u
            set fingerprints = (
                select array_agg({} order by k.place)
                from unnest(u.row_ids) with ordinality as k (id, place)
                inner join public.things as t on t.id = k.id
            )
            """
        ).format(fingerprint.fingerprint_sql(columns, "t"))
    )
    assert proof_of(things, run_id).rows.same == 0
    things.session.execute(
        "update canonical_migration.migration_runs set settings = settings || jsonb_build_object('fingerprint', %s)",
        [Jsonb([column.as_json() for column in columns])],
    )
    proof = proof_of(things, run_id)
    assert proof.holds
    assert proof.rows.same == 10


def test_partitions_and_other_keys(make_database: object) -> None:
    halves = [("2025-01-01", "2025-07-01"), ("2025-07-01", "2026-07-01")]
    things = small_target.make(make_database(), 365, key="bigint", partitions=halves)  # type: ignore[operator]
    run_id = things.run(batch_size=50)
    things.session.execute("update public.things set made_at = made_at + interval '6 months' where id = 7")
    proof = proof_of(things, run_id)
    assert proof.holds
    assert (proof.rows.same, proof.rows.changed, proof.rows.missing) == (364, ["7"], [])


def test_the_command(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database.conninfo)
    things = small_target.make(database, 10)
    nothing = CliRunner().invoke(app, ["verify"])
    assert isinstance(nothing.exception, UserError)
    run_id = things.run()
    good = CliRunner().invoke(app, ["verify"])
    assert (good.exit_code, "Proven" in good.stdout, str(run_id) in good.stdout) == (0, True, True)
    things.session.execute("delete from canonical_migration.migration_undo")
    bad = CliRunner().invoke(app, ["verify", str(run_id)[:8], "--json"])
    assert bad.exit_code == 1
    assert '"holds": false' in bad.stdout


# ---------- the fingerprint

COLUMNS = {
    "a_text": ("text", "'x'", "'X'"),
    "a_varchar": ("varchar(5)", "'x'", "null"),
    "an_integer": ("integer", "1", "2"),
    "a_numeric": ("numeric", "1.0", "1.00"),
    "a_float": ("float8", "0", "'-0'"),
    "a_json": ("json", "'{\"a\":1}'", "'{\"a\": 1}'"),
    "a_jsonb": ("jsonb", "'{\"a\": 1}'", "'{\"a\": null}'"),
    "a_jsonb_null": ("jsonb", "'null'", "null"),
    "a_point": ("point", "'(1,2)'", "'(1,3)'"),
    "an_enum": ("public.mood", "'good'", "'bad'"),
    "enums": ("public.mood[]", "'{good}'", "'{bad}'"),
    "jsons": ("json[]", "array['1'::json]", "array['2'::json]"),
    "texts": ("text[]", "'{a,b}'", "'{b,a}'"),
    "a_domain": ("public.document", "'1'", "'2'"),
    "a_composite": ("public.pair", "row(1, '{}')", "row(1, '[]')"),
    "a_range": ("int4range", "'[1,3)'", "'[1,4)'"),
    "a_time": ("timestamptz", "'2025-01-01 00:00Z'", "'infinity'"),
    "an_interval": ("interval", "'1 day'", "'24 hours'"),
    "a_vector": ("tsvector", "'a'", "'b'"),
    "bits": ("bit(3)", "'101'", "'100'"),
    "money": ("money", "1", "2"),
    "bytes": ("bytea", "'\\x00'", "'\\x01'"),
    "an_address": ("inet", "'10.0.0.1'", "'10.0.0.2'"),
    "without_case": ("text collate public.without_case", "'x'", "'X'"),
}


@pytest.fixture
def wide(database: Database) -> Session:
    """A table with a column of every awkward type."""
    session = connect(database)
    session.execute(
        """
        create type public.mood as enum ('good', 'bad');
        create type public.pair as (a integer, b json);
        create domain public.document as json;
        """
    )
    try:
        session.execute(
            "create collation public.without_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
        )
    except psycopg.errors.FeatureNotSupported:  # a server without ICU has no such collations either
        session.execute('create collation public.without_case from "C"')
    body = ", ".join(f"{name} {kind} default {value}" for name, (kind, value, _) in COLUMNS.items())
    session.execute(
        f"create table public.wide ({body}, twice integer generated always as (an_integer * 2) stored, target jsonb)"
    )
    session.execute("insert into public.wide default values")
    return session


def hashed(session: Session) -> int:
    columns = fingerprint.fingerprint_columns(session, "public", "wide", "target")
    assert {column.name for column in columns} == set(COLUMNS)  # neither the target nor what is generated
    row = session.execute(
        sql.SQL("select {} from public.wide as w").format(fingerprint.fingerprint_sql(columns, "w"))
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_every_column_counts_whatever_its_type(wide: Session) -> None:
    before = hashed(wide)
    assert hashed(wide) == before
    wide.execute("update public.wide set target = '{\"a\": 1}'")
    assert hashed(wide) == before
    for name, (_, value, other) in COLUMNS.items():
        wide.execute(f"update public.wide set {name} = {other}")
        assert hashed(wide) != before, name
        wide.execute(f"update public.wide set {name} = {value}")
        assert hashed(wide) == before, name


def test_the_order_of_columns_does_not_count(wide: Session) -> None:
    before = hashed(wide)
    wide.execute("alter table public.wide rename a_text to gone; alter table public.wide add a_text text default 'x'")
    wide.execute("alter table public.wide drop gone")
    assert hashed(wide) == before


def test_columns_that_triggers_keep(wide: Session) -> None:
    wide.execute(
        """
        create function public.keep() returns trigger language plpgsql as $body$
        begin
            -- new.a_json := 'a comment does not count';
            if new.an_integer = 3 then new.a_text := 'x'; end if;
            select 'b' into new.a_varchar;
            new."money" = 3;
            return new;
        end $body$;
        create trigger keep before insert or update on public.wide for each row execute function public.keep();
        create trigger off before update on public.wide for each row execute function public.keep();
        alter table public.wide disable trigger off;
        """
    )
    assert fingerprint.kept_by_triggers(wide, "public", "wide") == dict.fromkeys(
        ("a_text", "a_varchar", "money"), "keep"
    )
