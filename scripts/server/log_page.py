"""The log viewer: rows of migration_log by run, type, kind, failure and time, a page at a time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from psycopg import sql
from psycopg.rows import dict_row

from scripts.connection import Session
from scripts.ledger import Ledger
from scripts.site.runs import error_text

ROWS = 50
SHOWN_ERRORS = 20
TYPES = ("event", "campaign")
KINDS = ("apply", "dry_run", "rollback")


@dataclass(frozen=True)
class LogQuery:
    """What is asked for; whatever cannot be read is left out. `before` is the last row of the page before."""

    run: str = ""
    type: str = ""
    kind: str = ""
    failures: bool = False
    since: str = ""
    until: str = ""
    before: str = ""

    @classmethod
    def of(cls, given: Mapping[str, str]) -> LogQuery:
        """From an address."""
        run = given.get("run", "").strip().lower()
        return cls(
            run=run if re.fullmatch(r"[0-9a-f-]{1,36}", run) else "",
            type=given.get("type", "") if given.get("type") in TYPES else "",
            kind=given.get("kind", "") if given.get("kind") in KINDS else "",
            failures=given.get("failures") == "yes",
            since=given.get("since", "") if _day(given.get("since", "")) else "",
            until=given.get("until", "") if _day(given.get("until", "")) else "",
            before=given.get("before", "") if _place(given.get("before", "")) else "",
        )

    @property
    def filters(self) -> dict[str, str]:
        """The filters that are set, as in an address."""
        given = {"run": self.run, "type": self.type, "kind": self.kind, "since": self.since, "until": self.until}
        return {
            **{name: value for name, value in given.items() if value},
            **({"failures": "yes"} if self.failures else {}),
        }

    def address(self, before: str = "") -> str:
        """The query part of an address with the same filters."""
        return urlencode({**self.filters, **({"before": before} if before else {})})


@dataclass(frozen=True)
class LogPage:
    """Rows, newest first; how many there are with these filters; and where the next page begins."""

    rows: list[dict[str, Any]]
    total: int
    older: str


def read_log(session: Session, ledger: Ledger, query: LogQuery) -> LogPage:
    """Ask for one page."""
    if not ledger.exists(session):
        return LogPage([], 0, "")
    before = _place(query.before)
    given = {
        "run": query.run or None, "type": query.type or None, "kind": query.kind or None, "failures": query.failures,
        "since": _day(query.since), "until": _day(query.until),
        "before": before[0] if before else None, "before_id": before[1] if before else None, "rows": ROWS + 1,
    }  # fmt: skip
    where = sql.SQL(
        """
        (%(run)s::text is null or starts_with(l.run_id::text, %(run)s))
        and (%(type)s::text is null or l.migration_type::text = %(type)s)
        and (%(kind)s::text is null or coalesce(l.kind, case when l.dry_run then 'dry_run' else 'apply' end) = %(kind)s)
        and (not %(failures)s or l.records_failed > 0)
        and (%(since)s::timestamptz is null or l.started_at >= %(since)s)
        and (%(until)s::timestamptz is null or l.started_at < %(until)s + interval '1 day')
        """
    )
    with session.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            sql.SQL(
                """
                select
                    l.id, l.run_id, coalesce(l.kind, case when l.dry_run then 'dry_run' else 'apply' end) as kind,
                    l.migration_type::text as migration_type, l.batch_number, l.records_processed, l.records_succeeded,
                    l.records_failed, l.started_at, l.performed_by, l.error_details,
                    extract(epoch from l.completed_at - l.started_at)::float8 as seconds
                from {log} as l
                where
                    {where}
                    and (
                        %(before)s::timestamptz is null
                        or (coalesce(l.started_at, '0001-01-01 00:00:00+00'), l.id) < (%(before)s, %(before_id)s::uuid)
                    )
                order by coalesce(l.started_at, '0001-01-01 00:00:00+00') desc, l.id desc
                limit %(rows)s
                """
            ).format(log=ledger.log_table, where=where),
            given,
        ).fetchall()
        total = cursor.execute(
            sql.SQL("select count(*) as n from {log} as l where {where}").format(log=ledger.log_table, where=where),
            given,
        ).fetchone()
    older = ""
    if len(rows) > ROWS:
        rows = rows[:ROWS]
        last = rows[-1]
        older = f"{(last['started_at'] or datetime.min.replace(tzinfo=UTC)).isoformat()}~{last['id']}"
    for row in rows:
        details = row.pop("error_details")
        own = row["run_id"] is not None  # else another program wrote it, and may have put anything in
        found = details if isinstance(details, list) else [details] if details is not None else []
        row["more_errors"] = max(0, len(found) - SHOWN_ERRORS)
        row["errors"] = [
            (str(one.get("id", "")) if own and isinstance(one, dict) else "", error_text(one, own=own))
            for one in found[:SHOWN_ERRORS]
        ]
    return LogPage(rows, total["n"] if total else 0, older)


def _day(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return None


def _place(text: str) -> tuple[datetime, UUID] | None:
    at, _, row = text.partition("~")
    try:
        return datetime.fromisoformat(at), UUID(row)
    except ValueError:
        return None
