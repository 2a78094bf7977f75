"""The application: everything put together."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from scripts.server import functions
from scripts.server.access import Access
from scripts.server.guard import Guard, failure

DESCRIPTION = "The product's two migration endpoints, served by the canonical migration."


def application(access: Access) -> ASGIApp:
    """The whole server, as ASGI."""
    app = FastAPI(
        title="Canonical migration", version="1", description=DESCRIPTION, docs_url=None, redoc_url=None,
        openapi_url="/openapi.json", redirect_slashes=False,
    )  # fmt: skip
    app.add_exception_handler(HTTPException, _refused)
    app.include_router(functions.router(access))

    @app.get("/health", summary="Whether the server answers", operation_id="health")
    def health() -> dict[str, str]:
        """Says nothing about the database."""
        return {"status": "ok"}

    return Guard(app, access.configuration)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    body: Any = failure(error.detail)
    return JSONResponse(body, error.status_code, headers=error.headers)
