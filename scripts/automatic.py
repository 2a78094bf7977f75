"""`migrate automatic`: triggers that give rows of the application their value, switched on, off, and looked at.

What the functions and triggers do is in automatic_sql.py. Everything here is found in the catalog by the tool's
schema, so that what a removed model left behind can be taken away too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from scripts import automatic_sql, preflight, project, row_security
from scripts.automatic_sql import Function
from scripts.connection import Session, transaction
from scripts.errors import UserError
from scripts.ledger import Ledger
from scripts.preflight import Finding
from scripts.project import Target
from scripts.settings import Database

#: The application's writes queue behind a waiting `create trigger`: it waits a moment only, but several times.
LOCK_TIMEOUT = "1500ms"
LOCK_TRIES = 6
LOCK_PAUSE_SECONDS = 1.0

_TREE = """
with recursive tree as (
    select to_regclass(%(table)s)::oid as oid

    union

    select i.inhrelid
    from tree
    inner join pg_catalog.pg_inherits as i on i.inhparent = tree.oid
)

select n.nspname::text, c.relname::text
from tree
inner join pg_catalog.pg_class as c on c.oid = tree.oid and c.relkind in ('r', 'p')
inner join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
order by c.oid
"""

_TRIGGERS = """
select n.nspname::text, c.relname::text, g.tgname::text, p.proname::text, g.tgenabled::text
from pg_catalog.pg_trigger as g
inner join pg_catalog.pg_proc as p on p.oid = g.tgfoid
inner join pg_catalog.pg_namespace as s on s.oid = p.pronamespace
inner join pg_catalog.pg_class as c on c.oid = g.tgrelid
inner join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where s.nspname = %s and p.proname like 'automatic\\_%%' and not g.tgisinternal
order by c.oid, g.tgname
"""

_FUNCTIONS = """
select p.proname::text, p.oid::regprocedure::text, obj_description(p.oid, 'pg_proc')
from pg_catalog.pg_proc as p
inner join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
where n.nspname = %s and p.proname like 'automatic\\_%%'
order by p.proname
"""

# Triggers of others that wait until the transaction ends: what they raise then nobody can catch.
_DEFERRED = """
select distinct g.tgname::text
from pg_catalog.pg_trigger as g
where
    g.tgrelid = any(%s::text[]::regclass[]::oid[])
    and g.tgdeferrable and not g.tgisinternal and g.tgenabled in ('O', 'A') and g.tgtype & 16 = 16
    and (
        cardinality(g.tgattr::int2[]) = 0
        or exists (
            select 1 from pg_catalog.pg_attribute as a
            where a.attrelid = g.tgrelid and a.attname = %s and a.attnum = any(g.tgattr::int2[])
        )
    )
order by 1
"""

# Whoever owns the models could make them do anything, so their owner's are the rights that the triggers work with.
_OWNERS = """
select o.rolname::text, w.rolname::text, not o.rolsuper or not has_table_privilege(w.oid, c.oid, 'select')
from pg_catalog.pg_class as c
inner join pg_catalog.pg_roles as o on o.oid = c.relowner
inner join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
inner join pg_catalog.pg_proc as p on p.pronamespace = n.oid and p.prosecdef and p.proname = any(%s)
inner join pg_catalog.pg_roles as w on w.oid = p.proowner
where n.nspname = %s and c.relname = %s and o.oid <> w.oid
limit 1
"""

_ERRORS = """
select
    e.sqlstate,
    (array_agg(e.message order by e.last_at desc))[1] as message,
    sum(e.rows_left)::bigint as rows_left,
    max(e.last_at) as last_at,
    (array_agg(to_jsonb(e.row_keys) order by e.last_at desc) filter (where e.row_keys <> '{{}}'))[1] as row_keys
from {errors} as e
where e.command = %s
group by e.sqlstate
order by last_at desc
"""


@dataclass(frozen=True)
class Errors:
    """What went wrong with one SQLSTATE. `rows_left`: rows left as they were, each time counted; keys of the last."""

    sqlstate: str
    message: str
    rows_left: int
    last_at: datetime
    row_keys: list[str]


@dataclass(frozen=True)
class State:
    """A target's triggers. `state` is "on", "off", or "incomplete" with the `problem`."""

    command: str
    table: str
    state: str
    problem: str = ""
    since: datetime | None = None
    role: str | None = None
    performed_by: UUID | None = None
    errors: list[Errors] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self)


# ---------- looking


def states(session: Session, database: Database) -> list[State]:
    """The triggers of every target, and what they recorded. Reads only."""
    return [_state(session, database, target) for target in project.targets(database).values()]


def trigger_names(session: Session, database: Database) -> list[str]:
    """Every trigger of this tool, as `schema.table.trigger`."""
    return [".".join(row[:3]) for row in session.execute(_TRIGGERS, [database.schema]).fetchall()]


def is_on(session: Session, database: Database, schema: str, table: str) -> bool:
    """Whether triggers of this tool are on a table."""
    return any(row[:2] == (schema, table) for row in session.execute(_TRIGGERS, [database.schema]).fetchall())


def hints(session: Session, database: Database, ledger: Ledger) -> list[str]:
    """What a person should know of the triggers, as sentences for `migrate status`."""
    found = []
    for one in states(session, database):
        if one.state == "incomplete":
            found.append(f"The triggers of {one.table} are not as they should be: {one.problem}")
        latest = max((error.last_at for error in one.errors), default=None)
        if latest is None:
            continue
        ended = session.execute(
            sql.SQL("select max(started_at) from {} where command = %s and kind = 'apply' and status = 'done'").format(
                ledger.runs_table
            ),
            [one.command],
        ).fetchone()
        if ended is None or ended[0] is None or ended[0] < latest:
            found.append(
                f"The triggers of {one.table} could not fill some rows, last at {latest:%Y-%m-%d %H:%M} UTC: "
                "`migrate automatic status` says why."
            )
    return found


def _state(session: Session, database: Database, target: Target) -> State:
    table = f"{target.schema}.{target.table}"
    there = {
        (schema, name, trigger): enabled
        for schema, name, trigger, function, enabled in session.execute(_TRIGGERS, [database.schema]).fetchall()
        if function in _trigger_functions(target, database)
    }
    state, problem = "off", ""
    if there:
        state, problem = "on", _problem(session, database, target, there)
        if problem:
            state = "incomplete"
    since, role, by = _switched(session, database, target.command, "on" if there else "off")
    return State(target.command, table, state, problem, since, role, by, _errors(session, database, target.command))


def _problem(session: Session, database: Database, target: Target, there: dict[tuple[str, str, str], str]) -> str:
    disabled = sorted({trigger for (_, _, trigger), enabled in there.items() if enabled not in ("O", "A")})
    if disabled:
        return f"{', '.join(disabled)} disabled; `migrate automatic on` enables them."
    wanted = {
        (schema, name, trigger.name)
        for schema, name in _tables(session, target)
        for trigger in automatic_sql.triggers(target, database.schema)
    }
    missing = sorted({f"{schema}.{name}" for schema, name, _ in wanted - there.keys()})
    if missing:
        return f"{', '.join(missing)} without them; `migrate automatic on` adds them."
    marks = {name: mark for name, _, mark in session.execute(_FUNCTIONS, [database.schema]).fetchall()}
    if any(marks.get(one.name) != one.mark for one in _functions(session, database, target)):
        return (
            "They were made by another version of the project, or for other columns of the table; "
            "`migrate automatic on` renews them."
        )
    waiting = _deferred(session, target)
    if waiting:
        return f"{waiting} Or switch them off: `migrate automatic off`."
    owners = session.execute(
        _OWNERS, [list(_trigger_functions(target, database)), database.schema, target.model]
    ).fetchone()
    if owners and owners[2]:
        return (
            f"They work with the rights of {owners[1]}, but the models are {owners[0]}'s; `migrate automatic on` hands "
            "them over."
        )
    return ""


def _deferred(session: Session, target: Target) -> str:
    """What is wrong with the product's deferrable triggers, as a sentence; empty when nothing is."""
    names = [sql.Identifier(*name).as_string(session) for name in _tables(session, target)]
    found = [name for (name,) in session.execute(_DEFERRED, [names, target.target_column]).fetchall()]
    if not found:
        return ""
    return (
        f"{target.schema}.{target.table} has triggers that wait until the transaction ends ({', '.join(found)}). If "
        "one of them refused what the tool writes, the application's own transaction would fail. Make them "
        f"`not deferrable`, or let them fire for other columns than {target.target_column} (`after update of ...`)."
    )


def _switched(
    session: Session, database: Database, command: str, switched: str
) -> tuple[datetime | None, str | None, UUID | None]:
    """When and by whom a target was switched to its state (None: never, or nobody wrote it down)."""
    name = sql.Identifier(database.schema, "automatic_switches")
    if not _exists(session, name):
        return None, None, None
    row = session.execute(
        sql.SQL(
            "select switched_at, role, performed_by, switched from {} where command = %s "
            "order by switched_at desc limit 1"
        ).format(name),
        [command],
    ).fetchone()
    return row[:3] if row and row[3] == switched else (None, None, None)


def _errors(session: Session, database: Database, command: str) -> list[Errors]:
    name = sql.Identifier(database.schema, "automatic_errors")
    if not _exists(session, name):
        return []
    with session.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(sql.SQL(_ERRORS).format(errors=name), [command]).fetchall()
    return [Errors(**{**row, "row_keys": row["row_keys"] or []}) for row in rows]


# ---------- switching


def check(session: Session, database: Database, target: Target) -> list[Finding]:
    """What switching on will cost, as findings. Raises UserError for what would break the promise to the application.

    The models must be built.
    """
    found = preflight.inspect(session, database, target)
    table = f"{target.schema}.{target.table}"
    names = [sql.Identifier(*name).as_string(session) for name in _tables(session, target)]
    owner, role, owns = _row(
        session,
        "select pg_get_userbyid(c.relowner)::text, current_user::text, pg_has_role(c.relowner, 'usage') "
        "from pg_catalog.pg_class as c where c.oid = %s::regclass",
        [names[0]],
    )
    if not owns:
        raise UserError(
            f"Only the owner of {table} may give it triggers and take them away: connect as {owner}, or let it run "
            f"`grant {owner} to {role};`."
        )
    worker = _model_owner(session, target)
    with transaction(session), _acting_as(session, database, worker):
        hidden = row_security.hidden(session, project.source_tables(database, target))
    if hidden:
        raise UserError(
            f"Row level security hides rows of {', '.join('.'.join(name) for name in hidden)} from role {worker}, with "
            "whose rights the triggers work, as the models are its. Let an administrator run "
            f"`alter role {worker} bypassrls;`, or what `migrate runner` prints."
        )
    waiting = _deferred(session, target)
    if waiting:
        raise UserError(waiting)
    indexed = _row(
        session,
        "select exists (select 1 from pg_catalog.pg_index as i inner join pg_catalog.pg_attribute as a "
        "on a.attrelid = i.indrelid and a.attnum = i.indkey[0] where i.indrelid = %s::regclass and i.indisvalid "
        "and i.indpred is null and a.attname = %s)",
        [names[0], target.key],
    )[0]
    if not indexed:
        raise UserError(
            f"{table} has no index on {target.key}: every insert would read the whole table. "
            f"Create one: `create unique index concurrently on {table} ({target.key});`"
        )
    return [one for one in found.findings if one.about in ("triggers", "publications", "replica identity", "indexes")]


def switch_on(
    session: Session, database: Database, ledger: Ledger, target: Target, *, performed_by: UUID | None,
    notice: Callable[[str], None] = lambda _: None,
) -> bool:  # fmt: skip
    """Make the functions and triggers of a target; False when all was in place already.

    Raises UserError when the table stays locked, or when the model cannot be read as the triggers will read it.
    """
    ledger.ensure(session)
    if _state(session, database, target).state == "on":
        return False
    made = _functions(session, database, target)

    def work() -> None:
        path = _own_path(session)
        worker = _model_owner(session, target)
        with _acting_as(session, database, worker) as shown:
            pass
        for one in _dropped_shapes(session, database, made):
            session.execute(one)
        for function in made:
            session.execute(function.statement)
            for grantee in ("public", *_closed_roles(session)):
                session.execute(
                    sql.SQL("revoke all on function {} from {}").format(
                        function.signature, sql.SQL("public") if grantee == "public" else sql.Identifier(grantee)
                    )
                )
            session.execute(
                sql.SQL("comment on function {} is {}").format(function.signature, sql.Literal(function.mark))
            )
            if function.fires_triggers:
                session.execute(
                    sql.SQL("alter function {} set search_path = pg_catalog, {}pg_temp").format(
                        function.signature, path
                    )
                )
            if function.row_security:
                session.execute(
                    sql.SQL("alter function {} set row_security = {}").format(function.signature, sql.SQL(shown))
                )
            session.execute(sql.SQL("alter function {} owner to {}").format(function.signature, sql.Identifier(worker)))
        with _acting_as(session, database, worker):
            _try_out(session, database, target)
        for table in _tables(session, target):
            for trigger in automatic_sql.triggers(target, database.schema):
                session.execute(trigger.statement(database.schema, sql.Identifier(*table)))
                session.execute(
                    sql.SQL("alter table {} enable trigger {}").format(
                        sql.Identifier(*table), sql.Identifier(trigger.name)
                    )
                )
        _write_down(session, database, target.command, "on", performed_by)

    _locking(session, target.schema + "." + target.table, work, notice)
    return True


def switch_off(
    session: Session, database: Database, commands: Sequence[str], *, performed_by: UUID | None,
    notice: Callable[[str], None] = lambda _: None,
) -> list[str]:  # fmt: skip
    """Remove triggers and functions of these commands; returns the commands that had some. The records stay."""
    removed = [name for name in commands if _names(session, database, name)]
    for command in removed:

        def work(command: str = command) -> None:
            _drop(session, database, command)
            _write_down(session, database, command, "off", performed_by)

        _locking(session, f"the table of {command}", work, notice)
    return removed


def switch_all_off(session: Session, database: Database) -> None:
    """The same for all of them, within the caller's transaction."""
    commands = installed(session, database)
    if commands:
        session.execute("select set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
    for command in commands:
        _drop(session, database, command)
        _write_down(session, database, command, "off", None)


def installed(session: Session, database: Database) -> list[str]:
    """The commands whose functions are in the database, of models that the project has no more too."""
    names = [name for name, _, _ in session.execute(_FUNCTIONS, [database.schema]).fetchall()]
    return [name.removeprefix("automatic_").removesuffix("_fill") for name in names if name.endswith("_fill")]


# ---------- helpers


def _locking(session: Session, table: str, work: Callable[[], None], notice: Callable[[str], None]) -> None:
    """Do something in a transaction that needs the table's lock, with short waits and several tries."""
    for attempt in range(1, LOCK_TRIES + 1):
        try:
            with transaction(session):
                session.execute("select set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
                work()
            return
        except psycopg.errors.LockNotAvailable:
            if attempt == LOCK_TRIES:
                raise UserError(
                    f"{table} is locked by somebody else (a long transaction, a migration, `vacuum full`); nothing was "
                    "changed. pg_stat_activity and pg_blocking_pids(...) show who; try again later."
                ) from None
            notice(f"{table} is locked; trying again.")
            time.sleep(LOCK_PAUSE_SECONDS)


@contextmanager
def _acting_as(session: Session, database: Database, role: str) -> Iterator[str]:
    """Within a transaction, with the rights of another role, as its own sessions are; gives their `row_security`.

    Raises UserError when this role may not.
    """
    me, own = _row(session, "select current_user::text, current_setting('row_security')", [])
    try:
        session.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
    except psycopg.errors.InsufficientPrivilege:
        raise UserError(
            f"The models are {role}'s, and the triggers work with the rights of their owner. Let an administrator run "
            f"`grant {role} to {me};`, or connect as a role that owns both the models and the product's tables."
        ) from None
    shown = row_security.setting(session, database)
    session.execute("select set_config('row_security', %s, true)", [shown])
    yield shown
    session.execute("select set_config('row_security', %s, true)", [own])
    session.execute(sql.SQL("set local role {}").format(sql.Identifier(me)))


def _model_owner(session: Session, target: Target) -> str:
    return str(
        _row(
            session,
            "select pg_get_userbyid(c.relowner)::text from pg_catalog.pg_class as c "
            "inner join pg_catalog.pg_namespace as n on n.oid = c.relnamespace "
            "where n.nspname = %s and c.relname = %s",
            [target.model_schema, target.model],
        )[0]
    )


def _try_out(session: Session, database: Database, target: Target) -> None:
    """Call what the triggers will call, as they will: what is missing or forbidden shows now."""
    names = {name: sql.Identifier(database.schema, f"automatic_{target.command}_{name}") for name in ("made", "fill")}
    kind = sql.SQL(_key_type(session, target))
    session.execute(
        sql.SQL("select count(*) from {}(array(select t.{} from {} as t limit 1))").format(
            names["made"], sql.Identifier(target.key), sql.Identifier(target.schema, target.table)
        )
    )
    session.execute(sql.SQL("select {}('{{}}'::{}[], false)").format(names["fill"], kind))


def _write_down(session: Session, database: Database, command: str, switched: str, by: UUID | None) -> None:
    name = sql.Identifier(database.schema, "automatic_switches")
    if _exists(session, name):
        session.execute(
            sql.SQL("insert into {} (command, switched, performed_by) values (%s, %s, %s)").format(name),
            [command, switched, by],
        )


def _drop(session: Session, database: Database, command: str) -> None:
    """Drop a command's triggers and functions, and with the last of them what they share."""
    wanted = _names(session, database, command)
    for schema, table, trigger, function, _ in session.execute(_TRIGGERS, [database.schema]).fetchall():
        if function in wanted:
            statement = sql.SQL("drop trigger {} on {}").format(sql.Identifier(trigger), sql.Identifier(schema, table))
            try:
                session.execute(statement)
            except psycopg.errors.InsufficientPrivilege:
                raise UserError(
                    f"{schema}.{table} has triggers of `migrate automatic`, which only its owner may take away: let "
                    "that role run `migrate automatic off` first. Nothing was changed."
                ) from None
    functions = session.execute(_FUNCTIONS, [database.schema]).fetchall()
    shared = {name for name, _, _ in functions} - wanted == {"automatic_failed"}
    for name, signature, _ in functions:
        if name in wanted or shared:
            session.execute(sql.SQL("drop function {}").format(sql.SQL(signature)))


def _functions(session: Session, database: Database, target: Target) -> list[Function]:
    name = sql.Identifier(target.schema, target.table).as_string(session)
    rows = session.execute(
        "select a.attname::text from pg_catalog.pg_attribute as a "
        "where a.attrelid = to_regclass(%s) and a.attnum > 0 and not a.attisdropped order by 1",
        [name],
    ).fetchall()
    watched = [column for (column,) in rows if column not in target.unread]
    return automatic_sql.functions(target, database.schema, _key_type(session, target), watched)


def _dropped_shapes(session: Session, database: Database, made: Sequence[Function]) -> list[sql.Composed]:
    """`drop function` for functions whose arguments or result another version of the tool made otherwise.

    Only those without a trigger on them: trigger functions never change their shape.
    """
    wanted = {one.name for one in made if not one.name.endswith(("_inserted", "_changed"))}
    return [
        sql.SQL("drop function {}").format(sql.SQL(signature))
        for name, signature, _ in session.execute(_FUNCTIONS, [database.schema]).fetchall()
        if name in wanted
    ]


def _trigger_functions(target: Target, database: Database) -> set[str]:
    return {trigger.function for trigger in automatic_sql.triggers(target, database.schema)}


def _names(session: Session, database: Database, command: str) -> set[str]:
    """The names of a command's functions that are there."""
    own = {f"automatic_{command}_{part}" for part in ("fill", "own", "made", "each", "inserted", "changed")}
    return {name for name, _, _ in session.execute(_FUNCTIONS, [database.schema]).fetchall() if name in own}


def _tables(session: Session, target: Target) -> list[tuple[str, str]]:
    """The source table first, then its partitions of every level: a statement may name any of them."""
    name = sql.Identifier(target.schema, target.table).as_string(session)
    return [(schema, table) for schema, table in session.execute(_TREE, {"table": name}).fetchall()]


def _key_type(session: Session, target: Target) -> str:
    name = sql.Identifier(target.schema, target.table).as_string(session)
    row = session.execute(
        "select format('%%I.%%I', n.nspname, t.typname) from pg_catalog.pg_attribute as a "
        "inner join pg_catalog.pg_type as t on t.oid = a.atttypid "
        "inner join pg_catalog.pg_namespace as n on n.oid = t.typnamespace "
        "where a.attrelid = to_regclass(%s) and a.attname = %s and not a.attisdropped",
        [name, target.key],
    ).fetchone()
    if row is None:
        raise UserError(f"There is no column {target.key} in {target.schema}.{target.table}.")
    return str(row[0])


def _own_path(session: Session) -> sql.SQL:
    """Where this role's sessions find the product's names, for the product's triggers: only what is not open to all."""
    path = _row(
        session,
        "select coalesce(string_agg(quote_ident(s.name) || ', ', '' order by s.place), '') "
        "from unnest(current_schemas(false)) with ordinality as s (name, place) "
        "where s.name <> 'pg_catalog' and not has_schema_privilege('public', s.name, 'create')",
        [],
    )[0]
    return sql.SQL(path)


def _closed_roles(session: Session) -> list[str]:
    rows = session.execute("select rolname::text from pg_roles where rolname in ('anon', 'authenticated')").fetchall()
    return [row[0] for row in rows]


def _exists(session: Session, name: sql.Identifier) -> bool:
    return _exists_named(session, name.as_string(session))


def _exists_named(session: Session, name: str) -> bool:
    return bool(_row(session, "select to_regclass(%s) is not null", [name])[0])


def _row(session: Session, query: Any, parameters: Sequence[Any]) -> tuple[Any, ...]:
    row = session.execute(query, parameters).fetchone()
    assert row is not None
    return row
