"""`migrate verify`: the proof that a run changed nothing but its target column."""

from typing import Annotated

import typer
from rich.table import Table

from scripts import evidence, settings
from scripts import verify as verification
from scripts.commands.common import JsonOption, ProfileOption, TargetOption, note, out, print_json, print_table
from scripts.commands.opened import opened, require_ledger
from scripts.commands.progress import RunProgress
from scripts.errors import UserError
from scripts.verify import Proof

SHOWN_IDS = 20


def register(app: typer.Typer) -> None:
    """Add `migrate verify`."""
    app.command()(verify)


def verify(
    run_id: Annotated[
        str | None, typer.Argument(help="The run, or the beginning of its id; the last one that wrote if left out.")
    ] = None,
    profile: ProfileOption = None,
    target: TargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prove that a run, or a rollback, changed nothing but its target column; exit code 1 when it cannot be shown.

    Every batch compared a fingerprint of all other columns before and after its own statement; log and undo must
    agree; and the rows are compared with their stored fingerprints as they are now, also while an application writes.
    """
    database = settings.resolve(profile, target)
    with opened(database, "verify") as (session, ledger):
        require_ledger(session, ledger, database)
        if run_id is None:
            run = next((one for one in ledger.runs(session) if one.kind != "dry_run"), None)
            if run is None:
                raise UserError("No run has written anything yet, so there is nothing to verify.")
        else:
            run = ledger.find_run(session, run_id)
        if run.status == "running":
            note(f"Run {run.run_id} is still going on; this is how far it has come.")
        with RunProgress("verifying", run.succeeded) as progress:
            proof = verification.verify(session, ledger, run, lambda rows: progress.advance(rows, 0))
        summary = {"run_id": str(run.run_id), "holds": proof.holds, "rows": proof.logged, "status": run.status}
        if unrecorded := evidence.record(session, ledger, evidence.VERIFICATION, summary):
            note(f"Not recorded for the checklist: {unrecorded}.")
    if as_json:
        print_json(proof.as_json())
    else:
        _show(proof)
    if not proof.holds:
        raise typer.Exit(1)


def _show(proof: Proof) -> None:
    run = proof.run
    rows = proof.rows
    out.print(f"Run {run.run_id} ({run.command}, {run.kind}, {run.status})", markup=False)
    table = Table(box=None, show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    table.add_row("batches", f"{proof.batches:,}")
    table.add_row("rows by the log", f"{proof.logged:,}")
    if run.kind == "apply":
        table.add_row("rows by the undo", f"{proof.undo_entries:,}")
    table.add_row("rows whose other columns a batch changed", f"{proof.other_columns_changed:,}")
    table.add_section()
    table.add_row("now: other columns as after the write", f"{rows.same:,}")
    table.add_row("now: other columns changed since, by the application", f"{len(rows.changed):,}")
    table.add_row("now: deleted since", f"{len(rows.missing):,}")
    if rows.unknown:
        table.add_row("now: cannot be compared", f"{rows.unknown:,}")
    table.add_section()
    table.add_row("now: target as the run wrote it", f"{rows.target_as_written:,}")
    table.add_row("now: target as before the run", f"{rows.target_restored:,}")
    table.add_row("now: target changed since", f"{rows.target_changed:,}")
    print_table(table)
    for what, ids in (("changed since", rows.changed), ("deleted since", rows.missing)):
        if ids:
            out.print(f"\n{what}:", markup=False)
            for one in ids[:SHOWN_IDS]:
                out.print(f"  {one}", markup=False)
            if len(ids) > SHOWN_IDS:
                out.print(f"  and {len(ids) - SHOWN_IDS:,} more (all with --json)", markup=False)
    out.print()
    out.print(f"compared: {', '.join(proof.columns) or 'nothing'}", markup=False)
    if proof.excepted:
        kept = ", ".join(f"{column} ({reason})" for column, reason in proof.excepted.items())
        out.print(f"excepted: {kept}", markup=False)
    for line in proof.notes:
        out.print(f"note: {line}", markup=False)
    for line in proof.problems:
        out.print(f"problem: {line}", markup=False)
    out.print(
        "Proven: nothing but the target column was changed." if proof.holds else "Not proven.",
        markup=False,
    )
