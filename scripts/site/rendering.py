"""Pages as HTML: the templates, their filters, and links that work from a file and from a server."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

from jinja2 import BaseLoader, ChoiceLoader, Environment, FileSystemLoader, PackageLoader, StrictUndefined
from markupsafe import Markup

from scripts.csv_cells import plain
from scripts.survey import duration

#: Section, path and name of each entry of the navigation.
NAVIGATION = (
    ("overview", "index.html", "Overview"),
    ("events", "events.html", "Events"),
    ("campaigns", "campaigns.html", "Campaigns"),
    ("runs", "runs.html", "Runs"),
    ("validation", "validation.html", "Validation"),
    ("lineage", "lineage.html", "Lineage"),
    ("downloads", "downloads.html", "Downloads"),
)


@dataclass(frozen=True)
class Page:
    """A page to be made: `path` in the site, `template`, the section of the navigation, and the template's values."""

    path: str
    template: str
    section: str
    title: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Frame:
    """What stands around every page. `masked`: personal data is. `runs`: those that have pages; None: all of them."""

    database: str
    made_at: datetime
    masked: bool = True
    live: bool = False
    navigation: tuple[tuple[str, str, str], ...] = NAVIGATION
    runs: frozenset[UUID] | None = None


@dataclass(frozen=True)
class Links:
    """Links from one page of the site to another: relative, or (`absolute`, on a server) from its root."""

    path: str
    absolute: bool = False
    runs: frozenset[UUID] | None = None

    def to(self, path: str) -> str:
        """The link to a path of the site (with its fragment, if any)."""
        if self.absolute:
            return f"/{path}"
        return posixpath.relpath(path, posixpath.dirname(self.path) or ".")

    def static(self, name: str) -> str:
        """The link to a file of `static/`."""
        return self.to(f"static/{name}")

    def has_run(self, run_id: UUID | str) -> bool:
        """Whether a run has a page."""
        return self.runs is None or UUID(str(run_id)) in self.runs

    def run(self, run_id: UUID | str) -> str:
        """The link to a run's page."""
        return self.to(f"runs/{run_id}.html")


class Renderer:
    """Makes HTML of pages. `templates` names a folder whose `live/NAME` is taken in the place of NAME."""

    def __init__(self, frame: Frame, *, templates: Path | None = None) -> None:
        self._frame = frame
        self._environment = _environment(templates)

    def render(self, page: Page, **more: Any) -> str:
        """The page as HTML; `more` are values beside the page's own."""
        template = self._environment.select_template([f"live/{page.template}", page.template])
        links = Links(page.path, absolute=self._frame.live, runs=self._frame.runs)
        return template.render(page=page, frame=self._frame, links=links, **{**page.values, **more})


@cache
def _environment(templates: Path | None) -> Environment:
    """One for all pages of a process: it keeps the templates that it has read."""
    loaders: list[BaseLoader] = [PackageLoader("scripts.site", "templates")]
    if templates is not None:
        loaders.insert(0, FileSystemLoader(templates))
    environment = Environment(loader=ChoiceLoader(loaders), autoescape=True, undefined=StrictUndefined)
    environment.filters.update(FILTERS)
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "default": plain, "ensure_ascii": False}
    return environment


# ---------- filters


def number(value: Any) -> str:
    """A whole number with thousands apart; a dash for none."""
    return "–" if value is None else f"{value:,.0f}"


def many(value: int | None, noun: str, nouns: str = "") -> str:
    """A number with what is counted, in the singular or the plural (by default with an s)."""
    return f"{number(value)} {noun if value == 1 else nouns or f'{noun}s'}"


def percent(value: Any) -> str:
    """A share (0 to 1) in percent, rounded down: 100 % is all of them; a dash for none."""
    if value is None:
        return "–"
    thousandths = int(Decimal(str(value)) * 1000)
    return f"{thousandths // 10} %" if thousandths % 10 == 0 else f"{thousandths // 10}.{thousandths % 10} %"


def share(part: Any, whole: Any) -> Decimal | None:
    """A part of a whole, 0 to 1; None when there is nothing."""
    return Decimal(part or 0) / Decimal(whole) if whole else None


def time(value: datetime | None) -> Markup:
    """A time (UTC) to the minute, as a `time` element."""
    return _time(value, "%Y-%m-%d %H:%M")


def seconds_of_day(value: datetime | None) -> Markup:
    """A time (UTC) to the second, as a `time` element."""
    return _time(value, "%Y-%m-%d %H:%M:%S")


def _time(value: datetime | None, form: str) -> Markup:
    if value is None:
        return Markup("–")
    utc = value.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(utc.isoformat(timespec="seconds"), utc.strftime(form))


def span(value: float | None) -> str:
    """A time span in seconds, for people; below ten seconds with decimals."""
    if value is None:
        return "–"
    if value < 10:
        return f"{value:.2g} s" if value >= 0.1 else f"{value * 1000:.0f} ms"
    return duration(value)


def pager(pages: Sequence[str], number: int) -> list[tuple[int, str] | None]:
    """Number and path of the pages of a list that are linked from one of them: the first, the last, those around it,
    and None for each gap."""
    shown = [one for one in range(1, len(pages) + 1) if one in (1, len(pages)) or abs(one - number) <= 3]
    found: list[tuple[int, str] | None] = []
    for before, one in zip([0, *shown], shown, strict=False):
        if one - before > 1:
            found.append(None)
        found.append((one, pages[one - 1]))
    return found


def short(value: UUID | str | None) -> str:
    """The beginning of an id, which commands take as well."""
    return "–" if value is None else str(value)[:8]


def words(value: str) -> str:
    """A name of the database as words."""
    return value.replace("_", " ")


def epoch(value: datetime) -> float:
    """A time as seconds since 1970, which charts take."""
    return round(value.timestamp(), 3)


def pretty(value: Any) -> str:
    """A value as JSON over several lines."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=plain)


FILTERS = {
    "number": number,
    "many": many,
    "percent": percent,
    "share": share,
    "time": time,
    "seconds_of_day": seconds_of_day,
    "span": span,
    "pager": pager,
    "short": short,
    "words": words,
    "epoch": epoch,
    "pretty": pretty,
}
