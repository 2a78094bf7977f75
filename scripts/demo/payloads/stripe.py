"""Stripe's objects and the envelope of its events. Amounts are in the currency's smallest unit."""

from __future__ import annotations

from scripts.demo.payloads.base import Json
from scripts.demo.values import CURRENCIES, CURRENCY_CODES, Values


def stripe_amount(v: Values, currency: str) -> int:
    exponent = CURRENCIES.get(currency, 2)
    return v.integer(500, 250_000) * (1 if exponent == 2 else 10) if exponent else v.integer(300, 90_000)


def _stripe_details(v: Values, *, known: bool = True) -> Json:
    if not known:
        nothing = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))
        return {"address": nothing, "email": None, "name": None, "phone": None}
    person, place = v.person(), v.place()
    return {
        "address": {
            "city": place.city,
            "country": place.code,
            "line1": "1 Example Street",
            "line2": None,
            "postal_code": "00000",
            "state": place.region,
        },
        "email": person.email,
        "name": person.name,
        "phone": None,
    }


def stripe_charge(v: Values, *, currency: str | None = None, known: bool = True) -> Json:
    currency = currency or v.pick(CURRENCY_CODES)
    amount = stripe_amount(v, currency)
    return {
        "id": f"ch_3{v.token(23)}",
        "object": "charge",
        "amount": amount,
        "amount_captured": amount,
        "amount_refunded": 0,
        "balance_transaction": f"txn_{v.token(24)}",
        "billing_details": _stripe_details(v, known=known),
        "captured": True,
        "created": v.epoch(),
        "currency": currency.lower(),
        "customer": f"cus_{v.token(14)}" if known else None,
        "description": v.product().title if known else None,
        "disputed": False,
        "failure_code": None,
        "livemode": True,
        "metadata": {},
        "paid": True,
        "payment_intent": f"pi_3{v.token(23)}",
        "payment_method": f"pm_1{v.token(23)}",
        "payment_method_details": {"card": {"brand": "visa", "last4": "4242", "country": "US"}, "type": "card"},
        "receipt_email": None,
        "refunded": False,
        "shipping": None,
        "status": "succeeded",
    }


def stripe_payment_intent(v: Values, *, currency: str | None = None) -> Json:
    currency = currency or v.pick(CURRENCY_CODES)
    amount = stripe_amount(v, currency)
    person = v.person()
    return {
        "id": f"pi_3{v.token(23)}",
        "object": "payment_intent",
        "amount": amount,
        "amount_capturable": 0,
        "amount_received": amount,
        "client_secret": "REDACTED",
        "created": v.epoch(),
        "currency": currency.lower(),
        "customer": f"cus_{v.token(14)}",
        "description": v.product().title,
        "livemode": True,
        "metadata": {"order": v.digits(6)},
        "payment_method": f"pm_1{v.token(23)}",
        "payment_method_types": ["card"],
        "receipt_email": person.email,
        "shipping": {"name": person.name, "address": {"city": "Oslo", "country": "NO"}} if v.bits(1) else None,
        "status": "succeeded",
    }


def stripe_checkout_session(v: Values, *, currency: str | None = None) -> Json:
    currency = currency or v.pick(CURRENCY_CODES)
    amount = stripe_amount(v, currency)
    return {
        "id": f"cs_live_{v.token(56)}",
        "object": "checkout.session",
        "amount_subtotal": amount,
        "amount_total": amount,
        "cancel_url": "https://shop.example.com/cancel",
        "created": v.epoch(),
        "currency": currency.lower(),
        "customer": None,
        "customer_details": _stripe_details(v),
        "customer_email": None,
        "livemode": True,
        "metadata": {},
        "mode": "payment",
        "payment_intent": f"pi_3{v.token(23)}",
        "payment_method_types": ["card"],
        "payment_status": "paid",
        "status": "complete",
        "subscription": None,
        "success_url": "https://shop.example.com/thanks",
    }


def stripe_invoice(v: Values) -> Json:
    currency = v.pick(CURRENCY_CODES)
    amount = stripe_amount(v, currency)
    person, product = v.person(), v.product()
    return {
        "id": f"in_1{v.token(23)}",
        "object": "invoice",
        "amount_due": amount,
        "amount_paid": amount,
        "amount_remaining": 0,
        "billing_reason": "subscription_cycle",
        "created": v.epoch(),
        "currency": currency.lower(),
        "customer": f"cus_{v.token(14)}",
        "customer_email": person.email,
        "customer_name": person.name,
        "description": None,
        "lines": {
            "object": "list",
            "data": [
                {
                    "id": f"il_1{v.token(23)}",
                    "object": "line_item",
                    "amount": amount,
                    "currency": currency.lower(),
                    "description": f"1 × {product.title}",
                }
            ],
            "has_more": False,
        },
        "number": f"{v.token(8).upper()}-0001",
        "paid": True,
        "status": "paid",
        "subscription": f"sub_1{v.token(23)}",
        "total": amount,
    }


def stripe_subscription(v: Values, *, legacy_plan: bool = False) -> Json:
    """legacy_plan: the amount stands in `plan` as well as in `items`."""
    currency = v.pick(CURRENCY_CODES)
    amount = stripe_amount(v, currency)
    price = {
        "id": f"price_1{v.token(23)}",
        "object": "price",
        "currency": currency.lower(),
        "nickname": "Pro, monthly",
        "unit_amount": amount,
        "recurring": {"interval": "month", "interval_count": 1},
    }
    subscription: Json = {
        "id": f"sub_1{v.token(23)}",
        "object": "subscription",
        "created": v.epoch(),
        "currency": currency.lower(),
        "customer": f"cus_{v.token(14)}",
        "description": None,
        "items": {
            "object": "list",
            "data": [{"id": f"si_{v.token(14)}", "object": "subscription_item", "price": price, "quantity": 1}],
            "has_more": False,
        },
        "livemode": True,
        "metadata": {},
        "status": "active",
    }
    if legacy_plan:
        subscription["plan"] = {
            "id": "plan_pro_monthly",
            "object": "plan",
            "amount": amount,
            "currency": currency.lower(),
            "interval": "month",
            "nickname": "Pro, monthly",
        }
    return subscription


def stripe_customer(v: Values) -> Json:
    person, place = v.person(), v.place()
    return {
        "id": f"cus_{v.token(14)}",
        "object": "customer",
        "address": {"city": place.city, "country": place.code, "line1": None},
        "balance": 0,
        "created": v.epoch(),
        "currency": None,
        "description": None,
        "email": person.email,
        "livemode": True,
        "metadata": {},
        "name": person.name,
        "phone": None,
    }


def stripe_event(v: Values, kind: str, obj: Json) -> Json:
    """The envelope that webhooks carry the object in."""
    return {
        "id": f"evt_1{v.token(23)}",
        "object": "event",
        "api_version": "2024-06-20",
        "created": v.epoch(),
        "data": {"object": obj},
        "livemode": True,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": kind,
    }
