{#-
    Purpose: an amount as plain text (contract section 4, "decimal"): `199.50`.
    Input:   a numeric expression and a text expression of the currency's code (columns, as they are used often).
    Output:  a text expression with the currency's decimals, no grouping; at least two decimals where the currency
             is not known. Rounds half away from zero, as `round(numeric)` does.
-#}
{% macro decimal_text(amount, currency) -%}
    {{ return(adapter.dispatch('decimal_text')(amount, currency)) }}
{%- endmacro %}

{% macro postgres__decimal_text(amount, currency) -%}
    cast({{ rounded_amount(amount, currency) }} as text)
{%- endmacro %}


{#-
    Purpose: an amount for display (contract section 4, "money"): `$1,299.00`, `¥4,999`, `KES 49.00`, `-$5.00`.
    Input:   a numeric expression and a text expression of the currency's code (columns, as they are used often).
    Output:  a text expression; the bare number where the currency is not known.
-#}
{% macro money_text(amount, currency) -%}
    {{ return(adapter.dispatch('money_text')(amount, currency)) }}
{%- endmacro %}

{% macro postgres__money_text(amount, currency) -%}
    case when {{ rounded_amount(amount, currency) }} < 0 then '-' else '' end
    || {{ currency_symbol(currency) }}
    -- Wide enough for every usable number: `to_char` prints ### where the picture is too narrow.
    || to_char(trunc(abs({{ rounded_amount(amount, currency) }})), 'FM999,999,999,999,999,999,990')
    || coalesce(substring(cast({{ rounded_amount(amount, currency) }} as text) from '\.[0-9]+$'), '')
{%- endmacro %}


{#-
    Purpose: round an amount to its currency's decimals.
    Input:   a numeric expression and a text expression of the currency's code.
    Output:  a numeric expression.
-#}
{% macro rounded_amount(amount, currency) -%}
    round({{ amount }}, coalesce({{ currency_exponent(currency) }}, greatest(2, min_scale({{ amount }}))))
{%- endmacro %}
