{#-
    Purpose: keep a rating from 1 to 5.
    Input:   a numeric expression.
    Output:  a numeric expression; null when it is out of range.
-#}
{% macro rating_value(number) -%}
    {{ return(adapter.dispatch('rating_value')(number)) }}
{%- endmacro %}

{% macro postgres__rating_value(number) -%}
    (select n.value from (select {{ number }} as value offset 0) as n where n.value between 1 and 5)
{%- endmacro %}


{#-
    Purpose: a rating as five stars: `★★★★☆`.
    Input:   a numeric column from 1 to 5.
    Output:  a text expression; a half counts as a full star.
-#}
{% macro rating_stars(rating) -%}
    {{ return(adapter.dispatch('rating_stars')(rating)) }}
{%- endmacro %}

{% macro postgres__rating_stars(rating) -%}
    repeat('★', round({{ rating }})::integer) || repeat('☆', 5 - round({{ rating }})::integer)
{%- endmacro %}
