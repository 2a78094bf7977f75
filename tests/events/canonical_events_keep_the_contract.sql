-- Every event has one envelope, and every envelope keeps the rules of the contract, sections 3 and 4. One pass over the
-- rows serves all rules, as making the envelopes is what takes time. A failure names the event and the rules it breaks.
-- The rules are written anew here, not taken from the macros that make the values.
with events as (
    select * from {{ ref('stg_events') }}
),

canonical_events as (
    select * from {{ ref('canonical_events') }}
),

compared as (
    select
        coalesce(canonical_events.event_id, events.event_id) as event_id,
        events.event_id is not null as is_event,
        events.event_type,
        events.event_data,
        canonical_events.provider,
        canonical_events.canonical_event as envelope,
        canonical_events.canonical_event -> 'normalized' as normalized
    from events
    full join canonical_events on events.event_id = canonical_events.event_id
),

-- Each field that breaks a rule by itself.
with_fields as (
    select
        compared.*,
        fields.wrong as wrong_fields
    from compared
    cross join lateral (
        select array_agg(field.key || ' is ' || rule.broken order by field.key) as wrong
        from jsonb_each(case when jsonb_typeof(compared.normalized) = 'object' then compared.normalized end) as field
        cross join lateral (
            select
                jsonb_typeof(field.value) as kind,
                field.value #>> '{}' as text
        ) as value
        cross join lateral (
            select
                case
                    when field.key !~ '^(template|meta)[.][a-z_]+$'
                        then 'no key of the contract'
                    when value.kind not in ('string', 'number', 'boolean')
                        then 'not flat'
                    when value.kind = 'string' and value.text !~ '[^[:space:]]'
                        then 'blank'
                    when value.kind = 'number' and value.text !~ '^-?[0-9]{1,15}([.][0-9]{1,10})?$'
                        then 'beyond the limits of a number'
                    -- Without spaces and control characters, a colon before any / ? or # ends a scheme.
                    when
                        field.key ~ '_(url|image|avatar)$'
                        and regexp_replace(value.text, '[[:space:][:cntrl:]]', '', 'g') ~ '^[^/?#]*(:|&)'
                        and regexp_replace(value.text, '[[:space:][:cntrl:]]', '', 'g') !~* '^https?:'
                        then 'an unsafe URL'
                    when field.key = 'template.currency' and value.text !~ '^[A-Z]{3}$'
                        then 'no currency'
                    when field.key = 'template.price' and value.text !~ '^-?[0-9]+([.][0-9]{2,})?$'
                        then 'no decimal'
                    when
                        field.key in ('template.amount', 'template.order_total', 'template.product_price')
                        and value.text !~ '^-?([A-Z]{3} |[^0-9A-Za-z -]|[A-Z]{1,2}[$])?[0-9]{1,3}(,[0-9]{3})*([.][0-9]{2,})?$'
                        then 'no money'
                    when field.key = 'template.rating' and (value.kind <> 'number' or value.text !~ '^([1-4]([.][0-9]+)?|5)$')
                        then 'no rating'
                    when field.key = 'template.rating_stars' and value.text !~ '^(?=.{5}$)★+☆*$'
                        then 'not five stars'
                    when field.key = 'template.time_ago' and value.text !~ '^[A-Z][a-z]{2} [1-9][0-9]?, [0-9]{4,}$'
                        then 'no date'
                    when
                        field.key in ('template.customer_name', 'template.author_name', 'template.user_name', 'template.visitor_name')
                        and value.text ~* '^(unknown|undefined|undefined,? undefined|null|n/a|anonymous)$'
                        then 'a placeholder'
                end as broken
        ) as rule
        where rule.broken is not null
    ) as fields
),

wrong as (
    select
        with_fields.event_id,
        rules.broken,
        with_fields.wrong_fields
    from with_fields
    cross join lateral (
        select array_agg(rule.name) as broken
        from (
            values
            ('every event has an envelope', with_fields.envelope is not null),
            ('every envelope has an event', with_fields.is_event),
            (
                'the envelope has its six keys',
                with_fields.envelope ?& array['event_id', 'provider', 'provider_event_type', 'timestamp', 'payload', 'normalized']
                and with_fields.envelope - '{event_id,provider,provider_event_type,timestamp,payload,normalized}'::text [] = '{}'
            ),
            ('event_id is the event', with_fields.envelope ->> 'event_id' = with_fields.event_id::text),
            (
                'provider is named, in lower case and the same everywhere',
                with_fields.provider <> ''
                and with_fields.provider = lower(with_fields.provider collate "C")
                and with_fields.envelope ->> 'provider' = with_fields.provider
                and with_fields.normalized ->> 'meta.provider' = with_fields.provider
            ),
            ('provider_event_type is event_type', with_fields.envelope ->> 'provider_event_type' is not distinct from with_fields.event_type),
            ('payload is event_data', nullif(with_fields.envelope -> 'payload', 'null') is not distinct from nullif(with_fields.event_data, 'null')),
            (
                'timestamp is ISO 8601 in UTC, in both places or in none',
                coalesce(with_fields.envelope ->> 'timestamp' ~ '^[0-9]{4,}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{3}Z$', true)
                and with_fields.envelope ->> 'timestamp' is not distinct from with_fields.normalized ->> 'meta.timestamp'
            ),
            (
                'the rule that found the provider is known',
                with_fields.normalized ->> 'meta.provider_resolved_by'
                in ('integration', 'integration_type', 'event_rule', 'payload_signature', 'fallback')
            ),
            ('the contract has a version', with_fields.normalized ->> 'meta.contract_version' = '{{ var("contract_version") }}'),
            (
                'display defaults are fields of the event',
                with_fields.normalized ?& string_to_array(coalesce(with_fields.normalized ->> 'meta.display_defaults', ''), ',')
                or not with_fields.normalized ? 'meta.display_defaults'
            ),
            (
                'Someone is listed as a display default',
                with_fields.normalized ->> 'template.customer_name' is distinct from 'Someone'
                or with_fields.normalized ->> 'meta.display_defaults' like '%template.customer_name%'
            ),
            ('every field keeps its rule', with_fields.wrong_fields is null)
        ) as rule (name, holds)
        where rule.holds is not true
    ) as rules
    where rules.broken is not null
)

select * from wrong
