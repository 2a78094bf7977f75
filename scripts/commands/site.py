"""`migrate site`: the review site, as files."""

from pathlib import Path
from typing import Annotated

import typer

from scripts import settings
from scripts.commands.common import ProfileOption, TargetOption, note, out
from scripts.commands.opened import opened
from scripts.paths import project_dir
from scripts.preflight import size
from scripts.site import build


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
    profile: ProfileOption = None,
    target: TargetOption = None,
) -> None:
    """Build the review site: a folder of pages that open from a file, offline. Reads only."""
    folder = (output or project_dir() / "site" / "review").expanduser().absolute()
    build.check_folder(folder)
    database = settings.resolve(profile, target)
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
