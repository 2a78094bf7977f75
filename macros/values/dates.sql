{#-
    Purpose: a point in time as ISO 8601 in UTC with milliseconds and Z.
    Input:   a timestamptz expression.
    Output:  a text expression, null for null, infinity and years before Christ. Formatted in UTC by hand: `to_jsonb` depends on the
             session's time zone.
-#}
{% macro timestamp_text(instant) -%}
    {{ return(adapter.dispatch('timestamp_text')(instant)) }}
{%- endmacro %}

{% macro postgres__timestamp_text(instant) -%}
    case
        when {{ has_year(instant) }}
            then to_char({{ instant }} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
    end
{%- endmacro %}


{#-
    Purpose: a date for display: `Jan 5, 2025` (contract section 4, "date text").
    Input:   a timestamptz expression.
    Output:  a text expression, null for null, infinity and years before Christ. `Mon` is English in every locale without `TM`.
-#}
{% macro date_text(instant) -%}
    {{ return(adapter.dispatch('date_text')(instant)) }}
{%- endmacro %}

{% macro postgres__date_text(instant) -%}
    case when {{ has_year(instant) }} then to_char({{ instant }} at time zone 'UTC', 'Mon FMDD, YYYY') end
{%- endmacro %}


{#-
    Purpose: say that a point in time has a year that both formats can show.
    Input:   a timestamptz expression.
    Output:  a boolean expression; null for null.
-#}
{% macro has_year(instant) -%}
    (isfinite({{ instant }}) and {{ instant }} >= '0001-01-01 00:00:00+00')
{%- endmacro %}
