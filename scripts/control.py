"""Between batches: what a person asked of a run, and what the server can bear, decide whether it goes on or waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol
from uuid import UUID

from scripts.connection import Session, transaction
from scripts.interrupts import StopRequest
from scripts.ledger import Ledger
from scripts.patience import PatientSession

#: How often a run asks what is wanted of it.
LOOK_SECONDS = 0.5


class Throttle(Protocol):
    """Something that makes a run wait. `kind` names it in the summary."""

    kind: str

    def look(self, session: Session) -> str | None:
        """Why the run must wait now, as a sentence without a full stop; None when it need not."""


@dataclass
class Wait:
    """How long, and how many times, a run waited for one reason."""

    reason: str
    seconds: float = 0.0
    count: int = 0


class Gate:
    """Open while a run may write. Batches pass it one by one; whoever holds the run's main session looks."""

    def __init__(
        self,
        ledger: Ledger,
        run_id: UUID,
        stop: StopRequest,
        show: Callable[[str | None], None],
        throttles: Sequence[Throttle] = (),
    ) -> None:
        self.cancelled = False
        self._ledger = ledger
        self._run_id = run_id
        self._stop = stop
        self._show = show
        self._throttles = throttles
        self._open = threading.Event()
        self._open.set()
        self._looked = 0.0
        self._waits: dict[str, Wait] = {}
        self._now: tuple[str, str] | None = None  # kind and sentence
        self._since = 0.0

    @property
    def waits(self) -> list[dict[str, Any]]:
        """For `migration_runs.summary`: reason, seconds and count of every kind of wait."""
        self._count()
        return [{**asdict(wait), "seconds": round(wait.seconds, 1)} for wait in self._waits.values()]

    @property
    def due(self) -> bool:
        """Whether the last look is half a second ago."""
        return time.monotonic() - self._looked >= LOOK_SECONDS

    def let_pass(self, patient: PatientSession) -> None:
        """Look, and return once the run may write or was asked to stop."""
        while not self._stop.requested and (not self._open.is_set() or self.due):
            patient.do(self.look)
            if not self._open.is_set():
                self._stop.wait(LOOK_SECONDS)

    def wait(self, halt: StopRequest) -> None:
        """Return once the gate is open, by the looks of another thread, or `halt` was requested."""
        while not self._open.is_set() and not halt.requested:
            self._open.wait(LOOK_SECONDS)

    def look(self, session: Session) -> None:
        """Ask the database, and open or close. May be repeated."""
        with transaction(session):
            asked = self._ledger.requested(session, self._run_id)
        if asked == "cancel":
            self.cancelled = True
            self._stop.request()
            return
        found = ("paused", "paused") if asked == "pause" else self._throttled(session)
        if found != self._now:
            with transaction(session):
                self._ledger.set_waiting(session, self._run_id, found[1] if found else None)
            self._show(found[1] if found else None)
            self._count()
            if found and (self._now is None or found[0] != self._now[0]):
                self._waits.setdefault(found[0], Wait(found[0])).count += 1
            self._now = found
        if found:
            self._open.clear()
        else:
            self._open.set()
        self._looked = time.monotonic()

    def _throttled(self, session: Session) -> tuple[str, str] | None:
        # All are asked, since some measure from one look to the next.
        found = [(throttle.kind, reason) for throttle in self._throttles if (reason := throttle.look(session))]
        return found[0] if found else None

    def _count(self) -> None:
        """Add the time since the last change to the wait that goes on."""
        now = time.monotonic()
        if self._now:
            self._waits[self._now[0]].seconds += now - self._since
        self._since = now
