"""The events of the benchmark: condensed and raw shapes of the demo, large orders, and a few hostile rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from scripts.demo import load, payloads, shapes
from scripts.demo.shape import Columns, Shape
from scripts.demo.values import Values
from scripts.demo.world import World
from scripts.errors import UserError

# Rows of these writers hold a canonical event already, and every row of the benchmark is to be written.
_MIGRATED = "migrated"
_RAW_WRITERS = ("import", "shopify-webhook", "woocommerce-webhook")


@dataclass(frozen=True)
class Mix:
    """Shares of the rows; the rest are condensed rows as the product's writers store them.

    raw: a provider's own object as it came, 1 to 3 KB. large: an order with many items, mostly stored out of line
    (TOASTed). hostile: values made to break things; those above 64 KB are left out. providers: how much more often
    than in the demo a provider occurs, but for the hostile rows (1 unless named, 0: never).
    """

    raw: float = 0.30
    large: float = 0.05
    hostile: float = 0.01
    providers: Mapping[str, float] = field(default_factory=dict)

    @property
    def condensed(self) -> float:
        """The share of the rest."""
        return 1 - self.raw - self.large - self.hostile


HOSTILE_BYTES = 65_536


def rows(mix: Mix, count: int, seed: int, today: date, world: World) -> Iterator[tuple[Any, ...]]:
    """`count` rows for the columns `load.EVENT_COLUMNS`, oldest first; the same arguments give the same rows."""
    v = Values(f"{seed}:bench")
    chosen = pools(mix)
    end = datetime(today.year, today.month, today.day, tzinfo=UTC)
    for n in range(count):
        v.created = end - timedelta(seconds=30 * (count - n))
        yield next(made for made in _tries(v, chosen, mix, world) if made is not None)


def pools(mix: Mix) -> dict[str, list[Shape]]:
    """The shapes of each kind of row. Raises UserError when the mix names what is not there, or leaves a kind empty."""
    known = [shape for shape in shapes.ALL if shape.writer != _MIGRATED]
    found = {
        "condensed": [s for s in known if not s.hostile and s.writer not in _RAW_WRITERS],
        "raw": [s for s in known if not s.hostile and s.writer in _RAW_WRITERS],
        "hostile": [s for s in known if s.hostile],
        "large": list(_LARGE),
    }
    names = {shape.provider for shape in known if shape.provider}
    if unknown := mix.providers.keys() - names:
        raise UserError(f"--providers names {', '.join(sorted(unknown))}; there are {', '.join(sorted(names))}.")
    for kind, pool in found.items():
        if getattr(mix, kind) > 0 and not any(_weight(shape, mix) for shape in pool):
            raise UserError(f"--providers leaves no {kind} rows, and they are {getattr(mix, kind):.0%} of all.")
    return found


def _tries(v: Values, chosen: dict[str, list[Shape]], mix: Mix, world: World) -> Iterator[tuple[Any, ...] | None]:
    """Rows for one place; None where the row is too large or holds a canonical event already."""
    while True:
        kind = _kind(v.random(), mix)
        shape = v.pick(chosen[kind]) if kind == "hostile" else _weighted(v, chosen[kind], mix)
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


def _weighted(v: Values, pool: list[Shape], mix: Mix) -> Shape:
    return v.rng.choices(pool, [_weight(shape, mix) for shape in pool])[0]


def _weight(shape: Shape, mix: Mix) -> float:
    return shape.weight * mix.providers.get(shape.provider or "", 1)


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
