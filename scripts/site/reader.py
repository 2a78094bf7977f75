"""Everything that the pages ask of the database, each thing once."""

from __future__ import annotations

from collections.abc import Callable
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
from scripts.site.events import Drift, Sample
from scripts.site.lineage import Model
from scripts.site.reports import Report
from scripts.site.runs import RunDetail, Step, Strangers
from scripts.status import Status


class Reader:
    """The answers of one database at one time. Reads only; make a new one for each build or request.

    `data_docs` is the folder of the Data Docs that `migrate validate` made (they count only when they are of this
    database). `watch` is told what takes long: the reports about events look at every event, `drift` the longest.
    """

    def __init__(
        self,
        session: Session,
        database: Database,
        ledger: Ledger,
        *,
        show_personal_data: bool = False,
        data_docs: Path | None = None,
        watch: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.session = session
        self.database = database
        self.ledger = ledger
        self.show_personal_data = show_personal_data
        self.watch = watch
        self._data_docs = data_docs
        self._reports: dict[str, Report] = {}

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

    def report(self, name: str) -> Report:
        """The report providers, coverage or templates."""
        if name not in self._reports:
            self.watch(f"Reading the report about {name}")
            self._reports[name] = events.report(self.session, self.database, name)
        return self._reports[name]

    @cached_property
    def drift(self) -> tuple[list[Drift], str]:
        """Stored values that the models would write otherwise; and why that cannot be told."""
        self.watch("Comparing every migrated event with what the models make of it now")
        return events.drift(self.session, self.database)

    @cached_property
    def samples(self) -> list[Sample]:
        """Events before and after."""
        return events.samples(self.session, self.database, show_personal_data=self.show_personal_data)

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
        found = next((one for one in self.runs if one.run_id == wanted), None)
        if found is None:
            return None
        return runs.detail(self.session, self.ledger, found, self.runs, show_personal_data=self.show_personal_data)

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
    def models(self) -> list[Model]:
        """The models and what they read."""
        return lineage.models(self.database)

    @cached_property
    def dbt_page(self) -> Path | None:
        """dbt's documentation of this database, as one page."""
        return lineage.dbt_page(self.database)
