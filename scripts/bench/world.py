"""The databases of the benchmark: one that holds the generated rows, and a fresh copy of it for every measurement."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

import psutil
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from scripts import demo, embedded, locks, project, settings
from scripts.bench import mix as mixes
from scripts.bench.mix import Mix
from scripts.connection import Session, connect, explain
from scripts.demo import load
from scripts.errors import UserError
from scripts.ledger import Ledger
from scripts.settings import Database

#: Rows made one by one; beyond that they are copied with new ids inside the server, which is much faster.
POOL = 20_000
SEED = 1
TODAY = date(2025, 6, 30)

#: What the embedded server gets: a quarter of the machine's memory, but no more than this, in bytes.
MOST_BUFFERS = 8 << 30
#: And half of the free disk for the WAL, but no more than this: five million rows write 16 GB of it, and the server
#: makes a checkpoint when little more than half of its limit is written, with all pages of the indexes once more.
MOST_WAL = 32 << 30

_ORIGINAL = "canonical_migration_bench_original"
_COPY = "canonical_migration_bench"
_MARK = "canonical-migration benchmark"


@dataclass(frozen=True)
class Contents:
    """What the generated table holds; sizes in bytes."""

    rows: int
    table_bytes: int  # with TOAST and indexes
    toast_bytes: int
    mean_payload_bytes: float
    out_of_line: int  # rows whose payload is stored outside the row
    server: str


def embedded_server() -> Database:
    """The embedded server, started with the memory and WAL that one gives a server of this size."""
    server = settings.from_url(embedded.url(), origin="DATABASE_URL")
    sizes = {
        "shared_buffers": min(psutil.virtual_memory().total // 4, MOST_BUFFERS),
        "max_wal_size": min(psutil.disk_usage(str(embedded.status().home)).free // 2, MOST_WAL),
    }
    with connect(server, application_name="bench") as session:
        for name, size in sizes.items():
            value = sql.Literal(f"{size >> 20}MB")
            session.execute(sql.SQL("alter system set {} = {}").format(sql.Identifier(name), value))
    embedded.stop()
    embedded.start()
    return server


class World:
    """The server that the benchmark runs on."""

    def __init__(self, server: Database) -> None:
        self._server = server
        self.original = self._database(_ORIGINAL)
        self.copy = self._database(_COPY)

    def _database(self, name: str) -> Database:
        return settings.from_url(make_conninfo(self._server.conninfo, dbname=name), origin=self._server.origin)

    def fresh(self) -> Database:
        """A copy of the original, file by file: the state that every measurement begins with."""
        with self._session() as session:
            _drop(session, _COPY)
            # A copy of the files ends with a checkpoint, so that full-page images begin anew for everybody.
            session.execute(
                sql.SQL("create database {} template {} strategy file_copy").format(
                    sql.Identifier(_COPY), sql.Identifier(_ORIGINAL)
                )
            )
            _mark(session, _COPY)
        return self.copy

    def make(self, rows: int, mix: Mix) -> Contents:
        """Make the original: the demo's schema and reference rows, `rows` events, the tool's tables and models."""
        with self._session() as session:
            for name in (_COPY, _ORIGINAL):
                _drop(session, name)
            session.execute(
                sql.SQL("create database {} encoding 'UTF8' template template0").format(sql.Identifier(_ORIGINAL))
            )
            _mark(session, _ORIGINAL)
        demo.create(self.original, events=0, seed=SEED, today=TODAY)
        with connect(self.original, application_name="bench") as session:
            session.execute("set statement_timeout = 0")
            _fill(session, rows, mix)
            Ledger(self.original.schema, settings.source_schema()).ensure(session)
        with locks.building(self.original):
            project.bring_up_to_date(self.original, "events")
        with connect(self.original, application_name="bench") as session:
            session.execute("set statement_timeout = 0")
            session.execute("vacuum (freeze, analyze) public.events")
            return _contents(session)

    def remove(self) -> None:
        """Drop both databases."""
        with self._session() as session:
            for name in (_COPY, _ORIGINAL):
                _drop(session, name)

    @contextmanager
    def _session(self) -> Iterator[Session]:
        with connect(self._server, application_name="bench") as session:
            session.execute("set statement_timeout = 0")
            try:
                yield session
            except psycopg.errors.InsufficientPrivilege as error:
                raise UserError(
                    f"In {self._server.label}: {error.diag.message_primary}. The benchmark makes databases of its own: "
                    f"set {self._server.origin} to a role with CREATEDB, or leave it unset for the embedded server."
                ) from None
            except psycopg.Error as error:
                raise explain(error, self._server) or error from None


def _drop(session: Session, name: str) -> None:
    """Drop a database of the benchmark. Raises UserError when one of that name is somebody else's."""
    found = session.execute(
        "select pg_catalog.shobj_description(oid, 'pg_database') from pg_catalog.pg_database where datname = %s", [name]
    ).fetchone()
    if found is None:
        return
    if found[0] != _MARK:
        raise UserError(f"The database {name} is there and was not made by the benchmark: rename or drop it by hand.")
    session.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def _mark(session: Session, name: str) -> None:
    session.execute(sql.SQL("comment on database {} is {}").format(sql.Identifier(name), sql.Literal(_MARK)))


def _fill(session: Session, rows: int, mix: Mix) -> None:
    reference, _, _ = load.world(load.Plan(events=0, seed=SEED, today=TODAY))
    columns = sql.SQL(", ").join(map(sql.Identifier, load.EVENT_COLUMNS))
    # Vacuum would come at random to one contender or another.
    session.execute("alter table public.events set (autovacuum_enabled = false, toast.autovacuum_enabled = false)")
    with session.cursor() as cursor, cursor.copy(sql.SQL("copy public.events ({}) from stdin").format(columns)) as copy:
        for row in mixes.rows(mix, min(rows, POOL), SEED, TODAY, reference):
            copy.write_row(row)
    if rows <= POOL:
        return
    copied = [name for name in load.EVENT_COLUMNS if name not in ("id", "created_at")]
    session.execute(
        sql.SQL(
            "insert into public.events (id, created_at, {0}) "
            # A hostile time may be too close to the end of time to be moved.
            "select gen_random_uuid(), "
            "case when created_at between '2000-01-01' and '2100-01-01' "
            "then created_at - n * interval '1 day' else created_at end, {0} "
            "from generate_series(1, {1}) as n cross join (select * from public.events order by ctid) as e limit {2}"
        ).format(sql.SQL(", ").join(map(sql.Identifier, copied)), -(-rows // POOL), rows - POOL)
    )


def _contents(session: Session) -> Contents:
    row: Any = session.execute(
        "select count(*), pg_total_relation_size('public.events'), "
        "(select pg_relation_size(reltoastrelid) from pg_class where oid = 'public.events'::regclass), "
        "avg(octet_length(event_data::text))::float8, "
        "count(*) filter (where pg_column_size(event_data) > 2000), "
        "current_setting('server_version') from public.events"
    ).fetchone()
    return Contents(*row)
