"""`migrate decide`: a person's decisions about campaigns that the rules cannot settle."""

import json
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.text import Text

from scripts import decisions, project, settings
from scripts.commands.common import (
    JsonOption,
    NoBuildOption,
    ProfileOption,
    TargetOption,
    YesOption,
    confirm,
    note,
    out,
    print_json,
)
from scripts.commands.opened import opened
from scripts.connection import Session
from scripts.decisions import Campaign, Decision, Open
from scripts.errors import UserError

# Whose models a decision needs; the list of what is open is one of them.
_COMMAND = "campaigns"


def register(app: typer.Typer) -> None:
    """Add `migrate decide`."""
    app.command()(decide)


def decide(
    campaign: Annotated[str | None, typer.Argument(help="The campaign's id.", show_default=False)] = None,
    answer: Annotated[
        str | None,
        typer.Argument(
            metavar="INTEGRATION|PROVIDER",
            help="The id of an active integration of the campaign's website, or announcements, instant_capture, "
            "live_visitors or testimonials.",
            show_default=False,
        ),
    ] = None,
    why: Annotated[str | None, typer.Option("--note", help="Why, for whoever reads it later.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take back the decision about the campaign.")] = False,
    listing: Annotated[
        bool, typer.Option("--list", help="List the decisions taken (about the campaign, if one is named).")
    ] = False,
    accept_suggestions: Annotated[
        bool, typer.Option("--accept-suggestions", help="Accept what the events or legacy columns suggest.")
    ] = False,
    min_confidence: Annotated[
        float, typer.Option("--min-confidence", min=0.0, max=1.0, help="Only suggestions at least so sure.")
    ] = 0.8,
    performed_by: Annotated[
        UUID | None,
        typer.Option("--performed-by", metavar="UUID", help="Who decides; the database user unless given."),
    ] = None,
    yes: YesOption = False,
    no_build: NoBuildOption = False,
    as_json: JsonOption = False,
    profile: ProfileOption = None,
    target: TargetOption = None,
) -> None:
    """Settle a campaign that the rules cannot: say which integration or native provider feeds it.

    Without arguments it lists the campaigns that wait for a person. A decision is written to the tool's own schema
    only; `migrate campaigns --apply` then writes the campaign. The newest decision counts.
    """
    mode = _mode(campaign, answer, undo=undo, listing=listing, accept=accept_suggestions)
    if mode != "decide" and why is not None and mode != "undo":
        raise UserError("--note goes with a decision or with --undo.")
    by = str(performed_by) if performed_by else None
    campaign_id = decisions.parse_campaign(campaign) if campaign is not None else None
    database = settings.resolve(profile, target)
    if not no_build:
        project.bring_up_to_date(database, _COMMAND)
    with opened(database, "decide") as (session, _):
        if mode == "list":
            _list(decisions.decisions(session, database.schema, campaign_id), as_json=as_json)
        elif mode == "open":
            _open(decisions.open_campaigns(session, database.schema), as_json=as_json)
        elif mode == "accept":
            _accept(session, database.schema, min_confidence, by=by, yes=yes, as_json=as_json)
        elif mode == "undo":
            assert campaign_id is not None
            _result(decisions.take_back(session, database.schema, campaign_id, note=why, by=by), as_json=as_json)
        else:
            assert campaign_id is not None
            assert answer is not None
            made = decisions.decide(session, database.schema, campaign_id, answer, note=why, by=by)
            _result(made, as_json=as_json)


def _mode(campaign: str | None, answer: str | None, *, undo: bool, listing: bool, accept: bool) -> str:
    """What is asked for. Raises UserError when the arguments and options do not go together."""
    if undo + listing + accept > 1:
        raise UserError("Give one of --undo, --list and --accept-suggestions.")
    if accept:
        if campaign is not None:
            raise UserError("--accept-suggestions is for all open campaigns: give no campaign.")
        return "accept"
    if listing or undo:
        if answer is not None:
            raise UserError("--list and --undo take a campaign, and nothing after it.")
        if undo and campaign is None:
            raise UserError("--undo needs the campaign: migrate decide CAMPAIGN --undo.")
        return "undo" if undo else "list"
    if campaign is None:
        return "open"
    if answer is None:
        raise UserError(
            "Name what feeds the campaign: migrate decide CAMPAIGN INTEGRATION|PROVIDER. "
            "`migrate decide` without arguments lists what is open, with suggestions."
        )
    return "decide"


def _accept(session: Session, schema: str, min_confidence: float, *, by: str | None, yes: bool, as_json: bool) -> None:
    chosen = [
        each
        for each in decisions.open_campaigns(session, schema)
        if each.suggestion is not None and float(each.confidence or 0) >= min_confidence
    ]
    if chosen:
        if not as_json:
            _print_open(chosen)
        confirm(f"Accept {_count(len(chosen), 'suggestion')}?", yes=yes)
    made = decisions.accept(session, schema, chosen, by=by)
    if as_json:
        print_json([_document(each) for each in made])
        return
    if not made:
        note(f"No suggestion has a confidence of {min_confidence} or more. `migrate decide` lists what is open.")
        return
    note(f"{_count(len(made), 'suggestion')} accepted. `migrate campaigns --apply` writes them.")


def _result(found: Campaign, *, as_json: bool) -> None:
    if as_json:
        print_json(_document(found))
        return
    name = f" ({found.campaign_name})" if found.campaign_name else ""
    if found.outcome == "resolved":
        place = f"integration {found.integration_id}" if found.integration_id else "no integration"
        out.print(
            f"Campaign {found.campaign_id}{name}: {found.provider}, {place}, by {found.resolved_by}.", markup=False
        )
        out.print(f"data_sources: {json.dumps(found.data_sources, ensure_ascii=False)}", markup=False)
        note("Nothing in the product has changed yet: `migrate campaigns --apply` writes it.")
    elif found.outcome == "ambiguous":
        out.print(f"Campaign {found.campaign_id}{name} is open: {found.sentence}", markup=False)
    else:
        out.print(
            f"Campaign {found.campaign_id}{name} has been migrated already, and stays as it is written. "
            "`migrate rollback` takes a run back.",
            markup=False,
        )


def _list(found: list[Decision], *, as_json: bool) -> None:
    if as_json:
        print_json([{**vars(each)} for each in found])
        return
    if not found:
        note("No decision has been taken with `migrate decide`.")
        return
    for each in found:
        # No table: it would cut the ids, which are there to be copied.
        reason = f": {each.note}" if each.note else ""
        out.print(
            f"{each.decided_at:%Y-%m-%d %H:%M}  {each.campaign_id}  {each.answer}  by {each.decided_by}{reason}",
            markup=False,
        )


def _open(found: list[Open], *, as_json: bool) -> None:
    if as_json:
        print_json([{**vars(each), "suggestion": each.suggestion} for each in found])
        return
    if not found:
        note("No campaign waits for a decision.")
        return
    _print_open(found)
    note(f"{_count(len(found), 'campaign')} to settle. The model ambiguous_campaigns has candidates and evidence.")


def _print_open(found: list[Open]) -> None:
    for each in found:
        out.print(Text(f"{each.campaign_name or '(no name)'}: {each.reason}"))
        out.print(Text(f"    {each.sentence}"))
        if each.suggested_provider is not None:
            out.print(Text(f"    suggested: {each.suggested_provider}, from {each.suggested_from} ({each.confidence})"))
        out.print(Text(f"    {each.settle_command}\n"))


def _document(found: Campaign) -> dict[str, Any]:
    return dict(vars(found))


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
