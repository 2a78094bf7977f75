-- Integrations that no campaign's data_sources names. The product's own query raises on a value that is no array and
-- on an id that is no uuid; here such an element names nothing.
with integrations as (
    select * from {{ ref('stg_integrations') }}
),

campaigns as (
    select * from {{ ref('stg_campaigns') }}
),

named as (
    select distinct {{ uuid_value(text_value(json_raw_text('element.document', 'integration_id'))) }} as integration_id
    from campaigns
    cross join lateral {{ json_elements('campaigns.stored_value') }} as element (document, position)
),

orphaned as (
    select
        integrations.integration_id,
        integrations.website_id,
        integrations.provider,
        integrations.integration_name,
        coalesce(integrations.is_active, false) as is_active,
        integrations.created_at
    from integrations
    left join named
        on integrations.integration_id = named.integration_id
    where named.integration_id is null
)

select * from orphaned
