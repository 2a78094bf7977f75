"""The admin page and what its buttons do."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, RedirectResponse, Response, StreamingResponse

from scripts import decisions, project
from scripts.connection import Session
from scripts.errors import RunInProgress, UserError
from scripts.ledger import Run
from scripts.server import actions
from scripts.server.access import Access, SignInNeeded
from scripts.server.counts import Counts
from scripts.server.jobs import Job, Jobs
from scripts.server.live import Live, Now, Progress
from scripts.server.log_page import LogQuery, read_log
from scripts.server.rendering import ADMIN, Pages
from scripts.server.sessions import LoginSession
from scripts.settings import Database

SHOWN_RUNS = 10
SHOWN_JOBS = 12
_KINDS = {"report.json": "application/json", "plan.json": "application/json"}


class Admin:
    """What the admin page reads and does; each method is called in a thread."""

    def __init__(self, access: Access, pages: Pages, jobs: Jobs, live: Live, ending: Callable[[], bool]) -> None:
        self.access = access
        self.pages = pages
        self.jobs = jobs
        self.live = live
        self.ending = ending
        self.counts = Counts(access.database)
        self.database: Database = access.database

    # ---------- pages

    def page(self, session: LoginSession, *, problem: str = "", code: int = 200) -> Response:
        """The admin page itself."""
        now = self.live.now(fresh=True)
        happened = [(run.run_id, run.status) for run in now.runs], [(job.id, job.state) for job in now.jobs]
        with self.pages.opened() as (connection, ledger):
            found = self.counts.now(connection, ledger, happened)
        panels = [
            {
                "command": command,
                "target": next((one for one in found.targets if one.command == command), None),
                "ready": actions.readiness(now.jobs, now.runs, command),
                "progress": next((one for one in now.progress if one.run.command == command), None),
            }
            for command in actions.COMMANDS
        ]
        return self.pages.render(
            ADMIN, "admin.html", "Data migration", session, status=code, problem=problem, now=now, panels=panels,
            waiting=found.waiting, backups=found.backups,
            runs=[run for run in now.runs if run.kind != "dry_run"][:SHOWN_RUNS], jobs=now.jobs[:SHOWN_JOBS],
            validation=next((job for job in now.jobs if job.action == "validate"), None),
            local=not self.access.configuration.supabase, rolled_back=_rolled_back(now.runs),
        )  # fmt: skip

    def job_page(self, job_id: str, session: LoginSession, *, problem: str = "", code: int = 200) -> Response:
        """A job: what it did, its report, and what can be done next."""
        now = self.live.now(fresh=True)
        job = next((one for one in now.jobs if one.id == job_id), None) or self.job(job_id)
        newest = next((one for one in now.jobs if (one.action, one.subject) == (job.action, job.subject)), job)
        return self.pages.render(
            f"{ADMIN}/jobs/{job.id}", "job.html", job.name, session, status=code, problem=problem, now=now, job=job,
            report=None if job.running else job.report, newest=newest.id == job.id, rows=actions.writable(job),
            ready=actions.readiness(now.jobs, now.runs, job.subject) if job.action == "dry_run" else None,
            restorable=actions.restorable(job),
            progress=_progress(job, now),
            used=next((one for one in now.jobs if one.based_on == job.id), None),
        )  # fmt: skip

    def campaigns_page(self, session: LoginSession, *, problem: str = "", code: int = 200) -> Response:
        """The campaigns that wait for a person, each with a form that settles it."""
        answer = self.site_page("campaigns.html", session, problem=problem)
        assert answer is not None
        answer.status_code = code
        return answer

    def site_page(self, path: str, session: LoginSession, *, problem: str = "", settled: str = "") -> Response | None:
        """A page of the review site; what it says of campaigns is what the models say."""
        if path == "campaigns.html":
            try:
                project.bring_up_to_date(self.database, "campaigns")
            except RunInProgress as busy:
                problem = problem or busy.message
        return self.pages.of_site(path, session, asked={"problem": problem, "settled": settled})

    def log_page(self, query: LogQuery, session: LoginSession) -> Response:
        """The log, filtered."""
        with self.pages.opened() as (connection, ledger):
            found = read_log(connection, ledger, query)
        return self.pages.render(
            f"{ADMIN}/log", "log.html", "Log", session, now=self.live.now(), query=query, log=found
        )

    def job(self, job_id: str) -> Job:
        """A job. Raises HTTPException 404."""
        found = self.jobs.find(job_id)
        if found is None:
            raise HTTPException(404, "There is no such job.")
        return found

    def runs(self) -> list[Run]:
        """The newest runs."""
        with self.pages.opened() as (connection, ledger):
            return ledger.runs(connection, limit=200)

    # ---------- changes: each returns where to go next

    def start(self, form: FormData, session: LoginSession) -> str:
        """Start what a button says."""
        by, action = session.administrator, _text(form, "action")
        command = _text(form, "command")
        if action in ("dry_run", "apply") and command not in actions.COMMANDS:
            raise HTTPException(400, "There is no such migration.")
        if action == "dry_run":
            job = actions.dry_run(self.jobs, command, by)
        elif action == "apply":
            job = actions.apply(
                self.jobs, self.runs(), command, _text(form, "dry_run"), _text(form, "typed"), by,
                batch_size=_whole(form, "batch_size"), allow_new=_text(form, "allow_new") == "yes",
            )  # fmt: skip
        elif action == "rollback_preview":
            run_id = _text(form, "run")
            run = next((one for one in self.runs() if str(one.run_id) == run_id), None)
            if run is None:
                raise HTTPException(400, "There is no such run.")
            job = actions.rollback_preview(self.jobs, run, by)
        elif action == "rollback":
            job = actions.rollback(
                self.jobs, self.runs(), self.job(_text(form, "preview")), _text(form, "typed"), by
            )  # fmt: skip
        elif action == "validate":
            job = actions.validate(self.jobs, by)
        elif action == "backup":
            job = actions.backup(self.jobs, by, everything=_text(form, "everything") == "yes")
        else:
            raise HTTPException(400, "There is no such action.")
        return f"/{ADMIN}/jobs/{job.id}" if action != "apply" else f"/{ADMIN}#{command}"

    def review(self, job_id: str, session: LoginSession) -> str:
        """Record that a dry run's report was read."""
        job = self.job(job_id)
        self.jobs.review(job, session.administrator)
        return f"/{ADMIN}#{job.subject}"

    def control(self, run_id: str, form: FormData, session: LoginSession) -> str:
        """Pause, resume or cancel a run."""
        asked = _text(form, "control")
        if asked not in ("run", "pause", "cancel"):
            raise HTTPException(400, "There is no such request.")
        try:
            run = UUID(run_id)
        except ValueError:
            raise HTTPException(404, "There is no such run.") from None
        with self.pages.opened() as (connection, ledger):
            found = ledger.find_run(connection, str(run))
            ledger.request(connection, run, asked, session.administrator.user_id)
        return f"/{ADMIN}#{found.command}"

    def read_events(self, _: LoginSession) -> str:
        """Read the reports about events anew, in the background."""
        self.pages.event_reports.start()
        return "/events.html"

    def settle(self, form: FormData, session: LoginSession) -> str:
        """Settle a campaign, or take a decision back."""
        campaign = decisions.parse_campaign(_text(form, "campaign"))
        by = str(session.administrator.user_id or session.administrator.name)
        note = _text(form, "note")[:500] or None
        schema, take_back = self.database.schema, bool(_text(form, "take_back"))
        with self.pages.opened() as (connection, _):
            if take_back:
                decisions.take_back(connection, schema, campaign, note=note, by=by)
            else:
                _refuse_settled(connection, schema, campaign)
                decisions.decide(connection, schema, campaign, _text(form, "answer"), note=note, by=by)
        self.counts.forget()
        if take_back:
            return "/campaigns.html"
        return f"/campaigns.html?settled={campaign}"


def router(admin: Admin) -> APIRouter:
    """Everything below /admin/data-migration."""
    routes = APIRouter(prefix=f"/{ADMIN}", include_in_schema=False)
    access = admin.access

    async def changed(
        request: Request, change: Callable[..., str], again: Callable[..., Response], *arguments: Any
    ) -> Response:
        """Do it and go on to a page; what cannot be done is said on the page that it was asked on."""
        session = await access.change(request)
        try:
            where = await run_in_threadpool(change, *arguments, session)
        except UserError as error:
            code = 409 if isinstance(error, RunInProgress) else 400
            return await run_in_threadpool(again, session, problem=error.message, code=code)
        return RedirectResponse(where, 303)

    @routes.get("")
    async def page(request: Request) -> Response:
        return await run_in_threadpool(admin.page, await access.browser(request))

    @routes.post("/start")
    async def start(request: Request) -> Response:
        form = await request.form()
        preview = _text(form, "preview")

        def again(session: LoginSession, **said: Any) -> Response:
            return admin.job_page(preview, session, **said) if preview else admin.page(session, **said)

        return await changed(request, admin.start, again, form)

    @routes.get("/jobs/{job_id}")
    async def job(request: Request, job_id: str) -> Response:
        return await run_in_threadpool(admin.job_page, job_id, await access.browser(request))

    @routes.get("/jobs/{job_id}/{name}")
    async def job_file(request: Request, job_id: str, name: str) -> Response:
        await access.browser(request)
        found = admin.job(job_id)
        if name not in found.files:
            raise HTTPException(404, "There is no such file.")
        return FileResponse(
            found.folder / name, media_type=_KINDS.get(name, "text/plain; charset=utf-8"),
            filename=f"{found.action}-{found.subject or 'all'}-{found.id}-{name}",
        )  # fmt: skip

    @routes.post("/jobs/{job_id}/review")
    async def review(request: Request, job_id: str) -> Response:
        return await changed(
            request, admin.review, lambda session, **said: admin.job_page(job_id, session, **said), job_id
        )

    @routes.post("/runs/{run_id}/control")
    async def control(request: Request, run_id: str) -> Response:
        return await changed(request, admin.control, admin.page, run_id, await request.form())

    @routes.post("/campaigns")
    async def settle(request: Request) -> Response:
        return await changed(request, admin.settle, admin.campaigns_page, await request.form())

    @routes.post("/events")
    async def events(request: Request) -> Response:
        return await changed(request, admin.read_events, admin.page)

    @routes.get("/log")
    async def log(request: Request) -> Response:
        session = await access.browser(request)
        return await run_in_threadpool(admin.log_page, LogQuery.of(request.query_params), session)

    @routes.post("/link")
    async def link(request: Request) -> Response:
        session = await access.change(request)
        if access.configuration.supabase:
            raise HTTPException(404, "Not found.")
        origin = request.headers["origin"]
        return await run_in_threadpool(
            admin.pages.render, f"{ADMIN}/link", "link.html", "One-time link", session,
            link=f"{origin}/login?token={access.sessions.new_link()}",
        )  # fmt: skip

    @routes.get("/live")
    async def live(request: Request) -> Response:
        await access.browser(request)

        async def events() -> AsyncIterator[str]:
            last, silent = "", 0  # what was sent last, and how many seconds ago
            yield "retry: 2000\n\n"
            while not (admin.ending() or await request.is_disconnected()):
                try:
                    await access.browser(request)
                    said = f"data: {(await run_in_threadpool(admin.live.now)).event()}\n\n"
                except SignInNeeded:
                    return  # the browser asks again, and is sent to the login
                except (UserError, HTTPException):
                    said = "event: away\ndata: -\n\n"  # the database does not answer
                if said != last:
                    yield said
                    last, silent = said, 0
                elif (silent := silent + 1) % 15 == 0:
                    yield ": still here\n\n"
                await asyncio.sleep(1)

        return StreamingResponse(events(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    return routes


def _progress(job: Job, now: Now) -> Progress | None:
    """How far the run of a job is that has not ended."""
    for one in now.progress:
        subject = one.run.command if one.run.kind == "apply" else str(one.run.rolls_back)
        if job.running and (job.action, job.subject) == (one.run.kind, subject):
            return one
    return None


def _refuse_settled(session: Session, schema: str, campaign_id: UUID) -> None:
    """Raise UserError when another administrator has settled the campaign since the page was read."""
    found = decisions.campaign(session, schema, campaign_id)
    if (found.outcome, found.decided_in) != ("resolved", "table"):
        return
    last = decisions.decisions(session, schema, campaign_id)[0]
    raise UserError(
        f"Campaign {campaign_id} was settled meanwhile, by {last.decided_by} at {last.decided_at:%Y-%m-%d %H:%M:%S} "
        f"UTC: {last.answer}. Who knows better takes that back first: `migrate decide {campaign_id} --undo`."
    )


def _rolled_back(runs: list[Run]) -> set[UUID]:
    """The runs that were rolled back as a whole."""
    return {
        run.rolls_back
        for run in runs
        if run.rolls_back is not None and run.status == "done" and not run.settings.get("one_batch")
    }


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    return value.strip() if isinstance(value, str) else ""


def _whole(form: FormData, name: str) -> int | None:
    text = _text(form, name)
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= actions.LARGEST_BATCH:
        raise UserError(f"The size of a batch must be a number from 1 to {actions.LARGEST_BATCH:,}.")
    return int(text)
