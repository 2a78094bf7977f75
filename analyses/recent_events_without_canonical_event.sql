-- The product's second query after a migration: both numbers must be 0. The product counts NULL only and forgets the
-- column's own default, `{}`.
with events as (
    select * from {{ source('product', 'events') }}
),

recent as (
    select
        count(*) filter (where canonical_event is null) as without_canonical_event,
        count(*) filter (where {{ is_empty_json('canonical_event') }}) as without_or_empty
    from events
    where created_at >= now() - interval '30 days'
)

select * from recent
