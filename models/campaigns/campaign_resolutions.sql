-- One row per campaign: migrated already, resolved to one provider and integration, or ambiguous with a reason.
-- Both campaign_data_sources and ambiguous_campaigns are cut from here, so no campaign can be in both or in neither.
with rules as (
    select * from {{ ref('campaign_rules') }}
),

integrations as (
    select * from {{ ref('stg_integrations') }}
),

website_integrations as (
    select * from {{ ref('website_integrations') }}
),

integrations_of_provider as (
    select
        provider,
        sum(active_integrations + inactive_integrations) as integrations
    from website_integrations
    group by provider
),

with_provider as (
    select
        rules.*,
        decided.integration_id is not null as decided_integration_exists,
        decided.website_id as decided_website_id,
        coalesce(decided.is_active, false) as decided_integration_is_active,
        decided.provider as decided_integration_provider,
        case
            when rules.is_decided then coalesce(decided.provider, rules.decided_provider)
            else rules.rule_provider
        end as provider
    from rules
    left join integrations as decided
        on rules.decided_integration_id = decided.integration_id
),

with_integrations as (
    select
        with_provider.*,
        {{ is_native('with_provider.provider') }} as is_native,
        coalesce(here.active_integrations, 0) as active_integrations,
        coalesce(here.inactive_integrations, 0) as inactive_integrations,
        coalesce(here.connectors, 0) as connectors,
        here.only_active_integration_id,
        coalesce(integrations_of_provider.integrations, 0)
        - coalesce(here.active_integrations, 0)
        - coalesce(here.inactive_integrations, 0) as integrations_elsewhere
    from with_provider
    left join website_integrations as here
        on with_provider.website_id = here.website_id
        and with_provider.provider = here.provider
    left join integrations_of_provider
        on with_provider.provider = integrations_of_provider.provider
),

judged as (
    select
        *,
        case
            ---------- a valid value stays as it is, whatever the legacy columns or an old decision say
            when value_state = 'migrated' then null

            ---------- rule 1
            when is_decided then
                case
                    when decision_is_tie then 'decisions_disagree'
                    when decided_integration_text is null and decided_provider is null then 'decision_empty'
                    when decided_integration_text is null and not is_native then 'decision_needs_integration'
                    when decided_integration_text is null then null
                    when not decided_integration_exists then 'decision_integration_unknown'
                    when decided_integration_provider is null then 'decision_integration_unknown'
                    when (decided_website_id is distinct from website_id) then 'decision_of_other_website'
                    when not decided_integration_is_active then 'decision_integration_inactive'
                    when decided_provider <> decided_integration_provider then 'decision_provider_differs'
                end

            ---------- a value that nobody may overwrite by itself
            when value_problem is not null then value_problem

            ---------- rules 2 to 6
            when rules_disagree then 'rules_disagree'
            when provider is null and widget_providers is not null then 'widgets_disagree'
            when provider is null and native_config_providers is not null then 'native_config_of_two_kinds'
            when provider is null then 'no_clue'

            ---------- the integration
            when is_native then null
            when website_id is null then 'campaign_without_website'
            when active_integrations = 1 then null
            when active_integrations > 1 then 'several_active_integrations'
            when inactive_integrations > 0 then 'only_inactive_integrations'
            when connectors > 0 then 'only_a_connector'
            when integrations_elsewhere > 0 then 'only_on_other_website'
            else 'no_integration'
        end as reason
    from with_integrations
),

resolved as (
    select
        *,
        case
            when value_state = 'migrated' then 'migrated'
            when reason is null then 'resolved'
            else 'ambiguous'
        end as outcome,
        {{ ambiguity_sentence() }} as sentence,
        value_state in ('empty', 'legacy') as is_pending,
        case when is_decided then 'decision' else rule end as resolved_by,
        case
            when value_state = 'migrated' or reason is not null then null
            when is_decided and decided_integration_id is not null then decided_integration_id
            else only_active_integration_id
        end as integration_id
    from judged
)

select * from resolved
