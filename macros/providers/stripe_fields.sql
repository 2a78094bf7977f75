{#-
    Purpose: how a Stripe object, raw or as the product's webhook condensed it, becomes canonical fields.
    Input:   a row `e` of `resolved_events`.
    Output:  a select of one row whose columns are the fields (contract section 6, stripe).
    Amounts: an object holds minor units, by Stripe's own exponents. The product's webhook stored `payment_id`,
             `amount`, `currency` and always divided by 100, whatever the currency: that is taken back first. Under
             any other shape an `amount` is in major units. Without a currency a minor amount says nothing.
-#}
{% macro stripe_fields() -%}
    select
        coalesce(s.customer_name, 'Someone') as "template.customer_name",
        {{ money_text('s.amount', 's.currency') }} as "template.amount",
        s.currency as "template.currency",
        s.product_name as "template.product_name",
        s.plan_name as "template.plan_name",
        s.customer_email as "template.customer_email",
        s.customer_location as "template.customer_location",
        s.payment_id as "template.payment_id",
        s.subscription_id as "template.subscription_id",
        e.date_text as "template.time_ago",
        s.amount as "meta.amount",
        s.status as "meta.status",
        s.payment_method as "meta.payment_method",
        {{ common_fields({'template.customer_name': 's.customer_name is null'}) }}
    from (
        select
            r.*,
            case
                when r.is_object or r.plain_amount is null
                    then {{ computed_number('r.minor_amount * ' ~ stripe_unit('r.currency')) }}
                when r.is_condensed then {{ computed_number('r.plain_amount * 100 * ' ~ stripe_unit('r.currency')) }}
                else r.plain_amount
            end as amount
        from (
            select
                coalesce(
                    jsonb_typeof(e.data -> 'object') = 'string'
                    or e.data ->> 'id' ~ '^(ch|pi|cs|in|sub)_',
                    false
                ) as is_object,
                e.data ? 'payment_id' as is_condensed,
                {{ first_of('e.data', ['amount'], 'number') }} as plain_amount,
                {{ first_of('e.data', [
                    'amount', 'amount_total', 'amount_paid', 'amount_received', 'amount_due', 'plan.amount',
                    'items.data.0.price.unit_amount',
                ], 'number') }} as minor_amount,
                {{ currency_of('e.data', [
                    'currency', 'plan.currency', 'items.data.0.price.currency',
                ], ['amount']) }} as currency,
                coalesce(
                    {{ first_of('e.data', [
                        'billing_details.name', 'customer_details.name', 'customer_name', 'shipping.name', 'customer.name',
                    ], 'name') }},
                    case when e.data ->> 'object' = 'customer' then {{ first_of('e.data', ['name'], 'name') }} end,
                    {{ row_user_name() }}
                ) as customer_name,
                {{ first_of('e.data', [
                    'description', 'lines.data.0.description', 'plan.nickname', 'price.nickname', 'product_name',
                    'items.data.0.price.nickname', 'items.data.0.plan.nickname',
                ], 'product') }} as product_name,
                {{ first_of('e.data', [
                    'plan.nickname', 'price.nickname', 'items.data.0.price.nickname', 'items.data.0.plan.nickname',
                    'plan_name',
                ], 'product') }} as plan_name,
                coalesce(
                    {{ first_of('e.data', [
                        'billing_details.email', 'customer_details.email', 'customer_email', 'receipt_email', 'email',
                        'customer.email',
                    ]) }},
                    {{ text_value('e.user_email') }}
                ) as customer_email,
                coalesce(
                    {{ address('e.data', 'billing_details.address') }},
                    {{ address('e.data', 'customer_details.address') }}
                ) as customer_location,
                {{ first_of('e.data', ['payment_id', 'id']) }} as payment_id,
                coalesce(
                    {{ first_of('e.data', [
                        'subscription', 'subscription_id', 'subscription.id', 'parent.subscription_details.subscription',
                    ]) }},
                    substring({{ json_text('e.data', 'id') }} from '^sub_.+$')
                ) as subscription_id,
                {{ first_of('e.data', ['status']) }} as status,
                {{ first_of('e.data', [
                    'payment_method_details.type', 'payment_method_types.0', 'payment_method.type', 'payment_method',
                ]) }} as payment_method
            offset 0
        ) as r
        offset 0
    ) as s
{%- endmacro %}
