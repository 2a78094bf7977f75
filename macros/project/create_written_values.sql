{#-
    Purpose: create what says which stored values are this tool's own: the function `last_written`, which reads the
             ledger, and the table `written_values`, into which `--refresh` copies its answer, so that a batch looks up
             its own rows and not all that were ever written.
    Input:   nothing.
    Output:  nothing; runs as a hook (on-run-start). What is there already is left alone, so that a role that may not
             create it can still build.
    Why a function: the ledger is made by `migrate` and may not be there yet when dbt builds the models for the first
             time; PL/pgSQL looks for the tables when it is called.
-#}
{% macro create_written_values() -%}
    {%- if execute and flags.WHICH in ('run', 'build', 'test', 'seed', 'snapshot') -%}
        {{ adapter.dispatch('create_written_values')() }}
    {%- endif -%}
{%- endmacro %}

{% macro postgres__create_written_values() -%}
    {%- set schema = adapter.quote(target.schema) -%}
    {%- set body = last_written_body(schema, adapter.quote(var('source_schema'))) -%}
    do $do$
    declare
        closed_to text;
    begin
        if to_regnamespace('{{ schema }}') is null then
            create schema {{ schema }};
        end if;
        if not exists (
            select from pg_catalog.pg_proc
            where oid = to_regprocedure('{{ schema }}.last_written(text, text, text)') and prosrc = $body${{ body }}$body$
        ) then
            create or replace function {{ schema }}.last_written(schema_name text, table_name text, column_name text)
            returns table (row_key text, written bigint)
            language plpgsql stable set search_path = pg_catalog
            as $body${{ body }}$body$;
        end if;
        if to_regclass('{{ schema }}.written_values') is null then
            create table {{ schema }}.written_values (
                target text collate "C" not null,
                row_key text collate "C" not null,
                written bigint,
                primary key (target, row_key)
            );
            alter table {{ schema }}.written_values enable row level security;

            for closed_to in
                select 'public'
                union all
                select quote_ident(rolname) from pg_catalog.pg_roles where rolname in ('anon', 'authenticated')
            loop
                execute 'revoke all on {{ schema }}.written_values from ' || closed_to;
            end loop;
        end if;
    end
    $do$
{%- endmacro %}


{#-
    Purpose:   the body of `last_written`: for each row of a table the hash of the value that this tool stored last.
    Input:     the quoted names of the tool's schema and of the schema of `migration_log`.
    Output:    PL/pgSQL. A rollback stores a value too: the one before, in all rows but those that it lists as changed
               since, missing or failed. Rows that the tool never wrote do not occur.
    Arguments: schema, log_schema
-#}
{% macro last_written_body(schema, log_schema) %}
begin
    if
        to_regclass('{{ schema }}.migration_undo') is null
        or to_regclass('{{ schema }}.automatic_values') is null
        or to_regclass('{{ log_schema | replace("'", "''") }}.migration_log') is null
    then
        return;
    end if;
    return query
    with batches as (
        select
            u.log_id,
            coalesce(u.row_ids::text[], u.row_keys) as row_keys,
            u.previous,
            u.written,
            coalesce(l.started_at, r.started_at) as written_at
        from {{ schema }}.migration_undo as u
        inner join {{ schema }}.migration_runs as r on u.run_id = r.run_id
        left join {{ log_schema }}.migration_log as l on u.log_id = l.id
        where u.source_schema = schema_name
            and u.source_table = table_name
            and r.settings #>> '{target,column}' = column_name
    ),

    stored as (
        select
            e.row_key,
            e.written,
            b.written_at
        from batches as b
        cross join lateral unnest(b.row_keys, b.written) as e (row_key, written)

        union all

        select
            a.row_key,
            a.written,
            a.written_at
        from {{ schema }}.automatic_values as a
        where a.target = concat_ws('.', schema_name, table_name, column_name)

        union all

        select
            e.row_key,
            jsonb_hash_extended(e.previous, 0),
            l.started_at
        from {{ log_schema }}.migration_log as l
        inner join batches as b on b.log_id = (l.details ->> 'rolls_back')::uuid
        cross join lateral unnest(b.row_keys, b.previous) as e (row_key, previous)
        where l.kind = 'rollback'
            and (l.details -> 'changed_since' ? e.row_key) is not true
            and (l.details -> 'missing' ? e.row_key) is not true
            and (l.error_details @> jsonb_build_array(jsonb_build_object('id', e.row_key))) is not true
    )

    select distinct on (s.row_key collate "C")
        s.row_key,
        s.written
    from stored as s
    order by s.row_key collate "C", s.written_at desc;
end
{% endmacro %}
