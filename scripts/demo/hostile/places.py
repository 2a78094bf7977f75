"""Rows whose provider is certain, with an odd value put where the provider's models read one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scripts.demo.shape import Columns

#: Stands in a payload where raw JSON text goes (a number that Python cannot hold).
SLOT = "\ue000slot\ue000"

Placer = Callable[[Any], Columns]


def _shopify(x: Any) -> Columns:
    return {
        "event_type": "purchase",
        "integration_type": "shopify",
        "event_data": {
            "id": x,
            "order_number": x,
            "currency": "USD",
            "total_price": x,
            "customer": {"first_name": x, "last_name": x, "email": x},
            "shipping_address": {"city": x, "country": x},
            "line_items": [{"title": x, "price": x, "quantity": x, "image": {"src": x}}],
        },
    }


def _stripe(x: Any) -> Columns:
    return {
        "event_type": "charge.succeeded",
        "integration_type": "stripe",
        "event_data": {
            "object": "charge",
            "id": "ch_hostile",
            "amount": x,
            "currency": "usd",
            "description": x,
            "billing_details": {"name": x, "email": x, "address": {"city": x, "country": x}},
            "status": x,
        },
    }


def _woocommerce(x: Any) -> Columns:
    return {
        "event_type": "order",
        "integration_type": "woocommerce",
        "event_data": {
            "number": x,
            "total": x,
            "currency": "JPY",
            "billing": {"first_name": x, "last_name": x, "city": x, "country": x},
            "line_items": [{"name": x, "price": x, "quantity": x}, {"name": x, "price": x, "quantity": 1}],
        },
    }


def _testimonial(x: Any) -> Columns:
    return {
        "event_type": "testimonial",
        "event_data": {
            "author_name": x,
            "rating": x,
            "message": x,
            "author_avatar_url": x,
            "image_url": x,
            "metadata": {"verified_purchase": x},
        },
    }


def _announcement(x: Any) -> Columns:
    return {
        "event_type": "announcement",
        "event_data": {
            "title": x,
            "message": x,
            "cta_text": x,
            "cta_url": x,
            "icon": x,
            "emoji": x,
            "image_type": x,
            "image_url": x,
            "priority": x,
        },
    }


def _visitors(x: Any) -> Columns:
    return {
        "event_type": "live_visitors",
        "event_data": {"visitor_count": x, "count": x, "location": x, "page_url": x, "page_name": x},
    }


def _capture(x: Any) -> Columns:
    return {
        "event_type": "form_submission",
        "event_data": {
            "name": x,
            "city": x,
            "action": x,
            "visitor_count": x,
            "page_url": "https://shop.example.com/",
            "auto_detected": True,
        },
    }


def _generic(x: Any) -> Columns:
    return {
        "event_type": "purchase",
        "integration_type": "typeform",
        "event_data": {
            "message": x,
            "product_name": x,
            "product_image": x,
            "amount": x,
            "currency": x,
            "rating": x,
            "author_name": x,
            "page_url": x,
        },
    }


#: Provider, rule that finds it, and the function that puts a value in all its places.
PLACES: tuple[tuple[str, str, Placer], ...] = (
    ("shopify", "integration_type", _shopify),
    ("stripe", "integration_type", _stripe),
    ("woocommerce", "integration_type", _woocommerce),
    ("testimonials", "event_rule", _testimonial),
    ("announcements", "event_rule", _announcement),
    ("live_visitors", "event_rule", _visitors),
    ("instant_capture", "event_rule", _capture),
    ("typeform", "integration_type", _generic),
)
