"""Files that are there as a whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from scripts.errors import UserError


def check_writable(path: Path, option: str) -> None:
    """Find out before the work, not after it, that a file cannot be written. Raises UserError naming the option."""
    folder = path.parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UserError(f"{path} cannot be written: {option} must name a file in a folder of yours.")


@contextmanager
def whole_file(path: Path) -> Iterator[IO[str]]:
    """A text file (UTF-8) that takes its name only once all of it is written: a reader never finds half of it."""
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=f".{path.name}.", delete=False, encoding="utf-8", newline=""
    ) as file:
        try:
            yield file.file
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            os.unlink(file.name)
            raise
    os.replace(file.name, path)
