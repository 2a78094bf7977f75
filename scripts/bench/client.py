"""Runs `migrate` as a user does, and watches how much memory it takes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field

import psutil

from scripts.errors import UserError
from scripts.paths import project_dir
from scripts.settings import Database

INTERVAL_SECONDS = 0.05


@dataclass(frozen=True)
class Memory:
    """Resident memory of a process in bytes: the most it ever had, and how much it grew during a phase."""

    peak: int
    growth: int


@dataclass
class Watch:
    """Resident memory over time: (seconds since 1970, bytes)."""

    samples: list[tuple[float, int]] = field(default_factory=list)

    @property
    def phase(self) -> tuple[float, float]:
        """The whole time, first to last sample."""
        return (self.samples[0][0], self.samples[-1][0]) if self.samples else (0.0, 0.0)

    def between(self, first: float, last: float) -> Memory:
        """The peak of all, and the growth between two times after the phase's first tenth, which fills caches."""
        settled = first + (last - first) / 10
        phase = [size for at, size in self.samples if settled <= at <= last]
        peak = max((size for _, size in self.samples), default=0)
        return Memory(peak, max(phase) - phase[0] if phase else 0)


def run(database: Database, *arguments: str) -> Watch:
    """Run `migrate` on a database. Raises UserError, with the command's last words, when it fails."""
    watch = Watch()
    environment = {**os.environ, "DATABASE_URL": database.conninfo}
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "scripts.cli", *arguments],
            cwd=project_dir(), env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said,
        )  # fmt: skip
        try:
            seen = psutil.Process(process.pid)
            while process.poll() is None:
                try:
                    watch.samples.append((time.time(), seen.memory_info().rss))
                except psutil.Error:
                    break
                time.sleep(INTERVAL_SECONDS)
            process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if process.returncode not in (0, 1):
            said.seek(0)
            words = said.read().strip().splitlines()
            reason = words[-1] if words else "no reason given"
            raise UserError(f"`migrate {' '.join(arguments)}` ended with {process.returncode}: {reason}")
    return watch
