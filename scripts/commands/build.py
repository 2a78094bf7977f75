"""`migrate build`: dbt build with the tool's settings."""

from typing import Annotated

import typer

from scripts import project, settings
from scripts.commands.common import ProfileOption, TargetOption


def register(app: typer.Typer) -> None:
    """Add `migrate build`."""
    app.command()(build)


def build(
    select: Annotated[list[str] | None, typer.Option("--select", "-s", help="dbt's selection; repeat it.")] = None,
    exclude: Annotated[list[str] | None, typer.Option("--exclude", help="Leave out; dbt's selection.")] = None,
    profile: ProfileOption = None,
    target: TargetOption = None,
) -> None:
    """Build and test the models with dbt. Changes nothing in the product's tables."""
    database = settings.resolve(profile, target)
    code = project.build(database, select or (), exclude=exclude or ())
    raise typer.Exit(code)
