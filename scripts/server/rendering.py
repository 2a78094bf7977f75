"""The pages that only the server has, and the site's own pages, made at the moment they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response, StreamingResponse

from scripts import data_docs, evidence
from scripts.commands.opened import opened
from scripts.connection import Session
from scripts.ledger import Ledger
from scripts.paths import project_dir
from scripts.server.access import CSRF_FIELD
from scripts.server.event_reports import EventReports
from scripts.server.sessions import LoginSession
from scripts.settings import Database
from scripts.site import downloads, pages
from scripts.site.reader import Reader
from scripts.site.rendering import NAVIGATION, Frame, Page, Renderer

ADMIN = "admin/data-migration"
_NAVIGATION = (("admin", ADMIN, "Migrate"), *NAVIGATION)
#: So long a download may stand still.
DOWNLOAD_IDLE = "60s"
#: What the Data Docs are made of.
_TYPES = (".html", ".css", ".js")
_TEMPLATES = Path(__file__).parent / "templates"


class Pages:
    """Renders pages for a signed-in administrator, or (`session` None) for somebody who is not.

    `own_data_docs`: where a validation that was started from here puts its pages.
    """

    def __init__(self, database: Database, own_data_docs: Path) -> None:
        self._database = database
        self._data_docs = own_data_docs
        self.event_reports = EventReports(database)

    def render(
        self, path: str, template: str, title: str, session: LoginSession | None, *, status: int = 200, **values: Any
    ) -> HTMLResponse:
        """One of the server's own pages."""
        page = Page(path, template, "admin", title, values)
        return HTMLResponse(self._renderer(session).render(page, **_account(session)), status)

    def of_site(self, path: str, session: LoginSession, **values: Any) -> Response | None:
        """A page or download of the review site, with the numbers of now; None when there is none of this path.

        The reports about events are those of `event_reports`; raises HTTPException 409 for a download of one that was
        not read.
        """
        table = path.removeprefix("data/").rpartition(".")[0] if path.startswith("data/") else ""
        of_events = path == "events.html" or table in downloads.OF_EVENTS
        facts = self.event_reports.look() if of_events else None
        if facts is not None and table and (problem := facts.problem_of(table)):
            raise HTTPException(409, f"{problem} The page of the events says more.")
        with ExitStack() as stack:
            connection, ledger = stack.enter_context(self.opened())
            reader = Reader(connection, self._database, ledger, data_docs=self._newest_data_docs(), event_facts=facts)
            page = pages.find(reader, path)
            if page is not None:
                more = {**values, "reading_since": self.event_reports.since} if of_events else values
                html = self._renderer(session).render(page, **_account(session), **more)
                return HTMLResponse(html)
            download = downloads.find(reader, path)
            if download is None:
                return None
            # Whoever stops reading a download must not keep old rows from being cleaned up.
            connection.settings = {**connection.settings, "idle_in_transaction_session_timeout": DOWNLOAD_IDLE}
            if not connection.transaction_pooling:
                connection.apply_settings(local=False)
            kept = stack.pop_all()

        name = path.rpartition("/")[2]

        def pieces() -> Iterator[str]:
            # The session ends with the download, or with the client's patience; before the generators that read from it
            # (`yield from` would end them first), which else would ask it to close what is gone.
            with kept:
                for piece in download.pieces:  # noqa: UP028
                    yield piece
                if table == "migration_log":
                    # All of it was taken: as good as `migrate log --output`, for the checklist. What cannot be recorded
                    # is no reason to break off a download.
                    by = session.administrator.name
                    summary = {"rows": download.rows, "format": name.rpartition(".")[2], "by": by}
                    evidence.record(connection, ledger, evidence.LOG_EXPORT, summary)

        return StreamingResponse(
            pieces(), media_type=download.media_type,
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )  # fmt: skip

    def file(self, path: str) -> Path | None:
        """A file of the Data Docs (validation/...) or dbt's own page (lineage/index.html); None when there is none."""
        with self.opened() as (connection, ledger):
            reader = Reader(connection, self._database, ledger, data_docs=self._newest_data_docs())
            if path == "lineage/index.html":
                return reader.dbt_page
            root = reader.data_docs
        if root is None or not path.startswith("validation/"):
            return None
        try:
            wanted = (root / path.removeprefix("validation/")).resolve()
            inside = wanted.is_relative_to(root.resolve()) and wanted.suffix in _TYPES and wanted.is_file()
        except (OSError, ValueError):  # no name that a file could have
            return None
        return wanted if inside else None

    def opened(self) -> AbstractContextManager[tuple[Session, Ledger]]:
        """A session of the database; its errors become UserErrors."""
        return opened(self._database, "serve")

    def _newest_data_docs(self) -> Path | None:
        """The Data Docs that were made from here or by `migrate validate`, whichever is newer."""
        folders = (self._data_docs, project_dir() / "site" / "data_docs")
        found = [folder for folder in folders if data_docs.is_of(folder, self._database.label)]
        return max(found, key=lambda folder: (folder / "index.html").stat().st_mtime, default=None)

    def _renderer(self, session: LoginSession | None) -> Renderer:
        navigation = _NAVIGATION if session is not None else ()
        label = self._database.label if session is not None else ""
        return Renderer(Frame(label, datetime.now(UTC), live=True, navigation=navigation), templates=_TEMPLATES)


def _account(session: LoginSession | None) -> dict[str, Any]:
    if session is None:
        return {}
    return {"account": {"name": session.administrator.name, "csrf": session.csrf, "field": CSRF_FIELD}}
