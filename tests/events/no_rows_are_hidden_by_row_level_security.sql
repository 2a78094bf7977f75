-- A role under row level security would see only part of the rows, and "nothing pending" would be a lie.
{%- set tables = ['events', 'campaigns', 'integrations', 'integration_connectors', 'widgets', 'templates'] %}
with tables (name) as (
    values
    {%- for table in tables %}
    ('{{ source("product", table).include(database=false) | string | replace("'", "''") }}'){{ ',' if not loop.last }}
    {%- endfor %}
),

hidden as (
    select
        name,
        'Row level security hides rows of this table from ' || current_user || '. Connect as the table''s owner, or: '
        || 'alter role ' || quote_ident(current_user) || ' bypassrls; or what `migrate runner` prints' as remedy
    from tables
    where {{ hides_rows('name') }}
)

select * from hidden
