{#-
    Purpose: say whether the joined row of the seed `event_provider_rules` applies to an event.
    Input:   a column with the event's payload.
    Output:  a boolean expression: the rule's required keys are in the payload.
-#}
{% macro event_rule_applies(document) -%}
    event_provider_rules.provider is not null
                    and (
                        event_provider_rules.required_true_key is null
                        or {{ document }} ->> event_provider_rules.required_true_key = 'true'
                    )
                    and (
                        event_provider_rules.required_key is null
                        or {{ document }} ->> event_provider_rules.required_key is not null
                    )
{%- endmacro %}
