"""`migrate status`: where the migration stands, and what to do next."""

from decimal import Decimal
from typing import Any

import typer
from rich.table import Table

from scripts import settings
from scripts import status as overview
from scripts.commands.common import JsonOption, ProfileOption, TargetOption, out, print_json, print_table
from scripts.commands.log import runs_table
from scripts.commands.opened import opened


def register(app: typer.Typer) -> None:
    """Add `migrate status`."""
    app.command()(status)


def status(profile: ProfileOption = None, target: TargetOption = None, as_json: JsonOption = False) -> None:
    """Show the product's status numbers, what is pending, the last runs and builds, and what to do next."""
    database = settings.resolve(profile, target)
    with opened(database, "status") as (session, ledger):
        found = overview.status(session, database, ledger)
    if as_json:
        print_json(overview.as_json(found))
        return
    out.print(found.database, markup=False)
    if found.numbers:
        table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
        table.add_column("")
        table.add_column("", justify="right")
        for name, value in found.numbers.items():
            table.add_row(name.replace("_", " "), _number(name, value))
        print_table(table)
    out.print()
    print_table(_targets(found))
    if found.runs:
        out.print()
        print_table(runs_table(found.runs))
    newest = f"{found.backups[0].made_at:%Y-%m-%d %H:%M} UTC" if found.backups and found.backups[0].made_at else ""
    out.print(f"\nbackups  {len(found.backups)} tables{f', the last of {newest}' if newest else ''}", markup=False)
    out.print("\nnext:")
    for step in found.next_steps:
        out.print(f"  {step}", markup=False)


def _targets(found: overview.Status) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("target", no_wrap=True)
    table.add_column("pending", justify="right", no_wrap=True)
    table.add_column("can be written", justify="right", no_wrap=True)
    table.add_column("models built (UTC)", no_wrap=True)
    for target in found.targets:
        table.add_row(
            target.column,
            "?" if target.rows_pending is None else f"{target.rows_pending:,}",
            "?" if target.writable is None else f"{target.writable:,}",
            f"{target.built_at:%Y-%m-%d %H:%M}" if target.built_at else "",
        )
    return table


def _number(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name.endswith("_share"):
        return f"{Decimal(value) * 100:.1f} %"
    return f"{value:,}" if isinstance(value, int | Decimal) else str(value)
