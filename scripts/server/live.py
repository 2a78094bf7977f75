"""What is going on now, for everybody who watches: read from the database about once a second, whoever asks."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from scripts.commands.opened import opened
from scripts.connection import Session
from scripts.errors import UserError
from scripts.ledger import Ledger, Run
from scripts.server.jobs import Job, Jobs
from scripts.settings import Database
from scripts.survey import duration

#: The rate is that of the last so many seconds.
WINDOW_SECONDS = 30.0
FRESH_SECONDS = 0.9
#: A run that is going on is among the newest.
NEWEST = 50

_PROGRESS = """
with batches as (
    select records_succeeded, records_failed, batch_number, completed_at, details -> 'groups' as groups
    from {log}
    where run_id = %(run)s
)

select
    coalesce(sum(b.records_succeeded), 0)::bigint,
    coalesce(sum(b.records_failed), 0)::bigint,
    coalesce(max(b.batch_number), 0),
    coalesce(sum(b.records_succeeded) filter (
        where b.completed_at > clock_timestamp() - %(window)s * interval '1 s'
    ), 0)::bigint,
    least(%(window)s, extract(epoch from clock_timestamp() - %(started)s))::float8,
    (
        select coalesce(jsonb_object_agg(g.name, g.n), '{{}}')
        from (
            select e.key as name, sum(e.value::bigint) as n
            from batches as p
            cross join lateral jsonb_each_text(
                case when jsonb_typeof(p.groups) = 'object' then p.groups else '{{}}' end
            ) as e
            group by e.key
        ) as g
    )
from batches as b
"""


@dataclass(frozen=True)
class Progress:
    """A run that is going on. `rate` in rows per second, `left` in seconds; None when not known."""

    run: Run
    done: int
    failed: int
    batch: int
    rate: float | None
    left: float | None
    expected: int | None
    groups: dict[str, int]

    @property
    def percent(self) -> int:
        """Of the rows that it set out to write."""
        return min(100, 100 * (self.done + self.failed) // self.expected) if self.expected else 0

    @property
    def texts(self) -> dict[str, str]:
        """What the page shows, ready to be put in its places."""
        return {
            "done": f"{self.done:,}",
            "expected": f"{self.expected:,}" if self.expected else "?",
            "failed": f"{self.failed:,}",
            "batch": f"{self.batch:,}",
            "rate": f"{self.rate:,.0f} rows/s" if self.rate else "–",
            "left": f"about {duration(self.left)}" if self.left is not None else "–",
            "percent": f"{self.percent} %",
            "waiting": self.run.waiting_for or "",
        }


@dataclass(frozen=True)
class Now:
    """What is going on, and the newest runs. `stamp` changes when a page must be drawn anew, not its numbers alone."""

    progress: list[Progress]
    runs: list[Run]
    jobs: list[Job]
    stamp: str

    def event(self) -> str:
        """As the data of a server-sent event."""
        runs = {
            str(one.run.run_id): {**one.texts, "value": one.done + one.failed, "max": one.expected or 0,
                                  "groups": one.groups}
            for one in self.progress
        }  # fmt: skip
        # What a job has written so far concerns its own page only.
        written = {job.id: job.size for job in self.jobs if job.running}
        return json.dumps({"stamp": self.stamp, "runs": runs, "jobs": written})


class Live:
    """Looks at most once a second, however many watch."""

    def __init__(self, database: Database, jobs: Jobs) -> None:
        self._database = database
        self._jobs = jobs
        self._lock = threading.Lock()
        self._now: Now | UserError | None = None
        self._read_at = float("-inf")

    def now(self, *, fresh: bool = False) -> Now:
        """What is going on; at most a second old, with `fresh` of this moment. Raises UserError."""
        asked = time.monotonic()
        with self._lock:
            if self._read_at < (asked if fresh else asked - FRESH_SECONDS):
                began = time.monotonic()
                try:
                    with opened(self._database, "serve") as (session, ledger):
                        self._now, self._read_at = look(session, ledger, self._jobs), began
                except UserError as error:
                    # Whoever waited for the lock meanwhile need not try the same again.
                    self._now, self._read_at = error, time.monotonic()
            if isinstance(self._now, UserError):
                raise UserError(self._now.message, self._now.exit_code)
            assert self._now is not None
            return self._now


def look(session: Session, ledger: Ledger, jobs: Jobs) -> Now:
    """Read it: the runs that are going on, and the jobs."""
    runs = ledger.runs(session, limit=NEWEST)
    running = [run for run in runs if run.status == "running" and run.kind != "dry_run"]
    found = [_progress(session, ledger, run) for run in running]
    known = jobs.all()
    seen: list[Any] = [[str(run.run_id), run.status] for run in runs]
    seen += [[str(one.run.run_id), one.run.waiting_for is not None, one.run.control] for one in found]
    seen += [[job.id, job.state, job.reviewed_by] for job in known[:NEWEST]]
    stamp = hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:16]
    return Now(found, runs, known, stamp)


def _progress(session: Session, ledger: Ledger, run: Run) -> Progress:
    row = session.execute(
        sql.SQL(_PROGRESS).format(log=ledger.log_table),
        {"run": run.run_id, "window": WINDOW_SECONDS, "started": run.started_at},
    ).fetchone()
    assert row is not None
    done, failed, batch, recent, seconds, groups = row
    rate = recent / seconds if recent and seconds > 0 else None
    wanted = run.settings.get("expected_rows")
    expected = wanted if isinstance(wanted, int) else None
    rest = max(0, expected - done - failed) if expected is not None else None
    left = rest / rate if rate and rest is not None and not run.waiting_for else None
    ordered = dict(sorted(groups.items(), key=lambda item: (-item[1], item[0])))
    return Progress(run, done, failed, batch, rate, left, expected, ordered)
