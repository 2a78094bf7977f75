"""How fast and how gently a run works, as a person asked for it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

#: A batch that may grow is bounded by the size of its payloads too.
BATCH_BYTES = 64 * 1024 * 1024
MAX_LAG_SECONDS = 30.0


@dataclass(frozen=True)
class Pace:
    """Workers, batches, and what makes a run wait (None: that does not)."""

    workers: int = 1
    target_seconds: float | None = None  # of a batch; the batch size is then the first one's
    batch_bytes: int | None = None  # of the stored payloads of a batch
    max_lag: float | None = MAX_LAG_SECONDS  # seconds by which a replica or replication slot may be behind
    max_wal_rate: float | None = None  # MB that the server may write in a second
    max_dead: float | None = None  # share of dead rows in the table, 0 to 1
    max_sessions: int | None = None  # client sessions, besides the run's own, that may be active

    @property
    def most_bytes(self) -> int | None:
        """Bytes of stored payload that a batch may hold; None: any."""
        return self.batch_bytes or (BATCH_BYTES if self.target_seconds else None)

    def as_json(self) -> dict[str, Any]:
        """For `migration_runs.settings`."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Pace:
        """From `migration_runs.settings`; what is not there is as by default."""
        return cls(**{field.name: stored[field.name] for field in fields(cls) if field.name in stored})
