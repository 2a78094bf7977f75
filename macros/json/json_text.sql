{#-
    Purpose: read text from a JSON document (contract section 4, "text").
    Input:   an expression of the document and a dotted path.
    Output:  a text expression: a JSON string or number, trimmed; null for anything else and for blank text.
-#}
{% macro json_text(document, path) -%}
    {{ return(adapter.dispatch('json_text')(document, path)) }}
{%- endmacro %}

{% macro postgres__json_text(document, path) -%}
    case
        when jsonb_typeof({{ json_value(document, path) }}) in ('string', 'number')
            then {{ text_value(json_raw_text(document, path)) }}
    end
{%- endmacro %}


{#-
    Purpose: read the value at a path as it stands, as text: strings without their quotes, objects as JSON.
    Input:   an expression of the document and a dotted path.
    Output:  a text expression.
-#}
{% macro json_raw_text(document, path) -%}
    {{ return(adapter.dispatch('json_raw_text')(document, path)) }}
{%- endmacro %}

{% macro postgres__json_raw_text(document, path) -%}
    {%- if '.' in path -%}
        ({{ document }} #>> '{ {{- path | replace('.', ',') -}} }')
    {%- else -%}
        ({{ document }} ->> '{{ path }}')
    {%- endif -%}
{%- endmacro %}


{#-
    Purpose: read a boolean from a JSON document; the text `true` or `false` counts as well.
    Input:   an expression of the document and a dotted path.
    Output:  a boolean expression, null for anything else.
-#}
{% macro json_boolean(document, path) -%}
    {{ return(adapter.dispatch('json_boolean')(document, path)) }}
{%- endmacro %}

{% macro postgres__json_boolean(document, path) -%}
    case lower({{ json_raw_text(document, path) }} collate "C")
        when 'true' then true
        when 'false' then false
    end
{%- endmacro %}
