{#-
    Purpose:   the first listed path that holds a usable value (contract section 4, "first of").
    Input:     a document, dotted paths in order, and the rule that says what is usable.
    Output:    an expression, null when no path holds a usable value.
    Arguments: rule: text, name, place, product, url, number or currency.
-#}
{% macro first_of(document, paths, rule='text') -%}
    coalesce(
        {%- for path in paths %}
        {{ usable(json_text(document, path), rule) }}{{ ',' if not loop.last }}
        {%- endfor %}
    )
{%- endmacro %}


{#-
    Purpose: apply a value rule by its name.
    Input:   a text expression, already trimmed, and the rule's name.
    Output:  an expression, null when the value is not usable.
-#}
{% macro usable(expression, rule) -%}
    {%- if rule == 'text' -%} {{ expression }}
    {%- elif rule == 'name' -%} {{ name_value(expression) }}
    {%- elif rule == 'place' -%} {{ place_value(expression) }}
    {%- elif rule == 'product' -%} {{ product_value(expression) }}
    {%- elif rule == 'url' -%} {{ url_value(expression) }}
    {%- elif rule == 'number' -%} {{ number_value(expression) }}
    {%- elif rule == 'currency' -%} {{ currency_value(expression) }}
    {%- else -%} {{ exceptions.raise_compiler_error("first_of: there is no value rule '" ~ rule ~ "'") }}
    {%- endif -%}
{%- endmacro %}
