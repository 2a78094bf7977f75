{#-
    Purpose: the fields that every event has, for the end of a provider's select.
    Input:   a row `e` of `resolved_events`; a mapping {field: condition} of the fields that show a display word
             (`Someone`) when the condition holds.
    Output:  select items: `meta.provider`, `meta.event_type`, `meta.timestamp`, `meta.provider_resolved_by`,
             `meta.contract_version`, `meta.display_defaults`.
-#}
{% macro common_fields(display_defaults={}) -%}
        e.provider as "meta.provider",
        {{ text_value('e.event_type') }} as "meta.event_type",
        e.timestamp_text as "meta.timestamp",
        e.resolved_by as "meta.provider_resolved_by",
        '{{ var("contract_version") }}'::text as "meta.contract_version",
        {% if display_defaults -%}
        nullif(concat_ws(',',
            {%- for field, condition in display_defaults.items() %}
            case when {{ condition }} then '{{ field }}' end{{ ',' if not loop.last }}
            {%- endfor %}
        ), '') as "meta.display_defaults"
        {%- else -%}
        cast(null as text) as "meta.display_defaults"
        {%- endif %}
{%- endmacro %}


{#-
    Purpose: the person in the row's own column `user_name`.
    Input:   a row `e` of `resolved_events`.
    Output:  a text expression, as `given_name` says.
-#}
{% macro row_user_name() -%}
    {{ given_name(text_value('e.user_name')) }}
{%- endmacro %}


{#-
    Purpose: keep a person's name only when it is one and was not made of an e-mail address.
    Input:   a text expression, already trimmed, and a row `e` of `resolved_events`.
    Output:  a text expression; null for a placeholder, and for the local part of the row's e-mail address or of one in
             the payload, wherever it stands there: several writers stored it for want of a name. Compared to the
             letter: `Ann` is a name beside `ann@example.com`.
-#}
{% macro given_name(expression) -%}
    {{ return(adapter.dispatch('given_name')(expression)) }}
{%- endmacro %}

{% macro postgres__given_name(expression) -%}
    (
        select given.name
        from (
            select {{ name_value(expression) }} as name
            offset 0
        ) as given
        where
            case
                -- A local part has no blank, so a name of two words need not be compared.
                when given.name is null or position(' ' in given.name) > 0 then true
                else
                    position(given.name || '@' in coalesce(ltrim(e.user_email), '')) <> 1
                    and position('"' || given.name || '@' in cast(e.data as text)) = 0
            end
    )
{%- endmacro %}


{#-
    Purpose: the first of several paths that holds a person's name (see `given_name`).
    Input:   a document, its dotted paths, and a row `e` of `resolved_events`.
    Output:  a text expression.
-#}
{% macro first_given_name(document, paths) -%}
    coalesce(
        {%- for path in paths %}
        {{ given_name(json_text(document, path)) }}{{ ',' if not loop.last }}
        {%- endfor %}
    )
{%- endmacro %}


{#-
    Purpose: the place in the row's own column `user_location`.
    Input:   a row `e` of `resolved_events`.
    Output:  a text expression; null for a placeholder.
-#}
{% macro row_user_location() -%}
    {{ place_value(text_value('e.user_location')) }}
{%- endmacro %}


{#-
    Purpose: the place of an address object: city and country, or the country's code where its name is missing.
    Input:   a document and the dotted path of the address.
    Output:  a text expression.
-#}
{% macro address(document, path) -%}
    {{ place(document, [[path ~ '.city'], [path ~ '.country', path ~ '.country_name', path ~ '.country_code']]) }}
{%- endmacro %}


{#-
    Purpose: the currency of a payload: where it is named, else the code inside the text of an amount.
    Input:   a document, the dotted paths of a currency, and those of amounts.
    Output:  a text expression, null where neither says one. No currency is ever assumed.
-#}
{% macro currency_of(document, paths, amounts=[]) -%}
    coalesce(
        {{ first_of(document, paths, 'currency') }}
        {%- for path in amounts -%}
        ,
        {{ currency_in_amount(json_text(document, path)) }}
        {%- endfor %}
    )
{%- endmacro %}


{#-
    Purpose: how many elements an array has.
    Input:   a document and a dotted path.
    Output:  a numeric expression; null where there is no array or it is empty.
-#}
{% macro array_size(document, path) -%}
    {{ return(adapter.dispatch('array_size')(document, path)) }}
{%- endmacro %}

{% macro postgres__array_size(document, path) -%}
    case
        when jsonb_typeof({{ json_value(document, path) }}) = 'array'
            then nullif(jsonb_array_length({{ json_value(document, path) }}), 0)::numeric
    end
{%- endmacro %}


{#-
    Purpose: add up one number over the elements of an array.
    Input:   a document, the dotted path of the array, and the key of the number in each element.
    Output:  a numeric expression; null where there is no array or no element has a usable number.
-#}
{% macro array_sum(document, path, key) -%}
    {{ return(adapter.dispatch('array_sum')(document, path, key)) }}
{%- endmacro %}

{% macro postgres__array_sum(document, path, key) -%}
    (
        select {{ computed_number('sum(' ~ number_value(json_text('element.value', key)) ~ ')') }}
        from jsonb_array_elements(
            case when jsonb_typeof({{ json_value(document, path) }}) = 'array' then {{ json_value(document, path) }} end
        ) as element (value)
    )
{%- endmacro %}
