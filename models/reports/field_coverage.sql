-- How many events of each provider have each canonical field.
with event_field_sets as (
    select * from {{ ref('event_field_sets') }}
),

event_fields as (
    {{ event_fields() }}
),

providers as (
    select
        provider,
        mapping,
        sum(events)::bigint as events
    from event_field_sets
    group by provider, mapping
),

found as (
    select
        event_field_sets.provider,
        field.name as field,
        sum(event_field_sets.events)::bigint as present,
        coalesce(
            sum(event_field_sets.events)
                filter (where {{ json_array_holds('event_field_sets.display_fields', 'field.name') }}), 0
        )::bigint as display_words
    from event_field_sets
    cross join {{ json_strings('event_field_sets.fields') }} as field (name)
    group by event_field_sets.provider, field.name
),

covered as (
    select
        providers.provider,
        providers.mapping,
        event_fields.field,
        event_fields.is_required,
        providers.events,
        coalesce(found.present, 0) as present,
        providers.events - coalesce(found.present, 0) as missing,
        coalesce(found.display_words, 0) as display_words,
        {{ share_of('coalesce(found.present, 0)', 'providers.events') }} as share
    from providers
    inner join event_fields
        on providers.mapping = event_fields.mapping
    left join found
        on providers.provider = found.provider
        and event_fields.field = found.field
)

select * from covered
