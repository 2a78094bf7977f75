-- What `migrate events --refresh` writes: migrated events that hold what this tool wrote and not what it would write
-- today. Read `canonical_drift` for a report: `written_values` is filled when a refresh begins.
{%- set events = source('product', 'events') %}
with canonical_events as (
    select * from {{ ref('canonical_events') }}
),

written_values as (
    select * from {{ source('tool', 'written_values') }}
),

judged as (
    select
        canonical_events.*,
        {{ stored_contract_version('canonical_events.stored_value') }} as stored_version,
        coalesce({{ json_hash('canonical_events.stored_value') }} = written.written, false)
        and not {{ is_newer_version(stored_contract_version('canonical_events.stored_value')) }} as is_own,
        {{ foreign_reason(
            'canonical_events.stored_value', stored_contract_version('canonical_events.stored_value'), 'written.written'
        ) }} as reason
    from canonical_events
    -- One at most; said so that each row costs one look at the key and not a hash of the whole table.
    left join lateral (
        select written_values.written
        from written_values
        where written_values.target = '{{ (events.schema ~ "." ~ events.identifier) | replace("'", "''") }}.canonical_event'
            and written_values.row_key = canonical_events.event_id::text
        order by written_values.row_key
        limit 1
    ) as written
        on true
),

compared as (
    select
        row_location,
        row_table,
        event_id,
        website_id,
        provider,
        canonical_event,
        stored_value,
        reason,
        -- The version says so more cheaply than the values.
        not is_pending
        and is_own
        and (
            (stored_version is distinct from '{{ var("contract_version") }}')
            or (stored_value is distinct from canonical_event)
        ) as is_refreshable,
        not is_pending and not is_own as is_left_alone
    from judged
)

select * from compared
