-- The decision of a person that counts for each campaign: the newest of the seed and the table (contract section 7,
-- rule 1). A row of the seed without a date is older than any with one.
with overrides as (
    select * from {{ ref('stg_campaign_overrides') }}
),

decisions as (
    select * from {{ ref('stg_campaign_decisions') }}
),

newest_in_table as (
    select distinct on (campaign_id) *
    from decisions
    order by campaign_id asc, decided_at desc, decision_id desc
),

together as (
    select
        campaign_id,
        cast(integration_id as text) as integration_text,
        provider,
        note,
        decided_by,
        decided_at,
        'table' as decided_in
    from newest_in_table
    -- `migrate decide --undo` adds a row that names nothing: the table then says nothing about the campaign.
    where integration_id is not null
        or provider is not null

    union all

    select
        campaign_id,
        integration_text,
        provider,
        note,
        null as decided_by,
        decided_at,
        'seed' as decided_in
    from overrides
    where campaign_id is not null
),

ranked as (
    select
        *,
        rank() over (
            partition by campaign_id
            order by decided_at desc nulls last, decided_in desc
        ) as age_rank
    from together
),

newest as (
    select
        campaign_id,
        -- Two rows of the seed with the same date that say different things: nobody knows which is newer.
        count(distinct concat(lower(integration_text), ' ', provider)) > 1 as is_tie,
        cast(min(cast({{ uuid_value('integration_text') }} as text)) as uuid) as integration_id,
        min(integration_text) as integration_text,
        min(provider) as provider,
        min(note) as note,
        min(decided_by) as decided_by,
        min(decided_at) as decided_at,
        min(decided_in) as decided_in
    from ranked
    where age_rank = 1
    group by campaign_id
)

select * from newest
