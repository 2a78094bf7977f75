"""The SQL of `migrate automatic`: functions and triggers that fill a target when the application writes.

The triggers hold no mapping: they ask the target's model, by key, as the write-back does. The application's statement
succeeds whatever happens in here: all work is inside blocks that catch every error, cancelled queries included.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from scripts import batches
from scripts.project import Target

#: A session with this setting `off` is left alone by the triggers: the tool's own runs, and bulk loads that choose so.
SETTING = "canonical_migration.automatic"
OFF = {SETTING: "off"}
#: How long an application's statement may wait for the models' views while somebody rebuilds them.
LOCK_TIMEOUT = "500ms"
#: Rows of `automatic_errors`: of one SQLSTATE, and of one target in all.
ERRORS_OF_A_KIND, ERRORS = 10, 100
#: Of a statement of many rows, so many may fail one by one before the rest is left pending.
FAILED_ROWS = 10

# Whoever writes, in whatever session: the models answer as they answer the tool.
_SESSION = {
    "search_path": "pg_catalog, pg_temp",
    "row_security": "off",
    "timezone": "UTC",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "lock_timeout": LOCK_TIMEOUT,
    "jit": "off",
    # Planning a large view takes tens of milliseconds: once in a session, not once in a statement.
    "plan_cache_mode": "force_generic_plan",
    SETTING: "off",
}
_MODEL = {
    "enable_seqscan": "off",  # a plan made while the table was small must still find rows by the key's index
    "enable_mergejoin": "off",
    "enable_memoize": "off",
    "max_parallel_workers_per_gather": "0",
}
# Joins the rows before and after a statement, however many they are.
_TRANSITION = {"enable_nestloop": "off"}

_CATCH = "exception when query_canceled or assert_failure or others then"
_DIAGNOSTICS = (
    "get stacked diagnostics state = returned_sqlstate, said = message_text, place = pg_exception_context, "
    "broken = constraint_name;"
)
# Errors that one row of many may have caused.
_OF_A_ROW = "'^(21|22|23|54|P0|XX)'"

_FAILED = r"""
#variable_conflict use_variable
declare
    words text := said;
    alike integer;
    every integer;
begin
    -- The message may quote a row: what a function raised is left out whole, else what is in quotes or looks like data.
    if state like 'P0%' or split_part(place, E'\n', 1) ~ 'PL/pgSQL function .* at RAISE' then
        words := 'raised by ' || coalesce(substring(place from 'PL/pgSQL function (\S+?)\('), 'a function');
    else
        words := regexp_replace(words, {quoted}, '…', 'g');
        words := left(regexp_replace(words, '\S+@\S+|https?://\S+|\S{{65,}}|\d[\d .()/+-]{{4,}}\d', '…', 'g'), 200);
    end if;
    if broken <> '' then
        words := words || ' (constraint ' || broken || ')';
    end if;
    select count(*) filter (where e.sqlstate = state), count(*)
    into alike, every
    from {errors} as e
    where e.command = target;
    if alike < {of_a_kind} and every < {most} then
        insert into {errors} (command, sqlstate, message, row_keys, rows_left, last_at)
        values (target, state, words, keys[1:10], coalesce(cardinality(keys), 0), clock_timestamp());
    else
        -- No session ever waits for another here: each takes the oldest record that nobody else holds.
        update {errors} as e
        set
            sqlstate = state,
            message = words,
            row_keys = keys[1:10],
            rows_left = case when e.sqlstate = state then e.rows_left else 0 end + coalesce(cardinality(keys), 0),
            last_at = clock_timestamp()
        where e.id = (
            select o.id
            from {errors} as o
            where o.command = target and (alike < {of_a_kind} or o.sqlstate = state)
            order by o.last_at
            limit 1
            for update skip locked
        );
    end if;
{catch}
    null;
end
"""

_FILL = """
#variable_conflict use_variable
begin
    with made as materialized (
        select
            m.{location} as location,
            m.{table_oid} as leaf,
            m.{model_key} as key,
            m.{target_column} as value
        from {model} as m
        where m.{model_key} = any(keys) and (m.{pending_flag} or whatever_they_hold)
    ),

    filled as (
        update {table} as t
        set {target_column} = v.value
        from made as v
        where
            t.{key} = v.key
            and t.ctid = v.location
            and t.tableoid = v.leaf
            and v.value is not null
            and t.{target_column} is distinct from v.value
        returning t.{key}::text as key, pg_catalog.jsonb_hash_extended(t.{target_column}, 0::bigint) as written
    )

    insert into {written} (target, row_key, written, written_at)
    select {name}, f.key, pg_catalog.max(f.written), pg_catalog.clock_timestamp()
    from filled as f
    group by f.key
    on conflict (target, row_key) do update set written = excluded.written, written_at = excluded.written_at;
end
"""

_OWN = """
#variable_conflict use_variable
begin
    return query
    select w.row_key, w.written
    from {written} as w
    where w.target = {name} and w.row_key = any(keys::text[]);
end
"""

_MADE = """
#variable_conflict use_variable
begin
    return query
    select m.{model_key}, m.{previous}
    from {model} as m
    where m.{model_key} = any(keys) and m.{previous} = m.{target_column};
end
"""

_EACH = """
#variable_conflict use_variable
declare
    half integer := cardinality(keys) / 2;
    state text;
    said text;
    place text;
    broken text;
begin
    if keys <> '{{}}' then
        perform {fill}(keys, whatever_they_hold);
    end if;
    return failures;
{catch}
    {diagnostics}
    if state !~ {of_a_row} or failures >= {failed_rows} then
        raise;
    end if;
    if half = 0 then
        perform {failed}({command}, state, said, place, broken, keys::text[]);
        return failures + 1;
    end if;
    failures := {each}(keys[:half], whatever_they_hold, failures);
    return {each}(keys[half + 1:], whatever_they_hold, failures);
end
"""

# Both triggers: choose the rows, fill them, and let no error out, not even one of writing it down.
_TRIGGERED = """
#variable_conflict use_variable
declare
    waiting {key_type}[] := '{{}}';
    touched {key_type}[] := '{{}}';
    others {key_type}[] := '{{}}';
    chosen boolean := false;
    state text;
    said text;
    place text;
    broken text;
begin
    begin
        {choose}
        chosen := true;
        if waiting <> '{{}}' then
            perform {fill}(waiting, false);
        end if;
        if touched <> '{{}}' then
            perform {fill}(touched, true);
        end if;
    {catch}
        begin
            {diagnostics}
            if not chosen or state !~ {of_a_row} then
                raise;
            end if;
            perform {each}(touched, true, {each}(waiting, false, 0));
        {catch}
            begin
                {diagnostics}
                if chosen then
                    others := '{{}}';
                end if;
                perform {failed}({command}, state, said, place, broken, (waiting || touched || others)::text[]);
            {catch}
                null;
            end;
        end;
    end;
    return null;
end
"""

_INSERTED = """select coalesce(array_agg(n.{key}), '{{}}') into waiting from rows_after as n where {pending};"""

# Of the rows that held a value and got no other: those whose value is the tool's own, because a trigger stored it
# (another session's a moment ago too), or because it is what the model makes of the row as it was.
_CHANGED = """select
            coalesce(array_agg(n.{key}) filter (where {pending}), '{{}}'),
            coalesce(
                array_agg(n.{key})
                filter (where not {pending} and n.{target_column} is not distinct from o.{target_column}),
                '{{}}'
            )
        into waiting, touched
        from rows_after as n
        left join rows_before as o on o.{key} = n.{key}
        where row({after})::record operator(pg_catalog.*<>) row({before})::record;
        if touched <> '{{}}' then
            select
                coalesce(array_agg(o.{key}) filter (where w.row_key is not null), '{{}}'),
                coalesce(array_agg(o.{key}) filter (where w.row_key is null), '{{}}')
            into touched, others
            from unnest(touched) as k (key)
            inner join rows_before as o on o.{key} = k.key
            left join {own}(touched) as w
                on w.row_key = o.{key}::text and w.written = jsonb_hash_extended(o.{target_column}, 0);
            if others <> '{{}}' then
                select touched || coalesce(array_agg(o.{key}), '{{}}')
                into touched
                from {made}(others) as m
                inner join rows_before as o on o.{key} = m.key and o.{target_column} = m.value;
            end if;
        end if;"""


@dataclass(frozen=True)
class Function:
    """A function in the tool's schema. `statement` creates or replaces it, `signature` names it in other statements.

    `mark` is a checksum of the statement, kept as the function's comment: what tells an outdated one.
    """

    name: str
    signature: sql.Composed
    statement: sql.Composed
    fires_triggers: bool = False  # writes to the product's table
    row_security: bool = False  # has the setting

    @property
    def mark(self) -> str:
        """The checksum."""
        return hashlib.sha256(self.statement.as_bytes(None)).hexdigest()[:16]


def functions(target: Target, schema: str, key_type: str, columns: Sequence[str]) -> list[Function]:
    """The functions that the triggers of a target need, in the order in which to make them.

    `schema` is the tool's own; `key_type` the type of the table's key, with its schema; `columns` those of the table
    whose changes count.

    The function for updates is `stable` on purpose: so it sees the tables as they were before the statement, and
    learns which rows held just what their model made of them. Those are made anew; a value that a person or a writer
    chose is none of them and is left alone. What it calls to write is `volatile` and sees the rows as they are now.
    """

    def inner(name: str) -> sql.Identifier:
        return sql.Identifier(schema, name)

    command = target.command
    kind = sql.SQL(key_type)
    parts: dict[str, sql.Composable] = {
        "catch": sql.SQL(_CATCH),
        "diagnostics": sql.SQL(_DIAGNOSTICS),
        "command": sql.Literal(command),
        "key_type": kind,
        "errors": inner("automatic_errors"),
        "written": inner("automatic_values"),
        "name": sql.Literal(target.name),
        "failed": inner("automatic_failed"),
        "fill": inner(f"automatic_{command}_fill"),
        "own": inner(f"automatic_{command}_own"),
        "made": inner(f"automatic_{command}_made"),
        "each": inner(f"automatic_{command}_each"),
        "of_a_row": sql.SQL(_OF_A_ROW),
        "of_a_kind": sql.Literal(ERRORS_OF_A_KIND),
        "most": sql.Literal(ERRORS),
        "failed_rows": sql.Literal(FAILED_ROWS),
        # Names of the tool's own relations are no data.
        "quoted": sql.Literal(
            rf'"(?!{schema}\.)[^"]*"|\'[^\']*\'|`[^`]*`|“[^”]*”|«[^»]*»|\{{.*\}}|\[.*\]|\(.*\)'
        ),
        "table": batches.table_name(target),
        "model": batches.model_name(target),
        "pending": batches.pending_sql(target, "n"),
        "after": sql.SQL(", ").join(sql.Identifier("n", column) for column in columns),
        "before": sql.SQL(", ").join(sql.Identifier("o", column) for column in columns),
        **{
            part: sql.Identifier(getattr(target, part))
            for part in (
                "key", "model_key", "target_column", "previous", "pending_flag", "location", "table_oid",
            )
        },
    }  # fmt: skip

    def function(
        name: str, arguments: str, returns: str, body: str, options: str, settings: dict[str, str]
    ) -> Function:
        shape = sql.SQL(arguments).format(key_type=kind)
        signature = sql.SQL("{}({})").format(inner(name), shape)
        chosen = [
            sql.SQL("set {} = {}").format(
                sql.SQL(name), sql.SQL(value) if name == "search_path" else sql.Literal(value)
            )
            for name, value in settings.items()
        ]
        return Function(
            name,
            signature,
            sql.SQL("create or replace function {} returns {} language plpgsql {} {} as {}").format(
                signature,
                sql.SQL(returns).format(key_type=kind),
                sql.SQL(options),
                sql.SQL(" ").join(chosen),
                sql.Literal(sql.SQL(body).format(**parts).as_string(None)),
            ),
            fires_triggers=body == _FILL,
            row_security="row_security" in settings,
        )

    asks = {**_SESSION, **_MODEL}
    keys = "keys {key_type}[]"
    fixed = {name: _SESSION[name] for name in ("search_path", "row_security", "lock_timeout")}
    inserted, changed = (_TRIGGERED.replace("{choose}", rows) for rows in (_INSERTED, _CHANGED))
    return [
        function("automatic_failed", "target text, state text, said text, place text, broken text, keys text[]",
                 "void", _FAILED, "volatile", fixed),
        function(f"automatic_{command}_fill", f"{keys}, whatever_they_hold boolean", "void", _FILL, "volatile", asks),
        function(f"automatic_{command}_own", keys, "table (row_key text, written bigint)", _OWN, "volatile",
                 {**fixed, **_MODEL}),
        function(f"automatic_{command}_made", keys, "table (key {key_type}, value jsonb)", _MADE, "stable", asks),
        function(f"automatic_{command}_each", f"{keys}, whatever_they_hold boolean, failures integer", "integer",
                 _EACH, "volatile", {}),
        function(f"automatic_{command}_inserted", "", "trigger", inserted, "volatile security definer", _SESSION),
        function(f"automatic_{command}_changed", "", "trigger", changed, "stable security definer",
                 {**_SESSION, **_TRANSITION}),
    ]  # fmt: skip


@dataclass(frozen=True)
class Trigger:
    """A statement-level trigger. `statement` creates it on a table, or replaces it."""

    name: str
    function: str
    event: str
    tables: str

    def statement(self, schema: str, table: sql.Identifier) -> sql.Composed:
        """`create trigger`; `schema` is the tool's own.

        Serializable transactions are left alone: what the models read for them might make them fail when they end,
        where nothing can be caught any more.
        """
        return sql.SQL(
            "create or replace trigger {name} after {event} on {table} referencing {tables} for each statement "
            "when (current_setting({setting}, true) is distinct from 'off' "
            "and current_setting('transaction_isolation') <> 'serializable') execute function {function}()"
        ).format(
            name=sql.Identifier(self.name),
            event=sql.SQL(self.event),
            table=table,
            tables=sql.SQL(self.tables),
            setting=SETTING,
            function=sql.Identifier(schema, self.function),
        )


def triggers(target: Target, schema: str) -> Sequence[Trigger]:
    """The two triggers of a target, named after the tool's schema."""
    command = target.command
    prefix = f"{schema[:40]}_{command}"  # PostgreSQL cuts a name off after 63 bytes
    return (
        Trigger(f"{prefix}_inserted", f"automatic_{command}_inserted", "insert", "new table as rows_after"),
        Trigger(
            f"{prefix}_changed", f"automatic_{command}_changed", "update",
            "old table as rows_before new table as rows_after",
        ),
    )  # fmt: skip
