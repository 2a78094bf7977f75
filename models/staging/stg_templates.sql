with source as (
    select * from {{ source_or_empty(source('product', 'templates')) }}
),

renamed as (
    select
        {{ source_columns(source('product', 'templates'), {
            'provider': 'text',
            'template_key': 'text',
            'required_fields': 'jsonb',
            'is_active': 'boolean',
        }, rename={'provider': 'provider_as_stored'}) }}
    from source
),

with_provider as (
    select
        *,
        {{ provider_word('provider_as_stored') }} as provider
    from renamed
)

select * from with_provider
