"""The command line `migrate`: registers the commands, and turns failures into messages and exit codes."""

import importlib
import importlib.util
import logging
import sys

import typer

from scripts.errors import UserError

GROUPS = (
    "db", "demo", "build", "run", "rollback", "backup", "verify", "log", "status", "decide", "validate", "teardown",
)  # fmt: skip

app = typer.Typer(
    name="migrate",
    help="Fill events.canonical_event and campaigns.data_sources from the product's legacy columns: "
    "safely, with a log, an undo and a proof.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _group in GROUPS:
    if importlib.util.find_spec(f"scripts.commands.{_group}") is not None:
        importlib.import_module(f"scripts.commands.{_group}").register(app)


def main() -> None:
    """Run the command line.

    Exit codes: 0 done, 1 failed rows or failed validation, 2 usage or settings, 3 another run, 130 interrupted.
    """
    # A connection that is lost is told by the command; psycopg's own warnings would only repeat it, in other words.
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)
    try:
        app()
    except UserError as error:
        print(f"error: {error.message}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
