"""Write the site into a folder: all of it, or nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.resources import as_file, files
from pathlib import Path

from scripts.connection import Session
from scripts.errors import UserError
from scripts.ledger import Ledger
from scripts.settings import Database
from scripts.site import downloads, lineage, pages
from scripts.site.reader import Reader
from scripts.site.rendering import Frame, Renderer

# A folder is ours to replace when it holds this.
_MARK = ".migrate-site"


def check_folder(folder: Path) -> None:
    """Find out before the work that the site can be written. Raises UserError naming the option."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists():
            if not folder.is_dir():
                raise UserError(f"--output names {folder}, which is a file. Name a folder.")
            if any(folder.iterdir()) and not (folder / _MARK).is_file():
                raise UserError(
                    f"--output names {folder}, which holds files of somebody else. Name an empty or new folder: "
                    "the site replaces what is in it."
                )
        with tempfile.TemporaryFile(dir=folder.parent):
            pass
    except OSError as error:
        raise UserError(f"--output names {folder}, which cannot be written: {error.strerror}.") from None


def build(
    session: Session,
    database: Database,
    ledger: Ledger,
    folder: Path,
    *,
    show_personal_data: bool = False,
    data_docs: Path | None = None,
    watch: Callable[[str], None] = lambda _: None,
) -> int:
    """Write the site; returns the number of its pages. `data_docs`: where `migrate validate` put its pages.

    Every report is a statement of its own, so that nothing holds back vacuum for long: while a run is writing, the
    numbers of two pages may differ by what it wrote between them. Raises UserError when the folder is neither empty
    nor an earlier site.
    """
    check_folder(folder)
    with _replaced(folder) as made:
        reader = Reader(
            session, database, ledger, show_personal_data=show_personal_data, data_docs=data_docs, watch=watch
        )
        frame = Frame(database.label, datetime.now(UTC), masked=not show_personal_data, runs=reader.runs_with_pages)
        renderer = Renderer(frame)
        count = 0
        for path in pages.paths(reader):
            page = pages.find(reader, path)
            assert page is not None
            _write(made / path, [renderer.render(page)])
            count += 1
        for path in downloads.paths(reader):
            found = downloads.find(reader, path)
            assert found is not None
            _write(made / path, found.pieces)
        if reader.data_docs is not None:
            shutil.copytree(reader.data_docs, made / "validation")
        if reader.dbt_page is not None:
            page_of_dbt = lineage.without_requests(reader.dbt_page.read_text(encoding="utf-8"))
            _write(made / "lineage" / "index.html", [page_of_dbt])
        with as_file(files("scripts.site") / "static") as static:
            shutil.copytree(static, made / "static")
        (made / _MARK).write_text("Made by `migrate site`; the next one replaces this folder.\n", encoding="utf-8")
    return count


def _write(path: Path, pieces: Iterable[str]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(pieces)


@contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """A new folder that takes the place of `folder` once all is in it; until then, and on errors, that one stays."""
    folder = folder.resolve()
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        made.chmod(0o755)
        yield made
        old = made.with_name(f"{made.name}.old")
        if folder.exists():
            folder.rename(old)
        try:
            made.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not os.path.islink(path))
