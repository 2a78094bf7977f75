{#-
    Purpose: ask whether row level security may hide rows of a table from the role that is connected.
    Input:   an expression with the table's name (text).
    Output:  a boolean expression. False also where policies apply that show all rows: a permissive one that is plainly
             `true`, and no restrictive one. The same test is in scripts/row_security.py, for the tool's own sessions.
-#}
{% macro hides_rows(name) -%}
    {{ adapter.dispatch('hides_rows')(name) }}
{%- endmacro %}

{% macro postgres__hides_rows(name) -%}
    row_security_active(to_regclass({{ name }}))
    and not coalesce(
        (
            select
                bool_and(p.polpermissive)
                and bool_or(pg_get_expr(p.polqual, p.polrelid) = 'true')
            from pg_catalog.pg_policy as p
            where
                p.polrelid = to_regclass({{ name }})
                and p.polcmd in ('*', 'r')
                and exists (
                    select 1
                    from unnest(p.polroles) as r (oid)
                    where r.oid = 0 or pg_has_role(r.oid, 'usage')
                )
        ),
        false
    )
{%- endmacro %}
