{#-
    Purpose: name the provider of a payload by what is unmistakable about it (contract section 2, rule 4).
    Input:   a column with the payload, wrappers taken off.
    Output:  an expression of an array: every provider that fits. Only a single one is an answer.
    The list below is the only place where signatures are kept; each line is a provider and when it fits.
-#}
{% macro payload_signature(document) -%}
    {%- set d = document -%}
    {%- set order_keys = "array['order_id', 'total', 'currency', 'product_name', 'product_url', 'quantity', 'price']" -%}
    {%- set woo_keys = "array['order_id', 'total', 'currency', 'product_name', 'products']" -%}
    {%- set stripe_objects = [
        'account', 'balance_transaction', 'card', 'charge', 'checkout.session', 'coupon', 'credit_note', 'customer',
        'discount', 'dispute', 'event', 'invoice', 'invoiceitem', 'payment_intent', 'payment_link', 'payment_method',
        'payout', 'plan', 'price', 'product', 'promotion_code', 'quote', 'refund', 'setup_intent', 'source',
        'subscription', 'subscription_item', 'subscription_schedule', 'topup', 'transfer',
    ] -%}
    {%- set signatures = {
        'shopify': [
            names_platform(d, 'shopify'),
            d ~ " ?& array['line_items', 'total_price']",
            d ~ " ?& " ~ order_keys ~ " and not " ~ d ~ " ? 'products'",
        ],
        'woocommerce': [
            names_platform(d, 'woocommerce'),
            d ~ " ?& array['line_items', 'billing'] and " ~ d ~ " ?| array['date_created', 'date_created_gmt', 'number']",
            d ~ " ?& " ~ woo_keys ~ " and jsonb_typeof(" ~ d ~ " -> 'products') = 'array'",
        ],
        'stripe': [
            d ~ " ->> 'object' in ('" ~ stripe_objects | join("', '") ~ "')",
            d ~ " ?& array['payment_id', 'amount', 'currency'] and " ~ d ~ " - '{payment_id,amount,currency}'::text[] = '{}'",
        ],
        'announcements': [d ~ " ?& array['cta_text', 'image_type', 'priority']"],
        'testimonials': [d ~ " ?& array['author_name', 'rating', 'message']"],
        'live_visitors': [first_of(d, ['visitor_count'], 'number') ~ " is not null"],
        'ga4': [d ~ " ? 'ga4_event_name'"],
        'paypal': [d ~ " ?& array['txn_id', 'mc_gross']"],
        'gumroad': [d ~ " ?& array['sale_id', 'product_name']"],
        'razorpay': [
            d ~ " ? 'event' and jsonb_typeof(" ~ d ~ " #> '{payload,payment,entity}') = 'object'",
            d ~ " ?& array['payment_id', 'amount', 'method']",
        ],
        'flutterwave': [
            d ~ " ?& array['transaction_id', 'payment_type']",
            d ~ " ->> 'event' = 'charge.completed'",
        ],
        'calendly': [
            d ~ " ? 'calendly_uri'",
            d ~ " #>> '{payload,uri}' like '%calendly%'",
        ],
        'typeform': [
            d ~ " ? 'form_response'",
            d ~ " ?& array['response_id', 'form_id']",
        ],
    } -%}
    array_remove(array[
        {%- for provider, clues in signatures.items() %}
        case when ({{ clues | join(') or (') }}) then '{{ provider }}' end{{ ',' if not loop.last }}
        {%- endfor %}
    ], null)
{%- endmacro %}


{#-
    Purpose: say whether `platform` or `source` inside the data names a shop system.
    Input:   a column with the payload, and the name.
    Output:  a boolean expression.
-#}
{% macro names_platform(document, name) -%}
    '{{ name }}' in ({{ provider_word(json_text(document, 'platform')) }}, {{ provider_word(json_text(document, 'source')) }})
{%- endmacro %}
