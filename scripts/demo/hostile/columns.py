"""Odd values in the columns beside event_data: times, types, integrations of unknown providers."""

from __future__ import annotations

from typing import Any

from scripts.demo.families import native
from scripts.demo.shape import Columns, Maker, Shapes
from scripts.demo.values import Values

shapes = Shapes(hostile=True, weight=0.05)

# ---------- created_at

for _name, _created in (
    ("null", None),
    ("infinity", "infinity"),
    ("minus-infinity", "-infinity"),
    ("before-christ", "0044-03-15 12:00:00+00 BC"),
    ("first", "4713-01-01 00:00:00+00 BC"),
    ("year-one", "0001-01-01 00:00:00+00"),
    ("microseconds", "2001-09-09 01:46:40.999999+00"),
    ("half-millisecond", "2001-09-09 01:46:40.0005+00"),
    ("leap-day", "2000-02-29 23:59:59.999+00"),
    ("other-day-elsewhere", "1999-12-31 23:30:00-05"),
):
    shapes.add(
        f"hostile-created-{_name}",
        "hostile",
        "announcements",
        "event_rule",
        native.process_announcements,
        weight=0,
        old=_created != "infinity",  # NULL is not of the last 30 days, infinity is
        created=_created,
    )
shapes.add(
    "hostile-created-far-future",
    "hostile",
    "live_visitors",
    "event_rule",
    lambda v: {"event_type": "live_visitors", "event_data": {"visitor_count": 3}},
    weight=0,
    created="294276-12-31 23:59:59.999999+00",
)

# ---------- event_type


def _type(event_type: Any, data: Any = None) -> Maker:
    def make(v: Values) -> Columns:
        return {"event_type": event_type, "event_data": {"note": "x"} if data is None else data}

    return make


for _name, _type_value in (
    ("null", None),
    ("empty", ""),
    ("blank", " \u00a0\t"),
    ("long", "x" * 10_000),
    ("script", "<script>alert(1)</script>"),
    ("unicode", "\u202eevent\u200b🎉"),
    ("dotted", "charge.succeeded"),
):
    shapes.add(f"hostile-event-type-{_name}", "hostile", "manual", "fallback", _type(_type_value))
# Whether a rule of event types minds case and spaces is left open.
shapes.add("hostile-event-type-upper", "hostile", None, None, _type("ANNOUNCEMENT", {"title": "x"}))
shapes.add("hostile-event-type-spaces", "hostile", None, None, _type(" announcement ", {"title": "x"}))


@shapes("hostile-form-not-detected", "hostile", "manual", "fallback")
def form_not_detected(v: Values) -> Columns:
    flag = v.pick((False, 0, 1, None, [True]))
    return {
        "event_type": "form_submission",
        "event_data": {"auto_detected": flag, "page_url": "/contact", "name": "Ann"},
    }


@shapes("hostile-form-without-page", "hostile", "manual", "fallback")
def form_without_page(v: Values) -> Columns:
    return {"event_type": "form_submission", "event_data": {"auto_detected": True, "name": "Ann"}}


# ---------- integrations


@shapes("hostile-integration-unknown", "hostile", "acmecrm", "integration")
def integration_unknown(v: Values) -> Columns:
    return {"event_type": "deal.won", "event_data": {"amount": "EUR 12.00", "message": "Won"}, "integration": "unknown"}


@shapes("hostile-integration-blank", "hostile", "stripe", "integration_type")
def integration_blank(v: Values) -> Columns:
    # A blank provider answers nothing: the next rule does.
    data = {"payment_id": "pi_x", "amount": 5, "currency": "eur"}
    return {"event_type": "purchase", "event_data": data, "integration": "blank", "integration_type": "stripe"}


@shapes("hostile-integration-contradicts", "hostile", "shopify", "integration")
def integration_contradicts(v: Values) -> Columns:
    # The first rule that answers counts, whatever the others would say.
    return {**native.process_announcements(v), "integration": "shopify", "integration_type": "stripe"}


# ---------- the rest


@shapes("hostile-columns-null", "hostile", "manual", "fallback")
def columns_null(v: Values) -> Columns:
    return {
        "event_type": None,
        "event_data": {},
        "integration_type": None,
        "source": None,
        "status": None,
        "moderation_status": None,
        "views": None,
        "clicks": None,
        "widget": None,
    }


@shapes("hostile-columns-extreme", "hostile", "manual", "fallback")
def columns_extreme(v: Values) -> Columns:
    return {
        "event_type": "view",
        "event_data": {"visitor_count": "many"},
        "views": 2**31 - 1,
        "clicks": -(2**31),
        "message_template": "m" * 100_000,
        "user_name": "",
        "user_email": "not an address",
        "user_location": "\u00a0",
        "page_url": "javascript:alert(1)",
        "external_id": "x" * 2000,
        "flagged": True,
    }


@shapes("hostile-email-as-name", "hostile", "manual", "fallback")
def email_as_name(v: Values) -> Columns:
    # The local part of the address is not a name, whatever its case.
    person = v.person()
    return {
        "event_type": "conversion",
        "event_data": {"email": person.email},
        "user_name": v.pick((person.handle, person.handle.upper(), person.email)),
        "user_email": person.email,
        "integration_type": v.pick(("manual", None)),
    }
