"""A real PostgreSQL for the tests: a server of their own, and a database for each test that asks for one."""

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pooler
import psutil
import psycopg
import pytest
import servers
from psycopg import sql
from psycopg.conninfo import make_conninfo
from typer.testing import CliRunner

from scripts import demo, embedded, project, settings
from scripts.cli import app
from scripts.connection import OLDEST_VERSION, connect
from scripts.ledger import Ledger
from scripts.paths import project_dir
from scripts.settings import Database

DEMO_EVENTS = 400
STATE_PREFIX = "migrate-test-"

#: The files that take longest, first: whole files are given to the processes, and a long one must not come last.
LONGEST = ("test_serve_browser.py", "test_site.py", "test_serve_admin.py", "test_automatic.py", "test_writeback.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files."""
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly what could not be tested on this machine: a skip is easily overlooked."""
    lacking = []
    if OLDEST_VERSION not in servers.programs():
        lacking.append(
            f"PostgreSQL {OLDEST_VERSION}, the oldest that is supported, is not installed: NOTHING was tested on it. "
            f"Install Debian's postgresql-{OLDEST_VERSION}, or name its folder of programs in {servers.VARIABLE}."
        )
    if pooler.BINARY is None:
        lacking.append("pgbouncer is not installed: a small pooler of the tests' own stood in for it.")
    if shutil.which("chromium") is None:
        lacking.append("chromium is not installed: nobody looked at the pages.")
    if os.geteuid() != 0:
        lacking.append("A full disk of the server: mounting a small one takes root.")
    if lacking:
        terminalreporter.section("NOT TESTED HERE", red=True, bold=True)
        for line in lacking:
            terminalreporter.line(line, red=True)


class Cli(Protocol):
    """Runs the real `migrate` as a process of its own."""

    def __call__(
        self, *arguments: str, database: Database | None = None, expect: int | None = 0, **env: str
    ) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture(scope="session", autouse=True)
def own_state() -> Iterator[Path]:
    """The tests' own state folder, and none of the settings that the person who runs them may have."""
    folder = Path(tempfile.mkdtemp(prefix=STATE_PREFIX))
    # As root the server runs as another user, who must get in.
    folder.chmod(0o755)
    (folder / "pid").write_text(str(os.getpid()))
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("PG", "DBT_", "MIGRATION_")) or name == "DATABASE_URL":
                patch.delenv(name)
        remove_leftovers(patch)
        patch.setenv("MIGRATION_STATE_DIR", str(folder))
        patch.setenv("HOME", str(folder / "home"))
        yield folder
        embedded.reset()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def server(own_state: Path) -> str:
    """A connection string to a server on which databases may be created: TEST_DATABASE_URL, else the embedded one."""
    return os.environ.get("TEST_DATABASE_URL") or embedded.url()


@pytest.fixture(scope="session")
def oldest(own_state: Path) -> Iterator[str]:
    """A connection string to a server of the oldest PostgreSQL that is supported; skips where it is not installed."""
    if OLDEST_VERSION not in servers.programs():
        pytest.skip(f"PostgreSQL {OLDEST_VERSION} is not installed here")
    with servers.private(OLDEST_VERSION) as server:
        yield server.conninfo


@pytest.fixture(scope="session", params=["embedded", "oldest"])
def any_server(request: pytest.FixtureRequest) -> str:
    """The embedded server, then the oldest supported one."""
    found: str = request.getfixturevalue("server" if request.param == "embedded" else "oldest")
    return found


@pytest.fixture(scope="session", params=servers.SUPPORTED)
def each_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server of every supported version that is installed, for the few tests that need no more than one of each."""
    version: int = request.param
    if version == embedded.VERSION:
        yield request.getfixturevalue("server")
    elif version == OLDEST_VERSION:
        yield request.getfixturevalue("oldest")
    elif version in servers.programs():
        with servers.private(version) as made:
            yield made.conninfo
    else:
        pytest.skip(f"PostgreSQL {version} is not installed here")


@pytest.fixture(scope="session")
def make_database(server: str) -> Iterator[Callable[[], Database]]:
    """A function that makes an empty database; all are dropped at the end of the session."""
    names: list[str] = []

    def make() -> Database:
        names.append(create_database(server))
        return on(server, names[-1])

    yield make
    for name in names:
        drop_database(server, name)


@pytest.fixture
def database(make_database: Callable[[], Database]) -> Database:
    """An empty database of its own."""
    return make_database()


@pytest.fixture
def any_database(any_server: str) -> Iterator[Database]:
    """An empty database of its own, on each version of the server."""
    name = create_database(any_server)
    yield on(any_server, name)
    drop_database(any_server, name)


@pytest.fixture(scope="session")
def demo_template(server: str) -> Iterator[str]:
    """The name of a database with the demo, the ledger and the models, to be copied."""
    name = create_database(server)
    fill(on(server, name))
    yield name
    drop_database(server, name)


@pytest.fixture
def demo_database(server: str, demo_template: str) -> Iterator[Database]:
    """A database of its own with the demo, nothing of it migrated, and the models up to date."""
    name = create_database(server, template=demo_template)
    yield on(server, name)
    drop_database(server, name)


@pytest.fixture(scope="session")
def cli() -> Cli:
    """The real `migrate`, on the database given (else the embedded server); checks the exit code."""

    def run(
        *arguments: str, database: Database | None = None, expect: int | None = 0, **env: str
    ) -> subprocess.CompletedProcess[str]:
        given = {"DATABASE_URL": database.conninfo} if database else {}
        done = subprocess.run(
            [str(Path(sys.executable).parent / "migrate"), *arguments],
            env={**os.environ, **given, **env},
            cwd=project_dir(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert expect is None or done.returncode == expect, done.stdout + done.stderr
        return done

    return run


def remove_leftovers(patch: pytest.MonkeyPatch) -> None:
    """Remove the servers of test sessions that were killed."""
    servers.remove_leftovers()
    for folder in Path(tempfile.gettempdir()).glob(f"{STATE_PREFIX}*"):
        try:
            dead = folder.stat().st_uid == os.geteuid() and not psutil.pid_exists(int((folder / "pid").read_text()))
        except (OSError, ValueError, KeyError):
            continue
        if dead:
            patch.setenv("MIGRATION_STATE_DIR", str(folder))
            embedded.reset()
            shutil.rmtree(folder, ignore_errors=True)


def on(server: str, name: str) -> Database:
    """A database of a server."""
    return settings.from_url(make_conninfo(server, dbname=name), origin="the test")


def create_database(server: str, template: str = "template0") -> str:
    """Make a database; returns its name."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as session:
        session.execute(
            sql.SQL("create database {} encoding 'UTF8' template {}").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
    return name


def drop_database(server: str, name: str) -> None:
    """Drop a database, whoever is connected to it."""
    with psycopg.connect(server, autocommit=True) as session:
        session.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def fill(database: Database) -> None:
    """The demo, the ledger, and the models of both commands."""
    demo.create(database, events=DEMO_EVENTS, seed=7)
    with connect(database) as session:
        Ledger(database.schema, settings.source_schema()).ensure(session)
    project.build_missing(
        database, ["canonical_events", "canonical_refresh", "campaign_data_sources", "ambiguous_campaigns"]
    )


@pytest.fixture(scope="session")
def migrated_template(server: str, demo_template: str) -> Iterator[str]:
    """The name of a database with the demo, both of its columns written and every model built, to be copied."""
    name = create_database(server, template=demo_template)
    database = on(server, name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", database.conninfo)
        for command in ("events", "campaigns"):
            done = CliRunner().invoke(app, [command, "--apply", "--yes"])
            assert done.exit_code == 0, done.output
    assert project.build(database, exclude=["resource_type:test", "resource_type:unit_test"]) == 0
    yield name
    drop_database(server, name)


@pytest.fixture(scope="session")
def migrated_demo(server: str, migrated_template: str) -> Database:
    """The migrated demo itself. For reading: take `changed_demo` to change something."""
    return on(server, migrated_template)


@pytest.fixture
def changed_demo(server: str, migrated_template: str) -> Iterator[Database]:
    """A copy of the migrated demo, to be changed."""
    name = create_database(server, template=migrated_template)
    yield on(server, name)
    drop_database(server, name)
