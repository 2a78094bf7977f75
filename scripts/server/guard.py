"""What holds for every request: known hosts only, small bodies, headers that keep a browser strict, no tracebacks."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
import time
import traceback
from html import escape

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scripts.server.configuration import Configuration

LARGEST_BODY = 65_536
#: So long a body may take to come.
BODY_SECONDS = 30.0

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# `same-origin`, not `no-referrer`: with that one, browsers send `Origin: null` with a form, and what changes something
# could no longer be told from a foreign page's request. Other sites get no referrer either way.
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "x-frame-options": "DENY",
}


async def unforeseen(request: Request, error: Exception) -> Response:
    """The application's own handler of what nobody foresaw: leave it to Guard, which does not answer for it."""
    raise error


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, configuration: Configuration) -> None:
        self._app = app
        self._configuration = configuration

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(raw=message["headers"])
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if self._configuration.secure:
                    headers.setdefault("strict-transport-security", "max-age=31536000")
                message["headers"] = headers.raw
            await send(message)

        headers = Headers(scope=scope)
        if headers.get("host", "").lower() not in self._configuration.hosts:
            # A name that somebody made point here (DNS rebinding) would make their page one of ours.
            await respond(scope, answer, 400, _UNKNOWN_NAME)
            return
        try:
            length = int(headers.get("content-length", "0"))
        except ValueError:
            length = -1
        if not 0 <= length <= LARGEST_BODY:
            await respond(scope, answer, 413, _TOO_LARGE)
            return
        received, whole, began = 0, False, 0.0

        async def limited() -> Message:
            nonlocal received, whole, began
            if whole:  # what comes now is the end of the connection, for which an answer may wait as long as it likes
                return await receive()
            began = began or time.monotonic()
            try:
                message = await asyncio.wait_for(receive(), began + BODY_SECONDS - time.monotonic())
            except TimeoutError:
                raise HTTPException(408, "The body takes too long.", _CLOSE) from None
            received += len(message.get("body", b""))
            if received > LARGEST_BODY:
                raise HTTPException(413, _TOO_LARGE, _CLOSE)
            whole = not message.get("more_body", False)
            return message

        try:
            await self._app(scope, limited, answer)
        except ClientDisconnect:
            return
        except Exception as error:
            said = unexpected(scope["method"], scope["path"], error)
            if not started:
                await respond(scope, answer, 500, said)


_TOO_LARGE = f"The body is larger than {LARGEST_BODY:,} bytes."
_CLOSE = {"Connection": "close"}
_UNKNOWN_NAME = (
    "This server is not known under that name. (A proxy in front of it must pass on the Host header as it is, and "
    "MIGRATION_PUBLIC_URL must be its address.)"
)


def unexpected(method: str, path: str, error: Exception) -> str:
    """Log what nobody foresaw; returns what may be said of it.

    Nothing of the error is shown: it may quote a row, a secret or a path.
    """
    reference = secrets.token_hex(4)
    log(f"{method} {path}: {type(error).__name__} (reference {reference})")
    if os.environ.get("MIGRATION_DEBUG"):
        traceback.print_exception(error)
    return f"Something went wrong. The server's log has it as {reference}."


async def respond(scope: Scope, send: Send, status: int, text: str) -> None:
    """A plain answer, for where the application is not asked: JSON for the endpoints, HTML for people."""
    if scope["path"].startswith("/functions/"):
        kind, body = "application/json", json.dumps(failure(text)).encode()
    else:
        kind = "text/html; charset=utf-8"
        body = f'<!DOCTYPE html><html lang="en"><title>{status}</title><h1>{status}</h1><p>{escape(text)}'.encode()
    headers = [
        (b"content-type", kind.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def failure(text: str) -> dict[str, object]:
    """The body of an endpoint's error."""
    return {"success": False, "error": text, "message": text}


def log(text: str) -> None:
    """One line on stderr, with nothing in it that a client could forge a line with."""
    print("".join(character if character.isprintable() else "?" for character in text), file=sys.stderr, flush=True)
