{#-
    Purpose:   keep the listed keys of a JSON object, with their values as they stand.
    Input:     an expression of a JSON value, and keys.
    Output:    an expression of an object; `{}` when the value is no object or has none of the keys.
-#}
{% macro json_pick(document, keys) -%}
    {{ return(adapter.dispatch('json_pick')(document, keys)) }}
{%- endmacro %}

{% macro postgres__json_pick(document, keys) -%}
    coalesce(
        case
            when jsonb_typeof({{ document }}) = 'object' then (
                select jsonb_object_agg(picked.key, {{ document }} -> picked.key)
                from unnest(array['{{ keys | join("', '") }}']) as picked (key)
                where {{ document }} ? picked.key
            )
        end,
        '{}'
    )
{%- endmacro %}


{#-
    Purpose: say whether an object holds something at a key: not JSON null, not blank text.
    Input:   an expression of a JSON value, and a key.
    Output:  a boolean expression, never null; false when the value is no object.
-#}
{% macro json_holds(document, key) -%}
    {{ return(adapter.dispatch('json_holds')(document, key)) }}
{%- endmacro %}

{% macro postgres__json_holds(document, key) -%}
    coalesce(
        case {{ json_kind(json_value(document, key)) }}
            when 'null' then false
            when 'string' then {{ json_text(document, key) }} is not null
            else {{ json_value(document, key) }} is not null
        end,
        false
    )
{%- endmacro %}


{#-
    Purpose: the elements of a JSON array as rows (value, position from 1).
    Input:   an expression of a JSON value.
    Output:  a table function for a `from` clause; no rows when the value is no array.
-#}
{% macro json_elements(document) -%}
    {{ return(adapter.dispatch('json_elements')(document)) }}
{%- endmacro %}

{% macro postgres__json_elements(document) -%}
    jsonb_array_elements(case when jsonb_typeof({{ document }}) = 'array' then {{ document }} else '[]' end) with ordinality
{%- endmacro %}
