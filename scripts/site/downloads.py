"""Every table of the site as CSV and JSON, and a report of each run as JSON."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from scripts import evidence, masking
from scripts.csv_cells import cell, plain
from scripts.ledger import LOG_COLUMNS, Run
from scripts.site import runs
from scripts.site.reader import Reader

Row = Mapping[str, Any]

_DATA = re.compile(r"data/([a-z_]+)\.(csv|json)")
#: The tables that come from the reports about events.
OF_EVENTS = ("providers", "coverage", "templates", "drift")
_RUN = re.compile(r"runs/([0-9a-f-]{36})\.(csv|json)")
_RUN_COLUMNS = (
    "run_id", "command", "migration_type", "kind", "status", "rolls_back", "started_at", "ended_at", "performed_by",
    "contract_version", "batches", "processed", "succeeded", "failed",
)  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A table that can be downloaded: what it is, and its rows (asked for when they are written)."""

    name: str
    about: str
    columns: tuple[str, ...]
    rows: Callable[[Reader], Iterable[Row]]


@dataclass
class Download:
    """A file to be written or sent, piece by piece. `rows` is how many of the table were taken so far."""

    path: str
    media_type: str
    pieces: Iterator[str]
    rows: int = 0


def paths(reader: Reader) -> Iterator[str]:
    """The paths of all downloads that are written as files."""
    for table in TABLES:
        yield f"data/{table.name}.csv"
        yield f"data/{table.name}.json"
    for run in reader.runs:
        if run.run_id in reader.runs_with_pages:
            yield f"runs/{run.run_id}.csv"
            yield f"runs/{run.run_id}.json"


def find(reader: Reader, path: str) -> Download | None:
    """The download of a path; None when there is none."""
    if found := _DATA.fullmatch(path):
        table = next((one for one in TABLES if one.name == found[1]), None)
        if table is None:
            return None
        return _download(path, table.columns, table.rows(reader))
    if found := _RUN.fullmatch(path):
        run = next((one for one in reader.runs if str(one.run_id) == found[1]), None)
        if run is None:
            return None
        if found[2] == "csv":
            return _download(path, LOG_COLUMNS, _log(reader, run.run_id))
        return Download(path, "application/json", iter([run_report(reader, run)]))
    return None


def run_report(reader: Reader, run: Run) -> str:
    """Everything about a run but its batches, as JSON."""
    detail = reader.run(str(run.run_id))
    assert detail is not None
    document = {
        **_run(run),
        "database": reader.database.label,
        "target": run.target,
        "settings": {name: value for name, value in run.settings.items() if name not in ("target", "fingerprint")},
        "models_checksum": run.models_checksum,
        "summary": run.summary,
        "seconds": detail.seconds,
        "rows_per_second": None if detail.rate is None else round(detail.rate, 1),
        "expected_rows": detail.expected,
        "waits": [asdict(one) for one in detail.waits],
        "undo": {
            "state": detail.undo.state,
            "batches": detail.undo.batches,
            "restored": detail.undo.restored,
            "left": detail.undo.left,
            "rollbacks": [one.run_id for one in detail.undo.rollbacks],
        },
        "failures": [asdict(one) for one in _failures_of(reader, run.run_id)],
    }
    return json.dumps(document, indent=2, ensure_ascii=False, default=plain) + "\n"


# ---------- the tables


def _run(run: Run) -> dict[str, Any]:
    return {name: getattr(run, name) for name in _RUN_COLUMNS}


def _log(reader: Reader, run_id: UUID | None = None) -> Iterator[Row]:
    """Rows of migration_log; what another program left in them is masked."""
    for row in reader.ledger.log(reader.session, run_id=run_id):
        if row["run_id"] is None and not reader.show_personal_data:
            masked = {name: masking.masked(row[name]) for name in ("error_details", "details")}
            yield {**row, **masked}
        else:
            yield row


def _failures_of(reader: Reader, run_id: UUID) -> Iterator[runs.Failure]:
    return runs.failures(reader.session, reader.ledger, run_id, show_personal_data=reader.show_personal_data)


def _failures(reader: Reader) -> Iterator[Row]:
    for run in reader.runs:
        if run.failed:
            for one in _failures_of(reader, run.run_id):
                yield {"run_id": run.run_id, **asdict(one)}


def _not_met(reader: Reader) -> Iterable[Row]:
    last = next((one for one in reader.evidence if one.kind == evidence.VALIDATION), None)
    return last.summary.get("not_met") or [] if last else []


def _ambiguous(reader: Reader) -> Iterator[Row]:
    for one in reader.ambiguous[0]:
        yield {**asdict(one), "rules": dict(one.rules)}


TABLES = (
    Table("status", "The product's numbers", ("name", "value"),
          lambda reader: [{"name": name, "value": value} for name, value in reader.status.numbers.items()]),
    Table("checklist", "The steps of the migration", ("key", "title", "state", "sentence", "evidence"),
          lambda reader: [asdict(one) for one in reader.checklist]),
    Table("progress", "Rows written over time", ("migration_type", "at", "rows"),
          lambda reader: [asdict(one) for one in reader.progress]),
    Table("providers", "Events by provider and rule",
          ("provider", "mapping", "resolved_by", "events", "pending", "resolvable", "missing_required",
           "with_display_words"), lambda reader: reader.event_facts.providers.rows),
    Table("coverage", "Coverage of each field by provider",
          ("provider", "mapping", "field", "is_required", "events", "present", "missing", "display_words", "share"),
          lambda reader: reader.event_facts.coverage.rows),
    Table("templates", "Readiness of the templates",
          ("provider", "template_key", "required_fields", "unknown_fields", "problem", "events", "ready", "share"),
          lambda reader: reader.event_facts.templates.rows),
    Table("drift", "Stored values that the models would write otherwise",
          ("provider", "reason", "events", "changed_keys", "examples"),
          lambda reader: [asdict(one) for one in reader.event_facts.drift]),
    Table("campaigns_settled", "Campaigns that are settled",
          ("campaign_id", "campaign_name", "website_id", "outcome", "provider", "integration_id", "resolved_by",
           "decided_in"), lambda reader: reader.settled.rows),
    Table("campaigns_ambiguous", "Campaigns that wait for a person",
          ("campaign_id", "campaign_name", "website_id", "reason", "sentence", "current", "rules", "evidence",
           "candidates", "suggested_provider", "confidence", "suggested_from", "command", "seed_line"), _ambiguous),
    Table("integrations_orphaned", "Integrations that no campaign names",
          ("integration_id", "website_id", "provider", "integration_name", "is_active", "created_at"),
          lambda reader: reader.orphaned.rows),
    Table("runs", "Runs", _RUN_COLUMNS, lambda reader: map(_run, reader.runs)),
    Table("migration_log", "The whole log, a row for each batch", LOG_COLUMNS, _log),
    Table("failures", "Failed rows of all runs", ("run_id", "batch_number", "key", "error"), _failures),
    Table("validation", "What the last validation found not met",
          ("suite", "sentence", "column", "state", "measured"), _not_met),
    Table("validations", "Validations, verifications and exports of the log",
          ("evidence_id", "kind", "recorded_at", "recorded_by", "summary"),
          lambda reader: [asdict(one) for one in reader.evidence]),
    Table("models", "Models and what they read",
          ("name", "kind", "folder", "description", "columns", "reads", "read_by"),
          lambda reader: [asdict(one) for one in reader.models]),
)  # fmt: skip


# ---------- the forms


def _download(path: str, columns: tuple[str, ...], rows: Iterable[Row]) -> Download:
    def counted() -> Iterator[Row]:
        for row in rows:
            made.rows += 1
            yield row

    is_csv = path.endswith(".csv")
    pieces = _csv(columns, counted()) if is_csv else _json(columns, counted())
    made = Download(path, "text/csv" if is_csv else "application/json", pieces)
    return made


def _json(columns: tuple[str, ...], rows: Iterable[Row]) -> Iterator[str]:
    """An array of objects, one on each line."""
    between = "[\n"
    for row in rows:
        yield between + json.dumps({name: row[name] for name in columns}, ensure_ascii=False, default=plain)
        between = ",\n"
    yield "[]\n" if between == "[\n" else "\n]\n"


def _csv(columns: tuple[str, ...], rows: Iterable[Row]) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([cell(row[name]) for name in columns])
        if buffer.tell() > 65_536:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()
