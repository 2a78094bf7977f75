"""The letters that make a name are Unicode's, whatever the database's locale says."""

from __future__ import annotations

import re
import sys
import unicodedata

import pytest

from scripts.paths import project_dir

#: The version that the macro was made from. A newer Python knows letters of small scripts that it does not.
VERSION = "14.0.0"


def ranges() -> list[tuple[int, int]]:
    """The ranges of code points that the macro `letters` holds."""
    text = (project_dir() / "macros/values/letters.sql").read_text(encoding="utf-8")
    listed = "".join(re.findall(r"'([^']*)'", text[text.index("return(") :]))
    point = r"(\\u[0-9A-F]{4}|\\U[0-9A-F]{8}|[A-Za-z])"
    assert re.fullmatch(rf"(?:{point}(?:-{point})?)+", listed), "the list holds something else than code points"
    found = [(_code(first), _code(last or first)) for first, last in re.findall(rf"{point}(?:-{point})?", listed)]
    assert all(first <= last for first, last in found)
    return found


def _code(text: str) -> int:
    return int(text[2:], 16) if text.startswith("\\") else ord(text)


def inside() -> set[int]:
    """The code points within the ranges."""
    return {point for first, last in ranges() for point in range(first, last + 1)}


def test_letters_of_long_standing_are_all_there_and_no_digit_or_sign() -> None:
    """Whichever Python runs this: it keeps Unicode 3.2 beside its own version. What both say counts."""
    old, found = unicodedata.ucd_3_2_0, inside()
    settled = {
        point: unicodedata.category(chr(point))[0]
        for point in range(sys.maxunicode + 1)
        if unicodedata.category(chr(point)) == old.category(chr(point))
    }
    assert not [hex(point) for point, kind in settled.items() if kind == "L" and point not in found]
    assert not [hex(point) for point in sorted(found) if settled.get(point, "C") in "NPSZ"]


@pytest.mark.skipif(unicodedata.unidata_version != VERSION, reason="this Python has another version of Unicode")
def test_letters_of_its_version_and_nothing_but_marks_between_them() -> None:
    found = inside()
    category = {point: unicodedata.category(chr(point)) for point in range(sys.maxunicode + 1)}
    assert not [hex(point) for point, kind in category.items() if kind[0] == "L" and point not in found]
    assert not [hex(point) for point in sorted(found) if category[point][0] not in "LM" and category[point] != "Cn"]
