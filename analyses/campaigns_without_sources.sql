-- The product's first query after a migration: it must return no row. A campaign that a person still has to settle
-- (ambiguous_campaigns) is a warning; any other is a failure.
with campaigns as (
    select * from {{ source('product', 'campaigns') }}
),

ambiguous_campaigns as (
    select * from {{ ref('ambiguous_campaigns') }}
),

without_sources as (
    select
        campaigns.id,
        campaigns.name,
        campaigns.status,
        ambiguous_campaigns.reason as waits_because,
        ambiguous_campaigns.settle_command
    from campaigns
    left join ambiguous_campaigns
        on campaigns.id = ambiguous_campaigns.campaign_id
    where (campaigns.data_sources is null or campaigns.data_sources = '[]')
        and (campaigns.native_config is null or campaigns.native_config = '{}')
)

select * from without_sources
order by waits_because nulls first, id
