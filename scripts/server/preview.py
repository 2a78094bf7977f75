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
