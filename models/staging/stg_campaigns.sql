with source as (
    select
        *,
        -- `select *` leaves out system columns, and the write-back joins on the row's physical place.
        ctid,
        tableoid
    from {{ source('product', 'campaigns') }}
),

renamed as (
    select
        ---------- physical place
        ctid as row_location,
        tableoid as row_table,

        ---------- ids
        {{ source_columns(source('product', 'campaigns'), {
            'id': 'uuid',
            'user_id': 'uuid',
            'website_id': 'uuid',
        }, rename={'id': 'campaign_id'}) }},

        ---------- what a person reads
        {{ source_columns(source('product', 'campaigns'), {
            'name': 'text',
            'status': 'text',
            'campaign_type': 'text',
        }, rename={'name': 'campaign_name'}) }},

        ---------- the legacy columns; some databases dropped data_source
        {{ source_columns(source('product', 'campaigns'), {
            'data_source': 'text',
            'description': 'text',
            'integration_settings': 'jsonb',
            'native_config': 'jsonb',
        }) }},

        ---------- the column to fill
        {{ source_columns(source('product', 'campaigns'), {
            'data_sources': 'jsonb',
        }, rename={'data_sources': 'stored_value'}) }}
    from source
)

select * from renamed
