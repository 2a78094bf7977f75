"""Orders of Shopify and WooCommerce."""

from __future__ import annotations

from scripts.demo.payloads.base import Json, major
from scripts.demo.values import Person, Place, Values

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
