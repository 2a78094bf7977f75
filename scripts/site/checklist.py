"""The checklist of the migration, worked out from what really happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from scripts.backup import KINDS, Backup
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
    # By the batches: a run that crashed has no end, and a long one wrote until long after its beginning.
    writes = [one.last_batch_at for one in runs if one.kind != "dry_run" and one.succeeded and one.last_batch_at]
    last_write = max(writes, default=None)
    steps = [
        _dry_run(found, runs),
        _backup(found, runs),
        _applied(found, runs),
        _validated(found, recorded, last_write),
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
            evidence.append(_run(last, f"{target.command}: dry run saw {_count(last.processed, 'row')} to write"))
    if not missing:
        return Item("dry_run", "Dry run", DONE, "Every target was looked at.", tuple(evidence))
    state = ATTENTION if evidence else OPEN
    return Item("dry_run", "Dry run", state, f"No dry run yet: {_and(missing)}.", tuple(evidence))


def _backup(found: Status, runs: Sequence[Run]) -> Item:
    evidence = tuple(Evidence(_copied(one), one.made_at) for one in found.backups[:6])
    if not evidence:
        return Item("backup", "Backup", OPEN, "No backup tables. `migrate backup` makes them.")
    problems = []
    for kind in KINDS:
        copies = [one for one in found.backups if one.kind == kind]
        dated = [one for one in copies if one.made_at is not None]
        if not copies:
            problems.append(f"There is no copy of {kind}: `migrate backup` makes one.")
        elif not dated:
            problems.append(f"When the copy of {kind} was made is not known: this tool did not make it.")
        elif not any(_is_from_before(one, runs) for one in dated):
            problems.append(f"The copy of {kind} was made after rows were written.")
    if problems:
        return Item("backup", "Backup", ATTENTION, " ".join(problems), evidence)
    return Item("backup", "Backup", DONE, "Copies were made before anything was written.", evidence)


def _copied(one: Backup) -> str:
    rows = "unknown rows" if one.rows is None else _count(one.rows, "row")
    left_out = f" ({_count(one.left_out, 'older one')} left out)" if one.left_out else ""
    return f"{one.name}: {rows}{left_out}, {size(one.bytes)}"


def _is_from_before(copy: Backup, runs: Sequence[Run]) -> bool:
    """Whether a copy holds the rows as they were before any write that was not taken back again before the copy."""
    made_at = copy.made_at
    assert made_at is not None
    taken_back = {
        one.rolls_back
        for one in runs
        if one.kind == "rollback" and one.status == "done" and not one.settings.get("one_batch")
        and one.ended_at is not None and one.ended_at <= made_at
    }  # fmt: skip
    return not any(
        one.kind == "apply" and one.command == copy.kind and one.succeeded and one.started_at < made_at
        and one.run_id not in taken_back
        for one in runs
    )  # fmt: skip


def _applied(found: Status, runs: Sequence[Run]) -> Item:
    evidence, left = [], []
    for target in found.targets:
        last = _last(runs, target, "apply")
        if last is not None:
            written = f"{target.command}: {_count(last.succeeded, 'row')} written, {last.status}"
            evidence.append(_run(last, written + (f", {last.failed:,} failed" if last.failed else "")))
        if target.rows_pending is None:
            left.append(f"{target.column} cannot be read")
        elif target.rows_pending:
            rows = _count(target.rows_pending, target.command.removesuffix("s"))
            left.append(f"{rows} {'is' if target.rows_pending == 1 else 'are'} pending")
        if last is not None and _is_unfinished(last, target, runs):
            failed = f" with {_count(last.failed, 'failed row')}" if last.failed else ""
            what = "refresh" if last.settings.get("refresh") else "run"
            left.append(f"the last {what} of {target.command} is {last.status}{failed}")
    if left and evidence:
        text = _and(left)
        return Item("applied", "Applied", ATTENTION, f"{text[0].upper()}{text[1:]}.", tuple(evidence))
    if any(target.rows_pending for target in found.targets):
        return Item("applied", "Applied", OPEN, "Nothing was written yet. `migrate events --apply` writes.")
    if left:
        return Item("applied", "Applied", OPEN, f"{_and(left)}.")
    who = "" if evidence else " This tool has written nothing."
    return Item("applied", "Applied", DONE, f"Nothing is pending.{who}", tuple(evidence))


def _is_unfinished(last: Run, target: TargetStatus, runs: Sequence[Run]) -> bool:
    """Whether a run left something that is still to be done: rows that failed, or that it did not come to, are pending
    until something fills them. What a refresh left is not; a dry run that sees nothing to rewrite shows that it is."""
    if last.status == "done" and not last.failed:
        return False
    if last.status == "running":
        return True
    if last.settings.get("refresh"):
        return not any(
            one.kind == "dry_run" and one.command == last.command and one.settings.get("refresh")
            and not one.processed and one.started_at > last.started_at
            for one in runs
        )  # fmt: skip
    return target.rows_pending != 0


def _validated(found: Status, recorded: Sequence[Recorded], last_write: datetime | None) -> Item:
    last = next((one for one in recorded if one.kind == VALIDATION), None)
    proof = next((one for one in recorded if one.kind == VERIFICATION), None)
    if last is None:
        return Item("validated", "Validated", OPEN, "No validation is recorded. `migrate validate` makes one.")
    failed, total = last.summary.get("failed", 0), last.summary.get("expectations", 0)
    warnings = last.summary.get("warnings", 0)
    judged = f"{_count(total, 'expectation')}, {failed or 'none'} failed" + (
        f", {_count(warnings, 'warning')}" if warnings else ""
    )
    evidence = [Evidence(f"validation: {judged}", last.recorded_at, last.recorded_by)]
    if proof is not None:
        run_id = UUID(str(proof.summary["run_id"])) if proof.summary.get("run_id") else None
        word = "nothing but the target column was changed" if proof.summary.get("holds") else "not proven"
        evidence.append(Evidence(f"verification: {word}", proof.recorded_at, proof.recorded_by, run_id))

    def item(state: str, sentence: str) -> Item:
        skipped = last.summary.get("skipped")
        return Item(
            "validated", "Validated", state, sentence + (f" Not judged: {skipped}." if skipped else ""), tuple(evidence)
        )

    if failed:
        return item(ATTENTION, f"{failed:,} of {total:,} expectations failed.")
    if proof is not None and not proof.summary.get("holds"):
        return item(ATTENTION, "The last verification did not hold.")
    if last_write is not None and (last.began_at or last.recorded_at) < last_write:
        return item(ATTENTION, "Rows were written after the last validation: `migrate validate` again.")
    if last_write is None and any(target.rows_pending for target in found.targets):
        return item(ATTENTION, "Nothing was written yet: `migrate validate` again once it is.")
    return item(DONE, f"{judged[0].upper()}{judged[1:]}.")


def _exported(recorded: Sequence[Recorded], last_write: datetime | None) -> Item:
    last = next((one for one in recorded if one.kind == LOG_EXPORT), None)
    if last is None:
        sentence = (
            "No export of the whole log is recorded. `migrate log --output FILE` makes one, and so does its download "
            "from `migrate serve`."
        )
        return Item("exported", "Log exported", OPEN, sentence)
    what = f"{_count(last.summary.get('rows', 0), 'row')} as {last.summary.get('format', 'a file')}"
    evidence = (Evidence(what, last.recorded_at, last.summary.get("by") or last.recorded_by),)
    if last_write is not None and last.recorded_at < last_write:
        sentence = "Rows were written after the last export: `migrate log --output FILE` again."
        return Item("exported", "Log exported", ATTENTION, sentence, evidence)
    return Item("exported", "Log exported", DONE, "The whole log was exported.", evidence)


def _ready(found: Status, steps: Sequence[Item]) -> Item:
    missing = [f"the step “{step.title}”" for step in steps if step.state != DONE]
    if waiting := found.numbers.get("ambiguous_campaigns"):
        missing.append(f"{_count(waiting, 'campaign')} that {'waits' if waiting == 1 else 'wait'} for a person")
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


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
