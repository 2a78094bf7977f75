-- depends_on: {{ ref('campaign_overrides') }}
with source as (
    select * from {{ ref('campaign_overrides') }}
),

renamed as (
    select
        {{ source_columns(ref('campaign_overrides'), {
            'campaign_id': 'text',
            'integration_id': 'text',
            'provider': 'text',
            'note': 'text',
            'decided_at': 'timestamptz',
        }, rename={'campaign_id': 'campaign_text', 'integration_id': 'integration_text', 'provider': 'provider_text'}) }}
    from source
),

read as (
    select
        {{ uuid_value(text_value('campaign_text')) }} as campaign_id,
        -- A native provider is understood in either column.
        case
            when {{ is_native(provider_word('integration_text')) }} then null
            else {{ text_value('integration_text') }}
        end as integration_text,
        coalesce(
            {{ provider_word('provider_text') }},
            case
                when {{ is_native(provider_word('integration_text')) }} then {{ provider_word('integration_text') }}
            end
        ) as provider,
        note,
        decided_at,
        campaign_text
    from renamed
)

select * from read
