{#-
    Purpose:   read the value at a path of a JSON document.
    Input:     an expression of the document (an object) and a dotted path: `customer.first_name`, `line_items.0.title`.
    Output:    an expression of the JSON value, null where the path does not exist.
    Arguments: document, path (keys without dots; a number is an array's element).
-#}
{% macro json_value(document, path) -%}
    {{ return(adapter.dispatch('json_value')(document, path)) }}
{%- endmacro %}

{% macro postgres__json_value(document, path) -%}
    {%- if '.' in path -%}
        ({{ document }} #> '{ {{- path | replace('.', ',') -}} }')
    {%- else -%}
        ({{ document }} -> '{{ path }}')
    {%- endif -%}
{%- endmacro %}


{#-
    Purpose: name the kind of a JSON value: object, array, string, number, boolean, null.
    Input:   an expression of a JSON value.
    Output:  a text expression.
-#}
{% macro json_kind(value) -%}
    {{ return(adapter.dispatch('json_kind')(value)) }}
{%- endmacro %}

{% macro postgres__json_kind(value) -%}
    jsonb_typeof({{ value }})
{%- endmacro %}


{#-
    Purpose: a hash of a JSON value, the one that the undo keeps of what was written.
    Input:   an expression of a JSON value.
    Output:  a bigint expression, null where the value is.
-#}
{% macro json_hash(value) -%}
    {{ return(adapter.dispatch('json_hash')(value)) }}
{%- endmacro %}

{% macro postgres__json_hash(value) -%}
    jsonb_hash_extended({{ value }}, 0)
{%- endmacro %}
