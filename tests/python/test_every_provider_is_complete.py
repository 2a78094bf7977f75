"""A provider has its macro, model, contract, descriptions and unit test; everything in the dbt project is described."""

from __future__ import annotations

import csv
import re
from functools import cache
from pathlib import Path
from typing import Any

import macro_docs
import pytest
import yaml

from scripts.paths import project_dir

ROOT = project_dir()
SHARED_MODELS = {"canonical_events", "resolved_events"}


def text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


@cache
def entries(folder: str, kind: str) -> dict[str, dict[str, Any]]:
    """What the YAML files of a folder say about models, seeds, unit tests or macros, by name."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((ROOT / folder).rglob("*.yml")):
        for entry in (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get(kind, []):
            assert entry["name"] not in found, f"{entry['name']} is described twice, the second time in {path.name}"
            found[entry["name"]] = entry
    return found


def listed() -> list[str]:
    """The providers that the macro `providers` lists."""
    body = re.search(r"macro providers\(\).*?endmacro", text("macros/events/provider_events.sql"), re.S)
    assert body
    return re.findall(r"'(\w+)'", body[0])


def known() -> list[str]:
    """Every provider of which something exists: in the list, a macro, a model, an entry or a unit test."""
    names = set(listed())
    names |= {macro.name.removesuffix("_fields") for macro in macro_docs.macros()
              if macro.file.startswith("macros/providers/") and macro.name.endswith("_fields")}  # fmt: skip
    models = {path.stem for path in (ROOT / "models/events").glob("*_events.sql")}
    models |= set(entries("models/events", "models"))
    models |= {test["model"] for test in entries("models/events", "unit_tests").values()}
    return sorted(names | {model.removesuffix("_events") for model in models - SHARED_MODELS})


@pytest.mark.parametrize("provider", known())
def test_every_provider_is_complete(provider: str) -> None:
    missing: list[str] = []
    model = f"{provider}_events"
    if provider not in [*listed(), "generic"]:
        missing.append("its name in the macro `providers` (macros/events/provider_events.sql)")
    macro = ROOT / f"macros/providers/{provider}_fields.sql"
    fields: list[str] = []
    if macro.exists() and f"macro {provider}_fields()" in macro.read_text(encoding="utf-8"):
        fields = re.findall(r'as "((?:template|meta)\.\w+)"', macro.read_text(encoding="utf-8"))
        fields += re.findall(r'as "(meta\.\w+)"', text("macros/events/row_values.sql"))
    else:
        missing.append(f"a macro {provider}_fields in {macro.relative_to(ROOT)}")
    path = ROOT / f"models/events/{model}.sql"
    sql = path.read_text(encoding="utf-8") if path.exists() else ""
    if f"{provider}_fields()" not in sql or f"belongs_to('{provider}')" not in sql:
        missing.append(f"a model models/events/{model}.sql of that macro and its own rows")
    entry = entries("models/events", "models").get(model, {})
    if not entry.get("config", {}).get("contract", {}).get("enforced"):
        missing.append("an entry with an enforced contract in models/events/_events__models.yml")
    columns = {column["name"] for column in entry.get("columns", [])}
    if columns != {"event_id", "website_id", *fields}:
        missing.append(f"the same columns in both: {sorted(columns ^ {'event_id', 'website_id', *fields})}")
    if model not in {test["model"] for test in entries("models/events", "unit_tests").values()}:
        missing.append("a unit test in models/events/_events__unit_tests.yml")
    assert not missing, f"The provider {provider} lacks " + "; ".join(missing)


@pytest.mark.parametrize("path", sorted((ROOT / "models").rglob("*.sql")), ids=lambda path: path.stem)
def test_every_model_and_column_is_described(path: Path) -> None:
    entry = entries("models", "models").get(path.stem)
    assert entry, f"{path.stem} has no entry in a YAML file of models/{path.parent.name}"
    assert entry.get("description", "").strip(), f"{path.stem} has no description"
    assert entry.get("columns"), f"{path.stem} names no columns"
    assert not [c["name"] for c in entry["columns"] if not c.get("description", "").strip()]


@pytest.mark.parametrize("path", sorted((ROOT / "seeds").glob("*.csv")), ids=lambda path: path.stem)
def test_every_seed_and_column_is_described(path: Path) -> None:
    entry = entries("seeds", "seeds").get(path.stem, {})
    assert entry.get("description", "").strip(), f"{path.stem} has no description in seeds/_seeds.yml"
    with path.open(encoding="utf-8", newline="") as file:
        header = next(csv.reader(file))
    described = [c["name"] for c in entry["columns"] if c.get("description", "").strip()]
    assert sorted(described) == sorted(header)
    assert set(entry["config"]["column_types"]) == set(header), "dbt would guess a type from the rows that are there"


def test_every_entry_has_its_file() -> None:
    files = {path.stem for path in (ROOT / "models").rglob("*.sql")}
    assert set(entries("models", "models")) == files
    assert set(entries("seeds", "seeds")) == {path.stem for path in (ROOT / "seeds").glob("*.csv")}


def test_every_macro_says_what_it_is_for() -> None:
    wrong = [
        f"{macro.file}: {macro.name}"
        for macro in macro_docs.macros()
        if not macro.implements and not {"Purpose", "Input", "Output"} <= macro.parts.keys()
    ]
    assert not wrong, "the comment above a macro says its Purpose, Input and Output"


def test_the_documentation_of_macros_is_that_of_their_comments() -> None:
    assert macro_docs.DOCUMENTATION.read_text(encoding="utf-8") == macro_docs.documentation(), (
        "macros/_macros.yml is out of date: run tests/python/macro_docs.py with Python"
    )


def test_no_description_breaks_the_static_docs() -> None:
    """`dbt docs generate --static` puts them into a script of the page."""
    texts = {str(p.relative_to(ROOT)): p.read_text(encoding="utf-8") for p in ROOT.glob("m*/**/*.yml")}
    assert not [name for name, content in texts.items() if "</script" in content.lower()]
