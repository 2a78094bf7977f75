"""Where a migration stands: the product's numbers, what is pending, the runs, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from scripts import automatic, backup, batches, faults, locks, project
from scripts.backup import Backup
from scripts.connection import Session, transaction
from scripts.errors import UserError
from scripts.ledger import Ledger, Run
from scripts.project import Target
from scripts.settings import Database

LAST_RUNS = 5
#: What is left to do once nothing is pending; the review site knows what of it was done.
AFTERWARDS = [
    "Nothing is pending. `migrate validate` proves it, `migrate verify` that nothing else was changed.",
    "`migrate log --output FILE` keeps the log; `migrate teardown` removes the models.",
]


@dataclass(frozen=True)
class TargetStatus:
    """One target. `writable`: pending rows that the model has a value for; None when the model is not built.

    `listed`: rows that wait for a person, those with a malformed value included, which are not pending; None for a
    target that leaves nothing to a person, or when the listing is not built.
    """

    command: str
    column: str
    rows_pending: int | None
    writable: int | None
    built_at: datetime | None
    problem: str = ""
    listed: int | None = None


@dataclass(frozen=True)
class Status:
    """What `migrate status` shows."""

    database: str
    numbers: dict[str, Any]
    targets: list[TargetStatus]
    runs: list[Run]
    backups: list[Backup]
    writers: int  # sessions that hold a run's lock now
    next_steps: list[str] = field(default_factory=list)


def status(session: Session, database: Database, ledger: Ledger) -> Status:
    """Look at everything; reads only."""
    counted = targets(session, database, ledger)
    numbers = _numbers(session, database)
    runs = ledger.runs(session)
    backups = backup.existing(session, database.schema)
    found = Status(
        database=database.label,
        numbers=numbers,
        targets=counted,
        runs=runs[:LAST_RUNS],
        backups=backups,
        writers=len(locks.active_runs(session)),
    )
    found.next_steps.extend(automatic.hints(session, database, ledger))
    found.next_steps.extend(_next_steps(found, runs))
    return found


def targets(session: Session, database: Database, ledger: Ledger) -> list[TargetStatus]:
    """Count what is pending in every target; reads the whole tables."""
    built = {row["command"]: row["built_at"] for row in ledger.builds(session)}
    return [_target(session, one, built.get(name)) for name, one in project.targets(database).items()]


def _numbers(session: Session, database: Database) -> dict[str, Any]:
    """The one row of the report model `migration_status`; empty when it is not built or cannot be read."""
    name = sql.Identifier(database.schema, "migration_status")
    if not _exists(session, name):
        return {}
    try:
        with transaction(session), session.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(sql.SQL("select * from {}").format(name)).fetchone() or {}
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.FeatureNotSupported):
        return {}


def _target(session: Session, target: Target, built_at: datetime | None) -> TargetStatus:
    column = f"{target.schema}.{target.table}.{target.target_column}"
    try:
        leaves = batches.leaves(session, target.schema, target.table)
        if not leaves and not _exists(session, sql.Identifier(target.schema, target.table)):
            return TargetStatus(target.command, column, None, None, built_at, "there is no such table")
        pending = sum(batches.count_pending(session, target, leaf) for leaf in leaves)
        writable = pending if target.complete else _writable(session, target)
        listed = _listed(session, target)
    except psycopg.Error as error:
        return TargetStatus(target.command, column, None, None, built_at, faults.describe(error))
    except UserError as error:  # a partition that is no ordinary table
        return TargetStatus(target.command, column, None, None, built_at, error.message.rstrip("."))
    return TargetStatus(target.command, column, pending, writable, built_at, listed=listed)


def _writable(session: Session, target: Target) -> int | None:
    """Rows of a model that leaves some to a person; None when the model is not built."""
    return _count(session, batches.model_name(target), sql.Identifier(target.pending_flag))


def _listed(session: Session, target: Target) -> int | None:
    """Rows of the model that lists what waits for a person; None without one, or when it is not built."""
    if target.listing is None:
        return None
    return _count(session, sql.Identifier(target.model_schema, target.listing), sql.SQL("true"))


def _count(session: Session, name: sql.Composable, condition: sql.Composable) -> int | None:
    if not _exists(session, name):
        return None
    found = session.execute(sql.SQL("select count(*) from {} where {}").format(name, condition)).fetchone()
    return int(found[0]) if found else None


def _exists(session: Session, name: sql.Composable) -> bool:
    row = session.execute("select to_regclass(%s) is not null", [name.as_string(session)]).fetchone()
    return bool(row and row[0])


def _next_steps(found: Status, runs: list[Run]) -> list[str]:
    """What a person should do now, in order."""
    steps = [
        f"{target.column} cannot be read ({target.problem}): check the vars in dbt_project.yml."
        for target in found.targets
        if target.problem
    ]
    running = [one for one in runs if one.status == "running" and one.kind != "dry_run"]
    if running:
        name, waits = f"Run {str(running[0].run_id)[:8]} ({running[0].command})", running[0].waiting_for
        return [*steps, f"{name} waits: {waits}." if waits else f"{name} is going on: wait for it."]
    for target in found.targets:
        of_target = [one for one in runs if one.command == target.command]
        last = next((one for one in of_target if one.kind != "dry_run"), None)
        if last is not None and last.status == "crashed" and last.kind == "apply" and target.writable:
            steps.append(
                f"Run {str(last.run_id)[:8]} crashed; what it wrote is logged. "
                f"`migrate resume {str(last.run_id)[:8]}` goes on."
            )
        elif last is not None and last.kind == "rollback" and last.status not in ("done", "running"):
            steps.append(
                f"The rollback {str(last.run_id)[:8]} is not complete ({last.status}): "
                f"`migrate rollback {str(last.rolls_back)[:8]} --apply` goes on."
            )
        elif target.writable is None and target.rows_pending:
            steps.append(f"`migrate {target.command}` builds its models and shows what would be written.")
        elif target.writable:
            looked = bool(of_target) and of_target[0].kind == "dry_run"
            if not looked:
                steps.append(f"`migrate {target.command}` shows what would be written.")
            else:
                if not found.backups:
                    steps.append("`migrate backup` copies campaigns and events.")
                steps.append(f"`migrate {target.command} --apply` writes {target.writable:,} rows.")
        if target.listed:
            steps.append(f"{target.listed:,} {target.command} need a person: `migrate decide`.")
    if not steps and any(one.kind == "apply" for one in runs):
        steps += AFTERWARDS
    return steps or ["Nothing is pending."]


def as_json(found: Status) -> dict[str, Any]:
    """For --json."""
    return {
        "database": found.database,
        "numbers": found.numbers,
        "targets": [vars(target) for target in found.targets],
        "runs": [
            {
                "run_id": run.run_id,
                "command": run.command,
                "kind": run.kind,
                "status": run.status,
                "waiting_for": run.waiting_for,
                "rolls_back": run.rolls_back,
                "started_at": run.started_at,
                "ended_at": run.ended_at,
                "succeeded": run.succeeded,
                "failed": run.failed,
            }
            for run in found.runs
        ],
        "backups": [one.as_json() for one in found.backups],
        "writers": found.writers,
        "next_steps": found.next_steps,
    }
