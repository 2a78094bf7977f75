"""JSON of every type at every place, deep and large values, odd keys, wrappers around nothing."""

from __future__ import annotations

from typing import Any

from scripts.demo import payloads
from scripts.demo.hostile.places import PLACES, Placer
from scripts.demo.shape import Columns, Maker, Shapes
from scripts.demo.values import RawJson, Values, dumps

shapes = Shapes(hostile=True, weight=0.1)

_WRITER = "hostile"
_MEGABYTE = 1 << 20


def _data(data: Any, event_type: str = "conversion") -> Maker:
    def make(v: Values) -> Columns:
        return {"event_type": event_type, "event_data": data}

    return make


# ---------- event_data itself is not an object

_WHOLE: tuple[tuple[str, Any], ...] = (
    ("json-null", RawJson("null")),
    ("true", True),
    ("false", False),
    ("zero", 0),
    ("fraction", -1.5),
    ("text", "just text"),
    ("empty-text", ""),
    ("blank-text", "\u00a0 \u3000"),
    ("empty-array", []),
    ("array-of-numbers", [1, 2, 3]),
    ("array-of-objects", [{"title": "x"}, {"rating": 5}]),
    ("nested-arrays", [[[[[]]]]]),
    ("array-of-null", [None]),
)
for _name, _value in _WHOLE:
    shapes.add(f"hostile-whole-{_name}", _WRITER, "manual", "fallback", _data(_value))
    shapes.add(
        f"hostile-whole-announcement-{_name}", _WRITER, "announcements", "event_rule", _data(_value, "announcement")
    )


@shapes("hostile-whole-order-as-text", _WRITER, None, None)
def order_as_text(v: Values) -> Columns:
    """The whole payload as JSON text: the contract names only wrappers, so its provider is left open."""
    return {"event_type": "purchase", "event_data": dumps(payloads.shopify_order(v))}


# ---------- every type at every place

_JUNK: tuple[Any, ...] = (
    None, True, False, 0, -1, 3.7, 10**400, "", " ", "null", "undefined", "NaN", "[]", "{}", "a\u00a0", [], {}, [None],
    [[]], {"": None}, {"amount": 5}, ["x", {"y": []}], {"a": {"b": {"c": [1, 2, {"d": None}]}}},
)  # fmt: skip


def _everywhere(placer: Placer, value: Any) -> Maker:
    def make(v: Values) -> Columns:
        return placer(value)

    return make


for _provider, _rule, _placer in PLACES:
    for _name, _value in (
        ("null", None), ("true", True), ("empty-text", ""), ("array", [1, "two", None]), ("object", {"name": "x"}),
    ):  # fmt: skip
        shapes.add(
            f"hostile-{_provider}-all-{_name}", _WRITER, _provider, _rule, _everywhere(_placer, _value), weight=0.02
        )


def mutate(v: Values, value: Any, share: float) -> Any:
    """A copy in which each node is replaced by junk with the given probability."""
    if v.random() < share:
        return v.pick(_JUNK)
    if isinstance(value, dict):
        return {key: mutate(v, inner, share) for key, inner in value.items()}
    if isinstance(value, list):
        return [mutate(v, inner, share) for inner in value]
    return value


def _mutated(columns: Columns, make_payload: payloads.MakePayload) -> Maker:
    """Columns that make the provider certain, and a payload of which any part may be junk."""

    def make(v: Values) -> Columns:
        share = 0.02 + 0.3 * v.random()
        return {**columns, "event_data": {key: mutate(v, inner, share) for key, inner in make_payload(v).items()}}

    return make


_MUTATED: tuple[tuple[str, str, Columns, payloads.MakePayload], ...] = (
    ("shopify", "integration_type", {"integration_type": "shopify"}, payloads.shopify_order),
    ("stripe", "integration_type", {"integration_type": "stripe"}, payloads.stripe_charge),
    ("woocommerce", "integration_type", {"integration_type": "woocommerce"}, payloads.woocommerce_order),
    ("testimonials", "event_rule", {"event_type": "testimonial"}, payloads.stored_testimonial),
    ("calendly", "integration_type", {"integration_type": "calendly"}, payloads.calendly_webhook),
)
for _provider, _rule, _columns, _make in _MUTATED:
    _maker = _mutated({"event_type": "purchase", **_columns}, _make)
    shapes.add(f"hostile-mutated-{_provider}", _WRITER, _provider, _rule, _maker, weight=0.8)


@shapes("hostile-mutated-unknown", _WRITER, None, None, weight=0.8)
def mutated_unknown(v: Values) -> Columns:
    """Mutations may take a signature away or leave it, so the provider is open."""
    makers: tuple[payloads.MakePayload, ...] = (
        payloads.shopify_order,
        payloads.paypal_ipn,
        payloads.typeform_webhook,
        payloads.razorpay_webhook,
    )
    return {"event_type": "purchase", "event_data": {"raw_payload": mutate(v, v.pick(makers)(v), 0.1)}}


# ---------- deep (as text: Python's own json gives up long before PostgreSQL does)


def _deep(opening: str, inside: str, closing: str, depth: int) -> RawJson:
    return RawJson(opening * depth + inside + closing * depth)


for _depth in (100, 1000, 3000):
    shapes.add(
        f"hostile-deep-arrays-{_depth}", _WRITER, "manual", "fallback", _data(_deep("[", "1", "]", _depth)), weight=0
    )
    shapes.add(
        f"hostile-deep-objects-{_depth}",
        _WRITER,
        "manual",
        "fallback",
        _data(_deep('{"a":', "null", "}", _depth)),
        weight=0,
    )
    shapes.add(
        f"hostile-deep-wrappers-{_depth}",
        _WRITER,
        "manual",
        "fallback",
        _data(_deep('{"raw_payload":', "{}", "}", _depth)),
        weight=0,
    )


@shapes("hostile-wrapped-four-deep", _WRITER, "manual", "fallback")
def wrapped_four_deep(v: Values) -> Columns:
    # Three wrappers are looked through, no more.
    order: Any = payloads.shopify_order(v)
    return {"event_type": "purchase", "event_data": {"raw_payload": {"raw_payload": {"raw_payload": {"order": order}}}}}


# ---------- large


@shapes("hostile-large-text", _WRITER, "announcements", "event_rule", weight=0)
def large_text(v: Values) -> Columns:
    return {"event_type": "announcement", "event_data": {"title": "Long", "message": "é" * (_MEGABYTE // 2)}}


@shapes("hostile-large-incompressible", _WRITER, "shopify", "integration_type", weight=0)
def large_incompressible(v: Values) -> Columns:
    note = v.rng.randbytes(_MEGABYTE // 2).hex()
    return {
        "event_type": "purchase",
        "integration_type": "shopify",
        "event_data": {**payloads.shopify_order(v), "note": note},
    }


@shapes("hostile-large-order", _WRITER, "woocommerce", "payload_signature", weight=0)
def large_order(v: Values) -> Columns:
    return {"event_type": "order", "event_data": payloads.woocommerce_order(v, items=4000)}


@shapes("hostile-large-as-text", _WRITER, "shopify", "payload_signature", weight=0)
def large_as_text(v: Values) -> Columns:
    order = {**payloads.shopify_order(v), "note": "x" * _MEGABYTE}
    return {"event_type": "purchase", "event_data": {"raw_payload": dumps({"order": dumps(order)})}}


@shapes("hostile-many-keys", _WRITER, "manual", "fallback", weight=0)
def many_keys(v: Values) -> Columns:
    return {"event_type": "conversion", "event_data": {f"key {n}": n for n in range(20_000)}}


# ---------- keys


@shapes("hostile-keys", _WRITER, "testimonials", "event_rule")
def keys(v: Values) -> Columns:
    data = {
        "": "nameless",
        " ": "blank",
        "template.author_name": "Mallory",
        "meta.provider": "stripe",
        "meta.contract_version": "999",
        "__proto__": {"admin": True},
        "constructor": {"prototype": {}},
        "a.b.c": 1,
        "0": "zero",
        "-1": "minus one",
        'quo"te': 1,
        "back\\slash": 1,
        "new\nline\ttab": 1,
        "{a,b}": 1,
        "ключ": 1,
        "\u202e": 1,
        "k" * 5000: 1,
        "author_name": "Ann",
        "Author_Name": "ANN",
        "rating": 4,
        "message": "Fine",
    }
    return {"event_type": "testimonial", "event_data": data}


# ---------- wrappers around nothing of use

_HOLLOW: tuple[tuple[str, Any], ...] = (
    ("null", None),
    ("number", 5),
    ("empty", {}),
    ("array", [{"line_items": [], "total_price": "1"}]),
    ("not-json", "{not json"),
    ("text-of-text", '"{}"'),
    ("text-of-number", "42"),
    ("nul-escape", '{"line_items":[],"total_price":"\\u0000"}'),
    ("lone-surrogate", '{"line_items":[],"total_price":"\\ud800"}'),
    ("overflow", '{"line_items":[],"total_price":1e200000}'),
    ("deep-text", "[" * 6000 + "]" * 6000),
    ("bom", "\ufeff{}"),
    ("trailing", "{} {}"),
    ("blank", "  "),
)
for _name, _value in _HOLLOW:
    for _key in ("raw_payload", "order"):
        shapes.add(
            f"hostile-hollow-{_key.replace('_', '-')}-{_name}",
            _WRITER,
            "manual",
            "fallback",
            _data({_key: _value}),
            weight=0.05,
        )


@shapes("hostile-hollow-data-object", _WRITER, "manual", "fallback")
def hollow_data(v: Values) -> Columns:
    values: tuple[Any, ...] = (None, {}, [], "x", {"object": None}, {"object": []}, {"object": "charge"})
    value = v.pick(values)
    return {"event_type": "charge.succeeded", "event_data": {"data": value, "type": "charge.succeeded"}}


@shapes("hostile-wrappers-side-by-side", _WRITER, None, None)
def wrappers_side_by_side(v: Values) -> Columns:
    data = {
        "order": payloads.shopify_order(v),
        "payment": payloads.stripe_charge(v),
        "testimonial": payloads.stored_testimonial(v),
    }
    return {"event_type": "purchase", "event_data": data}


@shapes("hostile-signatures-collide", _WRITER, "manual", "fallback")
def signatures_collide(v: Values) -> Columns:
    announcement = {"cta_text": "x", "image_type": "icon", "priority": 1}
    return {"event_type": "imported", "event_data": {**announcement, "author_name": "Ann", "rating": 5, "message": "x"}}
