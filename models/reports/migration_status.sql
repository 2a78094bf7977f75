-- The product's status numbers (contract section 9), in one row: campaigns, events of the last 30 days, all events.
with campaigns as (
    select * from {{ ref('campaign_values') }}
),

ambiguous_campaigns as (
    select * from {{ ref('ambiguous_campaigns') }}
),

events as (
    select * from {{ ref('stg_events') }}
),

counted_campaigns as (
    select
        count(*) as total_campaigns,
        count(*) filter (where value_state = 'migrated') as migrated_campaigns,
        count(*) filter (where value_state in ('empty', 'legacy')) as pending_campaigns,
        count(*) filter (where value_state = 'malformed') as malformed_campaigns
    from campaigns
),

counted_ambiguous as (
    select count(*) as ambiguous_campaigns
    from ambiguous_campaigns
),

counted_events as (
    select
        count(*) filter (where is_recent) as total_events_30_days,
        count(*) filter (where is_recent and not is_pending) as migrated_events_30_days,
        count(*) filter (where is_recent and is_pending) as pending_events_30_days,
        count(*) as total_events,
        count(*) filter (where not is_pending) as migrated_events,
        count(*) filter (where is_pending) as pending_events
    from (
        select
            is_pending,
            created_at >= now() - interval '30 days' as is_recent
        from events
    ) as with_age
),

status as (
    select
        counted_campaigns.total_campaigns,
        counted_campaigns.migrated_campaigns,
        counted_campaigns.pending_campaigns,
        counted_campaigns.malformed_campaigns,
        counted_ambiguous.ambiguous_campaigns,
        {{ share_of('counted_campaigns.migrated_campaigns', 'counted_campaigns.total_campaigns') }} as migrated_campaigns_share,
        counted_events.total_events_30_days,
        counted_events.migrated_events_30_days,
        counted_events.pending_events_30_days,
        {{ share_of('counted_events.migrated_events_30_days', 'counted_events.total_events_30_days') }}
            as migrated_events_30_days_share,
        counted_events.total_events,
        counted_events.migrated_events,
        counted_events.pending_events,
        {{ share_of('counted_events.migrated_events', 'counted_events.total_events') }} as migrated_events_share
    from counted_campaigns
    cross join counted_ambiguous
    cross join counted_events
)

select * from status
