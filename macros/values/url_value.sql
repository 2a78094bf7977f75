{#-
    Purpose: keep a URL only when it is safe to render on a customer's site (contract section 4, "url").
    Input:   a text expression, already trimmed.
    Output:  the text when its scheme is http or https or it has none, else null. Text is let through only when
             nothing before its first `/`, `?` or `#` could be read as a scheme: neither a colon nor an HTML
             entity that could become one. So a scheme in disguise (case, control characters inside, entities)
             never passes, without a list of bad ones.
-#}
{% macro url_value(expression) -%}
    {{ return(adapter.dispatch('url_value')(expression)) }}
{%- endmacro %}

{% macro postgres__url_value(expression) -%}
    (
        select v.value
        from (
            select {{ expression }} as value
            offset 0
        ) as v
        where
            v.value like 'https://%'
            or v.value collate "C" ~ '(?i)^(?:https?:.+|[^:/?#&]*(?:[/?#].*)?)$'
    )
{%- endmacro %}
