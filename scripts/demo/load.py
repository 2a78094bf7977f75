"""Puts the demo into a database: one transaction, COPY, flat memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql

from scripts.demo import campaigns, shapes
from scripts.demo.shape import Columns, Shape
from scripts.demo.values import Values, dumps
from scripts.demo.world import JSON_COLUMNS, TABLES, Builder, World
from scripts.demo.world import build as build_world

#: Of 1200 events 995 are of the last 30 days.
RECENT_SHARE = 995 / 1200
#: At most this share of the rows is hostile because every hostile shape should come once.
HOSTILE_SHARE = 0.12
DEFAULT_EVENTS = 1200
DEFAULT_SEED = 1

EVENT_COLUMNS = (
    "id", "website_id", "widget_id", "integration_id", "integration_type", "event_type", "source", "event_data",
    "message_template", "user_name", "user_email", "user_location", "page_url", "status", "moderation_status",
    "views", "clicks", "ip", "user_agent", "flagged", "business_type", "business_context", "context_template",
    "external_id", "created_at", "updated_at", "expires_at", "canonical_event",
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What to make: the same plan always gives the same rows."""

    events: int = DEFAULT_EVENTS
    seed: int = DEFAULT_SEED
    today: date = field(default_factory=lambda: datetime.now(UTC).date())

    @property
    def recent(self) -> int:
        """How many events fall into the last 30 days."""
        return round(self.events * RECENT_SHARE)


@dataclass(frozen=True)
class Planned:
    """One event to make: its shape, when it was created, and columns that override the shape's."""

    shape: Shape
    created: datetime
    fixed: Columns


def events(plan: Plan, world: World, evidence: list[tuple[str, Columns]]) -> Iterator[tuple[Shape, tuple[Any, ...]]]:
    """The rows of `events`, oldest first, each with its shape. Holds one row at a time.

    evidence: (shape name, columns) of events that campaigns need (section 7, rule 7).
    """
    v = Values(f"{plan.seed}:events")
    sites = world.sites
    by_share = _weighted(sites, [len(sites) - n for n in range(len(sites))])
    for planned in timeline(plan, evidence):
        shape = planned.shape
        v.created = planned.created
        v.row_id = v.uuid()
        v.site = by_share[int(v.random() * len(by_share))]
        yield shape, event_row(v, shape, {**shape.make(v), **planned.fixed} if planned.fixed else shape.make(v))


def timeline(plan: Plan, evidence: list[tuple[str, Columns]]) -> Iterator[Planned]:
    """Which shape comes when: every writer's shape once where `plan.events` allows it, then a share of hostile ones
    (all of them from some 6,000 events on), and the rest by weight.
    """
    v = Values(f"{plan.seed}:timeline")
    midnight = datetime(plan.today.year, plan.today.month, plan.today.day, tzinfo=UTC)
    older = plan.events - plan.recent
    once: list[tuple[Shape, Columns]] = [(s, {}) for s in shapes.ALL if not s.hostile]
    once += [(shapes.BY_NAME[name], columns) for name, columns in evidence]
    once += [(s, {}) for s in _hostile(round(plan.events * HOSTILE_SHARE))]
    for is_old, count, start, end in (
        (True, older, midnight - timedelta(days=430), midnight - timedelta(days=31)),
        (False, plan.recent, midnight - timedelta(days=29), midnight),
    ):
        if not count:
            continue
        wanted = [(s, columns) for s, columns in once if s.old is is_old][:count]
        places = sorted(v.rng.sample(range(count), len(wanted)))
        v.rng.shuffle(wanted)
        fixed = dict(zip(places, wanted, strict=True))
        pool = _weighted(
            [s for s in shapes.ALL if s.weight > 0],
            [s.weight * (3 if is_old else 0.3) if s.old else s.weight for s in shapes.ALL if s.weight > 0],
        )
        step = (end - start).total_seconds() / count
        for n in range(count):
            created = start + timedelta(seconds=(n + v.random()) * step)
            shape, columns = fixed.get(n) or (pool[int(v.random() * len(pool))], {})
            yield Planned(shape, created, columns)


def _hostile(count: int) -> list[Shape]:
    """`count` hostile shapes: those that never come by weight first, then evenly from all the others."""
    unique = [s for s in shapes.ALL if s.hostile and not s.weight]
    others = [s for s in shapes.ALL if s.hostile and s.weight]
    room = min(max(count - len(unique), 0), len(others))
    return unique[:count] + [others[n * len(others) // room] for n in range(room)]


def _weighted(items: list[Any], weights: list[float]) -> list[Any]:
    """A list in which each item stands as often as it weighs (one look-up per choice)."""
    return [item for item, weight in zip(items, weights, strict=True) for _ in range(max(1, round(weight * 100)))]


def event_row(v: Values, shape: Shape, row: Columns) -> tuple[Any, ...]:
    """What goes into EVENT_COLUMNS for the columns that a shape made; `v` knows row id, site and time."""
    get = row.get
    created = v.created.isoformat() if shape.created == "" else shape.created
    updated = v.created.isoformat()
    canonical = get("canonical_event", _UNSET)
    if canonical is _UNSET:
        canonical = None if v.random() < 0.05 else "{}"
    elif canonical is not None:
        canonical = dumps(canonical)
    if "widget" in row:
        widget = row["widget"]
    elif v.random() < 0.4:
        widget = None
    else:
        widget = v.pick(v.site.widgets) if v.site.widgets else None
    integration = get("integration")
    business = get("business_context")
    expires = get("expires_at")
    return (
        v.row_id,
        get("website_id") or v.site.id,
        widget,
        v.site.integrations[integration] if integration else None,
        get("integration_type", "manual"),
        get("event_type"),
        get("source", "manual"),
        dumps(row["event_data"]),
        get("message_template"),
        get("user_name"),
        get("user_email"),
        get("user_location"),
        get("page_url"),
        get("status", "pending"),
        get("moderation_status", "approved"),
        get("views", 0),
        get("clicks", 0),
        get("ip"),
        get("user_agent"),
        get("flagged", False),
        get("business_type"),
        dumps(business) if business is not None else None,
        get("context_template"),
        get("external_id"),
        created,
        updated,
        expires.isoformat() if expires is not None else None,
        canonical,
    )


_UNSET = object()


def world(plan: Plan) -> tuple[World, list[campaigns.Campaign], list[tuple[str, Columns]]]:
    """Everything but events; what is known about each campaign; the events that campaigns need as evidence."""
    v = Values(f"{plan.seed}:world")
    midnight = datetime(plan.today.year, plan.today.month, plan.today.day, tzinfo=UTC)
    builder = Builder(v, midnight - timedelta(days=500))
    made = build_world(builder)
    known, evidence = campaigns.build(builder)
    return made, known, evidence


def load(
    session: psycopg.Connection[Any], plan: Plan, *, auth_users: bool
) -> tuple[Counter[str], list[campaigns.Campaign]]:
    """Copy everything into empty tables, within the caller's transaction. Returns counts by shape, and the campaigns.

    auth_users: whether auth.users is the demo's own and gets rows too.
    """
    made, known, evidence = world(plan)
    for table, columns in TABLES.items():
        if table == "auth.users" and not auth_users:
            continue
        _copy(session, table, columns, (_reference(row, columns) for row in made.tables[table]))
    counts: Counter[str] = Counter()

    def counted() -> Iterator[tuple[Any, ...]]:
        for shape, row in events(plan, made, evidence):
            counts[shape.name] += 1
            yield row

    _copy(session, "public.events", EVENT_COLUMNS, counted())
    return counts, known


def _reference(row: dict[str, Any], columns: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(dumps(row[c]) if c in JSON_COLUMNS and row.get(c) is not None else row.get(c) for c in columns)


def _copy(
    session: psycopg.Connection[Any], table: str, columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]
) -> None:
    # freeze: the tables were made in this transaction, so nobody can see their rows before it ends.
    statement = sql.SQL("copy {} ({}) from stdin (freeze)").format(
        sql.Identifier(*table.split(".")), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with session.cursor() as cursor, cursor.copy(statement) as copy:
        write = copy.write_row
        for row in rows:
            write(row)
