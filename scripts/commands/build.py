"""`migrate build`: dbt build with the tool's settings."""

from pathlib import Path
from typing import Annotated

import typer

from scripts import project, settings
from scripts.commands.common import ProfileOption, TargetOption, note


def register(app: typer.Typer) -> None:
    """Add `migrate build`."""
    app.command()(build)


def build(
    select: Annotated[list[str] | None, typer.Option("--select", "-s", help="dbt's selection; repeat it.")] = None,
    exclude: Annotated[list[str] | None, typer.Option("--exclude", help="Leave out; dbt's selection.")] = None,
    docs: Annotated[
        Path | None, typer.Option("--docs", metavar="DIR", help="Also write dbt's documentation, as one page.")
    ] = None,
    profile: ProfileOption = None,
    target: TargetOption = None,
) -> None:
    """Build and test the models with dbt. Changes nothing in the product's tables.

    Exit codes: 0 all built and all tests passed, 1 a model or a test failed, 3 a run is writing.
    """
    database = settings.resolve(profile, target)
    code = project.build(database, select or (), exclude=exclude or ())
    if code != 0 and (advice := project.remedy(database)):
        note(advice)
    if docs is not None:
        note(f"Documentation: {project.write_docs(database, docs)}")
    raise typer.Exit(code)
