{{ config(meta={'migration': {
    'command': 'events',
    'migration_type': 'event',
    'source_table': 'product.events',
    'key': 'id',
    'model_key': 'event_id',
    'tenant': 'website_id',
    'target_column': 'canonical_event',
    'previous': 'stored_value',
    'pending_flag': 'is_pending',
    'location': 'row_location',
    'table_oid': 'row_table',
    'group_by': 'provider',
    'pending_sql': is_empty_json('{column}') | replace("'{}'", "'{{}}'"),
    'complete': true,
    'batch_size': 1000,
    'refresh': {
        'model': 'canonical_refresh',
        'pending_flag': 'is_refreshable',
        'left_alone': 'is_left_alone',
        'reason': 'reason',
        'older_sql': "{column} #>> '{{normalized,meta.contract_version}}' <> '" ~ var('contract_version') ~ "'",
    },
    'unread': ['clicks', 'updated_at', 'views'],
}}) }}

with resolved_events as (
    select * from {{ ref('resolved_events') }}
),

canonical as (
    select
        e.row_location,
        e.row_table,
        e.event_id,
        e.website_id,
        e.provider,
        jsonb_build_object(
            'event_id', e.event_id::text,
            'provider', e.provider,
            'provider_event_type', e.event_type,
            'timestamp', e.timestamp_text,
            'payload', e.unpacked_event_data,
            'normalized', fields.normalized
        ) as canonical_event,
        e.stored_value,
        e.is_pending
    from resolved_events as e
    -- A row's provider switches off every branch but its own before the branch reads anything.
    cross join lateral (
        {%- for provider in providers() + ['generic'] %}
        select {{ json_object_of('f') }} as normalized
        from (
            {{ provider_fields(provider) }}
        ) as f
        where {{ belongs_to(provider) }}
        {{ 'union all' if not loop.last }}
        {%- endfor %}
    ) as fields
)

select * from canonical
