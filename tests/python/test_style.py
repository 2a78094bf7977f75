"""The style of the SQL that sqlfluff cannot judge: it misreads lateral joins and files that are all Jinja."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(
    path.relative_to(ROOT)
    for folder in ("models", "macros", "tests", "analyses")
    for path in (ROOT / folder).rglob("*.sql")
)
MODELS = [path for path in FILES if path.parts[0] == "models"]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_indentation_and_ends_of_lines(path: Path) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    comment = False  # a Jinja comment lays out its text as it likes
    for number, line in enumerate(text.splitlines(), 1):
        comment = comment or "{#" in line
        assert line == line.rstrip(), f"{path}:{number} ends in white space"
        assert "\t" not in line, f"{path}:{number} has a tab"
        if not comment:
            assert (len(line) - len(line.lstrip())) % 4 == 0, f"{path}:{number} is not indented by fours"
        comment = comment and "#}" not in line


@pytest.mark.parametrize("path", MODELS, ids=str)
def test_a_model_ends_with_select_star(path: Path) -> None:
    last = (ROOT / path).read_text(encoding="utf-8").splitlines()[-1]
    assert last.startswith("select * from "), f"{path} ends with: {last}"
