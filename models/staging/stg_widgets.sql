with source as (
    select * from {{ source_or_empty(source('product', 'widgets')) }}
),

renamed as (
    select
        {{ source_columns(source('product', 'widgets'), {
            'id': 'uuid',
            'website_id': 'uuid',
            'campaign_id': 'uuid',
            'integration': 'text',
        }, rename={'id': 'widget_id', 'integration': 'integration_as_stored'}) }}
    from source
),

with_provider as (
    select
        *,
        {{ campaign_word('integration_as_stored') }} as provider
    from renamed
)

select * from with_provider
