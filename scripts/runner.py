"""The least-privilege role: the statements that make a role which may do what the tool does, and nothing else.

The role reads the product's tables that the models read (of tables with secrets in them only the columns it needs),
updates the target columns and no others, adds rows to migration_log without changing any, and owns the tool's schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from psycopg import sql

from scripts import batches, ledger_schema, project
from scripts.connection import Session
from scripts.errors import UserError
from scripts.ledger_schema import RUNNER_POLICY
from scripts.settings import Database, source_schema

DEFAULT_ROLE = "migration_runner"


@dataclass
class Step:
    """Statements that belong together, and why."""

    why: str
    statements: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Granted:
    """A table of the product that the role gets rights on; `updated` is the column it may write."""

    schema: str
    table: str
    columns: tuple[str, ...]  # none: all of them
    updated: str | None
    guarded: bool  # row level security is on


def creation(
    session: Session, database: Database, role: str = DEFAULT_ROLE, *, policies: bool = False, monitor: bool = False
) -> list[Step]:
    """The statements that make the role, or bring it up to date, for the owner of the product's tables to run.

    Row level security: the role bypasses it where the connected role may grant that, unless `policies` asks for
    policies of its own. `monitor` adds pg_monitor, which shows replicas and other sessions. Reads the
    catalog only. Raises UserError when the role cannot be what it should.
    """
    return _Creation(session, database, role, policies, monitor).steps()


def removal(session: Session, database: Database, role: str = DEFAULT_ROLE) -> list[Step]:
    """The statements that remove the role; what it owns (log, undo, models) goes to whoever runs them."""
    known = _role(session, role)
    if known is None:
        raise UserError(f"There is no role {role} in this server.")
    name = sql.Identifier(role)
    step = Step(f"What {role} owns in this database goes to you; its rights and policies go with it.")
    for text in ("reassign owned by {} to current_user", "drop owned by {}", "drop role {}"):
        step.statements.append(sql.SQL(text).format(name).as_string(session))
    step.statements[1:1] = _row_security(session, database, "off")
    if not known.i_am_superuser:
        step.statements.insert(0, sql.SQL("grant {} to current_user").format(name).as_string(session))
    return [step]


def script(steps: Sequence[Step]) -> str:
    """The statements as one file for psql: all or nothing."""
    lines = ["begin;", "set local search_path = pg_catalog;"]
    for step in steps:
        lines += ["", *(f"-- {line}" for line in step.why.splitlines())]
        lines += [f"{statement};" for statement in step.statements]
    return "\n".join([*lines, "", "commit;"]) + "\n"


def _row_security(session: Session, database: Database, wanted: str) -> list[str]:
    """The statements that let the triggers of `migrate automatic` work as the sessions of their owner do.

    They work with the rights of whoever owns the models, for that role could make these do anything.
    """
    rows = session.execute(
        """
        select p.oid::regprocedure::text
        from pg_catalog.pg_proc as p
        inner join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
        where
            n.nspname = %s and p.proname like 'automatic\\_%%'
            and ('row_security=on' = any(p.proconfig) or 'row_security=off' = any(p.proconfig))
            and not ('row_security=' || %s) = any(p.proconfig)
        order by 1
        """,
        [database.schema, wanted],
    ).fetchall()
    return [
        sql.SQL("alter function {} set row_security = {}").format(sql.SQL(name), sql.SQL(wanted)).as_string(session)
        for (name,) in rows
    ]


# ---------- the role


@dataclass(frozen=True)
class _Role:
    superuser: bool
    bypasses: bool
    i_am_superuser: bool


def _role(session: Session, role: str) -> _Role | None:
    row = session.execute(
        """
        select r.rolsuper, r.rolbypassrls, me.rolsuper
        from pg_catalog.pg_roles as r
        inner join pg_catalog.pg_roles as me on me.rolname = current_user
        where r.rolname = %s
        """,
        [role],
    ).fetchone()
    return _Role(*row) if row else None


@dataclass(frozen=True)
class _Creation:
    session: Session
    database: Database
    role: str
    policies: bool
    monitor: bool

    def steps(self) -> list[Step]:
        me, superuser, may_bypass = self._connected()
        known = _role(self.session, self.role)
        self._check(known, me)
        granted = self._granted()
        guarded = [table for table in granted if table.guarded]
        # Without a table that hides rows the role needs no way around.
        bypass = bool(guarded) and may_bypass and not self.policies
        log_is_mine = self._owner(source_schema(), "migration_log") == self.role
        found = [
            self._role_step(known, superuser, bypass=bypass),
            self._schema_step(policies=bool(guarded) and not bypass),
            self._reading_step(granted, known is not None),
            self._log_step(mine=log_is_mine),
            self._policy_step([] if bypass else guarded, log=not bypass and not log_is_mine),
        ]
        return [step for step in found if step.statements]

    def _connected(self) -> tuple[str, bool, bool]:
        """The connected role, whether it is a superuser, and whether it may let others bypass row level security."""
        row = self.session.execute(
            """
            select
                rolname::text,
                rolsuper,
                rolsuper or (rolcreaterole and rolbypassrls and current_setting('server_version_num')::int >= 160000)
            from pg_catalog.pg_roles
            where rolname = current_user
            """
        ).fetchone()
        assert row is not None
        return row[0], row[1], row[2]

    def _check(self, known: _Role | None, me: str) -> None:
        if self.role == me:
            raise UserError(f"You are connected as {me}. Connect as the role that owns the product's tables.")
        if known and known.superuser:
            raise UserError(f"{self.role} is a superuser, which may do everything. Choose another name with --role.")
        if "\0" in self.role or not 0 < len(self.role.encode()) < 64 or self.role.startswith("pg_"):
            raise UserError("--role must be 1 to 63 bytes long and may not begin with pg_.")

    def _role_step(self, known: _Role | None, superuser: bool, *, bypass: bool) -> Step:
        step = Step(f"The role; set its password in psql with: \\password {self.role}")
        if known is None:
            step.statements.append(self._sql("create role {} login" + (" bypassrls" if bypass else ""), self._me))
        elif known.bypasses != bypass:
            step.statements.append(self._sql("alter role {} " + ("bypassrls" if bypass else "nobypassrls"), self._me))
        if not superuser:
            # Giving it a schema takes membership in it.
            step.statements.append(self._sql("grant {} to current_user", self._me))
        lacking = self.session.execute(
            """
            select string_agg(p.name, ', ' order by p.name), current_database()::text
            from (values ('connect'), ('temporary')) as p (name)  -- dbt's unit tests make temporary tables
            where not has_database_privilege('public', current_database(), p.name)
            """
        ).fetchone()
        if lacking and lacking[0]:
            step.statements.append(
                self._sql(f"grant {lacking[0]} on database {{}} to {{}}", sql.Identifier(lacking[1]), self._me)
            )
        if self.monitor:
            step.statements.append(self._sql("grant pg_monitor to {}", self._me))
        return step

    # ---------- the tool's own schema

    def _schema_step(self, *, policies: bool) -> Step:
        step = Step(f"The tool's own schema, with models, undo and backups: all of it is {self.role}'s.")
        name = sql.Identifier(self.database.schema)
        owner = self.session.execute(
            "select pg_get_userbyid(nspowner)::text from pg_catalog.pg_namespace where nspname = %s",
            [self.database.schema],
        ).fetchone()
        if owner is None:
            step.statements.append(self._sql("create schema {} authorization {}", name, self._me))
        elif owner[0] != self.role:
            step.statements.append(self._sql("alter schema {} owner to {}", name, self._me))
        others = self.session.execute(
            """
            select
                case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence'
                else 'table' end || ' ' || format('%%I.%%I', n.nspname, c.relname)
            from pg_catalog.pg_class as c
            inner join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
            where
                n.nspname = %(schema)s and c.relkind in ('r', 'p', 'v', 'm', 'S')
                and pg_get_userbyid(c.relowner) <> %(role)s
                -- a column's own sequence follows its table
                and not exists (
                    select from pg_catalog.pg_depend as d
                    where d.objid = c.oid and d.classid = 'pg_catalog.pg_class'::regclass and d.deptype in ('a', 'i')
                    and d.refclassid = 'pg_catalog.pg_class'::regclass and c.relkind = 'S'
                )
            union all
            select 'function ' || p.oid::regprocedure::text
            from pg_catalog.pg_proc as p
            inner join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
            where n.nspname = %(schema)s and pg_get_userbyid(p.proowner) <> %(role)s
            order by 1
            """,
            {"schema": self.database.schema, "role": self.role},
        ).fetchall()
        step.statements += [
            self._sql("alter {} owner to {}", sql.SQL(kind_and_name), self._me) for (kind_and_name,) in others
        ]
        step.statements += _row_security(self.session, self.database, "on" if policies else "off")
        return step

    # ---------- the product's tables

    def _granted(self) -> list[_Granted]:
        """The product's tables that are there, with the partitions of the targets."""
        found: dict[tuple[str, str], _Granted] = {}
        targets = project.targets(self.database).values()
        for source in project.sources(self.database):
            columns, guarded = self._catalog(source.schema, source.table)
            if columns and source.schema != self.database.schema:
                kept = tuple(column for column in source.columns if column in columns)
                found[source.schema, source.table] = _Granted(source.schema, source.table, kept, None, guarded)
        for target in targets:
            if not self._catalog(target.schema, target.table)[0]:
                continue
            # Batches are written to the partitions themselves.
            leaves = batches.leaves(self.session, target.schema, target.table)
            for schema, table in {(target.schema, target.table), *((leaf.schema, leaf.name) for leaf in leaves)}:
                guarded = self._catalog(schema, table)[1]
                found[schema, table] = _Granted(schema, table, (), target.target_column, guarded)
        if not found:
            raise UserError(
                f"There is no table of the product in schema {source_schema()} of {self.database.label}. Set the var "
                "source_schema and the table names to where the product keeps them, or connect to the right database."
            )
        return [found[name] for name in sorted(found)]

    def _catalog(self, schema: str, table: str) -> tuple[set[str], bool]:
        """The columns of a table, none when it is not there, and whether row level security is on."""
        rows = self.session.execute(
            """
            select a.attname::text, c.relrowsecurity
            from pg_catalog.pg_class as c
            inner join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
            inner join pg_catalog.pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
            where n.nspname = %s and c.relname = %s
            """,
            [schema, table],
        ).fetchall()
        return {row[0] for row in rows}, bool(rows) and rows[0][1]

    def _reading_step(self, granted: Sequence[_Granted], known: bool) -> Step:
        step = Step("The product's tables: what the models read, and the target columns to write. Nothing else.")
        if known:
            step.statements += [self._sql("revoke all on {} from {}", name, self._me) for name in self._held()]
        for schema in dict.fromkeys([source_schema(), *(table.schema for table in granted)]):
            step.statements.append(self._sql("grant usage on schema {} to {}", sql.Identifier(schema), self._me))
        for table in granted:
            name = sql.Identifier(table.schema, table.table)
            step.statements.append(self._sql("grant select{} on {} to {}", _listed(table.columns), name, self._me))
            if table.updated:
                step.statements.append(
                    self._sql("grant update ({}) on {} to {}", sql.Identifier(table.updated), name, self._me)
                )
        return step

    def _held(self) -> Iterator[sql.Identifier]:
        """Tables outside the tool's schema on which the role has rights already."""
        for schema, table in self.session.execute(
            """
            select distinct n.nspname::text, c.relname::text
            from pg_catalog.pg_class as c
            inner join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
            left join pg_catalog.pg_attribute as a on a.attrelid = c.oid and a.attacl is not null
            cross join lateral (
                select grantee from aclexplode(c.relacl) union all select grantee from aclexplode(a.attacl)
            ) as x
            where n.nspname <> %s and c.relkind in ('r', 'p', 'v', 'm', 'f') and pg_get_userbyid(x.grantee) = %s
            and pg_get_userbyid(c.relowner) <> pg_get_userbyid(x.grantee)
            order by 1, 2
            """,
            [self.database.schema, self.role],
        ).fetchall():
            yield sql.Identifier(schema, table)

    def _log_step(self, *, mine: bool) -> Step:
        """migration_log is made for the role, which may then add rows to it and change none."""
        step = Step("The log of all runs, beside the product's tables: to be read and added to, never changed.")
        schema = source_schema()
        for statement, reverse in ledger_schema.log_statements(self.session, self.database.schema, schema):
            step.statements.append(statement)
            if reverse:
                step.why += f"\nTo take back what follows: {reverse};"
        if not mine:
            step.statements.append(
                self._sql("grant select, insert on {} to {}", sql.Identifier(schema, "migration_log"), self._me)
            )
        return step

    # ---------- row level security

    def _policy_step(self, guarded: Sequence[_Granted], *, log: bool) -> Step:
        """Policies that let the role see every row, where it does not bypass row level security."""
        step = Step("Row level security: policies that show the role every row. Others stay as they are.")
        wanted: dict[tuple[str, str], dict[str, str]] = {}
        for table in guarded:
            self._refuse_restrictive(table)
            wanted[table.schema, table.table] = {"select": "using (true)"} | (
                {"update": "using (true) with check (true)"} if table.updated else {}
            )
        if log:
            wanted[source_schema(), "migration_log"] = {"select": "using (true)", "insert": "with check (true)"}
        suffix = "" if self.role == DEFAULT_ROLE else f"_{self.role}"
        names = {command: f"{RUNNER_POLICY}{command}{suffix}" for command in ("select", "insert", "update")}
        commands = {name: command for command, name in names.items()}
        for schema, relation, policy, is_true in self._policies_there(list(commands)):
            # Made anew only where it must be: that takes an exclusive lock on the table.
            if is_true and wanted.get((schema, relation), {}).pop(commands[policy], ""):
                continue
            step.statements.append(
                self._sql("drop policy {} on {}", sql.Identifier(policy), sql.Identifier(schema, relation))
            )
        for place, conditions in wanted.items():
            for command, condition in conditions.items():
                step.statements.append(
                    self._sql(
                        f"create policy {{}} on {{}} for {command} to {{}} {condition}",
                        sql.Identifier(names[command]), sql.Identifier(*place), self._me,
                    )
                )  # fmt: skip
        return step

    def _policies_there(self, names: list[str]) -> list[tuple[str, str, str, bool]]:
        """Schema, table and name of the policies, and whether they let the role see and write everything."""
        return self.session.execute(
            """
            select
                n.nspname::text, c.relname::text, p.polname::text,
                p.polpermissive and p.polroles = array[coalesce(r.oid, 0)]
                and coalesce(pg_catalog.pg_get_expr(p.polqual, p.polrelid), 'true') = 'true'
                and coalesce(pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid), 'true') = 'true'
            from pg_catalog.pg_policy as p
            inner join pg_catalog.pg_class as c on c.oid = p.polrelid
            inner join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
            left join pg_catalog.pg_roles as r on r.rolname = %s
            where p.polname = any(%s)
            order by 1, 2, 3
            """,
            [self.role, names],
        ).fetchall()

    def _refuse_restrictive(self, table: _Granted) -> None:
        """A restrictive policy for everybody hides rows from the role whatever other policies say."""
        found = self.session.execute(
            """
            select p.polname::text
            from pg_catalog.pg_policy as p
            inner join pg_catalog.pg_class as c on c.oid = p.polrelid
            inner join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
            where n.nspname = %s and c.relname = %s and not p.polpermissive and p.polcmd in ('*', 'r', 'w')
            and exists (
                select from unnest(p.polroles) as r (oid)
                left join pg_catalog.pg_roles as me on me.rolname = %s
                where r.oid = 0 or pg_catalog.pg_has_role(me.oid, r.oid, 'usage')
            )
            """,
            [table.schema, table.table, self.role],
        ).fetchone()
        if found:
            raise UserError(
                f"The restrictive policy {found[0]} of {table.schema}.{table.table} would hide rows from {self.role}. "
                "Let a superuser make the role, with BYPASSRLS, or leave the role out of that policy."
            )

    # ---------- helpers

    def _owner(self, schema: str, table: str) -> str | None:
        row = self.session.execute(
            """
            select pg_get_userbyid(c.relowner)::text
            from pg_catalog.pg_class as c
            inner join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
            where n.nspname = %s and c.relname = %s
            """,
            [schema, table],
        ).fetchone()
        return row[0] if row else None

    @property
    def _me(self) -> sql.Identifier:
        return sql.Identifier(self.role)

    def _sql(self, text: str, *names: sql.Composable) -> str:
        return _literal(text).format(*names).as_string(self.session)


def _listed(columns: Sequence[str]) -> sql.Composable:
    if not columns:
        return sql.SQL("")
    return sql.SQL(" ({})").format(sql.SQL(", ").join(map(sql.Identifier, columns)))


def _literal(text: str) -> sql.SQL:
    """A statement of this module's own constants."""
    return sql.SQL(text)


__all__ = ["DEFAULT_ROLE", "Step", "creation", "removal", "script"]
