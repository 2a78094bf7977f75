-- What `migrate events` has before it and has done, per provider and per rule that named the provider.
with event_field_sets as (
    select * from {{ ref('event_field_sets') }}
),

counted as (
    select
        provider,
        mapping,
        resolved_by,
        sum(events)::bigint as events,
        coalesce(sum(events) filter (where is_pending), 0)::bigint as pending,
        coalesce(sum(events) filter (where is_pending and {{ json_array_length('fields') }} > 0), 0)::bigint as resolvable,
        coalesce(
            sum(events) filter (where is_pending and {{ json_array_length('missing_required') }} > 0), 0
        )::bigint as missing_required,
        coalesce(
            sum(events) filter (where is_pending and {{ json_array_length('display_fields') }} > 0), 0
        )::bigint as with_display_words
    from event_field_sets
    group by provider, mapping, resolved_by
)

select * from counted
