"""The ledger: `migration_log` beside the product's tables, and runs, undo and builds in the tool's own schema.

`Ledger.ensure` creates what is missing and upgrades what is there, in one transaction under a lock; it works
out the difference first, so a role that may only write needs no right to alter anything once all is in place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg import Connection, sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from scripts import locks
from scripts.errors import UserError

#: What a run can be, and how it can end ("crashed" is derived: running, but nobody holds its lock).
KINDS = ("apply", "dry_run", "rollback")
STATUSES = ("running", "done", "failed", "interrupted", "cancelled")

# (column, definition) in order; a table that lacks one gets it. Definitions of added columns must suit rows
# that are there already, so none but the key is "not null" without a default.
_LOG: tuple[tuple[str, str], ...] = (
    ("id", "uuid primary key default gen_random_uuid()"),
    ("migration_type", "text check (migration_type in ('campaign', 'event'))"),
    ("batch_number", "integer"),
    ("records_processed", "integer default 0"),
    ("records_succeeded", "integer default 0"),
    ("records_failed", "integer default 0"),
    ("started_at", "timestamptz default now()"),
    ("completed_at", "timestamptz"),
    ("error_details", "jsonb"),
    ("performed_by", "uuid"),
    ("dry_run", "boolean default false"),
    ("created_at", "timestamptz default now()"),
    ("run_id", "uuid"),
    ("kind", "text"),
    ("details", "jsonb"),
)
_TOOL_TABLES: dict[str, tuple[tuple[str, str], ...]] = {
    "migration_runs": (
        ("run_id", "uuid primary key"),
        ("command", "text"),
        ("migration_type", "text"),
        ("kind", "text check (kind in ('apply', 'dry_run', 'rollback'))"),
        ("status", "text check (status in ('running', 'done', 'failed', 'interrupted', 'cancelled'))"),
        ("rolls_back", "uuid"),
        ("started_at", "timestamptz default now()"),
        ("ended_at", "timestamptz"),
        ("performed_by", "uuid"),
        ("contract_version", "text"),
        ("models_checksum", "text"),
        ("settings", "jsonb default '{}'"),
        ("summary", "jsonb"),
        ("backend_pid", "integer"),
    ),
    "migration_undo": (
        ("log_id", "uuid primary key"),
        ("run_id", "uuid"),
        ("source_schema", "text"),
        ("source_table", "text"),
        ("leaf", "oid"),
        ("row_ids", "uuid[]"),
        ("row_keys", "text[]"),
        ("previous", "jsonb[]"),
        ("written", "bigint[]"),
        ("fingerprints", "bigint[]"),
    ),
    "model_builds": (
        ("command", "text primary key"),
        ("checksum", "text"),
        ("built_at", "timestamptz default now()"),
    ),
    # What `ensure` altered in a table that was the product's, with the statement that brings it back.
    "ledger_changes": (
        ("changed_at", "timestamptz default now()"),
        ("what", "text"),
        ("reverse", "text"),
    ),
}
_INDEXES = (
    # (table, index, definition after "on <table>")
    ("migration_runs", "migration_runs_started_at_idx", "(started_at desc)"),
    ("migration_undo", "migration_undo_run_id_idx", "(run_id)"),
)
# Random bytes do not compress: storing them as they are saves the attempt in every batch.
_EXTERNAL = ("row_ids", "written", "fingerprints")
# Outside the namespace of scripts/locks.py: creating a table is neither a build nor a run.
_ENSURE_LOCK = (locks.NAMESPACE + 1) << 32
_CLOSED_ROLES = ("anon", "authenticated")
_POLICY_PREFIX = "migration_log_admin"


_LOCK_HELD = """
select exists (
    select 1
    from pg_catalog.pg_locks as l
    where
        l.locktype = 'advisory'
        and l.database = (select d.oid from pg_catalog.pg_database as d where d.datname = current_database())
        and ((l.classid::bigint << 32) | l.objid::bigint) = %s
        and l.objsubid = 1
        and l.granted
)
"""


@dataclass(frozen=True)
class _Step:
    """One statement that `ensure` still has to run, and the right it takes."""

    statement: sql.Composable
    what: str
    reverse: str | None = None


@dataclass(frozen=True)
class Run:
    """One row of `migration_runs` with the sums of its log rows.

    `status` is as stored, or "crashed" when it says running and nobody holds the target's lock.
    """

    run_id: UUID
    command: str
    migration_type: str
    kind: str
    status: str
    rolls_back: UUID | None
    started_at: datetime
    ended_at: datetime | None
    performed_by: UUID | None
    contract_version: str | None
    models_checksum: str | None
    settings: dict[str, Any]
    summary: dict[str, Any] | None
    backend_pid: int | None
    batches: int
    processed: int
    succeeded: int
    failed: int

    @property
    def target(self) -> dict[str, Any]:
        """schema, table, column and key of the table that the run wrote."""
        target = self.settings.get("target")
        return target if isinstance(target, dict) else {}


@dataclass(frozen=True)
class Ledger:
    """The ledger of one database: names of its tables, and everything that is read from or written to them."""

    schema: str
    source_schema: str = "public"

    # ---------- names

    @property
    def log_table(self) -> sql.Identifier:
        """`migration_log`, in the source schema."""
        return sql.Identifier(self.source_schema, "migration_log")

    @property
    def runs_table(self) -> sql.Identifier:
        """`migration_runs`, in the tool's schema."""
        return sql.Identifier(self.schema, "migration_runs")

    @property
    def undo_table(self) -> sql.Identifier:
        """`migration_undo`, in the tool's schema."""
        return sql.Identifier(self.schema, "migration_undo")

    # ---------- create and upgrade

    def ensure(self, connection: Connection[Any]) -> list[str]:
        """Create or upgrade the ledger; returns what was done, in words (nothing when all was in place).

        Safe to call from several commands at once, and again. Raises UserError with the grant that is missing.
        """
        if self.schema == self.source_schema:
            raise UserError(
                f"The tool's own schema and the product's schema are both {self.schema!r}. "
                "Set `schema` of the dbt profile to a schema of its own, such as canonical_migration."
            )
        try:
            with connection.transaction():
                # Names in expressions are then printed with their schema, and nobody's function is picked up.
                connection.execute("set local search_path = pg_catalog")
                if not self._steps(connection):
                    self._check_writable(connection)
                    return []
            with connection.transaction():
                connection.execute("set local search_path = pg_catalog")
                connection.execute("select pg_advisory_xact_lock(%s)", [_ENSURE_LOCK])
                done: list[str] = []
                reverses: list[tuple[str, str]] = []
                # Some differences can be seen only once others are mended (columns of a new table).
                for _ in range(4):
                    steps = self._steps(connection)
                    if not steps:
                        break
                    for step in steps:
                        self._run(connection, step)
                        done.append(step.what)
                        if step.reverse:
                            reverses.append((step.what, step.reverse))
                else:
                    raise UserError(f"The ledger could not be brought up to date; still missing: {steps[0].what}.")
                for what, reverse in reverses:
                    connection.execute(
                        sql.SQL("insert into {} (what, reverse) values (%s, %s)").format(
                            sql.Identifier(self.schema, "ledger_changes")
                        ),
                        [what, reverse],
                    )
                self._check_writable(connection)
                return done
        except psycopg.errors.ReadOnlySqlTransaction:
            raise UserError(
                "This connection is read-only (a standby, or default_transaction_read_only is on), so nothing can "
                "be logged. Connect to the primary with a role that may write."
            ) from None
        except psycopg.errors.LockNotAvailable:
            raise UserError(
                "The ledger's tables are locked by somebody else (a long transaction on migration_log, or a "
                "second command that is creating them). Try again in a moment."
            ) from None

    def _run(self, connection: Connection[Any], step: _Step) -> None:
        try:
            connection.execute(step.statement)
        except psycopg.errors.InsufficientPrivilege as error:
            raise UserError(self._missing_privilege(connection, step, error)) from None
        except psycopg.errors.DuplicateColumn:  # pragma: no cover - somebody outside the lock was faster
            pass

    def _missing_privilege(self, connection: Connection[Any], step: _Step, error: psycopg.Error) -> str:
        message = (error.diag.message_primary or str(error)).strip()
        who = self._quoted_role(connection)
        if "for database" in message:
            remedy = f"create schema {self.schema} authorization {who};"
        elif "for schema" in message:
            name = message.rsplit(" ", 1)[-1]
            remedy = f"grant create, usage on schema {name} to {who};"
        else:
            remedy = f"grant <the owner of that object> to {who};"
        return (
            f"Cannot {step.what}: {message}. Let its owner run `{remedy}` or give the tool a role that owns the "
            "product's tables, then run the command again."
        )

    @staticmethod
    def _quoted_role(connection: Connection[Any]) -> str:
        # The connection knows its user without a query (a failed transaction could not answer one).
        return sql.Identifier(connection.info.user).as_string(connection)

    # ---------- what is missing

    def _steps(self, connection: Connection[Any]) -> list[_Step]:
        """The statements that would bring the ledger up to date, in order; none when it is."""
        schemas = dict(
            connection.execute(
                "select nspname::text, oid::bigint from pg_namespace where nspname = any(%s)",
                [[self.schema, self.source_schema]],
            ).fetchall()
        )
        if self.source_schema not in schemas:
            raise UserError(
                f"There is no schema {self.source_schema!r} in this database. Set the dbt var source_schema to the "
                "schema that holds the product's tables, or connect to the right database."
            )
        if self.schema not in schemas:
            return [
                _Step(
                    sql.SQL("create schema if not exists {}").format(sql.Identifier(self.schema)),
                    f"create schema {self.schema}",
                )
            ]
        steps = self._close_steps(connection, "schema", sql.Identifier(self.schema), _acl(connection, self.schema))
        for table, columns in _TOOL_TABLES.items():
            steps += self._table_steps(connection, self.schema, table, columns)
        for table, index, definition in _INDEXES:
            steps += self._index_steps(connection, self.schema, table, index, definition)
        return steps + self._log_steps(connection)

    def _table_steps(
        self, connection: Connection[Any], schema: str, table: str, columns: Sequence[tuple[str, str]]
    ) -> list[_Step]:
        """Create the table closed to everybody else, or add the columns and the closing that it lacks."""
        name = sql.Identifier(schema, table)
        state = _table(connection, schema, table)
        if state is None:
            body = sql.SQL(", ").join(
                sql.SQL("{} {}").format(sql.Identifier(column), _definition(definition)) for column, definition in columns
            )
            steps = [
                _Step(sql.SQL("create table {} ({})").format(name, body), f"create table {schema}.{table}"),
                _Step(sql.SQL("alter table {} enable row level security").format(name), f"close {schema}.{table}"),
            ]
            for column in _EXTERNAL:
                if any(column == existing for existing, _ in columns):
                    steps.append(
                        _Step(
                            sql.SQL("alter table {} alter column {} set storage external").format(
                                name, sql.Identifier(column)
                            ),
                            f"set the storage of {schema}.{table}.{column}",
                        )
                    )
            return steps
        if state.kind not in ("r", "p"):
            raise UserError(f"{schema}.{table} exists but is no table. Rename it, then run the command again.")
        steps = []
        for column, definition in columns:
            if column not in state.columns:
                steps.append(
                    _Step(
                        sql.SQL("alter table {} add column if not exists {} {}").format(
                            name, sql.Identifier(column), _definition(definition)
                        ),
                        f"add column {column} to {schema}.{table}",
                    )
                )
        if not state.row_security:
            steps.append(
                _Step(
                    sql.SQL("alter table {} enable row level security").format(name),
                    f"enable row level security on {schema}.{table}",
                    f"alter table {name.as_string(connection)} disable row level security",
                )
            )
        if schema == self.schema:
            steps += self._close_steps(connection, "table", name, state.grants)
        return steps

    @staticmethod
    def _close_steps(
        connection: Connection[Any], kind: str, name: sql.Identifier, grants: dict[str, set[str]]
    ) -> list[_Step]:
        """Take away what public, anon and authenticated may do (default privileges may have given it)."""
        return [
            _Step(
                sql.SQL("revoke all on {} {} from {}").format(sql.SQL(kind), name, _grantee(grantee)),
                f"revoke the rights of {grantee} on {kind} {name.as_string(connection)}",
            )
            for grantee in ("public", *_CLOSED_ROLES)
            if grants.get(grantee)
        ]

    @staticmethod
    def _index_steps(
        connection: Connection[Any], schema: str, table: str, index: str, definition: str
    ) -> list[_Step]:
        if _table(connection, schema, table) is None:
            return []
        found = connection.execute(
            """
            select 1
            from pg_index as i
            inner join pg_class as c on c.oid = i.indrelid
            inner join pg_namespace as n on n.oid = c.relnamespace
            where
                n.nspname = %s and c.relname = %s and i.indisvalid and i.indpred is null
                and lower(pg_get_indexdef(i.indexrelid)) like '%%using btree ' || %s
            """,
            [schema, table, definition],
        ).fetchone()
        if found:
            return []
        return [
            _Step(
                sql.SQL("create index if not exists {} on {} {}").format(
                    sql.Identifier(index), sql.Identifier(schema, table), _definition(definition)
                ),
                f"create index {index}",
            )
        ]

    def _log_steps(self, connection: Connection[Any]) -> list[_Step]:
        schema, table = self.source_schema, "migration_log"
        steps = self._table_steps(connection, schema, table, _LOG)
        state = _table(connection, schema, table)
        if state is None:
            return steps
        name = self.log_table
        shown = name.as_string(connection)
        own = dict(_LOG)
        for column, (column_type, required, has_default) in state.columns.items():
            if column not in own:
                if required and not has_default:
                    raise UserError(
                        f"{schema}.{table}.{column} is not null without a default, and the tool does not know what to "
                        f"write there. Run `alter table {shown} alter column {column} drop not null`, or give it a default."
                    )
            elif column_type not in _accepted(own[column]):
                raise UserError(
                    f"{schema}.{table}.{column} is {column_type}; it must be {_accepted(own[column])[0]}. Rename the "
                    "old table or change the column's type, then run the command again."
                )
            elif required and column != "id" and not has_default:
                steps.append(
                    _Step(
                        sql.SQL("alter table {} alter column {} drop not null").format(name, sql.Identifier(column)),
                        f"allow nulls in {schema}.{table}.{column}",
                        f"alter table {shown} alter column {sql.Identifier(column).as_string(connection)} set not null",
                    )
                )
        if {"migration_type", "started_at", "run_id"} <= state.columns.keys():
            steps += self._index_steps(
                connection, schema, table, "migration_log_type_started_at_idx", "(migration_type, started_at desc)"
            )
            steps += self._index_steps(connection, schema, table, "migration_log_run_id_idx", "(run_id)")
        return steps + self._policy_steps(connection, name, state)

    def _policy_steps(self, connection: Connection[Any], name: sql.Identifier, state: _Table) -> list[_Step]:
        """Who but the owner may read and add log rows: administrators, found as section 8 of the contract says."""
        role, condition = self._administrators(connection)
        steps: list[_Step] = []
        allowed: dict[str, set[str]] = {role: {"INSERT", "SELECT"}} if role else {}
        for grantee in ("public", *_CLOSED_ROLES):
            if state.grants.get(grantee, set()) - allowed.get(grantee, set()):
                steps.append(
                    _Step(
                        sql.SQL("revoke all on table {} from {}").format(name, _grantee(grantee)),
                        f"revoke the rights of {grantee} on {name.as_string(connection)}",
                    )
                )
                state.grants.pop(grantee)
        if role and not allowed[role] <= state.grants.get(role, set()):
            steps.append(
                _Step(
                    sql.SQL("grant select, insert on table {} to {}").format(name, sql.Identifier(role)),
                    f"let administrators ({role}) read {name.as_string(connection)}",
                )
            )
        wanted: dict[str, sql.Composed] = {}
        if role:
            wanted = {
                f"{_POLICY_PREFIX}_select": sql.SQL("for select to {} using ({})").format(
                    sql.Identifier(role), sql.SQL(condition)
                ),
                f"{_POLICY_PREFIX}_insert": sql.SQL("for insert to {} with check ({})").format(
                    sql.Identifier(role), sql.SQL(condition)
                ),
            }
        for policy in _policies(connection, self.source_schema, "migration_log"):
            body = wanted.get(policy["name"])
            if body is not None and policy["comment"] == body.as_string(connection):
                del wanted[policy["name"]]
            elif policy["name"].startswith(_POLICY_PREFIX):
                steps.append(
                    _Step(
                        sql.SQL("drop policy if exists {} on {}").format(sql.Identifier(policy["name"]), name),
                        f"replace policy {policy['name']}",
                    )
                )
            elif policy["permissive"]:
                # Policies add up: any other one would let somebody in who is no administrator.
                steps.append(
                    _Step(
                        sql.SQL("drop policy if exists {} on {}").format(sql.Identifier(policy["name"]), name),
                        f"drop policy {policy['name']} of {name.as_string(connection)}, which let others in",
                        policy["definition"],
                    )
                )
        for policy_name, body in wanted.items():
            steps.append(
                _Step(
                    sql.SQL("create policy {} on {} {}").format(sql.Identifier(policy_name), name, body),
                    f"create policy {policy_name}",
                )
            )
            # The comment tells the next `ensure` which rule this policy was made from.
            steps.append(
                _Step(
                    sql.SQL("comment on policy {} on {} is {}").format(
                        sql.Identifier(policy_name), name, sql.Literal(body.as_string(connection))
                    ),
                    f"describe policy {policy_name}",
                )
            )
        return steps

    def _administrators(self, connection: Connection[Any]) -> tuple[str | None, str]:
        """The role that the policies are for and their condition; (None, "") when only the owner may read."""
        here = connection.execute(
            """
            select
                to_regprocedure('auth.uid()') is not null and exists (select 1 from pg_roles where rolname = 'authenticated'),
                exists (select 1 from pg_roles where rolname = 'migration_admin')
            """
        ).fetchone()
        assert here is not None
        if here[0]:
            for schema in dict.fromkeys((self.source_schema, "public")):
                function = sql.Identifier(schema, "is_admin").as_string(connection)
                found = connection.execute(
                    "select 1 from pg_proc where oid = to_regprocedure(%s) and prorettype = 'boolean'::regtype",
                    [f"{function}(uuid)"],
                ).fetchone()
                if found:
                    return "authenticated", f"(select {function}((select auth.uid())))"
            for schema in dict.fromkeys((self.source_schema, "public")):
                state = _table(connection, schema, "user_roles")
                if state and {"user_id", "role"} <= state.columns.keys():
                    roles = sql.Identifier(schema, "user_roles").as_string(connection)
                    return "authenticated", (
                        f"exists (select 1 from {roles} as r where r.user_id = (select auth.uid()) "
                        "and r.role::text in ('admin', 'superadmin'))"
                    )
        if here[1]:
            return "migration_admin", "true"
        return None, ""

    def _check_writable(self, connection: Connection[Any]) -> None:
        """Raise UserError when the role may not write the ledger, or would see only part of it."""
        tables = [(self.source_schema, "migration_log"), *((self.schema, table) for table in _TOOL_TABLES)]
        who = self._quoted_role(connection)
        for schema, table in tables:
            name = sql.Identifier(schema, table).as_string(connection)
            row = connection.execute(
                """
                select
                    has_schema_privilege(%(schema)s, 'usage'),
                    has_table_privilege(%(name)s, 'select') and has_table_privilege(%(name)s, 'insert')
                    and has_table_privilege(%(name)s, 'update'),
                    row_security_active(%(name)s),
                    (select pg_get_userbyid(c.relowner) from pg_class as c where c.oid = to_regclass(%(name)s))
                """,
                {"schema": schema, "name": name},
            ).fetchone()
            assert row is not None
            usage, privileges, filtered, owner = row
            if not usage:
                raise UserError(
                    f"Role {who} may not use schema {schema}. Let its owner run `grant usage on schema {schema} to {who};`."
                )
            if not privileges:
                raise UserError(
                    f"Role {who} may not write {name}. Let its owner run "
                    f"`grant select, insert, update on {name} to {who};` and `grant {owner} to {who};`."
                )
            if filtered:
                raise UserError(
                    f"Row level security on {name} would hide rows from role {who}. Use its owner {owner}, or let an "
                    f"administrator run `grant {owner} to {who};` or `alter role {who} bypassrls;`."
                )

    # ---------- runs

    def open_run(
        self,
        connection: Connection[Any],
        *,
        command: str,
        migration_type: str,
        kind: str,
        target: dict[str, Any],
        settings: dict[str, Any] | None = None,
        rolls_back: UUID | None = None,
        performed_by: UUID | None = None,
        contract_version: str | None = None,
        models_checksum: str | None = None,
        run_id: UUID | None = None,
    ) -> UUID:
        """Record that a run began, and return its id.

        `target` holds at least schema, table, column and key (of the source table); it and `settings` end up in
        `migration_runs.settings`, where `settings["fingerprint"]` lists the columns of the fingerprint
        (see `fingerprint.Column.as_json`) and `settings["excepted"]` those that triggers keep.
        """
        run_id = run_id or uuid4()
        connection.execute(
            sql.SQL(
                """
                insert into {} (
                    run_id, command, migration_type, kind, status, rolls_back, started_at, performed_by,
                    contract_version, models_checksum, settings, backend_pid
                )
                values (%s, %s, %s, %s, 'running', %s, clock_timestamp(), %s, %s, %s, %s, pg_catalog.pg_backend_pid())
                """
            ).format(self.runs_table),
            [
                run_id, command, migration_type, kind, rolls_back, performed_by,
                contract_version, models_checksum, Jsonb({**(settings or {}), "target": target}),
            ],
        )
        return run_id

    def close_run(
        self, connection: Connection[Any], run_id: UUID, status: str, summary: dict[str, Any] | None = None
    ) -> None:
        """Record how a run ended: "done", "failed", "interrupted" or "cancelled", with its summary (no payloads)."""
        connection.execute(
            sql.SQL(
                "update {} set status = %s, ended_at = clock_timestamp(), summary = %s where run_id = %s"
            ).format(self.runs_table),
            [status, Jsonb(summary) if summary is not None else None, run_id],
        )

    def write_log(
        self,
        connection: Connection[Any],
        *,
        run_id: UUID,
        kind: str,
        migration_type: str,
        batch_number: int,
        processed: int,
        succeeded: int,
        failed: int,
        started_at: datetime,
        error_details: Any = None,
        details: dict[str, Any] | None = None,
        performed_by: UUID | None = None,
        log_id: UUID | None = None,
    ) -> UUID:
        """Write one finished row of `migration_log` outside a batch (a dry run, a failed row); returns its id."""
        log_id = log_id or uuid4()
        connection.execute(
            sql.SQL(
                """
                insert into {} (
                    id, run_id, kind, migration_type, batch_number, records_processed, records_succeeded,
                    records_failed, started_at, completed_at, error_details, details, performed_by, dry_run
                )
                values (%s, %s, %s, %s, %s, %s, %s, %s, %s, clock_timestamp(), %s, %s, %s, %s)
                """
            ).format(self.log_table),
            [
                log_id, run_id, kind, migration_type, batch_number, processed, succeeded, failed, started_at,
                Jsonb(error_details) if error_details is not None else None,
                Jsonb(details) if details is not None else None,
                performed_by, kind == "dry_run",
            ],
        )
        return log_id

    def exists(self, connection: Connection[Any]) -> bool:
        """Whether a run could have been recorded here at all."""
        row = connection.execute(
            "select pg_catalog.to_regclass(%s) is not null and pg_catalog.to_regclass(%s) is not null",
            [self.runs_table.as_string(connection), self.log_table.as_string(connection)],
        ).fetchone()
        return bool(row and row[0])

    def runs(
        self, connection: Connection[Any], *, run: str | None = None, migration_type: str | None = None,
        limit: int | None = None,
    ) -> list[Run]:
        """The runs, newest first; `run` is a prefix of the id."""
        if not self.exists(connection):
            return []
        with connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(
                sql.SQL(
                    """
                    select
                        r.run_id, r.command, r.migration_type, r.kind, r.status, r.rolls_back, r.started_at, r.ended_at,
                        r.performed_by, r.contract_version, r.models_checksum, r.settings, r.summary, r.backend_pid,
                        l.batches, l.processed, l.succeeded, l.failed,
                        not exists (
                            select 1
                            from {runs} as n
                            where
                                n.status = 'running' and n.kind <> 'dry_run' and n.started_at > r.started_at
                                and n.settings -> 'target' = r.settings -> 'target'
                        ) as newest
                    from {runs} as r
                    cross join lateral (
                        select
                            count(*) as batches,
                            coalesce(sum(g.records_processed), 0)::bigint as processed,
                            coalesce(sum(g.records_succeeded), 0)::bigint as succeeded,
                            coalesce(sum(g.records_failed), 0)::bigint as failed
                        from {log} as g
                        where g.run_id = r.run_id
                    ) as l
                    where
                        (%(run)s::text is null or starts_with(r.run_id::text, %(run)s))
                        and (%(type)s::text is null or r.migration_type = %(type)s)
                    order by r.started_at desc, r.run_id desc
                    limit %(limit)s
                    """
                ).format(runs=self.runs_table, log=self.log_table),
                {"run": run.strip().lower() if run else None, "type": migration_type, "limit": limit},
            ).fetchall()
        found = []
        for row in rows:
            newest = row.pop("newest")
            found.append(self._derived(connection, Run(**{**row, "settings": row["settings"] or {}}), newest))
        return found

    def find_run(self, connection: Connection[Any], prefix: str) -> Run:
        """The one run whose id starts with `prefix`; UserError when there is none, or several."""
        found = self.runs(connection, run=prefix)
        if not found:
            raise UserError(f"No run has an id that starts with {prefix!r}. `migrate log` lists the runs.")
        if len(found) > 1:
            ids = ", ".join(str(one.run_id) for one in found[:5])
            raise UserError(f"{len(found)} runs have an id that starts with {prefix!r}: {ids}. Give more of the id.")
        return found[0]

    def _derived(self, connection: Connection[Any], run: Run, newest: bool) -> Run:
        """A run that says running is crashed when nobody holds its target's lock, or only a later run does."""
        if run.status != "running":
            return run
        if run.kind == "dry_run":
            alive = connection.execute(
                "select exists (select 1 from pg_catalog.pg_stat_activity where pid = %s)", [run.backend_pid]
            ).fetchone()
        else:
            target = run.target
            names = [str(target.get(part)) for part in ("schema", "table", "column")]
            alive = connection.execute(_LOCK_HELD, [locks.run_key(*names)]).fetchone()
            if not newest:
                alive = None
        return run if alive and alive[0] else replace(run, status="crashed")

    # ---------- log

    def log(
        self, connection: Connection[Any], *, run_id: UUID | None = None, migration_type: str | None = None,
        failures: bool = False, limit: int | None = None, newest_first: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """Rows of `migration_log` as dictionaries, through a server-side cursor (memory stays flat)."""
        if not self.exists(connection):
            return
        query = sql.SQL(
            """
            select
                l.id, l.run_id, coalesce(l.kind, case when l.dry_run then 'dry_run' else 'apply' end) as kind,
                l.migration_type, l.batch_number, l.records_processed, l.records_succeeded, l.records_failed,
                l.started_at, l.completed_at, l.dry_run, l.performed_by, l.error_details, l.details, l.created_at
            from {log} as l
            where
                (%(run)s::uuid is null or l.run_id = %(run)s)
                and (%(type)s::text is null or l.migration_type::text = %(type)s)
                and (not %(failures)s or l.records_failed > 0)
            order by l.started_at {way}, l.batch_number {way}, l.id
            limit %(limit)s
            """
        ).format(log=self.log_table, way=sql.SQL("desc nulls last" if newest_first else "asc"))
        with connection.transaction(), connection.cursor(name="migration_log_export", row_factory=dict_row) as cursor:
            cursor.itersize = 500
            cursor.execute(
                query, {"run": run_id, "type": migration_type, "failures": failures, "limit": limit}
            )
            yield from cursor

    # ---------- builds

    def builds(self, connection: Connection[Any]) -> list[dict[str, Any]]:
        """What was built last for each command: command, checksum, built_at."""
        if not self.exists(connection):
            return []
        with connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(
                sql.SQL("select command, checksum, built_at from {} order by command").format(
                    sql.Identifier(self.schema, "model_builds")
                )
            ).fetchall()

    def record_build(self, connection: Connection[Any], command: str, checksum: str) -> None:
        """Remember the checksum of the models that were built for this command."""
        connection.execute(
            sql.SQL(
                """
                insert into {} (command, checksum, built_at) values (%s, %s, clock_timestamp())
                on conflict (command) do update set checksum = excluded.checksum, built_at = excluded.built_at
                """
            ).format(sql.Identifier(self.schema, "model_builds")),
            [command, checksum],
        )


# ---------- the catalog


@dataclass
class _Table:
    """What the catalog says of a table; `columns` name -> (type, not null, has a default)."""

    kind: str
    row_security: bool
    columns: dict[str, tuple[str, bool, bool]]
    grants: dict[str, set[str]]


def _table(connection: Connection[Any], schema: str, table: str) -> _Table | None:
    row = connection.execute(
        """
        select c.oid, c.relkind::text, c.relrowsecurity
        from pg_catalog.pg_class as c
        inner join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
        where n.nspname = %s and c.relname = %s
        """,
        [schema, table],
    ).fetchone()
    if row is None:
        return None
    columns = connection.execute(
        """
        select
            a.attname::text,
            pg_catalog.format_type(a.atttypid, null),
            a.attnotnull,
            a.atthasdef or a.attidentity <> ''
        from pg_catalog.pg_attribute as a
        where a.attrelid = %s and a.attnum > 0 and not a.attisdropped
        order by a.attnum
        """,
        [row[0]],
    ).fetchall()
    return _Table(
        kind=row[1],
        row_security=row[2],
        columns={name: (kind, required, default) for name, kind, required, default in columns},
        grants=_acl(connection, schema, table),
    )


def _acl(connection: Connection[Any], schema: str, table: str | None = None) -> dict[str, set[str]]:
    """Rights on a schema, or on a table in it, by grantee ("public" for everybody)."""
    source = "pg_catalog.pg_namespace as n cross join lateral pg_catalog.aclexplode(n.nspacl) as x"
    if table is not None:
        source = (
            "pg_catalog.pg_namespace as n inner join pg_catalog.pg_class as c on c.relnamespace = n.oid "
            "and c.relname = %(table)s cross join lateral pg_catalog.aclexplode(c.relacl) as x"
        )
    rows = connection.execute(
        sql.SQL(
            "select case when x.grantee = 0 then 'public' else pg_catalog.pg_get_userbyid(x.grantee)::text end, "
            "x.privilege_type from {} where n.nspname = %(schema)s"
        ).format(sql.SQL(source)),
        {"schema": schema, "table": table},
    ).fetchall()
    grants: dict[str, set[str]] = {}
    for grantee, privilege in rows:
        grants.setdefault(grantee, set()).add(privilege)
    return grants


def _policies(connection: Connection[Any], schema: str, table: str) -> list[dict[str, Any]]:
    """name, permissive, comment, and the statement that makes the policy, of every policy of a table."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            select
                p.polname::text as name,
                p.polpermissive as permissive,
                obj_description(p.oid, 'pg_policy') as comment,
                format(
                    'create policy %%I on %%I.%%I as %%s for %%s to %%s%%s%%s',
                    p.polname, n.nspname, c.relname,
                    case when p.polpermissive then 'permissive' else 'restrictive' end,
                    case p.polcmd
                        when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete'
                        else 'all'
                    end,
                    (
                        select string_agg(case when r = 0 then 'public' else quote_ident(pg_get_userbyid(r)) end, ', ')
                        from unnest(p.polroles) as r
                    ),
                    ' using (' || pg_get_expr(p.polqual, p.polrelid) || ')',
                    ' with check (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')'
                ) as definition
            from pg_policy as p
            inner join pg_class as c on c.oid = p.polrelid
            inner join pg_namespace as n on n.oid = c.relnamespace
            where n.nspname = %s and c.relname = %s
            order by p.polname
            """,
            [schema, table],
        ).fetchall()


_TYPES = {
    "uuid": ("uuid",),
    "text": ("text", "character varying"),
    "integer": ("integer", "bigint"),
    "timestamptz": ("timestamp with time zone",),
    "jsonb": ("jsonb",),
    "boolean": ("boolean",),
}


def _accepted(definition: str) -> tuple[str, ...]:
    """Type names (as the catalog prints them) that do for a column of this definition."""
    return _TYPES[definition.split(" ", 1)[0]]


def _definition(text: str) -> sql.SQL:
    """A fragment of this module's own constants."""
    return sql.SQL(text)  # type: ignore[arg-type]


def _grantee(name: str) -> sql.Composable:
    return sql.SQL("public") if name == "public" else sql.Identifier(name)
