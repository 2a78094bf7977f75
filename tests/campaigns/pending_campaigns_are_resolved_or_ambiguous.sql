-- Every campaign that is pending or malformed is in exactly one of campaign_data_sources and ambiguous_campaigns, and a
-- migrated one is in neither. Starts from the staging view, so that no shared step of the models can hide a campaign.
with campaigns as (
    select * from {{ ref('stg_campaigns') }}
),

campaign_values as (
    select * from {{ ref('campaign_values') }}
),

data_sources as (
    select * from {{ ref('campaign_data_sources') }}
),

ambiguous as (
    select * from {{ ref('ambiguous_campaigns') }}
),

listed as (
    select
        campaign_id,
        'campaign' as found_in
    from campaigns

    union all

    select
        campaign_id,
        'resolved' as found_in
    from data_sources

    union all

    select
        campaign_id,
        'ambiguous' as found_in
    from ambiguous

    union all

    -- A migrated campaign has its place too.
    select
        campaign_id,
        'migrated' as found_in
    from campaign_values
    where value_state = 'migrated'
),

wrong as (
    select
        campaign_id,
        array_agg(found_in order by found_in) as found_in
    from listed
    group by campaign_id
    having count(*) <> 2
        or count(*) filter (where found_in = 'campaign') <> 1
)

select * from wrong
