with source as (
    select * from {{ source_or_empty(source('product', 'integrations')) }}
),

renamed as (
    select
        {{ source_columns(source('product', 'integrations'), {
            'id': 'uuid',
            'user_id': 'uuid',
            'website_id': 'uuid',
            'provider': 'text',
            'name': 'text',
            'is_active': 'boolean',
            'created_at': 'timestamptz',
        }, rename={'id': 'integration_id', 'provider': 'provider_as_stored', 'name': 'integration_name'}) }},
        {{ provider_word('provider' if 'provider' in existing_columns(source('product', 'integrations')) else 'null::text') }} as provider
    from source
)

select * from renamed
