-- A rule of the seed event_provider_rules that is written otherwise would never apply: event types are compared trimmed
-- and in lower case, providers are words as `provider_word` folds them, and a key has no spaces around it.
with event_provider_rules as (
    select * from {{ ref('event_provider_rules') }}
),

malformed as (
    select
        event_type,
        provider,
        required_true_key,
        required_key
    from event_provider_rules
    where
        event_type is distinct from {{ lower_case(text_value('event_type')) }}
        or provider is distinct from {{ provider_word('provider') }}
        or provider in ('{{ var("transports") | join("', '") }}')
        or required_true_key is distinct from {{ text_value('required_true_key') }}
        or required_key is distinct from {{ text_value('required_key') }}
)

select * from malformed
