{#-
    Purpose: gather rows into one JSON array.
    Input:   an expression of the element, and what to order by.
    Output:  an aggregate expression, null when there are no rows.
-#}
{% macro json_array_of_rows(element, order_by) -%}
    {{ return(adapter.dispatch('json_array_of_rows')(element, order_by)) }}
{%- endmacro %}

{% macro postgres__json_array_of_rows(element, order_by) -%}
    jsonb_agg({{ element }} order by {{ order_by }})
{%- endmacro %}
