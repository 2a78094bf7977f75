"""A small table with a model over it, to try the write-back engine on without dbt.

Also a program: `python writeback_world.py <conninfo> <json of the world> [batch size] [workers]` applies a run, for
the tests that send real signals to a real process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from scripts import interrupts, run_lock, settings, writeback
from scripts.connection import connect
from scripts.errors import UserError
from scripts.interrupts import StopRequest
from scripts.ledger import Ledger
from scripts.migration import Result, Writing
from scripts.pace import Pace
from scripts.patience import PatientSession
from scripts.project import Target
from scripts.settings import Database

MODEL_SCHEMA = "canonical_migration"


@dataclass(frozen=True)
class World:
    """Names and shape of the table; odd names on purpose."""

    schema: str = "shop"
    table: str = 'Order "events'
    key: str = "Key id"
    key_type: str = "uuid"
    model: str = "wide_view"
    value: str = "jsonb_build_object('id', e.key::text, 'site', e.site, 'body', e.body)"
    where: str = "true"
    complete: bool = True
    partitioned: bool = False
    extra: list[str] = field(default_factory=list)  # statements to run at the end

    @property
    def spread(self) -> World:
        """The same with few rows on each page, so that there is something to share out."""
        name = sql.Identifier(self.schema, self.table).as_string(None)
        return replace(self, extra=[*self.extra, f"alter table {name} set (fillfactor = 10)", f"vacuum full {name}"])

    @property
    def target(self) -> Target:
        """What dbt's manifest would say."""
        pending = "({column} is null or (pg_column_size({column}) <= 12 and {column} in ('{{}}', '[]', 'null')))"
        return Target(
            command="orders", model=self.model, model_schema=MODEL_SCHEMA, migration_type="event", schema=self.schema,
            table=self.table, key=self.key, model_key="order_id", tenant="site", target_column="Canonical",
            previous="stored_value", pending_flag="is_pending", location="row_location", table_oid="row_table",
            group_by="kind", pending_sql=pending, complete=self.complete, batch_size=100, contract_version="1",
        )  # fmt: skip


# Slow enough that a signal finds the run at work.
SLOW = World(value="case when pg_sleep(0.0003) is not null then e.body end")


def create(database: Database, world: World, rows: int = 0) -> None:
    """Make the table, its model and its rows."""
    keys = {"uuid": "gen_random_uuid()", "bigint": "i", "text": "'näme \"' || i"}
    names = {
        "schema": sql.Identifier(world.schema),
        "table": sql.Identifier(world.schema, world.table),
        "key": sql.Identifier(world.key),
        "type": sql.SQL(world.key_type),
        "model_schema": sql.Identifier(MODEL_SCHEMA),
        "model": sql.Identifier(MODEL_SCHEMA, world.model),
        "value": sql.SQL(world.value),
        "where": sql.SQL(world.where),
        "made_key": sql.SQL(keys[world.key_type]),
        "primary": sql.SQL("{}, at" if world.partitioned else "{}").format(sql.Identifier(world.key)),
        "partition": sql.SQL("partition by range (at)" if world.partitioned else ""),
    }
    with psycopg.connect(database.conninfo, autocommit=True) as session:
        session.execute(
            sql.SQL(
                """
                create schema {schema};
                create schema {model_schema};
                create table {table} (
                    {key} {type} not null,
                    site uuid,
                    kind text,
                    body jsonb not null,
                    seen integer default 0,
                    price numeric default 1.10,
                    note json default '{{}}',
                    at timestamptz not null default now(),
                    "Canonical" jsonb default '{{}}',
                    primary key ({primary})
                ) {partition};
                """
            ).format(**names)
        )
        if world.partitioned:
            session.execute(
                sql.SQL(
                    """
                    create table {schema}.jan partition of {table} for values from ('2025-01-01') to ('2025-02-01');
                    create table {schema}.feb partition of {table} for values from ('2025-02-01') to ('2025-03-01')
                    partition by range (at);
                    create table {schema}.feb_a partition of {schema}.feb
                    for values from ('2025-02-01') to ('2025-02-15');
                    create table {schema}.feb_b partition of {schema}.feb default;
                    create table {schema}.others partition of {table} default;
                    """
                ).format(**names)
            )
        session.execute(
            sql.SQL(
                """
                create view {model} as
                select
                    e.row_location, e.row_table, e.key as order_id, e.site, e.kind, {value} as "Canonical",
                    e."Canonical" as stored_value,
                    (
                        e."Canonical" is null
                        or (pg_column_size(e."Canonical") <= 12 and e."Canonical" in ('{{}}', '[]', 'null'))
                    ) as is_pending
                from (
                    select t.*, t.{key} as key, t.ctid as row_location, t.tableoid as row_table from {table} as t
                ) as e
                where {where};
                """
            ).format(**names)
        )
        insert(session, world, rows)
        for statement in world.extra:
            session.execute(statement)
        session.execute(sql.SQL("analyze {table}").format(**names))


def insert(session: psycopg.Connection[Any], world: World, rows: int, start: int = 1) -> None:
    """Add rows; every third without a tenant, every sixth with SQL NULL and every seventh with JSON null as target."""
    keys = {"uuid": "gen_random_uuid()", "bigint": "i", "text": "'näme \"' || i"}
    session.execute(
        sql.SQL(
            """
            insert into {table} ({key}, site, kind, body, at, "Canonical")
            select
                {made_key},
                case when i %% 3 > 0 then md5((i %% 5)::text)::uuid end,
                'kind ' || i %% 4,
                jsonb_build_object('n', i, 'name', 'Ann Lee ' || i, 'text', repeat(md5(i::text), i %% 8)),
                timestamptz '2025-01-20 00:00:00+00' + i %% 60 * interval '1 day',
                case when i %% 6 = 0 then null when i %% 7 = 0 then 'null'::jsonb else '{{}}' end
            from generate_series(%s::integer, %s::integer) as i
            """
        ).format(
            table=sql.Identifier(world.schema, world.table),
            key=sql.Identifier(world.key),
            made_key=sql.SQL(keys[world.key_type]),
        ),
        [start, start + rows - 1],
    )


class Notes:
    """Watches a run and remembers."""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.advances: list[tuple[int, int]] = []
        self.reasons: list[str | None] = []

    def advance(self, succeeded: int, failed: int) -> None:
        """See writeback.Observer."""
        self.advances.append((succeeded, failed))

    def waiting(self, reason: str | None) -> None:
        """See writeback.Observer."""
        self.reasons.append(reason)

    def notice(self, message: str) -> None:
        """See writeback.Observer."""
        self.notices.append(message)


@contextmanager
def opened(
    database: Database, world: World, stop: StopRequest | None = None, notes: Notes | None = None
) -> Iterator[Writing]:
    """The target with its lock held."""
    target = world.target
    stop = stop or StopRequest()
    lock = run_lock.for_target(database, target.schema, target.table, target.target_column)
    patient = PatientSession(database, lock, stop, (notes or Notes()).notice, writeback.prepare, "migrate orders")
    try:
        yield Writing(database, target, None, patient, stop)
    finally:
        patient.close()


def apply(database: Database, world: World, *, batch_size: int = 100, limit: int | None = None,
          notes: Notes | None = None, pace: Pace | None = None) -> Result:  # fmt: skip
    """One whole run."""
    notes = notes or Notes()
    with opened(database, world, notes=notes) as writing:
        return writing.apply(writeback.Options(batch_size, limit, pace=pace or Pace()), notes)


def query(database: Database, text: str, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]:
    """Ask the database."""
    with connect(database) as session:
        return session.execute(text, parameters).fetchall()


def table(world: World) -> str:
    """The table's quoted name."""
    return sql.Identifier(world.schema, world.table).as_string(None)


def key(world: World) -> str:
    """The key's quoted name."""
    return sql.Identifier(world.key).as_string(None)


def pending(database: Database, world: World) -> int:
    """Pending rows."""
    condition = world.target.pending
    return int(query(database, f"select count(*) from {table(world)} where {condition}")[0][0])


def check_books(database: Database, world: World) -> None:
    """Table, log and undo agree: every written row is in exactly one undo entry, which has its value's hash."""
    name = table(world)
    written = query(
        database,
        f"""
        select
            t.{key(world)}::text, jsonb_hash_extended(t."Canonical", 0)
        from {name} as t where not {world.target.pending}
        """,
    )
    entries = query(
        database,
        f"""
        select coalesce(i.id::text, k.key), w.hash
        from {MODEL_SCHEMA}.migration_undo as u
        cross join lateral unnest(u.written) with ordinality as w (hash, n)
        left join lateral unnest(u.row_ids) with ordinality as i (id, n) on i.n = w.n
        left join lateral unnest(u.row_keys) with ordinality as k (key, n) on k.n = w.n
        """,
    )
    assert sorted(written) == sorted(entries)
    wrong = query(
        database,
        f"""
        select count(*) from {MODEL_SCHEMA}.migration_undo as u
        full join (select * from {world.schema}.migration_log where kind = 'apply' and records_succeeded > 0) as l
            on l.id = u.log_id
        where
            u.log_id is null or l.id is null or l.run_id <> u.run_id
            or cardinality(u.written) <> l.records_succeeded or cardinality(u.previous) <> l.records_succeeded
            or cardinality(u.fingerprints) <> l.records_succeeded or l.completed_at is null
            or l.records_processed <> l.records_succeeded + l.records_failed
        """,
    )
    assert wrong == [(0,)]
    stale = query(
        database,
        f"""
        select count(*) from {name} as t
        inner join {MODEL_SCHEMA}.{world.model} as m on m.order_id = t.{key(world)}
        where not m.is_pending and t."Canonical" is distinct from m."Canonical"
        """,
    )
    assert stale == [(0,)]


def main(conninfo: str, world: str, batch_size: str = "50", workers: str = "1") -> int:
    """Apply a run and return its exit code, as the command does."""
    database = settings.from_url(conninfo)
    made = World(**json.loads(world))
    try:
        with interrupts.watch(lambda message: None) as stop, opened(database, made, stop) as writing:
            print("ready", flush=True)
            result = writing.apply(writeback.Options(int(batch_size), pace=Pace(int(workers))), Notes())
    except UserError as error:
        print(error.message, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 130 if result.status in ("interrupted", "cancelled") else 0


def start(database: Database, world: World, workers: int = 1) -> subprocess.Popen[str]:
    """A run in a process of its own, which has begun to write."""
    process = subprocess.Popen(
        [sys.executable, __file__, make_conninfo(database.conninfo),
         as_json(world), "50", str(workers)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": ""},
    )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line == "ready\n", process.communicate()[1]
    return process


def statuses(database: Database) -> list[str]:
    """How the runs stand, newest first."""
    with connect(database) as session:
        return [run.status for run in Ledger(MODEL_SCHEMA, "shop").runs(session)]


def wait_for_batches(database: Database, count: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if query(database, "select count(*) from shop.migration_log where kind = 'apply'")[0][0] >= count:
            return
        time.sleep(0.02)
    raise AssertionError("the run does not come on")


def as_json(world: World) -> str:
    """The world for `main`."""
    return json.dumps(asdict(world))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
