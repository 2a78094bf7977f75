"""A saved plan: what a dry run said would be written, and whether that is still so.

A plan holds no values, but a digest of them for each group (provider), so that the same digest means the same rows
with the same values. On a live system rows arrive between plan and apply. They are told apart by the transaction that
wrote them: the plan's horizon is the oldest transaction that was open when the plan was made, so whatever a later
one inserted or changed is no part of the plan's settled rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import UUID

from scripts.connection import Session
from scripts.errors import UserError
from scripts.files import whole_file
from scripts.project import Target
from scripts.survey import Group, Survey

FORMAT = 2

# The system identifier is the cluster's own (a restored copy has the same one, and the same rows).
_IDENTITY = """
select
    d.datname::text,
    d.oid::bigint,
    case
        when pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'execute')
            then (select c.system_identifier::text from pg_catalog.pg_control_system() as c)
    end
from pg_catalog.pg_database as d
where d.datname = current_database()
"""


@dataclass(frozen=True)
class Plan:
    """What is in a plan file. `groups` maps a group to its rows and digests (as hexadecimal text)."""

    format: int
    tool_version: str
    made_at: str
    dry_run: str
    command: str
    refresh: bool
    database: dict[str, Any]
    target: dict[str, str]
    contract_version: str
    models_checksum: str | None
    limit: int | None
    horizon: int
    pending: int
    writable: int
    groups: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Comparison:
    """A plan against what is so now: sentences that say what differs (none: it may be applied), and new rows."""

    differences: list[str]
    new_rows: int


def make(
    session: Session, target: Target, checksum: str | None, seen: Survey, limit: int | None, horizon: int, run_id: UUID
) -> Plan:
    """The plan of a dry run, whose survey made every value."""
    now = session.execute("select clock_timestamp()").fetchone()
    assert now is not None
    assert isinstance(now[0], datetime)
    return Plan(
        format=FORMAT, tool_version=version("canonical-migration"), made_at=now[0].isoformat(), dry_run=str(run_id),
        command=target.command, refresh=target.refreshing, database=_database(session), target=_target(target),
        contract_version=target.contract_version, models_checksum=checksum, limit=limit, horizon=horizon,
        pending=seen.pending, writable=seen.writable, groups=_groups(seen.seen),
    )  # fmt: skip


def save(plan: Plan, path: Path) -> None:
    """Write the file, whole or not at all."""
    with whole_file(path) as file:
        file.write(json.dumps(asdict(plan), indent=2, ensure_ascii=False) + "\n")


def read(path: Path, command: str, *, refresh: bool) -> Plan:
    """Read a plan for this command. Raises UserError when it is none, or one for another command."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        plan = Plan(**found)
        rows = [group["rows"] + group["settled_rows"] for group in plan.groups.values()]
        known = plan.format == FORMAT and all(isinstance(count, int) for count in rows)
    except OSError as error:
        raise UserError(f"The plan {path} cannot be read: {error.strerror or error}.") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        known = False
    if not known:
        raise UserError(
            f"{path} is no plan of this version of the tool. Make one with `migrate {command} --save-plan`."
        )
    if (plan.command, plan.refresh) != (command, refresh):
        made = f"migrate {plan.command}{' --refresh' if plan.refresh else ''}"
        raise UserError(f"The plan {path} was made by `{made}`. Use it with the same command.")
    return plan


def compare(
    plan: Plan, session: Session, target: Target, checksum: str | None, seen: Survey, *, allow_new: bool
) -> Comparison:
    """Compare a plan with a survey that made every value with the plan's horizon.

    With `allow_new` the plan's settled rows must be as they were, and younger ones may have come.
    """
    differences = [
        *_changes("database", plan.database, _database(session)),
        *_changes("target", plan.target, _target(target)),
        *_changes(
            "models", {"contract_version": plan.contract_version, "checksum": plan.models_checksum},
            {"contract_version": target.contract_version, "checksum": checksum},
        ),
    ]  # fmt: skip
    now = _groups(seen.seen)
    prefix = "settled_" if allow_new else ""
    differences += _group_changes(plan.groups, now, prefix, target.group_by)
    new = seen.writable - plan.writable
    if allow_new:
        planned = sum(group["settled_rows"] for group in plan.groups.values())
        new = seen.writable - sum(group["settled_rows"] for group in now.values())
        if plan.writable and not planned:
            differences.append(
                "rows: when the plan was made a transaction was open that is older than all of them, so they cannot "
                "be told from rows that came later"
            )
    return Comparison(differences, max(new, 0))


def _changes(what: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name, value in now.items():
        before = was.get(name)
        if before != value:
            yield f"{what} {name.replace('_', ' ')}: {before} in the plan, {value} now"


def _group_changes(
    was: Mapping[str, Mapping[str, Any]], now: Mapping[str, Mapping[str, Any]], prefix: str, group_by: str
) -> Iterator[str]:
    for name in sorted(was.keys() | now.keys()):
        before, after = ((side.get(name, {}).get(f"{prefix}rows", 0)) for side in (was, now))
        shown = f"{group_by} {name or '(none)'}"
        if before != after:
            yield f"{shown}: {before:,} rows in the plan, {after:,} now"
        elif was.get(name, {}).get(f"{prefix}digest") != now.get(name, {}).get(f"{prefix}digest") and before:
            yield f"{shown}: {before:,} rows as in the plan, but other values (or other rows)"


def _groups(groups: Mapping[str, Group]) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "rows": group.rows, "digest": _hexadecimal(group.digest),
            "settled_rows": group.settled_rows, "settled_digest": _hexadecimal(group.settled_digest),
        }
        for name, group in sorted(groups.items())
    }  # fmt: skip


def _hexadecimal(digest: int) -> str:
    return f"{digest & 0xFFFFFFFFFFFFFFFF:016x}"


def _database(session: Session) -> dict[str, Any]:
    row = session.execute(_IDENTITY).fetchone()
    assert row is not None
    return dict(zip(("name", "oid", "system_identifier"), row, strict=True))


def _target(target: Target) -> dict[str, str]:
    return {
        "table": f"{target.schema}.{target.table}", "column": target.target_column,
        "model": f"{target.model_schema}.{target.model}",
    }  # fmt: skip
