"""`migrate log`: what was run, and the rows of migration_log."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import IO, Annotated, Any

import typer
from rich.table import Table

from scripts import evidence, settings
from scripts.commands.common import ProfileOption, TargetOption, note, print_table, to_json
from scripts.commands.opened import opened
from scripts.csv_cells import cell
from scripts.errors import UserError
from scripts.files import check_writable, whole_file
from scripts.ledger import LOG_COLUMNS, Run

SHOWN_RUNS = 20
SHOWN_ROWS = 50


class Format(StrEnum):
    """How `migrate log` prints."""

    table = "table"
    json = "json"
    csv = "csv"


def register(app: typer.Typer) -> None:
    """Add `migrate log`."""
    app.command()(log)


def log(
    run: Annotated[
        str | None, typer.Option("--run", help="Only this run (the beginning of its id does).", show_default=False)
    ] = None,
    migration_type: Annotated[
        str | None, typer.Option("--type", help="Only this migration type: event or campaign.", show_default=False)
    ] = None,
    failures: Annotated[bool, typer.Option("--failures", help="Only batches with failed rows, row by row.")] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="At most so many, the newest first.", show_default=False)
    ] = None,
    format_: Annotated[
        Format | None,
        typer.Option("--format", help="By default a table, or what --output ends in.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write to a file instead.", show_default=False)
    ] = None,
    profile: ProfileOption = None,
    target: TargetOption = None,
) -> None:
    """Show the runs, or with --run the batches of one; as JSON or CSV the rows of migration_log.

    The exports hold every row in the order of time unless --limit is given, ids and errors but no payloads.
    """
    chosen = _format(format_, output)
    if output is not None:
        check_writable(output, "--output")
    database = settings.resolve(profile, target)
    with opened(database, "log") as (session, ledger):
        if not ledger.exists(session):
            note(f"Nothing has been run in {database.label} yet.")
        found = ledger.find_run(session, run) if run is not None else None
        if chosen is Format.table and found is None and not failures:
            runs = ledger.runs(session, migration_type=migration_type, limit=limit or SHOWN_RUNS)
            print_table(runs_table(runs))
            if runs:
                note("`migrate log --run ID` shows the batches of a run, `--failures` the failed rows.")
            return
        rows = ledger.log(
            session,
            run_id=found.run_id if found else None,
            migration_type=migration_type,
            failures=failures,
            limit=limit or (SHOWN_ROWS if chosen is Format.table else None),
            newest_first=limit is not None or chosen is Format.table,
        )
        if chosen is Format.table:
            print_table(_failures(rows) if failures else _batches(rows))
            return
        with _destination(output) as file:
            written = _write_json(file, rows) if chosen is Format.json else _write_csv(file, rows)
        if output is not None:
            note(f"{written:,} rows of migration_log written to {output}.")
        if output is not None and found is None and migration_type is None and not failures and limit is None:
            # Only an export of everything counts for the checklist.
            summary = {"rows": written, "format": chosen.value}
            if unrecorded := evidence.record(session, ledger, evidence.LOG_EXPORT, summary):
                note(f"Not recorded for the checklist: {unrecorded}.")


def _format(given: Format | None, output: Path | None) -> Format:
    if given is not None:
        if given is Format.table and output is not None:
            raise UserError("A table is for the screen: with --output use --format json or csv.")
        return given
    if output is None:
        return Format.table
    suffix = output.suffix.lower().lstrip(".")
    if suffix not in (Format.json, Format.csv):
        raise UserError(f"What should be written to {output}? Add --format json or --format csv.")
    return Format(suffix)


# ---------- on the screen


def runs_table(runs: Iterable[Run]) -> Table:
    """The runs, one line each."""
    table = Table(box=None, padding=(0, 1, 0, 0))
    for name in ("run", "what", "status", "began (UTC)"):
        table.add_column(name, no_wrap=True)
    for name in ("rows", "failed"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in runs:
        what = f"{one.command} {one.kind.replace('_', ' ')}"
        table.add_row(
            str(one.run_id)[:8],
            f"{what} {str(one.rolls_back)[:8]}" if one.rolls_back else what,
            f"{one.status}, waits: {one.waiting_for}" if one.waiting_for else one.status,
            f"{one.started_at:%Y-%m-%d %H:%M}",
            f"{one.processed if one.kind == 'dry_run' else one.succeeded:,}",
            f"{one.failed:,}",
        )
    return table


def _batches(rows: Iterator[dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("run", no_wrap=True)
    table.add_column("batch", justify="right", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("began (UTC)", no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    for name in ("processed", "succeeded", "failed"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        began, ended = row["started_at"], row["completed_at"]
        table.add_row(
            str(row["run_id"] or "")[:8],
            str(row["batch_number"] if row["batch_number"] is not None else ""),
            row["kind"],
            f"{began:%Y-%m-%d %H:%M:%S}" if began else "",
            f"{(ended - began).total_seconds():.2f}" if began and ended else "open",
            f"{row['records_processed'] or 0:,}",
            f"{row['records_succeeded'] or 0:,}",
            f"{row['records_failed'] or 0:,}",
        )
    return table


def _failures(rows: Iterator[dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("run", no_wrap=True)
    table.add_column("batch", justify="right", no_wrap=True)
    table.add_column("row", no_wrap=True)
    table.add_column("error", overflow="fold")
    failed = ((row, failure) for row in rows for failure in _failed(row["error_details"]))
    for row, (key, error) in islice(failed, 1000):
        table.add_row(str(row["run_id"] or "")[:8], str(row["batch_number"] or ""), key, error)
    return table


def _failed(details: Any) -> Iterator[tuple[str, str]]:
    """Id and error of each failed row; rows of an older tool may hold anything."""
    if details is None:
        return
    for one in details if isinstance(details, list) else [details]:
        if isinstance(one, dict) and "error" in one:
            yield str(one.get("id", "")), str(one["error"])
        else:
            yield "", json.dumps(one, ensure_ascii=False)[:300]


# ---------- exports


@contextmanager
def _destination(output: Path | None) -> Iterator[IO[str]]:
    if output is None:
        yield sys.stdout
        return
    with whole_file(output) as file:
        yield file


def _write_json(file: IO[str], rows: Iterable[dict[str, Any]]) -> int:
    """An array, one row at a time, so that memory stays flat."""
    count = 0
    file.write("[")
    for row in rows:
        file.write(("," if count else "") + "\n" + to_json(row))
        count += 1
    file.write("\n]\n" if count else "]\n")
    return count


def _write_csv(file: IO[str], rows: Iterable[dict[str, Any]]) -> int:
    count = 0
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(LOG_COLUMNS)
    for row in rows:
        writer.writerow(cell(row[name]) for name in LOG_COLUMNS)
        count += 1
    return count
