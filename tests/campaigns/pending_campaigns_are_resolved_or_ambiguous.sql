-- Every campaign that is pending or malformed is in exactly one of campaign_data_sources and ambiguous_campaigns, and a
-- migrated one is in neither. Asked of the base table, so that no shared step of the models can hide a campaign.
with campaigns as (
    select * from {{ ref('stg_campaigns') }}
),

data_sources as (
    select * from {{ ref('campaign_data_sources') }}
),

ambiguous as (
    select * from {{ ref('ambiguous_campaigns') }}
),

campaign_values as (
    select * from {{ ref('campaign_values') }}
),

counted as (
    select
        campaigns.campaign_id,
        campaign_values.value_state,
        (select count(*) from data_sources where data_sources.campaign_id = campaigns.campaign_id) as resolved,
        (select count(*) from ambiguous where ambiguous.campaign_id = campaigns.campaign_id) as ambiguous
    from campaigns
    left join campaign_values
        on campaigns.campaign_id = campaign_values.campaign_id
),

wrong as (
    select *
    from counted
    where resolved + ambiguous <> case when value_state = 'migrated' then 0 else 1 end
        or value_state is null
)

select * from wrong
