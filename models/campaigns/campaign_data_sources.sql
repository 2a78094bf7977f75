-- What the write-back puts into campaigns.data_sources. Only campaigns that are resolved and not yet migrated.
{{ config(
    meta={
        'migration': {
            'command': 'campaigns',
            'migration_type': 'campaign',
            'source_table': 'product.campaigns',
            'key': 'id',
            'model_key': 'campaign_id',
            'tenant': 'website_id',
            'target_column': 'data_sources',
            'previous': 'stored_value',
            'pending_flag': 'is_pending',
            'location': 'row_location',
            'table_oid': 'row_table',
            'group_by': 'provider',
            'pending_sql': "({column} is null or {column} in ('[]', 'null') or ({column} #> '{{0,legacy}}' = 'true'"
                ~ " and coalesce({column} #>> '{{0,integration_id}}', '') = '' and {column} #> '{{1}}' is null"
                ~ " and jsonb_typeof({column} #> '{{0,provider}}') = 'string'"
                ~ " and btrim({column} #>> '{{0,provider}}', " ~ white_space() ~ ") <> ''"
                ~ " and coalesce({column} #> '{{0,filters}}', '{{}}') in ('{{}}', 'null')"
                ~ " and coalesce({column} #> '{{0,adapter_config}}', '{{}}') in ('{{}}', 'null')))",
            'complete': false,
            'listing': 'ambiguous_campaigns',
            'batch_size': 100,
            'unread': ['updated_at'],
        },
    },
) }}

with resolutions as (
    select * from {{ ref('campaign_resolutions') }}
),

resolved as (
    select
        row_location,
        row_table,
        campaign_id,
        website_id,
        provider,
        integration_id,
        resolved_by,
        {{ data_source_element('integration_id', 'provider', 'integration_settings', 'native_config') }}
            as data_sources,
        stored_value,
        -- Always: a migrated value is not in here, and a malformed one only when a person decided what replaces it.
        true as is_pending
    from resolutions
    where outcome = 'resolved'
)

select * from resolved
