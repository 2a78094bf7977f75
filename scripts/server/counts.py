"""What the admin page says is pending. Counting reads the whole tables, and the page is drawn anew with every event."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable
from dataclasses import dataclass

from psycopg import sql

from scripts import backup, status
from scripts.backup import Backup
from scripts.connection import Session
from scripts.ledger import Ledger
from scripts.settings import Database
from scripts.status import TargetStatus

#: While nothing happens, no more than this share of the time goes into counting,
SHARE = 0.05
#: but nothing that is shown is older than this.
OLDEST_SECONDS = 60.0


@dataclass(frozen=True)
class Counted:
    """`waiting`: campaigns that wait for a person; None while the list of them is not built."""

    targets: list[TargetStatus]
    waiting: int | None
    backups: list[Backup]


class Counts:
    """Counts for all browsers together."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._counted: Counted | None = None
        self._of: Hashable = None
        self._until = 0.0

    def now(self, session: Session, ledger: Ledger, state: Hashable) -> Counted:
        """The counts. They are made anew when `state`, which says what has happened so far, is another one."""
        with self._lock:
            if self._counted is None or self._of != state or time.monotonic() > self._until:
                began = time.monotonic()
                self._counted = Counted(
                    status.targets(session, self._database, ledger),
                    _waiting(session, self._database.schema),
                    backup.existing(session, self._database.schema),
                )
                self._of, ended = state, time.monotonic()
                self._until = ended + min(OLDEST_SECONDS, (ended - began) / SHARE)
            return self._counted

    def forget(self) -> None:
        """Something else has happened that changes them."""
        with self._lock:
            self._counted = None


def _waiting(session: Session, schema: str) -> int | None:
    name = sql.Identifier(schema, "ambiguous_campaigns")
    built = session.execute("select to_regclass(%s) is not null", [name.as_string(session)]).fetchone()
    if not built or not built[0]:
        return None
    row = session.execute(sql.SQL("select count(*) from {}").format(name)).fetchone()
    return int(row[0]) if row else None
