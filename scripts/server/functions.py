"""The product's two endpoints, drop-in: they take and answer what the functions did that they replace.

The work is done by the same code as `migrate events` and `migrate campaigns`; each call that writes is a run of its
own in the log, with undo.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from psycopg import sql
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from scripts import migration
from scripts.batches import START, count_pending, walk
from scripts.commands.opened import opened
from scripts.errors import RunInProgress, UserError
from scripts.interrupts import StopRequest
from scripts.migration import Result
from scripts.server.access import Access
from scripts.server.guard import BODY_SECONDS, LARGEST_BODY, failure, log, unexpected
from scripts.server.preview import one_batch_limit, preview
from scripts.server.sessions import Administrator
from scripts.settings import Database
from scripts.writeback import Options

DEFAULT_BATCH = 100
LARGEST_BATCH = 10_000
LARGEST_OFFSET = 2**53 - 1  # what a number of JavaScript can hold
#: A call waits so long for another one of this server, which is done within seconds, before it says 409.
WAIT_SECONDS = 20.0

_DRY = "Dry run complete - no changes made. Set dryRun=false to apply changes."


# ---------- what is asked and answered


def _whole(value: Any) -> Any:
    """JSON has one kind of number: 100.0 is 100."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole)]


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    dryRun: bool = Field(default=True, description="Write nothing. Only `false` writes.")  # noqa: N815  (the product's name)
    batchSize: Whole = Field(  # noqa: N815
        default=DEFAULT_BATCH, ge=1, le=LARGEST_BATCH, description="Rows in a batch."
    )


class CampaignsRequest(_Body):
    """All pending campaigns are looked at, or written, in batches of `batchSize`."""


class EventsRequest(_Body):
    """One batch of events."""

    offset: Whole = Field(
        default=0,
        ge=0,
        le=LARGEST_OFFSET,
        description="A dry run looks at the pending rows from here on. A call that writes takes the first ones, "
        "whatever the offset: what was written before is no longer among them. Rows that the product does not count as "
        "pending but that are (a JSON null) come on top, so that its loop ends with every event migrated.",
    )


class EventError(BaseModel):
    """An event that could not be written."""

    event_id: str
    error: str


class CampaignError(BaseModel):
    """A campaign that could not be written."""

    campaign_id: str
    error: str


class AmbiguousCampaign(BaseModel):
    """A campaign that a person has to settle."""

    campaign_id: UUID
    reason: str = Field(description="A sentence.")
    code: str
    current_data: dict[str, Any] = Field(description="What the campaign holds, without credentials.")
    candidates: list[dict[str, Any]]


class _Answer(BaseModel):
    success: Literal[True] = True
    migrated: int = Field(ge=0, description="Rows written; in a dry run, rows that would be.")
    skipped: int = Field(ge=0, description="Pending rows that there is no value for.")
    dryRun: bool  # noqa: N815
    batchSize: int = Field(ge=1)  # noqa: N815
    message: str
    runId: UUID | None = Field(description="The run in the log, for `migrate rollback`.")  # noqa: N815


class CampaignsAnswer(_Answer):
    """What became of the campaigns."""

    errors: list[CampaignError]
    ambiguous: list[AmbiguousCampaign]
    offset: int = Field(default=0, ge=0)


class EventsAnswer(_Answer):
    """What became of the batch."""

    errors: list[EventError]
    offset: int = Field(ge=0)
    remainingEvents: int = Field(  # noqa: N815
        ge=0, description="Pending rows after this batch, without those that failed in it: 0 ends a loop."
    )


class Failure(BaseModel):
    """Why a call was not served."""

    success: Literal[False] = False
    error: str
    message: str


_RESPONSES: dict[int | str, dict[str, Any]] = {
    code: {"model": Failure, "description": text}
    for code, text in {
        400: "The body is not what is described here.",
        401: "No token, or one that is not valid.",
        403: "The user is no administrator, or the page's origin is not allowed.",
        408: f"The body takes longer than {BODY_SECONDS:.0f} seconds to come.",
        409: "Another run, or a build of the models, is going on.",
        413: f"The body is larger than {LARGEST_BODY} bytes.",
        415: "The body is not application/json.",
        429: "Too many calls of a user who is no administrator.",
        500: "The call failed; the server's log says why.",
        503: "Who calls cannot be found out now: the keys for tokens, or the database, cannot be read.",
    }.items()
}


def _described(kind: type[_Body]) -> dict[str, Any]:
    schema = kind.model_json_schema()
    return {"requestBody": {"required": False, "content": {"application/json": {"schema": schema}}}}


# ---------- the routes


def router(access: Access) -> APIRouter:
    """The two endpoints, and their answers to a browser that asks before it sends."""
    routes = APIRouter(prefix="/functions/v1", responses=_RESPONSES)
    # Documents the token; `access.program` checks it.
    bearer = HTTPBearer(auto_error=False, description="A token of Supabase, or the local one-time token.")
    gate = _Gate()

    async def served(request: Request, kind: type[_Body], work: Any) -> Response:
        origin = access.check_origin(request)
        try:
            administrator = await access.program(request)
            body = await _body(request, kind)
            answer = await run_in_threadpool(work, access.database, body, administrator)
            response = JSONResponse(answer.model_dump(mode="json"))
        except HTTPException as refused:
            response = JSONResponse(failure(refused.detail), refused.status_code, refused.headers)
        except RunInProgress as busy:
            response = JSONResponse(failure(busy.message), 409)
        except UserError as failed:
            log(f"{request.url.path}: {failed.message}")
            response = JSONResponse(failure("The migration cannot run now; the server's log says why."), 500)
        except ClientDisconnect:
            raise
        except Exception as error:  # here, so that the product's page may read the answer
            response = JSONResponse(failure(unexpected(request.method, request.url.path, error)), 500)
        return _shared(response, origin)

    def campaigns(database: Database, body: CampaignsRequest, by: Administrator) -> CampaignsAnswer:
        with gate.passed():
            return _campaigns(database, body, by)

    def events(database: Database, body: EventsRequest, by: Administrator) -> EventsAnswer:
        with gate.passed():
            return _events(database, body, by)

    async def migrate_campaigns(request: Request) -> Response:
        return await served(request, CampaignsRequest, campaigns)

    async def migrate_events(request: Request) -> Response:
        return await served(request, EventsRequest, events)

    async def preflight(request: Request) -> Response:
        return _shared(Response(status_code=204), access.check_origin(request))

    async def not_so(request: Request) -> Response:
        raise HTTPException(405, "Method Not Allowed", {"Allow": "POST, OPTIONS"})

    async def unknown(request: Request) -> Response:
        raise HTTPException(404, "There is no such function.")

    for path, endpoint, answer, body, summary in (
        ("/migrate-campaigns-v2", migrate_campaigns, CampaignsAnswer, CampaignsRequest, "Fill campaigns.data_sources"),
        ("/migrate-events-canonical", migrate_events, EventsAnswer, EventsRequest, "Fill events.canonical_event"),
    ):
        routes.add_api_route(
            path, endpoint, methods=["POST"], response_model=answer, summary=summary, openapi_extra=_described(body),
            dependencies=[Depends(bearer)],
        )  # fmt: skip
        routes.add_api_route(path, preflight, methods=["OPTIONS"], include_in_schema=False)
        routes.add_api_route(path, not_so, methods=["GET", "HEAD", "PUT", "PATCH", "DELETE"], include_in_schema=False)
    # The pages, which come last, take any other path, but only to read.
    routes.add_api_route("/{path:path}", unknown, methods=["GET", "HEAD", "POST"], include_in_schema=False)
    return routes


class _Gate:
    """One call at a time in this process: another one waits a little for its turn, and is not refused at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def passed(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=WAIT_SECONDS):
            raise RunInProgress("Another call to this server is still working. Try again when it is done.")
        try:
            yield
        finally:
            self._lock.release()


async def _body(request: Request, kind: type[_Body]) -> _Body:
    """The body, checked. Nothing at all means the defaults, as it did for the functions that are replaced."""
    content = await request.body()
    if not content:
        return kind()
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json":
        raise HTTPException(415, "Send the body as Content-Type: application/json.")
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        raise HTTPException(400, _wrong(error)) from None


def _wrong(error: ValidationError) -> str:
    """What is wrong with a body, field by field; quotes no values."""
    found = []
    for one in error.errors(include_url=False, include_input=False, include_context=False):
        name = ".".join(str(part) for part in one["loc"])[:60]
        found.append(f"{name}: {one['msg']}" if name else one["msg"])
    return "; ".join(dict.fromkeys(found[:5])) + "."


def _shared(response: Response, origin: str | None) -> Response:
    """Let the pages of a configured origin read the answer."""
    response.headers["Vary"] = "Origin"
    if origin is not None:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Allow-Methods"] = "POST, OPTIONS"
        response.headers["Access-Control-Allow-Headers"] = "authorization, x-client-info, apikey, content-type"
        response.headers["Access-Control-Max-Age"] = "600"
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return response


# ---------- the work


class _Silent:
    """Nobody watches a call; what a person should know goes to the server's log."""

    def advance(self, succeeded: int, failed: int) -> None:
        """See writeback.Observer."""

    def notice(self, message: str) -> None:
        """See writeback.Observer."""
        log(message)

    def waiting(self, reason: str | None) -> None:
        """See writeback.Observer."""


def _events(database: Database, body: EventsRequest, by: Administrator) -> EventsAnswer:
    given: dict[str, Any] = {"dryRun": body.dryRun, "batchSize": body.batchSize, "offset": body.offset}
    if body.dryRun:
        with migration.opened_for_reading(database, "events", build=True) as reading:
            plan = reading.preflight.plan
            seen = preview(reading.session, plan, body.offset, body.batchSize)
            pending = sum(count_pending(reading.session, plan.target, leaf) for leaf in plan.leaves)
        return EventsAnswer(
            migrated=seen.values, skipped=seen.without, message=_DRY, runId=None,
            errors=[EventError(event_id=key, error=said) for key, said in seen.failures],
            remainingEvents=max(0, pending - body.offset - body.batchSize), **given,
        )  # fmt: skip
    result, failures, without = _apply(database, "events", body.batchSize, by, one_batch=True)
    left = 0 if result is None else result.pending_left or 0
    return EventsAnswer(
        migrated=result.tally.succeeded if result else 0, skipped=without,
        errors=[EventError(event_id=key, error=said) for key, said in failures],
        runId=result.run_id if result else None, message="Batch migration complete.",
        remainingEvents=max(0, left - len(failures)), **given,
    )  # fmt: skip


def _campaigns(database: Database, body: CampaignsRequest, by: Administrator) -> CampaignsAnswer:
    failures: list[tuple[str, str]]
    if body.dryRun:
        with migration.opened_for_reading(database, "campaigns", build=True) as reading:
            seen = preview(reading.session, reading.preflight.plan, 0, None)
        migrated, run_id, failures, message = seen.values, None, seen.failures, _DRY
    else:
        result, failures, _ = _apply(database, "campaigns", body.batchSize, by, one_batch=False)
        migrated, run_id = (result.tally.succeeded, result.run_id) if result else (0, None)
        message = "Migration complete."
    ambiguous = _ambiguous(database)
    return CampaignsAnswer(
        migrated=migrated, skipped=0, dryRun=body.dryRun, batchSize=body.batchSize, message=message, runId=run_id,
        errors=[CampaignError(campaign_id=key, error=said) for key, said in failures], ambiguous=ambiguous,
    )  # fmt: skip


def _apply(
    database: Database, command: str, size: int, by: Administrator, *, one_batch: bool
) -> tuple[Result | None, list[tuple[str, str]], int]:
    """Write; returns the result (None when nothing was pending), the rows that failed and how many have no value."""
    with migration.opened_for_writing(database, command, build=True, stop=StopRequest(), notice=log) as writing:
        plan = writing.preflight.plan
        limit = one_batch_limit(writing.session, plan, size) if one_batch else None
        if not limit and all(walk(writing.session, plan.target, leaf).next(START, 1) is None for leaf in plan.leaves):
            return None, [], 0
        result = writing.apply(Options(size, limit, by.user_id, limit_written=True), _Silent())
        failures = [
            (str(one.get("id", "")), str(one.get("error", "")))
            for row in writing.ledger.log(writing.session, run_id=result.run_id, failures=True)
            for one in row["error_details"] or []
        ]
    without = 0
    if limit is None or result.tally.succeeded < limit:
        # The whole table was walked: of what is left, what did not fail has no value.
        without = max(0, (result.pending_left or 0) - len(failures))
    return result, failures, without


def _ambiguous(database: Database) -> list[AmbiguousCampaign]:
    with opened(database, "serve") as (session, _):
        rows = session.execute(
            sql.SQL(
                "select campaign_id, sentence, reason, current_data, candidates from {} order by reason, campaign_id"
            ).format(sql.Identifier(database.schema, "ambiguous_campaigns"))
        ).fetchall()
    return [
        AmbiguousCampaign(campaign_id=row[0], reason=row[1], code=row[2], current_data=row[3], candidates=row[4])
        for row in rows
    ]
