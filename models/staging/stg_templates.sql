with source as (
    select
        -- By name: a role that may read only these columns can build it.
        {{ source_columns(source('product', 'templates'), {
            'provider': 'text',
            'template_key': 'text',
            'required_fields': 'jsonb',
            'is_active': 'boolean',
        }, rename={'provider': 'provider_as_stored'}) }}
    from {{ source_or_empty(source('product', 'templates')) }}
),

with_provider as (
    select
        *,
        {{ provider_word('provider_as_stored') }} as provider
    from source
)

select * from with_provider
