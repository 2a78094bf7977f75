"""Signing in and out: the one-time link, or a token of Supabase by a form."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from scripts.server.access import Access
from scripts.server.rendering import ADMIN, Pages


def router(access: Access, pages: Pages) -> APIRouter:
    """/login and /logout."""
    routes = APIRouter(include_in_schema=False)

    async def form(status: int = 200, problem: str = "") -> Response:
        supabase = access.configuration.supabase
        return await run_in_threadpool(
            pages.render, "login", "login.html", "Sign in", None, status=status, problem=problem, supabase=supabase
        )

    async def enter(request: Request, token: str) -> Response:
        try:
            secret, session = await access.sign_in(request, token)
        except HTTPException as refused:
            answer = await form(refused.status_code, refused.detail)
            answer.headers.update(refused.headers or {})
            return answer
        # The token is not in the new address, nor in a referrer; the old one is of no use any more.
        response = RedirectResponse(f"/{ADMIN}", 303)
        access.set_cookie(response, secret, session)
        return response

    @routes.get("/login")
    async def login(request: Request) -> Response:
        token = request.query_params.get("token")
        if token is None or access.configuration.supabase:
            return await form()
        return await enter(request, token)

    @routes.post("/login")
    async def login_by_form(request: Request) -> Response:
        access.own_page(request)
        value = (await request.form()).get("token")
        return await enter(request, value if isinstance(value, str) else "")

    @routes.post("/logout")
    async def logout(request: Request) -> Response:
        await access.change(request)
        response = RedirectResponse("/login", 303)
        access.sign_out(request, response)
        return response

    return routes
