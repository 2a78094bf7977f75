"""The providers' own objects (orders, charges, ...), as their APIs and webhooks send them. Values are invented."""

from __future__ import annotations

from typing import Any

from scripts.demo.values import CURRENCIES, CURRENCY_CODES, Person, Place, Product, Values

Json = dict[str, Any]

# ---------- Shopify


def _shopify_address(person: Person, place: Place) -> Json:
    return {
        "first_name": person.first,
        "last_name": person.last,
        "name": person.name,
        "address1": "1 Example Street",
        "address2": None,
        "city": place.city,
        "province": place.region,
        "country": place.country,
        "country_code": place.code,
        "zip": "00000",
        "phone": None,
        "company": None,
    }


def shopify_order(v: Values, *, guest: bool = False, image: bool = False, number: bool = True) -> Json:
    """A classic order. guest: no customer, no addresses; number=False: only the id tells the order."""
    person, place = v.person(), v.place()
    currency = v.currency()
    items, cents = [], 0
    for _ in range(v.integer(1, 3)):
        product, quantity = v.product(), v.integer(1, 3)
        cents += product.cents * quantity
        item: Json = {
            "id": v.integer(10**12, 10**13),
            "product_id": v.integer(10**12, 10**13),
            "variant_id": v.integer(10**12, 10**13),
            "title": product.title,
            "name": f"{product.title} - M",
            "variant_title": "M",
            "sku": f"SKU-{v.digits(5)}",
            "vendor": "Example Goods",
            "quantity": quantity,
            "price": product.price,
            "total_discount": "0.00",
            "grams": 200,
            "taxable": True,
            "requires_shipping": True,
            "fulfillment_status": None,
            "properties": [],
            "tax_lines": [],
        }
        if image:
            item["image"] = {"src": f"https://cdn.example.com/{product.slug}.jpg"}
        items.append(item)
    order: Json = {
        "id": v.integer(10**12, 10**13),
        "name": f"#{v.integer(1000, 9999)}",
        "email": "" if guest else person.email,
        "created_at": v.iso_offset(),
        "updated_at": v.iso_offset(),
        "currency": currency,
        "presentment_currency": currency,
        "total_price": major(cents),
        "subtotal_price": major(cents),
        "total_tax": "0.00",
        "total_discounts": "0.00",
        "financial_status": "paid",
        "fulfillment_status": None,
        "gateway": "bogus",
        "source_name": "web",
        "test": False,
        "token": v.token(32),
        "note": None,
        "note_attributes": [],
        "discount_codes": [],
        "line_items": items,
        "shipping_lines": [{"title": "Standard", "price": "0.00", "code": "STD", "source": "shopify"}],
        "tax_lines": [],
        "refunds": [],
    }
    if number:
        order["order_number"] = int(order["name"][1:])
    else:
        del order["name"]
    if not guest:
        order["billing_address"] = _shopify_address(person, place)
        order["shipping_address"] = _shopify_address(person, place)
        order["customer"] = {
            "id": v.integer(10**12, 10**13),
            "email": person.email,
            "first_name": person.first,
            "last_name": person.last,
            "orders_count": v.integer(1, 9),
            "default_address": _shopify_address(person, place),
        }
    return order


def major(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


# ---------- WooCommerce


def _woo_address(person: Person, place: Place, **more: str) -> Json:
    return {
        "first_name": person.first,
        "last_name": person.last,
        "company": "",
        "address_1": "1 Example Street",
        "address_2": "",
        "city": place.city,
        "state": place.region,
        "postcode": "00000",
        "country": place.code,
        **more,
    }


def woocommerce_order(v: Values, *, text_prices: bool = False, items: int | None = None) -> Json:
    """A REST (v3) order; text_prices: item prices as text, as older versions send them."""
    person, place = v.person(), v.place()
    lines, cents = [], 0
    for n in range(v.integer(1, 3) if items is None else items):
        product, quantity = v.product(), v.integer(1, 3)
        cents += product.cents * quantity
        lines.append(
            {
                "id": 300 + n,
                "name": product.title,
                "product_id": v.integer(10, 999),
                "variation_id": 0,
                "quantity": quantity,
                "tax_class": "",
                "subtotal": major(product.cents * quantity),
                "total": major(product.cents * quantity),
                "total_tax": "0.00",
                "taxes": [],
                "meta_data": [],
                "sku": "",
                "price": product.price if text_prices else product.cents / 100,
                "image": {"id": "12", "src": f"https://shop.example.org/uploads/{product.slug}.webp"},
            }
        )
    number = v.integer(700, 99999)
    return {
        "id": number,
        "parent_id": 0,
        "number": str(number),
        "order_key": f"wc_order_{v.token(13)}",
        "created_via": "checkout",
        "version": "9.4.2",
        "status": v.pick(("processing", "completed", "on-hold")),
        "currency": v.currency(),
        "date_created": v.iso_local(),
        "date_created_gmt": v.iso_local(),
        "discount_total": "0.00",
        "shipping_total": "0.00",
        "total": major(cents),
        "total_tax": "0.00",
        "prices_include_tax": False,
        "customer_id": 0,
        "customer_note": "",
        "billing": _woo_address(person, place, email=person.email, phone=""),
        "shipping": _woo_address(person, place),
        "payment_method": "bacs",
        "payment_method_title": "Direct bank transfer",
        "transaction_id": "",
        "date_paid": None,
        "meta_data": [],
        "line_items": lines,
        "shipping_lines": [],
        "coupon_lines": [],
        "refunds": [],
    }


# ---------- Stripe (amounts in the currency's smallest unit)


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


# ---------- others


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


def testimonial(v: Values, *, rating: Any = None) -> Json:
    """A row of the product's table testimonials."""
    person = v.person()
    return {
        "author_name": person.name,
        "author_email": person.email,
        "author_avatar_url": f"https://cdn.example.com/avatars/{person.handle}.png" if v.bits(1) else None,
        "rating": v.pick((5, 5, 5, 4, 4, 3, 2, 1)) if rating is None else rating,
        "message": v.pick(("Changed how we work.", "Arrived in two days, love it!", "Bien, mais un peu cher…", "最高です")),
        "image_url": f"https://cdn.example.com/shots/{v.token(8)}.jpg" if v.bits(1) else None,
        "video_url": None,
        "status": "approved",
        "source": v.pick(("api", "form", "import")),
        "metadata": {"verified_purchase": bool(v.bits(1)), "locale": "en"},
    }
