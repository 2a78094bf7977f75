-- What each campaign's data_sources holds today: empty, the legacy element, a migrated value, or a malformed one,
-- and then what is wrong with it (contract section 7).
with campaigns as (
    select * from {{ ref('stg_campaigns') }}
),

integrations as (
    select * from {{ ref('stg_integrations') }}
),

inspected as (
    select
        campaigns.*,
        {{ json_kind('campaigns.stored_value') }} as value_kind,
        found.elements,
        found.legacy_elements,
        found.legacy_provider,
        found.stored_providers,
        found.element_problems
    from campaigns
    cross join lateral (
        select
            count(*) as elements,
            count(*) filter (where judged.is_legacy) as legacy_elements,
            min(judged.provider) filter (where judged.is_legacy) as legacy_provider,
            string_agg(distinct judged.provider, ', ') as stored_providers,
            string_agg(judged.problem, ', ' order by judged.position) as element_problems
        from (
            select
                element.position,
                read.provider,
                read.is_legacy,
                case
                    when read.kind <> 'object' then 'element_not_object'
                    when read.provider is null then 'provider_blank'
                    when read.settings_are_wrong then 'settings_not_object'
                    when read.is_legacy and read.has_settings then 'legacy_with_settings'
                    when not read.is_legacy and read.is_respelled then 'provider_not_lower_case'
                    when read.has_id and read.integration_id is null then 'integration_id_not_uuid'
                    when read.has_id and named.integration_id is null then 'integration_not_found'
                    when read.has_id and (named.website_id is distinct from campaigns.website_id)
                        then 'integration_of_other_website'
                    when read.has_id and (named.provider is distinct from read.provider)
                        then 'provider_not_of_integration'
                    when not read.has_id and not read.is_legacy and not {{ is_native('read.provider') }}
                        then 'integration_id_missing'
                    when count(*) over (partition by read.provider, read.integration_id) > 1
                        then 'duplicate_element'
                end as problem
            from {{ json_elements('campaigns.stored_value') }} as element (document, position)
            cross join lateral (
                select
                    coalesce({{ json_kind(json_value('element.document', 'integration_id')) }}, 'null') <> 'null'
                        as has_id,
                    coalesce({{ json_value('element.document', 'legacy') }} = 'true', false) as says_legacy,
                    case
                        when {{ json_kind(json_value('element.document', 'provider')) }} = 'string'
                            then {{ json_raw_text('element.document', 'provider') }}
                    end as provider_text,
                    {{ uuid_value(json_raw_text('element.document', 'integration_id')) }} as integration_id,
                    coalesce({{ json_value('element.document', 'filters') }}, '{}') as filters,
                    coalesce({{ json_value('element.document', 'adapter_config') }}, '{}') as adapter_config
            ) as raw
            cross join lateral (
                select
                    {{ json_kind('element.document') }} as kind,
                    raw.has_id,
                    raw.integration_id,
                    raw.says_legacy and not raw.has_id as is_legacy,
                    {{ provider_word('raw.provider_text') }} as provider,
                    raw.provider_text <> {{ lower_case(text_value('raw.provider_text')) }} as is_respelled,
                    {{ json_kind('raw.filters') }} not in ('object', 'null')
                    or {{ json_kind('raw.adapter_config') }} not in ('object', 'null') as settings_are_wrong,
                    raw.filters not in ('{}', 'null')
                    or raw.adapter_config not in ('{}', 'null') as has_settings
            ) as read
            left join lateral (
                select
                    integrations.integration_id,
                    integrations.website_id,
                    integrations.provider
                from integrations
                where integrations.integration_id = read.integration_id
                -- One at most; said so that each element costs one look at the key and not a scan of the table.
                order by integrations.integration_id
                limit 1
            ) as named
                on true
        ) as judged
    ) as found
),

with_problems as (
    select
        *,
        case
            when value_kind not in ('array', 'null') then 'not_an_array'
            when elements > 1 and legacy_elements > 0 then concat_ws(', ', element_problems, 'legacy_beside_others')
            else element_problems
        end as value_problems
    from inspected
),

judged as (
    select
        *,
        split_part(value_problems, ', ', 1) as value_problem,
        case
            when value_problems is not null then 'malformed'
            when elements = 0 then 'empty'
            when legacy_elements > 0 then 'legacy'
            else 'migrated'
        end as value_state
    from with_problems
)

select * from judged
