-- What each website has of each provider: active and inactive integrations, and rows of the older connectors table.
with integrations as (
    select * from {{ ref('stg_integrations') }}
),

connectors as (
    select * from {{ ref('stg_integration_connectors') }}
),

together as (
    select
        website_id,
        provider,
        case when is_active then integration_id end as active_id,
        case when is_active then 1 else 0 end as active,
        case when is_active then 0 else 1 end as inactive,
        0 as connector
    from integrations

    union all

    select
        website_id,
        provider,
        null as active_id,
        0 as active,
        0 as inactive,
        1 as connector
    from connectors
),

counted as (
    select
        website_id,
        provider,
        sum(active) as active_integrations,
        sum(inactive) as inactive_integrations,
        sum(connector) as connectors,
        -- Null unless it is the only one.
        case when sum(active) = 1 then cast(max(cast(active_id as text)) as uuid) end as only_active_integration_id
    from together
    where provider is not null
    group by website_id, provider
)

select * from counted
