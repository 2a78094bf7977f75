"""Native and polled writers: announcements (they dominate any real table), forms, GA4, the wizard, CSV uploads."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from scripts.demo.shape import Columns, Shapes
from scripts.demo.values import Values

shapes = Shapes()

_ANNOUNCEMENTS = (
    ("Summer sale", "Everything 20% off until Sunday", "Shop now", "/sale", "icon", "", "📢"),
    ("Launch day", "Version 2 is out", "Read more", "https://blog.example.com/v2", "emoji", "🚀", ""),
    ("Save {{discount}} today", "Use code {{code}} at checkout", "", "", "icon", "", "🎁"),
    ("Holiday hours", "We are closed on 24 December", "", "", "icon", "", "📢"),
    ("Nouvelle boutique à Lyon", "Venez nous voir !", "Itinéraire", "https://shop.example.org/lyon", "image", "", ""),
)


def _announcement(v: Values) -> dict[str, Any]:
    title, message, cta_text, cta_url, image_type, emoji, icon = v.pick(_ANNOUNCEMENTS)
    return {
        "title": title,
        "message": message,
        "cta_text": cta_text,
        "cta_url": cta_url,
        "image_type": image_type,
        "emoji": emoji,
        "icon": icon,
        "image_url": "https://cdn.example.com/lyon.jpg" if image_type == "image" else "",
        "priority": v.pick((5, 5, 5, 5, 1, 10)),
        "variables": {"discount": "20%"} if "{{" in title else {},
    }


@shapes("process-announcements", "process-announcements", "announcements", "event_rule", weight=230)
def process_announcements(v: Values) -> Columns:
    # An instant campaign gets a new, identical row every five minutes. user_name is the title, not a person.
    data = _announcement(v)
    return {
        "event_type": "announcement",
        "source": "manual",
        "status": "approved",
        "user_name": data["title"],
        "user_location": "",
        "message_template": data["title"],
        "event_data": data,
        "expires_at": v.created + timedelta(days=7) if v.chance(0.2) else None,
    }


@shapes("process-announcements-untitled", "process-announcements", "announcements", "event_rule", weight=4)
def process_announcements_untitled(v: Values) -> Columns:
    row = process_announcements(v)
    row["event_data"] |= {"title": "", "cta_text": "", "cta_url": ""}
    return {**row, "user_name": "Announcement", "message_template": "Announcement"}


@shapes("process-announcements-schedule-only", "process-announcements", "announcements", "event_rule", weight=4)
def process_announcements_schedule_only(v: Values) -> Columns:
    # The loop runs over all campaigns, so one that only has a schedule_type gets rows without any words.
    row = process_announcements(v)
    row["event_data"] |= {"title": "", "message": "", "cta_text": "", "cta_url": "", "icon": "📢"}
    return {**row, "user_name": "Announcement", "message_template": "Announcement"}


@shapes("review-activate", "ReviewActivate", "announcements", "event_rule", weight=10)
def review_activate(v: Values) -> Columns:
    data = _announcement(v)
    del data["variables"]
    data |= {"image_type": "emoji", "emoji": "🎉", "schedule_type": "instant", "priority": 5}
    for key in ("cta_text", "cta_url"):
        if not data[key]:
            del data[key]
    return {
        "event_type": "announcement",
        "source": "manual",
        "status": "approved",
        "message_template": data["title"],
        "event_data": data,
    }


@shapes("review-activate-2025-11-11", "ReviewActivate", "announcements", "event_rule", old=True, weight=5)
def review_activate_older(v: Values) -> Columns:
    full = _announcement(v)
    data = {key: full[key] for key in ("title", "message", "cta_text", "cta_url")}
    data |= {"schedule_type": "instant", "priority": 5}
    return {
        "event_type": "announcement",
        "source": "manual",
        "status": "approved",
        "message_template": f"{data['title']} - {data['message']}",
        "event_data": data,
    }


@shapes("review-activate-demo", "ReviewActivate demo", "manual", "fallback", weight=4)
def review_activate_demo(v: Values) -> Columns:
    place, product = v.place(), v.product()
    sentence, where = v.pick(
        (
            (f"Someone from {place.city} just bought {product.title}", place.city),
            # The place is what stands between "from " and " just", and where there is no "just", the rest.
            (
                f"A visitor from {place.city} is looking at {product.title}",
                f"{place.city} is looking at {product.title}",
            ),
            (f"Someone signed up for {product.title}", "United States"),
        )
    )
    return {
        "event_type": v.pick(("purchase", "conversion")),
        "source": "demo",
        "status": "approved",
        "user_name": sentence.split()[0],
        "user_location": where,
        "message_template": sentence,
        "event_data": {"demo": True},
    }


# ---------- track-form


def _form(v: Values, fields: dict[str, Any], **columns: Any) -> Columns:
    status = v.pick(("approved", "pending"))
    page = f"{v.site.url}/contact"
    return {
        "event_type": "form_submission",
        "source": "tracking",  # sent as instant_form, which the enum lacks
        "status": status,
        "moderation_status": status,
        "page_url": page,
        # widget_id was the campaign's id, which breaks the foreign key: the repair left it out.
        "widget": None,
        "event_data": {**fields, "page_url": page, "auto_detected": True},
        **columns,
    }


@shapes("track-form", "track-form", "instant_capture", "event_rule", weight=16)
def track_form(v: Values) -> Columns:
    person, place = v.person(), v.place()
    return _form(
        v,
        {"name": person.name, "email": person.email, "city": place.city, "message": "Please call me back"},
        user_name=person.name,
        user_location=place.city,
        message_template=f"{person.name} just submitted a form",
    )


@shapes("track-form-template", "track-form", "instant_capture", "event_rule", weight=4)
def track_form_template(v: Values) -> Columns:
    person = v.person()
    return _form(
        v,
        {"full_name": person.name, "plan": "team", "state": v.place().region},
        user_name=person.name,
        user_location="Unknown",
        message_template=f"{person.name} chose the team plan",
    )


@shapes("track-form-nameless", "track-form", "instant_capture", "event_rule", weight=4)
def track_form_nameless(v: Values) -> Columns:
    return _form(
        v,
        {"newsletter": "yes", "comment": "x" * 500},
        user_name=None,
        user_location="Unknown",
        message_template="Someone just submitted a form",
    )


@shapes("track-form-own-keys", "track-form", "instant_capture", "event_rule")
def track_form_own_keys(v: Values) -> Columns:
    # A field of the form may be named like one of ours.
    return _form(
        v,
        {"first_name": v.person().first, "action": "booked a table", "visitor_count": "4", "message": "For two"},
        user_name=None,
        user_location=None,
        message_template=None,
    )


# ---------- sync-ga4: a day's aggregate, not one visitor


def _ga4(v: Values, sent: str, name: str, event_type: str) -> Columns:
    place = v.place()
    path = v.pick(("/", "/pricing", "/blog/slow-software", "/checkout/thanks"))
    seen = name == "page_view"
    count = v.integer(1, 4000)
    return {
        "event_type": event_type,
        "source": "connector",
        "integration_type": sent,
        "status": "approved",
        "user_location": v.pick((f"{place.city}, {place.country}", "Unknown")),
        "page_url": path,
        "message_template": f"{v.person().first} from {place.city} is viewing {path}",
        "event_data": {
            "ga4_event_name": name,
            "event_count": count,
            "source": "ga4",
            "product_name": "Pricing" if seen else None,  # a page
            "product_url": f"https://{v.site.id}{path}" if seen else None,  # the host is the website's id
        },
    }


@shapes("sync-ga4-page-view", "sync-ga4", "ga4", "integration_type", weight=14)
def sync_ga4_page_view(v: Values) -> Columns:
    return _ga4(v, "ga4", "page_view", "visitor")


@shapes("sync-ga4-purchase", "sync-ga4", "ga4", "integration_type", weight=3)
def sync_ga4_purchase(v: Values) -> Columns:
    return _ga4(v, "ga4", "purchase", "purchase")


@shapes("sync-ga4-engagement", "sync-ga4", "ga4", "integration_type", weight=3)
def sync_ga4_engagement(v: Values) -> Columns:
    return _ga4(v, "ga4", "user_engagement", "engagement")


@shapes("sync-ga4-repaired", "sync-ga4", "ga4", "payload_signature", weight=3)
def sync_ga4_repaired(v: Values) -> Columns:
    return _ga4(v, "manual", "sign_up", "conversion")


# ---------- CSVUploadDialog: every column of the file as text


def _csv(v: Values, fields: dict[str, Any], **columns: Any) -> Columns:
    return {
        "event_type": "manual_upload",
        "source": "manual",
        "event_data": {**fields, "imported_from": "csv"},
        **columns,
    }


@shapes("csv-upload", "CSVUploadDialog", "manual", "fallback", weight=8)
def csv_upload(v: Values) -> Columns:
    person, place, product = v.person(), v.place(), v.product()
    columns = {
        "message_template": f"{person.name} bought {product.title}",
        "user_name": person.name,
        "user_location": f"{place.city}, {place.country}",
    }
    return _csv(v, {**columns, "product_name": product.title, "amount": f"${product.price}"}, **columns)


@shapes("csv-upload-purchase", "CSVUploadDialog", "manual", "fallback", weight=3)
def csv_upload_purchase(v: Values) -> Columns:
    name = v.person().name
    return _csv(
        v,
        {"user_name": name, "event_type": "purchase", "amount": "EUR 12.00", "rating": "4"},
        event_type="purchase",
        user_name=name,
    )


@shapes("csv-upload-surplus", "CSVUploadDialog", "manual", "fallback")
def csv_upload_surplus(v: Values) -> Columns:
    # More cells than headings, and a heading without a name.
    return _csv(v, {"message_template": "", "user_name": " ", "": "?", "__parsed_extra": ["a", "b", ""]}, user_name=" ")
