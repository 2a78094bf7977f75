{#-
    Purpose:   say why a stored value is not this tool's to change.
    Input:     expressions of the stored value (JSON), of the contract version in it, and of the hash that this tool
               stored last in the row (null where it never wrote it).
    Output:    a text expression, null where the value is this tool's; see `canonical_drift` for the words.
    Arguments: stored, version, written
-#}
{% macro foreign_reason(stored, version, written) -%}
        case
            when {{ json_kind(stored) }} <> 'object' then 'not_an_envelope'
            when ({{ json_kind(json_value(stored, 'normalized')) }} is distinct from 'object') then 'not_an_envelope'
            when {{ written }} is null then 'other_writer'
            when {{ written }} <> {{ json_hash(stored) }} then 'edited'
            when {{ is_newer_version(version) }} then 'newer_contract_version'
        end
{%- endmacro %}


{#-
    Purpose:   say why a value of this tool's is not what the models would write today.
    Input:     expressions of the stored value and of today's (JSON), of today's provider, and of the contract version
               in the stored value.
    Output:    a text expression; see `canonical_drift` for the words.
    Arguments: stored, today, provider, version
-#}
{% macro drift_reason(stored, today, provider, version) -%}
        case
            when ({{ version }} is distinct from '{{ var("contract_version") }}') then 'older_contract_version'
            when ({{ json_value(stored, 'payload') }} is distinct from {{ json_value(today, 'payload') }})
                then 'event_data_changed'
            when ({{ json_raw_text(stored, 'provider') }} is distinct from {{ provider }}) then 'provider_changed'
            else 'mapping_changed'
        end
{%- endmacro %}


{#-
    Purpose: the contract version in a stored value.
    Input:   an expression of a JSON value.
    Output:  a text expression, null where there is none.
-#}
{% macro stored_contract_version(stored) -%}
    left({{ json_member_text(json_value(stored, 'normalized'), 'meta.contract_version') }}, 40)
{%- endmacro %}


{#-
    Purpose: say whether a contract version is newer than today's.
    Input:   a text expression.
    Output:  a boolean expression, never null; versions that are no whole numbers are not newer.
-#}
{% macro is_newer_version(version) -%}
    coalesce(
        {{ version }} ~ '^[0-9]{1,9}$'
        and '{{ var("contract_version") }}' ~ '^[0-9]{1,9}$'
        and lpad({{ version }}, 9, '0') > lpad('{{ var("contract_version") }}', 9, '0'),
        false
    )
{%- endmacro %}
