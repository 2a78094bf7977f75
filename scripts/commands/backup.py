"""`migrate backup`: copies of campaigns and events before a run."""

from typing import Annotated

import typer
from rich.table import Table

from scripts import backup as backups
from scripts import project, settings
from scripts.backup import Backup
from scripts.commands.common import JsonOption, ProfileOption, TargetOption, note, out, print_json, print_table
from scripts.commands.opened import opened
from scripts.preflight import size


def register(app: typer.Typer) -> None:
    """Add `migrate backup`."""
    app.command()(backup)


def backup(
    every_event: Annotated[bool, typer.Option("--all", help="All events, not only those of the last 30 days.")] = False,
    list_them: Annotated[bool, typer.Option("--list", help="List the backups that are there.")] = False,
    profile: ProfileOption = None,
    target: TargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy campaigns and events into the tool's own schema, closed to everybody else.

    The tables are named campaigns_backup_YYYYMMDD and events_backup_YYYYMMDD (the day in UTC) and never overwritten.
    Both are of one moment, and their counts are compared with the source before they are kept.
    """
    database = settings.resolve(profile, target)
    with opened(database, "backup") as (session, ledger):
        if list_them:
            _show(backups.existing(session, database.schema), database.schema, as_json)
            return
        ledger.ensure(session)
        made = backups.create(
            session,
            schema=database.schema,
            source_schema=ledger.source_schema,
            tables={kind: str(project.variable(f"{kind}_table") or kind) for kind in backups.KINDS},
            every_event=every_event,
            notice=note,
        )
    _show(made, database.schema, as_json)
    left_out = sum(one.left_out or 0 for one in made)
    if left_out:
        window = f"older than {backups.EVENT_DAYS} days, or without a date,"
        note(f"{left_out:,} events {window} are not in it; --all takes them.")


def _show(found: list[Backup], schema: str, as_json: bool) -> None:
    if as_json:
        print_json([one.as_json() for one in found])
        return
    if not found:
        out.print(f"There are no backups in {schema}.", markup=False)
        return
    table = Table(box=None)
    table.add_column("table", no_wrap=True)
    table.add_column("rows", justify="right")
    table.add_column("size", justify="right")
    table.add_column("made at (UTC)")
    for one in found:
        table.add_row(
            f"{schema}.{one.name}",
            "?" if one.rows is None else f"{one.rows:,}",
            size(one.bytes),
            f"{one.made_at:%Y-%m-%d %H:%M:%S}" if one.made_at else "?",
        )
    print_table(table)
