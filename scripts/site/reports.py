"""Reading the report models: their rows, or why they cannot be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import set_json_loads

from scripts import faults, survey
from scripts.connection import Session, explain, transaction
from scripts.settings import Database


@dataclass(frozen=True)
class Report:
    """The rows of a report. `problem` says why there are none: then the page says it in their place."""

    rows: Sequence[Mapping[str, Any]]
    problem: str = ""


def read(session: Session, database: Database, query: sql.Composed, values: Mapping[str, Any] | None = None) -> Report:
    """Run a query over the report models. Only a lost connection raises."""
    try:
        with transaction(session), session.cursor(row_factory=dict_row) as cursor:
            set_json_loads(_loads, cursor)
            return Report(cursor.execute(query, values).fetchall())
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.InvalidSchemaName):
        return Report((), "A report model is not built here, or is of an older version. `migrate build` makes it.")
    except psycopg.errors.QueryCanceled:
        return Report((), f"It took longer than {database.statement_timeout}. Raise MIGRATION_STATEMENT_TIMEOUT.")
    except psycopg.Error as error:
        if faults.classify(error) is faults.Fault.LOST:
            raise
        explained = explain(error, database)
        return Report((), explained.message if explained else f"It cannot be read: {faults.describe(error)}.")


def _loads(text: str | bytes) -> Any:
    """One campaign's value that nobody can read must not hide the others."""
    found = survey.readable(text.decode() if isinstance(text, bytes) else text)
    return "(nested too deep, or with a number too long, to be shown)" if found is survey.UNREADABLE else found
