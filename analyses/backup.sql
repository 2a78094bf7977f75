-- What `migrate backup` does, for an administrator who has to do it by hand (psql, as the owner of the tables).
-- The command also checks the counts and the free disk, and refuses to overwrite.
{%- set day = run_started_at.strftime('%Y%m%d') %}
{%- set copies = {
    'campaigns': ('campaigns', 'true'),
    'events': ('events', "created_at >= now() - interval '30 days'"),
} %}
begin isolation level repeatable read;
{%- for kind, (table, condition) in copies.items() %}

create table {{ target.schema }}.{{ kind }}_backup_{{ day }} as
select *
from {{ source('product', table) }}
where {{ condition }};

-- Closed in the transaction that creates it: default privileges may hand new tables to anon.
alter table {{ target.schema }}.{{ kind }}_backup_{{ day }} enable row level security;
revoke all on table {{ target.schema }}.{{ kind }}_backup_{{ day }} from public;
{%- endfor %}

do $do$
declare
    role_name text;
begin
    for role_name in select rolname from pg_catalog.pg_roles where rolname in ('anon', 'authenticated') loop
    {%- for kind in copies %}
        execute format('revoke all on table {{ target.schema }}.{{ kind }}_backup_{{ day }} from %I', role_name);
    {%- endfor %}
    end loop;
end
$do$;

commit;
