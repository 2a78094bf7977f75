-- The campaigns that a person has to settle: why, what they hold today, what could be meant, and how to say it.
with resolutions as (
    select * from {{ ref('campaign_resolutions') }}
),

suggestions as (
    select * from {{ ref('campaign_suggestions') }}
),

integrations as (
    select * from {{ ref('stg_integrations') }}
),

connectors as (
    select * from {{ ref('stg_integration_connectors') }}
),

website_integrations as (
    select * from {{ ref('website_integrations') }}
),

ambiguous as (
    select
        *,
        -- Every provider that anything about the campaign names.
        string_to_array(
            concat_ws(
                ', ',
                data_source_provider,
                legacy_element_provider,
                widget_providers,
                description_provider,
                native_config_providers,
                stored_providers,
                decided_provider,
                decided_integration_provider
            ),
            ', '
        ) as named_providers
    from resolutions
    where outcome = 'ambiguous'
),

with_candidates as (
    select
        ambiguous.*,
        coalesce(found.candidates, '[]') as candidates
    from ambiguous
    cross join lateral (
        select
            {{ json_array_of_rows('candidate.document', 'candidate.kind, candidate.provider, candidate.id') }}
                as candidates
        from (
            select
                'integration' as kind,
                integrations.provider,
                integrations.integration_id as id,
                jsonb_build_object(
                    'kind', 'integration',
                    'integration_id', integrations.integration_id,
                    'provider', integrations.provider,
                    'name', integrations.integration_name,
                    'is_active', coalesce(integrations.is_active, false),
                    'same_website', integrations.website_id is not distinct from ambiguous.website_id
                ) as document
            from integrations
            where (
                    integrations.website_id = ambiguous.website_id
                    and (
                        cardinality(ambiguous.named_providers) = 0
                        or integrations.provider = any(ambiguous.named_providers)
                    )
                )
                -- Another website's only when it is the same owner's: nobody sees other people's integrations.
                or (
                    ambiguous.reason = 'only_on_other_website'
                    and integrations.provider = ambiguous.provider
                    and integrations.user_id = ambiguous.user_id
                )

            union all

            select
                'connector' as kind,
                connectors.provider,
                connectors.connector_id as id,
                jsonb_build_object(
                    'kind', 'connector',
                    'connector_id', connectors.connector_id,
                    'provider', connectors.provider,
                    'name', connectors.connector_name,
                    'status', connectors.status
                ) as document
            from connectors
            where ambiguous.reason = 'only_a_connector'
                and connectors.provider = ambiguous.provider
                and connectors.website_id = ambiguous.website_id

            union all

            select
                'native' as kind,
                native.provider,
                null as id,
                jsonb_build_object('kind', 'native', 'provider', native.provider) as document
            from (
                values
                {%- for provider in native_providers() %}
                ('{{ provider }}'){{ ',' if not loop.last }}
                {%- endfor %}
            ) as native (provider)
            where native.provider = any(ambiguous.named_providers)
        ) as candidate
    ) as found
),

with_suggestion as (
    select
        with_candidates.*,
        coalesce(suggestions.events, 0) as events,
        suggestions.events_by_provider,
        -- The legacy columns count where the value is what is malformed; where they are the trouble, only events do.
        case
            when suggestions.suggested_provider is not null then suggestions.suggested_provider
            when with_candidates.value_problem = with_candidates.reason and not with_candidates.rules_disagree
                then with_candidates.rule_provider
        end as suggested_provider,
        case
            when suggestions.suggested_provider is null then null
            -- The events say one thing and the legacy columns another.
            when suggestions.suggested_provider <> with_candidates.rule_provider
                then round(suggestions.confidence / 2, 2)
            else suggestions.confidence
        end as confidence_from_events
    from with_candidates
    left join suggestions
        on with_candidates.campaign_id = suggestions.campaign_id
),

settled_by as (
    select
        with_suggestion.*,
        here.only_active_integration_id as suggested_integration_id,
        case
            when with_suggestion.suggested_provider is null then null
            when not {{ is_native('with_suggestion.suggested_provider') }} and here.only_active_integration_id is null
                then null
            when {{ is_native('with_suggestion.suggested_provider') }} and here.only_active_integration_id is null
                then with_suggestion.suggested_provider
            else cast(here.only_active_integration_id as text)
        end as suggested_answer
    from with_suggestion
    left join website_integrations as here
        on with_suggestion.website_id = here.website_id
        and with_suggestion.suggested_provider = here.provider
),

described as (
    select
        campaign_id,
        website_id,
        campaign_name,
        reason,
        sentence,
        jsonb_build_object(
            'status', status,
            'campaign_type', campaign_type,
            'data_source', data_source,
            'description', {{ without_credentials('to_jsonb(description)') }},
            'data_sources', {{ without_credentials('stored_value') }},
            'native_config', {{ without_credentials('native_config') }},
            'integration_settings', {{ without_credentials('integration_settings') }}
        ) as current_data,
        candidates,
        jsonb_strip_nulls(
            jsonb_build_object(
                'data_sources', value_state,
                'problems', value_problems,
                'rules', jsonb_build_object(
                    'data_source', data_source_provider,
                    'legacy_element', legacy_element_provider,
                    'widgets', widget_providers,
                    'description', description_provider,
                    'native_config', native_config_providers
                ),
                'decision', case
                    when is_decided then jsonb_build_object(
                        'integration_id', decided_integration_text,
                        'provider', decided_provider,
                        'note', decision_note,
                        'decided_by', decided_by,
                        'decided_in', decided_in
                    )
                end,
                'events', events,
                'events_by_provider', events_by_provider
            )
        ) as evidence,
        suggested_provider,
        suggested_integration_id,
        cast(
            case
                when suggested_provider is null then null
                when suggested_answer is null then 0.00
                else coalesce(confidence_from_events, 0.80)
            end as numeric(3, 2)
        ) as confidence,
        case
            when suggested_provider is null then null
            when confidence_from_events is not null then 'events'
            else 'legacy columns'
        end as suggested_from,
        suggested_answer is not null as can_be_accepted,
        concat('migrate decide ', campaign_id, ' ', coalesce(suggested_answer, 'INTEGRATION_OR_PROVIDER'))
            as settle_command,
        concat(
            campaign_id, ',',
            coalesce(
                cast(suggested_integration_id as text),
                case when suggested_answer is null then 'INTEGRATION_ID' end
            ),
            ',',
            case when suggested_integration_id is null then suggested_answer end,
            ',',
            -- Where somebody has decided already, a line without a date would be older than that.
            case when is_decided then {{ timestamp_text('now()') }} end,
            ','
        ) as settle_seed_line
    from settled_by
)

select * from described
