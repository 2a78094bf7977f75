"""`migrate pause`, `migrate resume`, `migrate cancel`: what a run that is going on elsewhere should do."""

from typing import Annotated
from uuid import UUID

import typer

from scripts import settings
from scripts.commands.common import ProfileOption, TargetOption, out
from scripts.commands.opened import opened, require_ledger

RunArgument = Annotated[str, typer.Argument(help="The run, or the beginning of its id (`migrate log` lists them).")]
ByOption = Annotated[
    UUID | None,
    typer.Option("--performed-by", metavar="UUID", help="Who asks; goes into migration_runs.", show_default=False),
]


def register(app: typer.Typer) -> None:
    """Add the three commands."""
    app.command()(pause)
    app.command()(resume)
    app.command()(cancel)


def pause(
    run_id: RunArgument, performed_by: ByOption = None, profile: ProfileOption = None, target: TargetOption = None
) -> None:
    """Let a run stop after the batch in hand and wait, with its lock held, until `migrate resume`."""
    _ask(run_id, "pause", performed_by, profile, target, "pauses after the batch in hand. `migrate resume {}` goes on.")


def resume(
    run_id: RunArgument, performed_by: ByOption = None, profile: ProfileOption = None, target: TargetOption = None
) -> None:
    """Let a paused run go on."""
    _ask(run_id, "run", performed_by, profile, target, "goes on.")


def cancel(
    run_id: RunArgument, performed_by: ByOption = None, profile: ProfileOption = None, target: TargetOption = None
) -> None:
    """End a run after the batch in hand. What it wrote stays, is logged and can be undone."""
    _ask(run_id, "cancel", performed_by, profile, target, "ends after the batch in hand.")


def _ask(prefix: str, control: str, by: UUID | None, profile: str | None, target: str | None, answer: str) -> None:
    database = settings.resolve(profile, target)
    with opened(database, "control") as (session, ledger):
        require_ledger(session, ledger, database)
        run = ledger.find_run(session, prefix)
        ledger.request(session, run.run_id, control, by)
    out.print(f"Run {run.run_id} {answer.format(str(run.run_id)[:8])}", markup=False)
