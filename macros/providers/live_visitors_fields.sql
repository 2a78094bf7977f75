{#-
    Purpose: how a count of visitors becomes canonical fields.
    Input:   a row `e` of `resolved_events`.
    Output:  a select of one row whose columns are the fields (contract section 6, live_visitors).
-#}
{% macro live_visitors_fields() -%}
    select
        s.visitor_count as "template.visitor_count",
        s.location as "template.location",
        s.visitor_name as "template.visitor_name",
        s.visitor_location as "template.visitor_location",
        s.page_url as "template.page_url",
        s.page_name as "template.page_name",
        coalesce(
            s.message,
            s.visitor_count || ' people are viewing ' || coalesce(s.page_name, s.page_url)
        ) as "template.message",
        {{ common_fields() }}
    from (
        select
            {{ first_of('e.data', ['visitor_count', 'count', 'active_visitors', 'event_count'], 'number') }} as visitor_count,
            coalesce(
                {{ first_of('e.data', ['location', 'visitor_location'], 'place') }},
                {{ row_user_location() }}
            ) as location,
            coalesce(
                {{ first_of('e.data', ['visitor_name'], 'name') }},
                {{ row_user_name() }}
            ) as visitor_name,
            coalesce(
                {{ first_of('e.data', ['visitor_location', 'location'], 'place') }},
                {{ row_user_location() }}
            ) as visitor_location,
            coalesce(
                {{ first_of('e.data', ['page_url'], 'url') }},
                {{ url_value(text_value('e.page_url')) }}
            ) as page_url,
            {{ first_of('e.data', ['page_name', 'page_title']) }} as page_name,
            coalesce(
                {{ first_of('e.data', ['message']) }},
                {{ text_value('e.message_template') }}
            ) as message
        offset 0
    ) as s
{%- endmacro %}
