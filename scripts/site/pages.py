"""Which pages there are, and what each of them shows."""

from __future__ import annotations

import re
from collections.abc import Iterator

from scripts.site.reader import Reader
from scripts.site.rendering import Page

#: Runs on one page of the list.
RUNS_PER_PAGE = 500

_RUN = re.compile(r"runs/([0-9a-f-]{36})\.html")
_RUN_REPORT = re.compile(r"runs/([0-9a-f-]{36})-report\.html")
_RUN_LIST = re.compile(r"runs(?:-([2-9]|[1-9][0-9]+))?\.html")


def paths(reader: Reader) -> Iterator[str]:
    """The paths of all pages."""
    yield "index.html"
    yield from _numbered("runs", len(reader.runs), RUNS_PER_PAGE)
    for one in reader.runs:
        yield f"runs/{one.run_id}.html"
        yield f"runs/{one.run_id}-report.html"


def find(reader: Reader, path: str) -> Page | None:
    """The page of a path; None when there is none."""
    if path == "index.html":
        return _overview(reader, path)
    if found := _RUN_LIST.fullmatch(path):
        return _run_list(reader, path, int(found[1] or 1))
    if found := _RUN.fullmatch(path):
        return _run(reader, path, found[1], "run.html")
    if found := _RUN_REPORT.fullmatch(path):
        return _run(reader, path, found[1], "report.html")
    return None


def _overview(reader: Reader, path: str) -> Page:
    return Page(
        path, "overview.html", "overview", "Overview",
        {"status": reader.status, "checklist": reader.checklist, "progress": reader.progress},
    )  # fmt: skip


def _run_list(reader: Reader, path: str, number: int) -> Page | None:
    pages = list(_numbered("runs", len(reader.runs), RUNS_PER_PAGE))
    if number > len(pages):
        return None
    shown = reader.runs[(number - 1) * RUNS_PER_PAGE : number * RUNS_PER_PAGE]
    return Page(
        path, "runs.html", "runs", "Runs", {"runs": shown, "total": len(reader.runs), "pages": pages, "number": number}
    )


def _run(reader: Reader, path: str, run_id: str, template: str) -> Page | None:
    found = reader.run(run_id)
    if found is None:
        return None
    title = f"{found.run.command} {found.run.kind.replace('_', ' ')} {run_id[:8]}"
    return Page(path, template, "runs", title, {"detail": found, "run": found.run})


def _numbered(name: str, count: int, size: int) -> Iterator[str]:
    """NAME.html, NAME-2.html, ... for so many things."""
    yield f"{name}.html"
    for number in range(2, -(-count // size) + 1):
        yield f"{name}-{number}.html"
