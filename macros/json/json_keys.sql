{#-
    Purpose: the keys of a JSON object.
    Input:   an expression of a JSON value.
    Output:  an expression of a JSON array of strings, empty when the value is no object. Two objects with the same
             keys give the same array.
-#}
{% macro json_keys(document) -%}
    {{ return(adapter.dispatch('json_keys')(document)) }}
{%- endmacro %}

{% macro postgres__json_keys(document) -%}
    to_jsonb(array(
        select jsonb_object_keys(case when jsonb_typeof({{ document }}) = 'object' then {{ document }} else '{}' end)
    ))
{%- endmacro %}


{#-
    Purpose: the keys whose values differ between two JSON objects, or that only one of them has.
    Input:   two expressions of JSON values, and a key to leave out.
    Output:  an expression of a JSON array of strings, in order; a value that is no object has no keys.
-#}
{% macro json_changed_keys(one, other, except='') -%}
    {{ return(adapter.dispatch('json_changed_keys')(one, other, except)) }}
{%- endmacro %}

{% macro postgres__json_changed_keys(one, other, except='') -%}
    to_jsonb(array(
        select coalesce(one.key, other.key) collate "C" as key
        from jsonb_each(case when jsonb_typeof({{ one }}) = 'object' then {{ one }} else '{}' end) as one
        full join jsonb_each(case when jsonb_typeof({{ other }}) = 'object' then {{ other }} else '{}' end) as other
            on one.key = other.key
        where one.value is distinct from other.value
            and coalesce(one.key, other.key) <> '{{ except }}'
        order by 1
    ))
{%- endmacro %}


{#-
    Purpose: the strings of a JSON value that should be an array of them.
    Input:   an expression of any JSON value.
    Output:  an expression of a JSON array: its strings, trimmed, in order, each once; what is no text is left out.
-#}
{% macro json_texts(document) -%}
    {{ return(adapter.dispatch('json_texts')(document)) }}
{%- endmacro %}

{% macro postgres__json_texts(document) -%}
    to_jsonb(array(
        select distinct {{ text_value("element.value #>> '{}'") }} collate "C" as text
        from {{ json_elements(document) }} as element (value, position)
        where jsonb_typeof(element.value) = 'string'
            and {{ text_value("element.value #>> '{}'") }} is not null
        order by 1
    ))
{%- endmacro %}


{#-
    Purpose: say whether a JSON array of strings holds a string.
    Input:   an expression of an array, and a text expression.
    Output:  a boolean expression.
-#}
{% macro json_array_holds(array, text) -%}
    {{ return(adapter.dispatch('json_array_holds')(array, text)) }}
{%- endmacro %}

{% macro postgres__json_array_holds(array, text) -%}
    ({{ array }} ? {{ text }})
{%- endmacro %}


{#-
    Purpose: say whether a JSON array of strings holds every string of another.
    Input:   two expressions of arrays.
    Output:  a boolean expression.
-#}
{% macro json_array_holds_all(array, others) -%}
    {{ return(adapter.dispatch('json_array_holds_all')(array, others)) }}
{%- endmacro %}

{% macro postgres__json_array_holds_all(array, others) -%}
    ({{ array }} @> {{ others }})
{%- endmacro %}


{#-
    Purpose: how many elements a JSON array has.
    Input:   an expression of an array.
    Output:  an integer expression.
-#}
{% macro json_array_length(array) -%}
    {{ return(adapter.dispatch('json_array_length')(array)) }}
{%- endmacro %}

{% macro postgres__json_array_length(array) -%}
    jsonb_array_length({{ array }})
{%- endmacro %}


{#-
    Purpose: the strings of a JSON array as rows of one column.
    Input:   an expression of an array of strings.
    Output:  a table function for a `from` clause.
-#}
{% macro json_strings(array) -%}
    {{ return(adapter.dispatch('json_strings')(array)) }}
{%- endmacro %}

{% macro postgres__json_strings(array) -%}
    jsonb_array_elements_text({{ array }})
{%- endmacro %}


{#-
    Purpose: comma-separated text as a JSON array of strings.
    Input:   a text expression.
    Output:  an expression of an array; empty for null.
-#}
{% macro json_split(text) -%}
    {{ return(adapter.dispatch('json_split')(text)) }}
{%- endmacro %}

{% macro postgres__json_split(text) -%}
    coalesce(to_jsonb(string_to_array({{ text }}, ',')), '[]')
{%- endmacro %}


{#-
    Purpose: read one key of an object as text where the key itself may hold dots (`meta.timestamp`).
    Input:   an expression of a JSON value, and a key.
    Output:  a text expression, null where there is no such key.
-#}
{% macro json_member_text(document, key) -%}
    {{ return(adapter.dispatch('json_member_text')(document, key)) }}
{%- endmacro %}

{% macro postgres__json_member_text(document, key) -%}
    ({{ document }} ->> '{{ key }}')
{%- endmacro %}


{#-
    Purpose: say whether an object has exactly these keys.
    Input:   an expression of an object, and keys.
    Output:  a boolean expression.
-#}
{% macro json_has_only(document, keys) -%}
    {{ return(adapter.dispatch('json_has_only')(document, keys)) }}
{%- endmacro %}

{% macro postgres__json_has_only(document, keys) -%}
    ({{ document }} ?& array['{{ keys | join("', '") }}'] and {{ document }} - '{ {{- keys | join(',') -}} }'::text[] = '{}')
{%- endmacro %}
