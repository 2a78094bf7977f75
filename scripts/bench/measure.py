"""The rounds: each contender in turn, on a fresh copy each time, with what the server wrote for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from scripts.bench.contenders import FLOOR, Contender, Outcome
from scripts.bench.world import World
from scripts.connection import connect
from scripts.errors import UserError
from scripts.settings import Database


@dataclass(frozen=True)
class Sample:
    """One measurement with what it cost the server, in bytes."""

    outcome: Outcome
    wal: int
    growth: int  # of the table, its indexes and its TOAST table
    log: int  # of the tool's own tables: log and undo

    @property
    def rate(self) -> float:
        """Rows per second."""
        return self.outcome.rows / self.outcome.seconds


@dataclass(frozen=True)
class Row:
    """A contender over all rounds; every number is a median."""

    contender: Contender
    samples: Sequence[Sample]
    ratio: float  # to the floor of the same round

    def median(self, value: Callable[[Sample], float | None]) -> float | None:
        """The median of what the samples know."""
        known = [found for found in map(value, self.samples) if found is not None]
        return median(known) if known else None


def rounds(
    world: World, contenders: Sequence[Contender], count: int, sample: int, say: Callable[[str], None]
) -> list[Row]:
    """Measure every contender `count` times, in an order that turns by one place every round."""
    found: dict[str, list[Sample]] = {contender.name: [] for contender in every(contenders)}
    for number in range(count):
        turn = number % len(contenders)
        for first in (*contenders[turn:], *contenders[:turn]):
            database = world.fresh()
            for contender in every([first]):
                one = _measure(database, contender, sample)
                found[contender.name].append(one)
                say(f"round {number + 1} of {count}: {contender.title}: {one.rate:,.0f} rows/s")
    floors = found[FLOOR.name]
    return [
        Row(
            contender,
            found[contender.name],
            median(one.rate / floor.rate for one, floor in zip(found[contender.name], floors, strict=True)),
        )
        for contender in every(contenders)
    ]


def every(contenders: Sequence[Contender]) -> list[Contender]:
    """The contenders, each followed by what runs on its result."""
    return [one for first in contenders for one in (first, first.then) if one is not None]


def _measure(database: Database, contender: Contender, sample: int) -> Sample:
    with connect(database, application_name="bench watch") as session:
        before = _state(session)
        outcome = contender.run(database, sample)
        after = _state(session)
    if not outcome.rows or outcome.seconds <= 0:
        raise UserError(f"{contender.title}: nothing was written. Give more --rows.")
    wal, growth, log = (int(new - old) for old, new in zip(before, after, strict=True))
    return Sample(outcome, wal, growth, log)


def _state(session: Any) -> tuple[int, int, int]:
    found: tuple[int, int, int] = session.execute(
        "select pg_current_wal_insert_lsn() - '0/0', pg_total_relation_size('public.events'), "
        "(select sum(pg_total_relation_size(c.oid))::bigint from pg_class as c "
        "where c.relname in ('migration_log', 'migration_undo', 'migration_runs') and c.relkind = 'r')"
    ).fetchone()
    return found
