"""Who is an administrator of the product: by is_admin() or user_roles, never by profiles.role."""

from __future__ import annotations

import json
from uuid import UUID

import psycopg
from psycopg import sql

from scripts.connection import Session, transaction
from scripts.errors import UserError
from scripts.settings import source_schema

ROLES = ("admin", "superadmin")


def is_admin(session: Session, user_id: UUID) -> bool:
    """Ask the product's own function is_admin(uuid), or where there is none its table user_roles.

    `profiles.role` is not looked at: the product's policy lets users edit their own profile.
    """
    query = _question(session)
    if query is None:
        return False
    with transaction(session):
        # For a function that looks at auth.uid() too: the user is who the token says.
        claims = json.dumps({"sub": str(user_id), "role": "authenticated"})
        session.execute("select set_config('request.jwt.claims', %s, true)", [claims])
        row = session.execute(query, {"user": user_id, "roles": list(ROLES)}).fetchone()
    return bool(row and row[0])


def check(session: Session) -> None:
    """Raise UserError when nobody could be an administrator, for want of function and table or of the right to ask."""
    if _question(session) is None:
        raise UserError(
            f"There is neither a function is_admin(uuid) nor a table user_roles (user_id, role) in "
            f"{' or '.join(_schemas())}, so nobody can be an administrator. Point the server at the product's "
            "database, or unset the SUPABASE_JWT_... settings to use the local one-time link."
        )
    try:
        is_admin(session, UUID(int=0))
    except psycopg.errors.InsufficientPrivilege as error:
        raise UserError(
            f"This role may not ask who is an administrator: {error.diag.message_primary}. Make is_admin(uuid) a "
            "function with `security definer` that the role may execute, or serve as another role."
        ) from None


def _schemas() -> list[str]:
    return list(dict.fromkeys((source_schema(), "public")))


def _question(session: Session) -> sql.Composed | None:
    for schema in _schemas():
        function = sql.Identifier(schema, "is_admin")
        found = session.execute(
            "select 1 from pg_catalog.pg_proc where oid = to_regprocedure(%s) and prorettype = 'boolean'::regtype",
            [f"{function.as_string(session)}(uuid)"],
        ).fetchone()
        if found:
            return sql.SQL("select {}(%(user)s::uuid)").format(function)
    for schema in _schemas():
        table = sql.Identifier(schema, "user_roles")
        found = session.execute(
            "select count(*) = 2 from pg_catalog.pg_attribute "
            "where attrelid = to_regclass(%s) and attname in ('user_id', 'role') and not attisdropped",
            [table.as_string(session)],
        ).fetchone()
        if found and found[0]:
            return sql.SQL(
                "select exists (select 1 from {} as r where r.user_id = %(user)s and r.role::text = any(%(roles)s))"
            ).format(table)
    return None
