"""A real PostgreSQL for the tests: an empty database for each test that asks for one."""

import os
import uuid
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from scripts import embedded, settings
from scripts.settings import Database


@pytest.fixture(scope="session")
def server() -> str:
    """A connection string to a server on which databases may be created: TEST_DATABASE_URL, else the embedded one."""
    return os.environ.get("TEST_DATABASE_URL") or embedded.url()


@pytest.fixture(scope="session")
def make_database(server: str) -> Iterator[Callable[[], Database]]:
    """A function that makes an empty database; all are dropped at the end of the session."""
    names: list[str] = []

    def make() -> Database:
        name = f"test_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(server, autocommit=True) as session:
            session.execute(
                sql.SQL("create database {} encoding 'UTF8' template template0").format(sql.Identifier(name))
            )
        names.append(name)
        return settings.from_url(make_conninfo(server, dbname=name), origin="the test")

    yield make
    with psycopg.connect(server, autocommit=True) as session:
        for name in names:
            session.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def database(make_database: Callable[[], Database]) -> Database:
    """An empty database of its own."""
    return make_database()
