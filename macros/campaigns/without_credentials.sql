{#-
    Purpose: show a campaign's data to a person without the secrets that may lie in it.
    Input:   an expression of a JSON value.
    Output:  an expression of a JSON value of the same kind, in which every member whose name, or anything inside it,
             looks like a credential is replaced by "(hidden)". Rather one too many than one too few.
-#}
{% macro without_credentials(value) -%}
    {{ return(adapter.dispatch('without_credentials')(value)) }}
{%- endmacro %}

{% macro postgres__without_credentials(value) -%}
    case jsonb_typeof({{ value }})
        when 'object' then {{ members_without_credentials(value) }}
        when 'array' then coalesce(
            (
                select
                    jsonb_agg(
                        case
                            when jsonb_typeof(element.document) = 'object'
                                then {{ members_without_credentials('element.document') }}
                            when {{ looks_like_credentials('element.document::text') }} then '"(hidden)"'
                            else element.document
                        end
                        order by element.position
                    )
                from {{ json_elements(value) }} as element (document, position)
            ),
            '[]'
        )
        else case when {{ looks_like_credentials(value ~ '::text') }} then '"(hidden)"' else {{ value }} end
    end
{%- endmacro %}


{#-
    Purpose: the members of an object, those that look like credentials hidden.
    Input:   an expression of a JSON value.
    Output:  an expression of an object.
-#}
{% macro members_without_credentials(value) -%}
    coalesce(
        (
            select
                jsonb_object_agg(
                    member.key,
                    case
                        when {{ looks_like_credentials("'\"' || member.key || '\": ' || member.value::text") }}
                            then '"(hidden)"'
                        else member.value
                    end
                )
            from jsonb_each(case when jsonb_typeof({{ value }}) = 'object' then {{ value }} else '{}' end) as member
        ),
        '{}'
    )
{%- endmacro %}


{#-
    Purpose: say whether text holds the name of a secret as a key (also in JSON within text), a secret in a URL, or a
             value with a prefix that only keys and tokens have.
    Input:   a text expression.
    Output:  a boolean expression.
-#}
{% macro looks_like_credentials(expression) -%}
    {%- set names = 'secret|token|passw|pwd|credential|authorization|bearer|(?:api|access|private|consumer|client|signing|auth|webhook)[ _-]?key' -%}
    ({{ expression }} ~* '(?:{{ names }})[^":]*\\*"\s*:|[?&][^=&"]*(?:{{ names }}|key|sig)[^=&"]*=|://[^/\s"]+:[^/\s"]+@|\m(?:sk|rk|pk)_(?:live|test)_|\mshp[a-z]{2}_|\mwhsec_|\m[cs][ks]_[0-9a-f]{16}|\mxox[a-z]-|\meyJ[A-Za-z0-9_-]{10}|\mbearer ')
{%- endmacro %}
