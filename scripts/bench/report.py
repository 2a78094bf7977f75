"""The result as a table for people and as JSON for programs."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

import psutil
from rich.table import Table

from scripts.bench.contenders import Outcome
from scripts.bench.measure import Row
from scripts.bench.mix import Mix
from scripts.bench.world import Contents


def table(contents: Contents, rows: Sequence[Row]) -> Table:
    """One line for each contender, two for the command: its write phase, and all of it."""
    made = Table(box=None, pad_edge=False, title=f"{contents.rows:,} events", title_justify="left")
    made.add_column("")
    for title in ("rows", "seconds", "rows/s", "of the floor", "WAL B/row", "growth B/row", "log B/row", "client MB"):
        made.add_column(title, justify="right")
    for row in rows:
        written = _number(row.median(lambda s: s.outcome.rows))
        memory = row.median(lambda s: s.outcome.memory.peak / 1e6 if s.outcome.memory else None)
        made.add_row(
            row.contender.title + (" (sample)" if row.contender.sampled else ""),
            written,
            _number(row.median(lambda s: s.outcome.seconds), 2),
            _number(row.median(lambda s: s.rate)),
            _number(row.ratio, 2),
            _number(row.median(lambda s: s.wal / s.outcome.rows)),
            _number(row.median(lambda s: s.growth / s.outcome.rows)),
            _number(row.median(lambda s: s.log / s.outcome.rows)),
            _number(memory),
        )
        whole = row.median(lambda s: s.outcome.command_seconds)
        if whole is not None:
            made.add_row(
                "  from start to end of the command", written, _number(whole, 2), _number(row.median(_command_rate))
            )
    return made


def document(sizes: Sequence[tuple[Contents, Sequence[Row]]], mix: Mix, rounds: int) -> dict[str, Any]:
    """Everything that was measured: for each size of the table the medians, and each measurement."""
    return {
        "mix": asdict(mix),
        "rounds": rounds,
        "machine": {
            "cpus": psutil.cpu_count(),
            "memory_bytes": psutil.virtual_memory().total,
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
        },
        "sizes": [
            {"table": asdict(contents), "contenders": {row.contender.name: _contender(row) for row in rows}}
            for contents, rows in sizes
        ],
    }


def _contender(row: Row) -> dict[str, Any]:
    samples = row.samples
    return {
        "title": row.contender.title,
        "sampled": row.contender.sampled,
        "rows": int(median(s.outcome.rows for s in samples)),
        "seconds": row.median(lambda s: s.outcome.seconds),
        "rows_per_second": row.median(lambda s: s.rate),
        "ratio_to_floor": row.ratio,
        "command_seconds": row.median(lambda s: s.outcome.command_seconds),
        "wal_bytes_per_row": row.median(lambda s: s.wal / s.outcome.rows),
        "table_growth_bytes_per_row": row.median(lambda s: s.growth / s.outcome.rows),
        "log_bytes_per_row": row.median(lambda s: s.log / s.outcome.rows),
        "client_peak_bytes": row.median(lambda s: _memory(s.outcome, "peak")),
        "client_growth_bytes": row.median(lambda s: _memory(s.outcome, "growth")),
        "measurements": [asdict(s) for s in samples],
    }


def _command_rate(sample: Any) -> float | None:
    whole = sample.outcome.command_seconds
    return sample.outcome.rows / whole if whole else None


def _memory(outcome: Outcome, part: str) -> float | None:
    return getattr(outcome.memory, part) if outcome.memory else None


def _number(value: float | None, digits: int = 0) -> str:
    return "" if value is None else f"{value:,.{digits}f}"
