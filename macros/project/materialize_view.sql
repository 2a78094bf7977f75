{#-
    Purpose: build a view in place. dbt's own way drops the old view with everything that depends on it: whoever reads
             is told that a view does not exist, and two threads that drop such trees wait for each other (deadlock).
    Input:   the model, as dbt gives it to a materialization.
    Output:  a view that is already as it should be is left alone, one whose columns stay (new ones may follow) is
             replaced and keeps what depends on it; only where neither is possible is the old one dropped, by one
             thread at a time, and dbt builds what depended on it later in the same build.
-#}
{% materialization view, adapter='postgres' -%}
    {%- set existing = load_cached_relation(this) -%}
    {%- set wanted = this.incorporate(type='view') -%}
    {%- set candidate = make_intermediate_relation(wanted) -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ drop_relation_if_exists(load_cached_relation(candidate)) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {% call statement('main') -%}
        {{ get_create_view_as_sql(candidate if existing else wanted, sql) }}
    {%- endcall %}
    {% if existing -%}
        {%- set found = run_query(view_difference(existing, candidate)).rows[0] -%}
        {%- if found.replaceable -%}
            {%- if not found.same -%}
                {% call statement('replace') -%}
                    {{ get_replace_view_sql(wanted, sql) }}
                {%- endcall %}
            {%- endif -%}
            {% call statement('drop_candidate') -%}
                drop view {{ candidate }}
            {%- endcall %}
        {%- else -%}
            {% call statement('drop_existing') -%}
                select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('canonical_migration drop', 0));
                drop {{ existing.type | replace('_', ' ') }} if exists {{ existing }} cascade;
                alter view {{ candidate }} rename to {{ adapter.quote(wanted.identifier) }}
            {%- endcall %}
        {%- endif -%}
    {%- endif %}

    {% do apply_grants(wanted, config.get('grants'), should_revoke=should_revoke(existing, full_refresh_mode=True)) %}
    {% do persist_docs(wanted, model) %}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {{ adapter.commit() }}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [wanted]}) }}
{%- endmaterialization %}


{#-
    Purpose: compare a relation with the view that is to take its place.
    Input:   both relations; the first may be gone by now.
    Output:  a query with one row: `same`, whether the definitions are the same word by word, and `replaceable`,
             whether `create or replace view` accepts the second for the first (a view whose columns, by name, type and
             collation, are the first ones of the other).
-#}
{% macro view_difference(existing, candidate) -%}
    with names as (
        select
            to_regclass('{{ existing | string | replace("'", "''") }}') as existing,
            '{{ candidate | string | replace("'", "''") }}'::regclass as candidate
    ),

    columns as (
        select
            bool_and(
                b.attnum is not null
                and (a.attname, a.atttypid, a.atttypmod, a.attcollation)
                = (b.attname, b.atttypid, b.atttypmod, b.attcollation)
            ) as stay
        from names as n
        inner join pg_catalog.pg_attribute as a on n.existing = a.attrelid
        left join pg_catalog.pg_attribute as b on n.candidate = b.attrelid and a.attnum = b.attnum
        where a.attnum > 0
    )

    select
        coalesce(e.relkind = 'v' and c.stay, false) as replaceable,
        coalesce(
            pg_catalog.pg_get_viewdef(e.oid) = pg_catalog.pg_get_viewdef(n.candidate)
            and e.reloptions is not distinct from v.reloptions
            and e.relnatts = v.relnatts,
            false
        ) as same
    from names as n
    cross join columns as c
    inner join pg_catalog.pg_class as v on n.candidate = v.oid
    left join pg_catalog.pg_class as e on n.existing = e.oid and e.relkind = 'v'
{%- endmacro %}
