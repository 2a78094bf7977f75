"""Values for people to look at, without personal data."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

# Keys whose values say nothing about a person. The last part of a dotted key counts; `meta.` keys are the tool's own.
_PLAIN = frozenset(
    {
        "provider", "provider_event_type", "timestamp", "event_type", "currency", "price", "amount",
        "order_total", "product_price", "product_name", "plan_name", "quantity", "rating", "rating_stars",
        "verified", "priority", "time_ago", "visitor_count", "icon", "cta_text", "image_type", "status",
        "integration_id", "adapter_config", "filters", "legacy", "mode", "scope", "schedule_type", "min_rating",
        "limit",
    }
)  # fmt: skip
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_CONTACT = re.compile(rf"{_ID.pattern}|[^\s<>()@,;:]+@[^\s<>()@,;:]+|\+?\d[\d ().-]{{5,}}\d", re.IGNORECASE)
# Fewer digits are a count, a year, a price.
_DIGITS_OF_A_PERSON = 5
_LONGEST_TEXT = 60
_LONGEST_VALUE = 1_000
# Nobody reads deeper, and a hostile value is nested deeper than Python can follow.
_DEEPEST = 40


def masked(value: Any, key: str = "", depth: int = 0) -> Any:
    """A JSON value with its texts made unreadable where they may be personal: letters become x, digits 9.

    The shape stays visible (`Xxx Xxx`, `xxx@xxxxxxx.xxx`), of numbers with five digits or more too: one may be a
    telephone or a place on earth.
    Ids, true and false, and values under keys that are known to say nothing about a person, stay as they are; of other
    keys only addresses and long numbers are masked.
    """
    if isinstance(value, (dict, list)) and depth == _DEEPEST:
        return "…"
    if isinstance(value, dict):
        return {without_contacts(name): masked(inner, name, depth + 1) for name, inner in value.items()}
    if isinstance(value, list):
        return [masked(inner, key, depth + 1) for inner in value]
    if key.startswith("meta.") or key.rsplit(".", 1)[-1] in _PLAIN or isinstance(value, bool):
        return value
    if isinstance(value, int | float | Decimal):
        return _masked_number(value)
    if not isinstance(value, str):
        return value
    if _ID.fullmatch(value):
        return value
    return "".join(_mask(character) for character in value)


def without_contacts(text: str) -> str:
    """A label that people gave a thing, such as a campaign's name: readable, but for e-mail addresses and numbers
    long enough to be a telephone's or a card's."""

    def mask(match: re.Match[str]) -> str:
        found = match.group(0)
        if _ID.fullmatch(found) or ("@" not in found and sum(map(str.isdigit, found)) < 9):  # or a date
            return found
        return "".join(_mask(character) for character in found)

    return _CONTACT.sub(mask, text)


def shortened(value: Any, depth: int = 0) -> Any:
    """A JSON value with long texts and large inner objects cut, for a screen."""
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_TEXT else value[:_LONGEST_TEXT] + "…"
    if isinstance(value, (dict, list)) and depth and _is_long(value):
        return f"… {len(value)} {'keys' if isinstance(value, dict) else 'items'} …"
    if isinstance(value, dict):
        return {name: shortened(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, list):
        return [shortened(inner, depth + 1) for inner in value]
    return value


def _is_long(value: Any) -> bool:
    try:
        return len(json.dumps(value, default=str)) > _LONGEST_VALUE
    except RecursionError:
        return True


def _masked_number(value: float | Decimal) -> float | Decimal:
    text = str(value)
    if sum(map(str.isdigit, text)) < _DIGITS_OF_A_PERSON:
        return value
    return type(value)("".join(_mask(character) if character.isdigit() else character for character in text))


def _mask(character: str) -> str:
    if character.isdigit():
        return "9"
    if character.isalpha():
        return "X" if character.isupper() else "x"
    return character
