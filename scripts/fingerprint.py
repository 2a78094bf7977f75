"""One hash over every column of a row but the target: how a run proves that it changed nothing else.

The expression is built in one place, so the hash that the write-back stores and the one that `migrate verify`
computes later are the same. Columns left out: the target, generated columns (they follow from the others),
and columns that the table's own triggers keep (`updated_at` and the like), which are named to the reader.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from psycopg import sql

from scripts.connection import Session


@dataclass(frozen=True)
class Column:
    """A column that takes part in the fingerprint.

    `form` says how its value enters the hash: "plain", "jsonb" (by its own hash, so that a large value need not be
    copied into a record), "collate" (text: bytes, whatever the collation), or "text" (cast: types without a hash
    function, or whose hash calls different values equal). Runs before 2026-11-23 stored jsonb as "plain".
    """

    name: str
    type: str
    form: str = "plain"

    def as_json(self) -> dict[str, str]:
        """For `migration_runs.settings`."""
        return {"name": self.name, "type": self.type, "form": self.form}

    @classmethod
    def from_json(cls, value: dict[str, str]) -> Column:
        """From `migration_runs.settings`."""
        return cls(value["name"], value["type"], value.get("form", "plain"))


# A type has a usable hash when its base type has a default hash operator class. Arrays, ranges and composites
# count as hashable by their polymorphic class although an element may not be, so they are looked into (arrays)
# or cast (the rest). Enums hash by oid, which a dump and restore changes; numeric and float call 1.0 and 1.00,
# or 0 and -0, the same, as citext does A and a: all of these are cast to text. jsonb stays: casting a large
# payload costs too much.
_COLUMNS = """
with recursive columns as (
    select a.attnum, a.attname, a.atttypid, a.attcollation, pg_catalog.format_type(a.atttypid, a.atttypmod) as shown
    from pg_catalog.pg_attribute as a
    where
        a.attrelid = pg_catalog.to_regclass(%(table)s)
        and a.attnum > 0
        and not a.attisdropped
        and a.attgenerated = ''
        and a.attname <> all(%(left_out)s)
),

unwrapped as (
    select c.attnum, t.oid, t.typtype, t.typbasetype, t.typelem, t.typcategory
    from columns as c
    inner join pg_catalog.pg_type as t on t.oid = c.atttypid

    union all

    select u.attnum, t.oid, t.typtype, t.typbasetype, t.typelem, t.typcategory
    from unwrapped as u
    inner join pg_catalog.pg_type as t
        on t.oid = case when u.typtype = 'd' then u.typbasetype when u.typcategory = 'A' then u.typelem end
),

base as (
    select u.attnum, u.oid, u.typtype
    from unwrapped as u
    where u.typtype <> 'd' and u.typcategory <> 'A'
)

select
    c.attname::text,
    c.shown,
    case
        when c.atttypid = 'jsonb'::regtype then 'jsonb'
        when b.oid = any('{text,varchar,bpchar,name}'::regtype[]::oid[]) then 'collate'
        when
            b.typtype = 'b'
            and c.attcollation = 0
            and b.oid <> all('{numeric,float4,float8,interval}'::regtype[]::oid[])
            and exists (
                select 1
                from pg_catalog.pg_opclass as o
                inner join pg_catalog.pg_am as m on m.oid = o.opcmethod
                where m.amname = 'hash' and o.opcdefault and o.opcintype = b.oid
            )
            then 'plain'
        else 'text'
    end as form
from columns as c
inner join base as b on b.attnum = c.attnum
order by c.attname collate "C"
"""


def fingerprint_columns(
    session: Session, schema: str, table: str, target: str, *, left_out: Iterable[str] = ()
) -> list[Column]:
    """The columns of a table that enter the fingerprint: all but `target`, generated ones and `left_out`."""
    name = sql.Identifier(schema, table).as_string(session)
    rows = session.execute(_COLUMNS, {"table": name, "left_out": [target, *left_out]}).fetchall()
    return [Column(*row) for row in rows]


def fingerprint_sql(columns: Sequence[Column], alias: str) -> sql.Composed:
    """The expression (bigint) that hashes these columns of the table known as `alias`.

    Depends on the values alone: not on collation, not on the order of columns in the table, and, as the tool's
    sessions all run in UTC, not on a time zone. jsonb, which may be large, is hashed as it is, not printed.
    """
    if not columns:
        return sql.Composed([sql.SQL("0::bigint")])
    forms = {
        "plain": "{}",
        "jsonb": "pg_catalog.jsonb_hash_extended({}, 0)",
        "collate": '{} collate "C"',
        "text": '{}::text collate "C"',
    }
    values = [sql.SQL(forms[column.form]).format(sql.Identifier(alias, column.name)) for column in columns]
    return sql.SQL("pg_catalog.hash_record_extended(row({}), 0)").format(sql.SQL(", ").join(values))


_TRIGGERS = """
select g.tgname::text, p.proname::text, p.prosrc, l.lanname::text, g.tgargs
from pg_catalog.pg_trigger as g
inner join pg_catalog.pg_proc as p on p.oid = g.tgfoid
inner join pg_catalog.pg_language as l on l.oid = p.prolang
where
    g.tgrelid = pg_catalog.to_regclass(%s)
    and not g.tgisinternal
    and g.tgenabled in ('O', 'A')
    -- row-level, before, on update
    and g.tgtype & 1 = 1
    and g.tgtype & 2 = 2
    and g.tgtype & 16 = 16
order by g.tgname
"""

_ASSIGNED = re.compile(r'\bnew\s*\.\s*("(?:[^"]|"")+"|[a-z_][a-z0-9_$]*)\s*:?=(?!=)', re.IGNORECASE)
_INTO_NEW = re.compile(r'\binto\s+(?:strict\s+)?new\s*\.\s*("(?:[^"]|"")+"|[a-z_][a-z0-9_$]*)', re.IGNORECASE)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)


def kept_by_triggers(session: Session, schema: str, table: str) -> dict[str, str]:
    """Columns that the table's own before-update triggers set, each with the trigger's name.

    Read from the trigger functions' source (assignments to `new.<column>`) and from the arguments of
    `moddatetime`. A trigger that hides its assignments better than that is not found here; the fingerprints
    of the first batch then differ and say so.
    """
    name = sql.Identifier(schema, table).as_string(session)
    kept: dict[str, str] = {}
    for trigger, function, source, language, arguments in session.execute(_TRIGGERS, [name]).fetchall():
        found: list[str] = []
        if language == "c" and function == "moddatetime":
            found = [bytes(argument).decode() for argument in bytes(arguments).split(b"\0") if argument]
        elif language != "c":
            text = _COMMENT.sub(" ", source)
            # `if new.status = 'x'` is a comparison: a plain = counts only at the start of a statement.
            for match in _ASSIGNED.finditer(text):
                before = text[: match.start()].rstrip().lower()
                if ":=" in match.group(0) or before.endswith((";", "begin", "then", "else", "loop", ">>")):
                    found.append(_identifier(match.group(1)))
            found += [_identifier(match.group(1)) for match in _INTO_NEW.finditer(text)]
        for column in found:
            kept.setdefault(column, trigger)
    return kept


def _identifier(word: str) -> str:
    return word[1:-1].replace('""', '"') if word.startswith('"') else word.lower()
