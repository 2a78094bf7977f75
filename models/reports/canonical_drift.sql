-- Migrated events whose stored value is not what the models would write today, and why. Names keys, never values.
with canonical_events as (
    select * from {{ ref('canonical_events') }}
),

drifted as (
    select
        event_id,
        website_id,
        provider,
        stored_value,
        canonical_event,
        {{ json_value('stored_value', 'normalized') }} as stored_fields,
        {{ json_value('canonical_event', 'normalized') }} as canonical_fields
    from canonical_events
    where not is_pending
        and stored_value is distinct from canonical_event
),

with_version as (
    select
        *,
        left({{ json_member_text('stored_fields', 'meta.contract_version') }}, 40) as stored_version
    from drifted
),

explained as (
    select
        event_id,
        website_id,
        provider,
        stored_version,
        case
            when {{ json_kind('stored_value') }} <> 'object' then 'not_an_envelope'
            when ({{ json_kind('stored_fields') }} is distinct from 'object') then 'not_an_envelope'
            when stored_version is null then 'other_writer'
            when stored_version ~ '^[0-9]{1,9}$'
                and '{{ var("contract_version") }}' ~ '^[0-9]{1,9}$'
                and lpad(stored_version, 9, '0') > lpad('{{ var("contract_version") }}', 9, '0')
                then 'newer_contract_version'
            when stored_version <> '{{ var("contract_version") }}' then 'older_contract_version'
            when ({{ json_value('stored_value', 'payload') }} is distinct from {{ json_value('canonical_event', 'payload') }})
                then 'event_data_changed'
            when ({{ json_raw_text('stored_value', 'provider') }} is distinct from provider) then 'provider_changed'
            else 'edited'
        end as reason,
        {{ json_changed_keys('stored_value', 'canonical_event', except='normalized') }}
        || {{ json_changed_keys('stored_fields', 'canonical_fields') }} as changed_keys
    from with_version
)

select * from explained
