"""What was done besides runs: validations, verifications and exports of the log, for the checklist of the migration."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from scripts import faults
from scripts.connection import Session
from scripts.errors import UserError
from scripts.ledger import Ledger

VALIDATION, VERIFICATION, LOG_EXPORT = "validation", "verification", "log_export"


@dataclass(frozen=True)
class Evidence:
    """One row of `migration_evidence`. `summary` holds numbers, ids and sentences, never values of rows."""

    evidence_id: UUID
    kind: str
    recorded_at: datetime
    recorded_by: str  # the database user
    summary: dict[str, Any]

    @property
    def began_at(self) -> datetime | None:
        """When it began to look, where that was recorded: what was written since it may not have seen."""
        found = self.summary.get("began_at")
        return datetime.fromisoformat(found) if isinstance(found, str) else None


def record(session: Session, ledger: Ledger, kind: str, summary: dict[str, Any]) -> str:
    """Record that something was done now; returns why it could not be, or an empty text.

    Where nothing was ever run there is no ledger, and none is made for this.
    """
    if not ledger.exists(session):
        return "nothing was run here yet"
    try:
        if not _exists(session, ledger):
            ledger.ensure(session)
        session.execute(
            sql.SQL("insert into {} (kind, summary) values (%s, %s)").format(_table(ledger)), [kind, Jsonb(summary)]
        )
    except UserError as error:
        return error.message
    except psycopg.Error as error:
        return faults.describe(error)
    return ""


def recorded(session: Session, ledger: Ledger) -> list[Evidence]:
    """Everything that was recorded, the newest first."""
    if not _exists(session, ledger):
        return []
    with session.cursor(row_factory=class_row(Evidence)) as cursor:
        return cursor.execute(
            sql.SQL(
                "select evidence_id, kind, recorded_at, recorded_by, coalesce(summary, '{{}}') as summary from {} "
                "order by recorded_at desc, evidence_id"
            ).format(_table(ledger))
        ).fetchall()


def _exists(session: Session, ledger: Ledger) -> bool:
    row = session.execute("select to_regclass(%s) is not null", [_table(ledger).as_string(session)]).fetchone()
    return bool(row and row[0])


def _table(ledger: Ledger) -> sql.Identifier:
    return sql.Identifier(ledger.schema, "migration_evidence")
