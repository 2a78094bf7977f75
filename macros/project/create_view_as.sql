{#-
    Purpose: create every model's view with `security_invoker`, so that row level security is checked
             against whoever reads the view and not against its owner (works on PostgreSQL 15 and later).
    Input:   `create view` or `create or replace view`, the relation and its compiled SQL.
    Output:  the statement.
-#}
{% macro view_as_invoker(verb, relation, sql) -%}
    {%- set sql_header = config.get('sql_header', none) -%}
    {{ sql_header if sql_header is not none }}
    {{ verb }} {{ relation }}
    {% if config.get('contract').enforced -%}
        {{ get_assert_columns_equivalent(sql) }}
    {%- endif %}
    with (security_invoker = true) as (
        {{ sql }}
    );
{%- endmacro %}

{% macro postgres__create_view_as(relation, sql) -%}
    {{ view_as_invoker('create view', relation, sql) }}
{%- endmacro %}

{% macro postgres__get_replace_view_sql(relation, sql) -%}
    {{ view_as_invoker('create or replace view', relation, sql) }}
{%- endmacro %}


{#-
    Purpose: ask for a query's columns without its rows.
    Input:   the query and its header, as dbt's own macro takes them.
    Output:  a query; overrides dbt's macro of the same name by dispatch. dbt adds `where false`, and of a subquery that
             the planner throws away whole the server checks the rights on everything in it, tables in the product's own
             policies included. A role whose own policies show it every row needs no right on those.
-#}
{% macro postgres__get_empty_subquery_sql(select_sql, select_sql_header=none) -%}
    {{ select_sql_header if select_sql_header is not none }}
    select * from (
        {{ select_sql }}
    ) as empty
    limit 0
{%- endmacro %}
