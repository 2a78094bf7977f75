"""What the payloads share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scripts.demo.values import Values

Json = dict[str, Any]
MakePayload = Callable[[Values], Json]


def major(cents: int) -> str:
    """Major units with two decimals, as shops write them."""
    return f"{cents // 100}.{cents % 100:02d}"
