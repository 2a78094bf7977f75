"""The options that say how fast and how gently a run works."""

from typing import Annotated

import typer

from scripts.pace import BATCH_BYTES, MAX_LAG_SECONDS


def _limit(text: str) -> float:
    """A positive number; `off` and 0 are 0."""
    try:
        number = 0.0 if text.strip().lower() == "off" else float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise typer.BadParameter(f"{text!r} is neither a number nor off.")
    return number


WorkersOption = Annotated[int, typer.Option("--workers", min=1, max=64, help="Sessions that write at the same time.")]
TargetSecondsOption = Annotated[
    float | None,
    typer.Option(
        "--target-seconds",
        min=0.01,
        help="Let batches grow slowly and shrink at once, to take so long; --batch-size is the first one's.",
        show_default=False,
    ),
]
BatchBytesOption = Annotated[
    int | None,
    typer.Option(
        "--batch-bytes",
        min=1,
        metavar="BYTES",
        help=f"Most stored payload in a batch; with --target-seconds {BATCH_BYTES // 2**20} MB unless given.",
        show_default=False,
    ),
]
MaxLagOption = Annotated[
    float,
    typer.Option(
        "--max-lag",
        parser=_limit,
        metavar="SECONDS|off",
        help="Wait while a replica or replication slot is further behind.",
    ),
]
MaxWalRateOption = Annotated[
    float,
    typer.Option(
        "--max-wal-rate", parser=_limit, metavar="MB|off", help="Wait when the server writes more WAL in a second."
    ),
]
MaxDeadOption = Annotated[
    float,
    typer.Option(
        "--max-dead",
        parser=_limit,
        metavar="SHARE|off",
        help="Vacuum the table, or wait, when a larger share of its rows is dead (0.2: a fifth).",
    ),
]
MaxSessionsOption = Annotated[
    float,
    typer.Option(
        "--max-sessions", parser=_limit, metavar="N|off", help="Wait while more sessions of others are active."
    ),
]
DEFAULT_MAX_LAG = str(int(MAX_LAG_SECONDS))
