"""`migrate log`: what the screen shows, and exports that are whole or not there."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import small_target
from small_target import SmallTarget
from typer.testing import CliRunner, Result

from scripts import files
from scripts.cli import app
from scripts.errors import UserError
from scripts.settings import Database


@pytest.fixture
def things(database: Database, monkeypatch: pytest.MonkeyPatch) -> SmallTarget:
    monkeypatch.setenv("DATABASE_URL", database.conninfo)
    return small_target.make(database, 30)


def log(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["log", *arguments])


def exported(*arguments: str) -> list[dict[str, Any]]:
    result = log("--format", "json", *arguments)
    assert result.exit_code == 0, result.output
    rows: list[dict[str, Any]] = json.loads(result.stdout)
    return rows


def test_nothing_yet(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database.conninfo)
    assert log().exit_code == 0
    assert exported() == []


def test_runs_and_batches_on_the_screen(things: SmallTarget) -> None:
    run_id = str(things.run(batch_size=10))
    assert run_id[:8] in log().stdout
    assert len(log("--run", run_id[:8]).stdout.splitlines()) == 4
    unknown = log("--run", "zz")
    assert isinstance(unknown.exception, UserError)


def test_exports_hold_every_row_in_order(things: SmallTarget, tmp_path: Path) -> None:
    run_id = str(things.run(batch_size=10))
    rows = exported()
    assert [row["batch_number"] for row in rows] == [1, 2, 3]
    assert {row["run_id"] for row in rows} == {run_id}
    assert [row["batch_number"] for row in exported("--limit", "1")] == [3]  # the newest
    assert exported("--type", "campaign") == []
    path = tmp_path / "log.csv"
    assert log("--output", str(path)).exit_code == 0
    with path.open(newline="", encoding="utf-8") as file:
        cells = list(csv.DictReader(file))
    assert [int(row["records_succeeded"]) for row in cells] == [10, 10, 10]
    assert json.loads(cells[0]["details"])["other_columns_changed"] == 0
    assert [one.name for one in tmp_path.iterdir()] == ["log.csv"]


def test_an_export_holds_no_payload(things: SmallTarget) -> None:
    things.run()
    assert "payload" not in log("--format", "json").stdout
    assert "number" not in log("--format", "csv").stdout.replace("batch_number", "")


def test_failed_rows_one_by_one(things: SmallTarget) -> None:
    bad = sorted(things.stored())[7]
    things.session.execute(
        "create function public.refuse() returns trigger language plpgsql as "
        "$$ begin if (new.payload ->> 'bad')::boolean then raise exception 'refused'; end if; return new; end $$;"
        "create trigger refuse before update on public.things for each row execute function public.refuse()"
    )
    things.session.execute("alter table public.things disable trigger all")
    things.session.execute("update public.things set payload = payload || '{\"bad\": true}' where id = %s", [bad])
    things.session.execute("alter table public.things enable trigger all")
    things.run(batch_size=10)
    assert bad in log("--failures").stdout
    assert [row["records_failed"] for row in exported("--failures")] == [1]


def test_rows_of_an_older_tool_are_shown(things: SmallTarget) -> None:
    things.session.execute(
        "insert into public.migration_log (migration_type, batch_number, records_failed, error_details, started_at) "
        "values ('event', 1, 2, '{\"message\": \"odd\"}', null)"
    )
    assert "odd" in log("--failures").stdout
    assert [(row["kind"], row["run_id"]) for row in exported()] == [("apply", None)]


def test_what_cannot_be_written_is_said_before_anything(things: SmallTarget, tmp_path: Path) -> None:
    for arguments in (["--output", str(tmp_path / "no" / "x.csv")], ["--output", str(tmp_path / "x.txt")],
                      ["--format", "table", "--output", str(tmp_path / "x.csv")]):  # fmt: skip
        assert isinstance(log(*arguments).exception, UserError)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    path.write_text("old", encoding="utf-8")

    def fail() -> None:
        with files.whole_file(path) as file:
            file.write("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text(encoding="utf-8") == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["kept.json"]
