-- Every event is in exactly one provider's model, and once in canonical_events.
with staged as (
    select
        'all' as provider,
        count(*) as events
    from {{ ref('stg_events') }}
),

canonical as (
    select
        case when provider in ('{{ providers() | join("', '") }}') then provider else 'generic' end as provider,
        count(*) as events,
        count(distinct event_id) as ids
    from {{ ref('canonical_events') }}
    group by 1
),

modelled as (
    {%- for provider in providers() + ['generic'] %}
    select
        '{{ provider }}' as provider,
        count(*) as events
    from {{ ref(provider ~ '_events') }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

wrong as (
    select
        modelled.provider,
        modelled.events as in_its_model,
        coalesce(canonical.events, 0) as in_canonical_events,
        coalesce(canonical.ids, 0) as distinct_events
    from modelled
    left join canonical on modelled.provider = canonical.provider
    where
        modelled.events <> coalesce(canonical.events, 0)
        or modelled.events <> coalesce(canonical.ids, 0)

    union all

    select
        staged.provider,
        staged.events as in_its_model,
        coalesce(canonical_events.events, 0) as in_canonical_events,
        coalesce(canonical_events.events, 0) as distinct_events
    from staged
    cross join (
        select sum(events) as events
        from canonical
    ) as canonical_events
    where staged.events <> coalesce(canonical_events.events, 0)
)

select * from wrong
