"""One `migrate <target>`: bring the models up to date, take the lock, look, write, close the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from scripts import batches, locks, plans, preflight, project, row_security, run_lock, writeback
from scripts.connection import Session, connect, explain, transaction
from scripts.errors import UserError
from scripts.interrupts import StopRequest
from scripts.patience import PatientSession
from scripts.preflight import Preflight
from scripts.project import Target
from scripts.settings import Database
from scripts.survey import Survey, survey
from scripts.writeback import Observer, Options, RunFailedError, Tally, WriteBack


@dataclass(frozen=True)
class Result:
    """How a run ended. `status` as in `migration_runs`; `pending_left` is None when it could not be counted."""

    run_id: UUID
    status: str
    tally: Tally
    pending_left: int | None

    def as_json(self) -> dict[str, Any]:
        """For --json, --report and `migration_runs.summary`: numbers only."""
        tally = asdict(self.tally)
        tally["groups"] = dict(self.tally.groups)
        tally["seconds"] = round(self.tally.seconds, 3)
        tally["rows_per_second"] = round(self.tally.succeeded / self.tally.seconds) if self.tally.seconds else None
        return {**tally, "pending_left": self.pending_left}


class Migration:
    """A target with an open session. Made by `opened`."""

    def __init__(self, database: Database, target: Target, checksum: str | None, session: Session) -> None:
        self.database = database
        self.target = target
        self.session = session
        self._checksum = checksum
        self.preflight: Preflight = preflight.inspect(session, database, target)
        self.ledger = self.preflight.plan.ledger
        self.ledger.ensure(session)
        if target.refreshing:
            self.ledger.collect_written(session, target.schema, target.table, target.target_column, target.key)

    def survey(
        self, *, count_all: bool, limit: int | None, horizon: int | None = None,
        watch: Callable[[str], None] | None = None,
    ) -> Survey:  # fmt: skip
        """What a run would do; with the horizon of a saved plan, every value is made and none left out."""
        planned = horizon is not None
        return survey(
            self.session, self.preflight, count_all=count_all or planned, values=planned, horizon=horizon, limit=limit,
            watch=watch,
        )  # fmt: skip

    def plan(self, seen: Survey, limit: int | None, horizon: int, run_id: UUID) -> plans.Plan:
        """The plan that a dry run's survey makes."""
        return plans.make(self.session, self.target, self._checksum, seen, limit, horizon, run_id)

    def compare(self, plan: plans.Plan, seen: Survey, *, allow_new: bool) -> plans.Comparison:
        """What differs between a plan and a survey with its horizon."""
        return plans.compare(plan, self.session, self.target, self._checksum, seen, allow_new=allow_new)

    def log_dry_run(self, found: Survey, options: Options) -> UUID:
        """Record a dry run: one run and one log row, which say what was seen and nothing of the rows."""
        summary = found.as_json()
        del summary["samples"]
        if found.left_alone is not None:
            summary["left_alone"] = dict(Counter(row.reason for row in found.left_alone))
        run_id = self._open("dry_run", options)
        now = self.session.execute("select clock_timestamp()").fetchone()
        assert now is not None
        self.ledger.write_log(
            self.session, run_id=run_id, kind="dry_run", migration_type=self.target.migration_type, batch_number=0,
            processed=found.writable, succeeded=0, failed=0, started_at=now[0], performed_by=options.performed_by,
            details=summary,
        )  # fmt: skip
        self.ledger.close_run(self.session, run_id, "done", summary)
        return run_id

    def crashed(self) -> list[tuple[UUID, datetime]]:
        """Earlier runs on this target that never ended. To be asked with the lock held."""
        return self.session.execute(
            sql.SQL(
                "select run_id, started_at from {} where status = 'running' and kind <> 'dry_run' "
                "and settings -> 'target' ->> 'schema' = %s and settings -> 'target' ->> 'table' = %s "
                "and settings -> 'target' ->> 'column' = %s order by started_at"
            ).format(self.ledger.runs_table),
            [self.target.schema, self.target.table, self.target.target_column],
        ).fetchall()

    def _open(self, kind: str, options: Options, holder: int | None = None) -> UUID:
        target = self.target
        return self.ledger.open_run(
            self.session, command=target.command, migration_type=target.migration_type, kind=kind,
            target={
                "schema": target.schema, "table": target.table, "column": target.target_column, "key": target.key,
                "model": f"{target.model_schema}.{target.model}",
            },
            settings={
                **options.as_json(),
                "refresh": target.refreshing,
                "fingerprint": [column.as_json() for column in self.preflight.plan.columns],
                "excepted": self.preflight.excepted,
            },
            performed_by=options.performed_by, contract_version=target.contract_version,
            models_checksum=self._checksum, holder=holder,
        )  # fmt: skip


class Writing(Migration):
    """A target whose lock is held."""

    def __init__(
        self, database: Database, target: Target, checksum: str | None, patient: PatientSession, stop: StopRequest
    ) -> None:
        self._patient = patient
        self._stop = stop
        super().__init__(database, target, checksum, patient.session)

    def apply(self, options: Options, observer: Observer) -> Result:
        """Write. Raises RunFailedError when the run cannot go on, with what was written and how to go on or back."""
        if options.pace.workers > 1 and self.session.transaction_pooling:
            raise UserError(
                "Several workers need sessions of their own, and this connection goes through a pooler in transaction "
                f"mode. Leave out --workers, or point {self.database.origin} at the server or a session pooler."
            )
        self._find_kept_columns(observer)
        run_id = self._open("apply", options, self._patient.holder)
        run = WriteBack(self.database, self.preflight.plan, self._patient, run_id, options, self._stop, observer)
        try:
            run.run()
            self._patient.do(self._refuse_hidden_rows)
        except UserError as error:
            self._close(run_id, "failed", run.tally)
            error.message = f"{error.message} {_way_on(run_id, run.tally)}"
            error.args = (error.message,)
            raise
        except BaseException:
            # The second Ctrl-C, or a fault of the tool itself: what was committed stays and is logged.
            self._close(run_id, "interrupted", run.tally)
            raise
        ended = "cancelled" if run.cancelled else "interrupted" if self._stop.requested else "done"
        return self._close(run_id, ended, run.tally)

    def _refuse_hidden_rows(self, session: Session) -> None:
        """A policy that came during the run: it hides rows without a word where row_security may be on."""
        names = [(self.target.schema, self.target.table)]
        names += [(leaf.schema, leaf.name) for leaf in self.preflight.plan.leaves]
        with transaction(session):
            hidden = row_security.hidden(session, names)
        if hidden:
            raise RunFailedError(
                f"Since the run began a policy hides rows of {'.'.join(hidden[0])} from this role: some may be left. "
                "Let its owner run what `migrate runner` prints, or connect as a role with BYPASSRLS."
            )

    def _close(self, run_id: UUID, status: str, tally: Tally) -> Result:
        result = Result(run_id, status, tally, None)

        def close(session: Session) -> None:
            with transaction(session):
                # Waits for the disk once, for all batches.
                session.execute("set local synchronous_commit = on")
                if tally.retries or self._patient.retries:
                    # A server that crashed may have lost batches that were counted.
                    tally.recount(self.ledger.counted(session, run_id))
                self.ledger.close_run(session, run_id, status, result.as_json())

        with suppress(psycopg.Error, UserError):
            if status == "done" and not self.target.refreshing:
                left = self._patient.do(
                    lambda session: sum(
                        batches.count_pending(session, self.target, leaf)
                        for leaf in batches.leaves(session, self.target.schema, self.target.table)
                    )
                )
                result = replace(result, pending_left=left)
        if status == "done":
            self._patient.do(close)
            return result
        # The run is lost anyway, perhaps with its lock or its connection: neither must hide why.
        with suppress(psycopg.Error, UserError):
            session = self._patient.session
            if session.closed or session.broken:
                with connect(self.database, application_name=f"migrate {self.target.command}") as another:
                    close(another)
            else:
                session.rollback()
                close(session)
        return result

    def _find_kept_columns(self, observer: Observer) -> None:
        """Except columns that the table's triggers turn out to set, though their source does not show it."""
        hidden = writeback.trial(self._patient.session, self.preflight.plan)
        if not hidden:
            return
        observer.notice(f"Triggers of the table also set {', '.join(hidden)}: not compared.")
        excepted = {**self.preflight.excepted, **dict.fromkeys(hidden, "found by a trial update")}
        columns = [column for column in self.preflight.plan.columns if column.name not in hidden]
        self.preflight = replace(self.preflight, excepted=excepted, plan=replace(self.preflight.plan, columns=columns))


@contextmanager
def opened_for_reading(database: Database, command: str, *, build: bool, refresh: bool = False) -> Iterator[Migration]:
    """A target for a dry run; its models are brought up to date first."""
    checksum = _models(database, command, build=build)
    session = connect(database, application_name=f"migrate {command} (dry run)")
    try:
        writeback.prepare(session)
        yield Migration(database, _target(database, command, refresh=refresh), checksum, session)
    except psycopg.Error as error:
        raise explain(error, database) or error from None
    finally:
        session.close()


@contextmanager
def opened_for_writing(
    database: Database, command: str, *, build: bool, refresh: bool = False, stop: StopRequest,
    notice: Callable[[str], None],
) -> Iterator[Writing]:  # fmt: skip
    """A target with its lock held: no second run, and no build of the models, while inside."""
    with locks.building(database):
        checksum = _models(database, command, build=build)
        target = _target(database, command, refresh=refresh)
        lock = run_lock.for_target(database, target.schema, target.table, target.target_column)
        patient = PatientSession(database, lock, stop, notice, writeback.prepare, f"migrate {command}")
    try:
        yield Writing(database, target, checksum, patient, stop)
    except psycopg.Error as error:
        raise explain(error, database) or error from None
    finally:
        patient.close()


def _target(database: Database, command: str, *, refresh: bool) -> Target:
    found = project.target(database, command)
    return found.refreshed() if refresh else found


def _models(database: Database, command: str, *, build: bool) -> str | None:
    """Bring the models up to date, and return the checksum of what is in the database (None: not known)."""
    return project.bring_up_to_date(database, command) if build else project.built_checksum(database, command)


def _way_on(run_id: UUID, tally: Tally) -> str:
    if not tally.succeeded:
        return "Nothing was written."
    return (
        f"{tally.succeeded:,} rows were written before and stay (run {run_id}). Run the command again to go on, "
        f"or take them back with `migrate rollback {run_id}`."
    )


__all__ = ["Migration", "Result", "RunFailedError", "Writing", "opened_for_reading", "opened_for_writing"]
