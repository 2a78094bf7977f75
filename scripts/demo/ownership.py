"""Whose tables these are: the demo marks what it makes with a comment, and touches nothing that lacks the mark."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

MARK = "canonical-migration demo"

TABLES = (
    "events", "widgets", "campaigns", "integration_connectors", "integrations", "templates", "feature_flags",
    "websites", "user_roles", "profiles",
)  # fmt: skip
TYPES = ("integration_type", "event_source", "event_status", "moderation_status", "app_role")
FUNCTIONS = {"is_admin": "uuid", "update_updated_at_column": ""}
AUTH_TABLE = "auth.users"

_FOUND = """
select 'table' as kind, n.nspname || '.' || c.relname as name, obj_description(c.oid, 'pg_class') as mark
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where (n.nspname = 'public' and c.relname = any(%(tables)s)) or (n.nspname = 'auth' and c.relname = 'users')
union all
select 'type', n.nspname || '.' || t.typname, obj_description(t.oid, 'pg_type')
from pg_catalog.pg_type as t
join pg_catalog.pg_namespace as n on n.oid = t.typnamespace
where n.nspname = 'public' and t.typname = any(%(types)s)
union all
select 'function', n.nspname || '.' || p.proname || '()', obj_description(p.oid, 'pg_proc')
from pg_catalog.pg_proc as p
join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
where n.nspname = 'public' and p.proname = any(%(functions)s)
"""

# Views whose definition reads one of the tables, or one of these views.
_READERS = """
with recursive readers (oid) as (
    select c.oid
    from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = 'public' and c.relname = any(%(tables)s)
    union
    select r.ev_class
    from readers
    join pg_catalog.pg_depend as d
        on d.refclassid = 'pg_catalog.pg_class'::regclass
        and d.refobjid = readers.oid
        and d.classid = 'pg_catalog.pg_rewrite'::regclass
    join pg_catalog.pg_rewrite as r on r.oid = d.objid
)

select n.nspname || '.' || v.relname
from readers
join pg_catalog.pg_class as v on v.oid = readers.oid
join pg_catalog.pg_namespace as n on n.oid = v.relnamespace
where v.relkind in ('v', 'm')
order by 1
"""


@dataclass
class Found:
    """Objects of the schema's names: those that carry the mark, and those of somebody else."""

    ours: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    auth_users: str = "absent"  # 'absent', 'ours' or 'theirs'

    @property
    def our_tables(self) -> list[str]:
        return [name for name in self.ours if name.removeprefix("public.") in TABLES]


def look(session: psycopg.Connection[Any]) -> Found:
    """What is there already, and whose it is."""
    found = Found()
    query = {"tables": list(TABLES), "types": list(TYPES), "functions": list(FUNCTIONS)}
    for _kind, name, mark in session.execute(_FOUND, query).fetchall():
        ours = (mark or "").startswith(MARK)
        if name == AUTH_TABLE:
            found.auth_users = "ours" if ours else "theirs"
        else:
            (found.ours if ours else found.others).append(name)
    found.ours.sort()
    found.others.sort()
    return found


def readers(session: psycopg.Connection[Any]) -> list[str]:
    """Views that read the tables, which go when these go."""
    return [row[0] for row in session.execute(_READERS, {"tables": list(TABLES)}).fetchall()]


def drop_tables(session: psycopg.Connection[Any]) -> None:
    """Drop the tables (the caller has looked at the marks), and views that read them.

    Types and functions stay: backups use the types, and policies of migration_log the functions.
    """
    tables = [sql.Identifier("public", name) for name in TABLES]
    session.execute(sql.SQL("drop table if exists {} cascade").format(sql.SQL(", ").join(tables)))


def analyze(session: psycopg.Connection[Any]) -> None:
    """Statistics of the tables (of all tables only a superuser may make them)."""
    tables = [sql.Identifier("public", name) for name in TABLES]
    session.execute(sql.SQL("analyze {}").format(sql.SQL(", ").join(tables)))


def mark(session: psycopg.Connection[Any], detail: str) -> None:
    """Mark every table, type and function as the demo's. `detail` says how they were made."""
    comment = sql.Literal(f"{MARK}; {detail}; fake data, made by `migrate demo`")
    for name in TABLES:
        session.execute(sql.SQL("comment on table {} is {}").format(sql.Identifier("public", name), comment))
    for name in TYPES:
        session.execute(sql.SQL("comment on type {} is {}").format(sql.Identifier("public", name), comment))
    for name, arguments in FUNCTIONS.items():
        session.execute(
            sql.SQL("comment on function {}({}) is {}").format(
                sql.Identifier("public", name), sql.SQL(arguments), comment
            )
        )
