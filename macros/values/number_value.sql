{#-
    Purpose: read a number from text (contract section 4, "number").
    Input:   a text expression, already trimmed.
    Output:  a numeric expression: optional sign, optional ISO 4217 code or currency symbol before or after, digits
             with optional grouping by commas, a decimal point. Null for anything else, and for more than 15 digits
             before the point or 10 after it. The pattern bounds the length before the cast sees the text.
-#}
{% macro number_value(expression) -%}
    {{ return(adapter.dispatch('number_value')(expression)) }}
{%- endmacro %}

{% macro postgres__number_value(expression) -%}
    trim_scale(cast(
        regexp_replace(
            substring({{ expression }} collate "C" from '{{ number_pattern() }}'), '[^0-9.+-]', '', 'g'
        ) as numeric
    ))
{%- endmacro %}


{#-
    Purpose: the ISO 4217 code inside the text of an amount (`EUR 12.00`).
    Input:   a text expression, already trimmed.
    Output:  the code in upper case; null when the text is not a number or carries no code.
-#}
{% macro currency_in_amount(expression) -%}
    {{ return(adapter.dispatch('currency_in_amount')(expression)) }}
{%- endmacro %}

{% macro postgres__currency_in_amount(expression) -%}
    upper(substring(substring({{ expression }} collate "C" from '{{ number_pattern() }}') from '[A-Za-z]{3}'))
{%- endmacro %}


{#-
    Purpose: a currency's code (contract section 4, "currency").
    Input:   a text expression, already trimmed.
    Output:  three letters in upper case, else null.
-#}
{% macro currency_value(expression) -%}
    {{ return(adapter.dispatch('currency_value')(expression)) }}
{%- endmacro %}

{% macro postgres__currency_value(expression) -%}
    substring(upper({{ expression }} collate "C") from '^[A-Z]{3}$')
{%- endmacro %}


{#-
    Purpose: the regular expression of a number in text.
    Input:   nothing.
    Output:  a pattern for the whole text. Grouping is by thousands or, after them, by hundreds (1,00,000).
-#}
{% macro number_pattern() -%}
    {%- set mark = '(?:' ~ iso_currencies() | join('|') ~ '|[$€£¥₹₦₩₪₫₱₴₺₽฿₵₡₲₸₾₭₮₼])' -%}
    {%- set digits = '(?:[0-9]{1,15}|[0-9]{1,3}(?:,[0-9]{3}){1,4}|[0-9]{1,2}(?:,[0-9]{2}){1,5},[0-9]{3})(?:[.][0-9]{1,10})?' -%}
    {{ return('(?i)^(?:[+-]? ?' ~ mark ~ '? ?|' ~ mark ~ ' ?[+-]?)' ~ digits ~ '(?: ?' ~ mark ~ ')?$') }}
{%- endmacro %}
