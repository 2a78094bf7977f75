{#-
    Purpose:   one element of `data_sources` (contract section 7).
    Input:     expressions of the integration's uuid, the provider, `integration_settings` and `native_config`.
    Output:    an expression of the JSON array with this element.
-#}
{% macro data_source_element(integration_id, provider, integration_settings, native_config) -%}
    {{ return(adapter.dispatch('data_source_element')(integration_id, provider, integration_settings, native_config)) }}
{%- endmacro %}

{% macro postgres__data_source_element(integration_id, provider, integration_settings, native_config) -%}
    jsonb_build_array(
        jsonb_build_object(
            'integration_id', cast({{ integration_id }} as text),
            'provider', {{ provider }},
            'filters', {{ campaign_filters(provider, integration_settings, native_config) }},
            'adapter_config', {{ adapter_config(provider, native_config) }}
        )
    )
{%- endmacro %}


{#-
    Purpose: the filters of a campaign: the keys of `integration_settings` that filter.
    Input:   expressions of the provider, `integration_settings` and `native_config`.
    Output:  an expression of an object. For testimonials the wizard's `minRating` and `onlyVerified` become
             `min_rating` and `verified_only`; a key that has its right name and holds something wins.
-#}
{% macro campaign_filters(provider, integration_settings, native_config) -%}
    {{ return(adapter.dispatch('campaign_filters')(provider, integration_settings, native_config)) }}
{%- endmacro %}

{% macro postgres__campaign_filters(provider, integration_settings, native_config) -%}
    {%- set filters = json_pick(integration_settings, [
        'events', 'event_types', 'min_rating', 'max_age_hours', 'verified_only', 'min_order_value',
    ]) -%}
    {{ filters }}
    || case
        when {{ provider }} = 'testimonials' then
            jsonb_strip_nulls(
                jsonb_build_object(
                    'min_rating', {{ first_held([integration_settings, native_config], ['minRating', 'testimonial_filters.minRating', 'testimonial_filters.min_rating']) }},
                    'verified_only', {{ first_held([integration_settings, native_config], ['onlyVerified', 'testimonial_filters.onlyVerified', 'testimonial_filters.verified_only']) }}
                )
            )
            || {{ without_blanks(filters) }}
        else '{}'
    end
{%- endmacro %}


{#-
    Purpose: what the adapter of a native provider needs to know.
    Input:   expressions of the provider and `native_config`.
    Output:  an expression of an object, `{}` for any other provider. Announcements may lie one level deeper, under
             `announcement`; a key that holds something at the top wins.
-#}
{% macro adapter_config(provider, native_config) -%}
    {{ return(adapter.dispatch('adapter_config')(provider, native_config)) }}
{%- endmacro %}

{% macro postgres__adapter_config(provider, native_config) -%}
    {%- set native = native_providers() -%}
    case {{ provider }}
        {%- for name, keys in native.items() %}
        when '{{ name }}' then
            {%- if name == 'announcements' %}
            {{ json_pick(native_config, keys) }}
            || {{ json_pick(json_value(native_config, 'announcement'), keys) }}
            || {{ without_blanks(json_pick(native_config, keys)) }}
            {%- else %}
            {{ json_pick(native_config, keys) }}
            {%- endif %}
        {%- endfor %}
        else '{}'
    end
{%- endmacro %}


{#-
    Purpose: the first of several paths in several documents that holds something.
    Input:   expressions of JSON values, and dotted paths.
    Output:  an expression of a JSON value; SQL null when there is none.
-#}
{% macro first_held(documents, paths) -%}
    coalesce(
        {%- for document in documents %}
        {%- for path in paths %}
        nullif({{ json_value(document, path) }}, 'null')
        {{- ',' if not loop.last }}
        {%- endfor %}
        {{- ',' if not loop.last }}
        {%- endfor %}
    )
{%- endmacro %}


{#-
    Purpose: leave out the keys of an object that hold JSON null or blank text.
    Input:   an expression of an object.
    Output:  an expression of an object.
-#}
{% macro without_blanks(document) -%}
    {{ return(adapter.dispatch('without_blanks')(document)) }}
{%- endmacro %}

{% macro postgres__without_blanks(document) -%}
    coalesce(
        (
            select jsonb_object_agg(held.key, held.value)
            from jsonb_each({{ document }}) as held
            where jsonb_typeof(held.value) <> 'null'
                and (jsonb_typeof(held.value) <> 'string' or {{ text_value("(held.value #>> '{}')") }} is not null)
        ),
        '{}'
    )
{%- endmacro %}
