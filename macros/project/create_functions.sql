{#-
    Purpose: create the SQL functions that the models call, in the tool's own schema, before anything is built.
    Input:   nothing.
    Output:  nothing; runs as a hook (on-run-start). Does nothing where they are already as they should be, so that
             a running write-back that uses them is never disturbed.
-#}
{% macro create_functions() -%}
    {%- if execute and flags.WHICH in ('run', 'build', 'test', 'seed', 'snapshot') -%}
        {{ adapter.dispatch('create_functions')() }}
    {%- endif -%}
{%- endmacro %}

{% macro postgres__create_functions() -%}
    do $do$
    begin
        if to_regprocedure('{{ target.schema }}.parse_json(text)') is null then
            create schema if not exists {{ target.schema }};
            -- Parallel unsafe: a function that catches an error needs a subtransaction, which fails in a parallel
            -- worker on PostgreSQL 15.
            create function {{ target.schema }}.parse_json(value text) returns jsonb
            language plpgsql immutable strict parallel unsafe
            set search_path = pg_catalog
            as $body$
            begin
                -- Most text that is stored is no JSON; an error that is caught costs far more than this look.
                if value !~ '^\s*[{]' then
                    return null;
                end if;
                return value::jsonb;
            exception when others then
                return null;
            end
            $body$;
        end if;
    end
    $do$
{%- endmacro %}
