"""Connections: their settings, poolers, and what a person is told when one cannot be opened."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import servers
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from pooler import pooled
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from scripts import connection, locks, project, settings
from scripts.errors import RunInProgress, UserError
from scripts.settings import Database

SECRET = "p4ss-w0rd-of-the-t3st"


def shown(session: connection.Session, name: str) -> str:
    row = session.execute("select current_setting(%s)", (name,)).fetchone()
    return str(row[0]) if row else ""


def refusal(url: str) -> str:
    with pytest.raises(UserError) as caught:
        connection.connect(settings.from_url(url))
    assert caught.value.exit_code == 2
    assert SECRET not in caught.value.message
    return caught.value.message


# ---------- settings of a session


def test_a_session_has_the_tools_settings(any_database: Database) -> None:
    with psycopg.connect(any_database.conninfo, autocommit=True) as session:
        for setting in ("datestyle = 'SQL, DMY'", "default_transaction_isolation = 'serializable'"):
            session.execute(
                sql.SQL("alter database {} set {}").format(sql.Identifier(session.info.dbname), sql.SQL(setting))
            )
    with connection.connect(replace(any_database, statement_timeout="7min", lock_timeout="3s")) as session:
        names = ("row_security", "statement_timeout", "lock_timeout", "jit", "timezone", "datestyle", "client_encoding")
        assert [shown(session, name) for name in names] == ["off", "7min", "3s", "off", "UTC", "ISO, MDY", "UTF8"]
        assert shown(session, "transaction_isolation") == "read committed"
        assert not session.transaction_pooling


def test_rows_hidden_by_a_policy_are_an_error_that_names_the_remedy(any_database: Database) -> None:
    with psycopg.connect(any_database.conninfo, autocommit=True) as session:
        session.execute("drop role if exists reader; create role reader")
        session.execute("create table hidden (id int); alter table hidden enable row level security")
        session.execute("create policy own on hidden using (false); grant select on hidden to reader")
    database = replace(any_database, role="reader")
    with connection.connect(database) as session, pytest.raises(psycopg.Error) as caught:
        session.execute("select count(*) from hidden")
    explained = connection.explain(caught.value, database)
    assert explained is not None
    assert "hidden" in explained.message
    assert "BYPASSRLS" in explained.message


def test_another_program_gets_the_same_session_from_the_environment(database: Database) -> None:
    conninfo = make_conninfo(database.conninfo, options="-c geqo=off", password=SECRET)
    variables = connection.environment(settings.from_url(conninfo))
    assert variables["PGPASSWORD"] == SECRET
    query = "select current_setting(n) from unnest(array['row_security','lock_timeout','geqo','timezone']) as n"
    code = f"import psycopg2; c = psycopg2.connect('').cursor(); c.execute({query!r}); print(*c.fetchall())"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PATH": os.environ["PATH"], **variables}, capture_output=True, text=True
    )
    assert done.stdout.split() == ["('off',)", "('5s',)", "('off',)", "('UTC',)"], done.stderr


def test_the_host_that_answers_is_the_one_that_is_used(database: Database, tmp_path: Path) -> None:
    host = conninfo_to_dict(database.conninfo)["host"]
    given = settings.from_url(make_conninfo(database.conninfo, host=f"{tmp_path},{host}", port="5432,5432"))
    with connection.connect(given) as session:
        assert session.info.host == host
    assert connection.environment(given)["PGHOST"] == host


# ---------- a pooler in transaction mode


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_pooler_in_transaction_mode_is_found_by_its_behaviour(database: Database, size: int) -> None:
    with pooled(database.conninfo, size) as conninfo, connection.connect(settings.from_url(conninfo)) as session:
        assert session.transaction_pooling
        assert session.prepare_threshold is None


def test_settings_hold_inside_a_transaction_of_a_pooler_and_do_not_leak(database: Database) -> None:
    with pooled(database.conninfo, 1) as conninfo, connection.connect(settings.from_url(conninfo)) as session:
        with connection.transaction(session):
            assert shown(session, "row_security") == "off"
            with connection.transaction(session):
                assert shown(session, "lock_timeout") == "5s"
        assert shown(session, "row_security") == "on"


def test_settings_hold_inside_a_transaction_without_a_pooler(database: Database) -> None:
    with connection.connect(database) as session:
        with connection.transaction(session), connection.transaction(session):
            assert shown(session, "row_security") == "off"
        assert shown(session, "row_security") == "off"


def test_locks_hold_through_a_pooler(database: Database) -> None:
    with psycopg.connect(database.conninfo, autocommit=True) as session:
        limits = ["idle_in_transaction_session_timeout"]
        limits += ["transaction_timeout"] if session.info.server_version >= 170000 else []
        for limit in limits:
            name, value = sql.Identifier(session.info.dbname), sql.SQL(limit)
            session.execute(sql.SQL("alter database {} set {} = '400ms'").format(name, value))
    with pooled(database.conninfo, 3) as conninfo:
        through = settings.from_url(conninfo)
        with locks.held(through, locks.lock_key("a")) as first:
            time.sleep(0.6)
            with locks.held(database, locks.lock_key("a")) as second:
                assert (first, second) == (True, False)
        with locks.held(database, locks.lock_key("b")):
            time.sleep(0.6)
        with locks.held(database, locks.lock_key("a")) as third:
            assert third


def test_dbt_refuses_hidden_rows_behind_a_pooler(demo_database: Database) -> None:
    with psycopg.connect(demo_database.conninfo, autocommit=True) as session:
        session.execute("drop role if exists app_builder; create role app_builder login")
        session.execute("grant usage on schema public to app_builder")
        session.execute("grant select on all tables in schema public to app_builder")
    direct = make_conninfo(demo_database.conninfo, user="app_builder")
    with pooled(direct, 2) as conninfo, pytest.raises(UserError, match="Row level security hides rows"):
        project.build(settings.from_url(conninfo), show=False)


# ---------- locks


def test_a_lock_is_seen_as_an_active_run_and_the_build_lock_is_not(database: Database) -> None:
    with connection.connect(database) as session, locks.building(database):
        assert locks.active_runs(session) == []
        with locks.held(database, locks.run_key("public", "events", "canonical_event")) as got:
            assert got
            assert len(locks.active_runs(session)) == 1


def test_a_second_build_waits_and_then_gives_up(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "BUILD_WAIT_SECONDS", 0.5)
    entered, leave = threading.Event(), threading.Event()

    def build() -> None:  # by another thread of the same process, as two calls of a server are
        with locks.building(database):
            entered.set()
            leave.wait(20)

    other = threading.Thread(target=build)
    other.start()
    try:
        entered.wait(20)
        with pytest.raises(RunInProgress) as caught, locks.building(database):
            pass
        assert caught.value.exit_code == 3
    finally:
        leave.set()
        other.join()
    with locks.building(database), locks.building(database):
        pass


# ---------- what a person is told


def test_a_host_that_is_not_there() -> None:
    message = refusal(f"postgresql://app:{SECRET}@no-such-host.invalid/shop")
    assert "no-such-host.invalid" in message
    assert "DATABASE_URL" in message


def test_a_port_where_nothing_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    assert "nothing answers" in refusal(f"postgresql://app:{SECRET}@127.0.0.1:{port}/shop")


def test_something_that_is_not_postgresql() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def answer() -> None:
            for _ in range(2):
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    client.recv(100)
                    client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        message = refusal(f"postgresql://app:{SECRET}@127.0.0.1:{listener.getsockname()[1]}/shop?sslmode=disable")
    assert "not PostgreSQL" in message


def test_a_database_that_does_not_exist(database: Database) -> None:
    assert "database does not exist" in refusal(make_conninfo(database.conninfo, dbname="nowhere", password=SECRET))


def test_a_user_that_does_not_exist(database: Database) -> None:
    assert "user" in refusal(make_conninfo(database.conninfo, user="nobody_at_all", password=SECRET))


def test_tls_that_the_server_lacks(any_server: str) -> None:
    # Over a socket libpq leaves TLS out; a server on a port is needed to be refused.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def answer() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(100)
                client.sendall(b"N")
                client.recv(100)

        threading.Thread(target=answer, daemon=True).start()
        port = listener.getsockname()[1]
        assert "TLS" in refusal(f"postgresql://app:{SECRET}@127.0.0.1:{port}/shop?sslmode=require")


def certificate(folder: Path, name: str, account: str | None) -> None:
    """A certificate of its own for a host, and its key, as a server wants them."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "server.crt").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / "server.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "server.key").chmod(0o600)
    if account:
        shutil.chown(folder / "server.key", account)


def test_tls_settings_hold_for_every_session() -> None:
    """The tool's own, and those of other programs (dbt, Great Expectations), which get them from the environment."""
    if connection.OLDEST_VERSION not in servers.programs():
        pytest.skip(f"PostgreSQL {connection.OLDEST_VERSION} is not installed here, and the embedded one has no TLS")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="tls", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        certificate(folder, "localhost", servers.account())
        options = (
            f"-c fsync=off -c listen_addresses=127.0.0.1 -c port={port} -c ssl=on "
            f"-c ssl_cert_file={folder}/server.crt -c ssl_key_file={folder}/server.key"
        )
        query = "select ssl, version from pg_stat_ssl where pid = pg_backend_pid()"
        with servers.private(connection.OLDEST_VERSION, options):
            url = f"postgresql://postgres@localhost:{port}/postgres?sslmode=verify-full"
            assert "TLS failed" in refusal(url)
            database = settings.from_url(f"{url}&sslrootcert={folder}/server.crt&ssl_min_protocol_version=TLSv1.3")
            with connection.connect(database) as session:
                assert session.execute(query.encode()).fetchone() == (True, "TLSv1.3")
            variables = connection.environment(database)
            assert variables["PGSSLMODE"] == "verify-full"
            code = f"import psycopg2; c = psycopg2.connect('').cursor(); c.execute({query!r}); print(*c.fetchall())"
            done = subprocess.run(
                [sys.executable, "-c", code], env={"PATH": os.environ["PATH"], **variables}, capture_output=True,
                text=True, check=False,
            )  # fmt: skip
            assert done.stdout.strip() == "(True, 'TLSv1.3')", done.stderr
            # Through a tunnel: the name is for the certificate, the address is where to connect.
            tunnel = settings.from_url(f"{url.replace('localhost', 'db.invalid')}&sslmode=require&hostaddr=127.0.0.1")
            variables = connection.environment(tunnel)
            assert (variables["PGHOST"], variables["PGHOSTADDR"]) == ("db.invalid", "127.0.0.1")
            elsewhere = f"postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=verify-full"
            assert "TLS failed" in refusal(f"{elsewhere}&sslrootcert={folder}/server.crt")


def test_a_wrong_password(oldest: str) -> None:
    with psycopg.connect(oldest, autocommit=True) as session:
        session.execute("drop role if exists locked; create role locked login password 'right'")
        row = session.execute("select setting from pg_settings where name = 'hba_file'").fetchone()
        assert row is not None
        hba = Path(row[0])
        kept = hba.read_text()
        hba.write_text("local all locked scram-sha-256\n" + kept)
        session.execute("select pg_reload_conf()")
    try:
        message = ""
        for _ in range(50):
            try:
                connection.connect(settings.from_url(make_conninfo(oldest, user="locked", password=SECRET))).close()
            except UserError as error:
                message = error.message
                break
        assert "user name or password" in message
        assert SECRET not in message
    finally:
        hba.write_text(kept)
