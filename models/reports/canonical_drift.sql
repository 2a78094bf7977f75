-- Migrated events whose stored value is not what the models would write today, and why. Names keys, never values.
with canonical_events as (
    select * from {{ ref('canonical_events') }}
),

written_events as (
    select * from {{ ref('stg_written_events') }}
),

drifted as (
    select
        event_id,
        website_id,
        provider,
        stored_value,
        canonical_event,
        {{ stored_contract_version('stored_value') }} as stored_version
    from canonical_events
    where not is_pending
        and stored_value is distinct from canonical_event
),

explained as (
    select
        drifted.event_id,
        drifted.website_id,
        drifted.provider,
        drifted.stored_version,
        {{ foreign_reason('drifted.stored_value', 'drifted.stored_version', 'written_events.written_hash') }}
            as foreign_reason,
        {{ drift_reason(
            'drifted.stored_value', 'drifted.canonical_event', 'drifted.provider', 'drifted.stored_version'
        ) }} as own_reason,
        {{ json_changed_keys('drifted.stored_value', 'drifted.canonical_event', except='normalized') }}
        || {{ json_changed_keys(
            json_value('drifted.stored_value', 'normalized'), json_value('drifted.canonical_event', 'normalized')
        ) }} as changed_keys
    from drifted
    left join written_events on drifted.event_id = written_events.event_id
),

judged as (
    select
        event_id,
        website_id,
        provider,
        stored_version,
        coalesce(foreign_reason, own_reason) as reason,
        changed_keys,
        foreign_reason is null as is_refreshable
    from explained
)

select * from judged
