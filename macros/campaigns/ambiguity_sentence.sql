{#-
    Purpose: say in plain words why a campaign is ambiguous and what to do about it.
    Input:   nothing; reads the columns of `campaign_resolutions` where its reason is known.
    Output:  a text expression, null for a reason that has no sentence (a test fails then).
    A new reason needs its sentence here, its word in the YAML of `ambiguous_campaigns`, and its unit test.
-#}
{% macro ambiguity_sentence() -%}
    {%- set decide = 'name the right one with `migrate decide` or in the seed campaign_overrides' -%}
    {%- set replaced = 'Correct it in the product, or ' ~ decide ~ '; a decision replaces the value.' -%}
    {%- set answers -%}
        concat_ws(', ',
            'data_source says ' || data_source_provider,
            'the legacy element says ' || legacy_element_provider,
            'the widgets say ' || widgets_provider,
            'the description says ' || description_provider,
            'native_config says ' || native_config_provider
        )
    {%- endset -%}
    case reason
        ---------- a decision that cannot be followed
        when 'decisions_disagree' then
            'The seed campaign_overrides has several rows for this campaign and nothing says which is newer. '
            || 'Keep one of them, or give each its decided_at.'
        when 'decision_empty' then
            'The row for this campaign in the seed campaign_overrides names neither an integration nor a provider. '
            || 'Fill in one of them, or remove the row.'
        when 'decision_needs_integration' then
            concat(
                'The decision names the provider ', decided_provider, ', which needs an integration. ',
                'Decide again with the id of the integration: only announcements, instant_capture, live_visitors and ',
                'testimonials can be named without one.'
            )
        when 'decision_integration_unknown' then
            concat(
                'The decision names the integration ', decided_integration_text,
                ', which does not exist (or has no provider). Decide again with the id of an integration of this website.'
            )
        when 'decision_of_other_website' then
            'The decision names an integration of another website. Decide again with one of this campaign''s website.'
        when 'decision_integration_inactive' then
            'The decision names an integration that is not active. Activate it in the product, or decide for another.'
        when 'decision_provider_differs' then
            concat(
                'The decision names the provider ', decided_provider, ' and an integration of ',
                decided_integration_provider, '. Decide again with the integration alone.'
            )

        ---------- a value that is there, but malformed
        when 'not_an_array' then
            concat('data_sources holds ', value_kind, ' where an array belongs. {{ replaced }}')
        when 'element_not_object' then
            'An element of data_sources is no object. {{ replaced }}'
        when 'provider_blank' then
            'An element of data_sources has no provider (missing, blank or no text). {{ replaced }}'
        when 'provider_not_lower_case' then
            'A provider in data_sources differs from its right name in upper case or spaces around it. {{ replaced }}'
        when 'settings_not_object' then
            'An element of data_sources has filters or an adapter_config that are no object. {{ replaced }}'
        when 'integration_id_not_uuid' then
            'An integration_id in data_sources is no uuid. {{ replaced }}'
        when 'integration_not_found' then
            'An integration_id in data_sources points to no integration. {{ replaced }}'
        when 'integration_of_other_website' then
            'An integration_id in data_sources points to an integration of another website. {{ replaced }}'
        when 'provider_not_of_integration' then
            'An element of data_sources names one provider and an integration of another. {{ replaced }}'
        when 'integration_id_missing' then
            'An element of data_sources names a provider that needs an integration, but no integration_id. {{ replaced }}'
        when 'duplicate_element' then
            'data_sources names the same source twice. {{ replaced }}'
        when 'legacy_beside_others' then
            'data_sources holds an element that an earlier migration left (legacy: true) beside other elements, '
            || 'and a campaign of several sources cannot be settled by itself. {{ replaced }}'
        when 'legacy_with_settings' then
            'The element that an earlier migration left in data_sources (legacy: true) holds filters or an '
            || 'adapter_config, which would be lost. {{ replaced }}'

        ---------- no provider, or more than one
        when 'rules_disagree' then
            concat('The places that name the provider disagree: ', {{ answers }}, '. If one is right, {{ decide }}.')
        when 'widgets_disagree' then
            concat(
                'Only the campaign''s widgets name a provider, and they disagree: ',
                widget_providers, '. If one is right, {{ decide }}.'
            )
        when 'native_config_of_two_kinds' then
            concat(
                'Only native_config gives a clue, and it has keys of several kinds: ',
                native_config_providers, '. If one is right, {{ decide }}.'
            )
        when 'no_clue' then
            'Nothing in the campaign or its widgets names a provider. Find out what feeds it, and {{ decide }}.'

        ---------- a provider, but no single integration
        when 'campaign_without_website' then
            concat(
                'The campaign belongs to no website, so no integration of ', provider,
                ' can be its own. Give it its website in the product.'
            )
        when 'several_active_integrations' then
            concat(
                'The website has ', active_integrations, ' active integrations of ', provider, ': {{ decide }}.'
            )
        when 'only_inactive_integrations' then
            concat(
                'The website''s integration of ', provider, ' is not active (there are ', inactive_integrations,
                '). Activate one in the product and it resolves by itself, or {{ decide }}.'
            )
        when 'only_a_connector' then
            concat(
                'The website has ', provider, ' only in the older table integration_connectors, whose id is no ',
                'integration''s. Connect it again in the product and it resolves by itself, or {{ decide }}.'
            )
        when 'only_on_other_website' then
            concat(
                'Only other websites have an integration of ', provider,
                '. Connect it to this website in the product and it resolves by itself, or {{ decide }}.'
            )
        when 'no_integration' then
            concat(
                'There is no integration of ', provider,
                '. Connect it to this website in the product and it resolves by itself, or {{ decide }}.'
            )
    end
{%- endmacro %}
