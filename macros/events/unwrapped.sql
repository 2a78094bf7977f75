{#-
    Purpose: take one wrapper off a payload (contract section 4, "raw payloads may sit under a wrapper").
    Input:   a column with a JSON object.
    Output:  an expression: the object inside the wrapper, over what stood beside the wrapper (a generic webhook
             stores mapped fields there); the column itself when there is no wrapper. A provider's own object is
             looked into for `raw_payload` only: a Stripe charge or an order may have the other keys for other
             purposes, and a generic webhook may have mapped a field to a key such as `object`.
    Wrappers: raw_payload, order, data.object, payment, testimonial, announcement.config, announcement; each may be
             JSON text, and so may `data` and `announcement` around what they hold.
-#}
{% macro unwrapped(document) -%}
    {{ return(adapter.dispatch('unwrapped')(document)) }}
{%- endmacro %}

{% macro postgres__unwrapped(document) -%}
    case
        when not {{ document }} ?| array['raw_payload', 'order', 'data', 'payment', 'testimonial', 'announcement']
            then {{ document }}
        {{ within(document, 'raw_payload') }}
        when {{ document }} ? 'line_items' or ({{ document }} ? 'object' and {{ document }} -> 'object' <> '"event"')
            then {{ document }}
        {{ within(document, 'order') }}
        -- Beside Stripe's `data` stand the event's own id and kind, which are not the payment's.
        {{ within(document, 'data.object', beside="- '{data,id,object,type,created}'::text[]") }}
        {{ within(document, 'payment') }}
        {{ within(document, 'testimonial') }}
        -- An announcement may have its title beside its `config`.
        {{ within(document, 'announcement.config', beside="- 'announcement' || (" ~ document ~ " -> 'announcement') - 'config'") }}
        {%- for key in ['data', 'announcement'] %}
        {{ parsed_in_place(document, key) }}
        {%- endfor %}
        {{ within(document, 'announcement') }}
        else {{ document }}
    end
{%- endmacro %}


{#-
    Purpose:   one branch of `unwrapped`.
    Input:     the document, the dotted path of the wrapper, and what is taken away beside it.
    Output:    a `when ... then ...` of a case: the inner object over what stands beside it, but where the inner value
               is null. (A key that is null all the same tells who stored the row.)
-#}
{% macro within(document, path, beside=none) -%}
    {%- set value = json_value(document, path) -%}
    when jsonb_typeof({{ value }}) = 'object'
            then {{ value }} || ({{ document }} {{ beside or "- '" ~ path.split('.')[0] ~ "'" }}) || jsonb_strip_nulls({{ value }})
        when jsonb_typeof({{ value }}) = 'string'
            and jsonb_typeof({{ parsed_json(json_raw_text(document, path)) }}) = 'object'
            then {{ parsed_json(json_raw_text(document, path)) }}
                || ({{ document }} {{ beside or "- '" ~ path.split('.')[0] ~ "'" }})
                || jsonb_strip_nulls({{ parsed_json(json_raw_text(document, path)) }})
{%- endmacro %}


{#-
    Purpose: one branch of `unwrapped`: text that holds an object becomes that object, at its key.
    Input:   the document, and a key.
    Output:  a `when ... then ...` of a case.
-#}
{% macro parsed_in_place(document, key) -%}
    when jsonb_typeof({{ json_value(document, key) }}) = 'string'
            and jsonb_typeof({{ parsed_json(json_raw_text(document, key)) }}) = 'object'
            then {{ document }} || jsonb_build_object('{{ key }}', {{ parsed_json(json_raw_text(document, key)) }})
{%- endmacro %}


{#-
    Purpose: unpack a large (TOASTed) value once, and not again for every field that is read from it.
    Input:   a column of any JSON value.
    Output:  an expression of the same value, in memory.
-#}
{% macro unpacked_json(column) -%}
    {{ return(adapter.dispatch('unpacked_json')(column)) }}
{%- endmacro %}

{% macro postgres__unpacked_json(column) -%}
    {{ column }} #> '{}'
{%- endmacro %}


{#-
    Purpose: the payload as an object.
    Input:   a column of any JSON value.
    Output:  an expression of an object; `{}` for anything that is none. Text that holds an object is parsed.
-#}
{% macro payload_object(column) -%}
    {{ return(adapter.dispatch('payload_object')(column)) }}
{%- endmacro %}

{% macro postgres__payload_object(column) -%}
    case jsonb_typeof({{ column }})
        when 'object' then {{ column }}
        when 'string' then
            case
                when jsonb_typeof({{ parsed_json(column ~ " #>> '{}'") }}) = 'object'
                    then {{ parsed_json(column ~ " #>> '{}'") }}
                else '{}'
            end
        else '{}'
    end
{%- endmacro %}


{#-
    Purpose: parse text as JSON without ever raising.
    Input:   a text expression.
    Output:  a jsonb expression, null when the text is no JSON that the database can store.
    Note:    `pg_input_is_valid` is missing on PostgreSQL 15 and `is json` accepts what the cast rejects (`\u0000`,
             lone surrogates, `1e200000`), so a function catches the error. `create_functions` makes it.
-#}
{% macro parsed_json(expression) -%}
    {{ return(adapter.dispatch('parsed_json')(expression)) }}
{%- endmacro %}

{% macro postgres__parsed_json(expression) -%}
    {{ tool_function('parse_json', expression) }}
{%- endmacro %}
