{#-
    Purpose: create every model's view with `security_invoker`, so that row level security is checked
             against whoever reads the view and not against its owner (works on PostgreSQL 15 and later).
    Input:   the relation to create and its compiled SQL, as dbt's own macro takes them.
    Output:  the `create view` statement; overrides dbt's macro of the same name by dispatch.
-#}
{% macro postgres__create_view_as(relation, sql) -%}
    {%- set sql_header = config.get('sql_header', none) -%}
    {{ sql_header if sql_header is not none }}
    create view {{ relation }}
    {% if config.get('contract').enforced -%}
        {{ get_assert_columns_equivalent(sql) }}
    {%- endif %}
    with (security_invoker = true) as (
        {{ sql }}
    );
{%- endmacro %}
