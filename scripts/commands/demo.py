"""`migrate demo`: the product's source schema with fake rows of every kind."""

from datetime import datetime
from typing import Annotated

import typer
from rich.table import Table

from scripts import settings
from scripts.commands.common import JsonOption, ProfileOption, TargetOption, note, out, print_json
from scripts.demo import DEFAULT_EVENTS, DEFAULT_SEED, DemoSummary, create
from scripts.demo.creation import describe


def register(app: typer.Typer) -> None:
    """Add `migrate demo`."""
    app.command()(demo)


def demo(
    events: Annotated[
        int, typer.Option("--events", min=0, help="Rows in events; of 1200, 995 are of the last 30 days.")
    ] = DEFAULT_EVENTS,
    seed: Annotated[int, typer.Option("--seed", help="The same seed, --events and --today give the same rows.")] = (
        DEFAULT_SEED
    ),
    today: Annotated[
        datetime | None,
        typer.Option(
            "--today",
            formats=["%Y-%m-%d"],
            help="The day (UTC) that all times are relative to; by default the present one.",
            show_default=False,
        ),
    ] = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="Make it anew when there is a demo: its tables are dropped first.")
    ] = False,
    realtime: Annotated[
        bool, typer.Option("--realtime", help="Also a publication supabase_realtime for events, as Supabase has it.")
    ] = False,
    profile: ProfileOption = None,
    target: TargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the product's tables in an empty database and fill them with fake rows of every kind.

    Refuses a database that has such tables, unless they are an earlier demo's and --reset is given. It is one
    transaction: all is made, or nothing. All names, addresses and secrets are invented.
    """
    summary = create(
        settings.resolve(profile, target),
        events,
        seed,
        today=today.date() if today else None,
        reset=reset,
        realtime=realtime,
    )
    for notice in summary.notices:
        note(f"note: {notice}")
    if summary.dropped_views:
        note(
            f"{len(summary.dropped_views)} views that read the former tables were dropped with them; "
            "`migrate build` makes the models again."
        )
    if as_json:
        print_json(describe(summary))
        return
    out.print(_writers(summary))
    out.print(_campaigns(summary))
    note(
        f"{summary.database}: {summary.events:,} events ({summary.recent:,} of the last 30 days before "
        f"{summary.today}, {summary.pending:,} pending), {summary.tables['public.campaigns']} campaigns, "
        f"seed {summary.seed}, {summary.seconds:.1f} s."
    )


def _writers(summary: DemoSummary) -> Table:
    table = Table(title="Events by writer", box=None, title_justify="left")
    table.add_column("writer")
    table.add_column("rows", justify="right")
    for writer, count in sorted(summary.writers.items(), key=lambda pair: (-pair[1], pair[0])):
        table.add_row(writer, f"{count:,}")
    return table


def _campaigns(summary: DemoSummary) -> Table:
    table = Table(title="\nCampaigns by what must become of them", box=None, title_justify="left")
    table.add_column("outcome")
    table.add_column("campaigns", justify="right")
    outcomes: dict[str, int] = {}
    for campaign in summary.campaigns:
        outcomes[campaign.outcome] = outcomes.get(campaign.outcome, 0) + 1
    for outcome, count in outcomes.items():
        table.add_row(outcome, str(count))
    return table
