"""The result as a picture: rate against the size of the table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from scripts.files import whole_file

#: Told apart by colour (Okabe and Ito, for colour-blind people too), by mark and by the words beside the line.
_STYLES = {
    "floor": ("#000000", "o"), "tuned_floor": ("#999999", "o"), "apply": ("#0072B2", "s"),
    "rollback": ("#CC79A7", "P"), "workers": ("#009E73", "D"), "keyset": ("#E69F00", "^"),
    "row_by_row": ("#D55E00", "v"), "row_by_page": ("#56B4E9", "X"), "row_by_request": ("#56B4E9", "p"),
    "pandas": ("#F0E442", "*"),
}  # fmt: skip


def draw(document: dict[str, Any], file: Path) -> None:
    """Draw what `report.document` holds as SVG: rows per second over rows in the table, a line per contender."""
    sizes = document["sizes"]
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    over = [size["table"]["rows"] for size in sizes]
    for name in sizes[0]["contenders"]:
        colour, mark = _STYLES[name]
        found = [size["contenders"][name] for size in sizes]
        axes.plot(over, [one["rows_per_second"] for one in found], color=colour, marker=mark, label=found[0]["title"])
    axes.set_xscale("log")
    axes.set_xticks(over, labels=[f"{rows:,}" for rows in over], minor=False)
    axes.set_xticks([], minor=True)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:,.0f}"))
    axes.set_xlabel("rows in the table")
    axes.set_ylabel("rows written per second")
    axes.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    with whole_file(file) as out:
        figure.savefig(out, format="svg", metadata={"Date": None})
