"""What a run would do: counts, samples, problems and a time estimate. Reads only."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import reduce
from operator import xor
from statistics import median
from typing import Any

import psycopg
from psycopg import RawCursor, sql

from scripts import batches, faults, masking
from scripts.batch_statement import Plan
from scripts.batches import MODEL_WINDOW_PAGES, START, Leaf, Span
from scripts.connection import Session, transaction
from scripts.errors import UserError
from scripts.faults import Fault
from scripts.preflight import Finding, Preflight, disk_finding, size

#: Rows whose values are made to measure the models: so many places in the table, so many rows at each.
SAMPLE_PLACES = 12
SAMPLE_ROWS = 100
#: A sample that is nested deeper is not shown.
_SAMPLE_LEVELS = 50
#: Beyond this many rows, `--apply` shows how they are spread by a sample; a dry run counts each of them.
COUNTED_ROWS = 20_000
#: A run takes this much longer than making the values alone (the update, log, undo and fingerprints).
WRITE_FACTOR = 1.75


@dataclass(frozen=True)
class Sample:
    """A row before and after. Values are as they are; `Survey.as_json` masks them."""

    key: str
    group: str
    before: Any
    after: Any


@dataclass
class Group:
    """Rows of one group: how many, and a digest that no order changes.

    The digest is of the rows' keys and values, or of keys and group where values were not made. `settled` is of those
    rows alone whose version is older than the horizon that was asked for, so that later rows can be told from them.
    """

    rows: int = 0
    digest: int = 0
    settled_rows: int = 0
    settled_digest: int = 0

    def add(self, rows: int, digest: int, *, settled: bool) -> None:
        """Take more rows in."""
        self.rows += rows
        self.digest ^= digest
        if settled:
            self.settled_rows += rows
            self.settled_digest ^= digest


@dataclass(frozen=True)
class LeftAlone:
    """A row that a refresh passes over: its stored value is not what the tool wrote, or of a newer contract version."""

    key: str
    reason: str


@dataclass(frozen=True)
class Survey:
    """What a run would do. For a refresh `pending` are the rows to compare, `writable` those to rewrite."""

    pending: int  # by the table
    writable: int  # pending rows that the model has a value for (an estimate, where not every row was looked at)
    groups: dict[str, int]  # writable rows by group; of the sample when not `counted`
    counted: bool  # whether groups and digest cover every row
    sampled: int
    samples: list[Sample]
    bytes_per_row: float
    seconds: float | None  # estimate of a whole run
    digest: str
    findings: list[Finding] = field(default_factory=list)
    problems: list[Finding] = field(default_factory=list)
    excepted: dict[str, str] = field(default_factory=dict)
    seen: dict[str, Group] = field(default_factory=dict)  # the groups with their digests, when `counted`
    left_alone: list[LeftAlone] | None = None  # of a refresh

    def as_json(self, *, show_personal_data: bool = False) -> dict[str, Any]:
        """For --json and --report."""
        show = _shown if show_personal_data else masking.masked
        return {
            "pending": self.pending,
            "writable": self.writable,
            "groups": self.groups,
            "counted": self.counted,
            "sampled_rows": self.sampled,
            "samples": [
                {"id": one.key, "group": one.group, "before": show(one.before), "after": show(one.after)}
                for one in self.samples
            ],
            "bytes_per_row": round(self.bytes_per_row),
            "estimated_seconds": None if self.seconds is None else round(self.seconds, 1),
            "digest": self.digest,
            "excepted_columns": self.excepted,
            **({} if self.left_alone is None else {"left_alone": [asdict(one) for one in self.left_alone]}),
            "findings": [finding.as_json() for finding in self.findings],
            "problems": [finding.as_json() for finding in self.problems],
        }


def survey(
    session: Session,
    found: Preflight,
    *,
    count_all: bool,
    values: bool = False,
    horizon: int | None = None,
    limit: int | None = None,
    watch: Callable[[str], None] | None = None,
) -> Survey:
    """Look at the pending rows of a target.

    With `count_all` every pending row is looked at (provider and key, and with `values` the value, which a refresh
    always needs); otherwise only when they are few. Values are made for a sample, which is spread over the table.
    `horizon` (see plans.py) tells settled rows from younger ones. `watch` is told what takes long.
    """
    plan = found.plan
    target = plan.target
    problems: list[Finding] = []
    pending = sum(batches.count_pending(session, target, leaf) for leaf in plan.leaves)
    spans = _sample_spans(session, plan)
    measured = _measure(session, plan, spans, problems)
    counted = count_all or pending <= COUNTED_ROWS or not target.complete
    seen: dict[str, Group] = {}
    if counted:
        values = values or target.refreshing
        seen = _count(session, plan, values, horizon, watch if pending > COUNTED_ROWS else None)
        groups = {name: group.rows for name, group in seen.items()}
        digest = reduce(xor, (group.digest for group in seen.values()), 0)
        writable = sum(groups.values())
    else:
        groups, digest, writable = dict(measured.groups), measured.digest, pending
        if target.refreshing:
            older = sum(batches.count_pending(session, target.swept(), leaf) for leaf in plan.leaves)
            writable = older or pending
    rows = writable if limit is None else min(limit, writable)
    seconds = None
    if measured.looked:
        seconds = (pending if target.refreshing else rows) * measured.seconds_per_row * WRITE_FACTOR
    if pending > writable and not target.refreshing:
        left = pending - writable
        problems.append(
            Finding(
                "warning" if target.complete else "note",
                "left",
                f"{left:,} pending {'row is' if left == 1 else 'rows are'} not in {target.model}: "
                + ("the model has no value for them." if target.complete else "a person has to settle them first."),
            )
        )
    room = disk_finding(session, target, rows, measured.bytes_per_row)
    return Survey(
        pending=pending,
        writable=writable,
        groups=dict(sorted(groups.items(), key=lambda item: (-item[1], item[0]))),
        counted=counted,
        sampled=measured.rows,
        samples=_samples(session, plan, spans),
        bytes_per_row=measured.bytes_per_row,
        seconds=seconds,
        digest=_digest(plan, groups if counted else {}, digest),
        findings=[*found.findings, *([room] if room else [])],
        problems=problems,
        excepted=found.excepted,
        seen=seen,
        left_alone=_left_alone(session, plan) if target.refreshing else None,
    )


@dataclass
class _Measured:
    looked: int = 0
    rows: int = 0
    bytes_per_row: float = 0.0
    seconds_per_row: float = 0.0
    digest: int = 0
    groups: Counter[str] = field(default_factory=Counter)


def _sample_spans(session: Session, plan: Plan) -> list[Span]:
    """Ranges with pending rows, spread evenly over the leaves."""
    target = plan.target
    if not target.complete:
        found = (batches.walk(session, target, leaf).next(START, SAMPLE_ROWS) for leaf in plan.leaves)
        return [span for span in found if span is not None][:SAMPLE_PLACES]
    sizes = [(leaf, batches.page_count(session, leaf) or 0) for leaf in plan.leaves]
    pages = sum(count for _, count in sizes)
    spans: list[Span] = []
    for leaf, count in sizes:
        places = max(1, round(SAMPLE_PLACES * count / pages)) if pages else 1
        walk = batches.walk(session, target, leaf)
        reached = (-1, 0)
        for place in range(places):
            after = (count * place // places, 0)
            if after < reached:
                continue
            span = walk.next(f"({after[0]},{after[1]})", SAMPLE_ROWS)
            if span is None:
                break
            spans.append(span)
            reached = batches.place(span.upto)
    return spans[: 2 * SAMPLE_PLACES]


def _measure(session: Session, plan: Plan, spans: Sequence[Span], problems: list[Finding]) -> _Measured:
    """Make the values of the sample's rows and throw them away: how long it takes, how large they are."""
    found = _Measured()
    times: list[float] = []
    bytes_seen = 0
    for span in spans:
        query = sql.SQL(
            "select count(*), coalesce(sum(pg_column_size(q.value)), 0)::bigint, "
            "coalesce(bit_xor(hashtextextended(q.key::text, jsonb_hash_extended(q.value, 0))), 0), "
            "array_agg(coalesce(q.member, '')) "
            "from (select m.{value} as value, m.{key} as key, m.{member}::text as member from {model} as m "
            "where m.{location} > $1::tid and m.{location} <= $2::tid {of_leaf} and m.{pending} limit $3::bigint) as q"
        ).format(**_names(plan, span.leaf))
        began = time.perf_counter()
        try:
            row = _run(session, query, [span.after, span.upto, span.rows])
        except psycopg.Error as error:
            if faults.classify(error) is not Fault.DATA:
                raise
            said = faults.describe(error, plan.vocabulary)
            place = f"between {span.after} and {span.upto} of {span.leaf.schema}.{span.leaf.name}"
            problems.append(
                Finding("warning", "model", f"A row {place} has no value: {said}. It would be counted as failed.")
            )
            continue
        elapsed = time.perf_counter() - began
        count, size_of_values, mixed, members = row
        looked = span.rows if plan.target.refreshing else count
        if not looked:
            continue
        found.looked += looked
        times.append(elapsed / looked)
        if count:
            found.rows += count
            bytes_seen += size_of_values
            found.digest ^= mixed
            found.groups.update(members)
    if found.looked:
        # The first one also planned the query, and others ran into a busy moment.
        found.seconds_per_row = median(times[1:] or times)
        found.bytes_per_row = bytes_seen / max(found.rows, 1)
    return found


def _count(
    session: Session, plan: Plan, values: bool, horizon: int | None, watch: Callable[[str], None] | None
) -> dict[str, Group]:
    """Every pending row of the model by group, with digests; see Group.

    Raises UserError when the value of a row is needed and cannot be made.
    """
    groups: dict[str, Group] = {}
    told = time.monotonic()
    # Of the text: to the hash of jsonb {"a": {}, "b": 1} and {"a": {"b": 1}} are the same, as are 1.0 and 1.00.
    hashed = (
        "hashtextextended(coalesce(m.{value}::text, ''), 0)"
        if values
        else "hashtextextended(coalesce(m.{member}::text, ''), 0)"
    )
    for leaf in plan.leaves:
        pages = batches.page_count(session, leaf)
        names = _names(plan, leaf)
        query = sql.SQL(
            "select coalesce(m.{member}::text, ''), {settled} as settled, count(*), "
            "bit_xor(hashtextextended(m.{key}::text, {hashed})) "
            "from {model} as m {version} "
            "where m.{location} > $1::tid and m.{location} <= $2::tid {of_leaf} and m.{pending} group by 1, 2"
        ).format(
            hashed=sql.SQL(hashed).format(**names),
            settled=sql.SQL("false") if horizon is None else batches.settled_sql("t.writer", horizon),
            # By place, as in a batch: the model need not pass on which transaction wrote the row.
            version=sql.SQL("" if horizon is None else _VERSION).format(table=leaf.relation, **names),
            **names,
        )
        for low, high in batches.windows(pages, MODEL_WINDOW_PAGES):
            try:
                found = _run_all(session, query, [low, high])
            except psycopg.Error as error:
                if faults.classify(error) is not Fault.DATA:
                    raise
                said = faults.describe(error, plan.vocabulary)
                raise UserError(
                    f"A row between {low} and {high} of {leaf.schema}.{leaf.name} has no value: {said}. "
                    "Mend the row or the mapping."
                ) from None
            for member, settled, count, mixed in found:
                groups.setdefault(member, Group()).add(count, mixed, settled=settled)
            if watch and time.monotonic() - told > 5:
                watch(f"Looked at {sum(group.rows for group in groups.values()):,} pending rows")
                told = time.monotonic()
    return groups


_VERSION = (
    "cross join lateral (select t.xmin::text::bigint as writer from {table} as t where t.ctid = m.{location} offset 0) "
    "as t"
)


def _left_alone(session: Session, plan: Plan) -> list[LeftAlone]:
    """The rows whose stored value is not the tool's to change, whatever the model makes today."""
    refresh = plan.target.refresh
    assert refresh is not None
    found: list[LeftAlone] = []
    for leaf in plan.leaves:
        query = sql.SQL(
            "select m.{key}::text, m.{reason} from {model} as m "
            "where m.{location} > $1::tid and m.{location} <= $2::tid {of_leaf} and m.{left_alone}"
        ).format(
            reason=sql.Identifier(refresh.reason), left_alone=sql.Identifier(refresh.left_alone), **_names(plan, leaf)
        )
        for low, high in batches.windows(batches.page_count(session, leaf), MODEL_WINDOW_PAGES):
            found += [LeftAlone(*row) for row in _run_all(session, query, [low, high])]
    return found


def _samples(session: Session, plan: Plan, spans: Sequence[Span], wanted: int = 3) -> list[Sample]:
    """Rows before and after, of different groups where there are some."""
    first: dict[str, Sample] = {}
    others: list[Sample] = []
    for span in spans:
        query = sql.SQL(
            "select q.key::text, coalesce(q.member, ''), q.previous::text, q.value::text "
            "from (select m.{value} as value, m.{key} as key, m.{member}::text as member, m.{previous} as previous "
            "from {model} as m "
            "where m.{location} > $1::tid and m.{location} <= $2::tid {of_leaf} and m.{pending} limit 10) as q "
            "where pg_column_size(q.value) < 100000"
        ).format(**_names(plan, span.leaf))
        try:
            rows = _run_all(session, query, [span.after, span.upto])
        except psycopg.Error as error:
            if faults.classify(error) is not Fault.DATA:
                raise
            continue
        for key, group, *texts in rows:
            values = [readable(text) for text in texts]
            if UNREADABLE in values:
                continue
            sample = Sample(key, group, *values)
            if sample.group in first:
                others.append(sample)
            else:
                first[sample.group] = sample
        if len(first) >= wanted:
            break
    return [*first.values(), *others][:wanted]


#: What `readable` gives for a value that nobody could read.
UNREADABLE = object()


def readable(text: str | None) -> Any:
    """A JSON value for people; UNREADABLE where it is nested deeper, or a number longer, than Python follows."""

    def shallow(value: Any, levels: int) -> bool:
        children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return levels > 0 and all(shallow(child, levels - 1) for child in children)

    try:
        value = None if text is None else json.loads(text)
    except (RecursionError, ValueError):
        return UNREADABLE
    return value if shallow(value, _SAMPLE_LEVELS) else UNREADABLE


def _names(plan: Plan, leaf: Leaf) -> dict[str, sql.Composable]:
    target = plan.target
    of_leaf: sql.Composable = sql.SQL("")
    if not leaf.alone:
        of_leaf = sql.SQL("and m.{} = {}").format(sql.Identifier(target.table_oid), batches.oid(leaf.oid))
    return {
        "model": batches.model_name(target),
        "value": sql.Identifier(target.target_column),
        "key": sql.Identifier(target.model_key),
        "member": sql.Identifier(target.group_by),
        "previous": sql.Identifier(target.previous),
        "location": sql.Identifier(target.location),
        "pending": sql.Identifier(target.pending_flag),
        "of_leaf": of_leaf,
    }


def _run_all(session: Session, query: sql.Composed, parameters: list[Any]) -> list[tuple[Any, ...]]:
    pooled = session.transaction_pooling
    try:
        with transaction(session):
            return RawCursor(session).execute(query, parameters, prepare=not pooled).fetchall()
    except BaseException:
        if not session.closed:
            session.rollback()
        raise


def _run(session: Session, query: sql.Composed, parameters: list[Any]) -> tuple[Any, ...]:
    return _run_all(session, query, parameters)[0]


def _digest(plan: Plan, groups: dict[str, int], mixed: int) -> str:
    """A short name for what was seen: another one means that rows, providers or the contract have changed."""
    target = plan.target
    seen = [target.model, target.contract_version, sorted(groups.items()), mixed]
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:16]


def lines(found: Survey, plan: Plan, *, show_personal_data: bool = False) -> list[str]:
    """The survey as text for a person."""
    target = plan.target
    text = [
        f"{target.schema}.{target.table}.{target.target_column} from {target.model_schema}.{target.model}",
        f"  {'to compare' if target.refreshing else 'pending':<18} {found.pending:,}",
    ]
    if found.counted or not target.refreshing:
        text.append(f"  would be written   {found.writable:,}")
    if found.groups:
        total = sum(found.groups.values())
        text.append(f"  by {target.group_by}" + ("" if found.counted else f" (a sample of {found.sampled:,} rows)"))
        width = max(len(name) for name in found.groups)
        for name, count in found.groups.items():
            share = f"{count:>12,}" if found.counted else f"{100 * count / total:>11.1f}%"
            text.append(f"    {name or '(none)':<{max(width, 6)}} {share}")
    if found.sampled:
        text.append(f"  size of a value    {size(found.bytes_per_row)} on average")
    if found.seconds is not None:
        text.append(f"  time               about {duration(found.seconds)} (measured on {found.sampled:,} rows)")
    if found.excepted:
        kept = ", ".join(f"{column} ({why})" for column, why in found.excepted.items())
        text.append(f"  may change too     {kept}")
    text.append(f"  digest             {found.digest}")
    for sample in found.samples:
        show = _shown if show_personal_data else masking.masked
        text.append(f"  sample {sample.key} ({sample.group})")
        text.append(f"    before {json.dumps(masking.shortened(show(sample.before)), ensure_ascii=False)}")
        after = json.dumps(masking.shortened(show(sample.after)), ensure_ascii=False, indent=2)
        text += [f"    {'after  ' if index == 0 else '       '}{line}" for index, line in enumerate(after.splitlines())]
    text += [f"  {finding.level}: {finding.message}" for finding in [*found.problems, *found.findings]]
    if found.left_alone is not None:
        text += _left_alone_lines(found.left_alone)
    return text


def _left_alone_lines(rows: Sequence[LeftAlone], shown: int = 5) -> list[str]:
    reasons = Counter(row.reason for row in rows)
    text = [f"  left alone         {len(rows):,}"]
    text += [f"    {reason:<24} {count:>8,}" for reason, count in reasons.most_common()]
    text += [f"    {row.key} ({row.reason})" for row in rows[:shown]]
    if len(rows) > shown:
        text.append(f"    and {len(rows) - shown:,} more: --report and --json list all of them")
    return text


def _shown(value: Any) -> Any:
    return value


def duration(seconds: float) -> str:
    """A time span for people."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
