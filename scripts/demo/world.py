"""Everything but events: users, websites, integrations, widgets, templates, flags, and the campaigns of every case."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from scripts.demo.values import Site, Values

Row = dict[str, Any]

#: Table -> its columns, in loading order. auth.users is left out where it is not the demo's.
TABLES: dict[str, tuple[str, ...]] = {
    "auth.users": ("id", "email", "raw_user_meta_data", "created_at"),
    "public.profiles": ("id", "email", "full_name", "role", "created_at", "updated_at"),
    "public.user_roles": ("id", "user_id", "role", "created_at"),
    "public.websites": ("id", "user_id", "name", "domain", "is_verified", "created_at", "updated_at"),
    "public.templates": (
        "id", "provider", "template_key", "name", "html_template", "required_fields", "is_active",
        "created_at", "updated_at",
    ),
    "public.integrations": (
        "id", "user_id", "website_id", "provider", "name", "credentials", "settings", "is_active",
        "created_at", "updated_at",
    ),
    "public.integration_connectors": (
        "id", "user_id", "website_id", "integration_type", "name", "config", "status", "created_at", "updated_at",
    ),
    "public.campaigns": (
        "id", "user_id", "website_id", "name", "description", "status", "campaign_type", "data_source",
        "integration_settings", "native_config", "template_id", "created_at", "updated_at", "data_sources",
    ),
    "public.widgets": (
        "id", "user_id", "website_id", "campaign_id", "name", "integration", "status", "created_at", "updated_at",
    ),
    "public.feature_flags": (
        "id", "name", "enabled", "rollout_percentage", "description", "created_at", "updated_at",
    ),
}  # fmt: skip
JSON_COLUMNS = frozenset(
    (
        "raw_user_meta_data",
        "required_fields",
        "credentials",
        "settings",
        "config",
        "integration_settings",
        "native_config",
        "data_sources",
    )
)

#: Role in user_roles, and what the person wrote into the own profile (which must never count).
_USERS = (
    ("owner", None, "user"),
    ("agency", None, "user"),
    ("selfmade", None, "superadmin"),
    ("admin", "admin", "user"),
    ("root", "superadmin", "user"),
    ("moderator", "moderator", "user"),
)
_TEMPLATES: tuple[tuple[str, str, Any, bool], ...] = (
    ("shopify", "purchase_card", ["template.customer_name", "template.product_name", "template.price"], True),
    ("shopify", "purchase_photo", ["template.product_name", "template.product_image", "template.time_ago"], True),
    ("stripe", "payment_line", ["template.customer_name", "template.amount"], True),
    ("stripe", "subscription", ["template.plan_name", "template.amount", "template.currency"], True),
    ("woocommerce", "order_card", ["template.customer_name", "template.product_name", "template.order_total"], True),
    ("woocommerce", "order_card_old", ["template.customer_name", "template.order_total"], False),
    ("testimonials", "quote", ["template.author_name", "template.rating", "template.message"], True),
    ("testimonials", "video_quote", ["template.author_name", "template.video_url"], True),
    ("announcements", "banner", ["template.title", "template.message"], True),
    ("announcements", "call_to_action", ["template.title", "template.cta_text", "template.cta_url"], True),
    ("instant_capture", "signup", ["template.message", "template.time_ago"], True),
    ("live_visitors", "counter", ["template.visitor_count", "template.location"], True),
    ("ga4", "page_line", ["template.message"], True),
    ("generic", "plain", ["template.message"], True),
    ("generic", "nothing_required", [], True),
    ("generic", "required_unknown", None, True),
    ("generic", "required_malformed", {"template.message": True}, True),
)
_FLAGS = (
    ("canonical_events", True, 100),
    ("canonical_campaigns", True, 25),
    ("new_campaign_wizard", False, 0),
    ("quick_win_templates", True, 50),
)


@dataclass
class World:
    """Rows by table, the websites that events belong to, and what is known about each campaign."""

    tables: dict[str, list[Row]] = field(default_factory=lambda: {name: [] for name in TABLES})
    sites: list[Site] = field(default_factory=list)
    users: list[str] = field(default_factory=list)

    def rows(self, table: str) -> list[Row]:
        return self.tables[f"public.{table}"]


class Builder:
    """Adds rows to a World. Ids and times come from `v`; `born` is when everything here was created."""

    def __init__(self, v: Values, born: datetime) -> None:
        self.v = v
        self.world = World()
        self.born = born
        self._minute = 0

    def _add(self, table: str, **columns: Any) -> str:
        self._minute += 1
        at = self.born + timedelta(minutes=self._minute)
        columns.setdefault("id", self.v.uuid())
        columns.setdefault("created_at", at)
        columns.setdefault("updated_at", at)
        self.world.tables[table if "." in table else f"public.{table}"].append(columns)
        return str(columns["id"])

    def user(self, word: str, role: str | None, profile_role: str) -> str:
        email = f"{word}@example.com"
        user = self._add("auth.users", email=email, raw_user_meta_data={"full_name": word.title()})
        self._add("profiles", id=user, email=email, full_name=word.title(), role=profile_role)
        if role:
            self._add("user_roles", user_id=user, role=role)
        self.world.users.append(user)
        return user

    def website(self, name: str, domain: str | None = None) -> tuple[str, str]:
        """A website; (its id, its owner's)."""
        user = self.world.users[len(self.world.rows("websites")) % 2]
        domain = domain or f"{name}.example.org"
        return self._add("websites", user_id=user, name=name, domain=domain, is_verified=True), user

    def integration(self, site: tuple[str, str], provider: str, *, active: bool = True, **more: Any) -> str:
        key = self.v.token(24)
        return self._add(
            "integrations",
            website_id=site[0],
            user_id=site[1],
            provider=provider,
            name=more.pop("name", f"{provider.strip().title()} account"),
            # Easy to search for in anything the tool prints or writes: these must appear nowhere.
            credentials={"api_key": f"demo-secret-{key}", "webhook_secret": f"demo-secret-hook-{key[:8]}"},
            settings={"sync": "webhook"},
            is_active=active,
            **more,
        )

    def connector(self, site: tuple[str, str], kind: str, *, status: str = "active", **more: Any) -> str:
        return self._add(
            "integration_connectors",
            website_id=site[0],
            user_id=site[1],
            integration_type=kind,
            name=f"{kind.title()} connector",
            config={"secret": f"demo-secret-{self.v.token(16)}"},
            status=status,
            **more,
        )

    def widget(
        self, site: tuple[str, str], integration: str, campaign: str | None = None, *, name: str = "Widget"
    ) -> str:
        return self._add(
            "widgets",
            website_id=site[0],
            user_id=site[1],
            campaign_id=campaign,
            name=name,
            integration=integration,
            status="active",
        )

    def campaign(self, site: tuple[str, str], name: str, **columns: Any) -> str:
        row = {
            "website_id": site[0],
            "user_id": site[1],
            "name": name,
            "description": None,
            "status": self.v.pick(("active", "active", "paused", "draft", "completed")),
            "campaign_type": "notification",
            "data_source": None,
            "integration_settings": {},
            # The old wizard stored an empty message_template for every campaign: it says nothing.
            "native_config": {"message_template": ""},
            "template_id": None,
            "data_sources": [],
        } | columns
        return self._add("campaigns", **row)


_SITES = (
    ("Example Goods", "shop.example.com"),
    ("Example Outdoor", "outdoor.example.com"),
    ("Pottery School", "pottery.example.org"),
    ("News of Example", "news.example.org"),
    ("Café Beispiel", "cafe.example.org"),
    ("SaaS Sample", "app.example.com"),
    ("Ünïcode & Söhne", "xn--ncode-jua4b.example.com"),
    ("<b>Bold</b> Ltd", "bold.example.org"),
)
_WIDGET_TYPES = ("shopify", "stripe", "announcements", "manual")


def build(builder: Builder) -> World:
    """Users, templates, flags and the eight websites that events belong to."""
    world = builder.world
    for user in _USERS:
        builder.user(*user)
    for provider, key, required, active in _TEMPLATES:
        builder._add(
            "templates",
            provider=provider,
            template_key=key,
            name=key.replace("_", " ").title(),
            html_template="<div>{{template.message}}</div>",
            required_fields=required,
            is_active=active,
        )
    for name, enabled, rollout in _FLAGS:
        builder._add("feature_flags", name=name, enabled=enabled, rollout_percentage=rollout, description="")

    for n, (name, domain) in enumerate(_SITES):
        site = builder.website(name, domain)
        # Case, spaces and synonyms as people typed them.
        integrations = {
            "shopify": builder.integration(site, ("shopify", " Shopify ", "SHOPIFY")[n % 3]),
            "stripe": builder.integration(site, ("stripe", "Stripe")[n % 2]),
        }
        # A service nobody has heard of, and one without a name.
        integrations["unknown"] = builder.integration(site, "AcmeCRM")
        integrations["blank"] = builder.integration(site, "  ", name="Nameless")
        if n % 3 == 0:
            integrations["ga4"] = builder.integration(site, "google_analytics")
        if n % 4 == 1:
            integrations["woocommerce"] = builder.integration(site, "woo-commerce", active=False)
        widgets = tuple(builder.widget(site, kind, name=f"{kind} widget") for kind in _WIDGET_TYPES)
        world.sites.append(Site(site[0], site[1], domain, widgets, integrations))
    return world
