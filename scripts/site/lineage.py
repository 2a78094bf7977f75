"""What the pages say of the models: what each is made of, from dbt's manifest; and where dbt's own page is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from scripts import project
from scripts.settings import Database

_KINDS = ("model", "seed", "source")


@dataclass(frozen=True)
class Model:
    """A model, seed or source table: what it reads and who reads it, by name."""

    name: str
    kind: str
    folder: str
    description: str
    columns: int
    reads: list[str]
    read_by: list[str]


def models(database: Database) -> list[Model]:
    """Everything that has a place in the lineage, sources first, then by folder."""
    parsed = project.manifest(database)
    nodes = {
        unique_id: node
        for unique_id, node in {**parsed["sources"], **parsed["nodes"]}.items()
        if node["resource_type"] in _KINDS
    }
    found = [
        Model(
            name=str(node["name"]),
            kind=str(node["resource_type"]),
            folder="sources" if node["resource_type"] == "source" else Path(node["original_file_path"]).parent.name,
            description=" ".join(str(node.get("description") or "").split()),
            columns=len(node.get("columns") or {}),
            reads=_names(nodes, parsed["parent_map"].get(unique_id, ())),
            read_by=_names(nodes, parsed["child_map"].get(unique_id, ())),
        )
        for unique_id, node in nodes.items()
    ]
    order = ("sources", "seeds", "staging", "events", "campaigns", "reports")
    return sorted(found, key=lambda one: (order.index(one.folder) if one.folder in order else len(order), one.name))


def dbt_page(database: Database) -> Path | None:
    """dbt's documentation of this database as one page, when it was made."""
    page = project.target_dir(database) / "static_index.html"
    return page if page.is_file() else None


def without_requests(page: str) -> str:
    """dbt's page without what a browser would ask for in vain: hundreds of icons, named before its script has run, and
    an icon of the page itself."""
    page = page.replace('xlink:href="{{', 'ng-attr-xlink:href="{{')
    return re.sub(r'<link rel="shortcut icon" href="\$\{[^>]*>', '<link rel="icon" href="data:,">', page)


def _names(nodes: dict[str, dict[str, object]], ids: object) -> list[str]:
    assert isinstance(ids, (list, tuple))
    return sorted({str(nodes[one]["name"]) for one in ids if one in nodes})
