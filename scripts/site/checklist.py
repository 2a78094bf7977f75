"""The checklist of the migration, worked out from what really happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from scripts.ledger import Run
from scripts.preflight import size
from scripts.status import Status, TargetStatus

DONE, ATTENTION, OPEN = "done", "attention", "open"


@dataclass(frozen=True)
class Evidence:
    """What shows that a step was taken: what, when, by whom, and the run if it was one."""

    what: str
    when: datetime | None = None
    by: UUID | str | None = None
    run_id: UUID | None = None


@dataclass(frozen=True)
class Item:
    """A step: `state` is done, attention (taken, but look at it) or open; `sentence` says why, and what to do."""

    key: str
    title: str
    state: str
    sentence: str
    evidence: tuple[Evidence, ...] = ()


def items(found: Status, runs: Sequence[Run]) -> list[Item]:
    """The steps in order."""
    steps = [_dry_run(found, runs), _backup(found, runs), _applied(found, runs)]
    return [*steps, _ready(steps)]


def _dry_run(found: Status, runs: Sequence[Run]) -> Item:
    evidence, missing = [], []
    for target in found.targets:
        last = _last(runs, target, "dry_run")
        if last is None:
            missing.append(f"`migrate {target.command}`")
        else:
            evidence.append(_run(last, f"{target.command}: dry run saw {last.processed:,} rows to write"))
    if not missing:
        return Item("dry_run", "Dry run", DONE, "Every target was looked at.", tuple(evidence))
    state = ATTENTION if evidence else OPEN
    return Item("dry_run", "Dry run", state, f"No dry run yet: {_and(missing)}.", tuple(evidence))


def _backup(found: Status, runs: Sequence[Run]) -> Item:
    evidence = tuple(
        Evidence(
            f"{one.name}: {'unknown' if one.rows is None else f'{one.rows:,}'} rows, {size(one.bytes)}", one.made_at
        )
        for one in found.backups[:6]
    )
    if not evidence:
        return Item("backup", "Backup", OPEN, "No backup tables. `migrate backup` makes them.")
    writes = [one.started_at for one in runs if one.kind == "apply"]
    times = [one.made_at for one in found.backups if one.made_at is not None]
    if writes and times and min(times) > min(writes):
        return Item("backup", "Backup", ATTENTION, "The first backup was made after the first write.", evidence)
    kinds = {one.kind for one in found.backups}
    if kinds < {"campaigns", "events"}:
        return Item("backup", "Backup", ATTENTION, f"Only {_and(sorted(kinds))} were copied.", evidence)
    return Item("backup", "Backup", DONE, "Copies were made before anything was written.", evidence)


def _applied(found: Status, runs: Sequence[Run]) -> Item:
    evidence, left = [], []
    for target in found.targets:
        last = _last(runs, target, "apply")
        if last is not None:
            evidence.append(_run(last, f"{target.command}: {last.succeeded:,} rows written, {last.status}"))
        if target.rows_pending is None:
            left.append(f"{target.column} cannot be read")
        elif target.rows_pending:
            left.append(f"{target.rows_pending:,} {target.command} are pending")
    if not evidence:
        return Item("applied", "Applied", OPEN, "Nothing was written yet. `migrate events --apply` writes.")
    if left:
        return Item("applied", "Applied", ATTENTION, f"{_and(left)}.", tuple(evidence))
    return Item("applied", "Applied", DONE, "Nothing is pending.", tuple(evidence))


def _ready(steps: Sequence[Item]) -> Item:
    missing = [step.title.lower() for step in steps if step.state != DONE]
    if missing:
        return Item("ready", "Ready for rollout", OPEN, f"Not yet; look at: {_and(missing)}.")
    return Item("ready", "Ready for rollout", DONE, "Every step above is done.")


def _last(runs: Sequence[Run], target: TargetStatus, kind: str) -> Run | None:
    return next((one for one in runs if one.command == target.command and one.kind == kind), None)


def _run(run: Run, what: str) -> Evidence:
    return Evidence(what, run.ended_at or run.started_at, run.performed_by, run.run_id)


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
