"""What a shape is: a name, the provider the contract gives it, and a function that makes its columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scripts.demo.values import Values

Columns = dict[str, Any]
Maker = Callable[[Values], Columns]


@dataclass(frozen=True)
class Shape:
    """One kind of row that some writer of the product stored.

    provider and resolved_by are what section 2 of the contract must answer for every row of the shape
    (None: the shape says nothing certain about it). weight is the share among the rows that repeat;
    0 means at most once per demo. old: the writer is gone, so its rows are mostly older ones.
    created: a fixed created_at ("infinity", None for NULL) instead of one on the time line; "" for the time line.
    """

    name: str
    writer: str
    provider: str | None
    resolved_by: str | None
    make: Maker
    weight: float = 1.0
    old: bool = False
    hostile: bool = False
    created: str | None = ""


class Shapes:
    """Collects the shapes of one module, in the order they are written there."""

    def __init__(self, *, old: bool = False, hostile: bool = False, weight: float = 1.0) -> None:
        self.all: list[Shape] = []
        self._old, self._hostile, self._weight = old, hostile, weight

    def add(
        self,
        name: str,
        writer: str,
        provider: str | None,
        resolved_by: str | None,
        make: Maker,
        *,
        weight: float | None = None,
        old: bool | None = None,
        created: str | None = "",
    ) -> None:
        self.all.append(
            Shape(
                name,
                writer,
                provider,
                resolved_by,
                make,
                weight=self._weight if weight is None else weight,
                old=self._old if old is None else old,
                hostile=self._hostile,
                created=created,
            )
        )

    def __call__(
        self,
        name: str,
        writer: str,
        provider: str | None,
        resolved_by: str | None,
        *,
        weight: float | None = None,
        old: bool | None = None,
        created: str | None = "",
    ) -> Callable[[Maker], Maker]:
        def keep(make: Maker) -> Maker:
            self.add(name, writer, provider, resolved_by, make, weight=weight, old=old, created=created)
            return make

        return keep
