"""Values as cells of a CSV file.

A text that begins with =, +, -, @ (also the wide ones of East Asia) or a control character gets an apostrophe before
it: a spreadsheet would take it for a formula, and such a text may be a stranger's.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")


def cell(value: Any) -> str:
    """Times in ISO 8601, objects and lists as JSON in one cell, nothing for null."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list, tuple)):
        return json.dumps(value, ensure_ascii=False, default=plain)
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    return str(value if isinstance(value, (int, float)) else plain(value))


def plain(value: Any) -> Any:
    """A value that JSON does not know, as one that it does: times in ISO 8601, ids as text, decimals as numbers."""
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return str(value)
