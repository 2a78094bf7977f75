-- A row of the seed whose campaign does not exist (deleted since, or mistyped) has no effect.
{{ config(severity='warn') }}

with overrides as (
    select * from {{ ref('stg_campaign_overrides') }}
),

campaigns as (
    select * from {{ ref('stg_campaigns') }}
),

without_campaign as (
    select overrides.*
    from overrides
    left join campaigns
        on overrides.campaign_id = campaigns.campaign_id
    where campaigns.campaign_id is null
)

select * from without_campaign
