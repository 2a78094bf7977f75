"""The write-back engine: what a run writes, logs and leaves alone."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import sql
from writeback_world import (
    MODEL_SCHEMA,
    Notes,
    World,
    apply,
    check_books,
    create,
    insert,
    key,
    opened,
    pending,
    query,
    table,
)

from scripts import batches, writeback
from scripts.batches import END, START
from scripts.connection import connect
from scripts.errors import RunInProgress
from scripts.migration import RunFailedError
from scripts.settings import Database

PLAIN = World()


def log(database: Database, columns: str, world: World = PLAIN) -> list[tuple[Any, ...]]:
    return query(
        database, f"select {columns} from {world.schema}.migration_log where kind = 'apply' order by batch_number"
    )


# ---------- what is written


@pytest.mark.parametrize(
    "world",
    [
        PLAIN,
        World(key_type="bigint"),
        World(key_type="text"),
        World(partitioned=True),
        World(partitioned=True, key_type="text"),
        World(complete=False),
        World(complete=False, partitioned=True, key_type="bigint"),
    ],
    ids=lambda world: (
        f"{world.key_type} {'model' if not world.complete else ''} {'parts' if world.partitioned else ''}"
    ),
)
def test_every_pending_row_gets_its_models_value(database: Database, world: World) -> None:
    create(database, world, 777)
    before = query(database, f'select {key(world)}::text, "Canonical" is null, "Canonical" from {table(world)}')
    others = f"select {key(world)}, site, kind, body, seen, price::text, note::text, at from {table(world)} order by 1"
    untouched = query(database, others)

    result = apply(database, world)

    assert (result.status, result.tally.succeeded, result.tally.failed, result.pending_left) == ("done", 777, 0, 0)
    assert pending(database, world) == 0
    assert result.tally.other_columns_changed == 0
    check_books(database, world)
    assert query(database, others) == untouched
    # SQL NULL, JSON null and {} are told apart in what undo keeps.
    kept = query(
        database,
        f"""
        select coalesce(u.row_ids[n]::text, u.row_keys[n]), u.previous[n] is null, u.previous[n]
        from {MODEL_SCHEMA}.migration_undo as u cross join lateral generate_subscripts(u.written, 1) as n
        """,
    )
    assert Counter(map(str, kept)) == Counter(map(str, before))
    assert sum(result.tally.groups.values()) == 777
    assert set(result.tally.groups) == {f"kind {n}" for n in range(4)}


def test_batches_have_exactly_the_size_asked_for(database: Database) -> None:
    create(database, PLAIN, 1050)
    apply(database, PLAIN, batch_size=100)
    assert [row[0] for row in log(database, "records_succeeded")] == [100] * 10 + [50]
    assert [row[0] for row in log(database, "batch_number")] == list(range(1, 12))


def test_limit_is_exact_and_the_next_run_goes_on(database: Database) -> None:
    create(database, PLAIN, 500)
    assert apply(database, PLAIN, batch_size=70, limit=123).tally.succeeded == 123
    assert pending(database, PLAIN) == 377
    assert apply(database, PLAIN).tally.succeeded == 377
    check_books(database, PLAIN)


def test_a_second_run_finds_nothing(database: Database) -> None:
    create(database, PLAIN, 50)
    apply(database, PLAIN)
    rows = query(database, f"select xmin::text from {table(PLAIN)}")
    result = apply(database, PLAIN)
    assert result.tally.succeeded == result.tally.batches == 0
    assert query(database, f"select xmin::text from {table(PLAIN)}") == rows


def test_each_partition_is_written_by_itself(database: Database) -> None:
    world = World(partitioned=True)
    create(database, world, 600)
    apply(database, world)
    leaves = query(database, f"select distinct leaf::regclass::text from {MODEL_SCHEMA}.migration_undo order by 1")
    assert leaves == [("shop.feb_a",), ("shop.feb_b",), ("shop.jan",), ("shop.others",)]
    mixed = query(
        database,
        f"""
        select count(*) from {MODEL_SCHEMA}.migration_undo as u cross join lateral unnest(u.row_ids) as r (id)
        inner join {table(world)} as t on t.{key(world)} = r.id where t.tableoid <> u.leaf
        """,
    )
    assert mixed == [(0,)]


@pytest.mark.parametrize(
    "value",
    ["null", "'{}'"],
)
def test_a_model_without_a_value_for_a_row_does_not_keep_the_run_going(database: Database, value: str) -> None:
    world = World(value=f"case when (e.body ->> 'n')::int % 5 > 0 then e.body else {value}::jsonb end")
    create(database, world, 200)
    result = apply(database, world, batch_size=30)
    # An empty value is written once where SQL NULL or JSON null was, and stays pending.
    assert result.pending_left == 40
    assert result.tally.succeeded <= 200
    assert result.tally.passes <= 3


@pytest.mark.parametrize("window", [1, 3, 1_000], ids=lambda pages: f"windows of {pages} pages")
def test_bounds_looked_up_ahead_are_those_found_one_by_one(
    database: Database, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    monkeypatch.setattr(batches, "TABLE_WINDOW_PAGES", window)
    create(database, PLAIN.spread, 500)
    apply(database, PLAIN, limit=130)
    with opened(database, PLAIN) as writing:
        leaf = writing.preflight.plan.leaves[0]

        def spans(sizes: Sequence[int], ahead: int) -> list[batches.Span]:
            walk = batches.walk(writing.session, PLAIN.target, leaf, ahead=ahead)
            found, after = [], START
            for rows in sizes:
                if (span := walk.next(after, rows)) is None:
                    break
                found.append(span)
                after = span.upto
            return found

        for sizes in ([7] * 100, [40] * 20, [7, 7, 90, 7, 3] * 20):
            expected = spans(sizes, 1)
            assert sum(span.rows for span in expected) == 370
            # All full, whatever lies between windows, but for the last one.
            assert [span.rows for span in expected[:-1]] == sizes[: len(expected) - 1]
            assert spans(sizes, 8) == expected


def test_rows_that_the_model_leaves_to_a_person_stay(database: Database) -> None:
    world = World(complete=False, where="(e.body ->> 'n')::int % 10 = 0")
    create(database, world, 300)
    result = apply(database, world, batch_size=7)
    assert (result.tally.succeeded, result.pending_left) == (30, 270)
    assert [row[0] for row in log(database, "records_succeeded")] == [7, 7, 7, 7, 2]


# ---------- plans


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for inner in plan.get("Plans", []) for node in _nodes(inner))]


def test_rows_that_failed_count_for_no_bounds(database: Database) -> None:
    create(database, PLAIN.spread, 30)
    with opened(database, PLAIN) as writing:
        leaf = writing.preflight.plan.leaves[0]
        every = batches.walk(writing.session, PLAIN.target, leaf)
        keys = every.keys(batches.Span(leaf, START, END, 30))
        walk = batches.walk(writing.session, PLAIN.target, leaf, keys[:10])
        span = walk.next(START, 30)
        assert span is not None
        assert span.rows == 20
        assert sorted(walk.keys(span)) == sorted(keys[10:])


@pytest.mark.parametrize("rows", [40, 20_000])
@pytest.mark.parametrize("done", [False, True], ids=["all pending", "nearly done"])
def test_plans_read_the_range_and_nothing_else(database: Database, rows: int, done: bool) -> None:
    index = f'create index on {table(PLAIN)} (site) where "Canonical" is null or "Canonical" = \'{{}}\''
    create(database, PLAIN, rows)
    with psycopg.connect(database.conninfo, autocommit=True) as session:
        session.execute(index)
    if done:
        apply(database, PLAIN, limit=rows - 5)
        with psycopg.connect(database.conninfo, autocommit=True) as session:
            session.execute(sql.SQL("vacuum analyze {}").format(sql.Identifier(PLAIN.schema, PLAIN.table)))
    with opened(database, PLAIN) as writing:
        session, plan = writing.session, writing.preflight.plan
        leaf = plan.leaves[0]
        walk = batches.TableWalk(session, PLAIN.target, leaf)
        bounds = batches.scan(
            session, sql.SQL("explain (format json) {}").format(walk.query(START, END, 1000, 0, 8000))
        )[0][0][0]["Plan"]  # fmt: skip
        scans = [node for node in _nodes(bounds) if "Relation Name" in node]
        assert [(node["Node Type"], node["Relation Name"]) for node in scans] == [("Tid Range Scan", PLAIN.table)]

        session.execute(
            sql.SQL("prepare batch (tid, tid, bigint, uuid, uuid, integer, uuid) as {}").format(plan.statement(leaf))
        )
        found = session.execute(
            "explain (format json) execute batch ('(0,0)', '(9,0)', 100, null, null, 1, null)"
        ).fetchone()
        assert found is not None
        scans = [node for node in _nodes(found[0][0]["Plan"]) if node.get("Relation Name") == PLAIN.table]
        reads = Counter(node["Node Type"] for node in scans if node["Node Type"] != "ModifyTable")
        # The model by the range; the row to write, and its state before where the server does not tell it, by their
        # exact place.
        assert reads == {"Tid Range Scan": 1, "Tid Scan": 1 if plan.returns_old else 2}


# ---------- rows that cannot be written

BLOCK = """
create function shop.block() returns trigger language plpgsql as $$
begin
    if (new.body ->> 'n')::int % 50 = 7 then
        raise exception 'customer % may not be changed', new.body ->> 'name' using errcode = '{code}';
    end if;
    return new;
end $$;
create trigger block before update on shop."Order ""events" for each row execute function shop.block();
"""


@pytest.mark.parametrize("code", ["P0001", "23514", "42501", "45000", "PT403"])
def test_bad_rows_are_found_logged_and_passed_over(database: Database, code: str) -> None:
    world = replace(PLAIN, extra=[BLOCK.format(code=code)])
    create(database, world, 400)
    notes = Notes()
    result = apply(database, world, batch_size=100, notes=notes)
    assert (result.tally.succeeded, result.tally.failed, result.pending_left) == (392, 8, 8)
    check_books(database, world)
    failures = [entry for (details,) in log(database, "error_details") if details for entry in details]
    bad = query(database, f"select {key(world)}::text from {table(world)} where (body ->> 'n')::int % 50 = 7")
    assert sorted(entry["id"] for entry in failures) == sorted(row[0] for row in bad)
    assert all(set(entry) == {"id", "error"} for entry in failures)
    assert all(entry["error"].startswith(f"{code}: ") for entry in failures)
    assert "Ann" not in json.dumps(failures) + json.dumps(notes.notices)
    if code == "P0001":
        assert failures[0]["error"] == "P0001: customer … may not be changed"
    processed, succeeded, failed = map(
        sum, zip(*log(database, "records_processed, records_succeeded, records_failed"), strict=True)
    )
    assert (processed, succeeded, failed) == (400, 392, 8)
    numbers = [row[0] for row in log(database, "batch_number")]
    assert numbers == list(range(1, len(numbers) + 1)), "a batch that wrote nothing keeps no number"


def test_a_model_that_raises_for_a_row(database: Database) -> None:
    world = World(value="jsonb_build_object('x', 1 / ((e.body ->> 'n')::int % 100))")
    create(database, world, 250)
    result = apply(database, world, batch_size=60)
    assert (result.tally.succeeded, result.tally.failed) == (248, 2)
    check_books(database, world)
    assert apply(database, world).tally.failed == 2  # the next run tries them again


def test_a_model_that_raises_for_a_row_that_is_left_to_the_model(database: Database) -> None:
    world = World(complete=False, value="jsonb_build_object('x', 1 / ((e.body ->> 'n')::int % 100))")
    create(database, world, 250)
    result = apply(database, world, batch_size=60)
    assert (result.tally.succeeded, result.tally.failed) == (248, 2)
    check_books(database, world)


def test_when_everything_fails_the_run_stops(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.worker.FAILURES_IN_A_ROW", 20)
    world = World(value="jsonb_build_object('x', 1 / ((e.body ->> 'n')::int * 0))")
    create(database, world, 200)
    with pytest.raises(RunFailedError, match=r"20 rows failed one after the other, the last with 22012") as caught:
        apply(database, world)
    assert caught.value.exit_code == 1
    assert query(database, f"select status from {MODEL_SCHEMA}.migration_runs") == [("failed",)]
    assert sum(row[0] for row in log(database, "records_failed")) == 20


@pytest.mark.parametrize(
    "skip", ["return null;", 'new."Canonical" := old."Canonical";'], ids=["the row is skipped", "the value is put back"]
)
def test_a_trigger_that_lets_no_value_in_does_not_keep_the_run_going(database: Database, skip: str) -> None:
    trigger = f"""
    create function shop.skip() returns trigger language plpgsql as $$ begin
        if (new.body ->> 'n')::int % 4 = 0 then {skip} end if; return new;
    end $$;
    create trigger skip before update on shop."Order ""events" for each row execute function shop.skip();
    """
    world = replace(PLAIN, extra=[trigger])
    create(database, world, 200)
    result = apply(database, world, batch_size=30)
    assert (result.tally.succeeded, result.pending_left) == (150, 50)
    assert result.tally.passes <= 4
    check_books(database, world)


def test_a_row_that_fails_once_it_is_locked_is_recorded_too(database: Database) -> None:
    """It is passed over three times, so the run takes its lock first; then its update fails."""
    trigger = """
    create sequence shop.tries;
    create function shop.late() returns trigger language plpgsql as $$ begin
        if (new.body ->> 'n')::int = 7 and nextval('shop.tries') < 4 then return null; end if;
        if (new.body ->> 'n')::int = 7 then raise exception 'no'; end if;
        return new;
    end $$;
    create trigger late before update on shop."Order ""events" for each row execute function shop.late();
    """
    world = replace(PLAIN, extra=[trigger])
    create(database, world, 60)
    result = apply(database, world, batch_size=30)
    assert (result.tally.succeeded, result.tally.failed, result.pending_left) == (59, 1, 1)
    assert sum(row[0] for row in log(database, "records_failed")) == 1
    check_books(database, world)


def test_a_partition_that_comes_during_the_run_is_written_too(database: Database) -> None:
    world = World(partitioned=True)
    create(database, world, 300)

    class Late(Notes):
        def advance(self, succeeded: int, failed: int) -> None:
            if not self.advances:
                with psycopg.connect(database.conninfo, autocommit=True) as session:
                    session.execute(
                        f"""
                        create table shop.july partition of {table(world)}
                        for values from ('2025-07-01') to ('2025-08-01');
                        insert into {table(world)} ({key(world)}, kind, body, at)
                        select gen_random_uuid(), 'kind 1', jsonb_build_object('n', i), '2025-07-05'
                        from generate_series(1, 20) as i;
                        """.encode()
                    )
            super().advance(succeeded, failed)

    result = apply(database, world, notes=Late())
    assert (result.tally.succeeded, result.pending_left, pending(database, world)) == (320, 0, 0)
    check_books(database, world)


# ---------- nothing else changes


def _keep(body: str) -> list[str]:
    return [
        f"create function shop.keep() returns trigger language plpgsql as $$ begin {body} return new; end $$",
        'create trigger keep before update on shop."Order ""events" for each row execute function shop.keep()',
    ]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("new.at := '2025-01-01';", "trigger keep"),
        ("if new.seen = 1 then null; end if; new.at = new.at + interval '1 s';", "trigger keep"),
        ("""new := jsonb_populate_record(new, '{"at": "2025-01-01"}');""", "found by a trial update"),
    ],
)
def test_columns_that_triggers_keep_are_named_and_excepted(database: Database, body: str, why: str) -> None:
    world = replace(PLAIN, extra=_keep(body))
    create(database, world, 30)
    notes = Notes()
    with opened(database, world, notes=notes) as writing:
        result = writing.apply(writeback.Options(10), notes)
        assert writing.preflight.excepted == {"at": why}
    assert (result.tally.succeeded, result.tally.other_columns_changed) == (30, 0)


@pytest.mark.parametrize(
    "other", ['{"price": 1.1000}', '{"seen": null}', '{"at": "infinity"}', '{"kind": "x "}', '{"note": [ ]}']
)
def test_a_column_that_changes_behind_the_runs_back_is_noticed(any_database: Database, other: str) -> None:
    database = any_database
    body = f"if (new.body ->> 'n')::int > 20 then new := jsonb_populate_record(new, '{other}'); end if;"
    world = replace(PLAIN, extra=_keep(body))
    create(database, world, 30)
    result = apply(database, world)
    assert (result.tally.succeeded, result.tally.other_columns_changed) == (30, 10)
    assert log(database, "(details ->> 'other_columns_changed')::int") == [(10,)]


@pytest.mark.parametrize("large", ["0", "9"], ids=["kept", "changed"])
def test_a_large_value_that_is_stored_out_of_line_is_compared_too(database: Database, large: str) -> None:
    fill = f"""update {table(PLAIN)} set note = (
        select json_build_object('x', 0, 'y', string_agg(md5(i::text), '')) from generate_series(1, 300) as i
    )"""
    note = f"jsonb_set(new.note::jsonb, '{{x}}', '{large}')"
    body = f"new := jsonb_populate_record(new, jsonb_build_object('note', {note}));"
    # The same content again is no change, whatever its place; the key order of a jsonb object is its own.
    same = f"update {table(PLAIN)} set note = note::jsonb::json"
    world = replace(PLAIN, extra=[fill, same, *_keep(f"if (new.body ->> 'n')::int > 20 then {body} end if;")])
    create(database, world, 30)
    assert query(database, f"select count(*) from {table(world)} where pg_column_size(note) < 3000") == [(0,)]
    assert apply(database, world).tally.other_columns_changed == (10 if large == "9" else 0)


# ---------- others are working too


def test_a_row_that_changes_while_its_batch_waits_gets_its_new_value(database: Database) -> None:
    create(database, PLAIN, 100)
    change = f"""update {table(PLAIN)} set body = '{{"n": 0, "changed": true}}' where (body ->> 'n')::int in (5, 50)"""
    with psycopg.connect(database.conninfo) as application:
        application.execute(change)
        results: list[Any] = []
        run = threading.Thread(target=lambda: results.append(apply(database, PLAIN)))
        run.start()
        deadline = time.monotonic() + 20
        waiting = (
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        )
        while query(database, waiting) != [(1,)] and time.monotonic() < deadline:
            time.sleep(0.05)
        application.commit()
        run.join(30)
    assert results[0].tally.succeeded == 100
    check_books(database, PLAIN)
    changed = query(database, f"""select "Canonical" -> 'body' from {table(PLAIN)} where body ? 'changed'""")
    assert changed == [({"n": 0, "changed": True},)] * 2


@pytest.mark.parametrize("held", ["until the run has gone round it", "longer than the run"])
def test_a_row_that_somebody_holds_keeps_nothing_else(
    database: Database, held: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripts.patience.ATTEMPTS", 2)
    create(database, PLAIN, 300)
    hasty = replace(database, lock_timeout="300ms")
    notes = Notes()
    results: list[Any] = []
    with psycopg.connect(database.conninfo) as application:
        application.execute(f"update {table(PLAIN)} set seen = 7 where (body ->> 'n')::int in (5, 150)")
        run = threading.Thread(target=lambda: results.append(apply(hasty, PLAIN, notes=notes)))
        run.start()
        deadline = time.monotonic() + 20
        while pending(database, PLAIN) > 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        if held == "longer than the run":
            run.join(30)
        application.commit()
        run.join(30)
    left = 2 if held == "longer than the run" else 0
    assert (results[0].tally.succeeded, results[0].pending_left) == (300 - left, left)
    assert sum("stays pending: 55P03" in notice for notice in notes.notices) == left
    check_books(database, PLAIN)
    assert apply(database, PLAIN).pending_left == 0


def test_an_application_that_keeps_writing_loses_nothing(database: Database) -> None:
    create(database, PLAIN, 4000)
    stop = threading.Event()
    counts = Counter[str]()
    errors: list[Exception] = []

    def work() -> None:
        try:
            with psycopg.connect(database.conninfo, autocommit=True) as session:
                number = 10_000
                while not stop.is_set():
                    number += 1
                    insert(session, PLAIN, 1, number)
                    session.execute(
                        f"""
                        update {table(PLAIN)} set body = body || '{{"again": {number}}}', seen = seen + 1
                        where (body ->> 'n')::int = {number % 4000}
                        """
                    )
                    counts["inserted"] += 1
        except Exception as error:
            errors.append(error)

    writers = [threading.Thread(target=work) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        time.sleep(0.2)
        result = apply(database, PLAIN, batch_size=50)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert not errors
    assert counts["inserted"] > 10
    assert result.tally.other_columns_changed == 0
    last = apply(database, PLAIN)
    assert (last.pending_left, pending(database, PLAIN)) == (0, 0)
    total = query(database, f"select count(*) from {table(PLAIN)}")[0][0]
    assert total == 4000 + counts["inserted"] == result.tally.succeeded + last.tally.succeeded
    # Rows that the application changed after they were written keep the older value (and are drift); none is torn.
    torn = query(
        database,
        f"""
        select count(*) from {table(PLAIN)} as t
        where
            not (t.body ? 'again')
            and t."Canonical"
            is distinct from jsonb_build_object('id', t.{key(PLAIN)}::text, 'site', t.site, 'body', t.body)
        """,
    )
    assert torn == [(0,)]


def test_a_second_run_is_refused_and_told_who_holds_the_lock(database: Database) -> None:
    create(database, PLAIN, 10)
    with opened(database, PLAIN) as writing:
        with pytest.raises(
            RunInProgress, match=rf"server process {writing.session.info.backend_pid} \(migrate orders"
        ) as caught:
            apply(database, PLAIN)
        assert caught.value.exit_code == 3
    assert apply(database, PLAIN).tally.succeeded == 10


# ---------- what passes by itself


def test_a_locked_table_is_waited_for(database: Database) -> None:
    create(database, PLAIN, 300)
    notes = Notes()
    hasty = replace(database, lock_timeout="200ms")
    with opened(hasty, PLAIN, notes=notes) as writing, psycopg.connect(database.conninfo) as other:
        other.execute(f"lock table {table(PLAIN)} in share mode")
        release = threading.Timer(1.5, other.rollback)
        release.start()
        result = writing.apply(writeback.Options(100), notes)
        release.join()
    assert result.tally.succeeded == 300
    assert result.tally.retries > 0
    assert any("55P03" in notice for notice in notes.notices)
    check_books(database, PLAIN)


def test_a_table_that_stays_locked_ends_the_run_with_the_remedy(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripts.patience.ATTEMPTS", 3)
    create(database, PLAIN, 300)
    hasty = replace(database, lock_timeout="100ms")
    with opened(hasty, PLAIN) as writing, psycopg.connect(database.conninfo) as other:
        other.execute(f"lock table {table(PLAIN)} in share mode")
        with pytest.raises(RunFailedError, match="holds a lock for longer than 100ms"):
            writing.apply(writeback.Options(100), Notes())
        other.rollback()
    assert query(database, f"select status from {MODEL_SCHEMA}.migration_runs") == [("failed",)]
    assert apply(database, PLAIN).tally.succeeded == 300


def test_batches_that_take_too_long_are_halved(database: Database) -> None:
    world = World(value="case when pg_sleep(0.004) is not null then e.body end")
    create(database, world, 200)
    hasty = replace(database, statement_timeout="300ms")
    notes = Notes()
    with opened(hasty, world, notes=notes) as writing:
        result = writing.apply(writeback.Options(200), notes)
    assert result.tally.succeeded == 200
    assert any("going on with" in notice for notice in notes.notices)
    check_books(database, world)


def test_a_lost_connection_is_made_again(database: Database) -> None:
    world = World(value="case when pg_sleep(0.002) is not null then e.body end")
    create(database, world, 600)
    notes = Notes()
    results: list[Any] = []
    with opened(database, world, notes=notes) as writing:
        run = threading.Thread(target=lambda: results.append(writing.apply(writeback.Options(40), notes)))
        run.start()
        with connect(database) as other:
            for _ in range(3):
                time.sleep(0.35)
                other.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity "
                    "where application_name = 'migrate orders' and datname = current_database()"
                )
        run.join(60)
    assert results[0].tally.succeeded == 600
    assert results[0].tally.retries >= 1
    check_books(database, world)
    numbers = [row[0] for row in log(database, "batch_number")]
    assert len(set(numbers)) == len(numbers)


def test_a_deadlock_is_tried_again(database: Database) -> None:
    create(database, PLAIN, 100)
    first, last = (
        query(database, f"select {key(PLAIN)}::text from {table(PLAIN)} order by ctid {way} limit 1")[0][0]
        for way in ("", "desc")
    )
    touch = sql.SQL("update {} set seen = seen + 1 where {} = %s").format(
        sql.Identifier(PLAIN.schema, PLAIN.table), sql.Identifier(PLAIN.key)
    )
    results: list[Any] = []
    with psycopg.connect(database.conninfo) as application:
        # The run is to be the one that finds out.
        application.execute("set deadlock_timeout = '60s'")
        application.execute(touch, [last])
        run = threading.Thread(target=lambda: results.append(apply(database, PLAIN)))
        run.start()
        deadline = time.monotonic() + 20
        waiting = (
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        )
        while query(database, waiting) != [(1,)] and time.monotonic() < deadline:
            time.sleep(0.01)
        application.execute(touch, [first])
        application.commit()
        run.join(30)
    assert results[0].tally.succeeded == 100
    check_books(database, PLAIN)
    assert query(database, f"select sum(seen) from {table(PLAIN)}") == [(2,)]
