with source as (
    select * from {{ source('tool', 'campaign_decisions') }}
),

renamed as (
    select
        id as decision_id,
        campaign_id,
        integration_id,
        {{ provider_word('provider') }} as provider,
        note,
        decided_by,
        decided_at
    from source
)

select * from renamed
