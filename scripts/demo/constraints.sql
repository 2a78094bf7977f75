-- What the demo's tables get after their rows: foreign keys, indexes, triggers, row level security, grants.

---------- foreign keys

do $$
begin
    -- A real auth.users is never written to, so the demo's users are not in it.
    if pg_catalog.obj_description('auth.users'::regclass, 'pg_class') like 'canonical-migration demo%' then
        alter table public.profiles add foreign key (id) references auth.users (id) on delete cascade;
        alter table public.user_roles add foreign key (user_id) references auth.users (id) on delete cascade;
    end if;
end
$$;

alter table public.websites add foreign key (user_id) references public.profiles (id) on delete cascade;

alter table public.integrations
    add foreign key (user_id) references public.profiles (id) on delete cascade,
    add foreign key (website_id) references public.websites (id) on delete cascade;

-- As in the product, nothing ties a connector to its website.
alter table public.integration_connectors add foreign key (user_id) references public.profiles (id) on delete cascade;

alter table public.campaigns
    add foreign key (user_id) references public.profiles (id) on delete cascade,
    add foreign key (website_id) references public.websites (id) on delete cascade,
    add foreign key (template_id) references public.templates (id) on delete set null;

alter table public.widgets
    add foreign key (user_id) references public.profiles (id) on delete cascade,
    add foreign key (website_id) references public.websites (id) on delete cascade,
    add foreign key (campaign_id) references public.campaigns (id) on delete set null;

alter table public.events
    add foreign key (website_id) references public.websites (id) on delete cascade,
    add foreign key (widget_id) references public.widgets (id) on delete cascade,
    add foreign key (integration_id) references public.integrations (id) on delete set null;

---------- indexes

create index idx_websites_user_id on public.websites (user_id);
create index idx_integrations_website_id on public.integrations (website_id, provider);
create index idx_integration_connectors_website_id on public.integration_connectors (website_id);
create index idx_campaigns_website_id on public.campaigns (website_id);
create index idx_campaigns_status on public.campaigns (status);
create index idx_widgets_website_id on public.widgets (website_id);
create index idx_widgets_campaign_id on public.widgets (campaign_id);
create index idx_events_website_created on public.events (website_id, created_at desc);
create index idx_events_widget_created on public.events (widget_id, created_at desc);
create index idx_events_integration_id on public.events (integration_id) where integration_id is not null;
create index idx_events_moderation_status on public.events (moderation_status, status);
create index idx_events_created_at on public.events (created_at desc);

---------- triggers

do $$
declare
    relation text;
begin
    foreach relation in array array[
        'profiles', 'websites', 'templates', 'integrations', 'integration_connectors', 'campaigns', 'widgets',
        'feature_flags', 'events'
    ]
    loop
        execute format(
            'create trigger update_%1$s_updated_at before update on public.%1$I '
            'for each row execute function public.update_updated_at_column()',
            relation
        );
    end loop;
end
$$;

---------- row level security

alter table public.profiles enable row level security;
alter table public.user_roles enable row level security;
alter table public.websites enable row level security;
alter table public.templates enable row level security;
alter table public.integrations enable row level security;
alter table public.integration_connectors enable row level security;
alter table public.campaigns enable row level security;
alter table public.widgets enable row level security;
alter table public.feature_flags enable row level security;
alter table public.events enable row level security;

create policy "Users read their own profile" on public.profiles for select using (auth.uid() = id);
-- No column is excepted: whoever owns the row may write role = 'superadmin' into it.
create policy "Users update their own profile" on public.profiles for update using (auth.uid() = id);

create policy "Users read their own roles" on public.user_roles for select using (auth.uid() = user_id);
create policy "Admins manage roles" on public.user_roles using (public.is_admin(auth.uid()));

create policy "Users manage their own websites" on public.websites using (auth.uid() = user_id);
create policy "Users manage their own integrations" on public.integrations using (auth.uid() = user_id);
create policy "Users manage their own connectors" on public.integration_connectors using (auth.uid() = user_id);
create policy "Users manage their own campaigns" on public.campaigns using (auth.uid() = user_id);
create policy "Users manage their own widgets" on public.widgets using (auth.uid() = user_id);
create policy "Anyone reads active templates" on public.templates for select using (is_active);
create policy "Anyone reads feature flags" on public.feature_flags for select using (true);
create policy "Admins manage feature flags" on public.feature_flags using (public.is_admin(auth.uid()));

create policy "Owners manage the events of their websites" on public.events using (
    exists (
        select 1
        from public.websites as w
        where w.id = website_id
          and w.user_id = auth.uid()
    )
);
create policy "Anyone reads approved events" on public.events for select using (
    status = 'approved' and moderation_status = 'approved'
);

---------- roles and grants: Supabase's three roles, where this role may create them

do $$
declare
    wanted text;
begin
    foreach wanted in array array['anon', 'authenticated', 'service_role']
    loop
        if not exists (select 1 from pg_catalog.pg_roles where rolname = wanted) then
            begin
                execute format('create role %I nologin noinherit', wanted);
            exception
                when duplicate_object or unique_violation then
                    null; -- another session made it between the look and the create
                when insufficient_privilege then
                    raise notice 'role % was left out: % may not create it', wanted, current_user;
            end;
            begin
                if wanted = 'service_role' and exists (select 1 from pg_catalog.pg_roles where rolname = wanted) then
                    alter role service_role bypassrls;
                end if;
            exception
                when insufficient_privilege then
                    raise notice 'service_role does not bypass row level security: % may not grant that', current_user;
            end;
        end if;

        if exists (select 1 from pg_catalog.pg_roles where rolname = wanted) then
            execute format('grant usage on schema public to %I', wanted);
            execute format(
                'grant all on public.profiles, public.user_roles, public.websites, public.templates, '
                'public.integrations, public.integration_connectors, public.campaigns, public.widgets, '
                'public.feature_flags, public.events to %I',
                wanted
            );
            execute format('grant execute on function public.is_admin(uuid) to %I', wanted);
            -- Supabase hands every later table in public to these roles; what protects it is RLS alone.
            execute format('alter default privileges in schema public grant all on tables to %I', wanted);
            execute format('alter default privileges in schema public grant all on sequences to %I', wanted);
            execute format('alter default privileges in schema public grant all on functions to %I', wanted);
            begin
                execute format('grant usage on schema auth to %I', wanted);
            exception
                when insufficient_privilege then
                    raise notice 'no right to grant usage on schema auth to %', wanted;
            end;
        end if;
    end loop;
end
$$;
