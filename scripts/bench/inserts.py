"""What `migrate automatic` costs the application: its own writes, with and without the triggers.

The application is a session of its own with the server's default settings, which commits every statement. Both sides
take turns on the same table; the first write of a session, which plans the models, is measured by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb
from rich.table import Table

from scripts import automatic, project, settings
from scripts.bench.world import World
from scripts.connection import connect
from scripts.ledger import Ledger
from scripts.settings import Database

NAME = "inserts"
BATCH = 100
_COLUMNS = (
    "website_id", "integration_id", "integration_type", "event_type", "source", "event_data", "message_template",
    "user_name", "user_email", "user_location", "page_url", "status", "created_at",
)  # fmt: skip
# What a statement does, and how many rows it writes.
KINDS = {"insert of 1 row": 1, f"insert of {BATCH} rows": BATCH, "update of a counter": 1}


@dataclass(frozen=True)
class Sample:
    """One measurement: `seconds` for `rows` in statements of one kind, after the session's first, which took `first`.

    `memory` is what the server process held at the end, in bytes.
    """

    kind: str
    automatic: bool
    rows: int
    seconds: float
    first: float
    memory: int

    @property
    def rate(self) -> float:
        """Rows per second."""
        return self.rows / self.seconds


def measure(world: World, count: int, rows: int, say: Callable[[str], None]) -> list[Sample]:
    """Every kind with and without the triggers, `count` times; `rows` for each measurement."""
    database = world.fresh()
    with connect(database, application_name="bench inserts") as session:
        made = session.execute(
            sql.SQL("select {} from public.events where id in (select id from public.events limit %s)").format(
                sql.SQL(", ").join(map(sql.Identifier, _COLUMNS))
            ),
            [rows],
        ).fetchall()
    place = _COLUMNS.index("event_data")
    values = [(*row[:place], Jsonb(row[place]), *row[place + 1 :]) for row in made]
    found = []
    for number in range(count):
        for on in (False, True) if number % 2 == 0 else (True, False):
            _switch(database, on=on)
            for kind, size in KINDS.items():
                one = _sample(database, kind, size, values, on=on)
                found.append(one)
                say(f"round {number + 1} of {count}: {kind}, triggers {'on' if on else 'off'}: {one.rate:,.0f} rows/s")
    return found


def _switch(database: Database, *, on: bool) -> None:
    with connect(database, application_name="bench inserts") as session:
        if not on:
            automatic.switch_off(session, database, ["events"], performed_by=None)
            return
        ledger = Ledger(database.schema, settings.source_schema())
        automatic.switch_on(session, database, ledger, project.target(database, "events"), performed_by=None)


def _sample(database: Database, kind: str, size: int, values: Sequence[tuple[Any, ...]], *, on: bool) -> Sample:
    one = f"({', '.join(['%s'] * len(_COLUMNS))})"
    insert = f"insert into public.events ({', '.join(_COLUMNS)}) values "  # noqa: S608  (constants)
    counter = "update public.events set views = coalesce(views, 0) + 1 where id = %s"
    with psycopg.connect(database.conninfo, autocommit=True) as session:
        statements: list[tuple[Any, Sequence[Any]]]
        if "counter" in kind:
            keys = session.execute("select id from public.events limit %s", [len(values)]).fetchall()
            statements = [(counter, key) for key in keys]
        else:
            parts = [values[at : at + size] for at in range(0, len(values), size)]
            statements = [(insert + ", ".join([one] * len(part)), [v for row in part for v in row]) for part in parts]
        began = time.perf_counter()
        session.execute(*statements[0], prepare=True)
        first = time.perf_counter() - began
        began = time.perf_counter()
        for statement, parameters in statements:
            session.execute(statement, parameters, prepare=True)
        seconds = time.perf_counter() - began
        held: Any = session.execute("select sum(total_bytes)::bigint from pg_backend_memory_contexts").fetchone()
    return Sample(kind, on, len(values), seconds, first, held[0])


def table(samples: Sequence[Sample]) -> Table:
    """One line for each kind of statement; every number is a median."""
    made = Table(box=None, pad_edge=False)
    made.add_column("the application's writes")
    for title in (
        "rows/s without", "rows/s with", "ms/row without", "ms/row with", "first without ms", "first with ms",
        "MB/session without", "MB/session with",
    ):  # fmt: skip
        made.add_column(title, justify="right")
    for kind in KINDS:
        sides = [[one for one in samples if one.kind == kind and one.automatic is on] for on in (False, True)]
        made.add_row(
            kind,
            *(f"{median(one.rate for one in side):,.0f}" for side in sides),
            *(f"{median(1000 / one.rate for one in side):,.3f}" for side in sides),
            *(f"{median(one.first for one in side) * 1000:,.1f}" for side in sides),
            *(f"{median(one.memory for one in side) / 1e6:,.1f}" for side in sides),
        )
    return made


def document(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """Every measurement."""
    return [{**asdict(one), "rows_per_second": one.rate} for one in samples]
