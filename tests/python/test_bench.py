"""The benchmark: what it prints and writes, on a table too small to measure anything."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from scripts.bench import contenders, measure
from scripts.paths import project_dir

ROWS, ROUNDS, SAMPLE = 300, 1, 40


def bench(server: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scripts.bench", *arguments],
        cwd=project_dir(), env={**os.environ, "DATABASE_URL": server},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_every_contender_is_measured(server: str, tmp_path: Path) -> None:
    file, picture = tmp_path / "bench.json", tmp_path / "bench.svg"
    done = bench(
        server, "--rows", f"{ROWS // 3},{ROWS}", "--rounds", str(ROUNDS), "--sample", str(SAMPLE),
        "--json", str(file), "--picture", str(picture),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(file.read_text(encoding="utf-8"))
    assert [size["table"]["rows"] for size in document["sizes"]] == [ROWS // 3, ROWS]
    assert document["rounds"] == ROUNDS
    drawn = picture.read_text(encoding="utf-8")
    every = measure.every(contenders.ALL)
    assert drawn.count('id="line2d_') > len(every)
    assert drawn.rstrip().endswith("</svg>")

    found = document["sizes"][-1]
    assert found["table"]["out_of_line"] > 0, "some payloads must be large"
    assert list(found["contenders"]) == [c.name for c in every]
    for contender in every:
        one = found["contenders"][contender.name]
        assert contender.title in done.stdout
        assert len(one["measurements"]) == ROUNDS
        for number in ("seconds", "rows_per_second", "ratio_to_floor", "wal_bytes_per_row"):
            assert one[number] > 0, (contender.name, number)
        # A sample is rounded up to whole chunks; everybody else writes the whole table.
        assert one["rows"] >= SAMPLE if contender.sampled else one["rows"] == ROWS
    assert found["contenders"]["floor"]["ratio_to_floor"] == 1
    apply = found["contenders"]["apply"]
    assert apply["command_seconds"] > apply["seconds"]
    assert apply["client_peak_bytes"] > 10_000_000
    assert apply["log_bytes_per_row"] > 0
    # Nothing but the table: progress is on stderr.
    assert "round 1" not in done.stdout
    assert "round 1" in done.stderr
    with psycopg.connect(server) as session:
        left = session.execute("select count(*) from pg_database where datname like 'canonical_migration_bench%'")
        assert left.fetchone() == (0,)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "nobody"], "nobody"),
        (["--rows", "10,many"], "--rows"),
        (["--picture", "/nonexistent/bench.svg"], "--picture"),
        (["--raw", "0.9", "--large", "0.2"], "--raw"),
        (["--providers", "shopify"], "--providers"),
        (["--providers", "shopfiy=2"], "shopfiy"),
        (["--providers", "shopify=0,woocommerce=0"], "large"),
        (["--json", "/nonexistent/bench.json"], "--json"),
    ],
)
def test_a_wrong_option_is_named(server: str, arguments: list[str], words: str) -> None:
    done = bench(server, *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert words in done.stderr
    assert "Traceback" not in done.stderr
