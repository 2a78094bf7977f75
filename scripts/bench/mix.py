"""The events of the benchmark: condensed and raw shapes of the demo, large orders, and a few hostile rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from scripts.demo import load, payloads, shapes
from scripts.demo.shape import Columns, Shape
from scripts.demo.values import Values
from scripts.demo.world import World

# Rows of these writers hold a canonical event already, and every row of the benchmark is to be written.
_MIGRATED = "migrated"
_RAW_WRITERS = ("import", "shopify-webhook", "woocommerce-webhook")


@dataclass(frozen=True)
class Mix:
    """Shares of the rows; the rest are condensed rows as the product's writers store them.

    raw: a provider's own object as it came, 1 to 3 KB. large: an order with many items, mostly stored out of line
    (TOASTed). hostile: values made to break things; those above 64 KB are left out.
    """

    raw: float = 0.30
    large: float = 0.05
    hostile: float = 0.01


HOSTILE_BYTES = 65_536


def rows(mix: Mix, count: int, seed: int, today: date, world: World) -> Iterator[tuple[Any, ...]]:
    """`count` rows for the columns `load.EVENT_COLUMNS`, oldest first; the same arguments give the same rows."""
    v = Values(f"{seed}:bench")
    known = [shape for shape in shapes.ALL if shape.writer != _MIGRATED]
    pools = {
        "condensed": [s for s in known if not s.hostile and s.writer not in _RAW_WRITERS],
        "raw": [s for s in known if not s.hostile and s.writer in _RAW_WRITERS],
        "hostile": [s for s in known if s.hostile],
        "large": list(_LARGE),
    }
    end = datetime(today.year, today.month, today.day, tzinfo=UTC)
    for n in range(count):
        v.created = end - timedelta(seconds=30 * (count - n))
        yield next(made for made in _tries(v, pools, mix, world) if made is not None)


def _tries(v: Values, pools: dict[str, list[Shape]], mix: Mix, world: World) -> Iterator[tuple[Any, ...] | None]:
    """Rows for one place; None where the row is too large or holds a canonical event already."""
    while True:
        kind = _kind(v.random(), mix)
        shape = v.pick(pools[kind]) if kind == "hostile" else _weighted(v, pools[kind])
        v.row_id = v.uuid()
        v.site = v.pick(world.sites)
        row = load.event_row(v, shape, shape.make(v))
        data, canonical = (str(row[load.EVENT_COLUMNS.index(name)]) for name in ("event_data", "canonical_event"))
        fits = len(data) <= HOSTILE_BYTES and canonical in ("{}", "None")
        yield row if fits else None


def _kind(at: float, mix: Mix) -> str:
    for kind in ("hostile", "large", "raw"):
        share = getattr(mix, kind)
        if at < share:
            return kind
        at -= share
    return "condensed"


def _weighted(v: Values, pool: list[Shape]) -> Shape:
    return v.rng.choices(pool, [shape.weight for shape in pool])[0]


def _large_shopify(v: Values) -> Columns:
    order = payloads.shopify_order(v, image=True)
    order["line_items"] = [
        item for _ in range(v.integer(6, 24)) for item in payloads.shopify_order(v, image=True)["line_items"]
    ]
    order["note_attributes"] = [{"name": f"attribute {n}", "value": v.token(40)} for n in range(v.integer(5, 40))]
    return {"event_type": "purchase", "source": "connector", "status": "approved", "event_data": order}


def _large_woocommerce(v: Values) -> Columns:
    order = payloads.woocommerce_order(v, items=v.integer(20, 70))
    order["meta_data"] = [{"id": n, "key": f"_field_{n}", "value": v.token(40)} for n in range(v.integer(5, 40))]
    return {"event_type": "order", "source": "connector", "status": "approved", "event_data": order}


_LARGE = (
    Shape("large-shopify-order", "bench", "shopify", "payload_signature", _large_shopify),
    Shape("large-woocommerce-order", "bench", "woocommerce", "payload_signature", _large_woocommerce),
)
