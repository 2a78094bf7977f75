"""`migrate site`: the review site, as files."""

from pathlib import Path
from typing import Annotated

import typer

from scripts import project, settings
from scripts.commands.common import NoBuildOption, ProfileOption, TargetOption, note, out
from scripts.commands.opened import opened
from scripts.errors import RunInProgress, UserError
from scripts.paths import project_dir
from scripts.preflight import size
from scripts.settings import Database

#: What the pages read beside the targets' own models.
REPORTS = (
    "migration_status", "migration_preview", "field_coverage", "template_readiness", "canonical_drift",
    "campaign_resolutions", "ambiguous_campaigns", "orphaned_integrations",
)  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add `migrate site`."""
    app.command()(site)


def site(
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="DIR", help="Folder for the site; by default site/review of the project."),
    ] = None,
    show_personal_data: Annotated[
        bool, typer.Option("--show-personal-data", help="Show samples and values as they are, not masked.")
    ] = False,
    data_docs: Annotated[
        Path | None,
        typer.Option(
            "--data-docs", metavar="DIR", help="Where `migrate validate` put its pages; by default site/data_docs."
        ),
    ] = None,
    no_build: NoBuildOption = False,
    profile: ProfileOption = None,
    target: TargetOption = None,
) -> None:
    """Build the review site: a folder of pages that open from a file, offline.

    Changes nothing in the product's tables; models that are missing or out of date are built, unless --no-build.
    What takes long is left to what makes it: `migrate validate` (Data Docs), `migrate build --docs` (lineage).
    """
    # Here, not above: the templates would slow down every other command.
    from scripts.site import build

    folder = (output or project_dir() / "site" / "review").expanduser().absolute()
    build.check_folder(folder)
    database = settings.resolve(profile, target)
    if not no_build:
        _build_reports(database)
    with opened(database, "site") as (session, ledger):
        pages = build.build(
            session,
            database,
            ledger,
            folder,
            show_personal_data=show_personal_data,
            data_docs=(data_docs or project_dir() / "site" / "data_docs").expanduser().absolute(),
            watch=note,
        )
    note(f"{pages:,} pages, {size(build.size(folder))}.")
    out.print(str(folder / "index.html"), markup=False)


def _build_reports(database: Database) -> None:
    """Build the models that the pages read where they are missing or, as far as builds are recorded, out of date."""
    with opened(database, "site") as (session, ledger):
        recorded = ledger.exists(session)
    try:
        if not recorded:
            project.build_missing(database, REPORTS)
            return
        for command in project.targets(database):
            project.bring_up_to_date(database, command, also=REPORTS)
    except RunInProgress as error:
        note(f"{error.message} The site shows what the models there say.")
    except UserError as error:
        note(f"{error.message} The site goes without what is not built.")
