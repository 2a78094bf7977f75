{#-
    Purpose: read a number from text (contract section 4, "number").
    Input:   a text expression, already trimmed.
    Output:  a numeric expression: optional sign, optional ISO 4217 code or currency symbol before or after, digits
             with optional grouping by commas, a decimal point. Null for anything else, and for more than 15 digits
             before the point or 10 after it. The length is bounded before the cast sees the text.
-#}
{% macro number_value(expression) -%}
    {{ return(adapter.dispatch('number_value')(expression)) }}
{%- endmacro %}

{% macro postgres__number_value(expression) -%}
    (
        select
            case
                -- Nearly every number is plain digits, and the pattern of all the others costs ten times as much.
                when v.value collate "C" ~ '^-?[0-9]+(?:[.][0-9]+)?$'
                    then
                        case
                            when
                                length(split_part(ltrim(v.value, '-'), '.', 1)) <= 15
                                and length(split_part(v.value, '.', 2)) <= 10
                                then trim_scale(cast(v.value as numeric))
                        end
                else {{ tool_function('number_in_text', 'v.value') }}
            end
        from (
            select {{ expression }} as value
            offset 0
        ) as v
    )
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
    (
        select {{ tool_function('currency_in_text', 'v.value') }}
        from (
            select {{ expression }} as value
            offset 0
        ) as v
        where v.value collate "C" ~ '[A-Za-z]'
    )
{%- endmacro %}


{#-
    Purpose: the body of the function that reads a number from text that is not plain digits.
    Input:   nothing.
    Output:  SQL.
-#}
{% macro number_in_text_body() -%}
    select case when {{ is_number('value') }} then trim_scale(regexp_replace(value collate "C", '[^0-9.+-]', '', 'g')::numeric) end
{%- endmacro %}


{#-
    Purpose: the body of the function that reads a currency from the text of an amount.
    Input:   nothing.
    Output:  SQL.
-#}
{% macro currency_in_text_body() -%}
    select case when {{ is_number('value') }} then upper(substring(value collate "C" from '[A-Za-z]{3}')) end
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
    Purpose: say whether text is a number.
    Input:   a text column.
    Output:  a boolean expression. Grouping is by thousands or, before the last three digits, by hundreds
             (1,00,000). The code's letters are looked up apart: as a pattern the list would cost ten times as much.
-#}
{% macro is_number(column) -%}
    {#- The currency symbols of Unicode but for the cent, which counts hundredths. -#}
    {%- set mark = '(?:[A-Za-z]{3}|[$£¤¥֏؋৲৳૱௹฿៛₠-⃀﷼﹩＄￡￥￦])' -%}
    {#- JavaScript's own formatting puts a space that does not break between code and digits. -#}
    {%- set gap = '[ \u00a0\u202f]?' -%}
    {%- set digits = '(?:[0-9]{1,15}|[1-9][0-9]{0,2}(?:,[0-9]{3}){1,4}|[1-9][0-9]?(?:,[0-9]{2}){1,5},[0-9]{3})(?:[.][0-9]{1,10})?' -%}
    length({{ column }}) <= 40
    and {{ column }} collate "C" ~ '^(?:[+-]?{{ gap }}{{ mark }}?{{ gap }}|{{ mark }}{{ gap }}[+-]?){{ digits }}$|^[+-]?{{ digits }}{{ gap }}{{ mark }}$'
    and coalesce(
        upper(substring({{ column }} collate "C" from '[A-Za-z]{3}')) in ('{{ iso_currencies() | join("', '") }}'), true
    )
{%- endmacro %}


{#-
    Purpose: a value that is a number or a word, such as an announcement's priority: `5`, `high`.
    Input:   a document and a dotted path.
    Output:  a JSON expression: a number where it reads as one, else the text.
-#}
{% macro number_or_text(document, path) -%}
    {{ return(adapter.dispatch('number_or_text')(document, path)) }}
{%- endmacro %}

{% macro postgres__number_or_text(document, path) -%}
    coalesce(to_jsonb({{ first_of(document, [path], 'number') }}), to_jsonb({{ json_text(document, path) }}))
{%- endmacro %}
