"""The application: everything put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp

from scripts.errors import RunInProgress, UserError
from scripts.server import admin, functions, login, site_routes
from scripts.server.access import Access, SignInNeeded
from scripts.server.guard import Guard, failure, unforeseen
from scripts.server.jobs import Jobs
from scripts.server.live import Live
from scripts.server.rendering import ADMIN, Pages

DESCRIPTION = "The product's two migration endpoints, served by the canonical migration."


def application(access: Access, options: Sequence[str], ending: Callable[[], bool]) -> ASGIApp:
    """The whole server, as ASGI.

    `options`: the command line's own --profile and --target, for what it starts. `ending` says whether the server is
    about to end: whoever watches is then let go.
    """
    app = FastAPI(
        title="Canonical migration", version="1", description=DESCRIPTION, docs_url=None, redoc_url=None,
        openapi_url="/openapi.json", redirect_slashes=False,
    )  # fmt: skip
    jobs = Jobs(access.database, options)
    pages = Pages(access.database, jobs.data_docs)
    administration = admin.Admin(access, pages, jobs, Live(access.database, jobs), ending)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if request.url.path.startswith("/functions/") or not _wants_page(request):
            return JSONResponse(failure(error.detail), error.status_code, headers=error.headers)
        answer = await run_in_threadpool(
            pages.render, "message", "message.html", "Not possible", None, status=error.status_code,
            message=error.detail,
        )  # fmt: skip
        answer.headers.update(error.headers or {})
        return answer

    async def unusable(request: Request, error: Exception) -> Response:
        assert isinstance(error, UserError)
        code = 409 if isinstance(error, RunInProgress) else 500
        return await refused(request, HTTPException(code, error.message))

    async def sign_in(request: Request, error: Exception) -> Response:
        if request.method == "GET" and request.url.path != f"/{ADMIN}/live":
            return RedirectResponse("/login", 303)
        return await refused(request, HTTPException(401, "You are not signed in (any more)."))

    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(UserError, unusable)
    app.add_exception_handler(SignInNeeded, sign_in)
    app.add_exception_handler(Exception, unforeseen)
    app.include_router(functions.router(access))

    @app.get("/health", summary="Whether the server answers", operation_id="health")
    def health() -> dict[str, str]:
        """Says nothing about the database."""
        return {"status": "ok"}

    for routes in (login.router(access, pages), admin.router(administration), site_routes.router(administration)):
        app.include_router(routes)
    return Guard(app, access.configuration)


def _wants_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "text/html")
