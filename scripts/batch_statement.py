"""The statement that writes one batch: the update, its log row and its undo row, together or not at all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from scripts import batches
from scripts.batches import Leaf
from scripts.fingerprint import Column, fingerprint_sql
from scripts.ledger import Ledger
from scripts.project import Target

# Columns that a target names, of the source table and of the model.
_NAMES = (
    "key", "model_key", "target_column", "previous", "pending_flag", "location", "table_oid", "group_by",
)  # fmt: skip

# Types whose equal values are stored alike; of text that is so where bytes are compared.
_EXACT = re.compile(r"uuid|smallint|integer|bigint|boolean|date|timestamp( with| without) time zone")
_EXACT_TEXT = re.compile(r"text|character varying(\(\d+\))?")

# Types whose values may be stored out of line and be large.
LARGE = re.compile(r"jsonb?|text|bytea|xml|character varying|.*\[\]$")


@dataclass(frozen=True)
class Plan:
    """What a run needs to know of its target's table, looked up once."""

    target: Target
    ledger: Ledger
    leaves: Sequence[Leaf]
    columns: Sequence[Column]  # of the fingerprint
    key_is_uuid: bool
    tenant_may_be_null: bool
    has_triggers: bool = False  # that fire before a row is updated
    returns_old: bool = False  # `returning` knows the row before the update (18 and later)
    toast_ids: bool = False  # the server tells which stored value a column points to (17 and later)
    vocabulary: frozenset[str] = frozenset()  # words that error messages may keep

    def statement(self, leaf: Leaf, *, skip: bool = False) -> sql.Composed:
        """The statement that writes one batch of a leaf.

        Parameters: $1 and $2 the range (tid), $3 the most rows to write, $4 id of the log row, $5 run, $6 batch number,
        $7 performed by; with `skip`, $8 is a text[] of keys to pass over. Returns one row: rows written, rows whose
        other columns changed, bytes of the new values, rows by group (jsonb); all 0 when there was nothing to write.

        The model is read by the range, and the table by the exact place of each of its rows: the planner knows neither
        how long the range is nor how many of its rows are pending, and a join of two ranges goes wrong where it
        guesses few rows (it compares all with all). The model's part is behind a limit, so that each value is made once
        although it is tested and written. It is sorted by place, since a hash join in the model scatters the rows: that
        all values are made first, and rows are then visited as they lie on their pages, saves a twelfth of the time.

        `>=` and `<=` say nothing that `=` does not; but a server older than 15.15, 16.11, 17.7 or 18.1 does not look
        at `ctid = ...` again after it waited for another writer of the row, and would write the old row's value to
        the new one. Those two are looked at again.

        A row whose value a trigger of the table put back is not written: it is neither counted nor logged.
        """
        target = self.target
        name = {part: sql.Identifier(getattr(target, part)) for part in _NAMES}
        of_leaf: sql.Composable = sql.SQL("")
        if not leaf.alone:
            # Locations repeat in every partition. (Where there is only one table, its oid may be another one's on a
            # worker of a distributed table.)
            of_leaf = sql.SQL("and m.{} = {}").format(name["table_oid"], batches.oid(leaf.oid))
        tenant: sql.Composable = sql.SQL("")
        model_tenant: sql.Composable = sql.SQL("null")
        if target.tenant:
            equal = "is not distinct from" if self.tenant_may_be_null else "="
            tenant = sql.SQL("and t.{} {} v.tenant").format(sql.Identifier(target.tenant), sql.SQL(equal))
            model_tenant = sql.SQL("m.{}").format(sql.Identifier(target.tenant))
        ids, keys = "array_agg(w.key)", "null::text[]"
        if not self.key_is_uuid:
            ids, keys = "null::uuid[]", "array_agg(w.key::text)"
        return sql.SQL(
            """
with written as (
    update {table} as t
    set {target_column} = v.value
    from (
        select
            m.{location} as location,
            m.{model_key} as key,
            {model_tenant} as tenant,
            m.{target_column} as value,
            m.{previous} as previous,
            m.{group_by}::text as member
        from {model} as m
        where m.{location} > $1::tid and m.{location} <= $2::tid {of_leaf} and m.{pending_flag} {skip}
        order by m.{location}
        limit $3::bigint
    ) as v
    {before}
    where
        t.ctid = v.location
        and t.ctid >= v.location
        and t.ctid <= v.location
        and t.{key} = v.key
        {tenant}
        and v.value is not null
        and v.value is distinct from v.previous
    returning {of_before}
        t.{key} as key,
        v.member,
        v.previous,
        t.{target_column} is distinct from v.previous as took,
        pg_column_size(t.{target_column}) as bytes,
        jsonb_hash_extended(t.{target_column}, 0) as written,
        {changed} as changed,
        {fingerprint} as fingerprint
),

totals as materialized (
    select
        count(*) as n,
        count(*) filter (where w.changed) as changed,
        coalesce(sum(w.bytes), 0) as bytes,
        {ids} as ids,
        {keys} as keys,
        array_agg(w.previous) as previous,
        array_agg(w.written) as written,
        array_agg(w.fingerprint) as fingerprints
    from written as w
    where w.took
),

members as materialized (
    select coalesce(jsonb_object_agg(coalesce(g.member, ''), g.n), '{{}}') as groups
    from (select w.member, count(*) as n from written as w where w.took group by w.member) as g
),

undo as (
    insert into {undo} (
        log_id, run_id, source_schema, source_table, leaf, row_ids, row_keys, previous, written, fingerprints
    )
    select
        $4::uuid, $5::uuid, {schema_name}, {table_name}, {leaf_oid},
        t.ids, t.keys, t.previous, t.written, t.fingerprints
    from totals as t
    where t.n > 0
),

log as (
    insert into {log} (
        id, run_id, kind, migration_type, batch_number, records_processed, records_succeeded, records_failed,
        started_at, completed_at, performed_by, dry_run, details
    )
    select
        $4::uuid, $5::uuid, 'apply', {migration_type}, $6::integer, t.n, t.n, 0,
        statement_timestamp(), greatest(statement_timestamp(), clock_timestamp()), $7::uuid, false,
        jsonb_build_object(
            'table', {leaf_name}, 'after', $1::tid::text, 'upto', $2::tid::text, 'bytes', t.bytes,
            'groups', m.groups, 'other_columns_changed', t.changed
        )
    from totals as t
    cross join members as m
    where t.n > 0
)

select t.n, t.changed, t.bytes, m.groups
from totals as t
cross join members as m
"""
        ).format(
            table=leaf.relation,
            model=batches.model_name(target),
            model_tenant=model_tenant,
            of_leaf=of_leaf,
            tenant=tenant,
            skip=sql.SQL("and m.{}::text <> all($8::text[])").format(name["model_key"]) if skip else sql.SQL(""),
            before=sql.SQL("") if self.returns_old else self._before(leaf),
            of_before=sql.SQL("with (old as o)" if self.returns_old else ""),
            changed=self._changed(),
            fingerprint=fingerprint_sql(self.columns, "t"),
            ids=sql.SQL(ids),
            keys=sql.SQL(keys),
            undo=self.ledger.undo_table,
            log=self.ledger.log_table,
            schema_name=target.schema,
            table_name=target.table,
            leaf_oid=batches.oid(leaf.oid),
            leaf_name=f"{leaf.schema}.{leaf.name}",
            migration_type=target.migration_type,
            **name,
        )

    def _before(self, leaf: Leaf) -> sql.Composed:
        """The row before the update, by its place: what `returning old` gives since PostgreSQL 18."""
        return sql.SQL(
            "cross join lateral (select {columns} from {table} as o where o.ctid = v.location offset 0) as o"
        ).format(
            columns=sql.SQL(", ").join(sql.Identifier("o", column.name) for column in self.columns),
            table=leaf.relation,
        )

    def _changed(self) -> sql.Composable:
        """Whether any column but the target differs between the row before (o) and after (t), bit by bit.

        A value that is stored out of line is the same when it is the same stored value: a large payload is not read
        (PostgreSQL 17 can tell; before, it is read and compared).
        """
        differences: list[sql.Composable] = []
        sides: dict[str, list[sql.Composable]] = {"o": [], "t": []}
        for column in self.columns:
            values = [sql.Identifier(side, column.name) for side in sides]
            # Cheaper than a record, and the same wherever equal values have the same bits.
            if _EXACT.fullmatch(column.type):
                differences.append(sql.SQL("{} is distinct from {}").format(*values))
            elif _EXACT_TEXT.fullmatch(column.type):
                differences.append(sql.SQL('{} collate "C" is distinct from {} collate "C"').format(*values))
            else:
                for side, value in zip(sides.values(), values, strict=True):
                    if self.toast_ids and LARGE.match(column.type):
                        ids = [sql.SQL("pg_column_toast_chunk_id({})").format(each) for each in values]
                        side.append(sql.SQL("case when {} = {} then null else {} end").format(*ids, value))
                    else:
                        side.append(value)
        if sides["o"]:
            rows = [sql.SQL("row({})").format(sql.SQL(", ").join(values)) for values in sides.values()]
            differences.append(sql.SQL("pg_catalog.record_image_ne({}, {})").format(*rows))
        return sql.SQL("({})").format(sql.SQL(" or ").join(differences or [sql.SQL("false")]))

    def trial_statement(self, leaf: Leaf) -> sql.Composed:
        """An update of a range's pending rows that returns the names of the columns that changed beside the target.

        Parameters: $1 and $2 the range, $3 the most rows. To be rolled back.
        """
        target = self.target
        changes = [
            sql.SQL("case when b.{0}::text is distinct from t.{0}::text then {1} end").format(
                sql.Identifier(column.name), sql.Literal(column.name)
            )
            for column in self.columns
        ]
        return sql.SQL(
            """
            update {table} as t
            set {column} = m.{column}
            from (
                select q.* from {model} as q
                where q.{location} > $1::tid and q.{location} <= $2::tid and q.{oid} = {leaf} and q.{pending}
                limit $3::bigint
            ) as m
            inner join {table} as b on b.ctid = m.{location}
            where t.ctid = m.{location} and t.{key} = m.{model_key}
            returning array_remove(array[{changes}], null)
            """
        ).format(
            table=leaf.relation,
            column=sql.Identifier(target.target_column),
            model=batches.model_name(target),
            location=sql.Identifier(target.location),
            key=sql.Identifier(target.key),
            model_key=sql.Identifier(target.model_key),
            oid=sql.Identifier(target.table_oid),
            leaf=batches.oid(leaf.oid),
            pending=sql.Identifier(target.pending_flag),
            changes=sql.SQL(", ").join(changes),
        )
