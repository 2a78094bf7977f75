"""What the pages say of events: providers, rules, coverage, templates, drift, and samples before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from scripts import batches, masking, project
from scripts.connection import Session, transaction
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
    """An event before (what the integration sent) and after (its canonical event without that), masked."""

    event_id: str
    provider: str
    pending: bool
    before: Any
    after: Any


def report(session: Session, database: Database, name: str) -> Report:
    """providers, coverage or templates."""
    model = sql.Identifier(database.schema, _MODELS[name])
    return read(session, database, sql.SQL(_REPORTS[name]).format(model))


def heat_map(coverage: Sequence[Mapping[str, Any]]) -> HeatMap:
    """The coverage as a table: providers with most events first, fields that templates show first."""
    events = {row["provider"]: row["events"] for row in coverage}
    providers = sorted(events, key=lambda name: (-events[name], name))
    cells = {
        (row["field"], row["provider"]): Cell(
            row["share"], row["present"], row["events"], row["is_required"], row["display_words"]
        )
        for row in coverage
    }
    fields = sorted({row["field"] for row in coverage}, key=lambda name: (not name.startswith("template."), name))
    return HeatMap(providers, [(field, [cells.get((field, name)) for name in providers]) for field in fields])


def drift(session: Session, database: Database) -> tuple[list[Drift], str]:
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
            provider,
            reason,
            sum(row["events"] for row in members),
            sorted({str(key) for row in members for key in row["changed_keys"] or ()}),
            [key for row in members for key in row["examples"]][:EXAMPLES],
        )
        for (provider, reason), members in groups.items()
    ]
    return rows, found.problem


def samples(session: Session, database: Database, *, show_personal_data: bool) -> list[Sample]:
    """One event of each provider that is met at some places of the table, pending ones first."""
    target = project.target(database, "events")
    found: dict[str, Sample] = {}
    for leaf in batches.leaves(session, target.schema, target.table):
        pages = batches.page_count(session, leaf) or 0
        of_leaf: sql.Composable = sql.SQL("")
        if not leaf.alone:
            of_leaf = sql.SQL("and m.{} = {}").format(sql.Identifier(target.table_oid), batches.oid(leaf.oid))
        for place in sorted({pages * step // SAMPLE_PLACES for step in range(SAMPLE_PLACES)}):
            query = sql.SQL(
                "select q.key::text, q.provider, q.pending, q.value from (select m.{key} as key, m.provider, "
                "m.{pending} as pending, m.{value} as value from {model} as m where m.{location} >= {low} "
                "and m.{location} < {high} {of_leaf} limit {rows}) as q where pg_column_size(q.value) < {largest}"
            ).format(
                key=sql.Identifier(target.model_key),
                pending=sql.Identifier(target.pending_flag),
                value=sql.Identifier(target.target_column),
                model=batches.model_name(target),
                location=sql.Identifier(target.location),
                low=batches.tid(f"({place},0)"),
                high=batches.tid(f"({place + SAMPLE_PAGES},0)"),
                of_leaf=of_leaf,
                rows=SAMPLE_ROWS,
                largest=_LARGEST_SAMPLE,
            )
            try:
                with transaction(session):
                    rows = session.execute(query).fetchall()
            except (psycopg.errors.DataError, RecursionError):
                continue  # a value that cannot be made (the write-back counts it as failed), or nested too deep to read
            except (psycopg.errors.UndefinedTable, psycopg.errors.QueryCanceled):
                return list(found.values())
            for key, provider, pending, value in rows:
                if provider not in found or (pending and not found[provider].pending):
                    found[provider] = _sample(key, provider, pending, value, show_personal_data=show_personal_data)
    return sorted(found.values(), key=lambda one: one.provider)


def _sample(key: str, provider: str, pending: bool, value: Any, *, show_personal_data: bool) -> Sample:
    envelope = dict(value) if isinstance(value, dict) else {"value": value}
    before = envelope.pop("payload", None)
    if not show_personal_data:
        before, envelope = masking.masked(before), masking.masked(envelope)
    return Sample(key, provider, pending, masking.shortened(before), masking.shortened(envelope))
