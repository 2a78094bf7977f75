"""PayPal, forms, bookings, other payment services, and the product's own testimonials."""

from __future__ import annotations

from typing import Any

from scripts.demo.payloads.base import Json
from scripts.demo.values import Values


def paypal_ipn(v: Values, kind: str = "web_accept", status: str = "Completed", gross: str | None = None) -> Json:
    """An IPN form: flat, and every value is text."""
    person, place, product = v.person(), v.place(), v.product()
    return {
        "txn_id": v.token(17).upper(),
        "txn_type": kind,
        "payment_status": status,
        "payment_type": "instant",
        "payment_date": v.created.strftime("%H:%M:%S %b %d, %Y PST"),
        "mc_gross": gross or product.price,
        "mc_fee": "1.02",
        "mc_currency": v.currency(),
        "first_name": person.first,
        "last_name": person.last,
        "payer_email": person.email,
        "payer_id": v.token(13).upper(),
        "payer_status": "verified",
        "address_city": place.city,
        "address_country": place.country,
        "address_country_code": place.code,
        "item_name": product.title,
        "item_number": "",
        "quantity": "1",
        "custom": "",
        "notify_version": "3.9",
        "charset": "UTF-8",
        "verify_sign": v.token(40),
    }


def typeform_webhook(v: Values) -> Json:
    person = v.person()
    form = v.token(8)
    return {
        "event_id": v.token(26).upper(),
        "event_type": "form_response",
        "form_response": {
            "form_id": form,
            "token": v.token(32).lower(),
            "landed_at": v.iso(-90),
            "submitted_at": v.iso(),
            "definition": {
                "id": form,
                "title": "Join the waiting list",
                "fields": [
                    {"id": "a1", "ref": "full_name", "type": "short_text", "title": "What's your name?"},
                    {"id": "b2", "ref": "email", "type": "email", "title": "And your e-mail?"},
                    {"id": "c3", "ref": "terms", "type": "yes_no", "title": "Keep me posted"},
                ],
            },
            "answers": [
                {"type": "text", "text": person.name, "field": {"id": "a1", "type": "short_text", "ref": "full_name"}},
                {"type": "email", "email": person.email, "field": {"id": "b2", "type": "email", "ref": "email"}},
                {"type": "boolean", "boolean": True, "field": {"id": "c3", "type": "yes_no", "ref": "terms"}},
            ],
        },
    }


def calendly_webhook(v: Values, kind: str = "invitee.created") -> Json:
    person = v.person()
    uri = f"https://api.calendly.com/scheduled_events/{v.uuid()}"
    return {
        "created_at": v.iso(),
        "created_by": f"https://api.calendly.com/users/{v.uuid()}",
        "event": kind,
        "payload": {
            "cancel_url": "https://calendly.com/cancellations/example",
            "email": person.email,
            "event": uri,
            "first_name": None,
            "last_name": None,
            "name": person.name,
            "questions_and_answers": [],
            "scheduled_event": {"name": "Intro call", "start_time": v.iso(172_800), "uri": uri},
            "status": "active",
            "timezone": "Europe/Berlin",
            "uri": f"{uri}/invitees/{v.uuid()}",
        },
    }


def gumroad_sale(v: Values, *, as_form: bool = False) -> Json:
    """A ping; prices in cents, currency in lower case. as_form: posted form-encoded, so every value is text."""
    person, product, place = v.person(), v.product(), v.place()
    sale = v.token(22)
    body: Json = {
        "seller_id": v.token(22),
        "product_id": v.token(22),
        "product_name": product.title,
        "permalink": v.token(4),
        "product_permalink": f"https://example.gumroad.com/l/{product.slug}",
        "email": person.email,
        "full_name": person.name,
        "price": product.cents,
        "gumroad_fee": product.cents // 10,
        "currency": "usd",
        "quantity": 1,
        "order_number": v.integer(10**8, 10**9),
        "sale_id": sale,
        "sale_timestamp": v.iso(),
        "ip_country": place.country,
        "refunded": False,
        "test": False,
    }
    if as_form:
        return {k: str(x).lower() if isinstance(x, bool) else str(x) for k, x in body.items()}
    return body


def razorpay_webhook(v: Values) -> Json:
    person, product = v.person(), v.product()
    return {
        "entity": "event",
        "account_id": f"acc_{v.token(14)}",
        "event": "payment.captured",
        "contains": ["payment"],
        "payload": {
            "payment": {
                "entity": {
                    "id": f"pay_{v.token(14)}",
                    "entity": "payment",
                    "amount": product.cents,
                    "currency": "INR",
                    "status": "captured",
                    "method": "card",
                    "card": {"network": "Visa", "last4": "1111"},
                    "description": product.title,
                    "email": person.email,
                    "contact": "+910000000000",
                    "notes": [],
                    "created_at": v.epoch(),
                }
            }
        },
        "created_at": v.epoch(),
    }


def flutterwave_webhook(v: Values) -> Json:
    person = v.person()
    amount = v.product().cents / 100
    return {
        "event": "charge.completed",
        "data": {
            "id": v.integer(10**8, 10**9),
            "tx_ref": f"ref-{v.token(10)}",
            "flw_ref": f"FLW-MOCK-{v.token(12)}",
            "amount": amount,
            "charged_amount": amount,
            "currency": v.pick(("NGN", "KES", "GHS", "USD")),
            "status": "successful",
            "payment_type": v.pick(("card", "mobilemoney", "bank_transfer")),
            "created_at": v.iso(),
            "customer": {"id": v.integer(1, 10**6), "name": person.name, "email": person.email, "phone_number": None},
        },
    }


def jotform_answers(v: Values, *, split_name: bool = True) -> Json:
    """Numeric keys with `answer`, which for a name may be an object."""
    person = v.person()
    name: Any = {"first": person.first, "last": person.last} if split_name else person.name
    return {
        "3": {"name": "fullName3", "order": "1", "text": "Full Name", "type": "control_fullname", "answer": name},
        "4": {"name": "email", "order": "2", "text": "E-mail", "type": "control_email", "answer": person.email},
        "5": {"name": "comment", "order": "3", "text": "Anything else?", "type": "control_textarea", "answer": "No"},
    }


def webflow_form(v: Values) -> Json:
    person = v.person()
    return {
        "triggerType": "form_submission",
        "payload": {
            "name": "Contact form",
            "siteId": v.token(24).lower(),
            "data": {"Name": person.name, "Email": person.email, "Message": "Hello"},
            "submittedAt": v.iso(),
            "id": v.token(24).lower(),
        },
    }


def webflow_order(v: Values, trigger: str = "ecomm_new_order") -> Json:
    person, place, product = v.person(), v.place(), v.product()
    return {
        "triggerType": trigger,
        "payload": {
            "orderId": v.token(8),
            "status": "unfulfilled",
            "customerInfo": {"fullName": person.name, "email": person.email},
            "allAddresses": [{"type": "shipping", "city": place.city, "country": place.code}],
            "totals": {"total": {"unit": "USD", "value": product.cents, "string": f"${product.price}"}},
            "purchasedItems": [{"productName": product.title, "count": 1}],
            "acceptedOn": v.iso(),
        },
    }


def wordpress_hook(v: Values, hook: str) -> Json:
    person = v.person()
    return {
        "hook": hook,
        "post": {"ID": v.integer(10, 9999), "post_title": "Ten things we learnt", "post_status": "publish"},
        "user": {"ID": v.integer(2, 999), "display_name": person.name, "user_email": person.email},
        "author": {"name": v.person().name},
        "site": "https://blog.example.org",
    }


def stored_testimonial(v: Values, *, rating: Any = None) -> Json:
    """A row of the product's table testimonials."""
    person = v.person()
    return {
        "author_name": person.name,
        "author_email": person.email,
        "author_avatar_url": f"https://cdn.example.com/avatars/{person.handle}.png" if v.bits(1) else None,
        "rating": v.pick((5, 5, 5, 4, 4, 3, 2, 1)) if rating is None else rating,
        "message": v.pick(
            ("Changed how we work.", "Arrived in two days, love it!", "Bien, mais un peu cher…", "最高です")
        ),
        "image_url": f"https://cdn.example.com/shots/{v.token(8)}.jpg" if v.bits(1) else None,
        "video_url": None,
        "status": "approved",
        "source": v.pick(("api", "form", "import")),
        "metadata": {"verified_purchase": bool(v.bits(1)), "locale": "en"},
    }
