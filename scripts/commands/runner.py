"""`migrate runner`: a role that may do what the tool does, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from psycopg import sql

from scripts import runner as rights
from scripts import settings
from scripts.commands.common import ProfileOption, TargetOption, YesOption, confirm, note
from scripts.commands.opened import opened
from scripts.connection import Session, transaction
from scripts.runner import DEFAULT_ROLE

PASSWORD_VARIABLE = "MIGRATION_RUNNER_PASSWORD"


def register(app: typer.Typer) -> None:
    """Add `migrate runner`."""
    app.command()(runner)


def runner(
    role: Annotated[str, typer.Option("--role", help="Its name.")] = DEFAULT_ROLE,
    policies: Annotated[
        bool, typer.Option("--policies", help="Policies of its own, even where BYPASSRLS could be granted.")
    ] = False,
    monitor: Annotated[
        bool, typer.Option("--monitor", help="Also pg_monitor, which --max-lag and --max-sessions need to look.")
    ] = False,
    drop: Annotated[bool, typer.Option("--drop", help="Remove the role; what it owns becomes yours.")] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Run the statements in this database.")] = False,
    yes: YesOption = False,
    profile: ProfileOption = None,
    target: TargetOption = None,
) -> None:
    """Print the SQL that makes a role with exactly the rights that the tool needs; --apply runs it.

    Connect as the role that owns the product's tables. Running it again brings the role up to date. With --apply the
    role's password is taken from MIGRATION_RUNNER_PASSWORD; it is never printed, and sent as a SCRAM hash.
    """
    database = settings.resolve(profile, target)
    with opened(database, "runner") as (session, _):
        with _plain_names(session):
            steps = (
                rights.removal(session, database, role)
                if drop
                else rights.creation(session, database, role, policies=policies, monitor=monitor)
            )
        if not apply:
            print(rights.script(steps), end="")
            return
        count = sum(len(step.statements) for step in steps)
        confirm(f"Run {count} statements for the role {role} in {database.label}?", yes=yes)
        with _plain_names(session):
            for step in steps:
                for statement in step.statements:
                    session.execute(statement.encode())
            password = os.environ.get(PASSWORD_VARIABLE)
            if password and not drop:
                _set_password(session, role, password)
    note(f"The role {role} is {'gone' if drop else 'ready'}: {count} statements.")
    if not drop and not password:
        note(f"Set its password with `\\password {role}` in psql, or run this again with {PASSWORD_VARIABLE} set.")


@contextmanager
def _plain_names(session: Session) -> Iterator[None]:
    """A transaction in which names in expressions are printed and understood with their schema."""
    with transaction(session):
        session.execute("set local search_path = pg_catalog")
        yield


def _set_password(session: Session, role: str, password: str) -> None:
    """Only its hash leaves this process, so that no server log can hold the password."""
    hashed = session.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
    session.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(role), sql.Literal(hashed.decode())))
