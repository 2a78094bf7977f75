{#-
    Purpose: the providers that the product serves itself, each with the keys of `native_config` that its adapter
             reads (contract section 7, "adapter_config").
    Input:   nothing.
    Output:  an ordered mapping {provider: keys}.
-#}
{% macro native_providers() -%}
    {{ return({
        'announcements': [
            'title', 'message', 'cta_text', 'cta_url', 'schedule_type', 'start_date', 'end_date', 'recurrence',
            'priority', 'variables', 'image_type', 'emoji', 'icon', 'image_url',
        ],
        'instant_capture': ['target_url', 'auto_detect', 'field_mappings', 'require_moderation', 'message_template'],
        'live_visitors': [
            'mode', 'scope', 'min_count', 'max_count', 'variance_percent', 'update_interval_seconds', 'target_pages',
        ],
        'testimonials': ['formId', 'minRating', 'limit', 'onlyApproved'],
    }) }}
{%- endmacro %}


{#-
    Purpose: say whether a provider is native: it needs no integration.
    Input:   an expression of a provider's word.
    Output:  a boolean expression, null for null.
-#}
{% macro is_native(provider) -%}
    {{ provider }} in (
        {%- for name in native_providers() %}'{{ name }}'{{ ', ' if not loop.last }}{% endfor -%}
    )
{%- endmacro %}
