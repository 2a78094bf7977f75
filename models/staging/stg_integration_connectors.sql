with source as (
    select
        -- By name: a role that may read only these columns can build it.
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
    from {{ source_or_empty(source('product', 'integration_connectors')) }}
),

with_provider as (
    select
        *,
        {{ provider_word('provider_as_stored') }} as provider
    from source
)

select * from with_provider
