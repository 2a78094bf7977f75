"""What is measured: the floor, the tool, and what people write by hand."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pandas
import psycopg
from psycopg import sql
from sqlalchemy import create_engine, text

from scripts.bench import client
from scripts.bench.client import Memory
from scripts.connection import Session, connect
from scripts.errors import UserError
from scripts.settings import Database
from scripts.writeback import SETTINGS, compression

CHUNK = 1_000
#: What the tool being replaced takes at once.
PAGE = 100
_NOWHERE = UUID(int=0)
_REQUEST = """
select
    set_config('search_path', 'public', true),
    set_config('request.jwt.claims', '{"role": "service_role"}', true),
    set_config('request.method', 'PATCH', true),
    set_config('request.path', '/events', true),
    set_config('request.headers', '{}', true),
    set_config('request.cookies', '{}', true)
"""


@dataclass(frozen=True)
class Outcome:
    """One measurement: rows written, and how long that took in seconds."""

    rows: int
    seconds: float
    command_seconds: float | None = None  # of the whole command, where there is one
    memory: Memory | None = None  # of the process that did it, where it is one of its own


@dataclass(frozen=True)
class Contender:
    """`run` writes a table that nothing was written to yet, or about `sample` of its rows."""

    name: str
    title: str
    run: Callable[[Database, int], Outcome]
    sampled: bool = False
    then: Contender | None = None  # runs on what this one wrote


def _floor(database: Database, sample: int) -> Outcome:
    """One bare statement over the whole table, as anybody's psql runs it; like a run's rows, its are safe on disk."""
    with psycopg.connect(database.conninfo, autocommit=True) as session:
        session.execute("set statement_timeout = 0")
        return _bare_update(session, database)


def _tuned_floor(database: Database, sample: int) -> Outcome:
    """The same with the tool's settings, as far as they matter here; the others are about the plan of one batch."""
    with connect(database, application_name="bench floor") as session:
        chosen = {name: SETTINGS[name] for name in ("work_mem", "synchronous_commit", "enable_memoize")}
        session.settings = {**session.settings, **chosen, **compression(session), "statement_timeout": "0"}
        session.apply_settings(local=False)
        return _bare_update(session, database)


def _bare_update(session: psycopg.Connection[Any], database: Database) -> Outcome:
    began = time.perf_counter()
    written = session.execute(
        sql.SQL(
            "update public.events as e set canonical_event = v.canonical_event from {} as v where v.event_id = e.id"
        ).format(_view(database))
    ).rowcount
    return Outcome(written, time.perf_counter() - began)


def _apply(database: Database, sample: int, *options: str) -> Outcome:
    """`migrate events --apply` as a process of its own.

    The write phase is from the run's start, after the look at the table, to the end of its last batch.
    """
    began = time.perf_counter()
    watch = client.run(database, "events", "--apply", "--yes", "--no-build", *options)
    whole = time.perf_counter() - began
    with connect(database, application_name="bench") as session:
        row: Any = session.execute(
            sql.SQL(
                "select coalesce(sum(l.records_succeeded), 0)::bigint, extract(epoch from min(r.started_at))::float8, "
                "extract(epoch from max(l.completed_at))::float8 "
                "from public.migration_log as l inner join {} as r on r.run_id = l.run_id where l.kind = 'apply'"
            ).format(_runs(database))
        ).fetchone()
    rows, first, last = row
    return Outcome(rows, last - first, whole, watch.between(first, last))


def _rollback(database: Database, sample: int) -> Outcome:
    """`migrate rollback` of everything that the run before it wrote, from start to end of the command."""
    with connect(database, application_name="bench") as session:
        run_id = _one(session, sql.SQL("select run_id::text from {}").format(_runs(database)))
    began = time.perf_counter()
    watch = client.run(database, "rollback", run_id, "--apply", "--yes")
    whole = time.perf_counter() - began
    with connect(database, application_name="bench") as session:
        session.execute("set statement_timeout = 0")
        rows = _one(
            session,
            sql.SQL("select sum(records_succeeded)::bigint from public.migration_log where kind = 'rollback'"),
        )
        # Before the run a row's value is null or the column's default, an empty object.
        if left := _one(session, sql.SQL("select count(*) from public.events where canonical_event ? 'normalized'")):
            raise UserError(f"The rollback left {left:,} rows as they were written.")
    return Outcome(rows, whole, whole, watch.between(*watch.phase))


def _one(session: Session, query: sql.SQL | sql.Composed) -> Any:
    row: Any = session.execute(query).fetchone()
    return row[0]


def _runs(database: Database) -> sql.Identifier:
    return sql.Identifier(database.schema, "migration_runs")


def _two_workers(database: Database, sample: int) -> Outcome:
    return _apply(database, sample, "--workers", "2")


def _row_by_row(database: Database, sample: int) -> Outcome:
    """The floor's statement for one row at a time, each with a commit of its own."""
    return _by_keys(database, sample, 1)


def _row_by_page(database: Database, sample: int) -> Outcome:
    """Read a page of values, then update and commit row by row."""
    return _by_pages(database, sample, _update)


def _row_by_request(database: Database, sample: int) -> Outcome:
    """What the tool being replaced does, without its HTTP: each row a request, as PostgREST runs it.

    A transaction with settings of its own around the statement (docs.postgrest.org, references/transactions).
    """

    def request(session: Session, key: UUID, value: str) -> None:
        with session.transaction():
            session.execute(_REQUEST)
            _update(session, key, value)

    return _by_pages(database, sample, request)


def _update(session: Session, key: UUID, value: str) -> None:
    session.execute("update public.events set canonical_event = %s where id = %s", [value, key])


def _by_pages(database: Database, sample: int, write: Callable[[Session, UUID, str], None]) -> Outcome:
    written = 0
    with connect(database, application_name="bench rows") as session:
        began, last = time.perf_counter(), _NOWHERE
        while written < sample:
            page = _page(session, database, last)
            if not page:
                break
            for key, value in page:
                write(session, key, value)
            written, last = written + len(page), page[-1][0]
        return Outcome(written, time.perf_counter() - began)


def _page(session: psycopg.Connection[Any], database: Database, last: UUID) -> list[tuple[UUID, str]]:
    rows: list[tuple[UUID, str]] = session.execute(
        sql.SQL(
            "select v.event_id, v.canonical_event::text from {} as v where v.event_id = any(%s) order by v.event_id"
        ).format(_view(database)),
        [_keys(session, last, PAGE)],
    ).fetchall()
    return rows


def _keys(session: psycopg.Connection[Any], last: UUID, limit: int) -> list[UUID]:
    """The next keys in order."""
    rows = session.execute("select id from public.events where id > %s order by id limit %s", [last, limit])
    return [row[0] for row in rows]


def _pandas(database: Database, sample: int) -> Outcome:
    """Read in chunks with pandas, map in Python, write with executemany and a commit for each chunk.

    The mapping is far smaller than the models', so this is the cost of the way there and back alone.
    """
    written = 0
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(database.conninfo))
    with psycopg.connect(database.conninfo) as session, engine.connect() as reader:
        began, last = time.perf_counter(), _NOWHERE
        while written < sample:
            frame = pandas.read_sql_query(
                text(
                    "select id, event_type, event_data::text, user_name, created_at::text from public.events "
                    "where id > :last order by id limit :chunk"
                ),
                reader,
                params={"last": last, "chunk": CHUNK},
                dtype=object,
            )
            if frame.empty:
                break
            rows = list(frame.where(frame.notna(), None).itertuples(index=False, name=None))  # its NaN is no JSON
            with session.cursor() as cursor:
                cursor.executemany(
                    "update public.events set canonical_event = %s where id = %s",
                    [(_mapped(*row), row[0]) for row in rows],
                )
            session.commit()
            written, last = written + len(rows), rows[-1][0]
        outcome = Outcome(written, time.perf_counter() - began)
    engine.dispose()
    return outcome


def _mapped(key: UUID, kind: str | None, data: str, name: str | None, created: str | None) -> str:
    made = {
        "event_id": str(key),
        "provider_event_type": kind,
        "timestamp": created,
        "normalized": {"template.user_name": name or "Someone", "meta.event_type": kind},
    }
    try:
        return json.dumps({**made, "payload": json.loads(data)}, allow_nan=False)
    except (RecursionError, ValueError):
        # What Python cannot read: depths and numbers of hostile rows.
        return json.dumps(made)


def _keyset(database: Database, sample: int) -> Outcome:
    """Batches of 1,000 keys joined to the view by key, as backfill libraries do."""
    return _by_keys(database, sample, CHUNK)


def _by_keys(database: Database, sample: int, at_once: int) -> Outcome:
    """The floor's statement for the next keys in order, as often as needed.

    The keys are named on both sides of the join: without that every batch reads the whole view.
    """
    update = sql.SQL(
        "update public.events as e set canonical_event = v.canonical_event from {} as v "
        "where v.event_id = e.id and e.id = any(%s) and v.event_id = any(%s)"
    ).format(_view(database))
    written = 0
    with connect(database, application_name="bench keys") as session:
        began, last = time.perf_counter(), _NOWHERE
        while written < sample:
            keys = _keys(session, last, at_once)
            if not keys:
                break
            written += session.execute(update, [keys, keys]).rowcount
            last = keys[-1]
        return Outcome(written, time.perf_counter() - began)


def _view(database: Database) -> sql.Identifier:
    return sql.Identifier(database.schema, "canonical_events")


#: The first is what all others are compared with.
ALL = (
    Contender("floor", "floor: one bare update", _floor),
    Contender("tuned_floor", "the same with the tool's settings", _tuned_floor),
    Contender(
        "apply", "migrate events --apply", _apply, then=Contender("rollback", "its migrate rollback --apply", _rollback)
    ),
    Contender("workers", "migrate events --apply --workers 2", _two_workers),
    Contender("keyset", "batches of 1,000 keys joined to the view", _keyset, sampled=True),
    Contender("row_by_row", "that update and a commit for each row", _row_by_row, sampled=True),
    Contender("row_by_page", "pages of 100 values, then an update and a commit per row", _row_by_page, sampled=True),
    Contender("row_by_request", "the same, each row a transaction as of PostgREST", _row_by_request, sampled=True),
    Contender("pandas", "read with pandas, map in Python, executemany", _pandas, sampled=True),
)
FLOOR = ALL[0]
