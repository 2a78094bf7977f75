"""A throw-away server of the oldest PostgreSQL that the tool supports, where its binaries are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.connection import OLDEST_VERSION


def binaries() -> Path | None:
    """The folder with its initdb and pg_ctl: where PostgreSQL's packages put them, or on the path."""
    found = shutil.which("initdb", path=f"/usr/lib/postgresql/{OLDEST_VERSION}/bin") or shutil.which("initdb")
    if found is None:
        return None
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    return Path(found).parent if f" {OLDEST_VERSION}." in version else None


def account() -> str | None:
    """Whom the server runs as: PostgreSQL refuses root."""
    return "postgres" if os.geteuid() == 0 else None


@contextmanager
def running(programs: Path) -> Iterator[str]:
    """Start a server on a private socket, in the C locale; yields its connection string and removes it in the end."""
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp") as name:
        folder = Path(name)
        if user := account():
            shutil.chown(folder, user)
        data = folder / "data"

        def run(program: str, *arguments: str) -> None:
            # Its output goes to a file: the server keeps a pipe open, and waiting for its end would never end.
            with (folder / f"{program}.log").open("wb") as log:
                subprocess.run(
                    [programs / program, *arguments], check=True, stdout=log, stderr=log, user=account(), cwd=folder
                )

        run("initdb", "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        options = f"-k {folder} -c listen_addresses= -c fsync=off"
        run("pg_ctl", "-D", str(data), "-w", "-l", str(data / "server.log"), "-o", options, "start")
        try:
            yield f"host={folder} user=postgres dbname=postgres"
        finally:
            run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")
