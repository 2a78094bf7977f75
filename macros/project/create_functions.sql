{#-
    Purpose: create the SQL functions that the models call, in the tool's own schema, before anything is built.
    Input:   nothing.
    Output:  nothing; runs as a hook (on-run-start). A function that is already as it should be is left alone, so that
             a running write-back is never disturbed.
    Why functions: `parse_json` must catch an error, which an expression cannot. The others hold long constants and
             rare cases: with them in every expression the views were three times as long, and dbt, which reads a
             model's SQL word by word for a unit test, took as much longer. The planner expands `trimmed` and
             `has_letter` in place.
-#}
{% macro create_functions() -%}
    {%- if execute and flags.WHICH in ('run', 'build', 'test', 'seed', 'snapshot') -%}
        {{ adapter.dispatch('create_functions')() }}
    {%- endif -%}
{%- endmacro %}

{% macro postgres__create_functions() -%}
    {%- set functions = [
        {
            'name': 'parse_json',
            'returns': 'jsonb',
            'options': 'language plpgsql immutable strict parallel unsafe set search_path = pg_catalog',
            'body': parse_json_body(),
        },
        {
            'name': 'trimmed',
            'returns': 'text',
            'options': 'language sql immutable parallel safe',
            'body': "select nullif(btrim(value, " ~ white_space() ~ "), '')",
        },
        {
            'name': 'has_letter',
            'returns': 'boolean',
            'options': 'language sql immutable parallel safe',
            'body': "select value collate \"C\" ~ '[" ~ letters() ~ "]'",
        },
        {
            'name': 'number_in_text',
            'returns': 'numeric',
            'options': 'language sql immutable strict parallel safe',
            'body': number_in_text_body(),
        },
        {
            'name': 'currency_in_text',
            'returns': 'text',
            'options': 'language sql immutable strict parallel safe',
            'body': currency_in_text_body(),
        },
    ] -%}
    do $do$
    begin
        if to_regnamespace('{{ target.schema }}') is null then
            create schema {{ target.schema }};
        end if;
        {% for function in functions %}
        if not exists (
            select from pg_catalog.pg_proc
            where oid = to_regprocedure('{{ target.schema }}.{{ function.name }}(text)') and prosrc = $body${{ function.body }}$body$
        ) then
            create or replace function {{ target.schema }}.{{ function.name }}(value text) returns {{ function.returns }}
            {{ function.options }} as $body${{ function.body }}$body$;
        end if;
        {% endfor %}
    end
    $do$
{%- endmacro %}


{#-
    Purpose: the body of `parse_json`: text as JSON, null where it is no JSON object that the database can store.
    Input:   nothing.
    Output:  PL/pgSQL. Parallel unsafe, because catching an error needs a subtransaction, which fails in a parallel
             worker on PostgreSQL 15.
-#}
{% macro parse_json_body() %}
begin
    -- Most text that is stored is no JSON; an error that is caught costs far more than this look.
    if value !~ '^\s*[{]' then
        return null;
    end if;
    return value::jsonb;
exception when others then
    return null;
end
{% endmacro %}


{#-
    Purpose: call one of the tool's functions.
    Input:   its name and a text expression.
    Output:  an expression.
-#}
{% macro tool_function(name, expression) -%}
    {{ target.schema }}.{{ name }}({{ expression }})
{%- endmacro %}
