"""What one batch would write: its values are made and thrown away."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import psycopg
from psycopg import RawCursor, sql

from scripts import batches, faults
from scripts.batch_statement import Plan
from scripts.batches import START, Leaf, Span, Walk
from scripts.connection import Session, transaction
from scripts.faults import Fault


@dataclass
class Preview:
    """`values`: rows that have one; `without`: rows that have none; `failures`: key and error of each other row."""

    values: int = 0
    without: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)


def preview(session: Session, plan: Plan, offset: int, rows: int | None) -> Preview:
    """Look at `rows` pending rows (None: all) from the `offset`-th on, in physical order."""
    found = Preview()
    for leaf in plan.leaves:
        walk = batches.walk(session, plan.target, leaf)
        after = START
        if offset:
            passed = walk.next(START, offset)
            if passed is None:
                continue
            offset -= passed.rows
            after = passed.upto
            if offset:
                continue
        span = walk.next(after, rows if rows is not None else 2**31 - 1)
        if span is None:
            continue
        _look(session, plan, walk, span, found)
        if rows is not None:
            rows -= span.rows
            if rows <= 0:
                break
    return found


def one_batch_limit(session: Session, plan: Plan, rows: int) -> int:
    """How many pending rows to write so that `rows` of them are such as the product counts (NULL or {}).

    The product's page counts those once and then calls so many times that each fits in. A JSON null or an empty array
    is pending too; were it part of a batch's number, as many rows would be left over at the end.
    """
    column = sql.Identifier("t", plan.target.target_column)
    counted = sql.SQL("({0} is null or (pg_column_size({0}) <= 8 and {0} = '{{}}'))").format(column)
    limit = 0
    for leaf in plan.leaves:
        found = sql.SQL("select max(q.location)::text, count(*) from ({}) as q").format(
            sql.SQL("select t.ctid as location from {} as t where t.ctid > {} and {} limit {}").format(
                leaf.relation, batches.tid(START), counted, rows
            )
        )
        location, count = batches.scan(session, found)[0]
        rows -= count
        if not rows:
            passed = sql.SQL("select count(*) from {} as t where t.ctid <= {} and {}").format(
                leaf.relation, batches.tid(location), batches.pending_sql(plan.target, "t")
            )
            return limit + int(batches.scan(session, passed)[0][0])
        limit += batches.count_pending(session, plan.target, leaf)
    return limit


def _look(session: Session, plan: Plan, walk: Walk, span: Span, found: Preview) -> None:
    """Make the values of a range; one that fails is halved until the row is found that makes it fail."""
    if span.rows == 1:
        span = replace(span, after=batches.before(span.upto))
    try:
        values = _values(session, plan, span)
    except psycopg.Error as error:
        if faults.classify(error) is not Fault.DATA:
            raise
        if span.rows == 1:
            found.failures.append((_key(session, plan, span.leaf, span.upto), faults.describe(error, plan.vocabulary)))
            return
        half = walk.next(span.after, span.rows // 2, span.upto)
        if half is None:
            return
        _look(session, plan, walk, half, found)
        if half.upto != span.upto:
            _look(session, plan, walk, replace(span, after=half.upto, rows=max(1, span.rows - half.rows)), found)
        return
    found.values += values
    found.without += max(0, span.rows - values)


def _values(session: Session, plan: Plan, span: Span) -> int:
    target = plan.target
    of_leaf: sql.Composable = sql.SQL("")
    if not span.leaf.alone:
        of_leaf = sql.SQL("and m.{} = {}").format(sql.Identifier(target.table_oid), batches.oid(span.leaf.oid))
    query = sql.SQL(
        "select count(*), sum(pg_column_size(m.{value})) from {model} as m "
        "where m.{location} > $1::tid and m.{location} <= $2::tid {of_leaf} and m.{pending} and m.{value} is not null"
    ).format(
        value=sql.Identifier(target.target_column),
        model=batches.model_name(target),
        location=sql.Identifier(target.location),
        of_leaf=of_leaf,
        pending=sql.Identifier(target.pending_flag),
    )
    with transaction(session):
        row = RawCursor(session).execute(query, [span.after, span.upto], prepare=False).fetchone()
    return int(row[0]) if row else 0


def _key(session: Session, plan: Plan, leaf: Leaf, location: str) -> str:
    row = session.execute(
        sql.SQL("select t.{}::text from {} as t where t.ctid = {}").format(
            sql.Identifier(plan.target.key), leaf.relation, batches.tid(location)
        )
    ).fetchone()
    return str(row[0]) if row else ""
