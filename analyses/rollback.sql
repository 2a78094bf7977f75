-- What `migrate rollback RUN_ID --apply` does, for an administrator who has to do it by hand (psql, as the owner of the
-- tables): put back the previous value of every row that still holds what the run wrote. Compile it with the run:
--     dbt compile --select rollback --vars '{run_id: 00000000-0000-0000-0000-000000000000}'
-- The command does it batch by batch, writes a log, lists rows that were changed since, and proves that no other column
-- changed; prefer it. This is one transaction, which is left open for you to look at.
{%- set run_id = var('run_id', '00000000-0000-0000-0000-000000000000') %}
{%- set targets = {'events': 'canonical_event', 'campaigns': 'data_sources'} %}
begin;
{%- for table, column in targets.items() %}

with entries as (
    select
        entry.id,
        entry.previous,
        entry.written
    from {{ target.schema }}.migration_undo as undo
    cross join lateral unnest(undo.row_ids, undo.previous, undo.written) as entry (id, previous, written)
    where undo.run_id = '{{ run_id }}'
        and undo.source_schema = '{{ source('product', table).schema }}'
        and undo.source_table = '{{ source('product', table).identifier }}'
)

update {{ source('product', table).include(database=false) }} as changed
set {{ column }} = entries.previous
from entries
where changed.id = entries.id
    -- A row that somebody changed since keeps what it has.
    and jsonb_hash_extended(changed.{{ column }}, 0) = entries.written;
{%- endfor %}

-- Look at the counts above, then `commit;` or `rollback;`.
