"""The connector_id family: the raw payload is the event_data, and integration_type is left at its default, manual."""

from __future__ import annotations

from typing import Any

from scripts.demo import payloads
from scripts.demo.shape import Columns, Maker, Shapes
from scripts.demo.values import Values, dumps

shapes = Shapes()


def _row(event_type: str, data: Any, message: str | None, **columns: Any) -> Columns:
    return {
        "event_type": event_type,
        "source": "connector",
        "status": "approved",
        "event_data": data,
        "message_template": message,
        **columns,
    }


# ---------- webhook-paypal


def _paypal(event_type: str, kind: str, status: str = "Completed", gross: str | None = None) -> Maker:
    def make(v: Values) -> Columns:
        data = payloads.paypal_ipn(v, kind, status, gross)
        handle = data["payer_email"].split("@")[0]
        anonymous = v.chance(0.3)
        if anonymous:
            del data["first_name"], data["last_name"]
        name = handle if anonymous else f"{data['first_name']} {data['last_name']}"
        columns: Columns = {"user_name": name}
        if v.bits(1):
            columns["user_location"] = f"{data['address_city']}, {data['address_country']}"
        # Anything the writer does not know is a 'payment' with an empty message.
        message = "" if event_type == "payment" else f"{name} made a {event_type} of ${data['mc_gross']}"
        return _row(event_type, data, message, **columns)

    return make


shapes.add(
    "webhook-paypal-purchase", "webhook-paypal", "paypal", "payload_signature", _paypal("purchase", "web_accept")
)
shapes.add("webhook-paypal-donation", "webhook-paypal", "paypal", "payload_signature", _paypal("donation", "donate"))
shapes.add(
    "webhook-paypal-refund",
    "webhook-paypal",
    "paypal",
    "payload_signature",
    _paypal("refund", "web_accept", "Refunded", "-5.00"),
)
shapes.add(
    "webhook-paypal-grouped",
    "webhook-paypal",
    "paypal",
    "payload_signature",
    _paypal("purchase", "cart", "Completed", "1,299.00"),
)
shapes.add(
    "webhook-paypal-subscription-payment",
    "webhook-paypal",
    "paypal",
    "payload_signature",
    _paypal("subscription_payment", "subscr_payment"),
)
shapes.add(
    "webhook-paypal-payment", "webhook-paypal", "paypal", "payload_signature", _paypal("payment", "mp_notification")
)


@shapes("webhook-paypal-subscription", "webhook-paypal", "manual", "fallback")
def paypal_subscription(v: Values) -> Columns:
    # A sign-up has neither txn_id nor mc_gross, so nothing tells PayPal unmistakably.
    data = payloads.paypal_ipn(v, "subscr_signup")
    for key in ("txn_id", "mc_gross", "payment_status", "payment_date", "mc_fee"):
        del data[key]
    data |= {"subscr_id": f"I-{v.token(12).upper()}", "mc_amount3": "9.00", "period3": "1 M", "recurring": "1"}
    return _row("subscription", data, f"{data['first_name']} subscribed", user_name=data["first_name"])


# ---------- webhook-webflow, webhook-wordpress


@shapes("webhook-webflow-form", "webhook-webflow", "manual", "fallback")
def webflow_form(v: Values) -> Columns:
    data = payloads.webflow_form(v)
    fields = data["payload"]["data"]
    name = fields["Name"] if v.bits(1) else fields["Email"].split("@")[0]
    return _row("form_submission", data, f"{name} submitted a form", user_name=name)


@shapes("webhook-webflow-order", "webhook-webflow", "manual", "fallback")
def webflow_order(v: Values) -> Columns:
    # Webflow's real name for an order is not the one the writer waits for.
    return _row("form_submission", payloads.webflow_order(v), "Someone submitted a form")


@shapes("webhook-webflow-order-created", "webhook-webflow", "manual", "fallback")
def webflow_order_created(v: Values) -> Columns:
    return _row("purchase", payloads.webflow_order(v, "ecommerce_order_created"), "Someone made a purchase")


@shapes("webhook-wordpress-hook", "webhook-wordpress", "manual", "fallback")
def wordpress_hook(v: Values) -> Columns:
    hook = v.pick(("user_register", "publish_post", "comment_post"))
    data = payloads.wordpress_hook(v, hook)
    return _row(hook, data, "New activity on the blog", user_name=data["user"]["display_name"])


@shapes("webhook-wordpress-form", "webhook-wordpress", "manual", "fallback")
def wordpress_form(v: Values) -> Columns:
    name = v.person().name
    return _row("form_submission", {"your-name": name, "your-message": "Hello"}, f"{name} submitted a form")


# ---------- webhook-jotform


@shapes("webhook-jotform-answers", "webhook-jotform", "manual", "fallback")
def jotform_answers(v: Values) -> Columns:
    data = payloads.jotform_answers(v)
    # The answer may be an object, which the text column keeps as its text.
    return _row("form_submission", data, "Someone submitted a form", user_name=dumps(data["3"]["answer"]))


@shapes("webhook-jotform-answers-flat", "webhook-jotform", "manual", "fallback")
def jotform_answers_flat(v: Values) -> Columns:
    data = payloads.jotform_answers(v, split_name=False)
    name = data["3"]["answer"]
    return _row("form_submission", data, f"{name} submitted a form", user_name=name)


@shapes("webhook-jotform-raw-request", "webhook-jotform", "manual", "fallback")
def jotform_raw_request(v: Values) -> Columns:
    person = v.person()
    raw = {"slug": "submit/1", "q3_fullName3": {"first": person.first, "last": person.last}, "q4_email": person.email}
    data = {"formID": v.digits(15), "submissionID": v.digits(19), "rawRequest": dumps(raw), "pretty": "Full Name: ..."}
    return _row("form_submission", data, "Someone submitted a form")
