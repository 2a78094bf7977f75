"""The documentation of macros, made from the comment above each: run this file after a macro has changed."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTATION = ROOT / "macros" / "_macros.yml"
_MACRO = re.compile(
    r"(?:\{#-?(?P<header>(?:(?!#\}).)*?)-?#\}\s*)?\{%-? *(?:macro (?P<name>\w+)\((?P<arguments>.*?)\)"
    r"|materialization (?P<kind>\w+), adapter='(?P<adapter>\w+)') *-?%\}",
    re.S,
)
_WORD = re.compile(r"^    (\w+): +", re.M)


@dataclass(frozen=True)
class Macro:
    """A macro of the project: where it is, what the comment above it says, and the names of its arguments."""

    file: str
    name: str
    header: str
    arguments: tuple[str, ...]

    @property
    def implements(self) -> str | None:
        """The macro that dispatches to this one, for one adapter's form of it."""
        adapter, _, name = self.name.partition("__")
        return name if adapter in ("postgres", "default") and name else None

    @property
    def parts(self) -> dict[str, str]:
        """What the header says, by its words: Purpose, Input, Output and others."""
        texts = _WORD.split(self.header)
        return {word: " ".join(text.split()) for word, text in zip(texts[1::2], texts[2::2], strict=True)}

    @property
    def description(self) -> str:
        """One paragraph."""
        if self.implements:
            return f"`{self.implements}` as this adapter's database does it."
        purpose = self.parts.get("Purpose", "")
        others = [f"{word}: {text}" for word, text in self.parts.items() if word != "Purpose"]
        return " ".join([purpose[:1].upper() + purpose[1:], *others])


def macros() -> Iterator[Macro]:
    """Every macro of the project, in the order of files."""
    for path in sorted((ROOT / "macros").rglob("*.sql")):
        for found in _MACRO.finditer(path.read_text(encoding="utf-8")):
            name = found["name"] or f"materialization_{found['kind']}_{found['adapter']}"  # as dbt calls it
            yield Macro(str(path.relative_to(ROOT)), name, found["header"] or "", _names(found["arguments"] or ""))


def _names(arguments: str) -> tuple[str, ...]:
    """The names in an argument list; defaults may hold commas within brackets."""
    while (shorter := re.sub(r"\[[^][]*\]|\{[^}{]*\}|\([^)(]*\)", "", arguments)) != arguments:
        arguments = shorter
    return tuple(part.split("=")[0].strip() for part in arguments.split(",") if part.strip())


def documentation() -> str:
    """The text of macros/_macros.yml."""
    lines = [
        "# Made from the comments above the macros by tests/python/macro_docs.py; a test compares both.",
        "macros:",
    ]
    for macro in sorted(macros(), key=lambda macro: macro.name):
        lines += [f"    - name: {macro.name}", "      description: >-"]
        lines += textwrap.wrap(macro.description, 120, initial_indent=" " * 10, subsequent_indent=" " * 10,
                               break_long_words=False, break_on_hyphens=False)  # fmt: skip
        if macro.implements:
            lines += ["      docs:", "          show: false"]
        if macro.arguments:
            lines += ["      arguments:", *(f"          - name: {name}" for name in macro.arguments)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    DOCUMENTATION.write_text(documentation(), encoding="utf-8")
