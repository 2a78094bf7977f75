{#-
    Purpose: how a WooCommerce order, raw or as the product's webhooks stored it, becomes canonical fields.
    Input:   a row `e` of `resolved_events`.
    Output:  a select of one row whose columns are the fields (contract section 6, woocommerce).
-#}
{% macro woocommerce_fields() -%}
    select
        coalesce(s.customer_name, 'Someone') as "template.customer_name",
        s.product_name as "template.product_name",
        {{ money_text('s.total', 's.currency') }} as "template.order_total",
        {{ money_text('s.price', 's.currency') }} as "template.product_price",
        {{ decimal_text('s.price', 's.currency') }} as "template.price",
        s.currency as "template.currency",
        s.customer_location as "template.customer_location",
        s.customer_email as "template.customer_email",
        s.product_image as "template.product_image",
        s.product_image as "template.image_url",
        s.product_url as "template.product_url",
        '#' || s.order_id as "template.order_id",
        s.quantity as "template.quantity",
        e.date_text as "template.time_ago",
        s.total as "meta.total_price",
        s.status as "meta.status",
        s.payment_method as "meta.payment_method",
        {{ common_fields({'template.customer_name': 's.customer_name is null'}) }}
    from (
        select
            coalesce(
                {{ person('e.data', ['billing.first_name', 'billing.last_name']) }},
                {{ first_of('e.data', ['customer_name'], 'name') }},
                {{ row_user_name() }},
                {{ person('e.data', ['shipping.first_name', 'shipping.last_name']) }},
                -- The payload of `customer.created` is the customer.
                {{ person('e.data', ['first_name', 'last_name']) }}
            ) as customer_name,
            {{ first_of('e.data', ['line_items.0.name', 'product_name', 'products.0.name'], 'product') }} as product_name,
            {{ first_of('e.data', ['total', 'amount'], 'number') }} as total,
            {{ first_of('e.data', ['line_items.0.price', 'products.0.price', 'price'], 'number') }} as price,
            {{ currency_of('e.data', ['currency'], [
                'total', 'amount', 'line_items.0.price', 'products.0.price', 'price',
            ]) }} as currency,
            coalesce(
                {{ address('e.data', 'billing') }},
                {{ address('e.data', 'shipping') }},
                {{ first_of('e.data', ['location'], 'place') }},
                {{ row_user_location() }}
            ) as customer_location,
            coalesce(
                {{ first_of('e.data', ['billing.email', 'email', 'customer_email']) }},
                {{ text_value('e.user_email') }}
            ) as customer_email,
            {{ first_of('e.data', ['line_items.0.image.src', 'product_image', 'products.0.image'], 'url') }} as product_image,
            {{ first_of('e.data', ['product_url', 'products.0.url'], 'url') }} as product_url,
            nullif(ltrim({{ first_of('e.data', ['number', 'order_number', 'order_id', 'id']) }}, '#'), '') as order_id,
            coalesce(
                {{ array_sum('e.data', 'line_items', 'quantity') }},
                {{ array_sum('e.data', 'products', 'quantity') }},
                {{ first_of('e.data', ['quantity'], 'number') }}
            ) as quantity,
            {{ first_of('e.data', ['status']) }} as status,
            {{ first_of('e.data', ['payment_method_title', 'payment_method']) }} as payment_method
        offset 0
    ) as s
{%- endmacro %}
