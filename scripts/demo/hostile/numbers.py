"""Numbers beyond every type, and text that looks like a number or only nearly."""

from __future__ import annotations

from scripts.demo.hostile.places import PLACES, SLOT, Placer
from scripts.demo.shape import Columns, Maker, Shapes
from scripts.demo.values import RawJson, Values, dumps

shapes = Shapes(hostile=True, weight=0.03)

#: JSON numbers as text, since Python would round or refuse some. PostgreSQL's numeric stores them all.
NUMBERS = (
    "0", "-0", "-0.0", "1", "-5", "0.005", "0.015", "2.675", "1E2", "1.5e1", "123456789012345", "1234567890123456",
    "999999999999999.9999999999", "9223372036854775807", "9223372036854775808", "-9223372036854775809",
    "0.12345678901", "1e15", "1e400", "-1e400", "1e-400", "1e131071", "-1e131071", "1e-16383",
    "9" * 200, "0." + "1" * 300, "1" + "0" * 50_000, "3.14159265358979323846264338327950288",
)  # fmt: skip

#: Text where a number belongs. Only some of it is one by the contract's grammar.
TEXTS = (
    "NaN", "nan", "Infinity", "-Infinity", "inf", "1e5", "0x10", "0b1", "1_000", "1,299.00", "12,99", "1.299,00",
    "1 299,00",
    "1,2,3", ",5", ".5", "5.", "+5", "--5", "5-", "(5)", "$5", "-$5.00", "$-5.00", "$ 5", "5$", "US$5", "€5,00",
    "5 €", "EUR 12.00",
    "12.00 EUR", "eur 12", "EUR12", "EUR", "EUR 12 USD", "XYZ 5", "¥4,999", "KES 49.00", "5%", "٤٢", "４２", "४२", "Ⅷ",
    "½",
    "1\u00a0299.00", " 5 ", "\u00a05\u00a0", "5\u200b", "5\n", "1e131072", "9" * 400, "1" * 200_000, "0" * 30, "-",
    "+", ".", "five",
    "5 stars", "4/5", "10/10", "null", "true", "1970-01-01",
)  # fmt: skip


def _number(placer: Placer, text: str) -> Maker:
    def make(v: Values) -> Columns:
        row = placer(SLOT)
        return {**row, "event_data": RawJson(dumps(row["event_data"]).replace(f'"{SLOT}"', text))}

    return make


def _text(placer: Placer, text: str) -> Maker:
    def make(v: Values) -> Columns:
        return placer(text)

    return make


for _n, _value in enumerate(NUMBERS):
    # Each value with three of the providers, so that every provider meets a third of them.
    for _provider, _by, _placer in (PLACES[(_n + k) % len(PLACES)] for k in (0, 3, 5)):
        shapes.add(
            f"hostile-number-{_n:02d}-{_provider}",
            "hostile",
            _provider,
            _by,
            _number(_placer, _value),
            weight=0 if len(_value) > 1000 or "131071" in _value else None,
        )
for _n, _value in enumerate(TEXTS):
    for _provider, _by, _placer in (PLACES[(_n + k) % len(PLACES)] for k in (0, 3, 5)):
        shapes.add(
            f"hostile-number-text-{_n:02d}-{_provider}",
            "hostile",
            _provider,
            _by,
            _text(_placer, _value),
            weight=0 if len(_value) > 1000 else None,
        )
