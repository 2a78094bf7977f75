with source as (
    select
        -- By name: a role that may read only these columns can build it.
        {{ source_columns(source('product', 'widgets'), {
            'id': 'uuid',
            'website_id': 'uuid',
            'campaign_id': 'uuid',
            'integration': 'text',
        }, rename={'id': 'widget_id', 'integration': 'integration_as_stored'}) }}
    from {{ source_or_empty(source('product', 'widgets')) }}
),

with_provider as (
    select
        *,
        {{ campaign_word('integration_as_stored') }} as provider
    from source
)

select * from with_provider
