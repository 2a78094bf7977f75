-- What each rule of the contract (section 7, rules 1 to 6) answers for each campaign, and which one counts.
with campaign_values as (
    select * from {{ ref('campaign_values') }}
),

decisions as (
    select * from {{ ref('campaign_current_decisions') }}
),

widgets as (
    select * from {{ ref('stg_widgets') }}
),

answered as (
    select
        campaign_values.*,

        ---------- rule 1
        decisions.campaign_id is not null as is_decided,
        coalesce(decisions.is_tie, false) as decision_is_tie,
        decisions.integration_text as decided_integration_text,
        decisions.integration_id as decided_integration_id,
        decisions.provider as decided_provider,
        decisions.note as decision_note,
        decisions.decided_by,
        decisions.decided_at,
        decisions.decided_in,

        ---------- rules 2 to 6
        {{ campaign_word('campaign_values.data_source') }} as data_source_provider,
        case when campaign_values.value_state = 'legacy' then {{ campaign_word('campaign_values.legacy_provider') }} end
            as legacy_element_provider,
        fed_by.providers as widget_providers,
        fed_by.provider as widgets_provider,
        {{ description_source('campaign_values.description') }} as description_provider,
        {{ native_config_providers('campaign_values.native_config') }} as native_config_providers
    from campaign_values
    left join decisions
        on campaign_values.campaign_id = decisions.campaign_id
    cross join lateral (
        select
            string_agg(distinct widgets.provider, ', ' order by widgets.provider) as providers,
            case when count(distinct widgets.provider) = 1 then min(widgets.provider) end as provider
        from widgets
        where widgets.campaign_id = campaign_values.campaign_id
    ) as fed_by
),

singled as (
    select
        *,
        case when native_config_providers not like '%,%' then native_config_providers end as native_config_provider
    from answered
),

chosen as (
    select
        *,
        coalesce(
            data_source_provider,
            legacy_element_provider,
            widgets_provider,
            description_provider,
            native_config_provider
        ) as rule_provider,
        case
            when data_source_provider is not null then 'data_source'
            when legacy_element_provider is not null then 'legacy_element'
            when widgets_provider is not null then 'widgets'
            when description_provider is not null then 'description'
            when native_config_provider is not null then 'native_config'
        end as rule
    from singled
),

compared as (
    select
        *,
        -- The strongest answer is among them, so one that differs from it means that two rules disagree.
        coalesce(
            legacy_element_provider <> rule_provider
            or widgets_provider <> rule_provider
            or description_provider <> rule_provider
            or native_config_provider <> rule_provider,
            false
        ) as rules_disagree
    from chosen
)

select * from compared
