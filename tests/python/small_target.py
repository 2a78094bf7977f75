"""A small table with a model of its own, to be filled by the real write-back without dbt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import sql

from scripts import locks, preflight, writeback
from scripts.connection import Session, connect
from scripts.interrupts import StopRequest
from scripts.ledger import Ledger
from scripts.patience import PatientSession
from scripts.project import Target
from scripts.run_lock import for_target
from scripts.settings import Database
from scripts.writeback import Options, WriteBack

PENDING = "({column} is null or (pg_column_size({column}) <= 12 and {column} in ('{{}}', '[]', 'null')))"


class Quiet:
    """An observer that keeps what it was told."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    def advance(self, succeeded: int, failed: int) -> None:
        """See writeback.Observer."""

    def waiting(self, reason: str | None) -> None:
        """See writeback.Observer."""

    def notice(self, message: str) -> None:
        """See writeback.Observer."""
        self.notices.append(message)


@dataclass
class SmallTarget:
    """`public.things`: id, website_id, payload, views, updated_at (kept by a trigger), canonical_event."""

    database: Database
    session: Session
    ledger: Ledger
    target: Target

    def run(self, *, batch_size: int = 10, limit: int | None = None) -> UUID:
        """Apply, as `migrate things --apply` would; returns the run's id."""
        stop, observer = StopRequest(), Quiet()
        lock = for_target(self.database, "public", "things", "canonical_event")
        patient = PatientSession(self.database, lock, stop, observer.notice, writeback.prepare, "migrate things")
        try:
            looked = preflight.inspect(patient.session, self.database, self.target)
            run_id = self.ledger.open_run(
                patient.session,
                command="things",
                migration_type="event",
                kind="apply",
                target={"schema": "public", "table": "things", "column": "canonical_event", "key": "id"},
                settings={
                    "fingerprint": [column.as_json() for column in looked.plan.columns],
                    "excepted": looked.excepted,
                },
            )
            tally = WriteBack(
                self.database, looked.plan, patient, run_id, Options(batch_size, limit), stop, observer
            ).run()
            self.ledger.close_run(patient.session, run_id, "done", {"succeeded": tally.succeeded})
            return run_id
        finally:
            patient.close()

    def stored(self) -> dict[str, tuple[bool, str | None]]:
        """For each key: whether the target is SQL NULL, and its text (so that JSON null differs from SQL NULL)."""
        rows = self.session.execute(
            "select id::text, canonical_event is null, canonical_event::text from public.things"
        ).fetchall()
        return {key: (missing, text) for key, missing, text in rows}

    def others(self) -> list[tuple[Any, ...]]:
        """Every other column but the one that the trigger keeps."""
        return self.session.execute(
            "select id::text, website_id, payload::text, views, made_at from public.things order by id::text"
        ).fetchall()

    def log_rows(self, run_id: UUID) -> list[dict[str, Any]]:
        """The run's rows of migration_log in order."""
        return list(self.ledger.log(self.session, run_id=run_id))

    @property
    def lock(self) -> int:
        """The key of the target's lock."""
        return locks.run_key("public", "things", "canonical_event")


def make(
    database: Database, rows: int, *, key: str = "uuid", partitions: Sequence[tuple[str, str]] = ()
) -> SmallTarget:
    """Create the table, its model and the ledger; a quarter of the rows each holds NULL, {}, [] and JSON null.

    `key` is the type of the key: uuid, bigint or text. `partitions` are ranges of `made_at`; the row numbered i has
    the i-th day of 2025.
    """
    session = connect(database)
    ids = {"uuid": "md5(i::text)::uuid", "bigint": "i * 7", "text": "'row ' || i || ' ''\"x'"}[key]
    session.execute(
        sql.SQL(
            """
            create table public.things (
                id {} not null,
                website_id uuid default gen_random_uuid(),
                payload jsonb not null,
                views integer not null default 0,
                made_at timestamptz not null,
                updated_at timestamptz not null default now(),
                canonical_event jsonb default '{{}}',
                primary key (id {})
            ) {}
            """
        ).format(
            sql.SQL(key),
            sql.SQL(", made_at" if partitions else ""),
            sql.SQL("partition by range (made_at)" if partitions else ""),
        )
    )
    for number, (lower, upper) in enumerate(partitions):
        session.execute(
            sql.SQL("create table {} partition of public.things for values from ({}) to ({})").format(
                sql.Identifier("public", f"things_{number}"), lower, upper
            )
        )
    session.execute(
        sql.SQL(
            """
            insert into public.things (id, website_id, payload, made_at, canonical_event)
            select
                {},
                case when i % 5 > 0 then gen_random_uuid() end,
                jsonb_build_object('number', i, 'empty', null),
                timestamptz '2025-01-01' + (i % 365) * interval '1 day',
                (array[null, '{{}}', '[]', 'null']::jsonb[])[1 + i % 4]
            from generate_series(1, {}) as i
            """
        ).format(sql.SQL(ids), rows)
    )
    session.execute(
        """
        create function public.touch() returns trigger language plpgsql as
        $$ begin new.updated_at = clock_timestamp(); return new; end $$;
        create trigger touch before update on public.things for each row execute function public.touch();
        """
    )
    ledger = Ledger(database.schema)
    ledger.ensure(session)
    session.execute(
        sql.SQL(
            """
            create view {} with (security_invoker = true) as
            select
                ctid as row_location,
                tableoid as row_table,
                id as event_id,
                website_id,
                'generic' as provider,
                jsonb_build_object('event_id', id::text, 'payload', payload, 'more', repeat('x', 200))
                    as canonical_event,
                canonical_event as stored_value,
                {} as is_pending
            from public.things
            """
        ).format(sql.Identifier(database.schema, "canonical_things"), sql.SQL(PENDING.format(column="canonical_event")))
    )
    session.execute("analyze public.things")
    target = Target(
        command="things",
        model="canonical_things",
        model_schema=database.schema,
        migration_type="event",
        schema="public",
        table="things",
        key="id",
        model_key="event_id",
        tenant="website_id",
        target_column="canonical_event",
        previous="stored_value",
        pending_flag="is_pending",
        location="row_location",
        table_oid="row_table",
        group_by="provider",
        pending_sql=PENDING,
        complete=True,
        batch_size=1000,
        contract_version="1",
    )
    return SmallTarget(database, session, ledger, target)
