"""What is looked at before a run: what would make it fail is an error, what it will cost is said."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, LiteralString

from psycopg.rows import dict_row

from scripts import batches, faults, fingerprint, row_security
from scripts.batch_statement import Plan
from scripts.batches import Leaf
from scripts.connection import Session
from scripts.errors import UserError
from scripts.ledger import Ledger
from scripts.project import Target
from scripts.settings import Database

_COLUMNS = """
select
    a.attname::text as name,
    pg_catalog.format_type(a.atttypid, null) as type,
    a.attnotnull as required,
    a.attgenerated::text as generated,
    pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'select') as readable,
    pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'update') as writable
from pg_catalog.pg_attribute as a
where a.attrelid = to_regclass(%s) and a.attnum > 0 and not a.attisdropped
"""

_TABLE = """
select
    c.relkind::text as kind,
    pg_catalog.pg_get_userbyid(c.relowner)::text as owner,
    current_user::text as role,
    pg_catalog.has_schema_privilege(c.relnamespace, 'usage') as schema_usable,
    c.relreplident::text as identity,
    coalesce('autovacuum_enabled=false' = any(c.reloptions) or 'autovacuum_enabled=off' = any(c.reloptions), false)
        as vacuum_off,
    exists (
        select 1 from pg_catalog.pg_index as i
        where
            i.indrelid = c.oid
            and case when c.relreplident = 'i' then i.indisreplident else i.indisprimary and c.relreplident = 'd' end
    ) as has_identity,
    exists (
        select 1 from pg_catalog.pg_rewrite as r where r.ev_class = c.oid and r.ev_type = '2' and r.ev_enabled <> 'D'
    ) as has_rule
from pg_catalog.pg_class as c
where c.oid = to_regclass(%s)
"""

# Triggers that an update of the target column fires, but for those of `migrate automatic`, which keep out of runs.
# `kind`: bits of tgtype (1 row, 2 before, 16 update).
_TRIGGERS = """
select distinct
    g.tgname::text as name,
    g.tgtype & 1 = 1 as each_row,
    g.tgtype & 2 = 2 as before,
    p.proname::text as function,
    p.prosrc as source,
    c.oid::bigint as table_oid,
    g.tgparentid <> 0 as cloned
from pg_catalog.pg_trigger as g
inner join pg_catalog.pg_proc as p on p.oid = g.tgfoid
inner join pg_catalog.pg_class as c on c.oid = g.tgrelid
where
    g.tgrelid = any(%s::oid[])
    and p.pronamespace is distinct from to_regnamespace(quote_ident(%s))
    and not g.tgisinternal
    and g.tgenabled in ('O', 'A')
    and g.tgtype & 16 = 16
    and (
        cardinality(g.tgattr::int2[]) = 0
        or exists (
            select 1 from pg_catalog.pg_attribute as a
            where a.attrelid = g.tgrelid and a.attname = %s and a.attnum = any(g.tgattr::int2[])
        )
    )
order by name
"""

_PUBLICATIONS = """
select distinct p.pubname::text
from pg_catalog.pg_publication_tables as t
inner join pg_catalog.pg_publication as p on p.pubname = t.pubname
where p.pubupdate and to_regclass(quote_ident(t.schemaname) || '.' || quote_ident(t.tablename))::oid = any(%s::oid[])
order by 1
"""

_INDEXES = """
select distinct i.indexrelid::regclass::text
from pg_catalog.pg_index as i
inner join pg_catalog.pg_attribute as a on a.attrelid = i.indrelid and a.attname = %s
left join pg_catalog.pg_depend as d
    on
        d.objid = i.indexrelid and d.refobjid = i.indrelid and d.refobjsubid = a.attnum
        and d.classid = 'pg_catalog.pg_class'::regclass
where i.indrelid = any(%s::oid[]) and (a.attnum = any(i.indkey::int2[]) or d.objid is not null)
order by 1
"""

_REPLICATION = """
select
    (select count(*) from pg_catalog.pg_stat_replication) as standbys,
    (select coalesce(string_agg(slot_name::text, ', '), '') from pg_catalog.pg_replication_slots where not active)
        as idle_slots,
    pg_catalog.pg_is_in_recovery() as standby,
    current_setting('default_transaction_read_only')::boolean as read_only
"""

# What one written row adds to the server's storage besides its values: a new row version, its log, index entries.
_ROW_OVERHEAD_BYTES = 150


@dataclass(frozen=True)
class Finding:
    """Something to know before a run. `level`: "note", or "warning" when it may hurt."""

    level: str
    about: str
    message: str

    def as_json(self) -> dict[str, str]:
        """For reports."""
        return asdict(self)


@dataclass(frozen=True)
class Preflight:
    """What the catalog says of a target's table."""

    plan: Plan
    excepted: dict[str, str]  # columns that triggers or the server keep, each with the reason
    findings: list[Finding]


def inspect(session: Session, database: Database, target: Target) -> Preflight:
    """Look at the table, the model and the server. Raises UserError for what would make a run fail or lie.

    Reads the catalog only; writes nothing.
    """
    _check_server(session, database)
    table = _check_table(session, target)
    columns = _check_columns(session, target)
    _check_model(session, target, database)
    leaves = batches.leaves(session, target.schema, target.table)
    oids = [leaf.oid for leaf in leaves]
    triggers = _rows(session, _TRIGGERS, [oids, target.model_schema, target.target_column])
    excepted = _excepted(session, target, leaves)
    findings = [
        *_trigger_findings(session, target, triggers, leaves),
        *_publication_findings(session, target, table, oids),
        *_table_findings(session, target, table, oids),
    ]
    key = columns[target.key]
    tenant = columns[target.tenant]
    plan = Plan(
        target=target,
        ledger=Ledger(database.schema, target.schema),
        leaves=leaves,
        columns=fingerprint.fingerprint_columns(
            session, target.schema, target.table, target.target_column, left_out=excepted
        ),
        key_is_uuid=key["type"] == "uuid",
        tenant_may_be_null=not tenant["required"],
        has_triggers=any(trigger["each_row"] and trigger["before"] for trigger in triggers),
        returns_old=session.info.server_version >= 180000,
        toast_ids=session.info.server_version >= 170000,
        vocabulary=frozenset(word for trigger in triggers for word in faults.words(trigger["source"] or "")),
    )
    return Preflight(plan, excepted, findings)


def disk_finding(session: Session, target: Target, rows: int, bytes_per_row: float) -> Finding | None:
    """How much the table will grow, and whether the disk has room where that can be seen."""
    if not rows:
        return None
    need = int(rows * (bytes_per_row + _ROW_OVERHEAD_BYTES))
    free = free_bytes(session)
    growth = f"{target.schema}.{target.table} grows by about {size(need)}, and the write-ahead log by as much"
    if free is None:
        return Finding(
            "note", "disk", f"{growth}; make sure that the server has this much free (it cannot be seen here)."
        )
    if free < 2.5 * need:
        return Finding("warning", "disk", f"{growth}, but only {size(free)} are free. Make room first, or use --limit.")
    return Finding("note", "disk", f"{growth}; {size(free)} are free.")


def size(number: float) -> str:
    """A number of bytes for people."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(number) < 1024 or unit == "GB":
            break
        number /= 1024
    return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"


# ---------- what makes a run impossible


def _check_server(session: Session, database: Database) -> None:
    row = _rows(session, _REPLICATION)[0]
    if row["standby"]:
        raise UserError(
            f"{database.label} is a standby, which cannot be written. Point {database.origin} at the primary."
        )
    if row["read_only"]:
        raise UserError(
            f"{database.label} is read-only for this role (default_transaction_read_only is on). "
            f"Use another role in {database.origin}, or turn it off for this one."
        )


def _check_table(session: Session, target: Target) -> dict[str, Any]:
    name = _name(target)
    rows = _rows(session, _TABLE, [name])
    if not rows:
        raise UserError(
            f"There is no table {name}. Set the dbt vars source_schema and {target.table}_table (in dbt_project.yml or "
            "MIGRATION_VARS) to where the product keeps it, or connect to the right database."
        )
    table = rows[0]
    if not table["schema_usable"]:
        raise UserError(
            f"Role {table['role']} may not use schema {target.schema}. "
            f"Let its owner run `grant usage on schema {target.schema} to {table['role']};`."
        )
    if table["kind"] not in ("r", "p"):
        raise UserError(f"{name} is no table (kind {table['kind']!r}), so its rows cannot be written in place.")
    if row_security.hidden(session, [(target.schema, target.table)]):
        raise UserError(
            f"Row level security hides rows of {name} from role {table['role']}: it would see and write only part of "
            f"them. Connect as its owner {table['owner']}, or let an administrator run "
            f"`alter role {table['role']} bypassrls;` or what `migrate runner` prints."
        )
    if table["has_rule"]:
        raise UserError(
            f"{name} has a rule for update (`create rule`), which would rewrite the tool's statement. "
            "Drop or disable it for the time of the run."
        )
    return table


def _check_columns(session: Session, target: Target) -> dict[str, dict[str, Any]]:
    name = _name(target)
    columns = {column["name"]: column for column in _rows(session, _COLUMNS, [name])}
    for column in (target.key, target.tenant, target.target_column):
        if column not in columns:
            raise UserError(
                f"{name} has no column {column}. The tool needs it; add it (the product's own migration does) or "
                f"correct meta.migration of the model {target.model}."
            )
    wanted = columns[target.target_column]
    if wanted["type"] != "jsonb":
        raise UserError(f"{name}.{target.target_column} is {wanted['type']}; the tool fills columns of type jsonb.")
    if wanted["generated"]:
        raise UserError(f"{name}.{target.target_column} is a generated column, which cannot be written.")
    role = _rows(session, "select current_user::text as role")[0]["role"]
    if not wanted["writable"]:
        raise UserError(
            f"Role {role} may not update {name}.{target.target_column}. "
            f"Let the owner run `grant update ({target.target_column}) on {name} to {role};`."
        )
    hidden = sorted(column["name"] for column in columns.values() if not column["readable"])
    if hidden:
        raise UserError(
            f"Role {role} may not read {', '.join(hidden)} of {name}, so it cannot prove that they stay as they are. "
            f"Let the owner run `grant select on {name} to {role};`."
        )
    return columns


def _check_model(session: Session, target: Target, database: Database) -> None:
    model = batches.model_name(target).as_string(None)
    rows = _rows(session, _COLUMNS, [model])
    if not rows:
        raise UserError(f"The model {model} is not in {database.label}. Run `migrate build`, or leave out --no-build.")
    there = {row["name"] for row in rows}
    needed = {
        target.model_key, target.tenant, target.target_column, target.previous, target.pending_flag, target.location,
        target.table_oid, target.group_by,
    }  # fmt: skip
    missing = sorted(needed - there)
    if missing:
        raise UserError(f"The model {model} lacks the columns {', '.join(missing)}. Run `migrate build`.")


# ---------- what a run will cost


def _excepted(session: Session, target: Target, leaves: Sequence[Leaf]) -> dict[str, str]:
    """Columns that may change beside the target, and why: the table's triggers set them."""
    kept = fingerprint.kept_by_triggers(session, target.schema, target.table)
    for leaf in leaves:
        if not leaf.alone:
            kept = {**fingerprint.kept_by_triggers(session, leaf.schema, leaf.name), **kept}
    kept.pop(target.target_column, None)
    return {column: f"trigger {trigger}" for column, trigger in kept.items()}


def _trigger_findings(
    session: Session, target: Target, triggers: Sequence[dict[str, Any]], leaves: Sequence[Leaf]
) -> list[Finding]:
    named: dict[str, str] = {}
    for trigger in triggers:
        if trigger["each_row"]:
            named[trigger["name"]] = ("before" if trigger["before"] else "after") + f" each row: {trigger['function']}"
        else:
            named[trigger["name"]] = f"once for each batch: {trigger['function']}"
    found = []
    if named:
        listed = "; ".join(f"{name} ({when})" for name, when in named.items())
        found.append(
            Finding("note", "triggers", f"These triggers of {_name(target)} fire for the written rows: {listed}.")
        )
    if len(leaves) > 1 or not leaves[0].alone:
        parents = _rows(session, _TRIGGERS, [[_oid(session, target)], target.model_schema, target.target_column])
        silent = [trigger["name"] for trigger in parents if not trigger["each_row"]]
        if silent:
            found.append(
                Finding(
                    "warning",
                    "triggers",
                    f"Batches are written to the partitions directly, so statement triggers of {_name(target)} itself "
                    f"do not fire: {', '.join(silent)}.",
                )
            )
    return found


def _publication_findings(
    session: Session, target: Target, table: dict[str, Any], oids: Sequence[int]
) -> list[Finding]:
    publications = [row["pubname"] for row in _rows(session, _PUBLICATIONS, [[*oids, _oid(session, target)]])]
    if not publications:
        return []
    if not table["has_identity"] and table["identity"] != "f":
        raise UserError(
            f"{_name(target)} is in the publication {', '.join(publications)} but has no replica identity, so the "
            f"server refuses to update it. Run `alter table {_name(target)} replica identity full;` or give it a "
            "primary key."
        )
    found = [
        Finding(
            "warning",
            "publications",
            f"{_name(target)} is in the publication {', '.join(publications)}: every written row is sent to its "
            "subscribers"
            + (
                " (Supabase Realtime: one message to every listening client)."
                if "supabase_realtime" in publications
                else "."
            ),
        )
    ]
    if table["identity"] == "f":
        found.append(
            Finding(
                "warning",
                "replica identity",
                f"{_name(target)} has replica identity full: the whole old row is logged too, about twice the "
                "write-ahead log.",
            )
        )
    return found


def _table_findings(session: Session, target: Target, table: dict[str, Any], oids: Sequence[int]) -> list[Finding]:
    found = []
    indexes = [row["indexrelid"] for row in _rows(session, _INDEXES, [target.target_column, list(oids)])]
    if indexes:
        found.append(
            Finding(
                "warning",
                "indexes",
                f"The target column is in the index {', '.join(indexes)}: each written row also writes index entries. "
                "It is faster to drop it before and to create it after the run.",
            )
        )
    if table["vacuum_off"]:
        found.append(
            Finding(
                "warning",
                "vacuum",
                f"Autovacuum is off for {_name(target)}: run `vacuum {_name(target)};` after the run.",
            )
        )
    replication = _rows(session, _REPLICATION)[0]
    if replication["standbys"]:
        found.append(
            Finding(
                "note", "replication", f"{replication['standbys']} standby or subscriber receives everything written."
            )
        )
    if replication["idle_slots"]:
        found.append(
            Finding(
                "warning",
                "replication",
                f"The replication slot {replication['idle_slots']} is not read by anybody: the server keeps all "
                "write-ahead log of the run for it, until the disk is full. Drop it if nobody needs it.",
            )
        )
    return found


def free_bytes(session: Session) -> int | None:
    """Free space of the server's disk, when the server runs on this machine and says where its data are."""
    if session.info.host and not session.info.host.startswith("/"):
        return None
    row = session.execute(
        "select case when pg_catalog.pg_has_role('pg_read_all_settings', 'usage') "
        "then current_setting('data_directory') end"
    ).fetchone()
    folder = row[0] if row else None
    if not folder or not os.path.isdir(folder):
        return None
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


# ---------- helpers


def _rows(session: Session, query: LiteralString, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
    with session.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, parameters or None).fetchall()


def _name(target: Target) -> str:
    name = batches.table_name(target).as_string(None)
    plain = f"{target.schema}.{target.table}"
    return plain if re.fullmatch(r"[a-z_][a-z0-9_.]*", plain) else name


def _oid(session: Session, target: Target) -> int:
    row = session.execute(
        "select to_regclass(%s)::oid::bigint", [batches.table_name(target).as_string(None)]
    ).fetchone()
    return int(row[0]) if row else 0
