"""`migrate pause`, `migrate resume`, `migrate cancel`: what a run that is going on elsewhere, or was, should do."""

from typing import Annotated
from uuid import UUID

import typer

from scripts import project, settings
from scripts.commands import rollback as rolling
from scripts.commands import run as running
from scripts.commands.common import ProfileOption, TargetOption, YesOption, note, out
from scripts.commands.opened import opened, require_ledger
from scripts.errors import UserError
from scripts.ledger import Run
from scripts.pace import MAX_LAG_SECONDS, Pace
from scripts.settings import Database

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
    run_id: RunArgument,
    performed_by: ByOption = None,
    yes: YesOption = False,
    profile: ProfileOption = None,
    target: TargetOption = None,
) -> None:
    """Let a paused run go on; start one that crashed, failed, or was ended early again here, with its settings."""
    database = settings.resolve(profile, target)
    with opened(database, "control") as (session, ledger):
        require_ledger(session, ledger, database)
        run = ledger.find_run(session, run_id)
    name = str(run.run_id)[:8]
    if run.status in ("running", "done") or run.kind == "dry_run":
        _ask(run_id, "run", performed_by, profile, target, "goes on.")
    elif run.kind == "rollback":
        batch = run.settings.get("batch")
        if run.settings.get("one_batch") and batch is None:
            raise UserError(f"Rollback {name} was of one batch: `migrate rollback {run.rolls_back} --batch N --apply`.")
        note(f"Rollback {name} ended as {run.status}; it starts again for what is left.")
        rolling.rollback(
            str(run.rolls_back), apply=True, batch=batch, performed_by=performed_by,
            max_lag=run.settings.get("max_lag", MAX_LAG_SECONDS) or 0.0, yes=yes, profile=profile, target=target,
            as_json=False,
        )  # fmt: skip
    else:
        _again(database, run, performed_by, yes)


def _again(database: Database, run: Run, by: UUID | None, yes: bool) -> None:
    """A new run with the settings of one that has ended before it was done."""
    limit = run.settings.get("limit")
    left = None if limit is None else limit - run.succeeded - run.failed
    if left is not None and left < 1:
        raise UserError(f"Run {run.run_id} had reached its limit of {limit:,} rows: there is nothing to resume.")
    _refuse_other_models(database, run)
    note(f"Run {str(run.run_id)[:8]} ended as {run.status}; `migrate {run.command} --apply` starts with its settings.")
    running.run(
        run.command, database=database, apply=True, batch_size=run.settings.get("batch_size"), limit=left,
        performed_by=by, show_personal_data=False, report=None, refresh=bool(run.settings.get("refresh")), yes=yes,
        build=True, as_json=False, pace=Pace.from_json(run.settings), reviewed=run.settings.get("plan"),
    )  # fmt: skip


def _refuse_other_models(database: Database, run: Run) -> None:
    """A run that held to a saved plan goes on with the models that were reviewed, or not at all."""
    if run.settings.get("plan") and run.models_checksum != project.models_checksum(database, run.command):
        raise UserError(
            f"Run {run.run_id} applied a saved plan, and the models are no longer the ones that were reviewed. Review "
            f"a new dry run: `migrate {run.command} --save-plan FILE`."
        )


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
