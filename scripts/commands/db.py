"""`migrate db`: the embedded PostgreSQL."""

from dataclasses import asdict

import typer

from scripts import embedded
from scripts.commands.common import JsonOption, YesOption, confirm, note, out, print_json

db = typer.Typer(help="The embedded PostgreSQL: the database when the settings name no other.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add `migrate db`."""
    app.add_typer(db, name="db")


@db.command()
def start() -> None:
    """Start it. Other commands do so when they need it."""
    started = embedded.start()
    found = embedded.status()
    note(f"{'Started' if started else 'Already running'}: PostgreSQL {found.version} in {found.home}.")
    if found.note:
        note(found.note)


@db.command()
def stop() -> None:
    """Stop it. The data stay."""
    note("Stopped." if embedded.stop() else "It was not running.")


@db.command()
def status(as_json: JsonOption = False) -> None:
    """Show whether it runs, and where its files are."""
    found = embedded.status()
    if as_json:
        print_json(asdict(found))
        return
    out.print(f"running  {'yes' if found.running else 'no'}")
    out.print(f"version  {found.version or 'no data yet'}")
    out.print(f"home     {found.home}")
    out.print(f"socket   {found.socket_dir}")
    out.print(f"account  {found.account}")
    if found.note:
        note(found.note)


@db.command()
def url() -> None:
    """Print its URL, for psql and others; start it when needed."""
    out.print(embedded.url(), markup=False)


@db.command()
def profile() -> None:
    """Print a folder with a dbt profile for it: DBT_PROFILES_DIR for dbt and sqlfluff by themselves."""
    out.print(str(embedded.profile_dir()), markup=False)


@db.command()
def reset(yes: YesOption = False) -> None:
    """Stop it and remove all its data. The next command begins with an empty one."""
    home = embedded.status().home
    confirm(f"Remove the embedded PostgreSQL in {home} with all its data?", yes=yes)
    embedded.reset()
    note(f"Removed {home}.")
