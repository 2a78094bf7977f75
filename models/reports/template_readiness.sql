-- Whether the events of a provider have what each active template requires. `required_fields` may hold anything.
with templates as (
    select * from {{ ref('stg_templates') }}
),

event_field_sets as (
    select * from {{ ref('event_field_sets') }}
),

event_fields as (
    {{ event_fields() }}
),

active as (
    select
        provider,
        template_key,
        coalesce({{ json_kind('required_fields') }}, 'null') as kind,
        {{ json_texts('required_fields') }} as required_fields,
        (
            select count(*)
            from {{ json_elements('required_fields') }} as element (value, position)
            where {{ json_kind('element.value') }} <> 'string'
        ) as unreadable
    from templates
    where coalesce(is_active, true)
),

judged as (
    select
        active.*,
        coalesce(required.unknown_fields, '[]') as unknown_fields,
        found.events,
        found.ready
    from active
    cross join lateral (
        select {{ json_array_of_rows('required.field', 'required.field') }} as unknown_fields
        from {{ json_strings('active.required_fields') }} as required (field)
        where not exists (
            select 1
            from event_fields
            where event_fields.field = required.field
                and event_fields.mapping = {{ mapping_of('active.provider') }}
        )
    ) as required
    cross join lateral (
        select
            coalesce(sum(event_field_sets.events), 0)::bigint as events,
            coalesce(
                sum(event_field_sets.events)
                    filter (where {{ json_array_holds_all('event_field_sets.fields', 'active.required_fields') }}), 0
            )::bigint as ready
        from event_field_sets
        where event_field_sets.provider = active.provider
            -- A template of `generic` serves every provider without a mapping of its own.
            or (active.provider = 'generic' and event_field_sets.mapping = 'generic')
    ) as found
),

described as (
    select
        provider,
        template_key,
        required_fields,
        unknown_fields,
        case
            when kind not in ('array', 'null') then 'required_fields is no array but ' || kind
            when unreadable > 0 then 'required_fields has elements that are no text'
            when {{ json_array_length('unknown_fields') }} > 0 then 'required_fields names fields that the provider never has'
        end as problem,
        events,
        -- What cannot be read cannot be satisfied.
        case when kind not in ('array', 'null') or unreadable > 0 then 0 else ready end as ready,
        {{ share_of("case when kind not in ('array', 'null') or unreadable > 0 then 0 else ready end", 'events') }} as share
    from judged
)

select * from described
