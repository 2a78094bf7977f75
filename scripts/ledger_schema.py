"""The tables of the ledger: what they must look like, and the steps from what is there to that.

`migration_log` lives beside the product's tables, may have been there before with an owner, rows and policies of
its own, and is read by administrators of the product; everything else is the tool's and closed to all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from scripts import locks, row_security
from scripts.connection import Session, transaction
from scripts.errors import UserError

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
        ("control", "text not null default 'run' check (control in ('run', 'pause', 'cancel'))"),
        ("controlled_by", "uuid"),
        ("waiting_for", "text"),
        ("waiting_since", "timestamptz"),
        # The order of the runs, which a clock that was set back does not change.
        ("number", "bigint generated always as identity"),
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
    # What was done besides runs: what the checklist of the review site goes by.
    "migration_evidence": (
        ("evidence_id", "uuid primary key default gen_random_uuid()"),
        ("kind", "text check (kind in ('validation', 'verification', 'log_export'))"),
        ("recorded_at", "timestamptz default clock_timestamp()"),
        ("recorded_by", "text default session_user"),
        ("summary", "jsonb default '{}'"),
    ),
    # What `ensure` altered in a table that was the product's, with the statement that brings it back.
    "ledger_changes": (
        ("changed_at", "timestamptz default now()"),
        ("what", "text"),
        ("reverse", "text"),
    ),
    # Who switched `migrate automatic` on or off; the newest row of a command counts.
    "automatic_switches": (
        ("switched_at", "timestamptz default clock_timestamp()"),
        ("command", "text"),
        ("switched", "text check (switched in ('on', 'off'))"),
        ("role", "text default session_user"),
        ("performed_by", "uuid"),
    ),
    # The hash of what these triggers stored last in a row: so that they and `--refresh` know it for the tool's own.
    "automatic_values": (
        ("target", 'text collate "C" not null'),
        ("row_key", 'text collate "C" not null'),
        ("written", "bigint"),
        ("written_at", "timestamptz"),
    ),
    # What went wrong in them: a few records of each kind, the oldest is written over.
    "automatic_errors": (
        ("id", "uuid primary key default gen_random_uuid()"),  # no sequence: the application may ask for lastval()
        ("command", "text"),
        ("sqlstate", "text"),
        ("message", "text"),
        ("row_keys", "text[]"),
        ("rows_left", "bigint"),
        ("last_at", "timestamptz"),
    ),
}
_INDEXES = (
    # (table, index, definition after "on <table>")
    ("migration_runs", "migration_runs_number_idx", "(number desc)"),
    ("migration_undo", "migration_undo_run_id_idx", "(run_id)"),
    ("automatic_values", "automatic_values_key", "(target, row_key)"),
)
_UNIQUE = ("automatic_values_key",)
_LOG_INDEXES = (
    ("migration_log_type_started_at_idx", "(migration_type, started_at desc)"),
    ("migration_log_run_id_idx", "(run_id)"),
)
# Random bytes do not compress: storing them as they are saves the attempt in every batch.
_EXTERNAL = ("row_ids", "written", "fingerprints")
# Outside the namespace of scripts/locks.py: creating a table is neither a build nor a run.
_ENSURE_LOCK = (locks.NAMESPACE + 1) << 32
_CLOSED_ROLES = ("anon", "authenticated")
_POLICY_PREFIX = "migration_log_admin"
#: How the policies of `migrate runner` begin; only the table's owner can have made one.
RUNNER_POLICY = "migration_runner_"


@dataclass(frozen=True)
class _Step:
    """One statement that `ensure` still has to run, and the right it takes."""

    statement: sql.Composed
    what: str
    reverse: str | None = None


def log_statements(session: Session, schema: str, source_schema: str) -> list[tuple[str, str | None]]:
    """The statements that make migration_log or bring it up to date, in order, each with the one that takes it back.

    For its owner to run before a role works that may only read it and add rows to it. None when all is in place.
    """
    return _Upgrade(schema, source_schema).log_statements(session)


def ensure(session: Session, schema: str, source_schema: str) -> list[str]:
    """Create or upgrade the ledger; returns what was done, in words (nothing when all was in place).

    Works out the difference first, so a role that may only write needs no right to alter anything once all is in
    place. Safe to call from several commands at once, and again. Raises UserError with the grant that is missing.
    """
    return _Upgrade(schema, source_schema).ensure(session)


def ensure_builds(session: Session, schema: str, source_schema: str) -> None:
    """Like `ensure`, but only the table that remembers what was built: a build alone makes nothing else."""
    _Upgrade(schema, source_schema, only="model_builds").ensure(session)


@dataclass(frozen=True)
class _Upgrade:
    schema: str
    source_schema: str
    only: str | None = None  # of the tool's tables; without it all of them, and the log

    @property
    def _tool_tables(self) -> dict[str, tuple[tuple[str, str], ...]]:
        return {self.only: _TOOL_TABLES[self.only]} if self.only else _TOOL_TABLES

    def ensure(self, session: Session) -> list[str]:
        if self.schema == self.source_schema:
            raise UserError(
                f"The tool's own schema and the product's schema are both {self.schema!r}. "
                "Set `schema` of the dbt profile to a schema of its own, such as canonical_migration."
            )
        try:
            return self._bring_up_to_date(session)
        except (psycopg.errors.DuplicateObject, psycopg.errors.DuplicateSchema, psycopg.errors.UniqueViolation):
            # dbt, which takes no part in the lock, created the schema in the same moment.
            return self._bring_up_to_date(session)

    def _bring_up_to_date(self, session: Session) -> list[str]:
        done: list[_Step] = []
        try:
            with transaction(session):
                # Names in expressions are then printed with their schema, and nobody's function is picked up.
                session.execute("set local search_path = pg_catalog")
                if not self._steps(session):
                    self._check_writable(session)
                    return []
            with transaction(session):
                session.execute("set local search_path = pg_catalog")
                session.execute("select pg_advisory_xact_lock(%s)", [_ENSURE_LOCK])
                # Some differences can be seen only once others are mended (what default privileges gave away).
                for _ in range(4):
                    steps = self._steps(session)
                    if not steps:
                        break
                    for step in steps:
                        done.append(step)
                        session.execute(step.statement)
                else:
                    raise UserError(f"The ledger could not be brought up to date; still missing: {steps[0].what}.")
                for step in done:
                    if step.reverse:
                        session.execute(
                            sql.SQL("insert into {} (what, reverse) values (%s, %s)").format(
                                sql.Identifier(self.schema, "ledger_changes")
                            ),
                            [step.what, step.reverse],
                        )
                self._check_writable(session)
        except psycopg.errors.InsufficientPrivilege as error:
            what = done[-1].what if done else "read the catalog"
            raise UserError(self._missing_privilege(session, what, error)) from None
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
        return [step.what for step in done]

    def _missing_privilege(self, session: Session, what: str, error: psycopg.Error) -> str:
        message = (error.diag.message_primary or str(error)).strip()
        who = self._quoted_role(session)
        name = message.rsplit(" ", 1)[-1]
        if "for database" in message:
            own = sql.Identifier(self.schema).as_string(session)
            remedy = f"create schema {own} authorization {who};"
        elif "for schema" in message:
            remedy = f"grant create, usage on schema {name} to {who};"
        else:
            owner = session.execute(
                """
                select distinct quote_ident(pg_get_userbyid(c.relowner))
                from pg_catalog.pg_class as c
                inner join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
                where n.nspname = any(%s) and c.relname = %s
                """,
                [[self.schema, self.source_schema], name],
            ).fetchone()
            remedy = f"grant {owner[0]} to {who};" if owner else f"grant <its owner> to {who};"
        return (
            f"Cannot {what}: {message}. Let an administrator run `{remedy}`, or connect as the role that owns the "
            "product's tables; then run the command again."
        )

    @staticmethod
    def _quoted_role(session: Session) -> str:
        # Known without a query, which a failed transaction could not answer.
        return sql.Identifier(session.settings.get("role") or session.info.user).as_string(session)

    # ---------- what is missing

    def _steps(self, session: Session) -> list[_Step]:
        """The statements that would bring the ledger up to date, in order; none when it is."""
        schemas: dict[str, int] = dict(
            session.execute(
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
        steps = self._close_steps(session, "schema", sql.Identifier(self.schema), _acl(session, self.schema))
        for table, columns in self._tool_tables.items():
            steps += self._table_steps(session, self.schema, table, columns)
        if self.only:
            return steps
        for table, index, definition in _INDEXES:
            steps += self._index_steps(session, self.schema, table, index, definition)
        return steps + self._log_steps(session)

    def _table_steps(
        self, session: Session, schema: str, table: str, columns: Sequence[tuple[str, str]]
    ) -> list[_Step]:
        """Create the table closed to everybody else, or add the columns and the closing that it lacks."""
        name = sql.Identifier(schema, table)
        state = _table(session, schema, table)
        if state is None:
            body = sql.SQL(", ").join(
                sql.SQL("{} {}").format(sql.Identifier(column), _definition(definition))
                for column, definition in columns
            )
            steps = [
                _Step(sql.SQL("create table {} ({})").format(name, body), f"create table {schema}.{table}"),
                _Step(sql.SQL("alter table {} enable row level security").format(name), f"close {schema}.{table}"),
            ]
            return steps + [
                _Step(
                    sql.SQL("alter table {} alter column {} set storage external").format(name, sql.Identifier(column)),
                    f"set the storage of {schema}.{table}.{column}",
                )
                for column, definition in columns
                if column in _EXTERNAL and definition.endswith("[]")
            ]
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
                    f"alter table {name.as_string(session)} disable row level security",
                )
            )
        if schema == self.schema:
            steps += self._close_steps(session, "table", name, state.grants)
        return steps

    @staticmethod
    def _close_steps(session: Session, kind: str, name: sql.Identifier, grants: dict[str, set[str]]) -> list[_Step]:
        """Take away what public, anon and authenticated may do (default privileges may have given it)."""
        return [
            _Step(
                sql.SQL("revoke all on {} {} from {}").format(sql.SQL(kind), name, _grantee(grantee)),
                f"revoke the rights of {grantee} on {kind} {name.as_string(session)}",
            )
            for grantee in ("public", *_CLOSED_ROLES)
            if grants.get(grantee)
        ]

    @staticmethod
    def _index_steps(session: Session, schema: str, table: str, index: str, definition: str) -> list[_Step]:
        if _table(session, schema, table) is None:
            return []
        found = session.execute(
            """
            select 1
            from pg_index as i
            inner join pg_class as c on c.oid = i.indrelid
            inner join pg_namespace as n on n.oid = c.relnamespace
            where
                n.nspname = %s and c.relname = %s and i.indisvalid and i.indpred is null and (i.indisunique or not %s)
                and lower(pg_get_indexdef(i.indexrelid)) like '%%using btree ' || %s
            """,
            [schema, table, index in _UNIQUE, definition],
        ).fetchone()
        return [] if found else [_index_step(schema, table, index, definition)]

    def _log_steps(self, session: Session) -> list[_Step]:
        schema, table = self.source_schema, "migration_log"
        steps = self._table_steps(session, schema, table, _LOG)
        state = _table(session, schema, table)
        if state is None:
            return steps
        name = sql.Identifier(schema, table)
        shown = name.as_string(session)
        own = dict(_LOG)
        for column, (column_type, required, has_default) in state.columns.items():
            if column not in own:
                if required and not has_default:
                    raise UserError(
                        f"{schema}.{table}.{column} is not null without a default, and the tool does not know what "
                        f"to write there. Run `alter table {shown} alter column {column} drop not null`, or give it "
                        "a default."
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
                        f"alter table {shown} alter column {sql.Identifier(column).as_string(session)} set not null",
                    )
                )
        if {"migration_type", "started_at", "run_id"} <= state.columns.keys():
            for index, definition in _LOG_INDEXES:
                steps += self._index_steps(session, schema, table, index, definition)
        return steps + self._policy_steps(session, name, state)

    def log_statements(self, session: Session) -> list[tuple[str, str | None]]:
        schema, table = self.source_schema, "migration_log"
        name = sql.Identifier(schema, table)
        state = _table(session, schema, table)
        if state is None:
            steps = self._table_steps(session, schema, table, _LOG)
            # What default privileges will give away is not known before it is there.
            roles = session.execute(
                "select rolname::text from pg_roles where rolname = any(%s)", [list(_CLOSED_ROLES)]
            ).fetchall()
            grants = {role: {"ALL"} for role in ("public", *(row[0] for row in roles))}
            steps += [_index_step(schema, table, index, definition) for index, definition in _LOG_INDEXES]
            steps += self._policy_steps(session, name, _Table("r", True, {}, grants))
        else:
            steps = self._log_steps(session)
            if not {"migration_type", "started_at", "run_id"} <= state.columns.keys():
                steps += [_index_step(schema, table, index, definition) for index, definition in _LOG_INDEXES]
        return [(step.statement.as_string(session), step.reverse) for step in steps]

    def _policy_steps(self, session: Session, name: sql.Identifier, state: _Table) -> list[_Step]:
        """Who but the owner may read and add log rows: administrators, found as section 8 of the contract says."""
        role, condition = self._administrators(session)
        steps: list[_Step] = []
        allowed: dict[str, set[str]] = {role: {"INSERT", "SELECT"}} if role else {}
        for grantee in ("public", *_CLOSED_ROLES):
            if state.grants.get(grantee, set()) - allowed.get(grantee, set()):
                steps.append(
                    _Step(
                        sql.SQL("revoke all on table {} from {}").format(name, _grantee(grantee)),
                        f"revoke the rights of {grantee} on {name.as_string(session)}",
                    )
                )
                state.grants.pop(grantee)
        if role and not allowed[role] <= state.grants.get(role, set()):
            steps.append(
                _Step(
                    sql.SQL("grant select, insert on table {} to {}").format(name, sql.Identifier(role)),
                    f"let administrators ({role}) read {name.as_string(session)}",
                )
            )
        wanted: dict[str, sql.Composed] = {}
        if role:
            wanted = {
                f"{_POLICY_PREFIX}_select": sql.SQL("for select to {} using ({})").format(
                    sql.Identifier(role), condition
                ),
                f"{_POLICY_PREFIX}_insert": sql.SQL("for insert to {} with check ({})").format(
                    sql.Identifier(role), condition
                ),
            }
        for policy in _policies(session, self.source_schema, "migration_log"):
            body = wanted.get(policy["name"])
            if body is not None and policy["comment"] == body.as_string(session):
                del wanted[policy["name"]]
            elif policy["name"].startswith(_POLICY_PREFIX):
                steps.append(
                    _Step(
                        sql.SQL("drop policy if exists {} on {}").format(sql.Identifier(policy["name"]), name),
                        f"replace policy {policy['name']}",
                    )
                )
            elif policy["permissive"] and not policy["name"].startswith(RUNNER_POLICY):
                # Policies add up: any other one would let somebody in who is no administrator.
                steps.append(
                    _Step(
                        sql.SQL("drop policy if exists {} on {}").format(sql.Identifier(policy["name"]), name),
                        f"drop policy {policy['name']} of {name.as_string(session)}, which let others in",
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
                        sql.Identifier(policy_name), name, sql.Literal(body.as_string(session))
                    ),
                    f"describe policy {policy_name}",
                )
            )
        return steps

    def _administrators(self, session: Session) -> tuple[str | None, sql.Composable]:
        """The role that the policies are for and their condition; no role when only the owner may read."""
        roles = {
            row[0]
            for row in session.execute(
                "select rolname::text from pg_roles where rolname in ('authenticated', 'migration_admin')"
            ).fetchall()
        }
        if "authenticated" in roles and _function(session, "auth", "uid", "", "uuid"):
            for schema in dict.fromkeys((self.source_schema, "public")):
                if _function(session, schema, "is_admin", "uuid", "boolean"):
                    return "authenticated", sql.SQL("(select {}((select auth.uid())))").format(
                        sql.Identifier(schema, "is_admin")
                    )
            for schema in dict.fromkeys((self.source_schema, "public")):
                state = _table(session, schema, "user_roles")
                if state and {"user_id", "role"} <= state.columns.keys():
                    return "authenticated", sql.SQL(
                        "exists (select 1 from {} as r where r.user_id = (select auth.uid()) "
                        "and r.role::text in ('admin', 'superadmin'))"
                    ).format(sql.Identifier(schema, "user_roles"))
        if "migration_admin" in roles:
            return "migration_admin", sql.SQL("true")
        return None, sql.SQL("false")

    def _check_writable(self, session: Session) -> None:
        """Raise UserError when the role may not write the ledger, or would see only part of it."""
        tables = [(self.schema, table) for table in self._tool_tables]
        if not self.only:
            tables.insert(0, (self.source_schema, "migration_log"))
        who = self._quoted_role(session)
        for schema, table in tables:
            name = sql.Identifier(schema, table).as_string(session)
            row = session.execute(
                """
                select
                    has_schema_privilege(%(schema)s, 'usage'),
                    has_table_privilege(%(name)s, 'select') and has_table_privilege(%(name)s, 'insert')
                    and (has_table_privilege(%(name)s, 'update') or not %(updated)s),
                    (select pg_get_userbyid(c.relowner) from pg_class as c where c.oid = to_regclass(%(name)s))
                """,
                {"schema": schema, "name": name, "updated": table != "migration_log"},
            ).fetchone()
            assert row is not None
            usage, privileges, owner = row
            if not usage:
                raise UserError(
                    f"Role {who} may not use schema {schema}. "
                    f"Let its owner run `grant usage on schema {schema} to {who};`."
                )
            if not privileges:
                # The log is only added to; the tool's own tables are its to alter.
                rights = (
                    f"`grant select, insert on {name} to {who};` (or what `migrate runner` prints)"
                    if table == "migration_log"
                    else f"`grant select, insert, update on {name} to {who};` and `grant {owner} to {who};`"
                )
                raise UserError(f"Role {who} may not write {name}. Let its owner run {rights}.")
            if row_security.hidden(session, [(schema, table)]):
                raise UserError(
                    f"Row level security on {name} would hide rows from role {who}. Use its owner {owner}, or let an "
                    f"administrator run `grant {owner} to {who};` or `alter role {who} bypassrls;`."
                )


def _index_step(schema: str, table: str, index: str, definition: str) -> _Step:
    return _Step(
        sql.SQL("create {} if not exists {} on {} {}").format(
            sql.SQL("unique index" if index in _UNIQUE else "index"),
            sql.Identifier(index),
            sql.Identifier(schema, table),
            _definition(definition),
        ),
        f"create index {index}",
    )


# ---------- the catalog


@dataclass
class _Table:
    """What the catalog says of a table; `columns` name -> (type, not null, has a default)."""

    kind: str
    row_security: bool
    columns: dict[str, tuple[str, bool, bool]]
    grants: dict[str, set[str]]


def _table(session: Session, schema: str, table: str) -> _Table | None:
    row = session.execute(
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
    columns = session.execute(
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
        grants=_acl(session, schema, table),
    )


def _acl(session: Session, schema: str, table: str | None = None) -> dict[str, set[str]]:
    """Rights on a schema, or on a table in it, by grantee ("public" for everybody)."""
    source = "pg_catalog.pg_namespace as n cross join lateral pg_catalog.aclexplode(n.nspacl) as x"
    if table is not None:
        source = (
            "pg_catalog.pg_namespace as n inner join pg_catalog.pg_class as c on c.relnamespace = n.oid "
            "and c.relname = %(table)s cross join lateral pg_catalog.aclexplode(c.relacl) as x"
        )
    rows = session.execute(
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


def _function(session: Session, schema: str, name: str, arguments: str, returns: str) -> bool:
    """Whether there is such a function. Asked of the catalog: naming its schema takes the right to use it."""
    found = session.execute(
        """
        select 1
        from pg_catalog.pg_proc as p
        inner join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
        where
            n.nspname = %s and p.proname = %s and p.prorettype = %s::regtype
            and p.proargtypes::text = coalesce(to_regtype(nullif(%s, ''))::oid::text, '')
        """,
        [schema, name, returns, arguments],
    ).fetchone()
    return found is not None


def _policies(session: Session, schema: str, table: str) -> list[dict[str, Any]]:
    """name, permissive, comment, and the statement that makes the policy, of every policy of a table."""
    with session.cursor(row_factory=dict_row) as cursor:
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
    return sql.SQL(text)


def _grantee(name: str) -> sql.Composable:
    return sql.SQL("public") if name == "public" else sql.Identifier(name)
