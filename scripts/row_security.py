"""Row level security hides rows without a word: whether it hides any from this role, and what its sessions set.

With `row_security = off` the server refuses a query whose rows a policy could hide, which is what every session of the
tool wants. It refuses too where the policy hides nothing, such as the ones that `migrate runner` makes for a role that
may not bypass row level security. So this module asks the catalog: when every policy situation of the role shows all
rows, its sessions leave row_security on; in any other case it stays off.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import psycopg

from scripts.settings import Database, source_schema

# A table shows all rows when some permissive policy that applies to the role is plainly `true` and no restrictive one
# applies; for reading, and for updating where the role may update. Permissive policies add up, so others do no harm.
# The same test is in macros/project/hides_rows.sql, for dbt's sessions of other programs.
_GUARDED = """
select
    n.nspname::text,
    c.relname::text,
    bool_and(
        coalesce(
            (
                select
                    bool_and(p.polpermissive)
                    and bool_or(
                        pg_catalog.pg_get_expr(p.polqual, p.polrelid) = 'true'
                        and coalesce(pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid), 'true') = 'true'
                    )
                from pg_catalog.pg_policy as p
                where
                    p.polrelid = c.oid
                    and p.polcmd in ('*', k.command)
                    and exists (
                        select from unnest(p.polroles) as r (oid)
                        where r.oid = 0 or pg_catalog.pg_has_role(r.oid, 'usage')
                    )
            ),
            false
        )
    )
from pg_catalog.pg_class as c
inner join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
cross join (values ('r'::"char", 'select'), ('w'::"char", 'update')) as k (command, privilege)
where
    c.relkind in ('r', 'p')
    and c.relrowsecurity
    and pg_catalog.row_security_active(c.oid)
    and pg_catalog.has_any_column_privilege(c.oid, k.privilege)
group by 1, 2
"""


def setting(session: psycopg.Connection[Any], database: Database) -> str:
    """The value of `row_security` for a session whose role is set: "on" when no table hides a row, else "off".

    Looks at the tables of the product's schema and of the tool's own that the role may read.
    """
    guarded = _guarded(session)
    if guarded:
        schemas = (source_schema(), database.schema)
        guarded = {name: shown for name, shown in guarded.items() if name[0] in schemas}
    return "on" if guarded and all(guarded.values()) else "off"


def hidden(session: psycopg.Connection[Any], tables: Collection[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those of the tables (schema, name) of which a policy may hide rows from this role."""
    guarded = _guarded(session)
    return sorted(name for name in set(tables) if not guarded.get(name, True))


def _guarded(session: psycopg.Connection[Any]) -> dict[tuple[str, str], bool]:
    """Tables whose policies apply to the role, and whether they show it all rows."""
    return {(schema, table): shown for schema, table, shown in session.execute(_GUARDED).fetchall()}
