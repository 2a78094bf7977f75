"""Which pages there are, and what each of them shows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import groupby
from typing import Any

from scripts import evidence
from scripts.evidence import Evidence
from scripts.site import downloads
from scripts.site.checklist import DONE
from scripts.site.events import heat_map
from scripts.site.reader import Reader
from scripts.site.rendering import Page
from scripts.site.runs import command, seconds
from scripts.status import AFTERWARDS

#: Rows on one page of a list.
RUNS_PER_PAGE = 500
SETTLED_PER_PAGE = 500
AMBIGUOUS_PER_PAGE = 25
#: A provider is whatever an integration says that it is: so many are shown, those with most events.
PROVIDERS = 100

_RUN = re.compile(r"runs/([0-9a-f-]{36})\.html")
_RUN_REPORT = re.compile(r"runs/([0-9a-f-]{36})-report\.html")
_LIST = re.compile(r"(runs|campaigns|campaigns-settled)(?:-([2-9]|[1-9][0-9]+))?\.html")


def paths(reader: Reader) -> Iterator[str]:
    """The paths of all pages that are written as files."""
    yield from _SINGLE
    yield from _numbered("campaigns", len(reader.ambiguous[0]), AMBIGUOUS_PER_PAGE)
    yield from _numbered("campaigns-settled", len(reader.settled.rows), SETTLED_PER_PAGE)
    yield from _numbered("runs", len(reader.runs), RUNS_PER_PAGE)
    for one in reader.runs:
        if one.run_id in reader.runs_with_pages:
            yield f"runs/{one.run_id}.html"
            yield f"runs/{one.run_id}-report.html"


def find(reader: Reader, path: str) -> Page | None:
    """The page of a path; None when there is none."""
    if path in _SINGLE:
        return _SINGLE[path](reader, path)
    if found := _LIST.fullmatch(path):
        return _LISTS[found[1]](reader, path, int(found[2] or 1))
    if found := _RUN.fullmatch(path):
        return _run(reader, path, found[1], "run.html")
    if found := _RUN_REPORT.fullmatch(path):
        return _run(reader, path, found[1], "report.html")
    return None


# ---------- pages of their own


def _overview(reader: Reader, path: str) -> Page:
    values = {
        "status": reader.status,
        "checklist": reader.checklist,
        "progress": reader.progress,
        "next_steps": _next(reader),
    }
    return Page(path, "overview.html", "overview", "Overview", values)


def _next(reader: Reader) -> list[str]:
    """What to do next; once nothing is pending, what is left of the checklist."""
    steps = reader.status.next_steps
    if steps != AFTERWARDS:
        return steps
    left = [f"{one.title}: {one.sentence}" for one in reader.checklist if one.state != DONE]
    return left or ["Everything is done. When it is over, `migrate teardown` removes the models."]


def _events(reader: Reader, path: str) -> Page:
    found = reader.event_facts
    providers = groupby(found.providers.rows, key=lambda row: row["provider"])
    by_provider = [(name, list(rows)) for name, rows in providers]
    by_provider.sort(key=lambda pair: -sum(row["events"] for row in pair[1]))
    return Page(
        path,
        "events.html",
        "events",
        "Events",
        {
            "found": found,
            "providers": by_provider[:PROVIDERS],
            "providers_left_out": len(by_provider) - len(by_provider[:PROVIDERS]),
            "heat": heat_map(found.coverage.rows),
            "changed_since": _changed_since(reader),
        },
    )


def _changed_since(reader: Reader) -> bool:
    """Whether runs wrote since the reports about events were begun."""
    began = reader.event_facts.began_at
    writes = [one.last_batch_at for one in reader.runs if one.kind != "dry_run" and one.succeeded]
    return began is not None and any(at is not None and at > began for at in writes)


def _validation(reader: Reader, path: str) -> Page:
    validations = [one for one in reader.evidence if one.kind == evidence.VALIDATION]
    return Page(
        path,
        "validation.html",
        "validation",
        "Validation",
        {
            "last": validations[0] if validations else None,
            "recorded": reader.evidence[:50],
            "has_data_docs": reader.data_docs is not None,
            "data_docs_made_at": reader.data_docs_made_at,
            "data_docs_are_older": _are_older(reader, validations[0] if validations else None),
        },
    )


def _are_older(reader: Reader, last: Evidence | None) -> bool:
    """Whether the Data Docs are of a validation before the last one, which put its pages elsewhere."""
    made_at = reader.data_docs_made_at
    return last is not None and made_at is not None and last.recorded_at - made_at > timedelta(minutes=5)


def _lineage(reader: Reader, path: str) -> Page:
    return Page(
        path,
        "lineage.html",
        "lineage",
        "Lineage",
        {"models": reader.models, "has_dbt_page": reader.dbt_page is not None},
    )


def _downloads(reader: Reader, path: str) -> Page:
    return Page(path, "downloads.html", "downloads", "Downloads", {"tables": downloads.TABLES})


_SINGLE: dict[str, Callable[[Reader, str], Page]] = {
    "index.html": _overview,
    "events.html": _events,
    "validation.html": _validation,
    "lineage.html": _lineage,
    "downloads.html": _downloads,
}


# ---------- lists


def _ambiguous(reader: Reader, path: str, number: int) -> Page | None:
    found, problem = reader.ambiguous
    more = {"problem": problem, "settled": len(reader.settled.rows), "orphaned": reader.orphaned}
    return _list("campaigns", path, number, found, AMBIGUOUS_PER_PAGE, "Campaigns", more)


def _settled(reader: Reader, path: str, number: int) -> Page | None:
    more = {"problem": reader.settled.problem, "ambiguous": len(reader.ambiguous[0])}
    return _list("campaigns-settled", path, number, reader.settled.rows, SETTLED_PER_PAGE, "Settled campaigns", more)


def _runs(reader: Reader, path: str, number: int) -> Page | None:
    more = {"strangers": reader.strangers, "seconds": seconds}
    return _list("runs", path, number, reader.runs, RUNS_PER_PAGE, "Runs", more)


_LISTS = {"runs": _runs, "campaigns": _ambiguous, "campaigns-settled": _settled}


def _list(
    name: str, path: str, number: int, rows: Sequence[Any], size: int, title: str, more: dict[str, Any]
) -> Page | None:
    """One page of a list: its rows, the paths of all its pages, and its own number among them."""
    pages = list(_numbered(name, len(rows), size))
    if number > len(pages):
        return None
    shown = rows[(number - 1) * size : number * size]
    values = {"rows": shown, "total": len(rows), "pages": pages, "number": number, **more}
    return Page(path, f"{name}.html", name.partition("-")[0], title, values)


def _run(reader: Reader, path: str, run_id: str, template: str) -> Page | None:
    found = reader.run(run_id)
    if found is None:
        return None
    title = f"{found.run.command} {found.run.kind.replace('_', ' ')} {run_id[:8]}"
    return Page(path, template, "runs", title, {"detail": found, "run": found.run, "command": command(found.run)})


def _numbered(name: str, count: int, size: int) -> Iterator[str]:
    """NAME.html, NAME-2.html, ... for so many things."""
    yield f"{name}.html"
    for number in range(2, -(-count // size) + 1):
        yield f"{name}-{number}.html"
