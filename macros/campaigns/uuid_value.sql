{#-
    Purpose: read a uuid from text without ever raising.
    Input:   a text expression.
    Output:  a uuid expression, null for anything but the 36 characters of a uuid.
-#}
{% macro uuid_value(expression) -%}
    {{ return(adapter.dispatch('uuid_value')(expression)) }}
{%- endmacro %}

{% macro postgres__uuid_value(expression) -%}
    case
        when {{ expression }} collate "C" ~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'
            then cast({{ expression }} as uuid)
    end
{%- endmacro %}
