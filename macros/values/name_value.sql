{#-
    Purpose: keep a person's name only when it is one (contract section 4, "first of" and "person").
    Input:   a text expression, already trimmed.
    Output:  the text without words that older writers stored for a missing part (`undefined`, `null`); null for a
             placeholder such as `Unknown`, for an e-mail address, for JSON, and for text without a letter.
-#}
{% macro name_value(expression) -%}
    {{ return(adapter.dispatch('name_value')(expression)) }}
{%- endmacro %}

{% macro postgres__name_value(expression) -%}
    (
        select v.value
        from (
            select {{ without_missing_parts(expression) }} as value
            offset 0
        ) as v
        where
            {{ is_no_placeholder('v.value', placeholders()) }}
            and (v.value collate "C" ~ '[A-Za-z]' or {{ tool_function('has_letter', 'v.value') }})
            -- An e-mail address, or an object that a writer put into a text column.
            and (position('@' in v.value) = 0 or v.value collate "C" ~ '\s')
            and left(v.value, 1) not in ('{', '[')
    )
{%- endmacro %}


{#-
    Purpose: keep a place's name only when it is one.
    Input:   a text expression, already trimmed.
    Output:  as `name_value`, but a place needs no letter: anything but separators will do. Commas around it are those
             of parts that were missing: `, Ohio`.
-#}
{% macro place_value(expression) -%}
    {{ return(adapter.dispatch('place_value')(expression)) }}
{%- endmacro %}

{% macro postgres__place_value(expression) -%}
    (
        select v.value
        from (
            select nullif(btrim({{ without_missing_parts(expression) }}, {{ white_space() }} || ','), '') as value
            offset 0
        ) as v
        where
            {{ is_no_placeholder('v.value', placeholders()) }}
            and left(v.value, 1) not in ('{', '[')
    )
{%- endmacro %}


{#-
    Purpose: keep a product's name only when it is one.
    Input:   a text expression, already trimmed.
    Output:  the text; null for a placeholder and for just `Product` or `a product`.
-#}
{% macro product_value(expression) -%}
    {{ return(adapter.dispatch('product_value')(expression)) }}
{%- endmacro %}

{% macro postgres__product_value(expression) -%}
    (
        select v.value
        from (
            select {{ expression }} as value
            offset 0
        ) as v
        where {{ is_no_placeholder('v.value', placeholders() + ['product', 'a product']) }}
    )
{%- endmacro %}


{#-
    Purpose: say that a text is none of the words that stand for a missing value.
    Input:   a text column, and the words in lower case.
    Output:  a boolean expression; null for null.
-#}
{% macro is_no_placeholder(column, words) -%}
    {{ lower_case(column) }} not in ('{{ words | join("', '") }}')
{%- endmacro %}


{#-
    Purpose: the words that writers stored where they had no name or place.
    Input:   nothing.
    Output:  a list of words in lower case.
-#}
{% macro placeholders() -%}
    {{ return([
        'unknown', 'undefined', 'undefined undefined', 'undefined, undefined', 'null', 'n/a', 'anonymous', 'someone',
    ]) }}
{%- endmacro %}


{#-
    Purpose: drop the words `undefined` and `null` that JavaScript left in a name or place for a missing part:
             `John undefined`, `undefined, Ohio`.
    Input:   a text expression.
    Output:  a text expression, null when nothing is left. `undefined` counts in any case, `null` in lower or upper case
             only: Null is a surname.
-#}
{% macro without_missing_parts(expression) -%}
    {{ return(adapter.dispatch('without_missing_parts')(expression)) }}
{%- endmacro %}

{% macro postgres__without_missing_parts(expression) -%}
    (
        select
            case
                when {{ lower_case('v.value') }} not like '%undefined%' and {{ lower_case('v.value') }} not like '%null%'
                    then v.value
                else nullif(
                    btrim(
                        regexp_replace(
                            v.value collate "C",
                            '(^|[ ,])(?:(?:[Uu][Nn][Dd][Ee][Ff][Ii][Nn][Ee][Dd]|null|NULL)(?:, *| +|$))+', '\1', 'g'
                        ),
                        {{ white_space() }} || ','
                    ),
                    ''
                )
            end
        from (
            select {{ expression }} as value
            offset 0
        ) as v
    )
{%- endmacro %}


{#-
    Purpose: put a name together from its parts.
    Input:   a document and the dotted paths of the parts in order.
    Output:  a text expression; parts that are missing or a placeholder are left out, null when no usable name remains.
             What stands for a missing part is `name_value`'s to know: Null is a surname.
-#}
{% macro person(document, paths) -%}
    {{ name_value(joined(document, paths, ' ', placeholders() | reject('equalto', 'null') | list)) }}
{%- endmacro %}


{#-
    Purpose: put a place together from its parts: `City, Country`.
    Input:   a document and a list of parts, each a list of dotted paths of which the first usable one counts.
    Output:  a text expression; parts that are missing are left out, null when nothing remains.
-#}
{% macro place(document, parts) -%}
    nullif(concat_ws(', ',
        {%- for paths in parts %}
        {{ first_of(document, paths, 'place') }}{{ ',' if not loop.last }}
        {%- endfor %}
    ), '')
{%- endmacro %}


{#-
    Purpose: join the text at several paths.
    Input:   a document, dotted paths, what stands between the parts, and words (in lower case) that are no parts.
    Output:  a text expression.
-#}
{% macro joined(document, paths, separator, not_words) -%}
    nullif(concat_ws('{{ separator }}',
        {%- for path in paths %}
        (
            select part.value
            from (
                select {{ json_text(document, path) }} as value
                offset 0
            ) as part
            where {{ is_no_placeholder('part.value', not_words) }}
        ){{ ',' if not loop.last }}
        {%- endfor %}
    ), '')
{%- endmacro %}
