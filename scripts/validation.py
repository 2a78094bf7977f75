"""Prove that a migration did what it should: Great Expectations on the source tables, the log and the reports.

The suites are in validation_suites.py, the site that shows the results in data_docs.py. Everything that Great
Expectations generates lies in a temporary folder: its files hold random ids, and nobody needs them afterwards.
"""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from scripts import data_docs, faults, project
from scripts.connection import Session, connect, environment, explain
from scripts.errors import UserError
from scripts.ledger import Ledger
from scripts.settings import Database, source_schema
from scripts.validation_suites import CRITICAL, MODELS, Expect, Names, Suite, suites

#: How many ids of offending rows are named for each expectation that is not met.
EXAMPLES = 5

_URL_VARIABLE = "MIGRATION_DB_URL"
_SITE = "data_docs"
_ITSELF = "select /* the query itself */"


@dataclass(frozen=True)
class Finding:
    """What became of one expectation. `count` is the number of offending rows, `of` of how many."""

    suite: str
    sentence: str
    expectation: str  # in Great Expectations' words
    column: str
    severity: str
    met: bool
    count: int
    of: int | None
    examples: list[str] = field(default_factory=list)  # ids, never values

    @property
    def state(self) -> str:
        """ok, failed, warning or note."""
        return "ok" if self.met else {"critical": "failed", "warning": "warning"}.get(self.severity, "note")


@dataclass(frozen=True)
class Validation:
    """All findings, and where the site is."""

    database: str
    validated_at: datetime
    suites: list[Suite]
    findings: list[Finding]
    site: Path
    skipped: str | None = None  # what could not be judged, and why
    began_at: datetime | None = None  # by the clock of the database

    @property
    def failed(self) -> list[Finding]:
        """Findings that are faults."""
        return [one for one in self.findings if one.state == "failed"]

    def of(self, suite: Suite) -> list[Finding]:
        """The findings of one suite."""
        return [one for one in self.findings if one.suite == suite.name]


def validate(database: Database, site: Path, *, build: bool = True) -> Validation:
    """Run every suite and build the site in the folder `site` (made when missing).

    Builds the models that the suites read when one is missing, unless `build` is false. Changes nothing in the
    product's tables. Raises UserError when something cannot be read.
    """
    data_docs.check_folder(site)
    _bring_models(database, build=build)
    with connect(database, application_name="migrate validate") as session:
        names, skipped = _names(database, session)
        began = session.execute("select clock_timestamp()").fetchone()
        assert began is not None
        chosen = suites(names)
        try:
            with _variables(database), tempfile.TemporaryDirectory(prefix="migration-validation-") as folder:
                context, results = _run(Path(folder), chosen, session)
                given_up = [suite.title for suite, pairs in results if _may_be_given_up(pairs)]
                if given_up:
                    reason = f"{', '.join(given_up)}: longer than statement_timeout (MIGRATION_STATEMENT_TIMEOUT)"
                    skipped = f"{skipped}; {reason}" if skipped else reason
                findings = [
                    _finding(suite, expectation, result, session)
                    for suite, pairs in results
                    for expectation, result in pairs
                    if suite.title not in given_up
                ]
                kept = [suite for suite in chosen if suite.title not in given_up]
                found = Validation(database.label, datetime.now(UTC), kept, findings, site, skipped, began[0])
                context.build_data_docs()
                data_docs.publish(Path(folder) / _SITE, site, found)
        except psycopg.Error as error:
            raise explain(error, database) or UserError(
                f"In {database.label}: {faults.describe(error)}.", exit_code=1
            ) from None
    return found


# ---------- what is there to validate


def _bring_models(database: Database, *, build: bool) -> None:
    targets = project.targets(database)
    with connect(database, application_name="migrate validate") as session:
        for target in targets.values():
            project.require_source(session, target, database)
        missing = [name for name in MODELS if not _exists(session, database.schema, name)]
    if build:
        for command in targets:
            project.bring_up_to_date(database, command, also=MODELS)
    elif missing:
        raise UserError(
            f"The models {', '.join(missing)} are not in schema {database.schema}. Run `migrate build`, "
            "or leave out --no-build."
        )


def _names(database: Database, session: Session) -> tuple[Names, str | None]:
    events = project.target(database, "events")
    ledger = Ledger(database.schema, source_schema())
    has_log = ledger.exists(session)
    if not _exists(session, events.schema, events.table):
        raise UserError(
            f"There is no table {events.schema}.{events.table} in {database.label}. Check the vars `source_schema` "
            "and `events_table` in dbt_project.yml."
        )
    if has_log and not _exists(session, database.schema, "migration_undo"):
        raise UserError(
            f"{database.schema}.migration_undo is missing although runs are logged: what was written cannot be "
            "undone. Restore it from a backup of the database."
        )
    names = Names(
        events=sql.Identifier(events.schema, events.table),
        key=sql.Identifier(events.key),
        canonical_event=sql.Identifier(events.target_column),
        pending=_literal(events.pending),
        log=ledger.log_table,
        schema=database.schema,
        version=events.contract_version,
        has_log=has_log,
    )
    return names, None if has_log else "log and undo: nothing has been run here yet"


def _exists(session: Session, schema: str, name: str) -> bool:
    row = session.execute(
        "select to_regclass(%s) is not null", [sql.Identifier(schema, name).as_string(session)]
    ).fetchone()
    return bool(row and row[0])


# ---------- Great Expectations


@contextmanager
def _variables(database: Database) -> Iterator[None]:
    """libpq's variables for SQLAlchemy's connections: no part of the URL, nor the password, is in any file."""
    wanted = environment(database) | {
        _URL_VARIABLE: "postgresql+psycopg2://",
        "GX_ANALYTICS_ENABLED": "false",
        "PGAPPNAME": "migrate validate",
    }
    before = {name: value for name, value in os.environ.items() if name.startswith("PG") or name in wanted}
    try:
        for name in before:
            del os.environ[name]
        os.environ.update(wanted)
        yield
    finally:
        for name in wanted:
            os.environ.pop(name, None)
        os.environ.update(before)


def _run(
    folder: Path, chosen: Sequence[Suite], session: Session
) -> tuple[Any, list[tuple[Suite, list[tuple[Expect, dict[str, Any]]]]]]:
    """Run the suites; returns the context and, for each suite, its expectations with their results."""
    # Imported late: it takes seconds, and reads the variables above.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import great_expectations as gx
        from great_expectations import expectations as library
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
    context = gx.get_context(mode="file", project_root_dir=str(folder))
    context.variables.progress_bars = {"globally": False}
    context.update_data_docs_site(
        site_name="local_site",
        site_config={
            "class_name": "SiteBuilder",
            "show_how_to_buttons": False,
            "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder / _SITE)},
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        },
    )
    source = context.data_sources.add_postgres("database", connection_string="${" + _URL_VARIABLE + "}")
    _tame(source.get_execution_engine().engine, session)
    definitions = []
    for suite in chosen:
        made = []
        for number, one in enumerate(suite.expectations):
            kind = getattr(library, one.type)
            made.append(
                kind(
                    **one.arguments,
                    severity=one.severity,
                    description=one.sentence,
                    notes=_rule(one),
                    meta={"number": number},
                )
            )
        stored = context.suites.add(gx.ExpectationSuite(name=suite.name, expectations=made, notes=suite.description))
        asset = source.add_query_asset(name=suite.name, query=suite.query.replace("select", _ITSELF, 1))
        batch = asset.add_batch_definition_whole_table("all")
        definitions.append(
            context.validation_definitions.add(gx.ValidationDefinition(name=suite.name, data=batch, suite=stored))
        )
    results: list[tuple[Suite, list[tuple[Expect, dict[str, Any]]]]] = []
    checkpoint = context.checkpoints.add(
        # Counts only: a value may be a person's name.
        gx.Checkpoint(
            name="migration",
            validation_definitions=definitions,
            result_format={"result_format": "SUMMARY", "partial_unexpected_count": 0},
        )
    )
    run = checkpoint.run()
    by_name = {result.suite_name: result for result in run.run_results.values()}
    for suite, definition in zip(chosen, definitions, strict=True):
        pairs = []
        for result in by_name[suite.name].results:
            found = result.to_json_dict()
            expectation = suite.expectations[found["expectation_config"]["meta"]["number"]]
            if not found["success"] and suite.id_column and not _raised(found):
                found["examples"] = _examples(definition, suite, expectation, library)
            pairs.append((expectation, found))
        order = {id(one): place for place, one in enumerate(suite.expectations)}
        results.append((suite, sorted(pairs, key=lambda pair: order[id(pair[0])])))
    return context, results


def _rule(expectation: Expect) -> str | None:
    """What is tested, for the page of the suite, where the sentence alone is shown otherwise."""
    if "regex" in expectation.arguments:
        return f"Pattern: `{expectation.arguments['regex']}`"
    if "value_set" in expectation.arguments:
        return "One of: " + ", ".join(f"`{value}`" for value in expectation.arguments["value_set"])
    return None


def _tame(engine: Any, session: Session) -> None:
    """Keep Great Expectations from pulling rows, and give its transactions the tool's settings behind a pooler."""
    from sqlalchemy import event

    def without_rows(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        # It asks what columns a query has by running the query, and psycopg2 would fetch all of it.
        return (f"{statement}\nlimit 0" if statement.startswith(_ITSELF) else statement), parameters

    event.listen(engine, "before_cursor_execute", without_rows, retval=True)
    if session.transaction_pooling:
        # Settings of the session are lost there, and refused at the start.
        calls = ", ".join(
            sql.SQL("set_config({}, {}, true)").format(name, value).as_string(None)
            for name, value in session.settings.items()
        )
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(f"select {calls}"))


def _examples(definition: Any, suite: Suite, expectation: Expect, library: Any) -> list[str]:
    """Ids of some rows that do not meet an expectation. Their values are dropped here and stored nowhere."""
    found = definition.data.get_batch().validate(
        getattr(library, expectation.type)(**expectation.arguments),
        result_format={
            "result_format": "SUMMARY",
            "partial_unexpected_count": EXAMPLES,
            "unexpected_index_column_names": [suite.id_column],
        },
    )
    rows = (found.result or {}).get("partial_unexpected_index_list") or []
    return list(dict.fromkeys(str(row[suite.id_column]) for row in rows))[:EXAMPLES]


def _raised(result: dict[str, Any]) -> str | None:
    """The message of an exception that kept an expectation from being evaluated."""
    information = result.get("exception_info") or {}
    if information.get("raised_exception"):
        return str(information.get("exception_message") or "no reason given")
    for value in information.values():
        if isinstance(value, dict) and value.get("raised_exception"):
            return str(value.get("exception_message") or "no reason given")
    return None


def _finding(suite: Suite, expectation: Expect, result: dict[str, Any], session: Session) -> Finding:
    raised = _raised(result)
    if raised is not None:
        raise _not_evaluated(suite, expectation, raised)
    details = result.get("result") or {}
    of: int | None
    if suite.id_column is None:
        count, of = int(details.get("observed_value") or 0), None
        examples = _ids(session, expectation.rows) if count and expectation.rows else []
    else:
        count, of = int(details.get("unexpected_count") or 0), int(details.get("element_count") or 0)
        examples = list(result.get("examples") or [])
    return Finding(
        suite=suite.name,
        sentence=expectation.sentence,
        expectation=result["expectation_config"]["type"],
        column=str(expectation.arguments.get("column", "")),
        severity=expectation.severity,
        met=bool(result["success"]),
        count=count,
        of=of,
        examples=examples,
    )


def _may_be_given_up(pairs: list[tuple[Expect, dict[str, Any]]]) -> bool:
    """A suite without any fault to find that took too long must not hide what the others found."""
    return all(
        expectation.severity != CRITICAL and "statement timeout" in (_raised(result) or "")
        for expectation, result in pairs
    )


def _not_evaluated(suite: Suite, expectation: Expect, raised: str) -> UserError:
    reason = _first_line(raised)
    if "row-level security" in reason:
        remedy = (
            "The role would see only part of the rows: connect as their owner or as a role with BYPASSRLS, or let the "
            "owner run what `migrate runner` prints."
        )
    elif "statement timeout" in reason:
        remedy = "Raise MIGRATION_STATEMENT_TIMEOUT."
    elif "lock timeout" in reason:
        remedy = "Another session holds a lock: try again when it is done, or raise MIGRATION_LOCK_TIMEOUT."
    elif "permission denied" in reason:
        remedy = "Grant this to the role, or connect as another."
    else:
        remedy = "Run `migrate build`, then try again."
    return UserError(
        f"{suite.title}: the expectation about {expectation.arguments.get('column')} could not be evaluated: "
        f"{reason}. {remedy}"
    )


def _ids(session: Session, rows: str) -> list[str]:
    found = session.execute(_literal(f"{rows} limit {EXAMPLES}"))
    return [str(row[0]) for row in found.fetchall()]


def _first_line(message: str) -> str:
    """The reason without SQLAlchemy's wrapping, the statement and its parameters."""
    text = message.strip().splitlines()[0] if message.strip() else "no reason given"
    return text.split(") ", 1)[1] if text.startswith("(psycopg2") and ") " in text else text


def _literal(query: str) -> LiteralString:
    return query


def as_json(found: Validation) -> dict[str, Any]:
    """The result as plain values."""
    return {
        "database": found.database,
        "validated_at": found.validated_at,
        "success": not found.failed,
        "expectations": len(found.findings),
        "failed": len(found.failed),
        "warnings": sum(one.state == "warning" for one in found.findings),
        "skipped": found.skipped,
        "site": found.site / "index.html",
        "suites": [
            {
                "name": suite.name,
                "title": suite.title,
                "success": all(one.state != "failed" for one in found.of(suite)),
                "expectations": [
                    {
                        "sentence": one.sentence,
                        "expectation": one.expectation,
                        "column": one.column,
                        "severity": one.severity,
                        "state": one.state,
                        "count": one.count,
                        "of": one.of,
                        "examples": one.examples,
                    }
                    for one in found.of(suite)
                ],
            }
            for suite in found.suites
        ],
    }


def summary(found: Validation) -> dict[str, Any]:
    """The result for the record: each suite's counts, and what was not met, by number."""
    return {
        "began_at": found.began_at.isoformat() if found.began_at else None,
        "expectations": len(found.findings),
        "met": sum(one.met for one in found.findings),
        "failed": len(found.failed),
        "warnings": sum(one.state == "warning" for one in found.findings),
        "skipped": found.skipped,
        "suites": [
            {
                "title": suite.title,
                "expectations": len(found.of(suite)),
                "met": sum(one.met for one in found.of(suite)),
                "failed": sum(one.state == "failed" for one in found.of(suite)),
            }
            for suite in found.suites
        ],
        "not_met": [
            {
                "suite": suite.title,
                "sentence": one.sentence,
                "column": one.column,
                "state": one.state,
                "measured": data_docs.measured(suite, one),
            }
            for suite in found.suites
            for one in found.of(suite)
            if not one.met
        ],
    }


__all__ = ["Finding", "Validation", "as_json", "summary", "validate"]
