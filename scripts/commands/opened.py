"""A session for a command: errors of the database become messages, and the ledger is at hand."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from scripts import faults
from scripts.connection import Session, connect, explain
from scripts.errors import UserError
from scripts.ledger import Ledger
from scripts.settings import Database, source_schema


@contextmanager
def opened(database: Database, name: str) -> Iterator[tuple[Session, Ledger]]:
    """A session named `migrate <name>` and the ledger of its database; raises UserError for the database's errors."""
    with connect(database, application_name=f"migrate {name}") as session:
        try:
            yield session, Ledger(database.schema, source_schema())
        except psycopg.Error as error:
            raise explain(error, database) or UserError(
                f"In {database.label}: {faults.describe(error)}.", exit_code=1
            ) from None


def require_ledger(session: Session, ledger: Ledger, database: Database) -> None:
    """Raise UserError when nothing can have been run here yet."""
    if not ledger.exists(session):
        raise UserError(
            f"Nothing has been run in {database.label} yet: there is no {ledger.schema}.migration_runs. "
            "`migrate events` makes a dry run."
        )
