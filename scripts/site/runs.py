"""What the pages say of runs: sums of a run's batches, a rate chart of a bounded size, what failed, what undid it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import sql
from psycopg.rows import class_row

from scripts import masking
from scripts.connection import Session
from scripts.ledger import Ledger, Run

#: A chart has at most so many points, however many batches it is made of.
POINTS = 200
#: A page shows at most so many batches: the first and the last half of them. Downloads have all.
BATCHES = 100
#: A page shows at most so many failed rows.
FAILURES = 200


@dataclass(frozen=True)
class Batch:
    """One row of migration_log. `seconds` is None for a batch that never ended."""

    batch_number: int | None
    kind: str
    started_at: datetime | None
    completed_at: datetime | None
    seconds: float | None
    processed: int
    succeeded: int
    failed: int


@dataclass(frozen=True)
class Failure:
    """A row that could not be written: its key, and the error without values of the row."""

    batch_number: int | None
    key: str
    error: str


@dataclass(frozen=True)
class Point:
    """Some consecutive batches: when the last one ended, their rows, and rows per second since the point before."""

    at: datetime
    batches: int
    rows: int
    rate: float


@dataclass(frozen=True)
class Step:
    """How many rows hold a value of this tool at a time: written minus restored, of one migration type."""

    migration_type: str
    at: datetime
    rows: int


@dataclass(frozen=True)
class Wait:
    """Why a run stood still, for how long and how often."""

    reason: str
    seconds: float
    count: int


@dataclass(frozen=True)
class Strangers:
    """Rows of migration_log without a run: of the product itself, or of an older tool."""

    rows: int
    first: datetime | None
    last: datetime | None


@dataclass(frozen=True)
class Undo:
    """What became of a run's rows. `state`: none (it wrote nothing), possible, partly, done or impossible."""

    state: str
    batches: int  # that can be undone, by migration_undo
    restored: int
    left: int  # rows that a complete rollback left alone: changed or deleted since
    rollbacks: tuple[Run, ...]


@dataclass(frozen=True)
class RunDetail:
    """Everything that a run's page shows."""

    run: Run
    seconds: float | None
    rate: float | None
    expected: int | None
    points: tuple[Point, ...]
    batches: tuple[Batch, ...]
    left_out: int  # batches between the first and the last ones shown
    failures: tuple[Failure, ...]
    waits: tuple[Wait, ...]
    waiting_for: str | None
    waiting_since: datetime | None
    undo: Undo


def detail(
    session: Session, ledger: Ledger, run: Run, rollbacks: Sequence[Run], *, show_personal_data: bool
) -> RunDetail:
    """Ask for everything about a run; `rollbacks` are those of it."""
    summary = run.summary or {}
    took = seconds(run)
    points = tuple(_points(session, ledger, run))
    shown = list(_batches(session, ledger, run.run_id))
    return RunDetail(
        run=run,
        seconds=took,
        rate=run.succeeded / took if took and run.kind != "dry_run" else None,
        expected=_whole(run.settings.get("expected_rows")),
        points=points if run.kind != "dry_run" else (),
        batches=tuple(shown),
        left_out=max(0, run.batches - len(shown)),
        failures=tuple(failures(session, ledger, run.run_id, FAILURES, show_personal_data=show_personal_data)),
        waits=tuple(_waits(summary.get("waits"))),
        waiting_for=run.waiting_for,
        waiting_since=run.waiting_since,
        undo=_undo(session, ledger, run, rollbacks),
    )


def seconds(run: Run) -> float | None:
    """How long a run took, by its own clock where it has one; None while it is going on, or when it never ended."""
    took = (run.summary or {}).get("seconds")
    return float(took) if isinstance(took, int | float) else _between(run)


def command(run: Run) -> str:
    """The command that makes such a run."""
    if run.kind == "rollback":
        one_batch = " --batch N" if run.settings.get("one_batch") else ""
        return f"migrate rollback {str(run.rolls_back)[:8]}{one_batch} --apply"
    refresh = " --refresh" if run.settings.get("refresh") else ""
    return f"migrate {run.command}{refresh}{' --apply' if run.kind == 'apply' else ''}"


def progress(session: Session, ledger: Ledger) -> list[Step]:
    """Rows written minus rows restored over time, for each migration type; at most POINTS steps each."""
    if not ledger.exists(session):
        return []
    with session.cursor(row_factory=class_row(Step)) as cursor:
        return cursor.execute(
            sql.SQL(
                """
                with written as (
                    select
                        l.migration_type::text as migration_type,
                        l.started_at,
                        l.completed_at as at,
                        case when r.kind = 'rollback' then -l.records_succeeded else l.records_succeeded end as change
                    from {log} as l
                    inner join {runs} as r on l.run_id = r.run_id
                    left join {runs} as undone on r.rolls_back = undone.run_id
                    where
                        l.completed_at is not null and l.records_succeeded > 0 and r.kind <> 'dry_run'
                        and l.migration_type is not null
                        -- A refresh writes to rows that hold a value already, and leaves one when it is taken back.
                        and coalesce(undone.settings, r.settings) -> 'refresh' is distinct from 'true'
                ),

                began as (
                    select migration_type, min(started_at) as at
                    from written
                    group by migration_type
                ),

                summed as (
                    select
                        migration_type,
                        at,
                        sum(change) over (partition by migration_type order by at rows unbounded preceding)::bigint
                            as rows,
                        ntile(%(points)s) over (partition by migration_type order by at) as part
                    from written
                ),

                -- The last of each part.
                latest as (
                    select distinct on (migration_type, part) migration_type, at, rows, part
                    from summed
                    order by migration_type, part, at desc
                )

                -- And a beginning, so that the line begins where the work did.
                select migration_type, at, rows
                from (
                    select migration_type, at, 0::bigint as rows, 0 as part
                    from began

                    union all

                    select migration_type, at, rows, part
                    from latest
                ) as steps
                order by migration_type, part
                """
            ).format(log=ledger.log_table, runs=ledger.runs_table),
            {"points": POINTS},
        ).fetchall()


def strangers(session: Session, ledger: Ledger) -> Strangers:
    """Count the rows of migration_log that no run wrote."""
    if not ledger.exists(session):
        return Strangers(0, None, None)
    with session.cursor(row_factory=class_row(Strangers)) as cursor:
        found = cursor.execute(
            sql.SQL(
                "select count(*) as rows, min(started_at) as first, max(started_at) as last "
                "from {} where run_id is null"
            ).format(ledger.log_table)
        ).fetchone()
    assert found is not None
    return found


def failures(
    session: Session, ledger: Ledger, run_id: UUID, limit: int | None = None, *, show_personal_data: bool
) -> Iterator[Failure]:
    """The failed rows of a run, in the order of time.

    The errors that this tool records hold no values. What another program put into error_details is masked.
    """
    with session.cursor() as cursor:
        rows = cursor.execute(
            sql.SQL(
                """
                select l.batch_number, coalesce(f.value ->> 'id', ''), f.value
                from {log} as l
                cross join lateral jsonb_array_elements(
                    case jsonb_typeof(l.error_details)
                        when 'array' then l.error_details
                        else jsonb_build_array(l.error_details)
                    end
                ) as f (value)
                where l.run_id = %(run)s and l.error_details is not null and l.error_details <> 'null'
                order by l.started_at, l.batch_number, l.id
                limit %(limit)s
                """
            ).format(log=ledger.log_table),
            {"run": run_id, "limit": limit},
        )
        for batch_number, key, value in rows:
            yield Failure(batch_number, key, error_text(value, show_personal_data=show_personal_data))


def error_text(value: Any, *, show_personal_data: bool = False, own: bool = True) -> str:
    """One element of error_details as text; `own`: this tool wrote it."""
    known = own and isinstance(value, dict) and set(value) <= {"id", "error", "reason"}
    if known and isinstance(value.get("error"), str):
        return str(value["error"])
    shown = value if show_personal_data else masking.masked(value)
    return json.dumps(shown, ensure_ascii=False)[:300]


def _points(session: Session, ledger: Ledger, run: Run) -> Iterator[Point]:
    # Batches of several workers end at any distance from each other: some of each make a point.
    workers = _whole((run.summary or {}).get("workers")) or 1
    parts = min(POINTS, run.batches if workers == 1 else run.batches // (2 * workers))
    rows = session.execute(
        sql.SQL(
            """
            with numbered as (
                select
                    started_at,
                    completed_at,
                    records_succeeded,
                    ntile(%(points)s) over (order by completed_at) as part
                from {log}
                where run_id = %(run)s and completed_at is not null
            )

            select min(started_at), max(completed_at), count(*), sum(records_succeeded)::bigint
            from numbered
            group by part
            order by part
            """
        ).format(log=ledger.log_table),
        {"run": run.run_id, "points": max(1, parts)},
    )
    before: datetime | None = None
    for began, ended, batches, written in rows:
        seconds = (ended - (before or began)).total_seconds()
        yield Point(ended, batches, written or 0, (written or 0) / seconds if seconds > 0 else 0.0)
        before = ended


def _batches(session: Session, ledger: Ledger, run_id: UUID) -> list[Batch]:
    """The first and the last batches."""
    half = BATCHES // 2
    with session.cursor(row_factory=class_row(Batch)) as cursor:
        return cursor.execute(
            sql.SQL(
                """
                with numbered as (
                    select
                        l.*,
                        row_number() over (order by l.started_at, l.batch_number, l.id) as place,
                        count(*) over () as total
                    from {log} as l
                    where l.run_id = %(run)s
                )

                select
                    batch_number,
                    coalesce(kind, case when dry_run then 'dry_run' else 'apply' end) as kind,
                    started_at,
                    completed_at,
                    extract(epoch from completed_at - started_at)::float8 as seconds,
                    coalesce(records_processed, 0) as processed,
                    coalesce(records_succeeded, 0) as succeeded,
                    coalesce(records_failed, 0) as failed
                from numbered
                where place <= %(half)s or place > total - %(half)s
                order by place
                """
            ).format(log=ledger.log_table),
            {"run": run_id, "half": half},
        ).fetchall()


def _undo(session: Session, ledger: Ledger, run: Run, rollbacks: Sequence[Run]) -> Undo:
    restored = sum(one.succeeded for one in rollbacks)
    complete = any(one.status == "done" and not one.settings.get("one_batch") for one in rollbacks)
    row = session.execute(
        sql.SQL("select count(*) from {} where run_id = %s").format(ledger.undo_table), [run.run_id]
    ).fetchone()
    batches = int(row[0]) if row else 0
    if run.kind != "apply" or not run.succeeded:
        state = "none"
    elif complete or restored >= run.succeeded:
        state = "done"
    elif restored:
        state = "partly"
    else:
        state = "possible" if batches else "impossible"
    left = max(0, run.succeeded - restored) if state == "done" else 0
    return Undo(state, batches, restored, left, tuple(rollbacks))


def _waits(value: Any) -> Iterator[Wait]:
    for one in value if isinstance(value, list) else []:
        if isinstance(one, dict):
            yield Wait(str(one.get("reason", "")), float(one.get("seconds") or 0), int(one.get("count") or 0))


def _between(run: Run) -> float | None:
    return (run.ended_at - run.started_at).total_seconds() if run.ended_at else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
