{#-
    Purpose: gather rows into one JSON object.
    Input:   expressions of the key (text, not null, unique within the group) and of the value.
    Output:  an aggregate expression.
-#}
{% macro json_object_of_rows(key, value) -%}
    {{ return(adapter.dispatch('json_object_of_rows')(key, value)) }}
{%- endmacro %}

{% macro postgres__json_object_of_rows(key, value) -%}
    jsonb_object_agg({{ key }}, {{ value }})
{%- endmacro %}
