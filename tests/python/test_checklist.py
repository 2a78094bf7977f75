"""The checklist of the review site: what counts as done, and that everything can become so."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from scripts import evidence
from scripts.backup import KINDS, Backup
from scripts.evidence import Evidence
from scripts.ledger import Run
from scripts.site.checklist import Item, items
from scripts.status import Status, TargetStatus


def at(hour: float) -> datetime:
    """A time of one day."""
    return datetime(2026, 11, 23, tzinfo=UTC) + timedelta(hours=hour)


def run(kind: str, hour: float, *, rows: int = 10, command: str = "events", **more: Any) -> Run:
    """A run of half an hour that did what it should, unless `more` says otherwise."""
    found = Run(
        run_id=uuid4(), command=command, migration_type=command[:-1], kind=kind, status="done", rolls_back=None,
        started_at=at(hour), ended_at=at(hour + 0.5), performed_by=None, contract_version="1", models_checksum=None,
        settings={}, summary=None, backend_pid=None, batches=1, processed=rows,
        succeeded=0 if kind == "dry_run" else rows, failed=0, last_batch_at=at(hour + 0.5),
    )  # fmt: skip
    return replace(found, **more)


def copies(hour: float, **more: Any) -> list[Backup]:
    """Backup tables of both kinds."""
    return [
        replace(Backup(f"{kind}_backup_20261123", kind, 100, 0, 8192, at(hour)), **more) for kind in KINDS
    ]  # fmt: skip


def recorded(kind: str, hour: float, **summary: Any) -> Evidence:
    """A validation, a verification or an export of the log."""
    found = {"expectations": 3, "failed": 0, "holds": True, "rows": 5, **summary}
    return Evidence(uuid4(), kind, at(hour), "postgres", found)


DRY = [run("dry_run", 1, command="campaigns"), run("dry_run", 1)]
APPLIED = [run("apply", 3, command="campaigns"), run("apply", 3)]
PROOF = [recorded(evidence.VALIDATION, 5, began_at=at(4).isoformat()), recorded(evidence.LOG_EXPORT, 5)]


def look(
    runs: list[Run],
    *,
    pending: tuple[int | None, int | None] = (0, 0),
    backups: list[Backup] | None = None,
    proof: list[Evidence] | None = None,
    ambiguous: int = 0,
) -> dict[str, Item]:
    """The checklist by its keys."""
    targets = [
        TargetStatus(command, f"public.{command}.x", rows, rows, None, "" if rows is not None else "gone")
        for command, rows in zip(("events", "campaigns"), pending, strict=True)
    ]
    status = Status(
        "a database", {"ambiguous_campaigns": ambiguous}, targets, [], copies(2) if backups is None else backups, 0
    )
    newest_first = sorted(runs, key=lambda one: one.started_at, reverse=True)
    return {one.key: one for one in items(status, newest_first, PROOF if proof is None else proof)}


def states(found: dict[str, Item]) -> str:
    """The states of the steps, in their order."""
    return " ".join(one.state for one in found.values())


def test_a_migration_by_the_book_is_ready() -> None:
    assert states(look([*DRY, *APPLIED])) == "done done done done done done"
    assert states(look([], pending=(7, 7), backups=[], proof=[])) == "open open open open open open"


def test_where_nothing_was_ever_pending_all_can_be_done() -> None:
    assert states(look(DRY)) == "done done done done done done"


@pytest.mark.parametrize("status", ["crashed", "interrupted", "cancelled", "failed", "done"])
def test_a_run_that_ended_badly_is_over_once_nothing_is_pending(status: str) -> None:
    """It may have crashed after its last batch: `migrate events --apply` then has nothing to do, and makes no run."""
    ended = run("apply", 3, status=status, failed=2, ended_at=None if status == "crashed" else at(3.5))
    runs = [*DRY, APPLIED[0], ended]
    assert look(runs)["applied"].state == "done"
    found = look(runs, pending=(2, 0))["applied"]
    assert found.state == "attention"
    assert f"2 events are pending and the last run of events is {status} with 2 failed rows" in found.sentence.lower()
    assert look([*DRY, APPLIED[0], run("apply", 3, status="running")])["applied"].state == "attention"


def test_a_refresh_that_crashed_is_over_once_a_dry_run_sees_nothing_to_rewrite() -> None:
    refresh = {"refresh": True}
    runs = [*DRY, *APPLIED, run("apply", 3.6, status="crashed", settings=refresh)]
    assert "refresh of events is crashed" in look(runs)["applied"].sentence
    runs.append(run("dry_run", 4, rows=0, settings=refresh))
    assert look(runs)["applied"].state == "done"


def test_a_table_that_cannot_be_read_is_not_done() -> None:
    assert look(DRY, pending=(0, None))["applied"].state == "open"
    assert look([*DRY, *APPLIED], pending=(0, None))["applied"].state == "attention"


def test_a_backup_counts_when_it_holds_what_was_there_before_the_writes() -> None:
    late = copies(3.2)
    found = look([*DRY, *APPLIED], backups=late)["backup"]
    assert (found.state, "made after rows were written" in found.sentence) == ("attention", True)
    # One of the two kinds is as bad.
    assert look([*DRY, *APPLIED], backups=[copies(2)[0], late[1]])["backup"].state == "attention"
    assert "no copy of events" in look([*DRY, *APPLIED], backups=copies(2)[:1])["backup"].sentence
    assert "not known" in look([*DRY, *APPLIED], backups=copies(2, made_at=None))["backup"].sentence
    # A trial that was taken back, or that wrote nothing, spoils nothing.
    trial = run("apply", 1.5, succeeded=4)
    back = run("rollback", 2.1, rolls_back=trial.run_id)
    assert look([*DRY, trial, *APPLIED])["backup"].state == "attention"
    assert look([*DRY, trial, back, *APPLIED], backups=copies(2.8))["backup"].state == "done"
    assert look([*DRY, run("apply", 1.5, succeeded=0, status="failed"), *APPLIED])["backup"].state == "done"
    assert "(7 older ones left out)" in look(DRY, backups=copies(2, left_out=7))["backup"].evidence[0].what


def test_a_validation_counts_when_it_began_after_the_last_write() -> None:
    assert look([*DRY, *APPLIED])["validated"].state == "done"
    crashed = run("apply", 3.2, status="crashed", ended_at=None, last_batch_at=at(4.5))
    during = look([*DRY, *APPLIED, crashed])["validated"]
    assert (during.state, "after the last validation" in during.sentence) == ("attention", True)
    early = look(DRY, pending=(7, 0))["validated"]
    assert (early.state, "Nothing was written yet" in early.sentence) == ("attention", True)
    skipped = [recorded(evidence.VALIDATION, 5, skipped="Values: too long", warnings=2), PROOF[1]]
    said = look([*DRY, *APPLIED], proof=skipped)["validated"].sentence
    assert said == "3 expectations, none failed, 2 warnings. Not judged: Values: too long."
    failed = [recorded(evidence.VERIFICATION, 5, holds=False), *PROOF]
    assert look([*DRY, *APPLIED], proof=failed)["validated"].state == "attention"


def test_an_export_counts_when_it_holds_the_last_write() -> None:
    assert look([*DRY, *APPLIED, run("rollback", 6)])["exported"].state == "attention"


def test_campaigns_that_wait_for_a_person_are_in_the_way() -> None:
    assert "1 campaign that waits for a person" in look([*DRY, *APPLIED], ambiguous=1)["ready"].sentence
