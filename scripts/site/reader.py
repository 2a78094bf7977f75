"""Everything that the pages ask of the database, each thing once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from uuid import UUID

from scripts import status
from scripts.connection import Session
from scripts.ledger import Ledger, Run
from scripts.settings import Database
from scripts.site import checklist, runs
from scripts.site.checklist import Item
from scripts.site.runs import RunDetail, Step
from scripts.status import Status


class Reader:
    """The answers of one database at one time. Reads only; make a new one for each build or request.

    `watch` is told what takes long.
    """

    def __init__(
        self,
        session: Session,
        database: Database,
        ledger: Ledger,
        *,
        show_personal_data: bool = False,
        watch: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.session = session
        self.database = database
        self.ledger = ledger
        self.show_personal_data = show_personal_data
        self.watch = watch

    @cached_property
    def status(self) -> Status:
        """The product's numbers, what is pending, what to do next."""
        return status.status(self.session, self.database, self.ledger)

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
    def progress(self) -> list[Step]:
        """Rows written by this tool over time."""
        return runs.progress(self.session, self.ledger)

    @cached_property
    def checklist(self) -> list[Item]:
        """The steps of the migration and what shows that they were taken."""
        return checklist.items(self.status, self.runs)
