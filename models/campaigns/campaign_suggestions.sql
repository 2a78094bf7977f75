-- What a campaign's own events say about its provider (contract section 7, rule 7). They only suggest: a person
-- confirms.
-- A model of its own, so that campaign_data_sources never reads events.
with resolutions as (
    select * from {{ ref('campaign_resolutions') }}
),

widgets as (
    select * from {{ ref('stg_widgets') }}
),

resolved_events as (
    select * from {{ ref('resolved_events') }}
),

website_integrations as (
    select * from {{ ref('website_integrations') }}
),

ambiguous as (
    select
        campaign_id,
        website_id
    from resolutions
    where outcome = 'ambiguous'
),

places as (
    select
        ambiguous.campaign_id,
        ambiguous.website_id,
        widgets.widget_id
    from ambiguous
    inner join widgets
        on ambiguous.campaign_id = widgets.campaign_id

    union

    -- The form tracker stores the campaign's id as the widget's.
    select
        campaign_id,
        website_id,
        campaign_id as widget_id
    from ambiguous
),

counted as (
    select
        places.campaign_id,
        places.website_id,
        resolved_events.provider,
        count(*) as events
    from places
    -- Two old webhooks took the first widget of the whole platform: events of another website are no evidence.
    inner join resolved_events
        on places.widget_id = resolved_events.widget_id
        and places.website_id = resolved_events.website_id
    where {{ campaign_word('resolved_events.provider') }} is not null
    group by places.campaign_id, places.website_id, resolved_events.provider
),

per_campaign as (
    select
        campaign_id,
        website_id,
        count(*) as providers,
        sum(events) as events,
        {{ json_object_of_rows('provider', 'events') }} as events_by_provider,
        case when count(*) = 1 then min(provider) end as provider
    from counted
    group by campaign_id, website_id
),

suggested as (
    select
        per_campaign.campaign_id,
        per_campaign.website_id,
        cast(per_campaign.events as bigint) as events,
        per_campaign.events_by_provider,
        per_campaign.provider as suggested_provider,
        here.only_active_integration_id as suggested_integration_id,
        -- One event says little, many of one provider say much, and never more than a person could be sure of.
        case
            when per_campaign.provider is not null
                then cast(least(round(per_campaign.events / (per_campaign.events + 2), 2), 0.95) as numeric(3, 2))
        end as confidence,
        coalesce(
            {{ is_native('per_campaign.provider') }} or here.only_active_integration_id is not null,
            false
        ) as can_be_accepted
    from per_campaign
    left join website_integrations as here
        on per_campaign.website_id = here.website_id
        and per_campaign.provider = here.provider
)

select * from suggested
