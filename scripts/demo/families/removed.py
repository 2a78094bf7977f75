"""Writers of August 2025 that are gone; their rows may still be there. All left integration_type at manual."""

from __future__ import annotations

from typing import Any

from scripts.demo.shape import Columns, Maker, Shapes
from scripts.demo.values import Values

shapes = Shapes(old=True)


def _store(v: Values, source: str, *, absent: bool = False) -> dict[str, Any]:
    person, place, product = v.person(), v.place(), v.product()
    return {
        "customer_name": "undefined undefined" if absent else person.name,
        "location": "undefined, undefined" if absent else f"{place.city}, {place.region}",
        "amount": product.cents / 100,
        "currency": v.currency(),
        "product_name": product.title,
        "order_id": v.integer(10**6, 10**7),
        "timestamp": v.iso(),
        "source": source,
    }


@shapes("ecommerce-integration-shopify", "ecommerce-integration", "shopify", "payload_signature", weight=4)
def ecommerce_shopify(v: Values) -> Columns:
    return {
        "event_type": "purchase",
        "message_template": "New purchase",
        "event_data": {**_store(v, "shopify"), "items_count": v.integer(1, 5)},
    }


@shapes("ecommerce-integration-shopify-undefined", "ecommerce-integration", "shopify", "payload_signature")
def ecommerce_shopify_undefined(v: Values) -> Columns:
    return {"event_type": "purchase", "event_data": {**_store(v, "shopify", absent=True), "items_count": 1}}


@shapes("ecommerce-integration-woocommerce", "ecommerce-integration", "woocommerce", "payload_signature", weight=4)
def ecommerce_woocommerce(v: Values) -> Columns:
    return {"event_type": "purchase", "event_data": {**_store(v, "woocommerce"), "status": "processing"}}


def _per_widget(v: Values, platform: str) -> dict[str, Any]:
    person, place, product = v.person(), v.place(), v.product()
    return {
        "customer_name": f"{person.first} {person.last[0]}.",
        "product_name": product.title,
        "amount": f"{v.currency()} {product.price}",
        "location": f"{place.city}, {place.region}",
        "order_number": v.integer(1000, 9999),
        "timestamp": v.iso(),
        "platform": platform,
        "shop_domain": "example-goods.example.com",
    }


@shapes("shopify-webhook", "shopify-webhook", "shopify", "payload_signature", weight=6)
def shopify_webhook(v: Values) -> Columns:
    # One row per active widget of the whole platform.
    return {"event_type": "purchase", "event_data": _per_widget(v, "shopify")}


@shapes("woocommerce-webhook", "woocommerce-webhook", "woocommerce", "payload_signature", weight=4)
def woocommerce_webhook(v: Values) -> Columns:
    data = _per_widget(v, "woocommerce")
    product = v.product()
    data |= {
        "source_url": "https://shop.example.org",
        "currency": data["amount"][:3],
        "price": product.cents / 100,
        "quantity": v.integer(1, 3),
    }
    return {
        "event_type": "purchase",
        "source": "woocommerce",
        "user_name": data["customer_name"],
        "user_location": data["location"],
        "message_template": f"{data['customer_name']} just bought {data['product_name']}",
        "business_type": "ecommerce",
        "business_context": {"industry": "retail"},
        "context_template": "{{name}} just bought {{product}}",
        "event_data": data,
    }


@shapes("social-items-to-events", "social-items-to-events", "testimonials", "payload_signature", weight=3)
def social_items(v: Values) -> Columns:
    person = v.person()
    message = v.pick(("Great team, great food!", "Would come again.", "Sehr zu empfehlen"))
    return {
        "event_type": "review",
        "source": "connector",
        "status": "approved",
        "user_name": person.name,
        "message_template": message,
        "business_context": {"channel": "reviews"},
        "event_data": {
            "message": message,
            "author_name": person.name,
            "author_avatar": f"https://cdn.example.com/avatars/{person.handle}.png",
            "rating": v.integer(1, 5),
            "source": "social_connector",
            "connector_id": v.uuid(),
            "social_item_id": v.uuid(),
            "posted_at": v.iso(-86_400),
            "source_url": "https://reviews.example.com/item/1",
            "original_content": {"text": message, "likes": v.integer(0, 40)},
        },
    }


def _tracked(event_type: str) -> Maker:
    def make(v: Values) -> Columns:
        data = {
            "element": "#buy" if event_type == "click" else None,
            "path": "/pricing",
            "session_id": v.uuid(),
            "timestamp": v.iso(),
            "device": {"type": "mobile", "os": "Android"},
            "geo": {"city": v.place().city, "country": v.place().code},
        }
        return {
            "event_type": event_type,
            "event_data": data,
            "ip": f"203.0.113.{v.integer(1, 254)}",
            "user_agent": "Mozilla/5.0 (Linux; Android 14)",
            "flagged": v.chance(0.05),
        }

    return make


for _event in ("view", "click", "pageview", "scroll_depth_75"):
    shapes.add(f"widget-api-{_event}", "widget-api", "manual", "fallback", _tracked(_event), weight=2)


@shapes("javascript-api-view", "javascript-api", "manual", "fallback", weight=2)
def javascript_view(v: Values) -> Columns:
    return {
        "event_type": "view",
        "event_data": {"page": {"title": "Pricing", "url": "https://www.example.com/pricing"}, "referrer": "", "ts": 1},
    }


@shapes("javascript-api-conversion", "javascript-api", "manual", "fallback", weight=2)
def javascript_conversion(v: Values) -> Columns:
    place, product = v.place(), v.product()
    return {
        "event_type": v.pick(("purchase", "signup")),
        "event_data": {
            "conversion_type": "purchase",
            "value": product.cents / 100,
            "currency": v.currency(),
            "product_name": product.title,
            "customer_name": v.person().name,
            "location": f"{place.city}, {place.country}",
            "timestamp": v.iso(),
            "source": "conversion_tracking",
            "custom_data": {"campaign": "spring"},
        },
    }


@shapes("generate-demo-events", "generate_demo_events()", "manual", "fallback", weight=3)
def generated_demo(v: Values) -> Columns:
    message = f"Someone from {v.place().city} just signed up"
    return {
        "event_type": v.pick(("purchase", "conversion", "visitor")),
        "source": "demo",
        "status": "approved",
        "views": 1,
        "message_template": message,
        "event_data": {"message": message, "demo": True},
    }
