{#-
    Purpose: every canonical field of every mapping and whether the contract requires it (section 6, "R").
    Input:   nothing. Read from the columns of the models `<provider>_events` in dbt's graph: their contracts keep the
             list true, and `config.meta.required: true` beside a column's description is the one place that says so.
    Output:  a select of (mapping, field, is_required), one row per field.
-#}
{% macro event_fields() -%}
    {%- set rows = [] -%}
    {#- A unit test has no graph: it overrides this macro. -#}
    {%- if execute and graph.nodes is defined -%}
        {%- for mapping in providers() + ['generic'] -%}
            {%- set model = graph.nodes['model.' ~ project_name ~ '.' ~ mapping ~ '_events'] -%}
            {%- for column in model.columns.values() if '.' in column.name -%}
                {%- set meta = (column.get('config') or {}).get('meta') or column.get('meta') or {} -%}
                {%- do rows.append("('" ~ mapping ~ "', '" ~ column.name ~ "', " ~ (meta.get('required', false) | lower) ~ ')') -%}
            {%- endfor -%}
        {%- endfor -%}
    {%- endif -%}
    select
        mapping::text as mapping,
        field::text as field,
        is_required
    from (
        values
        {{ (rows or ["('', '', false)"]) | join(',\n        ') }}
    ) as listed (mapping, field, is_required)
{%- endmacro %}


{#-
    Purpose: the mapping that normalises a provider's events: its own, or the generic one.
    Input:   a text expression of a provider.
    Output:  a text expression.
-#}
{% macro mapping_of(provider) -%}
    case when {{ provider }} in ('{{ providers() | join("', '") }}') then {{ provider }} else 'generic' end
{%- endmacro %}


{#-
    Purpose: a share as a number from 0 to 1.
    Input:   expressions of two counts.
    Output:  a numeric(5, 4) expression, null where the whole is 0. Rounded down, so that 1 means all.
-#}
{% macro share_of(part, whole) -%}
    cast(trunc(cast({{ part }} as numeric) / nullif({{ whole }}, 0), 4) as numeric(5, 4))
{%- endmacro %}
