"""What an administrator may start, each as the arguments of the command that does it, and when it is allowed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scripts.errors import RunInProgress, UserError
from scripts.ledger import Run
from scripts.server.jobs import Job, Jobs
from scripts.server.sessions import Administrator

COMMANDS = ("campaigns", "events")
LARGEST_BATCH = 1_000_000


@dataclass(frozen=True)
class Readiness:
    """How far a target is on its way: the newest dry run and apply, and whether Apply is open, or why not."""

    dry_run: Job | None
    apply: Job | None
    open: bool
    why: str

    @property
    def rows(self) -> int:
        """Rows that the dry run said would be written."""
        return writable(self.dry_run)


def writable(job: Job | None) -> int:
    """Rows that a dry run's report says would be written."""
    report: Any = job.report if job else None
    found = report.get("summary", {}).get("writable") if isinstance(report, dict) else None
    return found if isinstance(found, int) else 0


def restorable(job: Job | None) -> int:
    """Rows that a rollback's dry run says would be restored."""
    report: Any = job.report if job else None
    found = report.get("restored") if isinstance(report, dict) else None
    return found if isinstance(found, int) else 0


def readiness(jobs: list[Job], runs: list[Run], command: str) -> Readiness:
    """Whether Apply is open for a target: only on the newest dry run, once it was reviewed, and once only.

    `runs` are the newest ones, the newest first.
    """
    dry_run = _newest(jobs, "dry_run", command)
    apply = _newest(jobs, "apply", command)
    found = Readiness(dry_run, apply, False, "")
    if dry_run is None:
        return _because(found, "A dry run comes first.")
    if dry_run.running:
        return _because(found, "The dry run is going on.")
    if dry_run.state != "done":
        return _because(found, "The dry run did not succeed.")
    if apply is not None and apply.based_on == dry_run.id:
        return _because(found, "An apply was started from this dry run. Make another one for what is pending now.")
    since = _written_since(dry_run, runs, command)
    if since is not None:
        what = f"The {since.kind} {str(since.run_id)[:8]} has written since this dry run."
        return _because(found, f"{what} Make another one for what is pending now.")
    if not writable(dry_run):
        return _because(found, "The dry run found nothing to write.")
    if dry_run.reviewed_by is None:
        return _because(found, "Somebody has to review the dry run's report first.")
    return Readiness(dry_run, apply, True, "")


def _written_since(dry_run: Job, runs: list[Run], command: str) -> Run | None:
    """A run that wrote to the target after a dry run had looked at it, wherever it was started."""
    report: Any = dry_run.report
    looked = str(report.get("run_id")) if isinstance(report, dict) else ""
    for run in runs:
        if str(run.run_id) == looked:
            return None
        if run.command == command and run.kind != "dry_run" and run.succeeded:
            return run
    return None


def dry_run(jobs: Jobs, command: str, by: Administrator) -> Job:
    """Start a dry run that saves its plan."""
    return jobs.start(
        "dry_run", command,
        [command, "--save-plan", "{folder}/plan.json", "--report", "{folder}/report.json", *_by(by)], by,
    )  # fmt: skip


def apply(
    jobs: Jobs, runs: list[Run], command: str, dry_run_id: str, typed: str, by: Administrator, *,
    batch_size: int | None, allow_new: bool,
) -> Job:  # fmt: skip
    """Start the write-back of a reviewed dry run. Raises RunInProgress or UserError when it may not start."""
    refuse_second(runs, jobs.all(), command)
    found = readiness(jobs.all(), runs, command)
    if found.dry_run is None or found.dry_run.id != dry_run_id:
        raise UserError("There is a newer dry run than the one on your page. Review that one.")
    if not found.open:
        raise UserError(found.why)
    check_typed(typed, found.rows)
    arguments = [command, "--apply", "--yes", "--plan", str(found.dry_run.folder / "plan.json")]
    arguments += ["--report", "{folder}/report.json", *_by(by)]
    if allow_new:
        arguments.append("--allow-new")
    if batch_size is not None:
        arguments += ["--batch-size", str(batch_size)]
    return jobs.start("apply", command, arguments, by, found.dry_run)


def rollback_preview(jobs: Jobs, run: Run, by: Administrator) -> Job:
    """Start a rollback's dry run."""
    return jobs.start("rollback_preview", str(run.run_id), ["rollback", str(run.run_id), "--json"], by)


def rollback(jobs: Jobs, runs: list[Run], preview: Job, typed: str, by: Administrator) -> Job:
    """Start a rollback after its dry run. Raises RunInProgress or UserError when it may not start."""
    run = next((one for one in runs if str(one.run_id) == preview.subject), None)
    newest = _newest(jobs.all(), "rollback_preview", preview.subject)
    if run is None or newest is None or newest.id != preview.id or preview.state != "done":
        raise UserError("Make a new dry run of this rollback first.")
    done = _newest(jobs.all(), "rollback", preview.subject)
    if done is not None and done.based_on == preview.id:
        raise UserError("This rollback was started already. Make a new dry run to see what is left.")
    refuse_second(runs, jobs.all(), run.command)
    check_typed(typed, restorable(preview))
    arguments = ["rollback", preview.subject, "--apply", "--yes", "--json", *_by(by)]
    return jobs.start("rollback", preview.subject, arguments, by, preview)


def validate(jobs: Jobs, by: Administrator) -> Job:
    """Start a validation, which makes the Data Docs."""
    return jobs.start("validate", "", ["validate", "--json", "--output", str(jobs.data_docs)], by)


def backup(jobs: Jobs, by: Administrator, *, everything: bool) -> Job:
    """Start a backup."""
    return jobs.start("backup", "", ["backup", "--json", *(["--all"] if everything else [])], by)


def refuse_second(runs: list[Run], jobs: list[Job], command: str) -> None:
    """Raise RunInProgress when a run writes to this target, whoever started it."""
    for run in runs:
        if run.status == "running" and run.kind != "dry_run" and run.command == command:
            who = f", started by user {run.performed_by}" if run.performed_by else ""
            raise RunInProgress(
                f"Another run is working on the {command}: {run.kind} {str(run.run_id)[:8]}, since "
                f"{run.started_at:%Y-%m-%d %H:%M:%S} UTC{who}. Wait until it is done, or cancel it."
            )
    for job in jobs:
        if job.running and job.action == "apply" and job.subject == command:
            raise RunInProgress(f"{job.name} was started by {job.started_by} just now. Wait until it is done.")


def check_typed(typed: str, rows: int) -> None:
    """Raise UserError unless what was typed is the number of rows."""
    if "".join(character for character in typed if character not in " ,.'\u202f\u00a0") != str(rows):
        raise UserError(f"Not confirmed: type the number of rows, {rows:,}, to go ahead. Nothing was started.")


def _because(found: Readiness, why: str) -> Readiness:
    return Readiness(found.dry_run, found.apply, False, why)


def _newest(jobs: list[Job], action: str, subject: str) -> Job | None:
    return next((job for job in jobs if (job.action, job.subject) == (action, subject)), None)


def _by(by: Administrator) -> list[str]:
    return ["--performed-by", str(by.user_id)] if by.user_id else []
