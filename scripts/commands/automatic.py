"""`migrate automatic`: rows that the application writes get their value at once."""

from typing import Annotated
from uuid import UUID

import typer
from rich.table import Table

from scripts import automatic as triggers
from scripts import locks, project, settings
from scripts.automatic import State
from scripts.commands.common import (
    JsonOption,
    NoBuildOption,
    ProfileOption,
    TargetOption,
    YesOption,
    confirm,
    note,
    out,
    print_json,
    print_table,
)
from scripts.commands.opened import opened
from scripts.project import Target

automatic = typer.Typer(
    help="Give rows that the application inserts or changes their value at once, by triggers. Off by default.",
    no_args_is_help=True,
)

NamesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[TARGET]...", help="events, campaigns; all unless given.")
]
ByOption = Annotated[
    UUID | None, typer.Option("--performed-by", metavar="UUID", help="Who does it; goes into the record.")
]


def register(app: typer.Typer) -> None:
    """Add `migrate automatic`."""
    app.add_typer(automatic, name="automatic")


@automatic.command()
def on(
    names: NamesArgument = None,
    performed_by: ByOption = None,
    yes: YesOption = False,
    no_build: NoBuildOption = False,
    profile: ProfileOption = None,
    target: TargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give the source tables statement-level triggers that ask the models and fill the target column.

    They never make the application's own write fail: an error is recorded and the row stays pending. Safe to repeat:
    what is in place is left alone, what is missing or outdated is renewed.
    """
    database = settings.resolve(profile, target)
    with locks.building(database):
        chosen = _chosen(database, names)
        if not no_build:
            for one in chosen:
                project.bring_up_to_date(database, one.command)
        with opened(database, "automatic") as (session, ledger):
            there = {state.command: state.state for state in triggers.states(session, database)}
            for one in chosen:
                if there[one.command] != "on":
                    for line in _costs(one):
                        note(line)
                    for finding in triggers.check(session, database, one):
                        note(f"  {finding.level}: {finding.message}")
            new = [one for one in chosen if there[one.command] != "on"]
            if new:
                tables = " and ".join(f"{one.schema}.{one.table}" for one in new)
                confirm(f"Give {tables} in {database.label} these triggers?", yes=yes)
            for one in new:
                triggers.switch_on(session, database, ledger, one, performed_by=performed_by, notice=note)
            found = triggers.states(session, database)
    _show(found, as_json=as_json)
    for one in chosen:
        if one not in new:
            note(f"{one.command} was on already; nothing was changed.")
    if new and not as_json:
        note("Rows that are pending already stay so: " + _apply(new) + " writes them.")


@automatic.command()
def off(
    names: NamesArgument = None,
    performed_by: ByOption = None,
    profile: ProfileOption = None,
    target: TargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove the triggers and their functions. What was filled stays, and so does the record of errors."""
    database = settings.resolve(profile, target)
    with opened(database, "automatic") as (session, _):
        commands = [one.command for one in _chosen(database, names)] if names else triggers.installed(session, database)
        removed = triggers.switch_off(session, database, commands, performed_by=performed_by, notice=note)
        found = triggers.states(session, database)
    _show(found, as_json=as_json)
    if not removed:
        note("There was nothing to remove.")


@automatic.command()
def status(profile: ProfileOption = None, target: TargetOption = None, as_json: JsonOption = False) -> None:
    """Show for each target whether it is on, since when and by whom, and what could not be filled."""
    database = settings.resolve(profile, target)
    with opened(database, "automatic") as (session, _):
        found = triggers.states(session, database)
    _show(found, as_json=as_json)


def _chosen(database: settings.Database, names: list[str] | None) -> list[Target]:
    if not names:
        return list(project.targets(database).values())
    return [project.target(database, name) for name in dict.fromkeys(names)]


def _costs(target: Target) -> list[str]:
    return [
        f"{target.schema}.{target.table}: each inserted row is updated once more in the same transaction, so it has a "
        f"second row version, and `returning` shows {target.target_column} as the application wrote it. The first "
        "write of every session plans the models once. `make bench ONLY=inserts` measures the cost.",
    ]


def _apply(targets: list[Target]) -> str:
    return " and ".join(f"`migrate {one.command} --apply`" for one in targets)


def _show(found: list[State], *, as_json: bool) -> None:
    if as_json:
        print_json([state.as_json() for state in found])
        return
    table = Table(box=None, padding=(0, 1, 0, 0))
    for title in ("target", "table", "automatic", "since (UTC)", "by"):
        table.add_column(title, no_wrap=True)
    for state in found:
        by = " ".join(str(part) for part in (state.role, state.performed_by) if part)
        table.add_row(
            state.command, state.table, state.state, f"{state.since:%Y-%m-%d %H:%M}" if state.since else "", by
        )
    print_table(table)
    for state in found:
        if state.problem:
            out.print(f"\n{state.command}: {state.problem}", markup=False)
        if state.errors:
            out.print(f"\n{state.command}: rows that the triggers left as they were", markup=False)
        for error in state.errors:
            out.print(
                f"  {error.sqlstate}  {error.rows_left:,} rows, last {error.last_at:%Y-%m-%d %H:%M:%S} UTC: "
                f"{error.message}",
                markup=False,
            )
            if error.row_keys:
                out.print(f"         last rows: {', '.join(error.row_keys)}", markup=False)
