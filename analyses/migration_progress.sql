-- The product's status query: campaigns, and events of the last 30 days. It counts whatever is not empty as migrated;
-- the model migration_status looks at what the value is, and leaves out what an earlier migration left half done.
with campaigns as (
    select * from {{ source('product', 'campaigns') }}
),

events as (
    select * from {{ source('product', 'events') }}
),

progress as (
    select
        'campaigns' as migrated_table,
        count(*) as total,
        count(*) filter (where data_sources is not null and data_sources <> '[]') as migrated,
        count(*) filter (where data_sources is null or data_sources = '[]') as pending
    from campaigns

    union all

    select
        'events of the last 30 days' as migrated_table,
        count(*) as total,
        count(*) filter (where not {{ is_empty_json('canonical_event') }}) as migrated,
        count(*) filter (where {{ is_empty_json('canonical_event') }}) as pending
    from events
    where created_at >= now() - interval '30 days'
)

select * from progress
