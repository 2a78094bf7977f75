{#-
    Purpose: how a testimonial, as it stands in the product's own table or as an import stored it, becomes canonical
             fields.
    Input:   a row `e` of `resolved_events`.
    Output:  a select of one row whose columns are the fields (contract section 6, testimonials).
-#}
{% macro testimonials_fields() -%}
    select
        s.author_name as "template.author_name",
        s.rating as "template.rating",
        s.message as "template.message",
        {{ rating_stars('s.rating') }} as "template.rating_stars",
        s.author_email as "template.author_email",
        s.author_avatar as "template.author_avatar",
        s.image_url as "template.image_url",
        s.video_url as "template.video_url",
        s.is_verified as "template.verified",
        e.date_text as "template.time_ago",
        s.source as "meta.source",
        s.status as "meta.status",
        {{ common_fields() }}
    from (
        select
            coalesce(
                {{ first_of('e.data', ['author_name', 'author.name'], 'name') }},
                {{ row_user_name() }}
            ) as author_name,
            {{ rating_value(first_of('e.data', ['rating'], 'number')) }} as rating,
            coalesce(
                {{ first_of('e.data', ['message', 'text', 'content']) }},
                {{ text_value('e.message_template') }}
            ) as message,
            coalesce(
                {{ first_of('e.data', ['author_email', 'author.email', 'email']) }},
                {{ text_value('e.user_email') }}
            ) as author_email,
            {{ first_of('e.data', ['author_avatar_url', 'author_avatar'], 'url') }} as author_avatar,
            {{ first_of('e.data', ['image_url'], 'url') }} as image_url,
            {{ first_of('e.data', ['video_url'], 'url') }} as video_url,
            coalesce(
                {{ json_boolean('e.data', 'metadata.verified_purchase') }},
                {{ json_boolean('e.data', 'verified') }}
            ) as is_verified,
            {{ first_of('e.data', ['source']) }} as source,
            {{ first_of('e.data', ['status']) }} as status
        offset 0
    ) as s
{%- endmacro %}
