"""What the pages say of campaigns: the settled ones, and those that wait for a person with all that helps to settle
them.

The names of campaigns and integrations are labels that the product's users chose, and whoever settles a campaign has
to recognise it: they are shown, but for e-mail addresses and long numbers in them. Texts and settings of a campaign
are masked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg import sql

from scripts import masking
from scripts.connection import Session
from scripts.settings import Database
from scripts.site.reports import Report, read

# Of what a campaign holds: words of the product that say nothing about a person.
_PLAIN = ("status", "campaign_type", "data_source")


@dataclass(frozen=True)
class Candidate:
    """Something that may feed a campaign. `answer` is what a decision names; `why_not` says why it cannot be named."""

    kind: str  # integration, connector or native
    provider: str
    name: str
    answer: str | None
    why_not: str
    suggested: bool
    command: str | None
    seed_line: str | None


@dataclass(frozen=True)
class Ambiguous:
    """A campaign that waits for a person."""

    campaign_id: UUID
    campaign_name: str
    website_id: UUID | None
    reason: str
    sentence: str
    current: Mapping[str, Any]
    rules: Mapping[str, str]
    evidence: Mapping[str, Any]
    candidates: tuple[Candidate, ...]
    suggested_provider: str | None
    confidence: Decimal | None
    suggested_from: str | None
    command: str
    seed_line: str
    complete: bool  # the command names the answer


def settled(session: Session, database: Database, *, show_personal_data: bool) -> Report:
    """Campaigns that are migrated, or that the next run writes; of the migrated ones what they hold."""
    found = read(
        session,
        database,
        sql.SQL(
            """
            with shown as (
                select
                    *,
                    outcome = 'migrated' as is_stored,
                    case when outcome = 'migrated' then stored_providers else provider end as shown_provider
                from {}
                where outcome in ('migrated', 'resolved')
            )

            select
                campaign_id,
                campaign_name,
                website_id,
                outcome,
                shown_provider as provider,
                case
                    when is_stored then (
                        select string_agg(distinct element.value ->> 'integration_id', ', ')
                        from jsonb_array_elements(stored_value) as element (value)
                    )
                    else integration_id::text
                end as integration_id,
                -- What the rules say today is why a stored value is what it is only where they say the same.
                case when not is_stored or shown_provider = provider then resolved_by end as resolved_by,
                case when not is_stored or shown_provider = provider then decided_in end as decided_in
            from shown
            order by outcome desc, campaign_name, campaign_id
            """
        ).format(sql.Identifier(database.schema, "campaign_resolutions")),
    )
    if show_personal_data:
        return found
    return Report([{**row, "campaign_name": _label(row["campaign_name"], False)} for row in found.rows], found.problem)


def ambiguous(session: Session, database: Database, *, show_personal_data: bool) -> tuple[list[Ambiguous], str]:
    """Campaigns that wait for a person, those with the surest suggestion first; and why they cannot be read."""
    found = read(
        session,
        database,
        sql.SQL(
            "select * from {} order by can_be_accepted desc, confidence desc nulls last, reason, campaign_id"
        ).format(sql.Identifier(database.schema, "ambiguous_campaigns")),
    )
    return [_ambiguous(row, show_personal_data) for row in found.rows], found.problem


def orphaned(session: Session, database: Database, *, show_personal_data: bool) -> Report:
    """Integrations that no campaign names."""
    found = read(
        session,
        database,
        sql.SQL("select * from {} order by is_active desc, provider, integration_id").format(
            sql.Identifier(database.schema, "orphaned_integrations")
        ),
    )
    return Report(
        [{**row, "integration_name": _label(row["integration_name"], show_personal_data)} for row in found.rows],
        found.problem,
    )


def _ambiguous(row: Mapping[str, Any], show: bool) -> Ambiguous:
    evidence = dict(row["evidence"] or {})
    rules = {name: _label(value, show) for name, value in (evidence.pop("rules", None) or {}).items() if value}
    decision = evidence.get("decision")
    if isinstance(decision, dict) and not show:
        evidence["decision"] = {
            key: _label(value, show) if isinstance(value, str) and key not in ("integration_id", "provider") else value
            for key, value in decision.items()
        }
    held = row["current_data"] or {}
    if not isinstance(held, dict):  # it could not be read
        held = {"status": held}
    current = {
        key: value
        if show
        else _label(value, show)
        if key in _PLAIN and isinstance(value, str)
        else masking.masked(value)
        for key, value in held.items()
    }
    suggested = str(row["suggested_integration_id"] or row["suggested_provider"] or "")
    return Ambiguous(
        campaign_id=row["campaign_id"],
        campaign_name=_label(row["campaign_name"], show),
        website_id=row["website_id"],
        reason=row["reason"],
        sentence=row["sentence"] if show else _label(row["sentence"], show),
        current={key: value for key, value in current.items() if value not in (None, "", [], {})},
        rules=rules,
        evidence=evidence,
        candidates=_candidates(row, suggested, show),
        suggested_provider=row["suggested_provider"],
        confidence=row["confidence"],
        suggested_from=row["suggested_from"],
        command=row["settle_command"],
        seed_line=row["settle_seed_line"],
        complete=bool(row["can_be_accepted"]),
    )


def _candidates(row: Mapping[str, Any], suggested: str, show: bool) -> tuple[Candidate, ...]:
    campaign_id, candidates = row["campaign_id"], []
    # The seed's columns: campaign_id, integration_id, provider, decided_at, note.
    decided_at = row["settle_seed_line"].split(",")[3]
    for one in row["candidates"] or ():
        kind, provider = str(one["kind"]), str(one["provider"])
        why_not, answer = "", str(one.get("integration_id") or "") if kind == "integration" else provider
        if kind == "connector":
            why_not, answer = (
                f"a connector ({one.get('status')}): connect it as an integration in the product first",
                "",
            )
        elif kind == "integration" and not one.get("same_website"):
            why_not, answer = "an integration of another website of the same owner", ""
        elif kind == "integration" and not one.get("is_active"):
            why_not, answer = "not active: activate it in the product first", ""
        named = f"{answer}," if kind == "integration" else f",{answer}"
        candidates.append(
            Candidate(
                kind=kind,
                provider=provider,
                name=_label(one.get("name"), show) if kind != "native" else "native, needs no integration",
                answer=answer or None,
                why_not=why_not,
                suggested=bool(answer) and answer == suggested,
                command=f"migrate decide {campaign_id} {answer}" if answer else None,
                seed_line=f"{campaign_id},{named},{decided_at}," if answer else None,
            )
        )
    return tuple(sorted(candidates, key=lambda one: (not one.suggested, one.answer is None)))


def _label(text: Any, show: bool) -> str:
    if text is None:
        return ""
    return str(text) if show else masking.without_contacts(str(text))
