"""Rows that some version has migrated already, and columns that hold nothing in every way jsonb can."""

from __future__ import annotations

from typing import Any

from scripts.demo.families import dedicated, native
from scripts.demo.shape import Columns, Shapes
from scripts.demo.values import RawJson, Values

shapes = Shapes()


def _envelope(v: Values, row: Columns, provider: str, version: str | None, **template: Any) -> dict[str, Any]:
    normalized = {f"template.{key}": value for key, value in template.items()} | {
        "meta.provider": provider,
        "meta.event_type": row["event_type"],
        "meta.timestamp": v.iso(),
        "meta.provider_resolved_by": "payload_signature",
    }
    if version is not None:
        normalized["meta.contract_version"] = version
    return {
        "event_id": v.row_id,
        "provider": provider,
        "provider_event_type": row["event_type"],
        "timestamp": v.iso(),
        "payload": row["event_data"],
        "normalized": normalized,
    }


@shapes("migrated-older-version", "migrated", "shopify", "payload_signature", weight=6)
def migrated_older(v: Values) -> Columns:
    # What version 0 of the contract wrote: other fields than today's.
    row = dedicated.webhook_shopify_repaired(v)
    data = row["event_data"]
    row["canonical_event"] = _envelope(
        v,
        row,
        "shopify",
        "0",
        customer_name=row["user_name"],
        product_name=data["product_name"],
        price=data["price"],
        currency=data["currency"],
    )
    return row


@shapes("migrated-unversioned", "migrated", "stripe", "payload_signature", weight=3)
def migrated_unversioned(v: Values) -> Columns:
    # Written by the product's live adapter, which knows no versions and shows every amount in dollars.
    row = dedicated.webhook_stripe_repaired(v)
    amount = f"${row['event_data']['amount']:.2f}"
    row["canonical_event"] = _envelope(v, row, "stripe", None, customer_name="Someone", amount=amount, currency="USD")
    return row


@shapes("migrated-edited", "migrated", "announcements", "event_rule", weight=2)
def migrated_edited(v: Values) -> Columns:
    # Somebody mended the title by hand afterwards.
    row = native.process_announcements(v)
    row["canonical_event"] = _envelope(
        v, row, "announcements", "1", title=f"{row['event_data']['title']} (edited)", message="Edited by hand"
    )
    return row


def _empty(value: Any) -> Any:
    def make(v: Values) -> Columns:
        return {**native.process_announcements(v), "canonical_event": value}

    return make


# All of these are pending; they must come back exactly as they were when a run is undone.
shapes.add("pending-sql-null", "migrated", "announcements", "event_rule", _empty(None))
shapes.add("pending-json-null", "migrated", "announcements", "event_rule", _empty(RawJson("null")))
shapes.add("pending-empty-array", "migrated", "announcements", "event_rule", _empty([]))
shapes.add("pending-empty-object", "migrated", "announcements", "event_rule", _empty({}))
