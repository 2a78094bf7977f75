"""Every row shape, in the order of the writers. Tests and docs refer to shapes by name.

from scripts.demo import shapes
shapes.BY_NAME["webhook-shopify"].provider    # 'shopify'
shapes.sample("webhook-shopify")              # its columns: one fixed row, the same in every run
"""

from __future__ import annotations

from datetime import UTC, datetime

from scripts.demo import hostile
from scripts.demo.families import connector, dedicated, imports, migrated, native, removed, website
from scripts.demo.shape import Columns, Shape
from scripts.demo.values import Site, Values

ALL: tuple[Shape, ...] = (
    *dedicated.shapes.all,
    *website.shapes.all,
    *connector.shapes.all,
    *native.shapes.all,
    *removed.shapes.all,
    *imports.shapes.all,
    *migrated.shapes.all,
    *hostile.ALL,
)
BY_NAME: dict[str, Shape] = {shape.name: shape for shape in ALL}

SAMPLE_SITE = Site("7f1d0000-0000-4000-8000-000000000001", "7f1d0000-0000-4000-8000-000000000002", "shop.example.com")
SAMPLE_ID = "7f1d0000-0000-4000-8000-000000000003"
SAMPLE_CREATED = datetime(2025, 1, 15, 10, 30, 0, 123000, tzinfo=UTC)


def sample(name: str) -> Columns:
    """One row of the shape: the columns that its writer sets; others take the table's defaults.

    `event_data` and `canonical_event` are Python values, or RawJson (JSON text) where Python has no such value.
    `integration` (a provider) stands for the id of an integration of that provider, `widget` for widget_id.
    """
    v = Values(f"sample:{name}")
    v.site, v.row_id, v.created = SAMPLE_SITE, SAMPLE_ID, SAMPLE_CREATED
    return BY_NAME[name].make(v)
