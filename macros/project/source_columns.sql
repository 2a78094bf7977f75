{#-
    Purpose:   select the columns of a product table that a database may lack, without failing where it does.
    Input:     the relation of a source table and a mapping {column: SQL type}.
    Output:    one select item per column: the column cast to the type, or a typed null where the table lacks it.
    Arguments: relation (a source), columns (ordered mapping), rename (optional mapping {column: name in the model}).
-#}
{% macro source_columns(relation, columns, rename={}) -%}
    {%- set present = existing_columns(relation) -%}
    {%- for column, type in columns.items() %}
    {%- set name = rename.get(column, column) %}
    {% if column in present -%}
        cast({{ adapter.quote(column) }} as {{ type }}) as {{ name }}
    {%- else -%}
        cast(null as {{ type }}) as {{ name }}
    {%- endif %}
    {%- if not loop.last %},{% endif %}
    {%- endfor %}
{%- endmacro %}


{#-
    Purpose: say which columns a relation has in the database that dbt is connected to.
    Input:   a relation.
    Output:  a list of column names; empty where the relation does not exist (and while dbt only parses).
-#}
{% macro existing_columns(relation) -%}
    {%- if not execute -%}
        {{ return([]) }}
    {%- endif -%}
    {%- set found = run_query(
        "select attname from pg_catalog.pg_attribute where attrelid = to_regclass('"
        ~ (relation.include(database=false) | string | replace("'", "''"))
        ~ "') and attnum > 0 and not attisdropped order by attnum"
    ) -%}
    {{ return(found.columns[0].values() | list) }}
{%- endmacro %}


{#-
    Purpose: read a product table that a database may lack.
    Input:   the relation of a source table.
    Output:  the relation itself, or a relation without rows in its place.
-#}
{% macro source_or_empty(relation) -%}
    {%- if not execute or existing_columns(relation) | length > 0 -%}
        {{ return(relation) }}
    {%- endif -%}
    {{ return('(select where false) as missing') }}
{%- endmacro %}
