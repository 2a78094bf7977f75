{#-
    Purpose: trim every Unicode white space and drop blank text (contract section 4, "text").
    Input:   a text expression.
    Output:  a text expression, null when nothing is left.
    Source:  Unicode White_Space, and U+001C to U+001F, which several languages trim as well. `\s` and plain
             `btrim` leave U+00A0 and its kind.
-#}
{% macro text_value(expression) -%}
    {{ return(adapter.dispatch('text_value')(expression)) }}
{%- endmacro %}

{% macro postgres__text_value(expression) -%}
    {{ tool_function('trimmed', expression) }}
{%- endmacro %}


{#-
    Purpose: every Unicode white space character, as one string.
    Input:   nothing.
    Output:  a text literal.
-#}
{% macro white_space() -%}
    {{ return("E' \\t\\n\\x0b\\f\\r\\x1c\\x1d\\x1e\\x1f\\u0085\\u00a0\\u1680\\u2000\\u2001\\u2002\\u2003\\u2004\\u2005\\u2006\\u2007\\u2008\\u2009\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000'") }}
{%- endmacro %}


{#-
    Purpose: lower or upper case that no locale changes (Turkish i, and so on).
    Input:   a text expression.
    Output:  a text expression.
-#}
{% macro lower_case(expression) -%}
    {{ return(adapter.dispatch('lower_case')(expression)) }}
{%- endmacro %}

{% macro postgres__lower_case(expression) -%}
    lower({{ expression }} collate "C")
{%- endmacro %}
