"""No value may raise or break the contract: hostile rows against real servers, the newest and the oldest.

The checks are Python's own and share nothing with the macros that make the values.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
import uuid
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from conftest import create_database, drop_database, on
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.conninfo import make_conninfo

from scripts import project
from scripts.demo import shapes
from scripts.demo.values import dumps
from scripts.paths import project_dir
from scripts.settings import Database

Row = dict[str, Any]
Session = psycopg.Connection[Any]

COLUMNS = ("integration_type", "event_type", "source", "message_template", "user_name", "user_email", "user_location",
           "page_url", "created_at")  # fmt: skip
ENVELOPE = {"event_id", "provider", "provider_event_type", "timestamp", "payload", "normalized"}
ALWAYS = {"meta.provider", "meta.provider_resolved_by", "meta.contract_version"}
RULES = {"integration", "integration_type", "event_rule", "payload_signature", "fallback"}
NAMES = {"template.customer_name", "template.author_name", "template.user_name", "template.visitor_name"}

#: Settings that must change nothing: the same rows are read again under them.
OTHER_SETTINGS = {
    "TimeZone": "Asia/Kathmandu",
    "DateStyle": "German, DMY",
    "IntervalStyle": "iso_8601",
    "search_path": "pg_temp",
    "lc_time": "C",
    "lc_numeric": "C",
    "lc_monetary": "C",
    "extra_float_digits": "-15",
    "standard_conforming_strings": "off",
    "backslash_quote": "off",
}


# ---------- hostile values


class Raw(str):
    """JSON text that Python has no value for: numbers beyond floats, digits that must stay as they are."""


WORDS = [
    "", " ", "\u00a0", "\u2007\u3000", "\u200b", "\ufeff", "undefined", "undefined undefined",
    "UNDEFINED, null", "undefined, undefined", "null", "Null Null", "undefined \u00a0undefined", "null,\u00a0,",
    ", ,", "\u00a0, \u2003,", "N/A", "Anonymous", "Someone", "Unknown", "Product", "a product", "NaN",
    "Infinity", "-inf", "1e400", "0x1F", "1_000", "1,299.00", "EUR 12.00", "12,34", "0,500", "-0", "-0.00",
    "99999999999999999999", "9" * 400, "0." + "0" * 300 + "1", "١٢٣", "½", "￥5", "Ⅷ",
    "<script>alert(1)</script>", "'; drop table events; --", "\\", "\\u0000", "{{ 1 }}", "%s%n$1",
    "javascript:alert(1)", "JaVaScRiPt:alert(1)", "java\nscript:alert(1)", "\x01javascript:alert(1)",
    "\tjavascript\t:x", "javascript&colon;alert(1)", "&#106;avascript:x", "data:text/html;base64,x",
    "vbscript:x", "\u200bjavascript:x", "java\u00adscript:x", "ｊavascript：x", "file:///etc/passwd",
    "https:javascript:x", "http://a b", "//evil.example", "?a:b", "\u202eevil", "e\u0301\u0301\u0301",
    "👩‍👩‍👧‍👦", "😀", "İstanbul", "ı", "ẞ", "ǅ", "\U0010ffff", "\ufdd0", "٪", "...", "---", "a@b",
    "ann@mail.example", "[1]", '{"a":1}', '{"object":"charge"}', '{"a":"\\u0000"}', "{", '{"a":1e999999}',
    "true",
]  # fmt: skip
NUMBERS = [
    "1e131071", "-1e400", "1e-400", "0.1e-9", "9223372036854775808", "-0", "-0.0", "1.50", "999999999999999",
    "1000000000000000", "123456789012345.0123456789", "0.00000000001", "9" * 1000, "4.5", "0", "3",
]  # fmt: skip
PROVIDERS = [
    "shopify", "stripe", "woocommerce", "testimonials", "announcements", "instant_capture", "live_visitors",
    "manual", "webhook", "ga4", "gumroad", "razorpay", "flutterwave", "segment", "mixpanel", "Ünknown", " ", "",
    "x" * 300, "' or 1=1", "google analytics", None,
]  # fmt: skip
MAPPED = [*PROVIDERS[:7], "gumroad", "segment"]  # each mapping, and what the generic one does for single sources
EVENT_TYPES = ["announcement", "form_submission", "testimonial", "live_visitors", "purchase", "", "\u00a0", None]
TIMES = [
    "2025-01-15 10:30:00.123456+00", "infinity", "-infinity", "1970-01-01 00:00:00+14",
    "9999-12-31 23:59:59.999999+00", "294276-12-31 23:59:59+00", None,
]  # fmt: skip


def known_paths() -> list[list[str]]:
    """Every path that some mapping reads, as its keys; an address is read at its city and country."""
    macros = [*project_dir().glob("macros/providers/*.sql"), *project_dir().glob("macros/events/*.sql")]
    found = set(re.findall(r"'([a-z_$][a-z_$0-9.]*)'", "".join(path.read_text(encoding="utf-8") for path in macros)))
    found |= {
        f"{path}.{part}"
        for path in found
        if re.search("address$|billing$|shipping$", path)
        for part in ("city", "country")
    }
    return sorted(path.split(".") for path in found)


def nested(paths: Sequence[Sequence[str]], value: Any) -> Any:
    """One payload that holds the value at every path."""
    if any(not path for path in paths) and not any(paths):
        return value
    inner: dict[str, list[Sequence[str]]] = {}
    for path in paths:
        if path:
            inner.setdefault(path[0], []).append(path[1:])
    if set(inner) == {"0"}:
        return [nested(inner["0"], value)] * 2
    return {key: nested(rest, value) for key, rest in inner.items()}


#: Keys that mean something to some mapping; a hostile value finds its way to any of them.
PATHS = known_paths()
KEYS = sorted({key for path in PATHS for key in path})

WRAPPERS = ["raw_payload", "order", "payment", "testimonial"]

texts = st.sampled_from(WORDS) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12
)
scalars: st.SearchStrategy[Any] = (
    texts | st.sampled_from([Raw(number) for number in NUMBERS]) | st.sampled_from([None, True, False, [], {}])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | texts, inner, max_size=4),
    max_leaves=6,
)
BASES = [shapes.sample(shape.name) for shape in shapes.ALL if not shape.hostile]


def places(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value, the root included."""
    yield here
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*here, key))
    elif isinstance(value, list):
        for index in range(len(value)):
            yield from places(value[index], (*here, index))


def replaced(value: Any, place: Sequence[Any], by: Any) -> Any:
    """A copy of a JSON value with another value at one place."""
    if not place:
        return by
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[place[0]] = replaced(copy[place[0]], place[1:], by)
    return copy


def as_json(value: Any) -> str:
    """JSON text of a value that may hold Raw numbers."""
    if isinstance(value, Raw):
        return value
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {as_json(found)}" for key, found in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_json, value)) + "]"
    return json.dumps(value)


@st.composite
def hostile_rows(draw: st.DrawFn) -> Row:
    """A realistic row with hostile values at any place of its payload and in its columns, wrapped or not."""
    base = draw(st.sampled_from(BASES))
    row: Row = {"source": str(base.get("source"))} | {
        name: base.get(name) for name in COLUMNS if name not in ("source", "created_at")
    }
    data = json.loads(dumps(base.get("event_data")))
    for _ in range(draw(st.integers(0, 3))):
        data = replaced(data, draw(st.sampled_from(list(places(data)))), draw(values))
    if isinstance(data, dict):
        data = data | draw(st.dictionaries(st.sampled_from(KEYS), values, max_size=3))
    for wrapper in draw(st.lists(st.sampled_from([*WRAPPERS, "text"]), max_size=4)):
        data = as_json(data) if wrapper == "text" else {wrapper: data}
    row["event_data"] = as_json(data)
    row["integration_type"] = draw(st.sampled_from([row["integration_type"], *PROVIDERS]))
    row["event_type"] = draw(st.sampled_from([row["event_type"], *EVENT_TYPES]))
    row["created_at"] = draw(st.sampled_from(TIMES))
    for column in draw(st.lists(st.sampled_from(COLUMNS[3:8]), max_size=2)):
        row[column] = draw(texts | st.none())
    return row


# ---------- the servers


@pytest.fixture(scope="module")
def built(any_server: str) -> Iterator[Database]:
    """A database with an empty table of events whose words are plain text, and the models of `migrate events`."""
    name = create_database(any_server)
    yield prepared(on(any_server, name))
    drop_database(any_server, name)


def prepared(database: Database) -> Database:
    with psycopg.connect(database.conninfo, autocommit=True) as session:
        session.execute("""
            create table public.events (
                id uuid primary key, website_id uuid not null, integration_id uuid, integration_type text,
                event_type text, source text, event_data jsonb not null, message_template text,
                user_name text, user_email text, user_location text, page_url text, created_at timestamptz,
                canonical_event jsonb default '{}'
            )
        """)
    project.bring_up_to_date(database, "events")
    return database


@pytest.fixture(scope="module")
def session(built: Database) -> Iterator[Session]:
    with psycopg.connect(
        make_conninfo(built.conninfo, options="-c statement_timeout=60s -c timezone=UTC -c jit=off")
    ) as session:
        yield session


def insert(session: Session, rows: Sequence[Row]) -> dict[str, Row]:
    """Store rows; returns them by id."""
    stored = {str(uuid.uuid4()): row for row in rows}
    names = ["id", "website_id", *COLUMNS, "event_data"]
    statement = sql.SQL("insert into public.events ({}) values ({})").format(
        sql.SQL(", ").join(map(sql.Identifier, names)), sql.SQL(", ").join(sql.Placeholder() * len(names))
    )
    with session.cursor() as cursor:
        cursor.executemany(
            statement,
            [
                [key, str(uuid.uuid4()), *(row[name] for name in COLUMNS), row["event_data"]]
                for key, row in stored.items()
            ],
        )
    return stored


def read(session: Session) -> dict[str, tuple[str, str]]:
    """Each event's envelope without its payload, and the payload's hash."""
    found = session.execute("""
        select event_id::text, (canonical_event - 'payload')::text, md5((canonical_event -> 'payload')::text)
        from canonical_migration.canonical_events
    """).fetchall()
    assert len({row[0] for row in found}) == len(found)
    return {row[0]: (row[1], row[2]) for row in found}


def hashes(session: Session) -> dict[str, str]:
    """The hash of each event's payload as it is stored."""
    return dict(session.execute("select id::text, md5(event_data::text) from public.events").fetchall())


# ---------- the checks


def is_safe(url: str) -> bool:
    """Whether no browser can read another scheme than http or https into it."""
    visible = "".join(c for c in html.unescape(url) if unicodedata.category(c)[0] not in "CZ")
    if re.match(r"[a-z]*script:|data:|file:", visible, re.IGNORECASE):
        return False
    return urlsplit(visible.replace("[", "").replace("]", "")).scheme in ("", "http", "https")


def problems(event_id: str, row: Row, text: str) -> list[str]:
    """What of the contract an envelope breaks."""
    envelope = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    normalized: dict[str, Any] = envelope["normalized"]
    found: list[str] = []

    def check(holds: bool, what: str) -> None:
        if not holds:
            found.append(what)

    check(set(envelope) | {"payload"} == ENVELOPE, f"keys {sorted(envelope)}")
    check(envelope["event_id"] == event_id, "event_id")
    check(envelope["provider_event_type"] == row["event_type"], "provider_event_type")
    check(bool(envelope["provider"]) and envelope["provider"] == normalized.get("meta.provider"), "provider")
    check(normalized.keys() >= ALWAYS, "meta keys")
    check(normalized.get("meta.provider_resolved_by") in RULES, "rule")
    check(envelope["timestamp"] == normalized.get("meta.timestamp"), "meta.timestamp")
    unknown_time = row["created_at"] in (None, "infinity", "-infinity")
    check((envelope["timestamp"] is None) == unknown_time, "timestamp")
    if not unknown_time:
        check(bool(re.fullmatch(r"\d{4,}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", envelope["timestamp"])), "timestamp's form")
    check(not unknown_time or "template.time_ago" not in normalized, "template.time_ago")
    event_type = (row["event_type"] or "").strip()
    check(normalized.get("meta.event_type", "") == event_type, "meta.event_type")
    defaults = normalized["meta.display_defaults"].split(",") if "meta.display_defaults" in normalized else []
    check(set(defaults) <= normalized.keys(), "meta.display_defaults")
    for key, value in normalized.items():
        check(bool(re.fullmatch(r"(template|meta)\.[a-z_]+", key)), f"key {key}")
        check(isinstance(value, str | Decimal | bool), f"{key} is not flat")
        if isinstance(value, str):
            check(value != "" and value == value.strip(), f"{key} is blank or not trimmed: {value!r}")
        if isinstance(value, Decimal):
            exponent = value.as_tuple().exponent
            check(
                abs(value) < 10**15 and isinstance(exponent, int) and exponent >= -10, f"{key} beyond limits: {value}"
            )
        if key.endswith(("_url", "_image", "_avatar")):
            check(is_safe(value), f"{key} is unsafe: {value!r}")
        if key in NAMES:
            words = value.lower()
            check(any(c.isalpha() for c in value), f"{key} has no letter: {value!r}")
            bad = ("undefined", "null", "unknown", "n/a", "anonymous", "undefined undefined", "undefined, undefined")
            check(words not in bad, f"{key} is a placeholder: {value!r}")
            check(words != "someone" or key in defaults, f"{key} is Someone, unlisted")
    if "template.currency" in normalized:
        check(bool(re.fullmatch("[A-Z]{3}", normalized["template.currency"])), "currency")
    if "template.rating" in normalized:
        check(1 <= normalized["template.rating"] <= 5, "rating")
    if "template.price" in normalized:
        check(bool(re.fullmatch(r"-?\d+(\.\d{2,})?", normalized["template.price"])), "price")
    return found


def check_rows(session: Session, rows: Sequence[Row]) -> None:
    """Store rows, read their envelopes twice under different settings, and let nothing of it stay."""
    try:
        stored = insert(session, rows)
        first = read(session)
        assert {key: payload for key, (_, payload) in first.items()} == hashes(session)
        wrong = [
            (found, row["integration_type"], row["event_data"][:300])
            for key, row in stored.items()
            if (found := problems(key, row, first[key][0]))
        ]
        assert not wrong, f"{len(wrong)} rows break the contract, among them: {wrong[:5]}"
        for name, value in OTHER_SETTINGS.items():
            session.execute("select set_config(%s, %s, true)", (name, value))
        assert read(session) == first
    finally:
        session.rollback()


@settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(hostile_rows(), min_size=10, max_size=60))
def test_hostile_rows_keep_the_contract(session: Session, rows: list[Row]) -> None:
    check_rows(session, rows)


def test_every_hostile_word_at_every_known_path(session: Session) -> None:
    """Each provider's mapping meets each word and number at each path that any mapping reads, and in each column."""
    unwrapped = [path for path in PATHS if path[0] not in WRAPPERS]
    rows = []
    worst: list[Any] = [*WORDS, *map(Raw, NUMBERS), None, True, [], {}, [[]], {"a": None}]
    for value in worst:
        word = value if isinstance(value, str) and not isinstance(value, Raw) else None
        row = dict.fromkeys(COLUMNS[3:8], word) | {"event_type": "x", "source": "manual", "created_at": TIMES[0]}
        row["event_data"] = as_json(nested(unwrapped, value))
        rows += [row | {"integration_type": provider} for provider in MAPPED]
    check_rows(session, rows)


def test_large_and_deep_payloads(session: Session) -> None:
    """1 MB of long text wherever text is read; a thousand levels deep; text that only looks like JSON."""
    plain: Row = dict.fromkeys(COLUMNS) | {"integration_type": "shopify", "created_at": TIMES[0]}
    keys = ("customer_name", "product_name", "price", "currency", "location", "product_url", "email", "order_number")
    length = 1_000_000 // len(keys)
    patterns = ["x", "undefined ", "null,", "a@", "9", "1,", "\u00a0", "java ", "é", "*", "a.b:"]
    rows = [plain | {"event_data": json.dumps(dict.fromkeys(keys, (p * length)[:length] + "Z"))} for p in patterns]
    rows += [plain | {"event_data": json.dumps({"customer_name": "x" * 1_000_000})}]
    rows += [plain | {"event_data": "[" * 1000 + "]" * 1000}]
    deep = '{"raw_payload":' * 1000 + "1" + "}" * 1000
    rows += [plain | {"integration_type": "webhook", "event_data": deep}]
    text = json.dumps('{"a":' * 50_000 + "1" + "}" * 50_000)
    rows += [plain | {"integration_type": "webhook", "event_data": '{"raw_payload": ' + text + "}"}]
    rows += [plain | {"event_data": json.dumps({"line_items": [{"quantity": 10**14, "price": "1"}] * 20_000})}]
    rows += [
        plain
        | {"integration_type": "woocommerce", "event_data": json.dumps({"products": [{"quantity": 10**14}] * 2000})}
    ]
    check_rows(session, rows)
