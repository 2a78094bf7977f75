{#-
    Purpose: the native providers whose exclusive keys stand in `native_config` (contract section 7, rule 6).
    Input:   an expression of the JSON value.
    Output:  a text expression: the word; words with commas between them when keys of several kinds are there; null
             when there is no clue. A key that holds JSON null or blank text is no clue: wizards stored their empty fields.
             `message_template`, `image_type`, `emoji`, `icon`, `locale`, `actions` and `schedule` say nothing.
-#}
{% macro native_config_providers(config) -%}
    {{ return(adapter.dispatch('native_config_providers')(config)) }}
{%- endmacro %}

{% macro postgres__native_config_providers(config) -%}
    nullif(
        concat_ws(', ',
            case
                when {{ json_text(config, 'title') }} is not null
                    or {{ json_text(config, 'message') }} is not null
                    or {{ json_holds(config, 'schedule_type') }}
                    or {{ json_holds(config, 'recurrence') }}
                    or {{ json_kind(json_value(config, 'announcement')) }} = 'object'
                    then 'announcements'
            end,
            case
                when {{ json_holds(config, 'target_url') }}
                    or {{ json_holds(config, 'field_mappings') }}
                    then 'instant_capture'
            end,
            case
                when {{ json_text(config, 'title') }} is null
                    and not {{ json_holds(config, 'target_url') }}
                    and (
                        {{ json_holds(config, 'min_count') }}
                        or {{ json_holds(config, 'update_interval_seconds') }}
                    )
                    then 'live_visitors'
            end,
            case
                when {{ json_holds(config, 'formId') }}
                    or {{ json_holds(config, 'minRating') }}
                    or {{ json_holds(config, 'testimonial_filters') }}
                    then 'testimonials'
            end
        ),
        ''
    )
{%- endmacro %}
