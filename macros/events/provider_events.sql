{#-
    Purpose: the providers with a mapping of their own, and the macro that holds it; every other provider is
             normalised by the generic one.
    Input:   nothing.
    Output:  a list of names. To add a provider: a macro `<name>_fields`, a model `<name>_events`, its YAML entry and
             unit test, and its name here. The test `test_every_provider_is_complete` says what is missing.
-#}
{% macro providers() -%}
    {{ return([
        'shopify',
        'stripe',
        'woocommerce',
        'testimonials',
        'announcements',
        'instant_capture',
        'live_visitors',
    ]) }}
{%- endmacro %}


{#-
    Purpose: the condition that a row belongs to a mapping.
    Input:   a provider's name, or `generic` for all that have no mapping of their own.
    Output:  a boolean expression over a row `e` of `resolved_events`.
-#}
{% macro belongs_to(provider) -%}
    {%- if provider == 'generic' -%}
        e.provider not in ('{{ providers() | join("', '") }}')
    {%- else -%}
        e.provider = '{{ provider }}'
    {%- endif -%}
{%- endmacro %}


{#-
    Purpose: the select of a provider's fields.
    Input:   a provider's name, or `generic`.
    Output:  the SQL of its macro `<name>_fields`.
-#}
{% macro provider_fields(provider) -%}
    {{ return(context[provider ~ '_fields']()) }}
{%- endmacro %}
