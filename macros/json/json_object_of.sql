{#-
    Purpose: make one flat JSON object of a relation's columns, without those that are null.
    Input:   the alias of a subquery.
    Output:  an expression of the object; its keys are the column names.
-#}
{% macro json_object_of(alias) -%}
    {{ return(adapter.dispatch('json_object_of')(alias)) }}
{%- endmacro %}

{% macro postgres__json_object_of(alias) -%}
    jsonb_strip_nulls(to_jsonb({{ alias }}))
{%- endmacro %}
