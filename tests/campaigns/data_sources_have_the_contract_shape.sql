-- Every value that would be written is an array of one element with exactly the four keys of the contract, and its
-- integration is an active one of the campaign's website and of that provider (null for a native provider only).
with data_sources as (
    select * from {{ ref('campaign_data_sources') }}
),

integrations as (
    select * from {{ ref('stg_integrations') }}
),

elements as (
    select
        data_sources.campaign_id,
        data_sources.website_id,
        data_sources.provider,
        {{ json_kind('data_sources.data_sources') }} as kind,
        {{ json_value('data_sources.data_sources', '0.integration_id') }} as stored_id,
        {{ uuid_value(json_raw_text('data_sources.data_sources', '0.integration_id')) }} as integration_id,
        {{ json_raw_text('data_sources.data_sources', '0.provider') }} as stored_provider,
        {{ json_kind(json_value('data_sources.data_sources', '0.filters')) }} as filters_kind,
        {{ json_kind(json_value('data_sources.data_sources', '0.adapter_config')) }} as adapter_config_kind,
        elements.count as elements,
        keys.count as keys
    from data_sources
    cross join lateral (
        select count(*) as count
        from {{ json_elements('data_sources.data_sources') }}
    ) as elements
    cross join lateral (
        select count(*) as count
        from jsonb_object_keys(data_sources.data_sources -> 0)
    ) as keys
),

wrong as (
    select elements.*
    from elements
    left join integrations
        on elements.integration_id = integrations.integration_id
    where elements.kind <> 'array'
        or elements.elements <> 1
        or elements.keys <> 4
        or elements.stored_provider is distinct from elements.provider
        or elements.filters_kind is distinct from 'object'
        or elements.adapter_config_kind is distinct from 'object'
        or elements.stored_id is null
        or (elements.stored_id = 'null' and not {{ is_native('elements.provider') }})
        or (
            elements.stored_id <> 'null'
            and (
                integrations.integration_id is null
                or not integrations.is_active
                or integrations.website_id is distinct from elements.website_id
                or integrations.provider is distinct from elements.provider
            )
        )
)

select * from wrong
