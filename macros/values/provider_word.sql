{#-
    Purpose: read a provider's name the same way everywhere: trimmed, lower-cased, synonyms folded.
    Input:   a text expression.
    Output:  a text expression, null for blank text. The synonyms are the dbt var `provider_synonyms`.
-#}
{% macro provider_word(expression) -%}
    case {{ lower_case(text_value(expression)) }}
    {%- for synonym, provider in var('provider_synonyms').items() %}
        when '{{ synonym }}' then '{{ provider }}'
    {%- endfor %}
        else {{ lower_case(text_value(expression)) }}
    end
{%- endmacro %}
