-- Events counted by what their canonical event holds. The reports about fields read this and not the events: a million
-- events have some hundreds of combinations, and each report costs one pass.
with canonical_events as (
    select * from {{ ref('canonical_events') }}
),

event_fields as (
    {{ event_fields() }}
),

inspected as (
    select
        canonical_events.provider,
        canonical_events.is_pending,
        {{ json_member_text('normalized.document', 'meta.provider_resolved_by') }} as resolved_by,
        {{ json_keys('normalized.document') }} as fields,
        {{ json_member_text('normalized.document', 'meta.display_defaults') }} as display_defaults
    from canonical_events
    -- `offset 0` keeps the value from being made again for every key that is read.
    cross join lateral (
        select {{ json_value('canonical_events.canonical_event', 'normalized') }} as document
        offset 0
    ) as normalized
),

counted as (
    select
        provider,
        {{ mapping_of('provider') }} as mapping,
        resolved_by,
        is_pending,
        fields,
        {{ json_split('display_defaults') }} as display_fields,
        count(*) as events
    from inspected
    group by provider, resolved_by, is_pending, fields, display_defaults
),

with_missing as (
    select
        counted.*,
        coalesce(required.missing, '[]') as missing_required
    from counted
    cross join lateral (
        select {{ json_array_of_rows('event_fields.field', 'event_fields.field') }} as missing
        from event_fields
        where event_fields.mapping = counted.mapping
            and event_fields.is_required
            and not {{ json_array_holds('counted.fields', 'event_fields.field') }}
    ) as required
)

select * from with_missing
