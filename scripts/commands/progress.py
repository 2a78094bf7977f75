"""A run on the screen: a bar with rate and time left on a terminal, plain lines elsewhere. On stderr."""

from __future__ import annotations

import time
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from scripts.commands.common import err, note
from scripts.survey import duration

_LINE_SECONDS = 5.0


class RunProgress:
    """Watches a run; a context manager."""

    def __init__(self, what: str, total: int) -> None:
        self._total = total
        self._succeeded = self._failed = 0
        self._waits_for: str | None = None
        self._began = self._told = time.monotonic()
        self._bar: Progress | None = None
        if err.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TaskProgressColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}", markup=False),
                TimeRemainingColumn(),
                console=err,
            )
            self._task = self._bar.add_task(what, total=total, rate="")

    def __enter__(self) -> RunProgress:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def advance(self, succeeded: int, failed: int) -> None:
        """See writeback.Observer."""
        self._succeeded += succeeded
        self._failed += failed
        done = self._succeeded + self._failed
        rate = done / max(time.monotonic() - self._began, 1e-6)
        if self._bar:
            # Rows that arrive during the run make it longer.
            self._bar.update(self._task, completed=done, total=max(self._total, done), rate=f"{rate:,.0f} rows/s")
        elif time.monotonic() - self._told >= _LINE_SECONDS:
            self._told = time.monotonic()
            left = max(self._total - done, 0)
            failures = f", {self._failed:,} failed" if self._failed else ""
            share = 100 * done / max(self._total, done, 1)
            note(
                f"{done:,} of {max(self._total, done):,} rows ({share:.0f} %){failures}, {rate:,.0f} rows/s, "
                f"about {duration(left / max(rate, 1e-6))} left"
            )

    def waiting(self, reason: str | None) -> None:
        """See writeback.Observer."""
        if reason != self._waits_for:
            if (reason is None) != (self._waits_for is None) or not self._bar:
                self.notice(f"Waiting: {reason}." if reason else "Going on.")
            self._waits_for = reason
            if self._bar:
                self._bar.update(self._task, rate=f"waiting: {reason}" if reason else "")

    def notice(self, message: str) -> None:
        """See writeback.Observer."""
        if self._bar:
            self._bar.console.print(message, markup=False)
        else:
            note(message)
