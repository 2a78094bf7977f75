"""Nothing that the tool prints or writes to a file holds a credential or what belongs to a person.

The whole path runs on the demo, as the role of `migrate runner` through a URL with its password, with rows that fail on
the way with their own values in the error. Then everything that came out of it is searched for the demo's e-mail
addresses, names and tokens.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
from conftest import Cli
from psycopg.conninfo import make_conninfo

from scripts import project, settings
from scripts.paths import project_dir
from scripts.settings import Database

PASSWORD = "hunter2-of-the-test"
# A trigger that tells everything that it knows.
INDISCREET = """
    create function public.indiscreet() returns trigger language plpgsql as $$
    begin
        if get_byte(uuid_send(new.id), 15) < 16 then
            raise exception 'cannot take % of %: %', new.user_name, new.user_email, new.event_data
                using detail = new.event_data::text, hint = new.user_email;
        end if;
        return new;
    end $$;
    create trigger indiscreet before update of canonical_event on public.events
    for each row execute function public.indiscreet();
"""
TOKEN = re.compile(r"[\w-]{6,}")
# Bounded: some of the demo's values are hostile.
ADDRESS = re.compile(r"[\w.+-]{1,64}@[\w-]{1,64}\.[\w.-]{1,64}\b")


def known(database: Database) -> set[str]:
    """E-mail addresses, full names and secrets of the demo's rows."""
    found: set[str] = set()
    with psycopg.connect(database.conninfo) as session:
        for table, name, secrets in (
            ("events", "user_name", "null::jsonb"),
            ("profiles", "full_name", "null::jsonb"),
            ("campaigns", "null", "null::jsonb"),
            ("integrations", "null", "credentials"),
            ("integration_connectors", "null", "config"),
        ):
            rows = session.execute(f"select to_jsonb(t)::text, {name}::text, {secrets} from public.{table} as t")
            for text, person, secret in rows:
                found.update(ADDRESS.findall(text))
                found.update(one for one in _texts(secret) if len(one) >= 12)
                if person and " " in person.strip():
                    found.add(person.strip())
    # Words of the project itself (the examples in its unit tests) give nothing away.
    own = "\n".join(
        path.read_text(encoding="utf-8")
        for folder in ("models", "macros", "seeds", "tests", "analyses")
        for path in (project_dir() / folder).rglob("*")
        if path.suffix in (".sql", ".yml", ".csv", ".md")
    )
    return {value for value in found if len(value) >= 6 and value not in own}


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for one in value.values() for text in _texts(one)]
    if isinstance(value, list):
        return [text for one in value for text in _texts(one)]
    return [value] if isinstance(value, str) else []


def _held(text: str, values: set[str]) -> set[str]:
    """Those of the values that the text holds; addresses and tokens are looked up as the words that they are."""
    words = set(ADDRESS.findall(text)) | set(TOKEN.findall(text))
    phrases = {value for value in values if not TOKEN.fullmatch(value) and not ADDRESS.fullmatch(value)}
    return (words & values) | {value for value in (*phrases, PASSWORD) if value in text}


def test_nothing_that_comes_out_holds_a_secret_or_personal_data(
    demo_database: Database, cli: Cli, tmp_path: Path
) -> None:
    values = known(demo_database)
    assert len(values) > 100
    with psycopg.connect(demo_database.conninfo) as session:
        session.execute(INDISCREET)
    role = f"runner_{uuid.uuid4().hex[:6]}"
    made = ("--role", role, "--policies", "--apply", "--yes")
    said = {"runner": cli("runner", *made, database=demo_database, MIGRATION_RUNNER_PASSWORD=PASSWORD).stderr}
    database = settings.from_url(make_conninfo(demo_database.conninfo, user=role, password=PASSWORD))

    def run(*arguments: str, expect: int | None = None) -> str:
        done = cli(*arguments, database=database, expect=expect)
        said[" ".join(arguments)] = done.stdout + done.stderr
        return done.stdout

    file = tmp_path / "out"
    file.mkdir()
    run("events", "--report", str(file / "dry.json"))
    written = json.loads(run("events", "--apply", "--yes", "--json", "--report", str(file / "apply.json"), expect=1))
    assert written["result"]["failed"] > 5
    # The search finds what is there to be found.
    shown = cli("events", "--show-personal-data", database=database).stdout
    assert _held(shown, values)
    run("campaigns", "--report", str(file / "campaigns.json"))
    run("campaigns", "--apply", "--yes")
    for arguments in (
        ("status",), ("log", "--failures"), ("log", "--run", written["run_id"]),
        ("verify", written["run_id"], "--json"), ("decide",), ("backup", "--json"),
        ("rollback", written["run_id"], "--apply", "--yes"), ("log", "--output", str(file / "log.json")),
        ("log", "--output", str(file / "log.csv")),
    ):  # fmt: skip
        run(*arguments)
    # The report models are built for it, and all is judged, by a role whose own policies alone show it the rows.
    judged = json.loads(run("validate", "--json", "--output", str(file / "data_docs")))
    assert judged["expectations"] > 70
    cli("runner", "--role", role, "--drop", "--apply", "--yes", database=demo_database)
    # What goes wrong with the connection itself.
    wrong = replace(database, conninfo=make_conninfo(database.conninfo, dbname="not_there"))
    said["no database"] = cli("status", database=wrong, expect=2).stderr

    folders = (file, project.target_dir(database).parent)
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert {"dry.json", "log.csv", "index.html", "manifest.json", "dbt.log"} <= {path.name for path in files}
    texts = said | {str(path): path.read_bytes().decode("utf-8", "replace") for path in files}
    found = {(name, value) for name, text in texts.items() for value in _held(text, values)}
    assert not found, sorted(found)[:20]
