"""The command line of the benchmark."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import psycopg
import typer

from scripts import embedded, settings
from scripts.bench import contenders, inserts, measure, picture, report
from scripts.bench.mix import Mix, pools
from scripts.bench.world import Contents, World, embedded_server
from scripts.commands.common import note, print_table, to_json
from scripts.errors import UserError
from scripts.files import check_writable, whole_file
from scripts.paths import state_dir
from scripts.settings import Database

_SHARE = {"min": 0.0, "max": 1.0}


def bench(
    rows: Annotated[
        str, typer.Option("--rows", metavar="NUMBERS", help="Events to make; several sizes separated by commas.")
    ] = "100000",
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often each contender runs.")] = 3,
    sample: Annotated[int, typer.Option("--sample", min=1, help="Rows for the slow contenders.")] = 5_000,
    raw: Annotated[float, typer.Option("--raw", **_SHARE, help="Share of raw provider payloads.")] = Mix.raw,
    large: Annotated[float, typer.Option("--large", **_SHARE, help="Share of large (TOASTed) ones.")] = Mix.large,
    hostile: Annotated[float, typer.Option("--hostile", **_SHARE, help="Share of hostile rows.")] = Mix.hostile,
    providers: Annotated[
        str,
        typer.Option(
            "--providers", metavar="NAME=FACTOR,...", help="Providers more or less often than in the demo: shopify=3."
        ),
    ] = "",
    only: Annotated[
        str, typer.Option("--only", metavar="NAMES", help="Contenders besides the floor, separated by commas.")
    ] = "",
    database_url: Annotated[
        str, typer.Option("--database-url", envvar="DATABASE_URL", help="A server; else the embedded one.")
    ] = "",
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything measured as JSON.")
    ] = None,
    picture_file: Annotated[
        Path | None, typer.Option("--picture", metavar="FILE", help="Draw the rates against the sizes, as SVG.")
    ] = None,
) -> None:
    """Measure the write-back in databases of its own, which are dropped at the end.

    Contenders: floor, tuned_floor, apply (and the rollback of its run), workers, keyset, row_by_row, row_by_page,
    row_by_request, pandas; and inserts, the application's own writes with and without `migrate automatic`, which has no
    floor.
    """
    sizes = _sizes(rows)
    if raw + large + hostile > 1:
        raise UserError("--raw, --large and --hostile are shares of the rows: together at most 1.")
    mix = Mix(raw, large, hostile, _weights(providers))
    pools(mix)  # what is wrong with it is said before anything is made
    names = _names(only)
    chosen = [c for c in contenders.ALL if c.name in names] if names != {inserts.NAME} else []
    for option, file in (("--json", json_file), ("--picture", picture_file)):
        if file is not None:
            check_writable(file, option)
    # The embedded server of the demo, and dbt's files for it, are left alone.
    os.environ["MIGRATION_STATE_DIR"] = str(state_dir() / "bench")
    for name in ("DBT_PROFILES_DIR", "MIGRATION_SCHEMA", "MIGRATION_VARS"):
        os.environ.pop(name, None)
    try:
        world = World(_server(database_url.strip()))
        found: list[tuple[Contents, list[measure.Row]]] = []
        written: list[inserts.Sample] = []
        for size in sizes:
            try:
                note(f"Making {size:,} events ...")
                contents = world.make(size, mix)
                note(_described(contents))
                if chosen:
                    found.append((contents, measure.rounds(world, chosen, rounds, min(sample, size), note)))
                # How large the table is does not matter to them.
                if inserts.NAME in names and not written:
                    written = inserts.measure(world, rounds, min(sample, size), note)
            finally:
                world.remove()
    finally:
        if not database_url.strip():
            # With its WAL, which may be larger than the data ever was.
            embedded.reset()
    made = report.document(found, mix, rounds)
    if json_file is not None:
        with whole_file(json_file) as out:
            out.write(to_json({**made, inserts.NAME: inserts.document(written)}) + "\n")
    if picture_file is not None and found:
        picture.draw(made, picture_file)
    for contents, measured in found:
        print_table(report.table(contents, measured))
    if written:
        print_table(inserts.table(written))


def _server(url: str) -> Database:
    return settings.from_url(url) if url else embedded_server()


def _sizes(rows: str) -> list[int]:
    numbers = [number.strip().replace("_", "") for number in rows.split(",")]
    if not all(number.isdecimal() and int(number) for number in numbers):
        raise UserError(f"--rows is {rows!r}: give a number of events, or several separated by commas.")
    return [int(number) for number in numbers]


def _weights(providers: str) -> dict[str, float]:
    pairs = [pair.partition("=") for pair in providers.split(",") if pair.strip()]
    try:
        found = {name.strip(): float(factor) for name, _, factor in pairs}
    except ValueError:
        found = {"": -1.0}
    if not all(0 <= factor < 1_000_000 for factor in found.values()):
        raise UserError(f"--providers is {providers!r}: give names with factors from 0, as shopify=3,stripe=0.5.")
    return found


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
