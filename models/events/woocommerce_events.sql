with resolved_events as (
    select * from {{ ref('resolved_events') }}
),

normalized as (
    select
        e.event_id,
        e.website_id,
        fields.*
    from resolved_events as e
    cross join lateral (
        {{ woocommerce_fields() }}
    ) as fields
    where {{ belongs_to('woocommerce') }}
)

select * from normalized
