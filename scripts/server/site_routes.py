"""The review site, live: its pages, downloads and static files, the Data Docs and dbt's own page."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from scripts.server.admin import Admin
from scripts.server.guard import POLICY
from scripts.site import lineage

# Great Expectations' pages style single elements. No script but the site's own file runs in them.
_DATA_DOCS_POLICY = POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
# dbt's page is one file full of scripts: it gets an origin of its own, from which nothing here can be reached.
_DBT_POLICY = (
    "sandbox allow-scripts allow-popups; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'unsafe-inline'; img-src data:; font-src data:; base-uri 'none'; frame-ancestors 'none'"
)
_MEDIA = {
    ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".png": "image/png",
    ".html": "text/html; charset=utf-8",
}  # fmt: skip


def router(admin: Admin) -> APIRouter:
    """Everything that is not the admin page; to be included last."""
    routes = APIRouter(include_in_schema=False)
    access = admin.access
    static = _static()

    @routes.get("/")
    async def root() -> Response:
        return RedirectResponse("/index.html", 303)

    @routes.get("/static/{path:path}")
    async def asset(path: str) -> Response:
        # No secrets in them, and the login page needs them.
        if path not in static:
            raise HTTPException(404, "There is no such file.")
        return FileResponse(static[path], media_type=_MEDIA[static[path].suffix], headers={"Cache-Control": "no-cache"})

    @routes.get("/{path:path}")
    async def page(request: Request, path: str) -> Response:
        session = await access.browser(request)
        settled = _campaign(request.query_params.get("settled", ""))
        found = await run_in_threadpool(admin.site_page, path, session, settled=settled)
        if found is not None:
            return found
        file = await run_in_threadpool(admin.pages.file, path)
        if file is None:
            raise HTTPException(404, "There is no such page.")
        if path.startswith("lineage/"):
            text = await run_in_threadpool(file.read_text, encoding="utf-8")
            return HTMLResponse(lineage.without_requests(text), headers={"Content-Security-Policy": _DBT_POLICY})
        return FileResponse(
            file, media_type=_MEDIA[file.suffix], headers={"Content-Security-Policy": _DATA_DOCS_POLICY}
        )

    return routes


def _campaign(text: str) -> str:
    """An id as it is said on a page, where no other text of an address is."""
    try:
        return str(UUID(text))
    except ValueError:
        return ""


def _static() -> dict[str, Path]:
    """The static files of the site and of the server, by name: what is not listed is not served."""
    found: dict[str, Path] = {}
    for package in ("scripts.site", "scripts.server"):
        folder = Path(str(files(package))) / "static"
        for path in folder.rglob("*"):
            if path.is_file() and path.suffix in _MEDIA:
                found[path.relative_to(folder).as_posix()] = path
    return found
