"""Options and output that the commands share. Results go to stdout, everything else to stderr."""

import json
import os
import sys
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.console import Console
from rich.table import Table

from scripts.errors import UserError

ProfileOption = Annotated[
    str | None, typer.Option("--profile", help="dbt profile to take the database from.", show_default=False)
]
TargetOption = Annotated[
    str | None, typer.Option("--target", help="Target within the dbt profile.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
NoBuildOption = Annotated[bool, typer.Option("--no-build", help="Use the models as they are in the database.")]

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def note(message: str) -> None:
    """Say something on stderr, where it does not mix with results."""
    err.print(message, markup=False)


def note_from_handler(message: str) -> None:
    """The same from within a signal handler: without the console that the interrupted code may be writing to."""
    os.write(2, f"\n{message}\n".encode())


def print_table(table: Table, console: Console = out) -> None:
    """Print a table; where there is no terminal to fit, nothing is cut off."""
    if not console.is_terminal:
        console = Console(stderr=console.stderr, highlight=False, width=250)
    console.print(table)


def print_json(value: Any) -> None:
    """Print a value as JSON on stdout."""
    sys.stdout.write(to_json(value) + "\n")


def to_json(value: Any) -> str:
    """A value as JSON: times in ISO 8601, ids and paths as text."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=_jsonable)


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something happens that cannot be taken back lightly. `yes` answers beforehand.

    Raises UserError when the answer is no, or when nobody can be asked.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UserError(f"{question} Nobody can be asked here: give --yes to go ahead.")
    if not typer.confirm(question, default=False, err=True):
        raise UserError("Nothing was done.")


def _jsonable(value: Any) -> Any:
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, (UUID, Path)):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
