"""What the buttons start: `migrate` commands as processes of their own, which outlive the browser and the server.

A job is a folder in the state folder. Nothing about it is kept in memory, so that a server that was restarted, and a
second one, know it too.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scripts.errors import RunInProgress, UserError
from scripts.files import whole_file
from scripts.paths import project_dir, state_dir
from scripts.server.sessions import Administrator
from scripts.settings import Database

#: Files of a job that may be downloaded.
FILES = ("report.json", "plan.json", "output.txt", "messages.txt")
_ALIVE = "alive"
#: Of jobs that have ended, the last ones are kept.
KEPT = 200
_ID = re.compile(r"[0-9]{8}T[0-9]{6}-[0-9a-f]{8}")
_TAIL_BYTES = 4_000
#: What the command prints as JSON on stdout is the report; the others write one with --report.
_JSON = ("rollback_preview", "rollback", "validate", "backup")
#: Settings of the server that the commands do not need.
_OWN_SETTINGS = ("SUPABASE_", "MIGRATION_ALLOWED_ORIGINS", "MIGRATION_PUBLIC_URL", "MIGRATION_TRUSTED_PROXIES")

NAMES = {
    "dry_run": "Dry run",
    "apply": "Apply",
    "rollback_preview": "Rollback, dry run",
    "rollback": "Rollback",
    "validate": "Validation",
    "backup": "Backup",
}


@dataclass(frozen=True)
class Job:
    """A command that was started here. `subject`: events, campaigns, a run's id, or empty.

    `state`: running, done, failed (it ended with another exit code than 0) or lost (it was killed, or the machine
    stopped). `reviewed_by` is who read the report.
    """

    id: str
    action: str
    subject: str
    started_at: datetime
    started_by: str
    folder: Path
    state: str
    exit_code: int | None
    ended_at: datetime | None
    reviewed_by: str | None
    reviewed_at: datetime | None
    based_on: str | None

    @property
    def name(self) -> str:
        """What it is, for people."""
        subject = self.subject[:8] if self.action.startswith("rollback") else self.subject
        return f"{NAMES[self.action]}{f' of {subject}' if subject else ''}"

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.state == "running"

    @property
    def report(self) -> dict[str, Any] | list[Any] | None:
        """Its report; None when there is none (yet)."""
        try:
            found = json.loads((self.folder / "report.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict | list) else None

    @property
    def messages(self) -> str:
        """The end of what it wrote to stderr."""
        try:
            with (self.folder / "messages.txt").open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL_BYTES))
                return file.read().decode("utf-8", "replace").strip()
        except OSError:
            return ""

    @property
    def files(self) -> list[str]:
        """The files that there are to download."""
        return [name for name in FILES if (self.folder / name).is_file() and (self.folder / name).stat().st_size]

    @property
    def size(self) -> int:
        """Bytes written so far; changes when there is something new to see."""
        return sum((self.folder / name).stat().st_size for name in FILES if (self.folder / name).is_file())


class Jobs:
    """The jobs of one database. `options` are the command line's own --profile and --target."""

    def __init__(self, database: Database, options: Sequence[str] = ()) -> None:
        name = hashlib.sha256(json.dumps([database.label, database.schema]).encode()).hexdigest()[:12]
        self._folder = state_dir() / "serve" / name / "jobs"
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.data_docs = self._folder.parent / "data_docs"
        self._options = list(options)
        self._lock = threading.Lock()

    def all(self) -> list[Job]:
        """All jobs, the newest first."""
        found = (self.find(path.name) for path in sorted(self._folder.iterdir(), reverse=True))
        return [job for job in found if job is not None]

    def find(self, job_id: str) -> Job | None:
        """A job by its id; None when there is none."""
        folder = self._folder / job_id
        if not _ID.fullmatch(job_id):
            return None
        made = _read(folder / "job.json")
        if made is None:
            return None
        end = _read(folder / "end.json")
        alive = end is None and _alive(folder)
        if not alive:
            end = end or _read(folder / "end.json")  # it may have come to its end between
        review = _read(folder / "review.json") or {}
        code = end["exit_code"] if end else None
        state = "running" if alive else "lost"
        if end:
            state = "done" if code == 0 else "failed"
        return Job(
            id=job_id, action=made["action"], subject=made["subject"], folder=folder, state=state, exit_code=code,
            started_at=datetime.fromisoformat(made["started_at"]), started_by=made["started_by"],
            ended_at=datetime.fromisoformat(end["ended_at"]) if end else None,
            reviewed_by=review.get("by"), based_on=made.get("based_on"),
            reviewed_at=datetime.fromisoformat(review["at"]) if review else None,
        )  # fmt: skip

    def start(
        self, action: str, subject: str, arguments: Sequence[str], by: Administrator, based_on: Job | None = None
    ) -> Job:
        """Start `migrate` with these arguments; "{folder}" in one of them stands for the job's own folder.

        Raises RunInProgress when such a job is running.
        """
        with self._lock:
            for job in self.all():
                if job.running and (job.action, job.subject) == (action, subject):
                    raise RunInProgress(
                        f"{job.name} is going on already: {job.started_by} started it at "
                        f"{job.started_at:%H:%M:%S} UTC. Wait until it is done."
                    )
            self._sweep()
            now = datetime.now(UTC)
            job_id = f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
            folder = self._folder / job_id
            folder.mkdir(mode=0o700)
            command = [*(one.replace("{folder}", str(folder)) for one in arguments), *self._options]
            _spawn(folder, "report.json" if action in _JSON else "output.txt", {
                "action": action, "subject": subject, "arguments": command, "started_at": now.isoformat(),
                "started_by": by.name, "based_on": based_on.id if based_on else None,
            })  # fmt: skip
            found = self.find(job_id)
            assert found is not None
            return found

    def review(self, job: Job, by: Administrator) -> None:
        """Record that somebody has read the report. Raises UserError when there is nothing to read."""
        if job.action != "dry_run" or job.state != "done" or job.report is None:
            raise UserError(f"{job.name} has no report of a dry run to review.")
        if job.reviewed_by is None:
            _write(job.folder / "review.json", {"by": by.name, "at": datetime.now(UTC).isoformat()})

    def _sweep(self) -> None:
        for job in self.all()[KEPT:]:
            if not job.running:
                shutil.rmtree(job.folder, ignore_errors=True)


def _spawn(folder: Path, output: str, job: dict[str, Any]) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_OWN_SETTINGS)}
    # The process holds a lock on this file while it lives: ids of processes come again, and clocks are set.
    with (
        (folder / _ALIVE).open("wb") as alive,
        (folder / output).open("wb") as out,
        (folder / "messages.txt").open("wb") as messages,
    ):
        fcntl.flock(alive, fcntl.LOCK_EX)
        _write(folder / "job.json", job)
        # Credentials are in the environment, which only the owner can read; arguments are seen by everybody.
        process = subprocess.Popen(
            [sys.executable, "-m", "scripts.server.child", str(folder)],
            cwd=project_dir(),
            env={**environment, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", "COLUMNS": "100"},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=messages,
            start_new_session=True,
            pass_fds=[alive.fileno()],
        )
    _write(folder / "process.json", {"pid": process.pid})
    threading.Thread(target=process.wait, daemon=True).start()  # so that no zombie is left


def _alive(folder: Path) -> bool:
    try:
        with (folder / _ALIVE).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _write(path: Path, value: dict[str, Any]) -> None:
    with whole_file(path) as file:
        file.write(json.dumps(value, indent=2))
