{#-
    Purpose: keep a computed number (a sum, an amount in another unit) only within the limits of contract section 4,
             "number": at most 15 digits before the point and 10 after.
    Input:   a numeric expression.
    Output:  a numeric expression without trailing zeros; null beyond the limits.
-#}
{% macro computed_number(number) -%}
    {{ return(adapter.dispatch('computed_number')(number)) }}
{%- endmacro %}

{% macro postgres__computed_number(number) -%}
    (
        select n.value
        from (select trim_scale({{ number }}) as value offset 0) as n
        where abs(n.value) < 1000000000000000 and scale(n.value) <= 10
    )
{%- endmacro %}
