{#-
    Purpose: how a form that a website's visitor sent becomes canonical fields.
    Input:   a row `e` of `resolved_events`.
    Output:  a select of one row whose columns are the fields (contract section 6, instant_capture).
-#}
{% macro instant_capture_fields() -%}
    select
        coalesce(s.message, coalesce(s.user_name, 'Someone') || ' ' || s.action) as "template.message",
        s.user_name as "template.user_name",
        s.location as "template.location",
        s.action as "template.action",
        s.action as "template.action_text",
        s.visitor_count as "template.visitor_count",
        s.page_url as "template.page_url",
        e.date_text as "template.time_ago",
        {{ common_fields({
            'template.message': 's.message is null and s.user_name is null and s.action is not null',
        }) }}
    from (
        select
            coalesce(
                {{ text_value('e.message_template') }},
                {{ first_of('e.data', ['message']) }}
            ) as message,
            coalesce(
                {{ row_user_name() }},
                {{ first_given_name('e.data', ['name', 'full_name', 'first_name']) }}
            ) as user_name,
            coalesce(
                {{ row_user_location() }},
                {{ first_of('e.data', ['city', 'location', 'state'], 'place') }}
            ) as location,
            coalesce(
                {{ first_of('e.data', ['action', 'action_text']) }},
                case
                    when {{ lower_case(text_value('e.event_type')) }} = 'form_submission' then 'submitted a form'
                end
            ) as action,
            {{ first_of('e.data', ['visitor_count'], 'number') }} as visitor_count,
            coalesce(
                {{ first_of('e.data', ['page_url'], 'url') }},
                {{ url_value(text_value('e.page_url')) }}
            ) as page_url
        offset 0
    ) as s
{%- endmacro %}
