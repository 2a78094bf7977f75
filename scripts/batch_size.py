"""How many rows a batch takes: exactly what was asked for, or as many as fit into a time."""

from __future__ import annotations

import threading

LARGEST = 1_000_000
#: A batch that was faster than the target is followed by one that is larger by at most this factor.
GROWTH = 1.2


class BatchSize:
    """The size of the next batch; used by all workers of a run.

    Without a target it stays as given. With one it grows slowly and shrinks at once: a slow batch may have made
    somebody wait, a small one costs a little speed. What statement_timeout ended is halved in either case.
    """

    def __init__(self, rows: int, target_seconds: float | None = None) -> None:
        self.rows = rows
        self._target = target_seconds
        self._lock = threading.Lock()

    def took(self, rows: int, seconds: float) -> None:
        """A batch of so many rows took so long."""
        if self._target is None or rows < 1:
            return
        fits = rows * self._target / max(seconds, 1e-6)
        with self._lock:
            if seconds > self._target:
                self.rows = max(1, min(self.rows, int(fits)))
            elif rows >= self.rows:  # one that was limited otherwise says nothing of larger ones
                self.rows = int(min(LARGEST, fits, max(self.rows * GROWTH, self.rows + 1)))

    def timed_out(self, rows: int) -> None:
        """A batch of so many rows took longer than the server allows."""
        with self._lock:
            self.rows = max(1, min(self.rows, rows) // 2)
