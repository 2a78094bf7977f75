"""The dbt project: run dbt on a database, read its manifest, and keep a target's models up to date.

Everything that dbt generates lies in a folder of its own for each database, inside the state folder; the
profile in it names environment variables only, so no secret is ever on disk.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from psycopg import sql

from scripts import locks, row_security
from scripts.connection import Session, connect, environment, explained, schema_grant
from scripts.errors import RunInProgress, UserError
from scripts.ledger import Ledger
from scripts.paths import PROJECT_FILE, project_dir, state_dir
from scripts.settings import Database, dbt_vars, source_schema

PROFILE = "canonical_migration"
_PASSWORD = "DBT_ENV_SECRET_MIGRATION_PASSWORD"  # dbt strikes variables with this prefix out of its logs
_BUILT = ("model", "seed")
_PROJECT_FOLDERS = ("models", "macros", "seeds", "tests", "analyses", "functions", "snapshots")
_META_KEYS = (
    "command", "migration_type", "key", "model_key", "tenant", "target_column", "previous", "pending_flag",
    "location", "table_oid", "group_by", "pending_sql",
)  # fmt: skip

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Refresh:
    """How `--refresh` finds what the tool wrote and would write otherwise today (`meta.migration.refresh`).

    `model` has the columns of the target's own model; `pending_flag`, `left_alone` and `reason` are columns of it.
    `older_sql` is a predicate over the source table like `pending_sql`: true for values of another contract version.
    """

    model: str
    pending_flag: str
    left_alone: str
    reason: str
    older_sql: str


@dataclass(frozen=True)
class Target:
    """A column that a model fills, as the model's `config.meta.migration` describes it.

    `schema`, `table`, `key`, `tenant` and `target_column` are of the source table; `model`, `model_key`,
    `previous`, `pending_flag`, `location`, `table_oid` and `group_by` are of the model. `pending_sql` is a
    predicate over the source table with `{column}` in it, for str.format. `complete`: every pending row is in the
    model; otherwise some are left to a person, and the model `listing` lists them. `unread`: columns of the source
    table that the model does not look at.
    """

    command: str
    model: str
    model_schema: str
    migration_type: str
    schema: str
    table: str
    key: str
    model_key: str
    tenant: str
    target_column: str
    previous: str
    pending_flag: str
    location: str
    table_oid: str
    group_by: str
    pending_sql: str
    complete: bool
    batch_size: int
    contract_version: str
    refresh: Refresh | None = None
    refreshing: bool = False  # this is what `refreshed` returned
    unread: tuple[str, ...] = ()
    listing: str | None = None

    @property
    def lock(self) -> int:
        """The key of the advisory lock that a run on this target holds."""
        return locks.run_key(self.schema, self.table, self.target_column)

    @property
    def pending(self) -> str:
        """The pending test over the source table, with the target's column in it (quoted)."""
        return self.pending_sql.format(column=sql.Identifier(self.target_column).as_string(None))

    @property
    def name(self) -> str:
        """Schema, table and column that are filled."""
        return f"{self.schema}.{self.table}.{self.target_column}"

    def refreshed(self) -> "Target":
        """The target as `--refresh` sees it: pending is every row that holds a value, until the model has judged it.

        Raises UserError when the model has no `refresh`.
        """
        if self.refresh is None:
            raise UserError(
                f"`migrate {self.command}` has no --refresh: {self.model} makes values only for rows that are not "
                "migrated yet, so there is nothing to compare a migrated row with. To change what was written, roll "
                f"the run back (`migrate rollback`), mend what the value is made from, and apply again."
            )
        return replace(
            self, model=self.refresh.model, pending_flag=self.refresh.pending_flag,
            pending_sql=f"not ({self.pending_sql})", refreshing=True,
        )  # fmt: skip

    def swept(self) -> "Target":
        """The target as a run's later passes see it: a refresh need not compare again what it has just compared."""
        if not self.refreshing or self.refresh is None:
            return self
        return replace(self, pending_sql=f"{self.pending_sql} and {self.refresh.older_sql}")


@dataclass(frozen=True)
class Source:
    """A table of the product that models or tests read; `columns` are the ones they read, none for all of them."""

    schema: str
    table: str
    columns: tuple[str, ...] = ()


# ---------- what others call


def targets(database: Database) -> dict[str, Target]:
    """The targets of the project by command, read from dbt's manifest (made when files have changed)."""
    return _targets(manifest(database))


def target(database: Database, command: str) -> Target:
    """The target of `migrate <command>`. Raises UserError when no model has it."""
    found = targets(database)
    if command not in found:
        raise UserError(
            f"No model in {project_dir() / 'models'} has meta.migration.command = {command!r} "
            f"(there are: {', '.join(sorted(found)) or 'none'})."
        )
    return found[command]


def sources(database: Database) -> list[Source]:
    """The product's tables that the project reads, by name, whether or not this database has them."""
    parsed = manifest(database)
    read = [
        node
        for name, node in parsed["sources"].items()
        if any(not child.startswith("analysis.") for child in parsed["child_map"].get(name, ()))
    ]
    return sorted(
        (Source(node["schema"], node["identifier"], tuple(node["columns"])) for node in read),
        key=lambda source: (source.schema, source.table),
    )


def manifest(database: Database) -> Manifest:
    """dbt's manifest of the project; dbt parses only when a file or a setting has changed.

    Its nodes may name another database (the cache is shared by all of them): read schemas and aliases only.
    """
    cached = state_dir() / "dbt" / "manifests" / f"{_files_checksum(database)}.json"
    if not cached.exists():
        run_dbt(database, ["parse"], show=False)
        _publish(_Place.of(database).target / "manifest.json", cached)
    return _read_json(cached)


def bring_up_to_date(database: Database, command: str, also: Sequence[str] = ()) -> str:
    """Build the models of `migrate <command>` if they, their source tables' columns or the tool have changed.

    `also` names further models that the caller reads, which are brought up to date with them.

    Returns the checksum of what is in the database now. Takes the build lock; a run calls it inside
    `locks.building(database)`, takes its target's lock there and only then lets go, so that no build comes between.
    Raises RunInProgress when something must be built while a run is active, UserError when dbt fails.
    """
    with explained(database), locks.building(database):
        parsed = manifest(database)
        found = target(database, command)
        with connect(database, application_name="migrate build") as session:
            require_source(session, found, database)
            needed = {command: _nodes(parsed, found)} | {
                _build_name(name): _ancestors(parsed, _model_id(parsed, name)) for name in also
            }
            wanted = {name: _checksum(parsed, nodes, session) for name, nodes in needed.items()}
            ledger = Ledger(database.schema, found.schema)
            built = {row["command"]: row["checksum"] for row in ledger.builds(session)}
            nodes = set().union(*needed.values())
            existing = _existing(parsed, session)
            if wanted.items() <= built.items() and nodes <= existing:
                return wanted[command]
            if locks.active_runs(session):
                raise RunInProgress(
                    f"The models of `migrate {command}` have changed, and rebuilding them would break the run that is "
                    f"writing to {database.label} now. Wait until it is done, or use --no-build to go on with the "
                    "models that are there."
                )
            # Replacing a view may drop what depends on it: build that again too, as far as it was there.
            affected = existing & _descendants(parsed, nodes)
            chosen = nodes.union(*(_ancestors(parsed, node) for node in affected), affected)
            _refuse_hidden_rows(session, parsed, database)
        _run_build(database, [".".join(parsed["nodes"][node]["fqn"]) for node in sorted(chosen)])
        _record(database, parsed, chosen)
        with connect(database, application_name="migrate build") as session:
            # Not the one of before: the build itself may have made a table that the models read.
            return _checksum(parsed, needed[command], session)


def source_tables(database: Database, found: Target) -> list[tuple[str, str]]:
    """The product's tables (schema, name) that a target's models read; not all of them need exist."""
    parsed = manifest(database)
    return [
        (parsed["sources"][name]["schema"], parsed["sources"][name]["identifier"])
        for name in sorted(_sources(parsed, _ancestors(parsed, _model_id(parsed, found.model))))
    ]


def models_checksum(database: Database, command: str) -> str:
    """The checksum that `bring_up_to_date` would record now for a command."""
    parsed = manifest(database)
    with connect(database) as session:
        return _checksum(parsed, _nodes(parsed, target(database, command)), session)


def built_checksum(database: Database, command: str) -> str | None:
    """The checksum of what was built last for a command, whatever the project says now (None: not known)."""
    found = target(database, command)
    with connect(database, application_name="migrate build") as session:
        built = {row["command"]: row["checksum"] for row in Ledger(database.schema, found.schema).builds(session)}
    return built.get(command)


def build(database: Database, select: Sequence[str] = (), *, exclude: Sequence[str] = (), full_refresh: bool = False,
          show: bool = True) -> int:  # fmt: skip
    """`dbt build` (models, seeds and tests) under the build lock; dbt's own output is shown.

    Views that were there and that a selection leaves out are there again afterwards.
    Returns dbt's exit code: 0, or 1 when a model or test failed. Raises RunInProgress while a run is active.
    """
    with locks.building(database):
        parsed = manifest(database)
        with connect(database, application_name="migrate build") as session:
            if locks.active_runs(session):
                raise RunInProgress(
                    f"A run is writing to {database.label} now, and a build would break it. Wait until it is done."
                )
            _refuse_hidden_rows(session, parsed, database)
            before = _existing(parsed, session)
        arguments = ["build"]
        if select:
            arguments += ["--select", *select]
        if exclude:
            arguments += ["--exclude", *exclude]
        if full_refresh:
            arguments.append("--full-refresh")
        code = run_dbt(database, arguments, show=show)
        if code == 0:
            _record(database, parsed, _succeeded(database))
        # Replacing a view may drop what depends on it (where its columns change), whether it was selected or not.
        with connect(database, application_name="migrate build") as session:
            lost = before - _existing(parsed, session)
        if lost and (select or exclude):
            _run_build(database, [".".join(parsed["nodes"][node]["fqn"]) for node in sorted(lost)])
        return code


def build_missing(database: Database, names: Sequence[str]) -> list[str]:
    """Build those of the models that are not in the database, with what they are made of; returns them.

    Raises RunInProgress while a run is active, UserError when dbt fails. Tests are `dbt build`'s work.
    """
    with connect(database, application_name="migrate build") as session:
        there = {name for _, name in _relations(session, [(database.schema, name) for name in names])}
    missing = [name for name in names if name not in there]
    if missing:
        build(
            database, [f"+{name}" for name in missing], exclude=["resource_type:test", "resource_type:unit_test"],
            show=False,
        )  # fmt: skip
    return missing


def write_docs(database: Database, folder: Path) -> Path:
    """Write dbt's documentation of the project and this database as one page; returns the page."""
    run_dbt(database, ["docs", "generate", "--static"], show=False)
    page = folder / "index.html"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(target_dir(database) / "static_index.html", page)
    return page


def run_dbt(database: Database, arguments: Sequence[str], *, show: bool = True) -> int:
    """Run a dbt command with this database's settings; returns its exit code (2: usage or configuration).

    With `show` dbt's output goes to stderr as it comes; otherwise a failure raises UserError with the reason.
    """
    place = _Place.of(database)
    with place.lock():
        done = _dbt(database, place, arguments, show=show)
    if done.returncode != 0 and not show:
        raise UserError(_failure(database, place, done, f"dbt {arguments[0]} failed"))
    return done.returncode


def profiles_dir(database: Database) -> Path:
    """A folder with a profiles.yml for this database, to be used with `dbt_environment(database)`."""
    return _Place.of(database).profiles


def target_dir(database: Database) -> Path:
    """The folder where dbt's artifacts of this database are (manifest.json, run_results.json, compiled SQL)."""
    return _Place.of(database).target


def dbt_environment(database: Database) -> dict[str, str]:
    """The variables that a dbt process needs beside `profiles_dir`. Holds the password: for a child process only."""
    found = environment(database)
    found[_PASSWORD] = found.get("PGPASSWORD", "")
    found.pop("PGAPPNAME", None)
    return found


def variable(name: str) -> Any:
    """A dbt var: from MIGRATION_VARS, else dbt_project.yml; None when it has none."""
    given = dbt_vars()
    return given[name] if name in given else _project_vars(project_dir()).get(name)


# ---------- running dbt


@dataclass(frozen=True)
class _Place:
    """The folder of one database and schema: profile, dbt's target folder and logs."""

    folder: Path

    @classmethod
    def of(cls, database: Database) -> "_Place":
        name = json.dumps([database.label, database.schema, dbt_vars()], sort_keys=True)
        place = cls(state_dir() / "dbt" / hashlib.sha256(name.encode()).hexdigest()[:12])
        place.profiles.mkdir(parents=True, exist_ok=True)
        text = _profile(database)
        if not place.profile.exists() or place.profile.read_text(encoding="utf-8") != text:
            place.profile.write_text(text, encoding="utf-8")
        return place

    @property
    def profiles(self) -> Path:
        return self.folder / "profile"

    @property
    def profile(self) -> Path:
        return self.profiles / "profiles.yml"

    @property
    def target(self) -> Path:
        return self.folder / "target"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One dbt process at a time: they share the target folder."""
        with (self.folder / "lock").open("w", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _profile(database: Database) -> str:
    output: dict[str, Any] = {
        "type": "postgres",
        "host": "{{ env_var('PGHOST', '') }}",
        "port": "{{ env_var('PGPORT', '5432') | as_number }}",
        "user": "{{ env_var('PGUSER', '') }}",
        "password": "{{ env_var('" + _PASSWORD + "', '') }}",
        "dbname": "{{ env_var('PGDATABASE', '') }}",
        "schema": database.schema,
        "threads": database.threads,
        "connect_timeout": "{{ env_var('PGCONNECT_TIMEOUT', '15') | as_number }}",
    }
    if database.role:
        output["role"] = database.role
    text = yaml.safe_dump({PROFILE: {"target": "migration", "outputs": {"migration": output}}}, sort_keys=False)
    return "# Generated by `migrate`. The connection comes from the environment; no secret is kept here.\n" + text


def _dbt(
    database: Database, place: _Place, arguments: Sequence[str], *, show: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run dbt in a process of its own: it keeps global state, and secrets stay in that process's environment."""
    command = [
        sys.executable, "-c", "from dbt.cli.main import cli; cli()",
        *([] if show else ["--log-format", "json", "--log-level", "error"]),
        "--use-colors" if show and sys.stderr.isatty() else "--no-use-colors",
        *arguments,  # first: `docs generate` is two words
        "--project-dir", str(project_dir()), "--profiles-dir", str(place.profiles), "--profile", PROFILE,
        "--target-path", str(place.target), "--log-path", str(place.folder / "logs"),
        "--vars", json.dumps(dbt_vars()),
    ]  # fmt: skip
    # The caller's own PG* and DBT_* variables would win over what was settled on.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "DBT_"))}
    inherited.pop("DATABASE_URL", None)
    inherited |= {"DBT_SEND_ANONYMOUS_USAGE_STATS": "false", "PYTHONUNBUFFERED": "1"}
    (place.target / "run_results.json").unlink(missing_ok=True)
    return subprocess.run(
        command,
        cwd=project_dir(),
        env=inherited | dbt_environment(database),
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno() if show else subprocess.PIPE,
        stderr=None if show else subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )


def _run_build(database: Database, select: Iterable[str]) -> None:
    arguments = ["build", "--select", *select]
    for kind in _BUILT:
        arguments += ["--resource-type", kind]
    run_dbt(database, arguments, show=False)


def _failure(database: Database, place: _Place, done: subprocess.CompletedProcess[str], what: str) -> str:
    """Why dbt failed: the model and the database's message, or dbt's own words when it did not get that far."""
    reasons: list[str] = []
    results = place.target / "run_results.json"
    if results.exists():
        for result in _read_json(results)["results"]:
            if result["status"] in ("error", "fail", "runtime error"):
                kind, _, name = result["unique_id"].split(".", 2)
                reasons.append(f"{kind} {name}: {_first_words(result.get('message') or 'no reason given')}")
    if not reasons:
        for line in (done.stdout or "").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if entry.get("info", {}).get("level") == "error":
                reasons.append(_first_words(str(entry["info"].get("msg", ""))))
    if not reasons:
        reasons = [_first_words((done.stderr or "").strip().rsplit("\n", 1)[-1]) or f"exit code {done.returncode}"]
    more = f"; and {len(reasons) - 5} more" if len(reasons) > 5 else ""
    return f"{what}: " + "; ".join(dict.fromkeys(reasons[:5])) + more + "." + _remedy(" ".join(reasons), database)


def remedy(database: Database) -> str:
    """What to do about the failures of the last dbt command, as a sentence; empty when nothing is known."""
    results = target_dir(database) / "run_results.json"
    if not results.exists():
        return ""
    bad = [entry for entry in _read_json(results)["results"] if entry["status"] in ("error", "fail", "runtime error")]
    reasons = [_first_words(entry.get("message") or "") for entry in bad]
    if any("row_level_security" in entry["unique_id"] for entry in bad):
        reasons.append("row-level security")
    return _remedy(" ".join(reasons), database).strip()


def _first_words(message: str) -> str:
    """A message without what may quote a row (DETAIL, CONTEXT) and without dbt's pointers to compiled files."""
    kept: list[str] = []
    for line in (part.strip() for part in message.splitlines()):
        if re.match(r"(Database|Runtime|Compilation) Error in .*\)$", line):
            continue
        if line.startswith(("DETAIL:", "CONTEXT:", "compiled code at", "LINE ", "^")):
            break
        if line:
            kept.append(line)
    return " ".join(kept).rstrip(".")


def _remedy(reason: str, database: Database) -> str:
    if "lock timeout" in reason:
        return " Another session holds a lock: try again when it is done, or raise MIGRATION_LOCK_TIMEOUT."
    if "statement timeout" in reason:
        return " Raise MIGRATION_STATEMENT_TIMEOUT."
    if "row-level security" in reason:
        return (
            " The role would see only part of the rows: connect as their owner or as a role with BYPASSRLS, or let the "
            "owner run what `migrate runner` prints."
        )
    if "read-only transaction" in reason:
        return (
            " The connection is read-only (a standby, or default_transaction_read_only is on): connect to the primary "
            "with a role that may write."
        )
    if "permission denied for database" in reason:
        return (
            " The tool needs a schema of its own: let an administrator run `create schema SCHEMA authorization ROLE;` "
            "with MIGRATION_SCHEMA (canonical_migration unless set) and this role, or connect as the role that owns "
            "the product's tables."
        )
    if "must be owner" in reason:
        return (
            " Another role made these models: connect as that role, or let it run `migrate teardown` first, or "
            "`migrate runner --apply` again, which hands them over."
        )
    if f"permission denied for schema {database.schema}" in reason:
        return f" In {database.label}: {schema_grant(database)}"
    if "permission denied" in reason:
        return " Grant this to the role, or connect as another."
    return ""


# ---------- the manifest's graph


def _targets(parsed: Manifest) -> dict[str, Target]:
    found: dict[str, Target] = {}
    for node in parsed["nodes"].values():
        meta = (node.get("config") or {}).get("meta", {}).get("migration")
        if node["resource_type"] != "model" or not meta:
            continue
        made = _target(parsed, node, meta)
        if made.command in found:
            both = f"{found[made.command].model} and {made.model}"
            raise UserError(f"The models {both} have the same meta.migration.command, {made.command!r}.")
        found[made.command] = made
    return found


def _target(parsed: Manifest, node: Mapping[str, Any], meta: Mapping[str, Any]) -> Target:
    missing = [key for key in _META_KEYS if not isinstance(meta.get(key), str) or not meta[key]]
    table = _source_table(parsed, meta.get("source_table"))
    if table is None:
        missing.append("source_table (a dbt source as 'source.table', or schema and table)")
    if missing or table is None:
        raise UserError(
            f"The model {node['name']} ({node['original_file_path']}) lacks in config.meta.migration: "
            f"{', '.join(missing)}."
        )
    return Target(
        model=str(node["alias"]),
        model_schema=str(node["schema"]),
        schema=table[0],
        table=table[1],
        complete=bool(meta.get("complete", False)),
        batch_size=int(meta.get("batch_size", 1000)),
        contract_version=str(variable("contract_version") or ""),
        refresh=_refresh(node, meta.get("refresh")),
        refreshing=False,
        unread=tuple(str(column) for column in meta.get("unread", [])),
        listing=meta.get("listing"),
        **{key: str(meta[key]) for key in _META_KEYS},
    )


def _refresh(node: Mapping[str, Any], meta: Any) -> Refresh | None:
    if meta is None:
        return None
    names = [one.name for one in fields(Refresh)]
    if not isinstance(meta, Mapping) or not all(isinstance(meta.get(name), str) for name in names):
        raise UserError(
            f"The model {node['name']} ({node['original_file_path']}) needs in config.meta.migration.refresh: "
            f"{', '.join(names)}."
        )
    return Refresh(**{name: meta[name] for name in names})


def _source_table(parsed: Manifest, named: Any) -> tuple[str, str] | None:
    """Schema and table of `source_table`: 'product.events' names a dbt source; a mapping names them itself."""
    if isinstance(named, str):
        for source in parsed["sources"].values():
            if f"{source['source_name']}.{source['name']}" == named:
                return str(source["schema"]), str(source["identifier"])
    elif isinstance(named, Mapping) and named.get("schema") and named.get("table"):
        return str(named["schema"]), str(named["table"])
    return None


def _is_built(node: Mapping[str, Any]) -> bool:
    return node["resource_type"] in _BUILT and bool(node["config"].get("enabled", True))


def _model_id(parsed: Manifest, alias: str) -> str:
    nodes: dict[str, Any] = parsed["nodes"]
    return next(name for name, node in nodes.items() if node["resource_type"] == "model" and node["alias"] == alias)


def _reach(parsed: Manifest, start: Iterable[str], edges: Mapping[str, list[str]]) -> set[str]:
    found: set[str] = set()
    open_ = list(start)
    while open_:
        name = open_.pop()
        node = parsed["nodes"].get(name)
        if name not in found and node is not None and _is_built(node):
            found.add(name)
            open_ += edges.get(name, [])
    return found


def _ancestors(parsed: Manifest, name: str) -> set[str]:
    """A model with the models and seeds it is made from."""
    return _reach(parsed, [name], parsed["parent_map"])


def _nodes(parsed: Manifest, found: Target) -> set[str]:
    """A target's models with what they are made from."""
    models = [
        found.model,
        *([found.refresh.model] if found.refresh else []),
        *([found.listing] if found.listing else []),
    ]
    return set().union(*(_ancestors(parsed, _model_id(parsed, model)) for model in models))


def _sources(parsed: Manifest, nodes: Iterable[str]) -> set[str]:
    """The sources that these nodes read themselves."""
    return {parent for node in nodes for parent in parsed["parent_map"].get(node, []) if parent.startswith("source.")}


def _descendants(parsed: Manifest, names: Iterable[str]) -> set[str]:
    return _reach(parsed, names, parsed["child_map"])


def _existing(parsed: Manifest, session: Session) -> set[str]:
    """The nodes whose relation is in the database."""
    nodes = {name: (node["schema"], node["alias"]) for name, node in parsed["nodes"].items() if _is_built(node)}
    there = _relations(session, nodes.values())
    return {name for name, relation in nodes.items() if relation in there}


def _relations(session: Session, names: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of the relations (schema, name) that exist.

    Asked of the catalog by name: to_regclass fails where the role may not use the schema.
    """
    wanted = sorted(set(names))
    with session.cursor() as cursor:
        cursor.execute(
            """
            select n.nspname::text, c.relname::text
            from unnest(%s::text[], %s::text[]) as t (schema_name, relation_name)
            inner join pg_namespace as n on t.schema_name = n.nspname
            inner join pg_class as c on n.oid = c.relnamespace and t.relation_name = c.relname
            """,
            ([schema for schema, _ in wanted], [name for _, name in wanted]),
        )
        return {(row[0], row[1]) for row in cursor.fetchall()}


def _checksum(parsed: Manifest, nodes: set[str], session: Session) -> str:
    """What these views depend on: models, seeds, macros, vars, the source tables' columns and the versions."""
    sources = _sources(parsed, nodes)
    tables = sorted((parsed["sources"][name]["schema"], parsed["sources"][name]["identifier"]) for name in sources)
    package = parsed["metadata"]["project_name"]
    parts = {
        "nodes": {
            name: [
                parsed["nodes"][name].get("raw_code"),
                parsed["nodes"][name]["checksum"],
                {key: value for key, value in parsed["nodes"][name]["config"].items() if key != "meta"},
                [[column["name"], column.get("data_type")] for column in parsed["nodes"][name]["columns"].values()],
            ]
            for name in nodes
        },
        # Dispatch hides which macros a model calls: all of the project's count.
        "macros": {name: m["macro_sql"] for name, m in parsed["macros"].items() if m["package_name"] == package},
        "hooks": {n: node["raw_code"] for n, node in parsed["nodes"].items() if node["resource_type"] == "operation"},
        "vars": {**_project_vars(project_dir()), **dbt_vars()},
        "columns": _columns(session, tables),
        "tool": [version("canonical-migration"), parsed["metadata"]["dbt_version"]],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _columns(session: Session, tables: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Columns and types of the source tables: the models leave out what a database lacks."""
    with session.cursor() as cursor:
        cursor.execute(
            """
            select n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod)
            from unnest(%s::text[], %s::text[]) as t (schema_name, table_name)
            inner join pg_namespace as n on t.schema_name = n.nspname
            inner join pg_class as c on n.oid = c.relnamespace and t.table_name = c.relname
            inner join pg_attribute as a on c.oid = a.attrelid and a.attnum > 0 and not a.attisdropped
            order by 1, 2, a.attnum
            """,
            ([schema for schema, _ in tables], [table for _, table in tables]),
        )
        return [list(row) for row in cursor.fetchall()]


def require_source(session: Session, found: Target, database: Database) -> None:
    """Raise UserError when the database lacks the target's table or a column that the write-back needs."""
    table = f"{found.schema}.{found.table}"
    present = {row[2] for row in _columns(session, [(found.schema, found.table)])}
    advice = "Set the vars `source_schema` and the table names in dbt_project.yml to where the product keeps its tables"
    if not present:
        raise UserError(
            f"{database.label} has no table {table}, or this role may not see it. {advice}"
            f", check that {database.origin} names the right database, or run `migrate demo` for an example."
        )
    missing = [name for name in (found.key, found.target_column) if name not in present]
    if found.key in missing:
        names = " and no column ".join(missing)
        raise UserError(f"The table {table} in {database.label} has no column {names}. {advice}.")
    if missing:
        raise UserError(
            f"The table {table} in {database.label} has no column {found.target_column} to write to. The product's own "
            f"migration adds it; or run `alter table {sql.Identifier(found.schema, found.table).as_string(None)} "
            f"add column {sql.Identifier(found.target_column).as_string(None)} jsonb;`."
        )


def _record(database: Database, parsed: Manifest, built: set[str]) -> None:
    """Remember what was built: each target and model all of whose sources were built."""
    whole = {found.command: _nodes(parsed, found) for found in _targets(parsed).values()}
    for node in built:
        if parsed["nodes"][node]["resource_type"] == "model":
            whole[_build_name(parsed["nodes"][node]["alias"])] = _ancestors(parsed, node)
    whole = {name: nodes for name, nodes in whole.items() if nodes <= built}
    if not whole:
        return
    with connect(database, application_name="migrate build") as session:
        Ledger(database.schema, source_schema()).record_builds(
            session, {name: _checksum(parsed, nodes, session) for name, nodes in whole.items()}
        )


def _succeeded(database: Database) -> set[str]:
    """The models and seeds that the last dbt command built."""
    results = target_dir(database) / "run_results.json"
    entries = _read_json(results)["results"] if results.exists() else []
    return {
        entry["unique_id"]
        for entry in entries
        if entry["status"] == "success" and entry["unique_id"].startswith(tuple(f"{kind}." for kind in _BUILT))
    }


def _build_name(model: str) -> str:
    """Under which name the ledger keeps the build of a single model; no command is called so."""
    return f"model {model}"


def _refuse_hidden_rows(session: Session, parsed: Manifest, database: Database) -> None:
    """Behind a pooler in transaction mode dbt's sessions cannot set row_security = off: ask the tables instead."""
    if not session.transaction_pooling:
        return
    tables = [(source["schema"], source["identifier"]) for source in parsed["sources"].values()]
    hidden = [".".join(name) for name in row_security.hidden(session, tables)]
    if hidden:
        raise UserError(
            f"Row level security hides rows of {', '.join(hidden)} from this role. Connect to {database.label} as the "
            f"owner of the tables or as a role with BYPASSRLS (set in {database.origin}), or let the owner run what "
            "`migrate runner` prints."
        )


# ---------- files


def _files_checksum(database: Database) -> str:
    root = project_dir()
    digest = hashlib.sha256()
    digest.update(json.dumps([str(root), database.schema, dbt_vars(), source_schema(), version("dbt-core")]).encode())
    for path in [root / PROJECT_FILE, *_project_files(root)]:
        digest.update(f"\0{path.relative_to(root)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _project_files(root: Path) -> list[Path]:
    return sorted(
        path
        for folder in _PROJECT_FOLDERS
        for path in (root / folder).rglob("*")
        if path.suffix in (".sql", ".yml", ".yaml", ".csv", ".md") and path.is_file()
    )


@cache
def _project_vars(root: Path) -> dict[str, Any]:
    found = yaml.safe_load((root / PROJECT_FILE).read_text(encoding="utf-8"))
    return dict(found.get("vars") or {})


def _publish(made: Path, cached: Path, keep: int = 5) -> None:
    """Put a copy into the cache in one step, and drop the oldest ones."""
    cached.parent.mkdir(parents=True, exist_ok=True)
    fresh = cached.with_suffix(f".{os.getpid()}")
    shutil.copyfile(made, fresh)
    fresh.replace(cached)
    for path in sorted(cached.parent.glob("*.json"), key=lambda path: path.stat().st_mtime)[:-keep]:
        path.unlink(missing_ok=True)


def _read_json(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value
