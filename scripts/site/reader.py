"""Everything that the pages ask of the database, each thing once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from pathlib import Path
from uuid import UUID

from scripts import data_docs, evidence, status
from scripts.connection import Session
from scripts.evidence import Evidence
from scripts.ledger import Ledger, Run
from scripts.settings import Database
from scripts.site import campaigns, checklist, events, lineage, runs
from scripts.site.campaigns import Ambiguous
from scripts.site.checklist import Item
from scripts.site.events import EventFacts
from scripts.site.lineage import Model
from scripts.site.reports import Report
from scripts.site.runs import RunDetail, Step, Strangers
from scripts.status import Status

#: Where runs are thousands (each call of the product's endpoints is one), so many have pages of their own in files.
RUNS_WITH_PAGES = 300


class Reader:
    """The answers of one database at one time. Reads only; make a new one for each build or request.

    `data_docs` is the folder of the Data Docs that `migrate validate` made (they count only when they are of this
    database). `watch` is told what takes long: the reports about events look at every event, `drift` the longest.
    `event_facts` are those reports as they were read before, which are then not read again.
    """

    def __init__(
        self,
        session: Session,
        database: Database,
        ledger: Ledger,
        *,
        show_personal_data: bool = False,
        data_docs: Path | None = None,
        event_facts: EventFacts | None = None,
        watch: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.session = session
        self.database = database
        self.ledger = ledger
        self.show_personal_data = show_personal_data
        self.watch = watch
        self._data_docs = data_docs
        self._event_facts = event_facts
        self._detail: RunDetail | None = None

    # ---------- overview

    @cached_property
    def status(self) -> Status:
        """The product's numbers, what is pending, what to do next."""
        self.watch("Counting what is migrated and pending")
        return status.status(self.session, self.database, self.ledger)

    @cached_property
    def progress(self) -> list[Step]:
        """Rows written by this tool over time."""
        return runs.progress(self.session, self.ledger)

    @cached_property
    def evidence(self) -> list[Evidence]:
        """Validations, verifications and exports of the log, the newest first."""
        return evidence.recorded(self.session, self.ledger)

    @cached_property
    def checklist(self) -> list[Item]:
        """The steps of the migration and what shows that they were taken."""
        return checklist.items(self.status, self.runs, self.evidence)

    # ---------- events

    @cached_property
    def event_facts(self) -> EventFacts:
        """What is known of all events: the reports, drift, and samples."""
        return self._event_facts or events.facts(
            self.session, self.database, show_personal_data=self.show_personal_data, watch=self.watch
        )

    # ---------- campaigns

    @cached_property
    def settled(self) -> Report:
        """Campaigns that are migrated or that the next run writes."""
        return campaigns.settled(self.session, self.database, show_personal_data=self.show_personal_data)

    @cached_property
    def ambiguous(self) -> tuple[list[Ambiguous], str]:
        """Campaigns that wait for a person; and why they cannot be read."""
        self.watch("Reading the campaigns")
        return campaigns.ambiguous(self.session, self.database, show_personal_data=self.show_personal_data)

    @cached_property
    def orphaned(self) -> Report:
        """Integrations that no campaign names."""
        return campaigns.orphaned(self.session, self.database, show_personal_data=self.show_personal_data)

    # ---------- runs

    @cached_property
    def runs(self) -> list[Run]:
        """All runs, the newest first."""
        return self.ledger.runs(self.session)

    def run(self, run_id: str) -> RunDetail | None:
        """One run by its whole id; None when there is none."""
        try:
            wanted = UUID(run_id)
        except ValueError:
            return None
        if self._detail is not None and self._detail.run.run_id == wanted:  # its page, its report, its JSON
            return self._detail
        found = self._runs_by_id.get(wanted)
        if found is None:
            return None
        self._detail = runs.detail(
            self.session, self.ledger, found, self._rollbacks.get(wanted, ()),
            show_personal_data=self.show_personal_data,
        )  # fmt: skip
        return self._detail

    @cached_property
    def runs_with_pages(self) -> frozenset[UUID]:
        """The runs that have pages of their own in files: those of more than one good batch before others,
        the newest of each kind."""

        def is_plain(one: Run) -> bool:
            return one.status == "done" and not one.failed and one.batches < 2 and not one.rolls_back

        ordered = sorted(self.runs, key=is_plain)  # the newest first of each kind
        return frozenset(one.run_id for one in ordered[:RUNS_WITH_PAGES])

    @cached_property
    def _runs_by_id(self) -> dict[UUID, Run]:
        return {one.run_id: one for one in self.runs}

    @cached_property
    def _rollbacks(self) -> dict[UUID, list[Run]]:
        found: dict[UUID, list[Run]] = {}
        for one in self.runs:
            if one.rolls_back is not None:
                found.setdefault(one.rolls_back, []).append(one)
        return found

    @cached_property
    def strangers(self) -> Strangers:
        """Rows of migration_log that no run of this tool wrote."""
        return runs.strangers(self.session, self.ledger)

    # ---------- validation and lineage

    @cached_property
    def data_docs(self) -> Path | None:
        """The folder of the last Data Docs of this database."""
        folder = self._data_docs
        return folder if folder is not None and data_docs.is_of(folder, self.database.label) else None

    @cached_property
    def data_docs_made_at(self) -> datetime | None:
        """When the validation of these Data Docs was."""
        return data_docs.made_at(self.data_docs) if self.data_docs is not None else None

    @cached_property
    def models(self) -> list[Model]:
        """The models and what they read."""
        return lineage.models(self.database)

    @cached_property
    def dbt_page(self) -> Path | None:
        """dbt's documentation of this database, as one page."""
        return lineage.dbt_page(self.database)
