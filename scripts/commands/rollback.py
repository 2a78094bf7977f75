"""`migrate rollback`: put back what was there before a run."""

from typing import Annotated, Any
from uuid import UUID

import typer
from rich.table import Table

from scripts import automatic, settings, undo
from scripts.commands.common import (
    JsonOption,
    ProfileOption,
    TargetOption,
    YesOption,
    confirm,
    err,
    note,
    note_from_handler,
    out,
    print_json,
    print_table,
)
from scripts.commands.opened import opened, require_ledger
from scripts.commands.pace import DEFAULT_MAX_LAG, MaxLagOption
from scripts.commands.progress import RunProgress
from scripts.errors import RunInProgress
from scripts.interrupts import watch
from scripts.pace import Pace
from scripts.undo import Outcome, Plan

SHOWN_IDS = 20


def register(app: typer.Typer) -> None:
    """Add `migrate rollback`."""
    app.command()(rollback)


def rollback(
    run_id: Annotated[str, typer.Argument(help="The run, or the beginning of its id (`migrate log` lists them).")],
    apply: Annotated[bool, typer.Option("--apply", help="Restore. Without it nothing is written.")] = False,
    batch: Annotated[
        int | None, typer.Option("--batch", min=1, help="Only this batch of the run.", show_default=False)
    ] = None,
    performed_by: Annotated[
        UUID | None, typer.Option("--performed-by", help="User id to write into the log.", show_default=False)
    ] = None,
    max_lag: MaxLagOption = DEFAULT_MAX_LAG,  # type: ignore[assignment]  # as on the command line
    yes: YesOption = False,
    profile: ProfileOption = None,
    target: TargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore the target column of a run's rows to exactly what it was.

    A row that was changed since, or that is gone, is left alone and listed. A dry run unless --apply. It can be
    interrupted and repeated: a second rollback of the same run goes on with what is left.
    """
    database = settings.resolve(profile, target)
    with opened(database, "rollback") as (session, ledger):
        require_ledger(session, ledger, database)
        run = ledger.find_run(session, run_id)
        if run.status == "running":
            raise RunInProgress(
                f"Run {run.run_id} is still going on. Stop it with `migrate cancel {str(run.run_id)[:8]}`, or wait."
            )
        planned = undo.plan(session, ledger, run, batch)
        with RunProgress("looking", planned.entries) as rows:
            found = undo.preview(session, ledger, planned, lambda one: rows.advance(one.entries, 0))
        if planned.without_undo:
            note(
                f"Batches {', '.join(map(str, planned.without_undo))} of this run have no undo row (somebody deleted "
                "it): their rows cannot be restored."
            )
        if not apply or not found.restored:
            _show(planned, found, as_json, dry_run=True)
            if not found.restored:
                note("Nothing is left to restore.")
            else:
                note(f"Dry run: nothing was changed. `migrate rollback {str(run.run_id)[:8]} --apply` restores.")
            return
        note(_title(planned))
        print_table(_table(planned, found, dry_run=True), err)
        where = f"{run.target['schema']}.{run.target['table']}.{run.target['column']}"
        if automatic.is_on(session, database, run.target["schema"], run.target["table"]):
            note(
                "`migrate automatic` is on: a restored row that the application changes is filled again. "
                "`migrate automatic off` first, if none should be."
            )
        confirm(f"Restore {found.restored:,} values of {where} in {database.label}?", yes=yes)
        ledger.ensure(session)
    with watch(note_from_handler) as stop, RunProgress("restoring", planned.entries) as rows:
        own_id, status, done = undo.rollback(
            database,
            ledger,
            planned,
            stop,
            performed_by=performed_by,
            progress=lambda one: rows.advance(one.entries - len(one.failed), len(one.failed)),
            notice=rows.notice,
            waiting=rows.waiting,
            pace=Pace(max_lag=max_lag or None),
        )
    _show(planned, done, as_json, dry_run=False, run_id=own_id, status=status)
    if status in ("interrupted", "cancelled"):
        note(f"{status.capitalize()}. Run the command again for the rest.")
        raise typer.Exit(130)
    if done.failed or done.differing or planned.without_undo:
        raise typer.Exit(1)


def _show(
    planned: Plan,
    found: Outcome,
    as_json: bool,
    *,
    dry_run: bool,
    run_id: UUID | None = None,
    status: str = "dry_run",
) -> None:
    if as_json:
        print_json(_as_json(planned, found, run_id, status))
        return
    out.print(_title(planned), markup=False)
    print_table(_table(planned, found, dry_run=dry_run))
    _list("changed since", found.changed)
    _list("no longer there", found.missing)
    _list("another column changed", found.differing)
    _list("failed", [f"{failure['id']}  {failure['error']}" for failure in found.failed])
    if run_id is not None:
        out.print(f"run {run_id}: {status}", markup=False)


def _title(planned: Plan) -> str:
    run = planned.run
    return f"Rollback of run {run.run_id} ({run.command}, {run.started_at:%Y-%m-%d %H:%M} UTC)"


def _table(planned: Plan, found: Outcome, *, dry_run: bool) -> Table:
    table = Table(box=None, show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    table.add_row("rows that the run wrote", f"{found.entries:,}")
    table.add_row("to be restored" if dry_run else "restored", f"{found.restored:,}")
    table.add_row("restored before", f"{found.already:,}")
    table.add_row("changed since, left alone", f"{len(found.changed):,}")
    table.add_row("no longer there", f"{len(found.missing):,}")
    if not dry_run:
        table.add_row("failed", f"{len(found.failed):,}")
        table.add_row("other columns changed", f"{len(found.differing):,}")
    return table


def _list(what: str, ids: list[str]) -> None:
    if not ids:
        return
    out.print(f"\n{what}:", markup=False)
    for one in ids[:SHOWN_IDS]:
        out.print(f"  {one}", markup=False)
    if len(ids) > SHOWN_IDS:
        out.print(f"  and {len(ids) - SHOWN_IDS:,} more (all with --json)", markup=False)


def _as_json(planned: Plan, found: Outcome, run_id: UUID | None, status: str) -> dict[str, Any]:
    return {
        "rolls_back": planned.run.run_id,
        "batch": planned.only,
        "run_id": run_id,
        "status": status,
        **found.as_json(),
        "changed_ids": found.changed,
        "missing_ids": found.missing,
        "differing_ids": found.differing,
        "failures": found.failed,
        "batches_without_undo": planned.without_undo,
    }
