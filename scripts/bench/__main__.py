"""The command line of the benchmark."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import psycopg
import typer

from scripts import embedded, settings
from scripts.bench import contenders, inserts, measure, report
from scripts.bench.mix import Mix
from scripts.bench.world import Contents, World
from scripts.commands.common import note, print_table, to_json
from scripts.errors import UserError
from scripts.files import check_writable, whole_file
from scripts.paths import state_dir
from scripts.settings import Database

_SHARE = {"min": 0.0, "max": 1.0}


def bench(
    rows: Annotated[int, typer.Option("--rows", min=1, help="Events to make.")] = 100_000,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often each contender runs.")] = 3,
    sample: Annotated[int, typer.Option("--sample", min=1, help="Rows for the slow contenders.")] = 5_000,
    raw: Annotated[float, typer.Option("--raw", **_SHARE, help="Share of raw provider payloads.")] = Mix.raw,
    large: Annotated[float, typer.Option("--large", **_SHARE, help="Share of large (TOASTed) ones.")] = Mix.large,
    hostile: Annotated[float, typer.Option("--hostile", **_SHARE, help="Share of hostile rows.")] = Mix.hostile,
    only: Annotated[
        str, typer.Option("--only", metavar="NAMES", help="Contenders besides the floor, separated by commas.")
    ] = "",
    database_url: Annotated[
        str, typer.Option("--database-url", envvar="DATABASE_URL", help="A server; else the embedded one.")
    ] = "",
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything measured as JSON.")
    ] = None,
) -> None:
    """Measure the write-back in databases of its own, which are dropped at the end.

    Contenders: floor, floor_default, apply, keyset, row_by_row, python; and inserts, the application's own writes with
    and without `migrate automatic`, which has no floor.
    """
    if raw + large + hostile > 1:
        raise UserError("--raw, --large and --hostile are shares of the rows: together at most 1.")
    names = _names(only)
    chosen = [c for c in contenders.ALL if c.name in names] if names != {inserts.NAME} else []
    if json_file is not None:
        check_writable(json_file, "--json")
    # The embedded server of the demo, and dbt's files for it, are left alone.
    os.environ["MIGRATION_STATE_DIR"] = str(state_dir() / "bench")
    for name in ("DBT_PROFILES_DIR", "MIGRATION_SCHEMA", "MIGRATION_VARS"):
        os.environ.pop(name, None)
    started = not database_url.strip() and embedded.start()
    try:
        world, mix = World(_server(database_url.strip())), Mix(raw, large, hostile)
        try:
            note(f"Making {rows:,} events ...")
            contents = world.make(rows, mix)
            note(_described(contents))
            found = measure.rounds(world, chosen, rounds, min(sample, rows), note) if chosen else []
            written = inserts.measure(world, rounds, min(sample, rows), note) if inserts.NAME in names else []
        finally:
            world.remove()
    finally:
        if started:
            embedded.stop()
    if json_file is not None:
        with whole_file(json_file) as file:
            document = report.document(found, contents, mix, rounds)
            file.write(to_json({**document, inserts.NAME: inserts.document(written)}) + "\n")
    if found:
        print_table(report.table(found))
    if written:
        print_table(inserts.table(written))


def _server(url: str) -> Database:
    return settings.from_url(url) if url else settings.from_url(embedded.url(), origin="DATABASE_URL")


def _names(only: str) -> set[str]:
    """What to measure: everything unless names are given; contenders always with the floor."""
    known = [*(contender.name for contender in contenders.ALL), inserts.NAME]
    names = {name.strip() for name in only.split(",") if name.strip()}
    if unknown := names - set(known):
        raise UserError(f"--only names {', '.join(sorted(unknown))}; there are {', '.join(known)}.")
    if names - {inserts.NAME}:
        names.add(contenders.FLOOR.name)
    return names or set(known)


def _described(contents: Contents) -> str:
    size, toast = contents.table_bytes / 1e6, contents.toast_bytes / 1e6
    return (
        f"{contents.rows:,} rows, {size:,.0f} MB ({toast:,.0f} MB of it TOAST), payloads of "
        f"{contents.mean_payload_bytes:,.0f} bytes on average, {contents.out_of_line:,} stored out of line; "
        f"PostgreSQL {contents.server}"
    )


def main() -> None:
    """Run the benchmark; a failure is a message and an exit code, as with `migrate`."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(bench)
    try:
        app()
    except UserError as error:
        print(f"error: {error.message}", file=sys.stderr)
        sys.exit(error.exit_code)
    except psycopg.Error as error:
        print(f"error: the database reports {type(error).__name__} ({error.sqlstate})", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
