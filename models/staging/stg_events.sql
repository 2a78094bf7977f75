with source as (
    select
        *,
        -- `select *` leaves out system columns, and the write-back joins on the row's physical place.
        ctid,
        tableoid
    from {{ source('product', 'events') }}
),

renamed as (
    select
        ---------- physical place
        ctid as row_location,
        tableoid as row_table,

        ---------- ids
        id as event_id,
        {{ source_columns(source('product', 'events'), {
            'website_id': 'uuid',
            'widget_id': 'uuid',
            'integration_id': 'uuid',
            'external_id': 'text',
        }) }},

        ---------- what happened
        {{ source_columns(source('product', 'events'), {
            'integration_type': 'text',
            'event_type': 'text',
            'source': 'text',
            'event_data': 'jsonb',
            'message_template': 'text',
            'user_name': 'text',
            'user_email': 'text',
            'user_location': 'text',
            'page_url': 'text',
            'status': 'text',
            'moderation_status': 'text',
            'views': 'integer',
            'clicks': 'integer',
        }) }},

        ---------- timestamps
        {{ source_columns(source('product', 'events'), {
            'created_at': 'timestamptz',
            'expires_at': 'timestamptz',
        }) }},

        ---------- the column to fill
        canonical_event as stored_value,
        {{ is_empty_json('canonical_event') }} as is_pending
    from source
)

select * from renamed
