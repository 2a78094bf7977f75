"""Connections whose settings make a wrong answer impossible, and errors a person can act on."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
from psycopg import IsolationLevel, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Conninfo, TransactionStatus
from psycopg.rows import TupleRow

from scripts import row_security
from scripts.errors import UserError
from scripts.settings import Database, is_supabase_transaction_pooler

OLDEST_VERSION = 15
CONNECT_SECONDS = 15
_PROBE = "canonical_migration.probe"
_POOLER_TRIES = 5
_KEEPALIVES = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60_000}
_ENCODE = "percent-encode special characters of the password in a URL (@ is %40, / is %2F)"

# Whether a database is behind a pooler in transaction mode, asked once for each in a process.
_pooled: dict[str, bool] = {}


class Session(psycopg.Connection[TupleRow]):
    """A connection of the tool. `transaction_pooling`: settings hold for one transaction only (see `transaction`)."""

    transaction_pooling: bool = False
    settings: dict[str, str]

    def apply_settings(self, *, local: bool) -> None:
        """Set the tool's settings, for the session or (`local`) for the open transaction, in one round trip."""
        calls = ", ".join("set_config(%s, %s, %s)" for _ in self.settings)
        values = [part for name, value in self.settings.items() for part in (name, value, local)]
        with self.cursor() as cursor:
            cursor.execute(_literal(f"select {calls}"), values)


def connect(database: Database, *, autocommit: bool = True, application_name: str = "migrate") -> Session:
    """Open a connection with the tool's settings.

    row_security = off (rows hidden by a policy become an error; on where provably none is hidden, see
    row_security.py), lock_timeout and statement_timeout of the database, jit off, UTC, UTF-8. Behind a pooler in
    transaction mode a setting of the session would be lost or would leak to other clients: there `transaction_pooling`
    is true, nothing is set or prepared, and callers work inside `transaction(session)`. Raises UserError, which never
    holds the password.
    """
    session = _open(database, application_name)
    try:
        check_server(session, database)
        session.transaction_pooling = _is_pooled(session, database)
        session.settings = session_settings(database)
        if session.info.server_version >= 170000:
            session.settings["transaction_timeout"] = "0"  # statement_timeout is the limit
        session.isolation_level = IsolationLevel.READ_COMMITTED  # where settings come too late: behind a pooler
        if session.transaction_pooling:
            session.prepare_threshold = None
        else:
            session.apply_settings(local=False)
        with transaction(session):  # its settings choose the role that is asked about
            session.settings["row_security"] = row_security.setting(session, database)
        if session.settings["row_security"] == "on" and not session.transaction_pooling:
            session.apply_settings(local=False)
        session.autocommit = autocommit
    except psycopg.Error as error:
        session.close()
        raise explain(error, database) or _refused(error, database) from None
    except BaseException:
        session.close()
        raise
    return session


@contextmanager
def transaction(session: Session) -> Iterator[Session]:
    """A transaction (or a savepoint in one) with the tool's settings, in every mode of a pooler."""
    outermost = session.info.transaction_status == TransactionStatus.IDLE
    with session.transaction():
        if session.transaction_pooling and outermost:
            session.apply_settings(local=True)
        yield session


def keep_open(session: Session) -> None:
    """Let the transaction that is open, or that this begins, stay idle for as long as it takes."""
    names = ["idle_in_transaction_session_timeout"]
    if session.info.server_version >= 170000:
        names.append("transaction_timeout")
    for name in names:
        session.execute("select set_config(%s, '0', true)", [name])


def session_settings(database: Database) -> dict[str, str]:
    """What every session of the tool sets, dbt's and Great Expectations' included; `connect` settles row_security."""
    settings = {
        "row_security": "off",
        "lock_timeout": database.lock_timeout,
        "statement_timeout": database.statement_timeout,
        "jit": "off",
        "timezone": "UTC",
        "datestyle": "ISO, MDY",
        # Elsewhere a row that the application changes in the same moment would make a whole batch fail.
        "default_transaction_isolation": "read committed",
    }
    return {"role": database.role, **settings} if database.role else settings


def environment(database: Database) -> dict[str, str]:
    """PG* variables with which another libpq program connects as this tool does, settings included.

    Holds the password: hand it to a child process only, never print it. Of several hosts it names the one that
    answered. With them the SQLAlchemy URL `postgresql+psycopg2://` is enough.
    """
    with connect(database) as session:
        info = session.info
        found = dict(info.get_parameters())
        found.update(host=info.host, port=str(info.port), user=info.user, dbname=info.dbname)
        if info.password:
            found["password"] = info.password
        if found.get("hostaddr"):  # of several the one that answered: a tunnel, or a name that only certificates know
            found["hostaddr"] = info.hostaddr
        pooled, wanted = session.transaction_pooling, session.settings
    # The host that answered is named already.
    for keyword in ("target_session_attrs", "load_balance_hosts", "service", "client_encoding"):
        found.pop(keyword, None)
    if not pooled:
        # A pooler in transaction mode refuses options at start-up, or forgets them.
        options = [f"-c {name}={_escape(value)}" for name, value in wanted.items()]
        found["options"] = " ".join([str(found.get("options") or ""), *options]).strip()
    variables = {option.keyword.decode(): option.envvar for option in Conninfo.get_defaults()}
    return {
        name.decode(): str(found[keyword])
        for keyword, name in variables.items()
        if name is not None and found.get(keyword) not in (None, "")
    }


def check_server(session: Session, database: Database) -> None:
    """Refuse what is not PostgreSQL 15 or later."""
    row = session.execute("select version()").fetchone()
    version = str(row[0]) if row else ""
    if not version.startswith(("PostgreSQL", "EnterpriseDB")):
        raise UserError(
            f"{database.label} answers as {version.split(' ')[0] or 'something else'}, not as PostgreSQL. "
            f"Point {database.origin} at a PostgreSQL {OLDEST_VERSION} or later."
        )
    found = session.info.server_version // 10000
    if found < OLDEST_VERSION:
        raise UserError(
            f"{database.label} is PostgreSQL {found}; the tool needs {OLDEST_VERSION} or later (it relies on "
            f"views with security_invoker). Upgrade the server or point {database.origin} at another."
        )


def explain(error: psycopg.Error, database: Database | None = None) -> UserError | None:
    """What a person can do about an error of the database, or None when it is not one of the expected.

    Only names of objects come from the server's message: its detail may quote a row.
    """
    state = error.sqlstate or ""
    primary = error.diag.message_primary or ""
    if database is None:
        database = Database(conninfo="", label="the database", origin="the settings")
    where = database.label
    if state == "42501" and "row-level security" in primary:
        return UserError(
            f"In {where}: {primary}. The role would see only part of the rows. Connect as the table's owner or as a "
            f"role with BYPASSRLS (set in {database.origin}), or let the owner run what `migrate runner` prints."
        )
    if state == "42501" and primary == f"permission denied for schema {database.schema}":
        return UserError(f"In {where}: {primary}. {schema_grant(database)}")
    if state == "42501":
        return UserError(f"In {where}: {primary}. Grant it, or connect as another role (set in {database.origin}).")
    if state == "55P03":
        return UserError(
            f"In {where}: another session holds a lock for longer than {database.lock_timeout}. Try again when it is "
            "done, or raise MIGRATION_LOCK_TIMEOUT. (`select pg_blocking_pids(...)` and pg_stat_activity show who.)"
        )
    if state == "57014":
        return UserError(
            f"In {where}: a statement took longer than {database.statement_timeout} or was cancelled. "
            "Raise MIGRATION_STATEMENT_TIMEOUT, or use a smaller --batch-size."
        )
    if state == "25006":
        return UserError(
            f"{where} is read-only (a standby, or default_transaction_read_only is on). "
            f"Point {database.origin} at the primary server."
        )
    if state == "53100":
        return UserError(f"The disk of {where} is full. Free some space and run the command again: it goes on.")
    if state in ("42P01", "3F000", "42703"):
        return UserError(
            f"In {where}: {primary}. Check the vars `source_schema` and the table names in dbt_project.yml, "
            "and run `migrate build`."
        )
    if state.startswith("08") or state in ("57P01", "57P02", "57P03") or _is_lost(error):
        return UserError(f"The connection to {where} was lost. Run the command again: it goes on where it stopped.")
    if state.startswith("53"):
        return UserError(f"{where} has no room for another connection: {primary}. Close others and try again.")
    return None


def schema_grant(database: Database) -> str:
    """What lets this role work in the tool's own schema, as a sentence."""
    role = database.role or conninfo_to_dict(database.conninfo).get("user")
    grant = sql.SQL("grant usage, create on schema {} to {};").format(
        sql.Identifier(database.schema), sql.Identifier(str(role)) if role else sql.SQL("ROLE")
    )
    return f"Let the schema's owner run `{grant.as_string(None)}`, or connect as that owner."


@contextmanager
def explained(database: Database) -> Iterator[None]:
    """Errors of the database that a person can do something about become UserError; see `explain`."""
    try:
        yield
    except psycopg.Error as error:
        raise explain(error, database) or error from None


def _open(database: Database, application_name: str) -> Session:
    try:
        given = conninfo_to_dict(database.conninfo)
        defaults: dict[str, Any] = {"client_encoding": "UTF8", "fallback_application_name": "migrate"}
        if "application_name" not in given:
            defaults["application_name"] = application_name
        if "connect_timeout" not in given and "PGCONNECT_TIMEOUT" not in os.environ:
            defaults["connect_timeout"] = CONNECT_SECONDS
        # A connection that is cut without a word is noticed within a minute, not after hours.
        defaults |= {name: value for name, value in _KEEPALIVES.items() if name not in given}
        return Session.connect(make_conninfo(database.conninfo, **defaults), autocommit=True)
    except psycopg.Error as error:
        raise _refused(error, database) from None


# What libpq or the server says (in English), what it means, and what to do. The first that matches counts.
_CAUSES: list[tuple[str, str]] = [
    (
        r"could not translate host name|Name or service not known|nodename nor servname|failed to resolve host",
        "the host name cannot be found. Check the host in {origin}, and that the network or VPN is up",
    ),
    (
        r"password authentication failed|no password supplied|SASL authentication failed|Wrong password|SCRAM",
        "the server refuses the user name or password. Check both in {origin}; " + _ENCODE,
    ),
    (
        r"no pg_hba\.conf entry",
        "the server does not accept this user, database or address, or wants TLS. Try sslmode=require in {origin}, "
        "or ask its administrator for an entry in pg_hba.conf",
    ),
    (
        r"Peer authentication failed|Ident authentication failed",
        "the server takes the operating system's user over a socket, and it is not this database user. "
        "Check the user in {origin}, or connect by host name",
    ),
    (r"database \".*\" does not exist", "this database does not exist. Check the database name in {origin}"),
    (
        r"role \".*\" does not exist|Tenant or user not found",
        "this user does not exist. Check the user in {origin} (a Supabase pooler wants postgres.<project>)",
    ),
    (
        r"server does not support SSL",
        "the server does not offer TLS. Set sslmode=prefer in {origin}, or turn TLS on in the server",
    ),
    (
        r"certificate|SSL error|sslrootcert|sslmode|SSL connection has been closed|tlsv1|root\.crt|ssl ",
        "TLS failed. Check sslmode and sslrootcert in {origin} (sslrootcert=system uses the system's certificates; "
        "verify-full wants the host name that the certificate is for)",
    ),
    (
        r"invalid response to SSL negotiation|expected authentication request|invalid length of message"
        r"|lost synchronization|unsupported frontend protocol|expected SSL response",
        "what answers there is not PostgreSQL. Check host and port in {origin}",
    ),
    (
        r"too many (clients|connections)|remaining connection slots|max clients|MaxClientsInSessionMode",
        "the server has no room for another connection. Close others and try again",
    ),
    (
        r"the database system is (starting up|shutting down|in recovery)",
        "the server is starting or stopping. Try again in a moment",
    ),
    (
        r"timeout expired|connection timeout|timed out",
        "no answer in time. Check host and port in {origin}, and that no firewall is in the way",
    ),
    (
        r"Connection refused|No such file or directory|Is the server running",
        "nothing answers there. Check host and port in {origin}, and that the server runs",
    ),
    (
        r"unsupported startup parameter|unrecognized configuration parameter",
        "the server or pooler refuses a start-up setting. Leave `options` out of {origin}",
    ),
    (
        r"Network is unreachable|No route to host",
        "the network cannot reach it. Check the network or VPN (a host with only an IPv6 address needs IPv6)",
    ),
    (
        r"server closed the connection unexpectedly|connection reset|Connection reset",
        "the server closed the connection. Check host and port in {origin}, and the server's log",
    ),
    (
        r"session is not read-write|server is in hot standby|session is read-only",
        "the server is a standby. Point {origin} at the primary server",
    ),
    (r"Permission denied", "the socket may not be opened. Check the socket folder in {origin} and its permissions"),
]


def _refused(error: psycopg.Error, database: Database) -> UserError:
    """Why a connection could not be opened. The server's own words are left out: they may quote the URL."""
    text = str(error)
    for pattern, meaning in _CAUSES:
        if re.search(pattern, text):
            return UserError(f"Cannot connect to {database.label}: {meaning.format(origin=database.origin)}.")
    words = _without_secrets(text, database).strip().splitlines()
    reason = words[-1] if words else type(error).__name__
    return UserError(f"Cannot connect to {database.label}: {reason}. Check {database.origin}.")


def _without_secrets(text: str, database: Database) -> str:
    try:
        given = conninfo_to_dict(database.conninfo)
    except psycopg.ProgrammingError:
        return "it cannot be read"
    secrets = [given.get("password"), given.get("sslpassword"), os.environ.get("PGPASSWORD")]
    for secret in secrets:
        if secret:
            text = text.replace(str(secret), "***")
    return text


def _is_lost(error: psycopg.Error) -> bool:
    return isinstance(error, psycopg.OperationalError) and error.sqlstate is None


def _is_pooled(session: Session, database: Database) -> bool:
    """Whether a pooler in transaction mode stands between: asked of it once in a process, by its behaviour."""
    info = session.info
    if is_supabase_transaction_pooler(info.host, str(info.port)):
        return True
    key = f"{os.getpid()} {database.conninfo}"
    if key not in _pooled:
        _pooled[key] = _behaves_pooled(session, database)
    return _pooled[key]


def _behaves_pooled(session: Session, database: Database) -> bool:
    """Does another connection see this one's setting, or does this one change its server process?

    A pooler gives the server process of our last statement to whoever asks next; so the second connection either
    reads the first one's mark or holds that process while the first one gets another. Where a pooler is busy, a third
    client may be faster: it leaves its own statement in that process. So a pooler, which invents the process number
    that it tells at the start, is tried several times.
    """
    own = _one(session, "select pg_backend_pid()")
    tries = 1 if own == session.info.backend_pid else _POOLER_TRIES
    return any(_shares_its_process(session, database) for _ in range(tries))


def _shares_its_process(session: Session, database: Database) -> bool:
    own = _one(session, "select pg_backend_pid()")
    session.execute("select set_config(%s, 'seen', false)", (_PROBE,))
    try:
        try:
            other = _open(database, "migrate probe")
        except UserError:
            # No room for a second connection: what is left is the invented process number.
            return bool(own != session.info.backend_pid)
        with other, other.transaction():
            mark, pid, query = other.execute(
                "select current_setting(%s, true), pg_backend_pid(), "
                "(select query from pg_stat_activity where pid = %s)",
                (_PROBE, own),
            ).fetchone() or (None, None, None)
            # An empty query or `<insufficient privilege>` says nothing.
            used_by_another = bool(query) and not query.startswith("<") and "set_config" not in query
            if mark == "seen" or pid == own or used_by_another:
                return True
            return bool(_one(session, "select pg_backend_pid()") != own)
    finally:
        session.execute("select set_config(%s, '', false)", (_PROBE,))


def _one(session: Session, query: LiteralString) -> Any:
    row = session.execute(query).fetchone()
    return row[0] if row else None


def _literal(query: str) -> Any:
    """Mark a query that is put together from constants as one."""
    return query


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


__all__ = ["Session", "check_server", "connect", "environment", "explain", "session_settings", "transaction"]
