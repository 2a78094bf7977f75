{#-
    Purpose: say whether a target column is pending: SQL NULL, JSON null, `{}` or `[]`.
    Input:   a jsonb column.
    Output:  a boolean expression. The size is asked first because a migrated value must not be detoasted
             to find out that it is not empty: `pg_column_size` reads the stored size only.
-#}
{% macro is_empty_json(column) -%}
    {{ return(adapter.dispatch('is_empty_json')(column)) }}
{%- endmacro %}

{% macro postgres__is_empty_json(column) -%}
    ({{ column }} is null or (pg_column_size({{ column }}) <= 12 and {{ column }} in ('{}', '[]', 'null')))
{%- endmacro %}
