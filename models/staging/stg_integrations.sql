with source as (
    select
        -- By name: a role that may not read `credentials` can build it.
        {{ source_columns(source('product', 'integrations'), {
            'id': 'uuid',
            'user_id': 'uuid',
            'website_id': 'uuid',
            'provider': 'text',
            'name': 'text',
            'is_active': 'boolean',
            'created_at': 'timestamptz',
        }, rename={'id': 'integration_id', 'provider': 'provider_as_stored', 'name': 'integration_name'}) }}
    from {{ source_or_empty(source('product', 'integrations')) }}
),

with_provider as (
    select
        *,
        {{ provider_word('provider_as_stored') }} as provider
    from source
)

select * from with_provider
