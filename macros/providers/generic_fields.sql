{#-
    Purpose: how an event of any other source becomes canonical fields: from the row's columns, and from the payload
             where it has a field under its plain name.
    Input:   a row `e` of `resolved_events`.
    Output:  a select of one row whose columns are the fields (contract section 6, generic).
    Sources: what a column or key means differs by source, and is kept here beside the rule (contract section 5):
             ga4's `product_name` is a page; razorpay stores a card network as `user_location` and flutterwave the
             word `Africa`; segment's `user_name` is an opaque id; mixpanel's may be its `distinct_id`; gumroad's
             `price` is in minor units. Segment and mixpanel are known by their shape: their `integration_type` is none
             that the product's enum has.
-#}
{% macro generic_fields() -%}
    select
        s.message as "template.message",
        s.user_name as "template.user_name",
        s.user_location as "template.user_location",
        s.page_url as "template.page_url",
        s.product_name as "template.product_name",
        s.product_image as "template.product_image",
        {{ money_text('s.amount', 's.currency') }} as "template.amount",
        s.currency as "template.currency",
        s.rating as "template.rating",
        s.author_name as "template.author_name",
        e.date_text as "template.time_ago",
        {{ common_fields() }}
    from (
        select
            r.*,
            case
                when e.provider = 'gumroad' then {{ computed_number('r.minor_price * ' ~ minor_unit('r.currency')) }}
                else r.major_amount
            end as amount
        from (
            select
                coalesce(
                    {{ text_value('e.message_template') }},
                    {{ first_of('e.data', ['message']) }},
                    {{ text_value('e.event_type') }}
                ) as message,
                coalesce(
                    case
                        when e.provider = 'segment' or {{ json_has_only('e.data', ['event_name', 'properties']) }}
                            then {{ first_of('e.data', ['traits.name', 'properties.name'], 'name') }}
                        when e.user_name = {{ json_raw_text('e.data', 'distinct_id') }} then null
                        else {{ row_user_name() }}
                    end,
                    {{ first_given_name('e.data', ['user_name', 'customer_name', 'full_name', 'purchaser_name']) }},
                    {{ person('e.data', ['first_name', 'last_name']) }}
                ) as user_name,
                case
                    when e.provider = 'razorpay' then null
                    when e.provider = 'flutterwave' and btrim(e.user_location) = 'Africa' then null
                    else coalesce(
                        {{ row_user_location() }},
                        {{ first_of('e.data', ['user_location', 'location'], 'place') }}
                    )
                end as user_location,
                coalesce(
                    {{ url_value(text_value('e.page_url')) }},
                    {{ first_of('e.data', ['page_url'], 'url') }}
                ) as page_url,
                case
                    when e.provider <> 'ga4' then {{ first_of('e.data', ['product_name'], 'product') }}
                end as product_name,
                {{ first_of('e.data', ['product_image'], 'url') }} as product_image,
                {{ first_of('e.data', ['amount', 'total', 'mc_gross', 'price', 'value'], 'number') }} as major_amount,
                {{ first_of('e.data', ['price', 'amount'], 'number') }} as minor_price,
                {{ currency_of('e.data', ['currency', 'mc_currency', 'currency_code'], ['amount', 'total', 'mc_gross', 'price', 'value']) }} as currency,
                {{ rating_value(first_of('e.data', ['rating'], 'number')) }} as rating,
                {{ first_of('e.data', ['author_name'], 'name') }} as author_name
            offset 0
        ) as r
        offset 0
    ) as s
{%- endmacro %}
