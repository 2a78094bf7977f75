-- The product's source schema as the demo has it: tables and functions (types.sql has the enumerations).
-- Loaded before the rows; constraints.sql (foreign keys, indexes, triggers, policies, grants) comes after them,
-- because building an index once is cheaper than keeping it through a million inserts.

---------- auth stand-in: what Supabase provides, no more than policies and keys need

create schema if not exists auth;

do $$
begin
    if to_regclass('auth.users') is null then
        create table auth.users (
            id uuid primary key,
            email text,
            raw_user_meta_data jsonb default '{}',
            created_at timestamptz default now()
        );
    end if;

    if to_regprocedure('auth.uid()') is null then
        create function auth.uid() returns uuid
        language sql stable
        as $body$
            select coalesce(
                nullif(current_setting('request.jwt.claim.sub', true), ''),
                nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'
            )::uuid
        $body$;
    end if;
end
$$;

---------- tables

-- `role` here is for display and must never be trusted: the policy lets users edit their own profile.
create table public.profiles (
    id uuid primary key,
    email text,
    full_name text,
    role text not null default 'user',
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);

create table public.user_roles (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null,
    role public.app_role not null,
    created_at timestamptz default now(),
    unique (user_id, role)
);

create table public.websites (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null,
    name text not null,
    domain text not null,
    is_verified boolean not null default false,
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);

create table public.templates (
    id uuid primary key default gen_random_uuid(),
    provider text not null,
    template_key text not null,
    name text not null,
    html_template text not null default '',
    required_fields jsonb default '[]',
    is_active boolean not null default true,
    created_at timestamptz default now(),
    updated_at timestamptz default now(),
    unique (provider, template_key)
);

create table public.integrations (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null,
    website_id uuid not null,
    provider text not null,
    name text not null,
    credentials jsonb not null default '{}',
    settings jsonb not null default '{}',
    is_active boolean not null default true,
    last_sync timestamptz,
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);

create table public.integration_connectors (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null,
    website_id uuid,
    integration_type public.integration_type not null,
    name text not null,
    config jsonb not null default '{}',
    status text not null default 'active',
    last_sync timestamptz,
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);

create table public.campaigns (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null,
    website_id uuid,
    name text not null,
    description text,
    status text not null default 'draft',
    campaign_type text,
    data_source text,
    integration_settings jsonb default '{}',
    native_config jsonb default '{}',
    display_rules jsonb default '{}',
    template_id uuid,
    start_date timestamptz,
    end_date timestamptz,
    created_at timestamptz default now(),
    updated_at timestamptz default now(),
    data_sources jsonb default '[]'
);

create table public.widgets (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null,
    website_id uuid,
    campaign_id uuid,
    name text not null,
    integration text not null default 'manual',
    status text not null default 'active',
    style_config jsonb not null default '{}',
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);

create table public.feature_flags (
    id uuid primary key default gen_random_uuid(),
    name text not null unique,
    enabled boolean not null default false,
    rollout_percentage int not null default 0 check (rollout_percentage between 0 and 100),
    description text,
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);

create table public.events (
    id uuid primary key default gen_random_uuid(),
    website_id uuid not null,
    widget_id uuid,
    integration_id uuid,
    integration_type public.integration_type default 'manual',
    event_type text,
    source public.event_source default 'manual',
    event_data jsonb not null default '{}',
    message_template text,
    user_name text,
    user_email text,
    user_location text,
    page_url text,
    status public.event_status default 'pending',
    moderation_status public.moderation_status default 'approved',
    views int default 0,
    clicks int default 0,
    ip inet,
    user_agent text,
    flagged boolean not null default false,
    business_type text,
    business_context jsonb,
    context_template text,
    external_id text,
    created_at timestamptz default now(),
    updated_at timestamptz default now(),
    expires_at timestamptz,
    canonical_event jsonb default '{}'
);

---------- functions

create or replace function public.is_admin(check_user_id uuid) returns boolean
language sql stable security definer
set search_path = ''
as $$
    select exists (
        select 1
        from public.user_roles as r
        where r.user_id = check_user_id
          and r.role in ('admin', 'superadmin')
    )
$$;

create or replace function public.update_updated_at_column() returns trigger
language plpgsql
set search_path = ''
as $$
begin
    new.updated_at = now();
    return new;
end
$$;
