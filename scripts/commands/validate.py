"""`migrate validate`: prove a migration, and build the site that shows the proof."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from scripts import data_docs, evidence, settings, validation
from scripts.commands.common import JsonOption, NoBuildOption, ProfileOption, TargetOption, note, out, print_json
from scripts.commands.opened import opened
from scripts.paths import project_dir
from scripts.validation import Validation

_STYLES = {"ok": "green", "failed": "bold red", "warning": "yellow", "note": "blue"}


def register(app: typer.Typer) -> None:
    """Add `migrate validate`."""
    app.command()(validate)


def validate(
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="DIR", help="Folder for the site (Data Docs); by default site/data_docs."),
    ] = None,
    problems: Annotated[bool, typer.Option("--problems", help="Show only what is not met.")] = False,
    no_build: NoBuildOption = False,
    as_json: JsonOption = False,
    profile: ProfileOption = None,
    target: TargetOption = None,
) -> None:
    """Prove the migration: the product's checks, envelope, values, log and undo; and build the Data Docs site.

    Changes nothing in the product's tables. Exit codes: 0 no fault (warnings are listed), 1 an expectation failed.
    """
    site = (output or project_dir() / "site" / "data_docs").expanduser().absolute()
    database = settings.resolve(profile, target)
    found = validation.validate(database, site, build=not no_build)
    with opened(database, "validate") as (session, ledger):
        unrecorded = evidence.record(session, ledger, evidence.VALIDATION, validation.summary(found))
    if as_json:
        print_json(validation.as_json(found))
    else:
        out.print(_table(found, problems=problems))
    if found.skipped:
        note(f"Not judged: {found.skipped}.")
    note(_summary(found))
    if unrecorded:
        note(f"Not recorded for the checklist: {unrecorded}.")
    note(f"Data Docs: {site / 'index.html'}")
    raise typer.Exit(1 if found.failed else 0)


def _table(found: Validation, *, problems: bool) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("result")
    table.add_column("expectation")
    table.add_column("measured")
    for suite in found.suites:
        findings = found.of(suite)
        met = [one for one in findings if one.met]
        table.add_row("", f"[bold]{escape(suite.title)}[/bold]", f"{len(met)} of {len(findings)} met")
        for one in findings:
            if one.met and problems:
                continue
            column = f" ({one.column})" if suite.id_column else ""
            table.add_row(
                f"[{_STYLES[one.state]}]{one.state}[/]",
                escape(one.sentence + column),
                escape(data_docs.measured(suite, one)),
            )
            if one.examples:
                table.add_row("", escape("for instance " + ", ".join(one.examples[:2])), "")
    return table


def _summary(found: Validation) -> str:
    warnings = sum(one.state == "warning" for one in found.findings)
    tail = f", {warnings} warnings" if warnings else ""
    if found.failed:
        return f"{found.database}: {len(found.failed)} of {len(found.findings)} expectations failed{tail}."
    return f"{found.database}: {len(found.findings)} expectations, none failed{tail}."
