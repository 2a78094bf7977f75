{#- The provider is resolved once per row, and the payload is unpacked once: each `offset 0` keeps the planner from
    copying a step's expression into every place that uses it, and still lets a range of row locations through. -#}
with events as (
    select * from {{ ref('stg_events') }}
),

integrations as (
    select * from {{ ref('stg_integrations') }}
),

event_provider_rules as (
    select * from {{ ref('event_provider_rules') }}
),

resolved as (
    select
        events.*,
        unpacked.event_data as unpacked_event_data,
        payload.document as data,
        {{ timestamp_text('events.created_at') }} as timestamp_text,
        {{ date_text('events.created_at') }} as date_text,
        coalesce(
            named.provider,
            case when cardinality(signature.providers) = 1 then signature.providers[1] end,
            named.transport,
            'manual'
        ) as provider,
        case
            when named.provider is not null then named.resolved_by
            when cardinality(signature.providers) = 1 then 'payload_signature'
            else 'fallback'
        end as resolved_by
    from events
    left join integrations on events.integration_id = integrations.integration_id
    left join event_provider_rules
        on {{ lower_case(text_value('events.event_type')) }} = event_provider_rules.event_type
    cross join lateral (
        select {{ unpacked_json('events.event_data') }} as event_data
        offset 0
    ) as unpacked
    cross join lateral (
        select {{ payload_object('unpacked.event_data') }} as document
        offset 0
    ) as stored
    cross join lateral (
        select {{ unwrapped('stored.document') }} as document
        offset 0
    ) as outer_payload
    cross join lateral (
        select {{ unwrapped('outer_payload.document') }} as document
        offset 0
    ) as middle_payload
    cross join lateral (
        select {{ unwrapped('middle_payload.document') }} as document
        offset 0
    ) as payload
    cross join lateral (
        select {{ provider_word('events.integration_type') }} as word
        offset 0
    ) as integration_type
    cross join lateral (
        select
            case
                when integrations.provider is not null then integrations.provider
                when integration_type.word not in ('{{ var("transports") | join("', '") }}') then integration_type.word
                when {{ event_rule_applies('payload.document') }} then event_provider_rules.provider
            end as provider,
            case
                when integrations.provider is not null then 'integration'
                when integration_type.word not in ('{{ var("transports") | join("', '") }}') then 'integration_type'
                else 'event_rule'
            end as resolved_by,
            integration_type.word as transport
        offset 0
    ) as named
    cross join lateral (
        select
            case
                when named.provider is null then {{ payload_signature('payload.document') }}
                else array[named.provider]
            end as providers
        offset 0
    ) as signature
    -- Always true. A step that has a filter stays a node of its own in the plan; without one, `explain` prints
    -- every step's expression inside the next one's, which grows beyond any memory.
    where
        stored.document is not null
        and outer_payload.document is not null
        and middle_payload.document is not null
        and payload.document is not null
        and named.resolved_by is not null
        and signature.providers is not null
)

select * from resolved
