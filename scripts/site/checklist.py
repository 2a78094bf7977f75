"""The checklist of the migration, worked out from what really happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from scripts.evidence import LOG_EXPORT, VALIDATION, VERIFICATION
from scripts.evidence import Evidence as Recorded
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


def items(found: Status, runs: Sequence[Run], recorded: Sequence[Recorded]) -> list[Item]:
    """The steps in order. `runs` and `recorded` are the newest first."""
    writes = [one.ended_at or one.started_at for one in runs if one.kind != "dry_run" and one.succeeded]
    last_write = max(writes, default=None)
    steps = [
        _dry_run(found, runs),
        _backup(found, runs),
        _applied(found, runs),
        _validated(recorded, last_write),
        _exported(recorded, last_write),
    ]
    return [*steps, _ready(found, steps)]


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
        if last is not None and (last.failed or last.status != "done"):
            failed = f" with {last.failed:,} failed rows" if last.failed else ""
            left.append(f"the last run of {target.command} is {last.status}{failed}")
    if not evidence:
        return Item("applied", "Applied", OPEN, "Nothing was written yet. `migrate events --apply` writes.")
    if left:
        text = _and(left)
        return Item("applied", "Applied", ATTENTION, f"{text[0].upper()}{text[1:]}.", tuple(evidence))
    return Item("applied", "Applied", DONE, "Nothing is pending.", tuple(evidence))


def _validated(recorded: Sequence[Recorded], last_write: datetime | None) -> Item:
    last = next((one for one in recorded if one.kind == VALIDATION), None)
    proof = next((one for one in recorded if one.kind == VERIFICATION), None)
    if last is None:
        return Item("validated", "Validated", OPEN, "No validation is recorded. `migrate validate` makes one.")
    failed, total = last.summary.get("failed", 0), last.summary.get("expectations", 0)
    evidence = [Evidence(f"validation: {total:,} expectations, {failed:,} failed", last.recorded_at, last.recorded_by)]
    if proof is not None:
        run_id = UUID(str(proof.summary["run_id"])) if proof.summary.get("run_id") else None
        word = "nothing but the target column was changed" if proof.summary.get("holds") else "not proven"
        evidence.append(Evidence(f"verification: {word}", proof.recorded_at, proof.recorded_by, run_id))
    if failed:
        return Item(
            "validated", "Validated", ATTENTION, f"{failed:,} of {total:,} expectations failed.", tuple(evidence)
        )
    if proof is not None and not proof.summary.get("holds"):
        return Item("validated", "Validated", ATTENTION, "The last verification did not hold.", tuple(evidence))
    if last_write is not None and last.recorded_at < last_write:
        sentence = "Rows were written after the last validation: `migrate validate` again."
        return Item("validated", "Validated", ATTENTION, sentence, tuple(evidence))
    return Item("validated", "Validated", DONE, f"{total:,} expectations, none failed.", tuple(evidence))


def _exported(recorded: Sequence[Recorded], last_write: datetime | None) -> Item:
    last = next((one for one in recorded if one.kind == LOG_EXPORT), None)
    if last is None:
        sentence = "No export of the whole log is recorded. `migrate log --output FILE` makes one."
        return Item("exported", "Log exported", OPEN, sentence)
    what = f"{last.summary.get('rows', 0):,} rows as {last.summary.get('format', 'a file')}"
    evidence = (Evidence(what, last.recorded_at, last.recorded_by),)
    if last_write is not None and last.recorded_at < last_write:
        sentence = "Rows were written after the last export: `migrate log --output FILE` again."
        return Item("exported", "Log exported", ATTENTION, sentence, evidence)
    return Item("exported", "Log exported", DONE, "The whole log was exported.", evidence)


def _ready(found: Status, steps: Sequence[Item]) -> Item:
    missing = [f"the step “{step.title}”" for step in steps if step.state != DONE]
    if waiting := found.numbers.get("ambiguous_campaigns"):
        missing.append(f"{waiting:,} campaigns that wait for a person")
    if found.writers:
        missing.append("a run that is writing now")
    if not found.numbers:
        missing.append("the report `migration_status`, which is not built (`migrate build`)")
    if missing:
        return Item("ready", "Ready for rollout", OPEN, f"Not yet. In the way: {_and(missing)}.")
    return Item("ready", "Ready for rollout", DONE, "Every step is done and nothing waits for a person.")


def _last(runs: Sequence[Run], target: TargetStatus, kind: str) -> Run | None:
    return next((one for one in runs if one.command == target.command and one.kind == kind), None)


def _run(run: Run, what: str) -> Evidence:
    return Evidence(what, run.ended_at or run.started_at, run.performed_by, run.run_id)


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
