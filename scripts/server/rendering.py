"""The pages that only the server has, and the site's own pages, made at the moment they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.responses import HTMLResponse

from scripts.commands.opened import opened
from scripts.connection import Session
from scripts.ledger import Ledger
from scripts.server.access import CSRF_FIELD
from scripts.server.sessions import LoginSession
from scripts.settings import Database
from scripts.site import pages
from scripts.site.reader import Reader
from scripts.site.rendering import NAVIGATION, Frame, Page, Renderer

ADMIN = "admin/data-migration"
_NAVIGATION = (("admin", ADMIN, "Migrate"), *NAVIGATION)
_TEMPLATES = Path(__file__).parent / "templates"


class Pages:
    """Renders pages for a signed-in administrator, or (`session` None) for somebody who is not."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def render(
        self, path: str, template: str, title: str, session: LoginSession | None, *, status: int = 200, **values: Any
    ) -> HTMLResponse:
        """One of the server's own pages."""
        page = Page(path, template, "admin", title, values)
        return HTMLResponse(self._renderer(session).render(page, **_account(session)), status)

    def of_site(self, path: str, session: LoginSession) -> HTMLResponse | None:
        """A page of the review site, with the numbers of now; None when there is no such page."""
        with self.opened() as (connection, ledger):
            found = pages.find(Reader(connection, self._database, ledger), path)
            if found is None:
                return None
            return HTMLResponse(self._renderer(session).render(found, **_account(session)))

    def opened(self) -> AbstractContextManager[tuple[Session, Ledger]]:
        """A session of the database; its errors become UserErrors."""
        return opened(self._database, "serve")

    def _renderer(self, session: LoginSession | None) -> Renderer:
        navigation = _NAVIGATION if session is not None else ()
        label = self._database.label if session is not None else ""
        return Renderer(Frame(label, datetime.now(UTC), live=True, navigation=navigation), templates=_TEMPLATES)


def _account(session: LoginSession | None) -> dict[str, Any]:
    if session is None:
        return {}
    return {"account": {"name": session.administrator.name, "csrf": session.csrf, "field": CSRF_FIELD}}


Render = Callable[..., HTMLResponse]
