"""The ledger: what was done to which rows, by whom, and what it takes to undo it.

`migration_log` (a row per batch) lives beside the product's tables; runs, undo and builds in the tool's own schema.
How these tables look and how they are made is in ledger_schema.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from scripts import ledger_schema, locks
from scripts.connection import Session, transaction
from scripts.errors import UserError

#: What `Ledger.log` returns of each row, in this order.
LOG_COLUMNS = (
    "id",
    "run_id",
    "kind",
    "migration_type",
    "batch_number",
    "records_processed",
    "records_succeeded",
    "records_failed",
    "started_at",
    "completed_at",
    "dry_run",
    "performed_by",
    "error_details",
    "details",
    "created_at",
)

_ASKED = {"run": "resume", "pause": "pause", "cancel": "cancel"}

_LOCK_HELD = """
select exists (
    select 1
    from pg_catalog.pg_locks as l
    where
        l.locktype = 'advisory'
        and l.database = (select d.oid from pg_catalog.pg_database as d where d.datname = current_database())
        and l.objsubid = 1
        and l.granted
        and case (l.classid::bigint << 32) | l.objid::bigint
            when %(run)s then l.pid = %(holder)s
            when %(workers)s then l.mode = 'ShareLock'
            else false
        end
)
"""


@dataclass(frozen=True)
class Run:
    """One row of `migration_runs` with the sums of its log rows.

    `status` is as stored, or "crashed" when it says running and nobody holds the target's lock. `control` is what was
    asked of it ("run", "pause" or "cancel"); `waiting_for` says why a running run waits, and is None while it works.
    """

    run_id: UUID
    command: str
    migration_type: str
    kind: str
    status: str
    rolls_back: UUID | None
    started_at: datetime
    ended_at: datetime | None
    performed_by: UUID | None
    contract_version: str | None
    models_checksum: str | None
    settings: dict[str, Any]
    summary: dict[str, Any] | None
    backend_pid: int | None
    batches: int
    processed: int
    succeeded: int
    failed: int
    last_batch_at: datetime | None = None
    control: str = "run"
    controlled_by: UUID | None = None
    waiting_for: str | None = None
    waiting_since: datetime | None = None

    @property
    def target(self) -> dict[str, Any]:
        """schema, table, column and key of the table that the run wrote."""
        target = self.settings.get("target")
        return target if isinstance(target, dict) else {}


@dataclass(frozen=True)
class Ledger:
    """The ledger of one database: names of its tables, and everything that is read from or written to them."""

    schema: str
    source_schema: str = "public"

    # ---------- names

    @property
    def log_table(self) -> sql.Identifier:
        """`migration_log`, in the source schema."""
        return sql.Identifier(self.source_schema, "migration_log")

    @property
    def runs_table(self) -> sql.Identifier:
        """`migration_runs`, in the tool's schema."""
        return sql.Identifier(self.schema, "migration_runs")

    @property
    def undo_table(self) -> sql.Identifier:
        """`migration_undo`, in the tool's schema."""
        return sql.Identifier(self.schema, "migration_undo")

    @property
    def builds_table(self) -> sql.Identifier:
        """`model_builds`, in the tool's schema; made by the first build, when there may be no ledger yet."""
        return sql.Identifier(self.schema, "model_builds")

    # ---------- create and upgrade

    def ensure(self, session: Session) -> list[str]:
        """Create or upgrade the ledger (see `ledger_schema.ensure`); returns what was done, in words."""
        return ledger_schema.ensure(session, self.schema, self.source_schema)

    # ---------- runs

    def open_run(
        self,
        session: Session,
        *,
        command: str,
        migration_type: str,
        kind: str,
        target: dict[str, Any],
        settings: dict[str, Any] | None = None,
        rolls_back: UUID | None = None,
        performed_by: UUID | None = None,
        contract_version: str | None = None,
        models_checksum: str | None = None,
        run_id: UUID | None = None,
        holder: int | None = None,
    ) -> UUID:
        """Record that a run began, and return its id.

        `holder` is the server process that holds the target's lock (by default this session's): see `_derived`.

        `target` holds at least schema, table, column and key (of the source table); it and `settings` end up in
        `migration_runs.settings`, where `settings["fingerprint"]` lists the columns of the fingerprint
        (see `fingerprint.Column.as_json`) and `settings["excepted"]` those that triggers keep.
        """
        run_id = run_id or uuid4()
        with transaction(session):
            # Waits for the disk: a crash must not lose the run whose batches it keeps.
            session.execute("set local synchronous_commit = on")
            session.execute(
                sql.SQL(
                    """
                    insert into {} (
                        run_id, command, migration_type, kind, status, rolls_back, started_at, performed_by,
                        contract_version, models_checksum, settings, backend_pid
                    )
                    values (
                        %s, %s, %s, %s, 'running', %s, clock_timestamp(), %s, %s, %s, %s,
                        coalesce(%s, pg_catalog.pg_backend_pid())
                    )
                    -- The connection may have been lost after the commit.
                    on conflict (run_id) do update set backend_pid = excluded.backend_pid
                    """
                ).format(self.runs_table),
                [
                    run_id,
                    command,
                    migration_type,
                    kind,
                    rolls_back,
                    performed_by,
                    contract_version,
                    models_checksum,
                    Jsonb({**(settings or {}), "target": target}),
                    holder,
                ],
            )
        return run_id

    def rejoin(self, session: Session, run_id: UUID, holder: int) -> None:
        """A run has its target's lock again, on another connection: `holder` is the server process that holds it.

        Raises UserError when somebody else has worked on the target since, or the run is not there: what it knows no
        longer holds.
        """
        with transaction(session):
            found = session.execute(
                sql.SQL(
                    """
                    update {runs} as r
                    set backend_pid = %(holder)s
                    where
                        r.run_id = %(run)s
                        and not exists (
                            select 1
                            from {runs} as n
                            where
                                n.number > r.number and n.kind <> 'dry_run'
                                and (n.settings -> 'target') - 'model' - 'key'
                                = (r.settings -> 'target') - 'model' - 'key'
                        )
                    """
                ).format(runs=self.runs_table),
                {"holder": holder, "run": run_id},
            )
        if not found.rowcount:
            raise UserError(
                "The connection was lost, and another run or rollback has worked on the same column since, or the "
                "database is now one from before this run (a restored backup): it stopped.",
                exit_code=1,
            )

    def close_run(self, session: Session, run_id: UUID, status: str, summary: dict[str, Any] | None = None) -> None:
        """Record how a run ended: "done", "failed", "interrupted" or "cancelled", with its summary (no payloads)."""
        session.execute(
            sql.SQL(
                "update {} set status = %s, ended_at = greatest(started_at, clock_timestamp()), summary = %s, "
                "waiting_for = null, waiting_since = null where run_id = %s"
            ).format(self.runs_table),
            [status, Jsonb(summary) if summary is not None else None, run_id],
        )

    def flush(self, session: Session, run_id: UUID) -> None:
        """Wait until everything that a run has committed so far is on the disk."""
        with transaction(session):
            session.execute("set local synchronous_commit = on")
            session.execute(
                sql.SQL("update {} set backend_pid = backend_pid where run_id = %s").format(self.runs_table), [run_id]
            )

    def counted(self, session: Session, run_id: UUID) -> dict[str, Any]:
        """What a run wrote by its log: batches, succeeded, failed, bytes, other_columns_changed, rows by group."""
        with session.cursor(row_factory=dict_row) as cursor:
            found = cursor.execute(
                sql.SQL(
                    """
                    with log as (select * from {} where run_id = %(run)s)

                    select
                        (select count(*) from log) as batches,
                        (select coalesce(sum(records_succeeded), 0)::bigint from log) as succeeded,
                        (select coalesce(sum(records_failed), 0)::bigint from log) as failed,
                        (select coalesce(sum((details ->> 'bytes')::bigint), 0)::bigint from log) as bytes,
                        (select coalesce(sum((details ->> 'other_columns_changed')::bigint), 0)::bigint from log)
                            as other_columns_changed,
                        (
                            select coalesce(jsonb_object_agg(g.key, g.n), '{{}}')
                            from (
                                select e.key, sum(e.value::bigint) as n
                                from log cross join lateral jsonb_each_text(details -> 'groups') as e
                                group by e.key
                            ) as g
                        ) as groups
                    """
                ).format(self.log_table),
                {"run": run_id},
            ).fetchone()
        assert found is not None
        return found

    def request(self, session: Session, run_id: UUID, control: str, by: UUID | None = None) -> None:
        """Ask a run that is going on to "pause", to "run" on, or to "cancel" (see `control.Gate`).

        Raises UserError when there is no such run or it is not going on.
        """
        run = self.find_run(session, str(run_id))
        if run.kind == "dry_run" or run.status != "running":
            what = "was a dry run" if run.kind == "dry_run" else f"is not going on ({run.status})"
            raise UserError(f"Run {run.run_id} {what}: there is nothing to {_ASKED[control]}.")
        asked = session.execute(
            sql.SQL("update {} set control = %s, controlled_by = %s where run_id = %s and status = 'running'").format(
                self.runs_table
            ),
            [control, by, run_id],
        )
        if not asked.rowcount:
            raise UserError(f"Run {run.run_id} has just ended: there is nothing to {_ASKED[control]}.")

    def requested(self, session: Session, run_id: UUID) -> str:
        """What was asked of a run: "run", "pause" or "cancel"."""
        row = session.execute(
            sql.SQL("select control from {} where run_id = %s").format(self.runs_table), [run_id]
        ).fetchone()
        return str(row[0]) if row else "run"

    def set_waiting(self, session: Session, run_id: UUID, reason: str | None) -> None:
        """Record why a run waits from now on; None: it works."""
        session.execute(
            sql.SQL(
                "update {} set waiting_for = %(reason)s, waiting_since = case "
                "when %(reason)s::text is not null then coalesce(waiting_since, clock_timestamp()) end "
                "where run_id = %(run)s"
            ).format(self.runs_table),
            {"reason": reason, "run": run_id},
        )

    def write_log(
        self,
        session: Session,
        *,
        run_id: UUID,
        kind: str,
        migration_type: str,
        batch_number: int,
        processed: int,
        succeeded: int,
        failed: int,
        started_at: datetime,
        error_details: Any = None,
        details: dict[str, Any] | None = None,
        performed_by: UUID | None = None,
        log_id: UUID | None = None,
    ) -> UUID:
        """Write one finished row of `migration_log` outside a batch (a dry run, a failed row); returns its id."""
        log_id = log_id or uuid4()
        session.execute(
            sql.SQL(
                """
                insert into {} (
                    id, run_id, kind, migration_type, batch_number, records_processed, records_succeeded,
                    records_failed, started_at, completed_at, error_details, details, performed_by, dry_run
                )
                values (
                    %s, %s, %s, %s, %s, %s, %s, %s, %s,
                    -- Not before it began, though the clock was set back meanwhile.
                    greatest(%s, clock_timestamp()), %s, %s, %s, %s
                )
                """
            ).format(self.log_table),
            [
                log_id,
                run_id,
                kind,
                migration_type,
                batch_number,
                processed,
                succeeded,
                failed,
                started_at,
                started_at,
                Jsonb(error_details) if error_details is not None else None,
                Jsonb(details) if details is not None else None,
                performed_by,
                kind == "dry_run",
            ],
        )
        return log_id

    def exists(self, session: Session) -> bool:
        """Whether a run could have been recorded here at all."""
        row = session.execute(
            "select pg_catalog.to_regclass(%s) is not null and pg_catalog.to_regclass(%s) is not null",
            [self.runs_table.as_string(session), self.log_table.as_string(session)],
        ).fetchone()
        return bool(row and row[0])

    def runs(
        self,
        session: Session,
        *,
        run: str | None = None,
        migration_type: str | None = None,
        limit: int | None = None,
    ) -> list[Run]:
        """The runs, newest first; `run` is a prefix of the id."""
        if not self.exists(session):
            return []
        with session.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(
                sql.SQL(
                    """
                    with runs as (
                        -- An older tool's table lacks the number until the next run upgrades it.
                        select r.*, coalesce((to_jsonb(r) ->> 'number')::bigint, 0) as place from {runs} as r
                    )

                    select
                        r.run_id, r.command, r.migration_type, r.kind, r.status, r.rolls_back, r.started_at, r.ended_at,
                        r.performed_by, r.contract_version, r.models_checksum, r.settings, r.summary, r.backend_pid,
                        -- An older tool's table lacks these until the next run upgrades it.
                        coalesce(to_jsonb(r) ->> 'control', 'run') as control,
                        (to_jsonb(r) ->> 'controlled_by')::uuid as controlled_by,
                        to_jsonb(r) ->> 'waiting_for' as waiting_for,
                        (to_jsonb(r) ->> 'waiting_since')::timestamptz as waiting_since,
                        l.batches, l.processed, l.succeeded, l.failed, l.last_batch_at,
                        not exists (
                            select 1
                            from runs as n
                            where
                                n.status = 'running' and n.kind <> 'dry_run'
                                and (n.place, n.started_at) > (r.place, r.started_at)
                                and (n.settings -> 'target') - 'model' - 'key'
                                = (r.settings -> 'target') - 'model' - 'key'
                        ) as newest
                    from runs as r
                    cross join lateral (
                        select
                            count(*) as batches,
                            coalesce(sum(g.records_processed), 0)::bigint as processed,
                            coalesce(sum(g.records_succeeded), 0)::bigint as succeeded,
                            coalesce(sum(g.records_failed), 0)::bigint as failed,
                            max(g.completed_at) as last_batch_at
                        from {log} as g
                        where g.run_id = r.run_id
                    ) as l
                    where
                        (%(run)s::text is null or starts_with(r.run_id::text, %(run)s))
                        and (%(type)s::text is null or r.migration_type = %(type)s)
                    order by r.place desc, r.started_at desc, r.run_id desc
                    limit %(limit)s
                    """
                ).format(runs=self.runs_table, log=self.log_table),
                {"run": run.strip().lower() if run else None, "type": migration_type, "limit": limit},
            ).fetchall()
        found = []
        for row in rows:
            newest = row.pop("newest")
            found.append(self._derived(session, Run(**{**row, "settings": row["settings"] or {}}), newest))
        return found

    def find_run(self, session: Session, prefix: str) -> Run:
        """The one run whose id starts with `prefix`; UserError when there is none, or several."""
        found = self.runs(session, run=prefix)
        if not found:
            raise UserError(f"No run has an id that starts with {prefix!r}. `migrate log` lists the runs.")
        if len(found) > 1:
            ids = ", ".join(str(one.run_id) for one in found[:5])
            raise UserError(f"{len(found)} runs have an id that starts with {prefix!r}: {ids}. Give more of the id.")
        return found[0]

    def _derived(self, session: Session, run: Run, newest: bool) -> Run:
        """A run that says running is crashed unless its own session holds the target's lock.

        Another process may hold it: a later run, or one that has not begun to write yet.
        """
        if run.status != "running":
            return run
        if run.kind == "dry_run":
            alive = session.execute(
                "select exists (select 1 from pg_catalog.pg_stat_activity where pid = %s)", [run.backend_pid]
            ).fetchone()
        else:
            target = run.target
            names = [str(target.get(part)) for part in ("schema", "table", "column")]
            key = locks.run_key(*names)
            # A killed client's workers end with the batch in hand; until then the run is not over.
            alive = session.execute(
                _LOCK_HELD, {"run": key, "holder": run.backend_pid, "workers": locks.workers_key(key)}
            ).fetchone()
            if not newest:
                alive = None
        if alive and alive[0]:
            return run
        return replace(run, status="crashed", waiting_for=None, waiting_since=None)

    # ---------- what the tool wrote

    def collect_written(self, session: Session, schema: str, table: str, column: str, key: str) -> None:
        """Copy the hash of what the tool stored last in each row of a target to `written_values`, for `--refresh`.

        What `migrate automatic` stored in rows that are gone is forgotten. The table and the function that reads the
        ledger are made when the models are built.
        """
        session.execute(
            sql.SQL(
                "delete from {} as a where a.target = {} and not exists "
                "(select from {} as t where t.{}::text = a.row_key)"
            ).format(
                sql.Identifier(self.schema, "automatic_values"), f"{schema}.{table}.{column}",
                sql.Identifier(schema, table), sql.Identifier(key),
            )
        )  # fmt: skip
        session.execute(
            sql.SQL(
                """
                insert into {values} as v (target, row_key, written)
                select %(target)s, w.row_key, w.written
                from {last_written}(%(schema)s, %(table)s, %(column)s) as w
                on conflict (target, row_key) do update set written = excluded.written
                where v.written is distinct from excluded.written
                """
            ).format(
                values=sql.Identifier(self.schema, "written_values"),
                last_written=sql.Identifier(self.schema, "last_written"),
            ),
            {"target": f"{schema}.{table}.{column}", "schema": schema, "table": table, "column": column},
        )

    # ---------- log

    def log(
        self,
        session: Session,
        *,
        run_id: UUID | None = None,
        migration_type: str | None = None,
        failures: bool = False,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """Rows of `migration_log` as dictionaries, through a server-side cursor (memory stays flat)."""
        if not self.exists(session):
            return
        query = sql.SQL(
            """
            select
                l.id, l.run_id, coalesce(l.kind, case when l.dry_run then 'dry_run' else 'apply' end) as kind,
                l.migration_type, l.batch_number, l.records_processed, l.records_succeeded, l.records_failed,
                l.started_at, l.completed_at, l.dry_run, l.performed_by, l.error_details, l.details, l.created_at
            from {log} as l
            where
                (%(run)s::uuid is null or l.run_id = %(run)s)
                and (%(type)s::text is null or l.migration_type::text = %(type)s)
                and (not %(failures)s or l.records_failed > 0)
            order by l.started_at {way}, l.batch_number {way}, l.id
            limit %(limit)s
            """
        ).format(log=self.log_table, way=sql.SQL("desc nulls last" if newest_first else "asc"))
        with transaction(session), session.cursor(name="migration_log_export", row_factory=dict_row) as cursor:
            cursor.itersize = 500
            cursor.execute(query, {"run": run_id, "type": migration_type, "failures": failures, "limit": limit})
            yield from cursor

    # ---------- builds

    def builds(self, session: Session) -> list[dict[str, Any]]:
        """What was built last for each command: command, checksum, built_at."""
        if not self._knows_builds(session):
            return []
        with session.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(
                sql.SQL("select command, checksum, built_at from {} order by command").format(self.builds_table)
            ).fetchall()

    def record_builds(self, session: Session, checksums: Mapping[str, str]) -> None:
        """Remember the checksum of the models that were built, by command; makes the table if need be."""
        ledger_schema.ensure_builds(session, self.schema, self.source_schema)
        with transaction(session), session.cursor() as cursor:
            cursor.executemany(
                sql.SQL(
                    """
                    insert into {} (command, checksum, built_at) values (%s, %s, clock_timestamp())
                    on conflict (command) do update set checksum = excluded.checksum, built_at = excluded.built_at
                    """
                ).format(self.builds_table),
                list(checksums.items()),
            )

    def forget_builds(self, session: Session) -> None:
        """The models are gone: the next command builds them again."""
        if self._knows_builds(session):
            session.execute(sql.SQL("delete from {}").format(self.builds_table))

    def _knows_builds(self, session: Session) -> bool:
        row = session.execute(
            "select pg_catalog.to_regclass(%s) is not null", [self.builds_table.as_string(session)]
        ).fetchone()
        return bool(row and row[0])
