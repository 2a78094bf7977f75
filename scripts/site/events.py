"""What the pages say of events: providers, rules, coverage, templates, drift, and samples before and after."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from scripts import batches, faults, masking, project, survey
from scripts.connection import Session, transaction
from scripts.errors import UserError
from scripts.faults import Fault
from scripts.settings import Database
from scripts.site.reports import Report, read

#: Samples come from so many places of the table, a few rows at each; the first of each provider is shown.
SAMPLE_PLACES = 16
SAMPLE_PAGES = 4
SAMPLE_ROWS = 25
# Larger ones are left out: nobody reads them, and masking them takes time.
_LARGEST_SAMPLE = 20_000
#: Ids of events that are named for each reason of drift.
EXAMPLES = 5
#: Columns of the heat map; a provider is whatever an integration says that it is.
HEAT_PROVIDERS = 24

_REPORTS: dict[str, LiteralString] = {
    "providers": "select * from {} order by provider, events desc, resolved_by",
    "coverage": "select * from {} order by field, provider",
    "templates": "select * from {} order by share nulls last, provider, template_key",
}
_MODELS = {"providers": "migration_preview", "coverage": "field_coverage", "templates": "template_readiness"}


@dataclass(frozen=True)
class Cell:
    """Coverage of one field by one provider's events; `level` 0 (none) to 5 (all)."""

    share: Any
    present: int
    events: int
    required: bool
    display_words: int

    @property
    def level(self) -> int:
        """The step of the heat map's scale."""
        if not self.present:
            return 0
        return 5 if self.present == self.events else 1 + min(3, int(self.share * 4))


@dataclass(frozen=True)
class HeatMap:
    """Fields (rows) by providers (columns); a cell is None where the provider's mapping has no such field."""

    providers: list[str]
    rows: list[tuple[str, list[Cell | None]]]
    left_out: int  # providers with fewer events than those shown


@dataclass(frozen=True)
class Drift:
    """Events of one provider whose stored value differs for one reason; examples are ids."""

    provider: str
    reason: str
    events: int
    changed_keys: list[str]
    examples: list[str]


@dataclass(frozen=True)
class Sample:
    """An event before (what the integration sent) and after (its canonical event without that), masked.

    After is what is stored or, of a pending event, what the models make of it.
    """

    event_id: str
    provider: str
    pending: bool
    before: Any
    after: Any


@dataclass(frozen=True)
class EventFacts:
    """What is known of all events; each report looked at every one of them. `problem` says why nothing was read."""

    providers: Report
    coverage: Report
    templates: Report
    drift: list[Drift]
    drift_problem: str
    samples: list[Sample]
    began_at: datetime | None = None  # by the clock of the database
    seconds: float = 0.0
    problem: str = ""

    def problem_of(self, name: str) -> str:
        """Why one of the tables providers, coverage, templates and drift could not be read; empty when it was."""
        if name == "drift":
            return self.drift_problem
        report: Report = getattr(self, name)
        return report.problem


def facts(
    session: Session, database: Database, *, show_personal_data: bool, watch: Callable[[str], None]
) -> EventFacts:
    """Read all of it: on millions of events, minutes."""
    began = time.monotonic()
    row = session.execute("select clock_timestamp()").fetchone()
    reports = {}
    for name in _MODELS:
        watch(f"Reading the report about {name}")
        reports[name] = report(session, database, name, show_personal_data=show_personal_data)
    watch("Comparing every migrated event with what the models make of it now")
    drifted, problem = drift(session, database, show_personal_data=show_personal_data)
    found = samples(session, database, show_personal_data=show_personal_data)
    return EventFacts(
        reports["providers"], reports["coverage"], reports["templates"], drifted, problem, found,
        row[0] if row else None, time.monotonic() - began,
    )  # fmt: skip


def unread(why: str) -> EventFacts:
    """In the place of what was not read (yet)."""
    return EventFacts(Report((), why), Report((), why), Report((), why), [], why, [], problem=why)


def report(session: Session, database: Database, name: str, *, show_personal_data: bool) -> Report:
    """providers, coverage or templates."""
    model = sql.Identifier(database.schema, _MODELS[name])
    found = read(session, database, sql.SQL(_REPORTS[name]).format(model))
    if show_personal_data:
        return found
    rows = [{**row, "provider": row["provider"] and masking.without_contacts(row["provider"])} for row in found.rows]
    return Report(rows, found.problem)


def heat_map(coverage: Sequence[Mapping[str, Any]]) -> HeatMap:
    """The coverage as a table: providers with most events first, fields that templates show first."""
    events = {row["provider"]: row["events"] for row in coverage}
    every = sorted(events, key=lambda name: (-events[name], name))
    providers = every[:HEAT_PROVIDERS]
    cells = {
        (row["field"], row["provider"]): Cell(
            row["share"], row["present"], row["events"], row["is_required"], row["display_words"]
        )
        for row in coverage
    }
    fields = sorted({row["field"] for row in coverage}, key=lambda name: (not name.startswith("template."), name))
    rows = [(field, [cells.get((field, name)) for name in providers]) for field in fields]
    return HeatMap(providers, rows, len(every) - len(providers))


def drift(session: Session, database: Database, *, show_personal_data: bool) -> tuple[list[Drift], str]:
    """Drift by provider and reason, and why it could not be read (or nothing)."""
    found = read(
        session,
        database,
        sql.SQL(
            """
            select
                provider, reason, changed_keys, count(*) as events,
                (array_agg(event_id::text order by event_id))[1:{examples}] as examples
            from {model}
            group by provider, reason, changed_keys
            order by provider, reason, events desc
            """
        ).format(model=sql.Identifier(database.schema, "canonical_drift"), examples=EXAMPLES),
    )
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in found.rows:
        groups.setdefault((row["provider"], row["reason"]), []).append(row)
    rows = [
        Drift(
            _label(provider, show_personal_data),
            reason,
            sum(row["events"] for row in members),
            sorted({_label(key, show_personal_data) for row in members for key in row["changed_keys"] or ()}),
            [key for row in members for key in row["examples"]][:EXAMPLES],
        )
        for (provider, reason), members in groups.items()
    ]
    return rows, found.problem


def samples(session: Session, database: Database, *, show_personal_data: bool) -> list[Sample]:
    """One event of each provider that is met at some places of the table, pending ones first."""
    target = project.target(database, "events")
    found: dict[str, Sample] = {}
    try:
        leaves = batches.leaves(session, target.schema, target.table)[::-1]
        leaves = leaves[:: -(-len(leaves) // SAMPLE_PLACES) or 1]
        for leaf in leaves:
            pages = batches.page_count(session, leaf) or 0
            of_leaf: sql.Composable = sql.SQL("")
            if not leaf.alone:
                of_leaf = sql.SQL("and m.{} = {}").format(sql.Identifier(target.table_oid), batches.oid(leaf.oid))
            places = max(1, SAMPLE_PLACES // len(leaves))
            for place in sorted({pages * step // places for step in range(places)}):
                query = sql.SQL(
                    "select q.key::text, q.provider, q.pending, q.value::text, q.stored::text "
                    "from (select m.{key} as key, m.provider, m.{pending} as pending, m.{value} as value, "
                    "m.{stored} as stored from {model} as m where m.{location} >= {low} and m.{location} < {high} "
                    "{of_leaf} limit {rows}) as q "
                    "where pg_column_size(q.value) < {largest} and coalesce(pg_column_size(q.stored), 0) < {largest}"
                ).format(
                    key=sql.Identifier(target.model_key),
                    pending=sql.Identifier(target.pending_flag),
                    value=sql.Identifier(target.target_column),
                    stored=sql.Identifier(target.previous),
                    model=batches.model_name(target),
                    location=sql.Identifier(target.location),
                    low=batches.tid(f"({place},0)"),
                    high=batches.tid(f"({place + SAMPLE_PAGES},0)"),
                    of_leaf=of_leaf,
                    rows=SAMPLE_ROWS,
                    largest=_LARGEST_SAMPLE,
                )
                for key, provider, pending, *texts in _rows(session, query):
                    value, stored = (survey.readable(text) for text in texts)
                    if survey.UNREADABLE in (value, stored):
                        continue
                    if provider not in found or (pending and not found[provider].pending):
                        found[provider] = _sample(
                            key, provider, pending, value, value if pending else stored, show=show_personal_data
                        )
    except UserError:
        return []  # no such table: the page says what is not there
    except psycopg.Error as error:
        if faults.classify(error) is Fault.LOST:
            raise
    return sorted(found.values(), key=lambda one: one.provider)


def _rows(session: Session, query: sql.Composed) -> Sequence[tuple[Any, ...]]:
    try:
        with transaction(session):
            return session.execute(query).fetchall()
    except psycopg.Error as error:
        if faults.classify(error) is not Fault.DATA:
            raise
        return []  # a value that cannot be made: the write-back counts it as failed


def _sample(key: str, provider: str, pending: bool, made: Any, after: Any, *, show: bool) -> Sample:
    before = made.get("payload") if isinstance(made, dict) else None
    envelope = {name: value for name, value in after.items() if name != "payload"} if isinstance(after, dict) else after
    if not show:
        before, envelope = masking.masked(before), masking.masked(envelope)
    return Sample(key, _label(provider, show), pending, masking.shortened(before), masking.shortened(envelope))


def _label(text: Any, show: bool) -> str:
    """A provider is whatever an integration, or a row, says that it is."""
    return str(text) if show else masking.without_contacts(str(text))
