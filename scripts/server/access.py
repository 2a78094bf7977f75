"""Who may do what: the bearer tokens of programs, the sessions of browsers, origins and CSRF tokens."""

from __future__ import annotations

import hmac
import time
from dataclasses import dataclass
from uuid import UUID

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response

from scripts.commands.opened import opened
from scripts.errors import UserError
from scripts.server import admins
from scripts.server.configuration import Configuration
from scripts.server.guard import log
from scripts.server.sessions import LOCAL, LOCAL_SESSION_SECONDS, Administrator, LoginLimit, LoginSession, Sessions
from scripts.server.tokens import Claims, KeysUnavailable, TokenRefused, Tokens
from scripts.settings import Database

#: A browser's user is asked again whether it is an administrator, so that one who is dismissed is out soon.
RECHECK_SECONDS = 30.0
CSRF_FIELD = "csrf"
CSRF_HEADER = "x-csrf-token"
_BEARER = {"WWW-Authenticate": "Bearer"}


class SignInNeeded(Exception):  # noqa: N818  (the name says what happened)
    """A browser without a session."""


@dataclass
class Access:
    """The one place that decides who comes in."""

    configuration: Configuration
    database: Database
    sessions: Sessions
    limit: LoginLimit
    tokens: Tokens

    @classmethod
    def of(cls, configuration: Configuration, database: Database) -> Access:
        """With nobody signed in."""
        return cls(configuration, database, Sessions(), LoginLimit(), Tokens(configuration))

    @property
    def cookie(self) -> str:
        """The session cookie's name; `__Host-` makes browsers refuse it from other hosts and without TLS.

        The port is in it, because browsers send cookies to every port of a host: two servers would sign each other out.
        """
        return f"{'__Host-' if self.configuration.secure else ''}migration-{self.configuration.port}"

    # ---------- programs

    async def program(self, request: Request) -> Administrator:
        """The administrator of a bearer token. Raises HTTPException 401, 403 or 503."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        token = token.strip()
        if not token or scheme.lower() != "bearer":
            raise HTTPException(401, "A bearer token is needed: Authorization: Bearer <token>.", _BEARER)
        if self.configuration.supabase:
            return (await self._supabase(token))[0]
        found = self.sessions.bearer(token)
        if found is None:
            raise HTTPException(
                401, "The token is not known, or was used up. `migrate serve` prints one when it starts.", _BEARER
            )
        return found.administrator

    async def _supabase(self, token: str) -> tuple[Administrator, Claims]:
        try:
            claims = await run_in_threadpool(self.tokens.verify, token)
        except TokenRefused as refused:
            raise HTTPException(401, str(refused), {"WWW-Authenticate": 'Bearer error="invalid_token"'}) from None
        except KeysUnavailable as unavailable:
            raise HTTPException(503, str(unavailable), {"Retry-After": "60"}) from None
        administrator = Administrator(f"user {claims.user_id}", claims.user_id)
        # Any user of the product has a valid token: none of them may keep the database busy with this question.
        wait = self.limit.wait(administrator.name)
        if wait:
            raise _too_many(wait)
        if not await self._is_admin(administrator):
            self.limit.failed(administrator.name)
            raise HTTPException(403, "This user is no administrator.")
        return administrator, claims

    async def _is_admin(self, administrator: Administrator) -> bool:
        """Ask the database. Raises HTTPException 503 when it does not answer."""

        def ask(user_id: UUID) -> bool:
            with opened(self.database, "serve") as (session, _):
                return admins.is_admin(session, user_id)

        if administrator.user_id is None:
            return True
        try:
            return await run_in_threadpool(ask, administrator.user_id)
        except UserError as error:
            # Whoever asks may be no administrator, whom the name of the database is none of the business of.
            log(f"Whether {administrator.name} is an administrator cannot be asked: {error.message}")
            said = "Whether you are an administrator cannot be asked now; the server's log says why."
            raise HTTPException(503, said, {"Retry-After": "60"}) from None

    def check_origin(self, request: Request) -> str | None:
        """The foreign origin that an endpoint may answer; None without one. Raises HTTPException 403 for others."""
        origin = request.headers.get("origin")
        if origin is None or origin in self.configuration.origins:
            return None
        if origin in self.configuration.allowed_origins:
            return origin
        raise HTTPException(403, "Pages of this origin may not call this server (MIGRATION_ALLOWED_ORIGINS).")

    # ---------- browsers

    async def browser(self, request: Request) -> LoginSession:
        """The session of a signed-in administrator. Raises SignInNeeded, or HTTPException 503."""
        secret = request.cookies.get(self.cookie)
        found = self.sessions.find(secret) if secret else None
        if secret is None or found is None:
            raise SignInNeeded
        if found.administrator.user_id is not None and time.monotonic() - found.checked_at > RECHECK_SECONDS:
            if not await self._is_admin(found.administrator):
                self.sessions.close(secret)
                raise SignInNeeded
            found.checked_at = time.monotonic()
        return found

    async def change(self, request: Request) -> LoginSession:
        """The same for a request that changes something: it must come from our own page, with the CSRF token."""
        self.own_page(request)
        session = await self.browser(request)
        given = request.headers.get(CSRF_HEADER)
        if given is None:
            value = (await request.form()).get(CSRF_FIELD)
            given = value if isinstance(value, str) else ""
        if not hmac.compare_digest(given.encode(), session.csrf.encode()):
            raise HTTPException(403, "The page is too old. Reload it and try again.")
        return session

    def own_page(self, request: Request) -> None:
        """Raise HTTPException 403 unless the request comes from a page of this server."""
        origin = request.headers.get("origin")
        host = request.headers.get("host", "").lower()
        if origin not in self.configuration.origins or origin.split("://", 1)[1] != host:
            raise HTTPException(403, "This request does not come from a page of this server.")

    # ---------- signing in and out

    async def sign_in(self, request: Request, token: str) -> tuple[str, LoginSession]:
        """Open a session for a one-time token or a token of Supabase; returns its secret and the session.

        After too many failures an address waits. An administrator's token of Supabase is let in all the same: it cannot
        be guessed, and behind a proxy that is not known here everybody has one address.

        Raises HTTPException 401, 403, 429 or 503.
        """
        address = request.client.host if request.client else ""
        wait = self.limit.wait(address)
        if wait and not self.configuration.supabase:
            raise _too_many(wait)
        try:
            return await self._open(token.strip())
        except HTTPException as refused:
            if refused.status_code not in (401, 403):
                raise
            self.limit.failed(address)
            raise (_too_many(wait) if wait else refused) from None

    async def _open(self, token: str) -> tuple[str, LoginSession]:
        if self.configuration.supabase:
            administrator, claims = await self._supabase(token)
            return self.sessions.open(administrator, claims.expires_at)
        if not self.sessions.redeem(token):
            raise HTTPException(401, "This link was used before or is too old.")
        return self.sessions.open(LOCAL, time.time() + LOCAL_SESSION_SECONDS)

    def set_cookie(self, response: Response, secret: str, session: LoginSession) -> None:
        """Give the browser its session."""
        response.set_cookie(
            self.cookie,
            secret,
            max_age=max(0, int(session.ends_at - time.time())),
            path="/",
            secure=self.configuration.secure,
            httponly=True,
            samesite="strict",
        )

    def sign_out(self, request: Request, response: Response) -> None:
        """End the browser's session."""
        secret = request.cookies.get(self.cookie)
        if secret:
            self.sessions.close(secret)
        response.delete_cookie(
            self.cookie, path="/", secure=self.configuration.secure, httponly=True, samesite="strict"
        )


def _too_many(wait: int) -> HTTPException:
    return HTTPException(429, f"Too many failed logins. Try again in {wait} s.", {"Retry-After": str(wait)})
