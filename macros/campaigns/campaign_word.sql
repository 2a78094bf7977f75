{#-
    Purpose: read the word by which a campaign names its provider (contract section 7, rules 2 to 6).
    Input:   a text expression.
    Output:  a text expression: trimmed, lower-cased, synonyms folded; null for blank text and for the words that
             say how rows came in, or nothing at all, and so are no answer.
-#}
{% macro campaign_word(expression) -%}
    case
        when {{ provider_word(expression) }} not in (
            {%- for word in words_without_answer() %}'{{ word }}'{{ ', ' if not loop.last }}{% endfor -%}
        ) then {{ provider_word(expression) }}
    end
{%- endmacro %}


{#-
    Purpose: the words that name no provider.
    Input:   nothing.
    Output:  a list of words.
-#}
{% macro words_without_answer() -%}
    {{ return(['manual', 'demo', 'csv', 'native']) }}
{%- endmacro %}
