{#-
    Purpose: how a Shopify order, raw or as the product's webhooks stored it, becomes canonical fields.
    Input:   a row `e` of `resolved_events`.
    Output:  a select of one row whose columns are the fields (contract section 6, shopify).
-#}
{% macro shopify_fields() -%}
    select
        coalesce(s.customer_name, 'Someone') as "template.customer_name",
        s.product_name as "template.product_name",
        {{ decimal_text('coalesce(s.price, s.total)', 's.currency') }} as "template.price",
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
        s.total_items as "meta.total_items",
        {{ common_fields({'template.customer_name': 's.customer_name is null'}) }}
    from (
        select
            coalesce(
                {{ person('e.data', ['customer.first_name', 'customer.last_name']) }},
                {{ person('e.data', ['billing_address.first_name', 'billing_address.last_name']) }},
                {{ person('e.data', ['shipping_address.first_name', 'shipping_address.last_name']) }},
                {{ first_of('e.data', ['customer_name'], 'name') }},
                {{ row_user_name() }},
                -- The payload of `customers/create` is the customer.
                {{ person('e.data', ['first_name', 'last_name']) }}
            ) as customer_name,
            {{ first_of('e.data', [
                'line_items.0.title', 'line_items.0.name', 'product_name', 'title',
            ], 'product') }} as product_name,
            {{ first_of('e.data', ['line_items.0.price', 'price'], 'number') }} as price,
            {{ first_of('e.data', ['total_price', 'total', 'amount'], 'number') }} as total,
            {{ currency_of('e.data', ['currency', 'presentment_currency'], [
                'line_items.0.price', 'price', 'total_price', 'total', 'amount',
            ]) }} as currency,
            coalesce(
                {{ address('e.data', 'shipping_address') }},
                {{ address('e.data', 'billing_address') }},
                {{ address('e.data', 'customer.default_address') }},
                {{ address('e.data', 'default_address') }},
                {{ first_of('e.data', ['location'], 'place') }},
                {{ row_user_location() }}
            ) as customer_location,
            coalesce(
                {{ first_of('e.data', ['customer.email', 'email']) }},
                {{ text_value('e.user_email') }}
            ) as customer_email,
            {{ first_of('e.data', [
                'line_items.0.image.src', 'line_items.0.image_url', 'line_items.0.product.image.src',
                'line_items.0.featured_image', 'product_image',
            ], 'url') }} as product_image,
            {{ first_of('e.data', ['product_url'], 'url') }} as product_url,
            nullif(ltrim({{ first_of('e.data', ['order_number', 'name', 'order_id', 'id']) }}, '#'), '') as order_id,
            {{ first_of('e.data', ['line_items.0.quantity', 'quantity'], 'number') }} as quantity,
            coalesce(
                {{ first_of('e.data', ['items_count'], 'number') }},
                {{ array_size('e.data', 'line_items') }}
            ) as total_items
        offset 0
    ) as s
{%- endmacro %}
