-- Enumerations of the product's schema. `--reset` keeps them, because backups of the tool use them too.

-- No native provider is among them, which is why most rows say 'manual' whatever they are.
create type public.integration_type as enum (
    'manual',
    'api',
    'webhook',
    'zapier',
    'form_hook',
    'javascript_api',
    'custom_sdk',
    'shopify',
    'woocommerce',
    'stripe',
    'typeform',
    'calendly',
    'flutterwave',
    'ga4',
    'google_reviews',
    'instagram',
    'twitter'
);

create type public.event_source as enum ('manual', 'connector', 'tracking', 'demo', 'woocommerce', 'quick_win');

create type public.event_status as enum ('pending', 'approved', 'rejected', 'displayed', 'expired');

create type public.moderation_status as enum ('pending', 'approved', 'rejected', 'flagged');

create type public.app_role as enum ('user', 'moderator', 'admin', 'superadmin');
