{#-
    Purpose: the source that the old wizard wrote at the end of a description: `<type> campaign - <source>`.
    Input:   a text expression.
    Output:  a provider's word, null where the description does not end so. What follows must look like one
             provider's name: `Spring campaign - 20% off all shoes` names none.
-#}
{% macro description_source(expression) -%}
    {{ return(adapter.dispatch('description_source')(expression)) }}
{%- endmacro %}

{% macro postgres__description_source(expression) -%}
    {%- set suffix -%}
    substring({{ expression }} collate "C" from '(?i)^(?:.*\s)?campaign\s+-\s+(\S.*)$')
    {%- endset -%}
    case
        when {{ provider_word(suffix) }} collate "C" ~ '^[a-z0-9][a-z0-9_-]*$'
            then {{ campaign_word(suffix) }}
    end
{%- endmacro %}
