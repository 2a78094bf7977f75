{#-
    Purpose: how an announcement becomes canonical fields.
    Input:   a row `e` of `resolved_events`. Its `user_name` holds the announcement's title, not a person.
    Output:  a select of one row whose columns are the fields (contract section 6, announcements).
-#}
{% macro announcements_fields() -%}
    select
        coalesce(s.title, 'Announcement') as "template.title",
        s.message as "template.message",
        s.cta_text as "template.cta_text",
        s.cta_url as "template.cta_url",
        case when s.image_type = 'icon' then coalesce(s.icon, s.emoji) else coalesce(s.emoji, s.icon) end as "template.icon",
        s.image_url as "template.image_url",
        s.priority as "template.priority",
        {{ common_fields({'template.title': 's.title is null'}) }}
    from (
        select
            coalesce(
                {{ first_of('e.data', ['title']) }},
                {{ text_value('e.message_template') }}
            ) as title,
            coalesce(
                {{ first_of('e.data', ['message']) }},
                {{ text_value('e.message_template') }}
            ) as message,
            {{ first_of('e.data', ['cta_text']) }} as cta_text,
            {{ first_of('e.data', ['cta_url'], 'url') }} as cta_url,
            {{ first_of('e.data', ['emoji']) }} as emoji,
            {{ first_of('e.data', ['icon']) }} as icon,
            {{ lower_case(first_of('e.data', ['image_type'])) }} as image_type,
            {{ first_of('e.data', ['image_url'], 'url') }} as image_url,
            {{ number_or_text('e.data', 'priority') }} as priority
        offset 0
    ) as s
{%- endmacro %}
