"""Create the demo in a database, or refuse: everything or nothing, in one transaction."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from typing import Any

import psycopg
from psycopg import sql

from scripts import settings
from scripts.connection import Session, connect, explain, transaction
from scripts.demo import load, ownership, shapes
from scripts.demo.campaigns import Campaign
from scripts.errors import RunInProgress, UserError
from scripts.ledger import Ledger
from scripts.locks import active_runs, building
from scripts.settings import Database


@dataclass(frozen=True)
class DemoSummary:
    """What was made. Counts are of rows; times in seconds."""

    database: str  # its label, safe to print
    seed: int
    today: date  # the day (UTC) that all times are relative to
    events: int
    recent: int  # of the last 30 days, seen from `today`
    pending: int  # events without a canonical event
    hostile: int
    writers: dict[str, int]  # events by writer
    shapes: dict[str, int]  # events by shape
    campaigns: list[Campaign]
    tables: dict[str, int]  # rows by table
    dropped_views: list[str]  # views that read the tables of before
    notices: list[str]
    seconds: float


def create(
    database: Database,
    events: int = load.DEFAULT_EVENTS,
    seed: int = load.DEFAULT_SEED,
    *,
    today: date | None = None,
    reset: bool = False,
    realtime: bool = False,
) -> DemoSummary:
    """Make the source schema in `public` and fill it. The same events, seed and today give the same rows.

    today: the day (UTC) that all times are relative to; by default the present one. reset: make it anew when the
    database has a demo already. realtime: also a publication supabase_realtime for events.
    Raises UserError when the tables exist and are not the demo's own (never touched), or are and reset is false;
    RunInProgress while a run of the tool is writing.
    """
    plan = load.Plan(events=events, seed=seed, **({"today": today} if today else {}))
    if plan.events < 0:
        raise UserError(f"--events is {plan.events}: give 0 or more.")
    schema = settings.source_schema()
    if schema != "public":
        raise UserError(
            f"The demo makes its tables in the schema public, and the var `source_schema` is {schema}. "
            "Set it to public for the demo."
        )
    started = time.monotonic()
    notices: list[str] = []
    with building(database), connect(database, application_name="migrate demo") as session, _explained(database):
        session.add_notice_handler(lambda diagnostic: notices.append(diagnostic.message_primary or ""))
        with transaction(session):
            _prepare(session)
            auth_users = _check(session, database, reset=reset)
            dropped = ownership.readers(session)
            _make_tables(session, database)
            notices.clear()  # what `cascade` dropped: `dropped` says it better
            counts, campaigns = load.load(session, plan, auth_users=auth_users)
            _run_file(session, "constraints.sql")
            ownership.mark(session, f"seed {plan.seed}, {plan.events} events, today {plan.today.isoformat()}")
            if realtime:
                _publish(session)
            ownership.analyze(session)
            tables, pending = _counted(session, auth_users=auth_users)
    return DemoSummary(
        database=database.label,
        seed=plan.seed,
        today=plan.today,
        events=plan.events,
        recent=plan.recent,
        pending=pending,
        hostile=sum(n for name, n in counts.items() if shapes.BY_NAME[name].hostile),
        writers=_by_writer(counts),
        shapes={shape.name: counts[shape.name] for shape in shapes.ALL if counts[shape.name]},
        campaigns=campaigns,
        tables=tables,
        dropped_views=dropped,
        notices=notices,
        seconds=round(time.monotonic() - started, 2),
    )


def _prepare(session: Session) -> None:
    """A million rows are one statement, so its timeout does not apply; and everything needs UTF-8."""
    session.execute("select set_config('statement_timeout', '0', true), set_config('search_path', 'pg_catalog', true)")
    row = session.execute("select pg_encoding_to_char(encoding) from pg_database where datname = current_database()")
    encoding = (row.fetchone() or ("",))[0]
    if encoding != "UTF8":
        raise UserError(
            f"The database's encoding is {encoding}, and the demo's text needs UTF8. "
            "Create another with `create database ... encoding 'UTF8' template template0`."
        )


def _check(session: Session, database: Database, *, reset: bool) -> bool:
    """Refuse what is not ours. Returns whether auth.users is the demo's to fill."""
    runs = active_runs(session)
    if runs:
        raise RunInProgress(
            f"A run of the tool is writing in {database.label} (backend {runs[0]}). Wait until it is done."
        )
    found = ownership.look(session)
    if found.others:
        listed = ", ".join(found.others[:6]) + (f" and {len(found.others) - 6} more" if len(found.others) > 6 else "")
        raise UserError(
            f"{database.label} already has {listed}, which the demo did not make, so nothing was touched. "
            f"Point {database.origin} at an empty database, or leave it unset to use the embedded one."
        )
    if found.our_tables and not reset:
        raise UserError(
            f"{database.label} has a demo already. `migrate demo --reset` makes it anew: its tables are dropped, "
            "with every view that reads them; the log, undo and backups stay."
        )
    return found.auth_users != "theirs"


def _make_tables(session: Session, database: Database) -> None:
    ownership.drop_tables(session)
    session.execute("create schema if not exists auth")
    found = session.execute("select to_regclass('auth.users') is null, to_regtype('public.event_source') is null")
    auth_missing, types_missing = found.fetchone() or (False, False)
    if types_missing:
        _run_file(session, "types.sql")
    _run_file(session, "schema.sql")
    if auth_missing:
        session.execute(sql.SQL("comment on table auth.users is {}").format(sql.Literal(ownership.MARK)))
    else:
        mine = session.execute("select obj_description('auth.users'::regclass, 'pg_class')").fetchone()
        if mine and str(mine[0]).startswith(ownership.MARK):
            session.execute("truncate auth.users cascade")
    # The models' views went with the tables: the next command must build them again.
    Ledger(database.schema).forget_builds(session)


def _run_file(session: Session, name: str) -> None:
    session.execute(files("scripts.demo").joinpath(name).read_text(encoding="utf-8"))


def _publish(session: Session) -> None:
    """A publication as Supabase has it: one message per changed row to whoever listens."""
    row = session.execute("select 1 from pg_publication where pubname = 'supabase_realtime'").fetchone()
    if row is None:
        session.execute("create publication supabase_realtime")
    session.execute("alter publication supabase_realtime add table public.events")


def _counted(session: Session, *, auth_users: bool) -> tuple[dict[str, int], int]:
    counts = {}
    for name in (*(("auth.users",) if auth_users else ()), *(f"public.{t}" for t in reversed(ownership.TABLES))):
        row = session.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(*name.split(".")))).fetchone()
        counts[name] = int(row[0]) if row else 0
    row = session.execute(
        "select count(*) from public.events where canonical_event is null "
        "or (pg_column_size(canonical_event) <= 12 and canonical_event in ('{}', '[]', 'null'))"
    ).fetchone()
    return counts, int(row[0]) if row else 0


def _by_writer(counts: Counter[str]) -> dict[str, int]:
    writers: dict[str, int] = {}
    for shape in shapes.ALL:
        if counts[shape.name]:
            writers[shape.writer] = writers.get(shape.writer, 0) + counts[shape.name]
    return writers


@contextmanager
def _explained(database: Database) -> Iterator[None]:
    """Turn errors of the database into something a person can act on. It was one transaction: nothing is left."""
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        raise UserError(
            f"In {database.label}: {error.diag.message_primary}. The demo makes tables, types and policies in public "
            f"and a schema auth: connect as the database's owner (set in {database.origin}). Nothing was changed."
        ) from None
    except psycopg.Error as error:
        raise explain(error, database) or UserError(
            f"In {database.label}: {error.diag.message_primary or type(error).__name__} "
            f"({error.sqlstate or 'no SQLSTATE'}). Nothing was changed."
        ) from None


def describe(summary: DemoSummary) -> dict[str, Any]:
    """The summary as plain values, for --json."""
    return {
        "database": summary.database,
        "seed": summary.seed,
        "today": summary.today,
        "events": summary.events,
        "recent": summary.recent,
        "pending": summary.pending,
        "hostile": summary.hostile,
        "writers": summary.writers,
        "shapes": summary.shapes,
        "campaigns": [vars(campaign) for campaign in summary.campaigns],
        "tables": summary.tables,
        "dropped_views": summary.dropped_views,
        "notices": summary.notices,
        "seconds": summary.seconds,
    }
