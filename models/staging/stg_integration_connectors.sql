with source as (
    select * from {{ source_or_empty(source('product', 'integration_connectors')) }}
),

renamed as (
    select
        {{ source_columns(source('product', 'integration_connectors'), {
            'id': 'uuid',
            'website_id': 'uuid',
            'integration_type': 'text',
            'name': 'text',
            'status': 'text',
        }, rename={
            'id': 'connector_id',
            'integration_type': 'provider_as_stored',
            'name': 'connector_name',
        }) }}
    from source
),

with_provider as (
    select
        *,
        {{ provider_word('provider_as_stored') }} as provider
    from renamed
)

select * from with_provider
