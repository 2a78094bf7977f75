"""Imported rows: raw and wrapped provider payloads, testimonials and visitor counts."""

from __future__ import annotations

from typing import Any

from scripts.demo import payloads
from scripts.demo.shape import Columns, Maker, Shapes
from scripts.demo.values import Values, dumps

shapes = Shapes()


def _raw(v: Values, data: Any, event_type: str = "purchase", **columns: Any) -> Columns:
    return {"event_type": event_type, "event_data": data, "integration_type": v.pick(("manual", None)), **columns}


# ---------- Shopify


@shapes("raw-shopify-order", "import", "shopify", "payload_signature", weight=6)
def raw_shopify(v: Values) -> Columns:
    return _raw(v, payloads.shopify_order(v))


@shapes("raw-shopify-order-typed", "import", "shopify", "integration_type", weight=2)
def raw_shopify_typed(v: Values) -> Columns:
    return _raw(v, payloads.shopify_order(v, image=True), integration_type="shopify")


@shapes("raw-shopify-order-guest", "import", "shopify", "payload_signature")
def raw_shopify_guest(v: Values) -> Columns:
    return _raw(v, payloads.shopify_order(v, guest=True))


@shapes("raw-shopify-order-unnumbered", "import", "shopify", "payload_signature")
def raw_shopify_unnumbered(v: Values) -> Columns:
    return _raw(v, payloads.shopify_order(v, number=False))


@shapes("wrapped-shopify-order", "import", "shopify", "payload_signature", weight=2)
def wrapped_shopify(v: Values) -> Columns:
    return _raw(v, {"order": payloads.shopify_order(v)})


@shapes("wrapped-shopify-three-deep", "import", "shopify", "payload_signature")
def wrapped_shopify_three(v: Values) -> Columns:
    return _raw(v, {"raw_payload": {"raw_payload": {"order": payloads.shopify_order(v)}}})


@shapes("wrapped-shopify-text", "import", "shopify", "payload_signature")
def wrapped_shopify_text(v: Values) -> Columns:
    return _raw(v, {"order": dumps(payloads.shopify_order(v))})


# ---------- WooCommerce


@shapes("raw-woocommerce-order", "import", "woocommerce", "payload_signature", weight=4)
def raw_woocommerce(v: Values) -> Columns:
    return _raw(v, payloads.woocommerce_order(v), "order")


@shapes("raw-woocommerce-order-text-prices", "import", "woocommerce", "payload_signature")
def raw_woocommerce_text(v: Values) -> Columns:
    return _raw(v, payloads.woocommerce_order(v, text_prices=True), "order")


@shapes("wrapped-woocommerce-order", "import", "woocommerce", "payload_signature")
def wrapped_woocommerce(v: Values) -> Columns:
    return _raw(v, {"order": payloads.woocommerce_order(v)}, "order")


@shapes("raw-woocommerce-order-empty", "import", "woocommerce", "payload_signature")
def raw_woocommerce_empty(v: Values) -> Columns:
    return _raw(v, payloads.woocommerce_order(v, items=0), "order")


# ---------- Stripe


def _stripe(kind: str) -> Maker:
    def make(v: Values) -> Columns:
        makers: dict[str, payloads.MakePayload] = {
            "charge": payloads.stripe_charge,
            "payment_intent": payloads.stripe_payment_intent,
            "checkout.session": payloads.stripe_checkout_session,
            "invoice": payloads.stripe_invoice,
            "subscription": payloads.stripe_subscription,
            "customer": payloads.stripe_customer,
        }
        return _raw(v, makers[kind](v), f"{kind}.created")

    return make


for _kind in ("charge", "payment_intent", "checkout.session", "invoice", "subscription", "customer"):
    shapes.add(f"raw-stripe-{_kind}", "import", "stripe", "payload_signature", _stripe(_kind), weight=2)


def _stripe_envelope(kind: str, obj: str) -> Maker:
    inner = _stripe(obj)

    def make(v: Values) -> Columns:
        return _raw(v, payloads.stripe_event(v, kind, inner(v)["event_data"]), kind)

    return make


for _kind, _obj in (
    ("charge.succeeded", "charge"),
    ("payment_intent.succeeded", "payment_intent"),
    ("checkout.session.completed", "checkout.session"),
    ("invoice.paid", "invoice"),
    ("customer.subscription.created", "subscription"),
    ("customer.created", "customer"),
):
    shapes.add(f"event-stripe-{_kind}", "import", "stripe", "payload_signature", _stripe_envelope(_kind, _obj))


def _stripe_currency(currency: str) -> Maker:
    def make(v: Values) -> Columns:
        return _raw(v, payloads.stripe_charge(v, currency=currency), "charge.succeeded", integration_type="stripe")

    return make


# Decimals by Stripe's own list: JPY and MGA have none, KWD three, ISK and UGX are charged as two-decimal.
for _currency in ("JPY", "KWD", "MGA", "ISK", "UGX", "HUF", "XYZ"):
    shapes.add(
        f"raw-stripe-{_currency.lower()}",
        "import",
        "stripe",
        "integration_type",
        _stripe_currency(_currency),
    )


@shapes("raw-stripe-charge-anonymous", "import", "stripe", "payload_signature")
def raw_stripe_anonymous(v: Values) -> Columns:
    return _raw(v, payloads.stripe_charge(v, known=False), "charge.succeeded")


@shapes("raw-stripe-no-currency", "import", "stripe", "payload_signature")
def raw_stripe_no_currency(v: Values) -> Columns:
    # Minor units of no known currency: there is no amount to show.
    return _raw(v, {**payloads.stripe_checkout_session(v), "currency": None}, "checkout.session.completed")


@shapes("raw-stripe-subscription-plan", "import", "stripe", "payload_signature")
def raw_stripe_plan(v: Values) -> Columns:
    return _raw(v, payloads.stripe_subscription(v, legacy_plan=True), "customer.subscription.created")


@shapes("wrapped-stripe-payment", "import", "stripe", "payload_signature")
def wrapped_stripe_payment(v: Values) -> Columns:
    return _raw(v, {"payment": payloads.stripe_payment_intent(v)})


@shapes("wrapped-stripe-event-text", "import", "stripe", "payload_signature")
def wrapped_stripe_event_text(v: Values) -> Columns:
    event = payloads.stripe_event(v, "charge.succeeded", payloads.stripe_charge(v))
    return _raw(v, {"raw_payload": dumps(event)}, "charge.succeeded")


# ---------- other services


def _other(event_type: str, kind: str) -> Maker:
    def make(v: Values) -> Columns:
        makers: dict[str, payloads.MakePayload] = {
            "paypal": payloads.paypal_ipn,
            "typeform": payloads.typeform_webhook,
            "calendly": payloads.calendly_webhook,
            "gumroad": payloads.gumroad_sale,
            "razorpay": payloads.razorpay_webhook,
            "flutterwave": payloads.flutterwave_webhook,
        }
        return _raw(v, makers[kind](v), event_type)

    return make


for _kind, _type in (
    ("paypal", "payment"),
    ("typeform", "conversion"),
    ("calendly", "conversion"),
    ("gumroad", "purchase"),
    ("razorpay", "payment.captured"),
    ("flutterwave", "charge.completed"),
):
    shapes.add(f"raw-{_kind}", "import", _kind, "payload_signature", _other(_type, _kind))


@shapes("raw-gumroad-form", "import", "gumroad", "payload_signature")
def raw_gumroad_form(v: Values) -> Columns:
    return _raw(v, payloads.gumroad_sale(v, as_form=True))


@shapes("raw-flutterwave-typed", "import", "flutterwave", "integration_type")
def raw_flutterwave_typed(v: Values) -> Columns:
    return _raw(v, payloads.flutterwave_webhook(v), "charge.completed", integration_type="flutterwave")


@shapes("raw-google-review", "import", "google_reviews", "integration_type", weight=2)
def raw_google_review(v: Values) -> Columns:
    # It has a testimonial's keys and stays what it is, because integration_type names another source.
    data = payloads.stored_testimonial(v)
    return _raw(v, data, "review", integration_type="google_reviews", user_name=data["author_name"])


# ---------- testimonials


@shapes("testimonial", "import testimonials", "testimonials", "event_rule", weight=10)
def testimonial(v: Values) -> Columns:
    data = payloads.stored_testimonial(v)
    return {
        "event_type": "testimonial",
        "status": "approved",
        "user_name": data["author_name"],
        "message_template": data["message"],
        "event_data": data,
    }


@shapes("testimonial-submitted", "import testimonials", "testimonials", "event_rule", weight=2)
def testimonial_submitted(v: Values) -> Columns:
    return {
        "event_type": "testimonial_submitted",
        "event_data": payloads.stored_testimonial(v),
        "integration_type": None,
    }


@shapes("testimonial-signature", "import testimonials", "testimonials", "payload_signature", weight=2)
def testimonial_signature(v: Values) -> Columns:
    return _raw(v, payloads.stored_testimonial(v), "review")


@shapes("testimonial-wrapped", "import testimonials", "testimonials", "event_rule")
def testimonial_wrapped(v: Values) -> Columns:
    return {"event_type": "testimonial", "event_data": {"testimonial": payloads.stored_testimonial(v)}}


@shapes("testimonial-half-star", "import testimonials", "testimonials", "event_rule")
def testimonial_half(v: Values) -> Columns:
    return {
        "event_type": "testimonial",
        "event_data": payloads.stored_testimonial(v, rating=v.pick((3.5, "4.5", 4.49))),
    }


@shapes("testimonial-unrated", "import testimonials", "testimonials", "event_rule")
def testimonial_unrated(v: Values) -> Columns:
    # Out of range is unusable, never cut to five.
    return {
        "event_type": "testimonial",
        "event_data": payloads.stored_testimonial(v, rating=v.pick((0, 6, -1, "10/10", "five"))),
    }


@shapes("testimonial-content", "import testimonials", "testimonials", "event_rule")
def testimonial_content(v: Values) -> Columns:
    person = v.person()
    return {
        "event_type": "testimonial",
        "user_email": person.email,
        "event_data": {
            "author": {"name": person.name},
            "content": "Solid work, on time.",
            "rating": "5",
            "verified": True,
        },
    }


# ---------- live visitors


@shapes("live-visitors", "import visitors", "live_visitors", "event_rule", weight=8)
def live_visitors(v: Values) -> Columns:
    place = v.place()
    return {
        "event_type": "live_visitors",
        "page_url": f"{v.site.url}/pricing",
        "event_data": {
            "visitor_count": v.integer(1, 250),
            "page_url": f"{v.site.url}/pricing",
            "page_name": "Pricing",
            "location": f"{place.city}, {place.country}",
        },
    }


@shapes("active-visitors", "import visitors", "live_visitors", "event_rule", weight=2)
def active_visitors(v: Values) -> Columns:
    return {
        "event_type": "active_visitors",
        "page_url": f"{v.site.url}/",
        "user_location": v.place().country,
        "event_data": {"active_visitors": v.integer(1, 90), "visitor_location": v.place().city},
    }


@shapes("visitor-count-text", "import visitors", "live_visitors", "event_rule")
def visitor_count_text(v: Values) -> Columns:
    return {"event_type": "visitor_count", "event_data": {"count": "1,204", "message": "1,204 people are here"}}


@shapes("visitor-count-signature", "import visitors", "live_visitors", "payload_signature", weight=2)
def visitor_count_signature(v: Values) -> Columns:
    return _raw(v, {"visitor_count": v.integer(0, 40), "page_url": f"{v.site.url}/cart"}, "visitor")


@shapes("visitor-count-zero", "import visitors", "live_visitors", "event_rule")
def visitor_count_zero(v: Values) -> Columns:
    return {"event_type": "live_visitors", "event_data": {"visitor_count": 0, "page_name": "Home"}}


@shapes("visitor-count-missing", "import visitors", "live_visitors", "event_rule")
def visitor_count_missing(v: Values) -> Columns:
    return {"event_type": "live_visitors", "event_data": {"page_name": "Home"}}


# ---------- announcements from elsewhere


@shapes("announcement-wrapped", "import", "announcements", "event_rule")
def announcement_wrapped(v: Values) -> Columns:
    config = {
        "title": "New branch",
        "message": "We open on Monday",
        "cta_text": "Map",
        "cta_url": "https://example.org/map",
    }
    return {"event_type": "announcement", "event_data": {"announcement": {"config": config}}}


@shapes("announcement-signature", "import", "announcements", "payload_signature")
def announcement_signature(v: Values) -> Columns:
    data = {
        "title": "Restock",
        "message": "The blue one is back",
        "cta_text": "See it",
        "cta_url": "/blue",
        "image_type": "emoji",
        "emoji": "💙",
        "priority": 3,
    }
    return _raw(v, data, "message")


@shapes("no-clue", "import", "manual", "fallback", weight=4)
def no_clue(v: Values) -> Columns:
    return _raw(v, {"note": "imported", "n": v.integer(1, 99)}, "imported")


@shapes("empty-object", "import", "manual", "fallback", weight=2)
def empty_object(v: Values) -> Columns:
    return _raw(v, {}, v.pick(("conversion", "visitor")))


@shapes("two-signatures", "import", "manual", "fallback")
def two_signatures(v: Values) -> Columns:
    # Both PayPal's and Gumroad's signature fit: none counts.
    return _raw(v, {**payloads.paypal_ipn(v), **payloads.gumroad_sale(v)})
