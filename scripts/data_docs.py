"""The Data Docs site: the pages of Great Expectations made readable offline, and an index that says how it stands.

The pages load styles and scripts from several servers by default. What they need of those is in data_docs_assets,
a page each of style and script; everything else that points elsewhere is taken out.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable
from datetime import datetime
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.errors import UserError

if TYPE_CHECKING:
    from scripts.validation import Finding, Validation
    from scripts.validation_suites import Suite

ASSETS = ("style.css", "script.js")
_STATIC = "static"
_TITLE = "Canonical migration"
# A folder is ours to replace when it holds this.
_MARK = ".migrate-validate"
_STATES = ("ok", "failed", "warning", "note")


def check_folder(site: Path) -> None:
    """Find out before the work that the site can be written. Raises UserError naming the option.

    A folder that holds anything but an earlier site is refused, for it would be replaced.
    """
    try:
        site.parent.mkdir(parents=True, exist_ok=True)
        if site.exists():
            if not site.is_dir():
                raise UserError(f"--output names {site}, which is a file. Name a folder.")
            if any(site.iterdir()) and not (site / _MARK).is_file():
                raise UserError(
                    f"--output names {site}, which holds files of somebody else. Name an empty or new folder: "
                    "the site replaces what is in it."
                )
        with tempfile.TemporaryFile(dir=site if site.exists() else site.parent):
            pass
    except OSError as error:
        raise UserError(f"--output names {site}, which cannot be written: {error.strerror}.") from None


def is_of(site: Path, database: str) -> bool:
    """Whether a folder holds the Data Docs of the database with this label."""
    mark = site / _MARK
    return mark.is_file() and mark.read_text(encoding="utf-8").splitlines()[1:2] == [database]


def made_at(site: Path) -> datetime | None:
    """When the validation was whose Data Docs a folder holds; None when it does not say."""
    lines = (site / _MARK).read_text(encoding="utf-8").splitlines()
    return datetime.fromisoformat(lines[2]) if len(lines) > 2 else None


def publish(made: Path, site: Path, found: Validation) -> None:
    """Put the site in place: the pages in `made` (by Great Expectations), mended, with an index of our own."""
    static = made / _STATIC
    shutil.rmtree(static, ignore_errors=True)
    static.mkdir()
    for name in ASSETS:
        text = files("scripts").joinpath("data_docs_assets").joinpath(name).read_text(encoding="utf-8")
        (static / name).write_text(text, encoding="utf-8")
    titles = {suite.name: suite.title for suite in found.suites}
    faultless = {suite.name for suite in found.suites if all(one.state != "failed" for one in found.of(suite))}
    pages: dict[str, str] = {}
    for page in sorted(made.rglob("*.html")):
        place = page.relative_to(made)
        if place.name == "index.html":
            continue
        is_result = place.parts[0] == "validations"
        suite = place.parts[1] if is_result else place.stem
        if suite not in titles:
            page.unlink()  # given up
            continue
        title = titles[suite] + (": result" if is_result else ": what is expected")
        text = offline(page.read_text(encoding="utf-8"), title, "../" * (len(place.parts) - 1))
        if is_result:
            pages[suite] = place.as_posix()
            if suite in faultless:
                text = _as_warnings(text)
        page.write_text(text, encoding="utf-8")
    (made / "index.html").write_text(_index(found, pages), encoding="utf-8")
    # Names the database, so that nobody shows these pages beside the numbers of another one.
    (made / _MARK).write_text(
        f"Made by `migrate validate`; the next one replaces this folder.\n{found.database}\n"
        f"{found.validated_at.isoformat()}\n",
        encoding="utf-8",
    )
    if site.exists():
        for path in site.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    shutil.copytree(made, site, dirs_exist_ok=True)


# ---------- the pages of Great Expectations


def offline(page: str, title: str, up: str) -> str:
    """A page of Great Expectations without anything that is loaded from elsewhere. `up` leads to the site's root."""
    body = page.partition("<body>")[2].rpartition("</body>")[0]
    body = re.sub(r"<script\b.*?</script>", "", body, flags=re.DOTALL)
    body = re.sub(r"<footer\b.*?</footer>", "", body, flags=re.DOTALL)
    # The navigation bar holds a logo from elsewhere; ours comes in its place.
    body = re.sub(r'<nav class="navbar navbar-expand-md.*?</nav>\s*</div>\s*</nav>', "", body, count=1, flags=re.DOTALL)
    # The page's own script listens instead: where the site is served, no script within a page may run.
    body = re.sub(r'\sonclick="(show|hide)[^"]*"', r' data-filter="\1"', body)
    body = re.sub(r"\s+\n", "\n", body)
    # A page has one heading and names for what the keyboard reaches.
    body = re.sub(r'(<a data-toggle="collapse"[^>]*)>(?=\s*<span ?>\s*<i )', r'\1 aria-label="Notes">', body)
    body = re.sub(r"<(/?)h[2-6]\b", r"<\1h2", body)
    body = re.sub(
        r'(<div id="section-[^>]*\btable-responsive\b[^>]*)>', r'\1 role="group" aria-label="Table" tabindex="0">', body
    )
    return _page(title, f'<main class="detail">\n<h1>{escape(title)}</h1>\n{body}\n</main>', up)


def _as_warnings(page: str) -> str:
    """Where nothing is a fault, what is not met is a warning."""
    page = re.sub(
        r'<i class="fas fa-times text-danger" aria-hidden="true"></i> Failed',
        '<i class="fas fa-check-circle text-success" aria-hidden="true"></i> No fault',
        page,
    )
    return page.replace("fas fa-times text-danger", "fas fa-exclamation-triangle text-warning")


def _page(title: str, body: str, up: str) -> str:
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} · {_TITLE}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{up}{_STATIC}/style.css">
<script defer src="{up}{_STATIC}/script.js"></script>
</head>
<body>
<header class="bar"><strong><a href="{up}index.html">{_TITLE}</a></strong><span>{escape(title)}</span></header>
{body}
</body>
</html>
"""


# ---------- the index


def _index(found: Validation, pages: dict[str, str]) -> str:
    counts = {state: sum(one.state == state for one in found.findings) for state in _STATES}
    if counts["failed"]:
        verdict = f"{counts['failed']} of {len(found.findings)} expectations failed"
    elif counts["warning"]:
        verdict = f"No fault; {counts['warning']} things for a person to look at"
    else:
        verdict = "No fault"
    skipped = f"<p>Not judged: {escape(found.skipped)}.</p>" if found.skipped else ""
    body = f"""<main>
<h1>{escape(verdict)}</h1>
<p class="muted">{escape(found.database)}, {found.validated_at:%Y-%m-%d %H:%M:%S} UTC</p>
<div class="tiles">
{_tile("ok", counts["ok"], "met")}
{_tile("failed" if counts["failed"] else "", counts["failed"], "failed")}
{_tile("warning" if counts["warning"] else "", counts["warning"], "warnings")}
{_tile("", counts["note"], "notes")}
</div>
{skipped}
{"".join(_suite(suite, found.of(suite), pages.get(suite.name)) for suite in found.suites)}
</main>"""
    return _page("Data Docs", body, "")


def _tile(kind: str, number: int, word: str) -> str:
    return f'<div class="tile {kind}"><b>{number:,}</b>{word}</div>'


def _suite(suite: Suite, findings: list[Finding], page: str | None) -> str:
    state = _worst(one.state for one in findings)
    met = sum(one.met for one in findings)
    rows = "".join(_row(suite, one) for one in findings)
    more = f' <a href="{escape(page)}">Result in detail</a>' if page else ""
    opened = " open" if state != "ok" else ""
    return f"""<details class="suite"{opened}>
<summary><span class="state {state}">{state}</span><h2>{escape(suite.title)}</h2>
<span class="muted">{met} of {len(findings)} met</span></summary>
<p>{escape(suite.description)}{more}</p>
<div class="table-responsive" role="group" aria-label="{escape(suite.title)}" tabindex="0">
<table><thead><tr><th scope="col">Result</th><th scope="col">Expectation</th><th scope="col">Measured</th></tr></thead>
<tbody>{rows}</tbody></table>
</div>
</details>
"""


def _row(suite: Suite, one: Finding) -> str:
    examples = "".join(f"<br><code>{escape(example)}</code>" for example in one.examples)
    return (
        f'<tr><td><span class="state {one.state}">{one.state}</span></td>'
        f"<td>{escape(one.sentence)} <code>{escape(one.column)}</code>{examples}</td>"
        f"<td>{escape(measured(suite, one))}</td></tr>"
    )


def measured(suite: Suite, one: Finding) -> str:
    """What was counted, in words."""
    if one.of is None:
        return f"{one.count:,}" if one.count else ""
    if one.met:
        return f"all {one.of:,} {suite.rows}" if one.of else f"no {suite.rows}"
    return f"{one.count:,} of {one.of:,} {suite.rows}"


def _worst(states: Iterable[str]) -> str:
    found = set(states)
    return next((state for state in ("failed", "warning", "note") if state in found), "ok")
