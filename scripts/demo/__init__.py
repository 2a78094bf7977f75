"""Demo data: the product's source schema, filled with every row shape, every campaign case and hostile rows.

from scripts import demo
demo.create(database, events=1200, seed=1)      # DemoSummary
demo.shapes.sample("webhook-shopify")           # one known row of a writer
"""

from scripts.demo import shapes as shapes
from scripts.demo.creation import DemoSummary, create
from scripts.demo.load import DEFAULT_EVENTS, DEFAULT_SEED, Plan

__all__ = ["DEFAULT_EVENTS", "DEFAULT_SEED", "DemoSummary", "Plan", "create", "shapes"]
