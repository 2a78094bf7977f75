{#-
    Purpose: keep a bare `dbt build` from replacing the views under a run that is writing (`migrate build` asks before).
    Input:   nothing.
    Output:  nothing; runs as a hook (on-run-start) and raises an error that names the run. The lock's key is made in
             scripts/locks.py: the number is its namespace.
-#}
{% macro refuse_during_run() -%}
    {%- if execute and flags.WHICH in ('run', 'build', 'seed', 'snapshot') -%}
        {{ adapter.dispatch('refuse_during_run')() }}
    {%- endif -%}
{%- endmacro %}

{% macro postgres__refuse_during_run() -%}
    {%- set runs = run_query(
        "select coalesce(nullif(a.application_name, ''), 'a run') as name, l.pid, "
        ~ "to_char(a.backend_start at time zone 'utc', 'YYYY-MM-DD HH24:MI') as started "
        ~ "from pg_catalog.pg_locks as l left join pg_catalog.pg_stat_activity as a on a.pid = l.pid "
        ~ "where l.locktype = 'advisory' and l.granted and l.objsubid = 1 and l.objid::bigint <> 0 "
        ~ "and l.classid::bigint = NAMESPACE " | replace('NAMESPACE', '1128353359')
        ~ "and l.database = (select d.oid from pg_catalog.pg_database as d where d.datname = current_database())"
    ) -%}
    {%- for run in runs.rows -%}
        {{ exceptions.raise_compiler_error(
            "A run is writing to this database now (" ~ run['name'] ~ ", process " ~ run['pid'] ~ ", since "
            ~ run['started'] ~ " UTC), and a build would break it. Wait until it is done; `migrate status` shows it."
        ) }}
    {%- endfor -%}
    select 1
{%- endmacro %}
