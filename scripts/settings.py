"""Which database to work on: DATABASE_URL, else a dbt profile, else the embedded server."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from scripts.errors import UserError
from scripts.paths import PROJECT_FILE, project_dir

DEFAULT_PROFILE = "canonical_migration"
# Schemas of the server and of Supabase. Some of them are open to every user.
_TAKEN = {
    "public", "information_schema", "auth", "storage", "extensions", "realtime", "graphql", "graphql_public", "vault",
    "cron", "net", "supabase_functions", "supabase_migrations",
}  # fmt: skip
DEFAULT_SCHEMA = "canonical_migration"
DEFAULT_LOCK_TIMEOUT = "5s"
DEFAULT_STATEMENT_TIMEOUT = "10min"
DEFAULT_THREADS = 4
SOCKET_VARIABLE = "MIGRATION_SOCKET_DIR"  # a profile that asks for it means the embedded server

# Kept to what needs no quotes anywhere: the name goes into dbt, SQL and file names.
_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]{0,62}")
# What may not be in the name of a schema or table: dbt puts it between double quotes, some of it in a function's body.
_NO_NAME = re.compile(r'["$\\\x00-\x1f\x7f]')
_DURATION = re.compile(r"[0-9]{1,9}\s*(us|ms|s|min|h|d)?")
_KEYWORD_STRING = re.compile(r"\s*[a-z_]+\s*=")


@dataclass(frozen=True)
class Database:
    """A database to work on. `conninfo` holds secrets and is never printed; `label` is for people."""

    conninfo: str = field(repr=False)  # libpq URL or keyword string
    schema: str = DEFAULT_SCHEMA  # the tool's own schema
    label: str = ""  # user@host:port/database
    origin: str = "DATABASE_URL"  # the setting it came from, named in messages
    role: str | None = None  # `set role` after connecting (a dbt profile's `role`)
    threads: int = DEFAULT_THREADS  # for dbt
    lock_timeout: str = DEFAULT_LOCK_TIMEOUT
    statement_timeout: str = DEFAULT_STATEMENT_TIMEOUT


def resolve(profile: str | None = None, target: str | None = None) -> Database:
    """The database that the settings name; the embedded server is started when nothing else is named.

    Raises UserError, which names the setting, when one is wrong or two contradict each other.
    """
    url = os.environ.get("DATABASE_URL", "").strip()
    if url:
        if profile or target:
            raise UserError(
                "DATABASE_URL is set and --profile or --target is given: they may mean different databases. "
                "Unset DATABASE_URL, or leave the option out."
            )
        return from_url(url)
    found = _from_profile(profile, target)
    if found is not None:
        return found
    from scripts import embedded

    return _database(embedded.url(), origin="the embedded server", label="the embedded server")


def from_url(url: str, origin: str = "DATABASE_URL") -> Database:
    """A database from a libpq URL or keyword string, with the other settings from the environment.

    Raises UserError when it cannot be read. The message quotes nothing from it, as any part may be the password.
    """
    return _database(url, origin=origin, label=describe(_parse(url, origin)))


def describe(parameters: Mapping[str, Any]) -> str:
    """`user@host:port/database` of libpq parameters, without secrets; what is not given comes from PG* variables."""

    def value(keyword: str, variable: str) -> str:
        return str(parameters.get(keyword) or os.environ.get(variable) or "")

    user, host = value("user", "PGUSER"), value("host", "PGHOST") or value("hostaddr", "PGHOSTADDR")
    port, name = value("port", "PGPORT"), value("dbname", "PGDATABASE") or user
    if parameters.get("service"):
        return f"service {parameters['service']}"
    if not host or host.startswith(("/", "@")):
        place = f"socket {host or 'default'}"
    elif "," in host:
        ports = port.split(",")
        pairs = [
            f"{name}:{ports[index] if len(ports) > 1 else port or '5432'}" for index, name in enumerate(host.split(","))
        ]
        place = ",".join(pairs)
    else:
        place = f"{host}:{port or '5432'}"
    return f"{user + '@' if user else ''}{place}/{name}"


def dbt_vars() -> dict[str, Any]:
    """dbt vars given for this run in MIGRATION_VARS (a YAML or JSON mapping), such as `{source_schema: app}`."""
    text = os.environ.get("MIGRATION_VARS", "").strip()
    if not text:
        return {}
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        found = None
    if not isinstance(found, dict):
        raise UserError("MIGRATION_VARS must be a YAML or JSON mapping, for instance `{source_schema: app}`.")
    return checked_names({str(name): value for name, value in found.items()}, "MIGRATION_VARS")


def checked_names(given: dict[str, Any], origin: str) -> dict[str, Any]:
    """The vars, once those that name a schema or table are known to be names: dbt puts them between double quotes.

    Raises UserError for a name that would end the quotes, or that PostgreSQL would cut off.
    """
    for var, value in given.items():
        if var != "source_schema" and not var.endswith("_table"):
            continue
        if not isinstance(value, str) or not 0 < len(value.encode()) < 64 or _NO_NAME.search(value):
            raise UserError(
                f"The var {var} in {origin} must be a name of 1 to 63 bytes, without double quotes, dollar signs, "
                "backslashes and control characters."
            )
    return given


def source_schema() -> str:
    """The schema of the product's tables: dbt's var `source_schema`."""
    project = checked_names(_read_yaml(project_dir() / PROJECT_FILE).get("vars") or {}, PROJECT_FILE)
    return str(dbt_vars().get("source_schema") or project.get("source_schema") or "public")


def _database(conninfo: str, *, origin: str, label: str, schema: str | None = None, **more: Any) -> Database:
    return Database(
        conninfo=conninfo,
        schema=_tool_schema(schema),
        label=label,
        origin=origin,
        lock_timeout=_duration("MIGRATION_LOCK_TIMEOUT", DEFAULT_LOCK_TIMEOUT),
        statement_timeout=_duration("MIGRATION_STATEMENT_TIMEOUT", DEFAULT_STATEMENT_TIMEOUT),
        **more,
    )


def _tool_schema(from_profile: str | None) -> str:
    """The tool's schema: the profile's `schema`, else MIGRATION_SCHEMA, else the default; checked."""
    named = os.environ.get("MIGRATION_SCHEMA", "").strip()
    if from_profile and named and from_profile != named:
        raise UserError(
            f"MIGRATION_SCHEMA is {named!r} but the dbt profile's `schema` is {from_profile!r}. "
            "Unset the variable or make them the same."
        )
    setting = "the dbt profile's `schema`" if from_profile else "MIGRATION_SCHEMA"
    schema = from_profile or named or DEFAULT_SCHEMA
    if not _IDENTIFIER.fullmatch(schema) or schema.startswith("pg_"):
        raise UserError(
            f"{setting} is {schema!r}. Name a schema with lower-case letters, digits and underscores only, "
            f"not starting with a digit or `pg_` (the default is {DEFAULT_SCHEMA})."
        )
    if schema in _TAKEN or schema == source_schema():
        raise UserError(
            f"{setting} is {schema!r}, where other tables live. The tool needs a schema of its own "
            f"(the default is {DEFAULT_SCHEMA}), so that nobody reads its views by accident."
        )
    return schema


def _duration(variable: str, default: str) -> str:
    value = os.environ.get(variable, "").strip() or default
    if not _DURATION.fullmatch(value):
        raise UserError(f"{variable} is {value!r}. Give a PostgreSQL duration such as 5s, 10min or 0 (none).")
    return value


def _parse(url: str, origin: str) -> dict[str, Any]:
    """libpq's parameters of a URL or keyword string. No message quotes any of it."""
    is_url = re.match(r"\s*[a-zA-Z0-9+.-]+://", url) is not None
    hint = (
        f"{origin} is not a PostgreSQL URL that can be read. Write postgresql://user:password@host:5432/database "
        "or `host=... dbname=...`; in a URL, percent-encode special characters of the password "
        "(@ is %40, / is %2F, : is %3A, % is %25)."
    )
    if is_url:
        if not url.startswith(("postgresql://", "postgres://")):
            raise UserError(f"{origin} must start with postgresql:// or postgres://.")
        # libpq takes an unencoded @ or / in a password for the end of the password, and would show the rest as a host.
        rest = url.split("://", 1)[1]
        authority, _, path = rest.partition("/")
        if authority.count("@") > 1 or "@" in path.split("?", 1)[0]:
            raise UserError(hint)
    elif not _KEYWORD_STRING.match(url):
        raise UserError(hint)
    try:
        parameters = conninfo_to_dict(url)
    except ProgrammingError:
        raise UserError(hint) from None
    ports = str(parameters.get("port") or "")
    if not all(port == "" or (port.isdigit() and 0 < int(port) < 65536) for port in ports.split(",")):
        raise UserError(hint)
    return dict(parameters)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        raise UserError(f"{path} cannot be read. Check that the file exists and is yours to read.") from None
    except yaml.YAMLError as error:
        # The mark tells the place; the problem's own text may quote a secret.
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise UserError(f"{path} is not valid YAML{where}. Mend it.") from None
    return found if isinstance(found, dict) else {}


def profiles_file() -> Path | None:
    """dbt's profiles.yml: in DBT_PROFILES_DIR, else the project, else ~/.dbt; None when there is none."""
    named = os.environ.get("DBT_PROFILES_DIR")
    if named:
        folders = [Path(named).expanduser()]
        if not (folders[0] / "profiles.yml").is_file():
            raise UserError(f"DBT_PROFILES_DIR is {named}, which has no profiles.yml. Correct or unset it.")
    else:
        folders = [project_dir(), Path("~/.dbt").expanduser()]
    for folder in folders:
        if (folder / "profiles.yml").is_file():
            return folder / "profiles.yml"
    return None


def _from_profile(profile: str | None, target: str | None) -> Database | None:
    """The database of a dbt profile; None when there is none and the options ask for none."""
    path = profiles_file()
    if path is None:
        if profile or target:
            raise UserError(
                "--profile or --target is given, but there is no profiles.yml: copy profiles.yml.example to "
                "profiles.yml in the project or in ~/.dbt, or set DBT_PROFILES_DIR."
            )
        return None
    raw = _read_yaml(path)
    name = profile or DEFAULT_PROFILE
    if name not in raw:
        if profile or target:
            known = ", ".join(sorted(str(key) for key in raw if key != "config")) or "none"
            raise UserError(f"{path} has no profile {name!r} (it has: {known}). Choose one with --profile.")
        return None
    credentials, threads, chosen = _render(path, raw, name, target)
    parameters = _libpq(credentials)
    return _database(
        make_conninfo("", **parameters),
        origin=f"profile {name!r}, target {chosen!r} of {path}",
        label=describe(parameters),
        schema=str(credentials.schema),
        role=credentials.role,
        threads=threads,
    )


def _render(path: Path, raw: dict[str, Any], name: str, target: str | None) -> tuple[Any, int, str]:
    """dbt's own reading of a profile, so that env_var() and filters mean what they mean in dbt."""
    from dbt.adapters.postgres.connections import PostgresCredentials
    from dbt.config.profile import Profile
    from dbt.config.renderer import ProfileRenderer
    from dbt_common.clients.system import get_env
    from dbt_common.context import set_invocation_context
    from dbt_common.dataclass_schema import ValidationError
    from dbt_common.exceptions import DbtRuntimeError

    outputs = (raw.get(name) or {}).get("outputs") if isinstance(raw.get(name), dict) else None
    if not isinstance(outputs, dict) or not outputs:
        raise UserError(f"Profile {name!r} in {path} has no outputs. See profiles.yml.example.")
    if target is not None and target not in outputs:
        raise UserError(
            f"Profile {name!r} in {path} has no target {target!r} (it has: {', '.join(map(str, outputs))})."
        )
    chosen = outputs.get(target or raw[name].get("target", "default"))
    if SOCKET_VARIABLE not in os.environ and SOCKET_VARIABLE in json.dumps(chosen, default=str):
        from scripts import embedded

        embedded.start()
        os.environ[SOCKET_VARIABLE] = str(embedded.status().socket_dir)
    set_invocation_context(get_env())
    try:
        target_name, values = Profile.render_profile(raw[name], name, target, ProfileRenderer(dbt_vars()))
        threads = values.pop("threads", DEFAULT_THREADS)
        kind = values.pop("type", None)
        if kind != "postgres":
            raise UserError(
                f"Profile {name!r}, target {target_name!r} in {path} is for {kind}. "
                "The tool writes to PostgreSQL: choose a target of type postgres."
            )
        values = PostgresCredentials.translate_aliases(values)
        # dbt takes a password that it cannot render as it stands: a variable that is missing would be the password.
        if unset := re.search(r"env_var\(\s*'([^']*)'|env_var\(\s*\"([^\"]*)\"", str(values.get("password"))):
            raise ValueError(f"Env var required but not provided: '{unset.group(1) or unset.group(2)}'")
        PostgresCredentials.validate(values)
        return PostgresCredentials.from_dict(values), int(threads), target_name
    except (DbtRuntimeError, ValidationError, TypeError, ValueError) as error:
        # A missing variable or key is named; anything else may quote a value of the profile.
        text = str(error)
        missing = re.search(r"Env var required but not provided: '([^']*)'", text)
        lacking = re.search(r"'([a-z_]+)' is a required property", text)
        reason = "a value in it is not valid"
        if missing:
            reason = f"it needs the environment variable {missing.group(1)}"
        elif lacking:
            reason = f"it lacks {lacking.group(1)}"
        raise UserError(
            f"Profile {name!r} in {path} cannot be used: {reason}. `dbt debug` shows more; see profiles.yml.example."
        ) from None


def _libpq(credentials: Any) -> dict[str, Any]:
    """libpq's parameters of dbt's credentials; dbt's names for the rest are the same."""
    parameters = {
        "host": credentials.host,
        "port": credentials.port,
        "user": credentials.user,
        "password": credentials.password,
        "dbname": credentials.database,
        "connect_timeout": credentials.connect_timeout,
        **{name: getattr(credentials, name) for name in ("sslmode", "sslcert", "sslkey", "sslrootcert")},
    }
    if credentials.keepalives_idle:
        parameters["keepalives_idle"] = credentials.keepalives_idle
    if credentials.search_path:
        escaped = str(credentials.search_path).replace("\\", "\\\\").replace(" ", "\\ ")
        parameters["options"] = f"-c search_path={escaped}"
    return {name: value for name, value in parameters.items() if value not in (None, "")}


def is_supabase_transaction_pooler(host: str, port: str) -> bool:
    """Supabase's own rule: port 6543 of its hosts is the pooler in transaction mode."""
    name = urlsplit(f"//{host}").hostname or ""
    return port == "6543" and name.endswith((".supabase.com", ".supabase.co"))
