"""A person's decisions about campaigns that the rules cannot settle (contract section 7, rule 1).

A decision is a row of `campaign_decisions`; rows are only ever added. Whether it can be followed is not judged here:
the row is written, the models are asked what becomes of the campaign, and if it stays ambiguous everything is taken
back. So there is one set of rules, the models'.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from scripts.connection import Session, transaction
from scripts.errors import UserError

_Row = TypeVar("_Row")


@dataclass(frozen=True)
class Campaign:
    """What the models make of a campaign. `data_sources` is what would be written, None unless resolved."""

    campaign_id: UUID
    campaign_name: str | None
    website_id: UUID | None
    outcome: str  # migrated, resolved or ambiguous
    reason: str | None
    sentence: str | None
    provider: str | None
    integration_id: UUID | None
    resolved_by: str | None
    decided_in: str | None  # table or seed
    data_sources: list[dict[str, Any]] | None


@dataclass(frozen=True)
class Decision:
    """One row of `campaign_decisions`; it names neither integration nor provider when it takes back the one before."""

    id: int
    campaign_id: UUID
    integration_id: UUID | None
    provider: str | None
    note: str | None
    decided_by: str
    decided_at: datetime

    @property
    def answer(self) -> str:
        """What was decided, for people."""
        return str(self.integration_id or self.provider or "(taken back)")


@dataclass(frozen=True)
class Open:
    """A campaign that waits for a person: why, what is suggested, and the command that settles it."""

    campaign_id: UUID
    campaign_name: str | None
    reason: str
    sentence: str
    suggested_provider: str | None
    suggested_integration_id: UUID | None
    confidence: Decimal | None
    suggested_from: str | None
    can_be_accepted: bool
    settle_command: str

    @property
    def suggestion(self) -> str | None:
        """What accepting the suggestion would decide: an integration's id or a native provider."""
        return str(self.suggested_integration_id or self.suggested_provider) if self.can_be_accepted else None


def decide(
    session: Session, schema: str, campaign_id: UUID, answer: str, *, note: str | None = None, by: str | None = None
) -> Campaign:
    """Decide that a campaign is fed by an integration (its uuid) or a native provider (its name).

    `schema` is the tool's; `by` is who decides, by default the database user. Returns what becomes of the campaign.
    Raises UserError, and leaves nothing behind, when the campaign does not exist, needs no decision, or the decision
    cannot be followed.
    """
    integration_id = _uuid(answer)
    provider = None if integration_id else answer.strip()
    if not integration_id and not provider:
        raise UserError("Name an integration by its id, or a native provider.")
    with transaction(session):
        before = campaign(session, schema, campaign_id)
        if before.outcome == "migrated":
            raise UserError(
                f"Campaign {campaign_id} has a valid data_sources already, which a decision does not replace. "
                "Change it in the product; or, if this tool wrote it, take the run back with `migrate rollback` and "
                "decide then."
            )
        _add(session, schema, campaign_id, integration_id, provider, note, by)
        after = campaign(session, schema, campaign_id)
        if after.decided_in != "table":
            raise UserError(
                f"The seed campaign_overrides has a newer row for campaign {campaign_id} (its decided_at lies in the "
                "future). Change or remove that row, then `migrate build`."
            )
        if after.outcome != "resolved":
            raise UserError(f"Not decided: {after.sentence}{_choices(session, schema, after)}")
    return after


def take_back(
    session: Session, schema: str, campaign_id: UUID, *, note: str | None = None, by: str | None = None
) -> Campaign:
    """Take back the decision that counts for a campaign; the seed and the rules then answer again.

    Adds a row, so that the history stays. Returns what becomes of the campaign; what a run has written already stays
    written. Raises UserError when there is nothing to take back.
    """
    with transaction(session):
        taken = decisions(session, schema, campaign_id)
        if not taken or (taken[0].integration_id is None and taken[0].provider is None):
            found = campaign(session, schema, campaign_id)
            where = " The seed campaign_overrides decides it: change the row there." if found.decided_in else ""
            raise UserError(f"No decision about campaign {campaign_id} to take back.{where}")
        _add(session, schema, campaign_id, None, None, note, by)
        return campaign(session, schema, campaign_id)


def accept(session: Session, schema: str, suggestions: Sequence[Open], *, by: str | None = None) -> list[Campaign]:
    """Accept the suggestions of open campaigns: all of them, or none when one cannot be followed (UserError)."""
    with transaction(session):
        return [
            decide(
                session, schema, each.campaign_id, each.suggestion,
                note=f"suggestion accepted: {each.suggested_from}, confidence {each.confidence}", by=by,
            )
            for each in suggestions
            if each.suggestion is not None
        ]  # fmt: skip


def decisions(session: Session, schema: str, campaign_id: UUID | None = None) -> list[Decision]:
    """The decisions in the table, newest first; with `campaign_id` those about one campaign."""
    return _rows(
        session,
        Decision,
        sql.SQL(
            "select id, campaign_id, integration_id, provider, note, decided_by, decided_at from {}"
            " where %(campaign)s::uuid is null or campaign_id = %(campaign)s order by decided_at desc, id desc"
        ).format(sql.Identifier(schema, "campaign_decisions")),
        {"campaign": campaign_id},
    )


def open_campaigns(session: Session, schema: str) -> list[Open]:
    """The campaigns that wait for a person, those with the surest suggestion first."""
    return _rows(
        session,
        Open,
        sql.SQL(
            "select campaign_id, campaign_name, reason, sentence, suggested_provider, suggested_integration_id,"
            " confidence, suggested_from, can_be_accepted, settle_command from {}"
            " order by can_be_accepted desc, confidence desc nulls last, reason, campaign_id"
        ).format(sql.Identifier(schema, "ambiguous_campaigns")),
        {},
    )


def campaign(session: Session, schema: str, campaign_id: UUID) -> Campaign:
    """What the models make of a campaign now. Raises UserError when it does not exist."""
    found = _rows(
        session,
        Campaign,
        sql.SQL(
            "select r.campaign_id, r.campaign_name, r.website_id, r.outcome, r.reason, r.sentence, r.provider,"
            " r.integration_id, r.resolved_by, r.decided_in, d.data_sources"
            " from {} as r left join {} as d on d.campaign_id = r.campaign_id where r.campaign_id = %(campaign)s"
        ).format(sql.Identifier(schema, "campaign_resolutions"), sql.Identifier(schema, "campaign_data_sources")),
        {"campaign": campaign_id},
    )
    if not found:
        raise UserError(f"There is no campaign {campaign_id}. `migrate decide` without arguments lists what is open.")
    return found[0]


def parse_campaign(text: str) -> UUID:
    """A campaign's id. Raises UserError when the text is no uuid."""
    found = _uuid(text)
    if found is None:
        raise UserError(
            f"{text!r} is no campaign's id (a uuid). `migrate decide` without arguments lists what is open."
        )
    return found


def _add(
    session: Session, schema: str, campaign_id: UUID, integration_id: UUID | None, provider: str | None,
    note: str | None, by: str | None,
) -> None:  # fmt: skip
    # clock_timestamp: several decisions of one transaction keep their order.
    session.execute(
        sql.SQL(
            "insert into {} (campaign_id, integration_id, provider, note, decided_by, decided_at)"
            " values (%s, %s, %s, %s, coalesce(%s, session_user), clock_timestamp())"
        ).format(sql.Identifier(schema, "campaign_decisions")),
        (campaign_id, integration_id, provider, note, by),
    )


def _choices(session: Session, schema: str, found: Campaign) -> str:
    """The active integrations of the campaign's website, in words; nothing when there are none."""
    with session.cursor() as cursor:
        cursor.execute(
            sql.SQL(
                "select provider, integration_id from {} where website_id = %s and is_active"
                " and provider is not null order by provider, integration_id limit 20"
            ).format(sql.Identifier(schema, "stg_integrations")),
            (found.website_id,),
        )
        listed = ", ".join(f"{provider} {integration}" for provider, integration in cursor)
    return f" Its website has: {listed}." if listed else ""


def _rows(session: Session, kind: type[_Row], query: sql.Composed, values: dict[str, Any]) -> list[_Row]:
    try:
        with session.cursor(row_factory=class_row(kind)) as cursor:
            return cursor.execute(query, values).fetchall()
    except psycopg.errors.UndefinedTable as error:
        name = error.diag.message_primary or "a model is missing"
        raise UserError(f"The models are not built here ({name}). Run `migrate build`.") from None


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text.strip())
    except ValueError:
        return None
