"""The providers' own objects (orders, charges, ...), as their APIs and webhooks send them. Values are invented."""

from scripts.demo.payloads.base import (
    Json,
    MakePayload,
    major,
)
from scripts.demo.payloads.services import (
    calendly_webhook,
    flutterwave_webhook,
    gumroad_sale,
    jotform_answers,
    paypal_ipn,
    razorpay_webhook,
    stored_testimonial,
    typeform_webhook,
    webflow_form,
    webflow_order,
    wordpress_hook,
)
from scripts.demo.payloads.shops import (
    shopify_order,
    woocommerce_order,
)
from scripts.demo.payloads.stripe import (
    stripe_amount,
    stripe_charge,
    stripe_checkout_session,
    stripe_customer,
    stripe_event,
    stripe_invoice,
    stripe_payment_intent,
    stripe_subscription,
)

__all__ = [
    "Json",
    "MakePayload",
    "calendly_webhook",
    "flutterwave_webhook",
    "gumroad_sale",
    "jotform_answers",
    "major",
    "paypal_ipn",
    "razorpay_webhook",
    "shopify_order",
    "stored_testimonial",
    "stripe_amount",
    "stripe_charge",
    "stripe_checkout_session",
    "stripe_customer",
    "stripe_event",
    "stripe_invoice",
    "stripe_payment_intent",
    "stripe_subscription",
    "typeform_webhook",
    "webflow_form",
    "webflow_order",
    "woocommerce_order",
    "wordpress_hook",
]
