-- What this tool stored last in each event, as a hash, by its log and undo. Empty before the first run.
{%- set events = source('product', 'events') %}
with source as (
    select * from {{ target.schema }}.last_written('{{ events.schema }}', '{{ events.identifier }}', 'canonical_event')
),

renamed as (
    select
        row_key::uuid as event_id,
        written as written_hash
    from source
)

select * from renamed
