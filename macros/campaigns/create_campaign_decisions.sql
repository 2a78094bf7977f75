{#-
    Purpose: create the table of decisions that people take about campaigns, in the tool's own schema. It is no model,
             so no `dbt build` ever replaces it.
    Input:   nothing.
    Output:  nothing; runs as a hook (on-run-start). Where the table is there already it does nothing at all, so that
             a role that may not create it can still build.
-#}
{% macro create_campaign_decisions() -%}
    {%- if execute and flags.WHICH in ('run', 'build', 'test', 'seed', 'snapshot') -%}
        {{ adapter.dispatch('create_campaign_decisions')() }}
    {%- endif -%}
{%- endmacro %}

{% macro postgres__create_campaign_decisions() -%}
    {%- set schema = adapter.quote(target.schema) -%}
    do $do$
    declare
        closed_to text;
    begin
        if to_regclass('{{ schema }}.campaign_decisions') is null then
            if to_regnamespace('{{ schema }}') is null then
                create schema {{ schema }};
            end if;

            create table {{ schema }}.campaign_decisions (
                id bigint generated always as identity primary key,
                campaign_id uuid not null,
                -- Both null: the decision before is withdrawn.
                integration_id uuid,
                provider text,
                note text,
                decided_by text not null default session_user,
                decided_at timestamptz not null default now()
            );
            create index on {{ schema }}.campaign_decisions (campaign_id, decided_at desc);
            alter table {{ schema }}.campaign_decisions enable row level security;

            for closed_to in
                select 'public'
                union all
                select quote_ident(rolname) from pg_catalog.pg_roles where rolname in ('anon', 'authenticated')
            loop
                execute 'revoke all on {{ schema }}.campaign_decisions from ' || closed_to;
                execute 'revoke all on schema {{ schema }} from ' || closed_to;
            end loop;
        end if;
    end
    $do$
{%- endmacro %}
