"""Where a batch begins and ends: physical ranges of a table, leaf by leaf, with exact row counts.

A range is a pair of row locations (`ctid`), the first excluded, the second included, as text such as `(12,7)`.
Rows are found in physical order, so a walk over the whole table reads every page once, however many batches it takes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from psycopg import RawCursor, sql

from scripts.connection import Session
from scripts.errors import UserError
from scripts.project import Target

START = "(0,0)"
END = "(4294967294,65535)"

# How much of a table one statement looks through, so that none runs into statement_timeout on a large table
# that is nearly done. Of a model, every row of the window is evaluated, so it gets a smaller one.
TABLE_WINDOW_PAGES = 65_536
MODEL_WINDOW_PAGES = 2_048

# Parts of a leaf that several workers take are no smaller, since a part's last batch is seldom a full one.
PART_PAGES = 128

# The planner must read the range and nothing else: it otherwise takes a parallel or an index scan where few rows
# are pending, whose rows come in another order, and the largest location would jump over rows.
SCAN_SETTINGS = {
    "max_parallel_workers_per_gather": "0",
    "enable_seqscan": "off",
    "enable_indexscan": "off",
    "enable_indexonlyscan": "off",
    "enable_bitmapscan": "off",
    "enable_tidscan": "on",
}

# A model may look things up in other tables, and its locations are sorted.
MODEL_SETTINGS = {"max_parallel_workers_per_gather": "0", "enable_seqscan": "off", "enable_tidscan": "on"}


@dataclass(frozen=True)
class Leaf:
    """A table that holds rows itself: the source table, or one partition of it."""

    oid: int
    schema: str
    name: str
    alone: bool = True  # the source table has no other leaf

    @property
    def relation(self) -> sql.Composed:
        """The quoted name, with `only` where other tables hold rows of the source table too."""
        name = sql.Identifier(self.schema, self.name)
        return sql.SQL("{}" if self.alone else "only {}").format(name)


@dataclass(frozen=True)
class Span:
    """A range of one leaf that holds `rows` pending rows: locations in (after, upto]."""

    leaf: Leaf
    after: str
    upto: str
    rows: int


@dataclass(frozen=True)
class Part:
    """A range of one leaf for one worker: locations in (after, upto]. Ends between pages."""

    leaf: Leaf
    after: str = START
    upto: str = END


def parts(session: Session, leaf: Leaf, workers: int, *, to_the_end: bool) -> list[Part]:
    """A leaf cut into parts for several workers: large ones first, then smaller, so that all end at the same time.

    Without `to_the_end` what is appended to the leaf meanwhile (their own new versions of rows) belongs to none.
    """
    pages = page_count(session, leaf) if workers > 1 else None
    if pages is None:
        return [Part(leaf)]
    found: list[Part] = []
    first = 0
    while first < pages:
        last = min(pages, first + max(PART_PAGES, (pages - first) // (4 * workers)))
        # Line numbers begin at 1: no row lies at the place where one part ends and the next begins.
        found.append(Part(leaf, f"({first},0)", f"({last},0)"))
        first = last
    if to_the_end:
        found = [*found[:-1], Part(leaf, found[-1].after)] if found else [Part(leaf)]
    return found


def leaves(session: Session, schema: str, table: str) -> list[Leaf]:
    """The tables that hold the rows of a table: itself, or its partitions (and children by inheritance).

    Raises UserError when there is no such table, or when a partition is a foreign table, which has no locations.
    """
    rows = session.execute(
        """
        with recursive tree as (
            select c.oid, c.relkind, c.relnamespace, c.relname
            from pg_catalog.pg_class as c
            where c.oid = to_regclass(%s)

            union

            select c.oid, c.relkind, c.relnamespace, c.relname
            from tree
            inner join pg_catalog.pg_inherits as i on i.inhparent = tree.oid
            inner join pg_catalog.pg_class as c on c.oid = i.inhrelid
        )

        select t.oid::bigint, n.nspname::text, t.relname::text, t.relkind::text
        from tree as t
        inner join pg_catalog.pg_namespace as n on n.oid = t.relnamespace
        where t.relkind <> 'p'
        order by t.oid
        """,
        [sql.Identifier(schema, table).as_string(session)],
    ).fetchall()
    found = []
    for oid, namespace, name, kind in rows:
        if kind != "r":
            raise UserError(
                f"{namespace}.{name} holds rows of {schema}.{table} but is no ordinary table (kind {kind!r}), so its "
                "rows have no physical place to write to. Detach it, or point source_schema at the table itself."
            )
        found.append(Leaf(oid, namespace, name, alone=len(rows) == 1))
    return found


def page_count(session: Session, leaf: Leaf) -> int | None:
    """How many pages a leaf has, or None when the server cannot say.

    The one place that asks for the size of a table. A distributed table has size 0 on its coordinator, so 0 pages
    are believed only of a table without rows; None means: walk without an upper end.
    """
    pages = _value(
        session,
        sql.SQL("select pg_catalog.pg_relation_size({}::oid) / current_setting('block_size')::bigint").format(leaf.oid),
    )
    if pages:
        return int(pages)
    occupied = _value(session, sql.SQL("select exists (select 1 from {})").format(leaf.relation))
    return None if occupied else 0


def windows(pages: int | None, size: int, after: str = START) -> Iterator[tuple[str, str]]:
    """Ranges of at most `size` pages that cover everything after a location; the last has no upper end."""
    if pages is None:
        yield after, END
        return
    first = int(after[1:].split(",", 1)[0])
    while True:
        last = first + size
        if last >= pages:
            yield after, END
            return
        upto = f"({last},0)"
        yield after, upto
        after, first = upto, last


def pending_sql(target: Target, alias: str) -> sql.Composable:
    """The target's own test for a pending row, on the table known as `alias`."""
    column = sql.Identifier(alias, target.target_column).as_string()
    return _fragment(target.pending_sql.format(column=column))


def scan(session: Session, query: sql.Composed, settings: Mapping[str, str] = SCAN_SETTINGS) -> list[tuple[Any, ...]]:
    """Run one query with settings that hold for it alone, in one round trip."""
    settings = {**(session.settings if session.transaction_pooling else {}), **settings}
    parts: list[sql.Composable] = [sql.SQL("begin")]
    parts += [sql.SQL("set local {} = {}").format(sql.Identifier(name), value) for name, value in settings.items()]
    parts += [query, sql.SQL("commit")]
    try:
        cursor = session.execute(sql.SQL("; ").join(parts))
        for _ in range(len(parts) - 2):
            cursor.nextset()
        return cursor.fetchall()
    except BaseException:
        if not session.closed:
            session.rollback()
        raise


def horizon(session: Session) -> int:
    """The oldest transaction that is open now: what an older one wrote, everybody sees already."""
    return int(_value(session, sql.SQL("select pg_snapshot_xmin(pg_current_snapshot())::text")))


def next_transaction(session: Session) -> int:
    """The first transaction that has not begun yet."""
    return int(_value(session, sql.SQL("select pg_snapshot_xmax(pg_current_snapshot())::text")))


def settled_sql(writer: str, horizon: int) -> sql.SQL:
    """Whether a row's version was written by a transaction before a horizon; `writer` is its xmin as a bigint.

    A row holds the low 32 bits of its writer's id: the writer is the last transaction that has them. (The bits of a
    row that was frozen long ago may be those of a recent transaction by accident: it then counts as younger than it
    is, never the other way round.) Ids below 3 are no transactions.
    """
    newest = "(select pg_snapshot_xmax(pg_current_snapshot())::text::bigint)"  # once, not for each row
    return _fragment(f"({writer} < 3 or {newest} - (({newest} - {writer}) & 4294967295) < {horizon})")


def comparing(target: Target, horizon: int) -> Target:
    """A refresh's target for its first pass, which must not meet again the row versions that it writes itself."""
    settled = settled_sql("xmin::text::bigint", horizon).as_string()
    return replace(target, pending_sql=f"{target.pending_sql} and {settled}")


class Walk(Protocol):
    """Finds the next pending rows of one leaf. `session` may be replaced when its connection was lost."""

    session: Session

    def next(self, after: str, rows: int, upto: str = END) -> Span | None:
        """The range that starts after a location and holds the next `rows` pending rows, or the last ones.

        None when no pending row is left before `upto`.
        """

    def keys(self, span: Span) -> list[str]:
        """The keys, as text, of the pending rows in a range."""


class TableWalk:
    """Bounds from the table itself: exact, in physical order, at almost no cost.

    They are looked up for as many batches as `ahead` says at once. With `most_bytes` a range ends before the stored
    values of the `payload` columns exceed it (but holds one row at least), and is looked up alone; of a value that is
    stored out of line only the pointer is read.
    """

    def __init__(
        self,
        session: Session,
        target: Target,
        leaf: Leaf,
        skip: Sequence[str] = (),
        payload: Sequence[str] = (),
        most_bytes: int | None = None,
        ahead: int = 1,
    ) -> None:
        self.session = session
        self._leaf = leaf
        self._key = target.key
        self._payload = payload
        self._most_bytes = most_bytes if payload else None
        self._ahead = ahead
        self._pages = page_count(session, leaf)
        self._pending = pending_sql(target, "t")
        self._skipped = skipped_sql(sql.Identifier("t", target.key), skip)
        self._found: deque[Span] = deque()
        self._expected: tuple[str, int, str] | None = None  # the question that these answer

    def query(self, after: str, upto: str, rows: int, found: int, most: int) -> sql.Composed:
        """The query for one window: of each batch of `rows` pending rows the last one's location, and how many it has.

        The first batch has `found` rows from the windows before; at most `most` rows are looked up.
        """
        return sql.SQL(
            "select max(q.location)::text, count(*) from ("
            "select r.location, (row_number() over () - 1 + {found}) / {rows} as batch from ({pending}) as r"
            ") as q group by q.batch order by q.batch"
        ).format(found=found, rows=rows, pending=self._pending_rows(sql.SQL("t.ctid as location"), after, upto, most))

    def weighed(self, after: str, upto: str, rows: int, most_bytes: int, *, first: bool) -> sql.Composed:
        """The same query, with a limit of bytes; it says besides how many bytes it found, and whether all rows fit."""
        sizes = [
            sql.SQL("coalesce(pg_catalog.pg_column_size({}), 0)").format(sql.Identifier("t", name))
            for name in self._payload
        ]
        return sql.SQL(
            "select (max(q.location) filter (where q.fits))::text, count(*) filter (where q.fits), "
            "coalesce(max(q.bytes) filter (where q.fits), 0)::bigint, coalesce(bool_and(q.fits), true) from ("
            "select s.location, s.bytes, s.bytes <= {most} or {first} and s.place = 1 as fits from ("
            "select r.location, sum(r.size) over (rows unbounded preceding) as bytes, row_number() over () as place "
            "from ({pending}) as r) as s) as q"
        ).format(
            most=most_bytes,
            first=first,
            pending=self._pending_rows(
                sql.SQL("t.ctid as location, {} as size").format(sql.SQL(" + ").join(sizes)), after, upto, rows
            ),
        )

    def _pending_rows(self, columns: sql.Composable, after: str, upto: str, most: int) -> sql.Composed:
        """A select over the pending rows of a range that are not to be passed over, `most` of them, in their order."""
        return sql.SQL("select {} from {} as t where t.ctid > {} and t.ctid <= {} and {} and {} limit {}").format(
            columns, self._leaf.relation, tid(after), tid(upto), self._pending, self._skipped, most
        )

    def next(self, after: str, rows: int, upto: str = END) -> Span | None:
        """See Walk."""
        if self._expected != (after, rows, upto) or not self._found:
            self._found = deque(self._look(after, rows, upto))
        span = self._found.popleft() if self._found else None
        self._expected = (span.upto, rows, upto) if span else None
        return span

    def _look(self, after: str, rows: int, upto: str) -> list[Span]:
        """The next ranges; those behind the first come from its last window, but for the end of one begun there."""
        spans: list[Span] = []
        start, last, found, left = after, None, 0, self._most_bytes
        for low, high in windows(self._pages, TABLE_WINDOW_PAGES, after):
            if _beyond(low, upto):
                break
            high = high if _beyond(upto, high) else upto
            fits = True
            if left is None:
                most = rows * (1 if spans else self._ahead) - found
                bounds = scan(self.session, self.query(low, high, rows, found, most))
            else:
                query = self.weighed(low, high, rows - found, left, first=not found)
                location, count, size, fits = scan(self.session, query)[0]
                bounds, left = [(location, count)] if count else [], left - size
            for location, count in bounds:
                last, found = location, found + count
                if found == rows or not fits:
                    spans.append(Span(self._leaf, start, location, found))
                    start, last, found = location, None, 0
            if (spans and not found) or not fits:
                break
        if last is not None:
            spans.append(Span(self._leaf, start, last, found))
        return spans

    def keys(self, span: Span) -> list[str]:
        """See Walk."""
        key = sql.SQL("{}::text").format(sql.Identifier("t", self._key))
        query = self._pending_rows(key, span.after, span.upto, span.rows)
        return [row[0] for row in scan(self.session, query)]


class ModelWalk:
    """Bounds from the model, for targets some of whose pending rows are left to a person.

    A window is evaluated once and its locations are kept until they are used up.
    """

    def __init__(self, session: Session, target: Target, leaf: Leaf, skip: Sequence[str] = ()) -> None:
        self.session = session
        self._target = target
        self._leaf = leaf
        self._pages = page_count(session, leaf)
        self._skipped = skipped_sql(sql.Identifier("m", target.model_key), skip)
        self._windows: deque[tuple[str, str]] | None = None
        self._found: deque[str] = deque()

    def query(self, after: str, upto: str) -> sql.Composed:
        """The query for one window: the locations and keys of its pending rows in order."""
        target = self._target
        return sql.SQL(
            "select m.{location}::text, m.{key}::text from {model} as m where m.{location} > {after} "
            "and m.{location} <= {upto} and m.{oid} = {leaf} and m.{pending} and {skipped} order by m.{location}"
        ).format(
            key=sql.Identifier(target.model_key),
            location=sql.Identifier(target.location),
            model=model_name(target),
            after=tid(after),
            upto=tid(upto),
            oid=sql.Identifier(target.table_oid),
            leaf=oid(self._leaf.oid),
            pending=sql.Identifier(target.pending_flag),
            skipped=self._skipped,
        )

    def next(self, after: str, rows: int, upto: str = END) -> Span | None:
        """See Walk."""
        if upto != END:
            # A part of an earlier range, to be split: asked for directly, the walk's own place stays.
            inside = [row[0] for row in scan(self.session, self.query(after, upto), MODEL_SETTINGS)]
            return Span(self._leaf, after, inside[:rows][-1], min(rows, len(inside))) if inside else None
        if self._windows is None:
            self._windows = deque(windows(self._pages, MODEL_WINDOW_PAGES, after))
        while len(self._found) < rows and self._windows:
            self._found.extend(row[0] for row in scan(self.session, self.query(*self._windows[0]), MODEL_SETTINGS))
            # Only now, so that a query that failed can be tried again.
            self._windows.popleft()
        taken = [self._found.popleft() for _ in range(min(rows, len(self._found)))]
        return Span(self._leaf, after, taken[-1], len(taken)) if taken else None

    def keys(self, span: Span) -> list[str]:
        """See Walk."""
        return [row[1] for row in scan(self.session, self.query(span.after, span.upto), MODEL_SETTINGS)]


def walk(
    session: Session,
    target: Target,
    leaf: Leaf,
    skip: Sequence[str] = (),
    payload: Sequence[str] = (),
    most_bytes: int | None = None,
    ahead: int = 1,
) -> Walk:
    """The walk over a leaf that suits the target; rows whose keys (as text) are in `skip` are passed over.

    A limit of bytes holds where the bounds come from the table itself; so does `ahead`, see TableWalk.
    """
    if target.complete:
        return TableWalk(session, target, leaf, skip, payload, most_bytes, ahead)
    return ModelWalk(session, target, leaf, skip)


def count_pending(session: Session, target: Target, leaf: Leaf) -> int:
    """How many rows of a leaf are pending, by the table alone (rows that the model leaves out included)."""
    query = sql.SQL("select count(*) from {} as t where t.ctid > {} and t.ctid <= {} and {}")
    pending = pending_sql(target, "t")
    return sum(
        int(scan(session, query.format(leaf.relation, tid(low), tid(high), pending))[0][0])
        for low, high in windows(page_count(session, leaf), TABLE_WINDOW_PAGES)
    )


def skipped_sql(key: sql.Identifier, skip: Sequence[str]) -> sql.Composable:
    """A test that passes over the given keys; keys are compared as text, whatever their type."""
    if not skip:
        return sql.SQL("true")
    return sql.SQL("{}::text <> all({}::text[])").format(key, list(skip))


def table_name(target: Target) -> sql.Identifier:
    """The quoted name of the source table."""
    return sql.Identifier(target.schema, target.table)


def model_name(target: Target) -> sql.Identifier:
    """The quoted name of the model's view."""
    return sql.Identifier(target.model_schema, target.model)


def tid(location: str) -> sql.Composed:
    """A location as an SQL literal."""
    return sql.SQL("{}::tid").format(location)


def oid(number: int) -> sql.Composed:
    """A table's oid as an SQL literal."""
    return sql.SQL("{}::oid").format(number)


def place(location: str) -> tuple[int, int]:
    """Page and line of a location, which compare as locations do."""
    page, line = location[1:-1].split(",")
    return int(page), int(line)


def within(where: tuple[int, int], span: Span) -> bool:
    """Whether a place lies in a range."""
    return place(span.after) < where <= place(span.upto)


def before(location: str) -> str:
    """The location just before one, so that a range can hold it alone."""
    page, line = place(location)
    return f"({page},{line - 1})"


def _beyond(location: str, other: str) -> bool:
    return place(location) >= place(other)


def _value(session: Session, query: sql.SQL | sql.Composed) -> Any:
    row = RawCursor(session).execute(query).fetchone()
    return row[0] if row else None


def _fragment(text: str) -> sql.SQL:
    """SQL from the project's own manifest."""
    return sql.SQL(text)
