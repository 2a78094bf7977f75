"""`migrate events`, `migrate campaigns`, and one more command for every further model that fills a column."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from scripts import batches, interrupts, migration, plans, settings
from scripts import survey as surveys
from scripts.commands.common import (
    JsonOption,
    NoBuildOption,
    ProfileOption,
    TargetOption,
    YesOption,
    confirm,
    err,
    note,
    note_from_handler,
    out,
    print_json,
    to_json,
)
from scripts.commands.pace import (
    DEFAULT_MAX_LAG,
    BatchBytesOption,
    MaxDeadOption,
    MaxLagOption,
    MaxSessionsOption,
    MaxWalRateOption,
    TargetSecondsOption,
    WorkersOption,
)
from scripts.commands.progress import RunProgress
from scripts.errors import UserError
from scripts.files import check_writable, whole_file
from scripts.migration import Migration, Result
from scripts.pace import Pace
from scripts.paths import project_dir
from scripts.plans import Comparison, Plan
from scripts.survey import Survey
from scripts.writeback import Options

# The commands must be known before dbt has read the project; everything else comes from its manifest.
_COMMAND = re.compile(r"""['"]?\bcommand['"]?\s*:\s*['"]?([a-z][a-z0-9_-]*)""")


def register(app: typer.Typer) -> None:
    """Add a command for each target of the project."""
    for name in commands():
        app.command(name, help=_help(name))(_command(name))


def commands() -> list[str]:
    """The values of `meta.migration.command` in the project's models."""
    try:
        folder = project_dir() / "models"
    except UserError:
        return []
    found: dict[str, None] = {}
    for path in sorted([*folder.rglob("*.sql"), *folder.rglob("*.yml")]):
        text = path.read_text(encoding="utf-8", errors="replace")
        place = re.search(r"""['"]?\bmigration['"]?\s*:""", text)
        if place is not None:
            found.update(dict.fromkeys(_COMMAND.findall(text[place.start() :])))
    return sorted(found, key=lambda name: (name != "events", name))


def _help(name: str) -> str:
    return (
        f"Fill the {name} target from its model: a dry run unless --apply.\n\n"
        "Exit codes: 0 done, 1 finished with failed rows, 2 wrong usage or settings, 3 another run in progress, "
        "130 interrupted or cancelled."
    )


def _command(name: str) -> Callable[..., None]:
    def command(
        apply: Annotated[bool, typer.Option("--apply", help="Write. Without it nothing but a log row is.")] = False,
        batch_size: Annotated[
            int | None, typer.Option("--batch-size", min=1, max=1_000_000, help="Rows in each batch, exactly.")
        ] = None,
        limit: Annotated[int | None, typer.Option("--limit", min=1, help="Take up at most so many rows.")] = None,
        performed_by: Annotated[
            UUID | None, typer.Option("--performed-by", metavar="UUID", help="Who does it; goes into the log.")
        ] = None,
        show_personal_data: Annotated[
            bool, typer.Option("--show-personal-data", help="Show the samples as they are, not masked.")
        ] = False,
        report: Annotated[
            Path | None, typer.Option("--report", metavar="FILE", help="Write summary and result to a file, as JSON.")
        ] = None,
        workers: WorkersOption = 1,
        target_seconds: TargetSecondsOption = None,
        batch_bytes: BatchBytesOption = None,
        max_lag: MaxLagOption = DEFAULT_MAX_LAG,  # type: ignore[assignment]  # as on the command line
        max_wal_rate: MaxWalRateOption = "off",  # type: ignore[assignment]
        max_dead: MaxDeadOption = "off",  # type: ignore[assignment]
        max_sessions: MaxSessionsOption = "off",  # type: ignore[assignment]
        refresh: Annotated[
            bool, typer.Option("--refresh", help="Take rows that this tool wrote and would write otherwise today.")
        ] = False,
        save_plan: Annotated[
            Path | None,
            typer.Option("--save-plan", metavar="FILE", help="Dry run: make every value and save what was seen."),
        ] = None,
        plan: Annotated[
            Path | None,
            typer.Option("--plan", metavar="FILE", help="Go on only if all is as when this plan was saved."),
        ] = None,
        allow_new: Annotated[
            bool, typer.Option("--allow-new", help="With --plan: rows that came since are no difference.")
        ] = False,
        yes: YesOption = False,
        no_build: NoBuildOption = False,
        as_json: JsonOption = False,
        profile: ProfileOption = None,
        target: TargetOption = None,
    ) -> None:
        run(
            name, apply=apply, batch_size=batch_size, limit=limit, performed_by=performed_by,
            show_personal_data=show_personal_data, report=report, refresh=refresh, save_plan=save_plan, plan=plan,
            allow_new=allow_new, yes=yes, build=not no_build, as_json=as_json,
            pace=Pace(
                workers, target_seconds, batch_bytes, max_lag or None, max_wal_rate or None, max_dead or None,
                int(max_sessions) or None,
            ),
            database=settings.resolve(profile, target),
        )  # fmt: skip

    command.__name__ = name
    return command


def run(
    name: str,
    *,
    database: settings.Database,
    apply: bool,
    batch_size: int | None,
    limit: int | None,
    performed_by: UUID | None,
    show_personal_data: bool,
    report: Path | None,
    refresh: bool = False,
    save_plan: Path | None = None,
    plan: Path | None = None,
    allow_new: bool = False,
    yes: bool,
    build: bool,
    as_json: bool,
    pace: Pace,
    reviewed: str | None = None,
) -> None:
    """Do what the command says; ends with typer.Exit.

    `reviewed` is the dry run whose saved plan a run that is resumed held to.
    """
    if report is not None:
        check_writable(report, "--report")
    saved, limit = _saved_plan(name, apply, refresh, save_plan, plan, allow_new, limit)
    if apply and not yes and not _can_ask():
        raise UserError("--apply writes to the product's tables. Nobody can be asked here: add --yes to go ahead.")
    document: dict[str, Any] = {"command": name, "kind": "apply" if apply else "dry_run", "database": database.label}

    def options(found: Migration, rows: int | None = None) -> Options:
        held_to = saved.dry_run if saved else reviewed
        return Options(batch_size or found.target.batch_size, limit, performed_by, rows, plan=held_to, pace=pace)

    if not apply:
        with migration.opened_for_reading(database, name, build=build, refresh=refresh) as reading:
            horizon = saved.horizon if saved else batches.horizon(reading.session) if save_plan else None
            seen = reading.survey(count_all=True, limit=limit, horizon=horizon, watch=note)
            run_id = reading.log_dry_run(seen, options(reading))
            document |= {"run_id": run_id, "status": "done", **_described(reading)}
            document["summary"] = seen.as_json(show_personal_data=show_personal_data)
            found = _compared(reading, saved, seen, document, allow_new=allow_new)
            if save_plan and horizon is not None:
                plans.save(reading.plan(seen, limit, horizon, run_id), save_plan)
            _finish(document, as_json=as_json, report=report)
            if not as_json:
                _print(surveys.lines(seen, reading.preflight.plan, show_personal_data=show_personal_data))
                again = f"migrate {name}{' --refresh' if refresh else ''} --apply"
                again += f" --plan {save_plan or plan}" if save_plan or plan else ""
                out.print(f"Dry run {run_id}: nothing was written. `{again}` writes.", markup=False)
            if saved and found:
                _judge(saved, found)
        return

    with (
        interrupts.watch(note_from_handler) as stop,
        migration.opened_for_writing(database, name, build=build, refresh=refresh, stop=stop, notice=note) as writing,
    ):
        for crashed, started in writing.crashed():
            note(f"Run {crashed} of {started:%Y-%m-%d %H:%M} UTC crashed. What it wrote is logged and stays; going on.")
        seen = writing.survey(
            count_all=_can_ask() and not yes, limit=limit, horizon=saved.horizon if saved else None, watch=note
        )
        document |= _described(writing)
        document["summary"] = seen.as_json(show_personal_data=show_personal_data)
        found = _compared(writing, saved, seen, document, allow_new=allow_new)
        if saved and found:
            if found.differences:
                _finish(document | {"run_id": None}, as_json=as_json, report=report)
            _judge(saved, found)
        for line in surveys.lines(seen, writing.preflight.plan, show_personal_data=show_personal_data):
            note(line)
        if not seen.writable and (seen.counted if refresh else not seen.pending):
            document |= {"run_id": None, "status": "done"}
            _finish(document, as_json=as_json, report=report)
            if not as_json:
                out.print("Nothing is to be rewritten." if refresh else "Nothing is pending.", markup=False)
            return
        rows = seen.writable if limit is None else min(limit, seen.writable)
        confirm(f"{'Rewrite' if refresh else 'Write'} {rows:,} rows?", yes=yes)
        with RunProgress(name, rows) as progress:
            result = writing.apply(options(writing, rows), progress)
        document |= {"run_id": result.run_id, "status": result.status, "result": result.as_json()}
        document["result"]["excepted_columns"] = writing.preflight.excepted
        _finish(document, as_json=as_json, report=report)
        if not as_json:
            _print(_result_lines(writing, seen, result))
    raise typer.Exit(_exit_code(result))


def _saved_plan(
    name: str, apply: bool, refresh: bool, save_plan: Path | None, plan: Path | None, allow_new: bool, limit: int | None
) -> tuple[Plan | None, int | None]:
    """The plan to hold to, and the limit, which is the plan's. Raises UserError where options do not go together."""
    if save_plan is not None:
        if apply or plan is not None:
            raise UserError("--save-plan is for a dry run: leave out --apply and --plan.")
        check_writable(save_plan, "--save-plan")
    if plan is None:
        if allow_new:
            raise UserError("--allow-new says what may differ from a plan: give --plan FILE too.")
        return None, limit
    saved = plans.read(plan, name, refresh=refresh)
    if limit is not None and limit != saved.limit:
        made = f"--limit {saved.limit}" if saved.limit else "no limit"
        raise UserError(f"The plan {plan} was made with {made}: leave out --limit, which is taken from the plan.")
    return saved, saved.limit


def _compared(
    found: Migration, saved: Plan | None, seen: Survey, document: dict[str, Any], *, allow_new: bool
) -> Comparison | None:
    """What differs from the plan, which goes into the document too."""
    if saved is None:
        return None
    compared = found.compare(saved, seen, allow_new=allow_new)
    document["plan"] = {"dry_run": saved.dry_run, "made_at": saved.made_at, **asdict(compared)}
    if compared.differences:
        document["status"] = "differs"
    return compared


def _judge(saved: Plan, found: Comparison) -> None:
    """Say that the plan holds, or raise UserError with all that differs."""
    made = f"the plan of {saved.made_at[:16].replace('T', ' ')} UTC (dry run {saved.dry_run[:8]})"
    if found.differences:
        listed = "\n  ".join(found.differences)
        raise UserError(
            f"Not as in {made}, so nothing was written:\n  {listed}\nReview a new dry run and save its plan"
            + (", or accept rows that came since with --allow-new." if found.new_rows else ".")
        )
    came = f"; {found.new_rows:,} rows came since" if found.new_rows else ""
    note(f"As in {made}: same database, same models, same rows with the same values{came}.")


def _described(found: Migration) -> dict[str, Any]:
    target = found.target
    return {
        "target": {
            "table": f"{target.schema}.{target.table}",
            "column": target.target_column,
            "model": f"{target.model_schema}.{target.model}",
        },
        "contract_version": target.contract_version,
    }


def _result_lines(found: Migration, seen: Survey, result: Result) -> list[str]:
    tally = result.tally
    rate = f", {tally.succeeded / tally.seconds:,.0f} rows/s" if tally.seconds > 0.5 else ""
    text = [
        f"Run {result.run_id}: {result.status}",
        f"  written  {tally.succeeded:,} rows in {tally.batches:,} batches, {surveys.duration(tally.seconds)}{rate}",
    ]
    for name, count in sorted(tally.groups.items(), key=lambda item: (-item[1], item[0])):
        text.append(f"    {name or '(none)':<16} {count:>12,}")
    if tally.failed:
        text.append(f"  failed   {tally.failed:,} rows; `migrate log --run {result.run_id}` lists them")
    if result.pending_left is not None:
        text.append(f"  left     {result.pending_left:,} pending")
    kept = ", ".join(found.preflight.excepted)
    besides = f" (but {kept}, which triggers keep)" if kept else ""
    if tally.other_columns_changed:
        text.append(
            f"  WARNING  other columns changed in {tally.other_columns_changed:,} rows{besides}: "
            f"`migrate verify {result.run_id}` shows which"
        )
    elif tally.succeeded:
        text.append(f"  proof    no other column of the written rows changed{besides}")
    if tally.succeeded:
        text.append(f"  undo     migrate rollback {result.run_id}")
    if result.status in ("interrupted", "cancelled"):
        text.append(f"  {result.status.capitalize()}. Run the command again to go on.")
    return text


def _exit_code(result: Result) -> int:
    if result.status in ("interrupted", "cancelled"):
        return 130
    return 1 if result.tally.failed or result.tally.other_columns_changed else 0


def _print(lines: list[str]) -> None:
    for line in lines:
        out.print(line, markup=False)


def _finish(document: dict[str, Any], *, as_json: bool, report: Path | None) -> None:
    if report is not None:
        with whole_file(report) as file:
            file.write(to_json(document) + "\n")
        note(f"Report: {report}")
    if as_json:
        print_json(document)


def _can_ask() -> bool:
    return os.isatty(0) and err.is_terminal
