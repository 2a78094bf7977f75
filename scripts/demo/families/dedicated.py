"""Dedicated webhooks: they store a condensed event_data, not the provider's payload."""

from __future__ import annotations

import json
from typing import Any

from scripts.demo import payloads
from scripts.demo.shape import Columns, Shapes
from scripts.demo.values import CURRENCIES, CURRENCY_CODES, Values, dumps

shapes = Shapes()

# ---------- webhook-stripe


def _stripe(v: Values, sent: str | None, currency: str | None = None) -> Columns:
    currency = currency or v.pick(CURRENCY_CODES)
    # The writer divides by 100 whatever the currency is: 1980 JPY become 19.8.
    amount = payloads.stripe_amount(v, currency) / 100
    return {
        "event_type": "purchase",
        "source": "connector",
        "integration_type": sent,
        "message_template": f"Someone just made a purchase of ${amount:.2f}",
        "event_data": {"payment_id": f"pi_3{v.token(23)}", "amount": amount, "currency": currency.lower()},
    }


@shapes("webhook-stripe", "webhook-stripe", "stripe", "integration_type", weight=4)
def webhook_stripe(v: Values) -> Columns:
    return _stripe(v, "stripe")


@shapes("webhook-stripe-repaired", "webhook-stripe", "stripe", "payload_signature", weight=8)
def webhook_stripe_repaired(v: Values) -> Columns:
    return _stripe(v, v.pick(("manual", None)))


@shapes("webhook-stripe-jpy", "webhook-stripe", "stripe", "integration_type")
def webhook_stripe_jpy(v: Values) -> Columns:
    return _stripe(v, "stripe", "JPY")


@shapes("webhook-stripe-kwd", "webhook-stripe", "stripe", "integration_type")
def webhook_stripe_kwd(v: Values) -> Columns:
    return _stripe(v, "stripe", "KWD")


@shapes("webhook-stripe-integration", "webhook-stripe", "stripe", "integration", weight=2)
def webhook_stripe_integration(v: Values) -> Columns:
    return {**_stripe(v, "manual"), "integration": "stripe"}


# ---------- webhook-shopify


def _shopify(v: Values, sent: str | None, *, nameless: bool = False) -> Columns:
    person, place, product = v.person(), v.place(), v.product()
    quantity = v.integer(1, 4)
    who = "Someone" if nameless else person.first
    row: Columns = {
        "event_type": "purchase",
        "source": "connector",
        "integration_type": sent,
        "status": "approved",
        "message_template": f"{who} from {place.city} just purchased {product.title}",
        "event_data": {
            "order_id": v.integer(10**12, 10**13),
            "total": payloads.major(product.cents * quantity),
            "currency": v.currency(),
            "product_name": product.title,
            "product_url": None,
            "quantity": quantity,
            "price": product.price,
        },
    }
    if not nameless:
        row |= {"user_name": person.first, "user_location": place.city}
    return row


@shapes("webhook-shopify", "webhook-shopify", "shopify", "integration_type", weight=6)
def webhook_shopify(v: Values) -> Columns:
    return _shopify(v, "shopify")


@shapes("webhook-shopify-repaired", "webhook-shopify", "shopify", "payload_signature", weight=14)
def webhook_shopify_repaired(v: Values) -> Columns:
    return _shopify(v, v.pick(("manual", None)))


@shapes("webhook-shopify-nameless", "webhook-shopify", "shopify", "integration_type")
def webhook_shopify_nameless(v: Values) -> Columns:
    return _shopify(v, "shopify", nameless=True)


@shapes("webhook-shopify-with-url", "webhook-shopify", "shopify", "integration_type")
def webhook_shopify_with_url(v: Values) -> Columns:
    row = _shopify(v, "shopify")
    slug = v.product().slug
    row["event_data"] |= {
        "product_url": f"https://shop.example.com/products/{slug}",
        "product_image": f"https://cdn.example.com/{slug}.jpg",
    }
    return row


@shapes("webhook-shopify-integration", "webhook-shopify", "shopify", "integration", weight=2)
def webhook_shopify_integration(v: Values) -> Columns:
    # The integration's provider is written ' Shopify ' on some websites.
    return {**_shopify(v, None), "integration": "shopify"}


# ---------- webhook-woocommerce


def _woocommerce(v: Values, sent: str | None, *, guest: bool = False) -> Columns:
    person, place, product = v.person(), v.place(), v.product()
    name = "Someone" if guest else person.name
    products: list[dict[str, Any]] = [
        {"name": p.title, "quantity": v.integer(1, 3), "price": p.price if v.bits(1) else p.cents / 100}
        for p in (product, *(v.product() for _ in range(v.integer(0, 2))))
    ]
    cents = sum(round(float(p["price"]) * 100) * p["quantity"] for p in products)
    where = None if guest else f"{place.city}, {place.code}"
    return {
        "event_type": "purchase",
        "source": "connector",
        "integration_type": sent,
        "status": "approved",
        "user_name": name,
        "user_location": where,
        "page_url": v.site.url,
        "message_template": f"{name} from {where or 'Unknown'} just purchased "
        + ", ".join(str(p["name"]) for p in products),
        "event_data": {
            "order_id": v.integer(700, 99999),
            "total": payloads.major(cents),
            "currency": v.currency(),
            "product_name": product.title,
            "product_url": None if v.bits(1) else f"https://shop.example.org/product/{product.slug}/",
            "product_image": "" if v.bits(1) else f"https://shop.example.org/uploads/{product.slug}.webp",
            "products": products,
        },
    }


@shapes("webhook-woocommerce", "webhook-woocommerce", "woocommerce", "integration_type", weight=5)
def webhook_woocommerce(v: Values) -> Columns:
    return _woocommerce(v, "woocommerce")


@shapes("webhook-woocommerce-repaired", "webhook-woocommerce", "woocommerce", "payload_signature", weight=10)
def webhook_woocommerce_repaired(v: Values) -> Columns:
    return _woocommerce(v, v.pick(("manual", None)))


@shapes("webhook-woocommerce-guest", "webhook-woocommerce", "woocommerce", "integration_type")
def webhook_woocommerce_guest(v: Values) -> Columns:
    return _woocommerce(v, "woocommerce", guest=True)


# ---------- webhook-typeform, webhook-calendly


def _typeform(v: Values, sent: str | None) -> Columns:
    person = v.person()
    named = v.chance(0.7)
    name = person.name if named else "Someone"
    return {
        "event_type": "conversion",
        "source": "connector",
        "integration_type": sent,
        "status": "approved",
        "user_name": name,
        "page_url": v.site.url,
        "message_template": f"{name} just submitted Join the waiting list",
        "event_data": {
            "form_id": v.token(8),
            "response_id": v.token(32).lower(),
            "answers": [
                {"type": "text", "answer": person.name},
                {"type": "email", "answer": person.email},
                {"type": "boolean"},
            ],
            "submitted_at": v.iso(),
        },
    }


@shapes("webhook-typeform", "webhook-typeform", "typeform", "integration_type", weight=2)
def webhook_typeform(v: Values) -> Columns:
    return _typeform(v, "typeform")


@shapes("webhook-typeform-repaired", "webhook-typeform", "typeform", "payload_signature", weight=2)
def webhook_typeform_repaired(v: Values) -> Columns:
    return _typeform(v, v.pick(("manual", None)))


def _calendly(v: Values, sent: str | None, kind: str = "invitee.created") -> Columns:
    person = v.person()
    data: dict[str, Any] = {
        "event_type": kind,
        "invitee_email": person.email,
        "calendly_uri": f"https://api.calendly.com/scheduled_events/{v.uuid()}",
    }
    if kind == "invitee.created":
        data["scheduled_at"] = v.iso(172_800)
    name = person.name if v.chance(0.9) else None
    return {
        "event_type": "visitor" if kind == "invitee.canceled" else "conversion",
        "source": "connector",
        "integration_type": sent,
        "status": "approved",
        "user_name": name,
        "page_url": v.site.url,
        "message_template": f"{name or 'Someone'} just scheduled a meeting",
        "event_data": data,
    }


@shapes("webhook-calendly", "webhook-calendly", "calendly", "integration_type", weight=2)
def webhook_calendly(v: Values) -> Columns:
    return _calendly(v, "calendly")


@shapes("webhook-calendly-canceled", "webhook-calendly", "calendly", "integration_type")
def webhook_calendly_canceled(v: Values) -> Columns:
    return _calendly(v, "calendly", "invitee.canceled")


@shapes("webhook-calendly-repaired", "webhook-calendly", "calendly", "payload_signature", weight=2)
def webhook_calendly_repaired(v: Values) -> Columns:
    return _calendly(v, v.pick(("manual", None)))


# ---------- webhook-generic (webhook and zapier): the whole body under raw_payload


def _generic(v: Values, body: Any, sent: str = "webhook", **columns: Any) -> Columns:
    return {
        "event_type": "conversion",
        "source": "connector",
        "integration_type": sent,
        "status": "approved",
        "user_name": None,
        "user_location": None,
        "page_url": v.site.url,
        "message_template": "New activity detected",
        "event_data": {"raw_payload": body},
        **columns,
    }


@shapes("webhook-generic-plain", "webhook-generic", "webhook", "fallback", weight=4)
def webhook_generic_plain(v: Values) -> Columns:
    # An empty mapping: every row is a conversion and "New activity detected".
    return _generic(v, {"kind": "crm.deal.won", "deal": {"id": v.integer(1, 10**6), "value": v.product().cents / 100}})


@shapes("webhook-generic-mapped", "webhook-generic", "webhook", "fallback", weight=3)
def webhook_generic_mapped(v: Values) -> Columns:
    # The default mapping: message, user.name, user.location, type, url.
    person, place = v.person(), v.place()
    body = {
        "message": f"{person.first} joined the course",
        "user": {"name": person.name, "location": place.city},
        "type": "signup",
        "url": "https://course.example.org/join",
    }
    return _generic(
        v,
        body,
        message_template=body["message"],
        user_name=person.name,
        user_location=place.city,
        event_type="signup",
        page_url=body["url"],
    )


@shapes("webhook-generic-any-type", "webhook-generic", "webhook", "fallback")
def webhook_generic_any_type(v: Values) -> Columns:
    # The mapped path may hold any JSON type, which the text column keeps as its text.
    name = v.pick(({"first": "Ann", "last": "Lee"}, ["Ann", "Lee"], 42, True))
    return _generic(v, {"user": {"name": name, "location": 7}}, user_name=json.dumps(name), user_location="7")


@shapes("webhook-generic-custom-fields", "webhook-generic", "webhook", "fallback")
def webhook_generic_custom_fields(v: Values) -> Columns:
    row = _generic(v, {"plan": "gold"})
    row["event_data"] |= {"plan": "gold", "coupon": None}
    return row


@shapes("webhook-generic-custom-raw-payload", "webhook-generic", "webhook", "fallback")
def webhook_generic_custom_raw_payload(v: Values) -> Columns:
    # A custom field that is itself named raw_payload takes the body's place.
    return _generic(v, "gold plan")


@shapes("webhook-generic-shopify", "webhook-generic", "shopify", "payload_signature", weight=3)
def webhook_generic_shopify(v: Values) -> Columns:
    return _generic(v, payloads.shopify_order(v))


@shapes("webhook-generic-shopify-order", "webhook-generic", "shopify", "payload_signature")
def webhook_generic_shopify_order(v: Values) -> Columns:
    return _generic(v, {"order": payloads.shopify_order(v, image=True)})


@shapes("webhook-generic-shopify-text", "webhook-generic", "shopify", "payload_signature")
def webhook_generic_shopify_text(v: Values) -> Columns:
    # raw_payload -> text -> order -> text: the body was posted as text twice.
    return _generic(v, dumps({"order": dumps(payloads.shopify_order(v))}))


@shapes("webhook-generic-woocommerce", "webhook-generic", "woocommerce", "payload_signature", weight=2)
def webhook_generic_woocommerce(v: Values) -> Columns:
    return _generic(v, payloads.woocommerce_order(v))


@shapes("webhook-generic-stripe-event", "webhook-generic", "stripe", "payload_signature", weight=3)
def webhook_generic_stripe_event(v: Values) -> Columns:
    return _generic(v, payloads.stripe_event(v, "charge.succeeded", payloads.stripe_charge(v)))


@shapes("webhook-generic-paypal", "webhook-generic", "paypal", "payload_signature")
def webhook_generic_paypal(v: Values) -> Columns:
    return _generic(v, payloads.paypal_ipn(v))


@shapes("webhook-generic-typeform", "webhook-generic", "typeform", "payload_signature")
def webhook_generic_typeform(v: Values) -> Columns:
    return _generic(v, payloads.typeform_webhook(v))


@shapes("webhook-generic-calendly", "webhook-generic", "calendly", "payload_signature")
def webhook_generic_calendly(v: Values) -> Columns:
    return _generic(v, payloads.calendly_webhook(v))


@shapes("webhook-generic-gumroad", "webhook-generic", "gumroad", "payload_signature")
def webhook_generic_gumroad(v: Values) -> Columns:
    return _generic(v, payloads.gumroad_sale(v))


@shapes("webhook-generic-razorpay", "webhook-generic", "razorpay", "payload_signature")
def webhook_generic_razorpay(v: Values) -> Columns:
    return _generic(v, payloads.razorpay_webhook(v))


@shapes("webhook-generic-flutterwave", "webhook-generic", "flutterwave", "payload_signature")
def webhook_generic_flutterwave(v: Values) -> Columns:
    return _generic(v, payloads.flutterwave_webhook(v))


@shapes("webhook-generic-testimonial", "webhook-generic", "testimonials", "payload_signature")
def webhook_generic_testimonial(v: Values) -> Columns:
    return _generic(v, {"testimonial": payloads.stored_testimonial(v)})


@shapes("webhook-zapier-plain", "webhook-zapier", "zapier", "fallback", weight=2)
def webhook_zapier_plain(v: Values) -> Columns:
    person = v.person()
    return _generic(
        v,
        {"Name": person.name, "Row": v.integer(2, 900)},
        "zapier",
        user_name=person.name,
        message_template=f"{person.first} just signed up",
    )


@shapes("webhook-zapier-stripe", "webhook-zapier", "stripe", "payload_signature")
def webhook_zapier_stripe(v: Values) -> Columns:
    currency = v.pick(tuple(CURRENCIES))
    return _generic(v, {"payment": payloads.stripe_payment_intent(v, currency=currency)}, "zapier")
