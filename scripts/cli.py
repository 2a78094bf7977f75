"""The command line `migrate`: registers the commands, and turns failures into messages and exit codes."""

import logging
import os
import sys
import traceback

import psycopg
import typer

from scripts.commands import (
    automatic,
    backup,
    build,
    control,
    db,
    decide,
    demo,
    log,
    rollback,
    run,
    runner,
    serve,
    site,
    status,
    teardown,
    validate,
    verify,
)
from scripts.connection import explain
from scripts.errors import UserError

# In the order in which a person needs them, which is the order of the help.
COMMANDS = (
    demo,
    build,
    run,
    status,
    control,
    backup,
    rollback,
    verify,
    log,
    decide,
    validate,
    automatic,
    site,
    serve,
    teardown,
    runner,
    db,
)

app = typer.Typer(
    name="migrate",
    help="Fill events.canonical_event and campaigns.data_sources from the product's legacy columns: "
    "safely, with a log, an undo and a proof.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _command in COMMANDS:
    _command.register(app)


def main() -> None:
    """Run the command line.

    Exit codes: 0 done, 1 failed rows or failed validation, 2 usage or settings, 3 another run, 130 interrupted or
    cancelled.
    """
    # A connection that is lost is told by the command; psycopg's own warnings would only repeat it, in other words.
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)
    try:
        app()
    except UserError as error:
        _fail(error.message, error.exit_code)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except Exception as error:
        explained = explain(error) if isinstance(error, psycopg.Error) else None
        if explained is not None:
            _fail(explained.message, explained.exit_code)
        if os.environ.get("MIGRATION_DEBUG"):
            traceback.print_exc()
        _fail(f"{_unexpected(error)}. This is a fault of the tool: MIGRATION_DEBUG=1 shows where.", 1)


def _fail(message: str, code: int) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)


def _unexpected(error: Exception) -> str:
    """What a person may see of an error that nobody foresaw: the text of the error may quote a row or a secret."""
    kind = type(error).__name__
    if isinstance(error, psycopg.Error) and error.sqlstate:
        return f"the database reports {kind} ({error.sqlstate})"
    if isinstance(error, OSError):
        return f"{kind}: {error.strerror or 'no reason given'}{f' ({error.filename})' if error.filename else ''}"
    return f"an unexpected {kind}"


if __name__ == "__main__":
    main()
