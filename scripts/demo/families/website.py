"""The website_id family: one handler per service, found by website. Most send a type the enum lacks."""

from __future__ import annotations

from typing import Any

from scripts.demo.shape import Columns, Maker, Shapes
from scripts.demo.values import Person, Values

shapes = Shapes()


def _row(v: Values, sent: str, event_type: str, data: dict[str, Any], message: str, **columns: Any) -> Columns:
    return {
        "event_type": event_type,
        "source": "connector",
        "integration_type": v.repaired(sent),
        "message_template": message,
        "event_data": data,
        **columns,
    }


def _name_or_local_part(v: Values, person: Person) -> str:
    """Several writers fall back to the local part of the e-mail address, which is no name."""
    return person.name if v.bits(1) else person.handle


# ---------- newsletters and communities


@shapes("webhook-beehiiv-subscriber", "webhook-beehiiv", "manual", "fallback")
def beehiiv_subscriber(v: Values) -> Columns:
    person = v.person()
    data = {"subscriber_id": f"sub_{v.uuid()}", "email": person.email, "status": "active"}
    return _row(v, "beehiiv", "conversion", data, "New newsletter subscriber", user_email=person.email)


@shapes("webhook-beehiiv-post", "webhook-beehiiv", "manual", "fallback")
def beehiiv_post(v: Values) -> Columns:
    data = {"post_id": f"post_{v.uuid()}", "title": "Issue #12", "url": "https://news.example.org/p/issue-12"}
    return _row(v, "beehiiv", "visitor", data, "New post published: Issue #12")


@shapes("webhook-circle-member", "webhook-circle", "manual", "fallback")
def circle_member(v: Values) -> Columns:
    person = v.person()
    name = _name_or_local_part(v, person)
    data = {"member_id": v.integer(1, 10**7), "community_id": v.integer(1, 10**5)}
    return _row(
        v, "circle", "conversion", data, f"{name} joined the community", user_name=name, user_email=person.email
    )


@shapes("webhook-circle-post", "webhook-circle", "manual", "fallback")
def circle_post(v: Values) -> Columns:
    name = v.person().name
    data = {"post_id": v.integer(1, 10**7), "post_title": "What is everybody building this week? I have been w"}
    return _row(v, "circle", "visitor", data, f"{name} posted in the community", user_name=name)


@shapes("webhook-circle-comment", "webhook-circle", "manual", "fallback")
def circle_comment(v: Values) -> Columns:
    name = v.person().name
    data = {"comment_id": v.integer(1, 10**7), "post_id": v.integer(1, 10**7)}
    return _row(v, "circle", "visitor", data, f"{name} commented", user_name=name)


@shapes("webhook-convertkit-subscriber", "webhook-convertkit", "manual", "fallback")
def convertkit_subscriber(v: Values) -> Columns:
    person = v.person()
    data = {"subscriber_id": v.integer(1, 10**9), "email": person.email, "form_id": v.integer(1, 10**6)}
    return _row(
        v,
        "convertkit",
        "conversion",
        data,
        f"{person.first} subscribed",
        user_name=person.first,
        user_email=person.email,
    )


@shapes("webhook-convertkit-unsubscribe", "webhook-convertkit", "manual", "fallback")
def convertkit_unsubscribe(v: Values) -> Columns:
    data = {"subscriber_id": v.integer(1, 10**9), "email": v.person().email}
    return _row(v, "convertkit", "visitor", data, "Someone unsubscribed")


@shapes("webhook-convertkit-purchase", "webhook-convertkit", "manual", "fallback")
def convertkit_purchase(v: Values) -> Columns:
    product = v.product()
    data = {
        "purchase_id": v.integer(1, 10**7),
        "product_name": product.title,
        # total_cents / 100; a missing total_cents is NaN, which JSON keeps as null.
        "total": product.cents / 100 if v.chance(0.8) else None,
        "currency": v.currency(),
    }
    return _row(v, "convertkit", "purchase", data, f"Someone bought {product.title}", user_email=v.person().email)


# ---------- payments


@shapes("webhook-flutterwave-charge", "webhook-flutterwave", "flutterwave", "integration_type", weight=3)
def flutterwave_charge(v: Values) -> Columns:
    person = v.person()
    data = {
        "transaction_id": v.integer(10**8, 10**9),
        "amount": v.product().cents / 100,
        "currency": v.pick(("NGN", "KES", "GHS")),
        "payment_type": v.pick(("card", "mobilemoney")),
    }
    return _row(
        v,
        "flutterwave",
        "purchase",
        data,
        f"{person.first} made a payment",
        user_name=person.name,
        user_email=person.email,
        user_location=v.pick((v.place().country, "Africa")),
    )


@shapes("webhook-flutterwave-charge-repaired", "webhook-flutterwave", "flutterwave", "payload_signature")
def flutterwave_charge_repaired(v: Values) -> Columns:
    return {**flutterwave_charge(v), "integration_type": v.pick(("manual", None))}


@shapes("webhook-flutterwave-transfer", "webhook-flutterwave", "flutterwave", "integration_type")
def flutterwave_transfer(v: Values) -> Columns:
    data = {"transfer_id": v.integer(1, 10**8), "amount": v.integer(10, 9000), "currency": "NGN"}
    return _row(v, "flutterwave", "visitor", data, "Transfer completed")


@shapes("webhook-gumroad", "webhook-gumroad", "gumroad", "payload_signature", weight=2)
def gumroad(v: Values) -> Columns:
    person, product = v.person(), v.product()
    data = {
        "product_name": product.title,
        "price": product.cents,
        "currency": v.pick(("usd", "eur", "USD")),
        "sale_id": f"{v.token(22)}==",
    }
    return _row(
        v,
        "gumroad",
        "purchase",
        data,
        f"{person.handle} bought {product.title}",
        user_name=person.handle,
        user_email=person.email,
        user_location=v.place().country,
    )


@shapes("webhook-razorpay-payment", "webhook-razorpay", "razorpay", "payload_signature", weight=2)
def razorpay_payment(v: Values) -> Columns:
    amount = v.product().price
    data = {"payment_id": f"pay_{v.token(14)}", "amount": amount, "currency": "INR", "method": v.pick(("card", "upi"))}
    return _row(
        v,
        "razorpay",
        "purchase",
        data,
        f"Someone made a payment of ₹{amount}",
        user_email=v.person().email,
        # A card network, not a place.
        user_location=v.pick(("Visa", "MasterCard", "RuPay", "India")),
    )


@shapes("webhook-razorpay-subscription", "webhook-razorpay", "manual", "fallback")
def razorpay_subscription(v: Values) -> Columns:
    data = {"subscription_id": f"sub_{v.token(14)}", "plan_id": f"plan_{v.token(14)}", "status": "active"}
    return _row(v, "razorpay", "conversion", data, "New subscription started")


@shapes("webhook-plaid-login", "webhook-plaid", "manual", "fallback")
def plaid_login(v: Values) -> Columns:
    data = {"item_id": v.token(37), "webhook_type": "ITEM"}
    return _row(v, "plaid", "conversion", data, "Someone connected their bank account")


@shapes("webhook-plaid-transactions", "webhook-plaid", "manual", "fallback")
def plaid_transactions(v: Values) -> Columns:
    data = {"item_id": v.token(37), "new_transactions": v.integer(0, 40)}
    return _row(v, "plaid", "visitor", data, "New transactions")


# ---------- sites and courses


@shapes("webhook-framer", "webhook-framer", "manual", "fallback")
def framer(v: Values) -> Columns:
    person = v.person()
    data = {
        "form_id": "contact",
        "submission_data": {"name": person.name, "email": person.email, "message": "Hi, do you ship to Norway?"},
        "submitted_at": v.iso(),
    }
    return _row(
        v,
        "framer",
        "conversion",
        data,
        f"{person.name} submitted a form",
        user_name=person.name,
        user_email=person.email,
    )


@shapes("webhook-ghost-post", "webhook-ghost", "manual", "fallback")
def ghost_post(v: Values) -> Columns:
    data = {
        "title": "On slow software",
        "author": v.pick(("Unknown", v.person().name)),
        "url": "https://blog.example.org/slow/",
    }
    return _row(v, "ghost", "content_published", data, "New post: On slow software")


@shapes("webhook-ghost-member", "webhook-ghost", "manual", "fallback")
def ghost_member(v: Values) -> Columns:
    person = v.person()
    data = {"email": person.email, "status": v.pick(("free", "paid"))}
    # Without a name the writer stores the whole address as the name.
    name = v.pick((person.name, person.email))
    return _row(v, "ghost", "conversion", data, f"{name} became a member", user_name=name, user_email=person.email)


@shapes("webhook-learndash-enrolled", "webhook-learndash", "manual", "fallback")
def learndash_enrolled(v: Values) -> Columns:
    person = v.person()
    data = {"course_id": v.integer(1, 999), "course_title": "Intro to Pottery", "user_id": v.integer(1, 10**5)}
    return _row(
        v,
        "learndash",
        "conversion",
        data,
        f"{person.name} enrolled in Intro to Pottery",
        user_name=person.name,
        user_email=person.email,
    )


@shapes("webhook-learndash-completed", "webhook-learndash", "manual", "fallback")
def learndash_completed(v: Values) -> Columns:
    person = v.person()
    data = {"course_id": v.integer(1, 999), "course_title": "Intro to Pottery", "completion_date": v.iso()}
    return _row(v, "learndash", "conversion", data, f"{person.name} completed a course", user_name=person.name)


@shapes("webhook-learndash-lesson", "webhook-learndash", "manual", "fallback")
def learndash_lesson(v: Values) -> Columns:
    person = v.person()
    data = {"lesson_id": v.integer(1, 999), "lesson_title": "Centring clay", "course_id": v.integer(1, 999)}
    return _row(v, "learndash", "visitor", data, f"{person.name} finished a lesson", user_name=person.name)


def _thinkific(event: str) -> Maker:
    def make(v: Values) -> Columns:
        person = v.person()
        name = _name_or_local_part(v, person)
        data = {"course_name": "Watercolour Basics", "course_id": v.integer(1, 99999)}
        row = _row(v, "thinkific", "conversion", data, f"{name} {event} Watercolour Basics", user_name=name)
        return {**row, "user_email": person.email} if event == "enrolled in" else row

    return make


shapes.add("webhook-thinkific-enrolled", "webhook-thinkific", "manual", "fallback", _thinkific("enrolled in"))
shapes.add("webhook-thinkific-completed", "webhook-thinkific", "manual", "fallback", _thinkific("completed"))

# ---------- analytics


def _mixpanel(event: str, event_type: str) -> Maker:
    def make(v: Values) -> Columns:
        person, place = v.person(), v.place()
        distinct = v.uuid()
        named = v.bits(1)
        data = {
            "event": event,
            "properties": {
                "$name": person.name if named else None,
                "$email": person.email,
                "$city": place.city,
                "amount": v.product().cents / 100,
                "mp_lib": "web",
                "time": v.epoch(),
            },
            "distinct_id": distinct,
        }
        return _row(
            v,
            "mixpanel",
            event_type,
            data,
            f"Someone did {event}",
            user_name=person.name if named else distinct,
            user_email=person.email,
            user_location=v.pick((place.city, place.region)),
        )

    return make


shapes.add(
    "webhook-mixpanel-purchase", "webhook-mixpanel", "manual", "fallback", _mixpanel("Checkout Completed", "purchase")
)
shapes.add("webhook-mixpanel-signup", "webhook-mixpanel", "manual", "fallback", _mixpanel("User Signup", "conversion"))
shapes.add("webhook-mixpanel-visitor", "webhook-mixpanel", "manual", "fallback", _mixpanel("Page View", "visitor"))


def _segment(event: str, event_type: str) -> Maker:
    def make(v: Values) -> Columns:
        person, place = v.person(), v.place()
        data = {
            "event_name": event,
            "properties": {"product": v.product().title, "revenue": v.product().cents / 100, "currency": "USD"},
        }
        return _row(
            v,
            "segment",
            event_type,
            data,
            f"Someone triggered {event}",
            user_name=f"user_{v.token(12)}",  # an opaque id
            user_email=person.email,
            user_location=v.pick((place.city, place.country)),
        )

    return make


shapes.add("webhook-segment-purchase", "webhook-segment", "manual", "fallback", _segment("Order Completed", "purchase"))
shapes.add("webhook-segment-signup", "webhook-segment", "manual", "fallback", _segment("Signed Up", "conversion"))
shapes.add("webhook-segment-visitor", "webhook-segment", "manual", "fallback", _segment("Viewed Page", "visitor"))


@shapes("webhook-segment-identify", "webhook-segment", "manual", "fallback")
def segment_identify(v: Values) -> Columns:
    person = v.person()
    data = {
        "user_id": f"user_{v.token(12)}",
        "traits": {"name": person.name, "email": person.email, "plan": "pro", "age": None},
    }
    return _row(
        v,
        "segment",
        "conversion",
        data,
        f"{person.name} signed up",
        user_name=person.name,
        user_email=person.email,
    )
