"""Campaigns of every case: each rule that finds a provider, each reason why none or no integration can be chosen,
each malformed data_sources, and what is migrated already. Every case has a website of its own, so that one case's
integrations cannot decide another's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scripts.demo.shape import Columns
from scripts.demo.values import RawJson
from scripts.demo.world import Builder

Website = tuple[str, str]  # its id, its owner's


@dataclass(frozen=True)
class Campaign:
    """What must become of a campaign.

    outcome: 'resolved' (data_sources is written), 'ambiguous' (never written, listed with `reason`) or 'migrated'
    (a valid value stays). integration_id: of a resolved one, None for a native provider without a single active
    integration. reason: the code in `ambiguous_campaigns`.
    """

    case: str
    id: str
    outcome: str
    provider: str | None = None
    integration_id: str | None = None
    reason: str | None = None


Evidence = list[tuple[str, Columns]]  # shape name, columns that place the event with the campaign
NO_DATA: Any = object()  # SQL NULL where None is "the default"


class Cases:
    """Adds campaigns with what must become of them."""

    def __init__(self, builder: Builder) -> None:
        self.b = builder
        self.known: list[Campaign] = []
        self.evidence: Evidence = []

    def site(self, case: str) -> Website:
        return self.b.website(f"Site of {case}", f"{case}.example.org")

    def campaign(self, site: Website, case: str, **columns: Any) -> str:
        columns = {key: None if value is NO_DATA else value for key, value in columns.items()}
        return self.b.campaign(site, columns.pop("name", f"Campaign: {case}"), **columns)

    def resolved(
        self, case: str, provider: str, integration: str | None, *, typed: str | None = None, **columns: Any
    ) -> str:
        """A campaign on a website of its own. integration: the provider as its one active integration has it."""
        site = self.site(case)
        integration_id = self.b.integration(site, integration) if integration else None
        campaign = self.campaign(site, case, **columns)
        if typed is not None:
            self.b.widget(site, typed, campaign)
        self.known.append(Campaign(case, campaign, "resolved", provider, integration_id))
        return campaign

    def ambiguous(
        self,
        case: str,
        reason: str,
        *,
        integrations: tuple[tuple[str, bool], ...] = (),
        widgets: tuple[str, ...] = (),
        connectors: tuple[tuple[str, str], ...] = (),
        **columns: Any,
    ) -> str:
        """integrations: (provider, active); widgets: their integration; connectors: (type, status)."""
        site = self.site(case)
        for n, (provider, active) in enumerate(integrations, 1):
            self.b.integration(site, provider, active=active, name=f"{provider.strip()} {n}")
        for kind, status in connectors:
            self.b.connector(site, kind, status=status)
        campaign = self.campaign(site, case, **columns)
        for word in widgets:
            self.b.widget(site, word, campaign)
        self.known.append(Campaign(case, campaign, "ambiguous", reason=reason))
        return campaign

    def malformed(self, case: str, reason: str, value: Callable[[str], Any]) -> None:
        """data_sources = value(id of the website's active shopify integration); data_source would say shopify."""
        site = self.site(case)
        integration = self.b.integration(site, "shopify")
        self._keep_malformed(case, reason, site, value(integration))

    def _keep_malformed(self, case: str, reason: str, site: Website, data_sources: Any) -> None:
        campaign = self.campaign(site, case, data_source="shopify", data_sources=data_sources)
        self.known.append(Campaign(case, campaign, "ambiguous", reason=reason))

    def migrated(self, case: str, value: Callable[[Website], Any], **columns: Any) -> None:
        site = self.site(case)
        campaign = self.campaign(site, case, data_sources=value(site), **columns)
        self.known.append(Campaign(case, campaign, "migrated"))


def build(builder: Builder) -> tuple[list[Campaign], Evidence]:
    """Add the campaigns; returns what must become of each, and the events that some of them need as evidence."""
    cases = Cases(builder)
    for add in (_by_data_source, _by_legacy_element, _by_widgets, _by_description, _by_native_config, _settings):
        add(cases)
    for add in (_undecided, _integration_problems, _malformed, _already_migrated, _odd):
        add(cases)
    return cases.known, cases.evidence


def element(provider: Any, integration_id: Any = None, **more: Any) -> dict[str, Any]:
    """An element of data_sources as the contract wants it."""
    return {"integration_id": integration_id, "provider": provider, "filters": {}, "adapter_config": {}} | more


# ---------- rules 2 to 6, each finding a provider


def _by_data_source(c: Cases) -> None:
    c.resolved("data-source", "shopify", "shopify", data_source="shopify")
    c.resolved("data-source-null-column", "shopify", "shopify", data_source="shopify", data_sources=NO_DATA)
    c.resolved("data-source-json-null", "shopify", "shopify", data_source="shopify", data_sources=RawJson("null"))
    c.resolved("data-source-case", "stripe", "stripe", data_source=" Stripe ")
    c.resolved("data-source-synonym", "ga4", "ga4", data_source="google_analytics")
    c.resolved("integration-case", "woocommerce", " WooCommerce ", data_source="woocommerce")
    c.resolved("integration-synonym", "woocommerce", "woo-commerce", data_source="woocommerce")
    c.resolved("data-source-other-service", "typeform", "typeform", data_source="typeform")
    for word in ("announcements", "instant_capture", "live_visitors", "testimonials"):
        c.resolved(f"data-source-native-{word.replace('_', '-')}", word, None, data_source=word)
    c.resolved("native-one-integration", "testimonials", "testimonials", data_source="testimonials")

    site = c.site("native-two-integrations")
    c.b.integration(site, "testimonials", name="one")
    c.b.integration(site, "testimonials", name="two")
    campaign = c.campaign(site, "native-two-integrations", data_source="testimonials")
    c.known.append(Campaign("native-two-integrations", campaign, "resolved", "testimonials"))

    site = c.site("native-inactive-integration")
    c.b.integration(site, "announcements", active=False)
    campaign = c.campaign(site, "native-inactive-integration", data_source="announcements")
    c.known.append(Campaign("native-inactive-integration", campaign, "resolved", "announcements"))

    site = c.site("one-active-one-inactive")
    c.b.integration(site, "stripe", active=False, name="old account")
    active = c.b.integration(site, "stripe", name="new account")
    campaign = c.campaign(site, "one-active-one-inactive", data_source="stripe")
    c.known.append(Campaign("one-active-one-inactive", campaign, "resolved", "stripe", active))

    # The older table often has a row of the same id: it counts once.
    site = c.site("connector-of-same-id")
    same = c.b.integration(site, "shopify")
    c.b.connector(site, "shopify", id=same)
    campaign = c.campaign(site, "connector-of-same-id", data_source="shopify")
    c.known.append(Campaign("connector-of-same-id", campaign, "resolved", "shopify", same))

    # Words that answer nothing leave it to the next rule.
    for word in ("", "   ", "manual", "demo", "csv", "native", "MANUAL"):
        name = word.strip().lower() or ("blank" if word else "empty")
        name += "-upper" if word == "MANUAL" else ""
        c.resolved(f"data-source-{name}", "announcements", None, data_source=word, native_config={"title": "Sale"})


def _by_legacy_element(c: Cases) -> None:
    legacy = [{"provider": "shopify", "legacy": True}]
    c.resolved("legacy-element", "shopify", "shopify", data_sources=legacy)
    c.resolved("legacy-element-case", "shopify", "shopify", data_sources=[{"provider": " Shopify", "legacy": True}])
    c.resolved("legacy-element-agrees", "shopify", "shopify", data_sources=legacy, data_source="shopify")
    c.resolved(
        "legacy-element-native", "testimonials", None, data_sources=[{"provider": "testimonials", "legacy": True}]
    )
    c.resolved(
        "legacy-element-null-id",
        "shopify",
        "shopify",
        data_sources=[{"provider": "shopify", "legacy": True, "integration_id": None}],
    )
    c.resolved(
        "legacy-element-manual",
        "live_visitors",
        None,
        data_sources=[{"provider": "manual", "legacy": True}],
        native_config={"min_count": 3},
    )
    c.ambiguous(
        "legacy-element-disagrees",
        "rules_disagree",
        data_sources=legacy,
        data_source="stripe",
        integrations=(("shopify", True), ("stripe", True)),
    )


def _by_widgets(c: Cases) -> None:
    c.resolved("widget", "shopify", "shopify", typed="shopify")
    c.resolved("widget-case", "stripe", "stripe", typed=" Stripe ")
    c.resolved("widget-native", "announcements", None, typed="announcements")

    site = c.site("widgets-agree")
    shopify = c.b.integration(site, "shopify")
    campaign = c.campaign(site, "widgets-agree")
    for word in ("shopify", "Shopify", "shopify "):
        c.b.widget(site, word, campaign)
    c.known.append(Campaign("widgets-agree", campaign, "resolved", "shopify", shopify))

    site = c.site("widgets-disagree-data-source")
    stripe = c.b.integration(site, "stripe")
    campaign = c.campaign(site, "widgets-disagree-data-source", data_source="stripe")
    for word in ("stripe", "shopify"):
        c.b.widget(site, word, campaign)
    # Widgets that disagree answer nothing, so data_source stands alone.
    c.known.append(Campaign("widgets-disagree-data-source", campaign, "resolved", "stripe", stripe))


def _by_description(c: Cases) -> None:
    c.resolved("description", "shopify", "shopify", description="notification campaign - shopify")
    c.resolved("description-case", "woocommerce", "woocommerce", description="Social proof campaign - WooCommerce ")
    c.resolved("description-native", "testimonials", None, description="testimonial campaign - testimonials")


def _by_native_config(c: Cases) -> None:
    for name, provider, config in (
        ("form-id", "testimonials", {"formId": "frm_1"}),
        ("min-rating", "testimonials", {"minRating": 4, "onlyApproved": True}),
        ("testimonial-filters", "testimonials", {"testimonial_filters": {"min_rating": 4}}),
        ("min-count", "live_visitors", {"min_count": 2, "mode": "real"}),
        ("update-interval", "live_visitors", {"update_interval_seconds": 30, "scope": "page"}),
        ("target-url", "instant_capture", {"target_url": "https://shop.example.com/contact"}),
        ("field-mappings", "instant_capture", {"field_mappings": {"name": "full_name"}}),
        ("title", "announcements", {"title": "Summer sale"}),
        ("message", "announcements", {"message": "20% off", "title": ""}),
        ("schedule-type", "announcements", {"schedule_type": "instant"}),
        ("recurrence", "announcements", {"recurrence": {"every": "week"}}),
        ("nested-announcement", "announcements", {"announcement": {"title": "Nested", "message": "Hi"}}),
    ):
        c.resolved(f"native-{name}", provider, None, native_config=config)


def _settings(c: Cases) -> None:
    c.resolved(
        "filters",
        "shopify",
        "shopify",
        data_source="shopify",
        integration_settings={
            "events": ["orders/create"],
            "max_age_hours": 48,
            "min_order_value": 20,
            "locale": "en",
            "message_template": "{{name}} bought {{product}}",
        },
    )
    c.resolved(
        "filters-testimonials",
        "testimonials",
        None,
        data_source="testimonials",
        integration_settings={"minRating": 4, "onlyVerified": True},
        native_config={"formId": "frm_2", "minRating": 4, "limit": 10, "onlyApproved": True, "locale": "en"},
    )
    c.resolved(
        "filters-malformed",
        "shopify",
        "shopify",
        data_source="shopify",
        integration_settings=["events", {"locale": "en"}],
        native_config=[1, 2],
    )
    c.resolved(
        "settings-null", "stripe", "stripe", data_source="stripe", integration_settings=NO_DATA, native_config=NO_DATA
    )
    c.resolved(
        "adapter-announcements",
        "announcements",
        None,
        data_source="announcements",
        native_config={
            "title": "Holiday hours",
            "message": "Closed on 24 December",
            "cta_text": "",
            "cta_url": "",
            "schedule_type": "scheduled",
            "start_date": "2025-12-20",
            "end_date": "",
            "priority": 5,
            "variables": {},
            "image_type": "emoji",
            "emoji": "🎄",
            "locale": "en",
            "message_template": "",
        },
    )
    c.resolved(
        "adapter-live-visitors",
        "live_visitors",
        None,
        data_source="live_visitors",
        native_config={
            "mode": "simulated",
            "min_count": 3,
            "max_count": 20,
            "variance_percent": 15,
            "target_pages": ["/"],
        },
    )
    c.resolved(
        "adapter-instant-capture",
        "instant_capture",
        None,
        data_source="instant_capture",
        native_config={
            "target_url": "https://shop.example.com/contact",
            "auto_detect": True,
            "require_moderation": False,
            "message_template": "{{name}} asked for a quote",
        },
    )


# ---------- no provider, or two


def _undecided(c: Cases) -> None:
    c.ambiguous("no-clue", "no_clue")
    c.ambiguous("no-clue-null-config", "no_clue", native_config=NO_DATA, integration_settings=NO_DATA)
    c.ambiguous("no-clue-empty-title", "no_clue", native_config={"title": "", "message": "  "})
    c.ambiguous(
        "no-clue-looks-only",
        "no_clue",
        native_config={
            "image_type": "emoji",
            "emoji": "📢",
            "icon": "x",
            "locale": "en",
            "actions": [],
            "schedule": {},
        },
    )
    c.ambiguous("no-clue-manual-widget", "no_clue", widgets=("manual",))
    c.ambiguous("no-clue-description", "no_clue", description="Black Friday - 20% off everything")
    c.ambiguous("no-clue-config-text", "no_clue", native_config="title")
    c.ambiguous("native-two-kinds", "native_config_of_two_kinds", native_config={"formId": "f", "target_url": "/x"})
    c.ambiguous(
        "native-announcement-and-form",
        "native_config_of_two_kinds",
        native_config={"title": "Sale", "field_mappings": {"name": "n"}},
    )
    both = (("shopify", True), ("stripe", True))
    c.ambiguous("widgets-disagree", "widgets_disagree", widgets=("shopify", "stripe"), integrations=both)
    c.ambiguous(
        "widget-against-data-source", "rules_disagree", data_source="shopify", widgets=("stripe",), integrations=both
    )
    c.ambiguous(
        "description-against-data-source",
        "rules_disagree",
        data_source="shopify",
        description="notification campaign - stripe",
        integrations=both,
    )
    c.ambiguous(
        "native-config-against-data-source",
        "rules_disagree",
        data_source="stripe",
        native_config={"title": "Sale", "schedule_type": "instant"},
        integrations=(("stripe", True),),
    )
    c.ambiguous(
        "description-against-widget",
        "rules_disagree",
        description="notification campaign - woocommerce",
        widgets=("shopify",),
        integrations=(("shopify", True),),
    )
    _evidence(c)


def _evidence(c: Cases) -> None:
    """No rule answers, but the campaign's own events come from somewhere: that only suggests."""
    for case, by in (
        (
            "evidence-one-provider",
            ("webhook-shopify", "webhook-shopify", "webhook-shopify-repaired", "raw-shopify-order"),
        ),
        ("evidence-two-providers", ("webhook-stripe", "webhook-woocommerce")),
    ):
        site = c.site(case)
        c.b.integration(site, "shopify")
        campaign = c.campaign(site, case)
        widget = c.b.widget(site, "manual", campaign)
        c.known.append(Campaign(case, campaign, "ambiguous", reason="no_clue"))
        c.evidence += [(name, {"website_id": site[0], "widget": widget}) for name in by]


# ---------- a provider, but no single integration


def _integration_problems(c: Cases) -> None:
    c.ambiguous(
        "several-active",
        "several_active_integrations",
        data_source="shopify",
        integrations=(("shopify", True), (" Shopify", True), ("shopify", False)),
    )
    c.ambiguous("only-inactive", "only_inactive_integrations", data_source="stripe", integrations=(("stripe", False),))
    c.ambiguous("only-elsewhere", "only_on_other_website", data_source="stripe")
    c.ambiguous("only-a-connector", "only_a_connector", data_source="calendly", connectors=(("calendly", "active"),))
    c.ambiguous(
        "only-an-inactive-connector", "only_a_connector", data_source="zapier", connectors=(("zapier", "disabled"),)
    )
    c.ambiguous("no-integration", "no_integration", data_source="mailerexample")
    c.ambiguous("unknown-source", "no_integration", data_source="<script>alert(1)</script>")
    campaign = c.b.campaign(("", c.b.world.users[0]), "Campaign: no-website", website_id=None, data_source="shopify")
    c.known.append(Campaign("no-website", campaign, "ambiguous", reason="campaign_without_website"))


# ---------- a value that is there, and malformed


def _malformed(c: Cases) -> None:
    c.malformed("malformed-object", "not_an_array", lambda i: element("shopify", i))
    c.malformed("malformed-empty-object", "not_an_array", lambda i: {})
    c.malformed("malformed-text", "not_an_array", lambda i: "shopify")
    c.malformed("malformed-number", "not_an_array", lambda i: 7)
    c.malformed("malformed-boolean", "not_an_array", lambda i: False)
    c.malformed("malformed-array-as-text", "not_an_array", lambda i: '[{"provider": "shopify"}]')
    c.malformed("malformed-element-text", "element_not_object", lambda i: ["shopify"])
    c.malformed("malformed-element-null", "element_not_object", lambda i: [None])
    c.malformed("malformed-element-array", "element_not_object", lambda i: [[element("shopify", i)]])
    c.malformed("malformed-element-beside-good", "element_not_object", lambda i: [element("shopify", i), 1])
    c.malformed("malformed-no-provider", "provider_blank", lambda i: [{"integration_id": i}])
    c.malformed("malformed-empty-element", "provider_blank", lambda i: [{}])
    c.malformed("malformed-blank-provider", "provider_blank", lambda i: [element("  ", i)])
    c.malformed("malformed-provider-number", "provider_blank", lambda i: [element(5, i)])
    c.malformed("malformed-blank-legacy", "provider_blank", lambda i: [{"provider": "", "legacy": True}])
    c.malformed("malformed-id-text", "integration_id_not_uuid", lambda i: [element("shopify", "shop-1")])
    c.malformed("malformed-id-number", "integration_id_not_uuid", lambda i: [element("shopify", 12)])
    c.malformed("malformed-id-blank", "integration_id_not_uuid", lambda i: [element("shopify", "")])
    c.malformed("malformed-id-unknown", "integration_not_found", lambda i: [element("shopify", c.b.v.uuid())])
    c.malformed("malformed-duplicate", "duplicate_element", lambda i: [element("shopify", i), element("shopify", i)])
    c.malformed("malformed-no-id", "integration_id_missing", lambda i: [element("shopify")])
    c.malformed(
        "malformed-legacy-as-text", "integration_id_missing", lambda i: [{"provider": "shopify", "legacy": "true"}]
    )
    c.malformed(
        "malformed-legacy-false", "integration_id_missing", lambda i: [{"provider": "shopify", "legacy": False}]
    )
    c.malformed("malformed-provider-case", "provider_not_lower_case", lambda i: [element("Shopify", i)])

    other = c.b.integration(c.site("malformed-id-elsewhere-owner"), "shopify")
    c.malformed("malformed-id-elsewhere", "integration_of_other_website", lambda i: [element("shopify", other)])

    site = c.site("malformed-second-source")
    shopify = c.b.integration(site, "shopify")
    c._keep_malformed(
        "malformed-second-source", "integration_id_missing", site, [element("shopify", shopify), element("stripe")]
    )


# ---------- migrated already


def _already_migrated(c: Cases) -> None:
    c.migrated("migrated", lambda s: [element("shopify", c.b.integration(s, "shopify"))], data_source="shopify")
    c.migrated("migrated-native", lambda s: [element("announcements", adapter_config={"title": "Sale"})])
    c.migrated(
        "migrated-two-sources",
        lambda s: [element("shopify", c.b.integration(s, "shopify")), element("testimonials")],
    )
    # A valid value stays, whatever the legacy column says.
    c.migrated(
        "migrated-against-data-source",
        lambda s: [element("stripe", c.b.integration(s, "stripe"))],
        data_source="shopify",
    )


# ---------- odd but decidable


def _odd(c: Cases) -> None:
    c.resolved("name-script", "shopify", "shopify", name="<script>alert('campaign')</script>", data_source="shopify")
    c.resolved(
        "name-unicode", "stripe", "stripe", name="\u202eكتب\u200b \u00a0Z\u0351\u036b\u0343a🏳️‍🌈", data_source="stripe"
    )
    c.resolved(
        "large-config",
        "announcements",
        None,
        data_source="announcements",
        native_config={"title": "Long", "variables": {f"key{n}": "x" * 100 for n in range(500)}},
    )
