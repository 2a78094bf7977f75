"""Random but repeatable values: one stream of numbers per seed, and the words the demo's rows are made of.

Everything here is invented. Domains are those of RFC 2606 (example.com, example.org), so that no row points at anybody.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

#: Labels of the enum public.integration_type in schema.sql. Any other word a writer sends was repaired on the way in.
ENUM_TYPES = frozenset(
    (
        "manual",
        "api",
        "webhook",
        "zapier",
        "form_hook",
        "javascript_api",
        "custom_sdk",
        "shopify",
        "woocommerce",
        "stripe",
        "typeform",
        "calendly",
        "flutterwave",
        "ga4",
        "google_reviews",
        "instagram",
        "twitter",
    )
)


class RawJson(str):
    """JSON text that goes into the table as it stands: numbers and depths that Python's json would change or refuse."""


class Place(NamedTuple):
    city: str
    region: str
    country: str
    code: str


class Person(NamedTuple):
    first: str
    last: str
    handle: str
    email: str

    @property
    def name(self) -> str:
        return f"{self.first} {self.last}"


class Product(NamedTuple):
    title: str
    slug: str
    cents: int

    @property
    def price(self) -> str:
        """Major units with two decimals, as shops write them."""
        return f"{self.cents // 100}.{self.cents % 100:02d}"


@dataclass(frozen=True)
class Site:
    """A customer's website and what belongs to it; ids are uuid text."""

    id: str
    user_id: str
    domain: str
    widgets: tuple[str, ...] = ()
    integrations: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"https://{self.domain}"


FIRST = (
    ("Ann", "ann"), ("Ngozi", "ngozi"), ("Zoë", "zoe"), ("Mateo", "mateo"), ("Ingrid", "ingrid"), ("李", "li"),
    ("محمد", "mohammed"), ("Aoife", "aoife"), ("Kwame", "kwame"), ("Priya", "priya"), ("Łukasz", "lukasz"),
    ("Chloé", "chloe"), ("Yuki", "yuki"), ("Tunde", "tunde"), ("Dmitri", "dmitri"), ("Søren", "soren"),
    ("Jean-Luc", "jeanluc"), ("Sinéad", "sinead"), ("Bob", "bob"), ("Amara", "amara"), ("José", "jose"),
    ("Fatima", "fatima"), ("Hye-jin", "hyejin"), ("Olu", "olu"), ("Grace", "grace"), ("Ivana", "ivana"),
)  # fmt: skip
LAST = (
    ("Okafor", "okafor"), ("O'Brien", "obrien"), ("Müller", "mueller"), ("García López", "garcia"),
    ("van der Berg", "vdberg"), ("小明", "xiaoming"), ("Nowak", "nowak"), ("Adeyemi", "adeyemi"), ("Smith", "smith"),
    ("Ferreira", "ferreira"), ("Şahin", "sahin"), ("Kowalski", "kowalski"), ("Iyer", "iyer"), ("Dubois", "dubois"),
    ("Tanaka", "tanaka"), ("Mensah", "mensah"), ("Lindqvist", "lindqvist"), ("Haddad", "haddad"), ("Park", "park"),
    ("Novák", "novak"), ("McDonald", "mcdonald"), ("Rossi", "rossi"), ("Jones", "jones"), ("Kamau", "kamau"),
)  # fmt: skip
PLACES = tuple(
    Place(*parts)
    for parts in (
        ("Lagos", "Lagos", "Nigeria", "NG"),
        ("Nairobi", "Nairobi County", "Kenya", "KE"),
        ("Accra", "Greater Accra", "Ghana", "GH"),
        ("London", "England", "United Kingdom", "GB"),
        ("Austin", "Texas", "United States", "US"),
        ("Berlin", "Berlin", "Germany", "DE"),
        ("São Paulo", "São Paulo", "Brazil", "BR"),
        ("Kraków", "Małopolska", "Poland", "PL"),
        ("東京", "東京都", "Japan", "JP"),
        ("Mumbai", "Maharashtra", "India", "IN"),
        ("Paris", "Île-de-France", "France", "FR"),
        ("Toronto", "Ontario", "Canada", "CA"),
        ("Kuwait City", "Al Asimah", "Kuwait", "KW"),
        ("Reykjavík", "Capital Region", "Iceland", "IS"),
        ("Dublin", "Leinster", "Ireland", "IE"),
        ("Mexico City", "CDMX", "Mexico", "MX"),
        ("Cape Town", "Western Cape", "South Africa", "ZA"),
    )
)
PRODUCTS = tuple(
    Product(*parts)
    for parts in (
        ("Walnut Desk Organiser", "walnut-desk-organiser", 4900), ("Linen Shirt – Sand", "linen-shirt-sand", 6950),
        ("Merino Beanie", "merino-beanie", 2450), ("Cold Brew Kit", "cold-brew-kit", 3999),
        ("Ceramic Pour-Over Set", "ceramic-pour-over-set", 129900), ("Yoga Mat 6 mm", "yoga-mat-6mm", 3500),
        ('27" Monitor Arm', "monitor-arm-27", 11999), ("Crème Brûlée Torch", "creme-brulee-torch", 2895),
        ("Notebook & Pen", "notebook-pen", 1850), ("Trail Runner GTX", "trail-runner-gtx", 17900),
        ("Pro Plan (annual)", "pro-plan-annual", 29900), ("Handmade Soap x3", "handmade-soap-x3", 1200),
        ("Standing Desk 160×80", "standing-desk-160", 64900), ("Enamel Mug", "enamel-mug", 950),
    )
)  # fmt: skip
#: ISO code -> decimals that Stripe charges it with.
CURRENCIES = {"USD": 2, "EUR": 2, "GBP": 2, "NGN": 2, "KES": 2, "INR": 2, "CAD": 2, "BRL": 2, "JPY": 0, "KWD": 3}
CURRENCY_CODES = ("USD",) * 6 + tuple(CURRENCIES)
TWO_DECIMAL_CODES = ("USD", "USD", "USD", "EUR", "GBP", "NGN", "KES", "INR", "CAD")
_ALPHANUMERIC = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


class Values:
    """One stream of values. `created`, `row_id` and `site` are those of the row being made."""

    def __init__(self, seed: int | str) -> None:
        self.rng = random.Random(seed)
        self.random = self.rng.random
        self.bits = self.rng.getrandbits
        self.created = datetime(2025, 1, 15, 10, 30, tzinfo=UTC)
        self.row_id = ""
        self.site = Site("", "", "shop.example.com")

    def pick(self, items: Sequence[T]) -> T:
        return items[int(self.random() * len(items))]

    def chance(self, share: float) -> bool:
        return self.random() < share

    def integer(self, low: int, high: int) -> int:
        """low <= result <= high."""
        return low + int(self.random() * (high - low + 1))

    def digits(self, count: int) -> str:
        return str(self.integer(10 ** (count - 1), 10**count - 1))

    def uuid(self) -> str:
        """A random (version 4) uuid as text."""
        h = f"{self.bits(128):032x}"
        return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{'89ab'[int(h[16], 16) & 3]}{h[17:20]}-{h[20:]}"

    def token(self, length: int) -> str:
        value = self.bits(6 * length)
        out = []
        for _ in range(length):
            out.append(_ALPHANUMERIC[(value & 63) % 62])
            value >>= 6
        return "".join(out)

    def person(self) -> Person:
        first, short = self.pick(FIRST)
        last, long = self.pick(LAST)
        handle = f"{short}.{long}{self.bits(10)}"
        return Person(first, last, handle, f"{handle}@example.{'com' if self.bits(1) else 'org'}")

    def place(self) -> Place:
        return self.pick(PLACES)

    def product(self) -> Product:
        return self.pick(PRODUCTS)

    def currency(self) -> str:
        """One that every writer stores with two decimals; Stripe's makers choose their own."""
        return self.pick(TWO_DECIMAL_CODES)

    # ---------- times of the row, in the notations the providers use

    def iso(self, seconds: float = 0) -> str:
        """`created` (plus seconds) in UTC with milliseconds and Z."""
        moment = self.created + timedelta(seconds=seconds) if seconds else self.created
        return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"

    def iso_offset(self) -> str:
        """With an offset, as Shopify writes it."""
        return (self.created - timedelta(hours=5)).strftime("%Y-%m-%dT%H:%M:%S") + "-05:00"

    def iso_local(self) -> str:
        """Without any zone, as WooCommerce writes it."""
        return self.created.strftime("%Y-%m-%dT%H:%M:%S")

    def epoch(self) -> int:
        return int(self.created.timestamp())

    # ---------- what became of a word that the enum may lack

    def repaired(self, sent: str) -> str | None:
        """`sent` where the enum has it, else 'manual' or NULL, as the smallest repair leaves it."""
        if sent in ENUM_TYPES:
            return sent
        return "manual" if self.random() < 0.7 else None


def dumps(value: Any) -> str:
    """JSON text as PostgreSQL takes it. RawJson is passed through."""
    if isinstance(value, RawJson):
        return value
    return _encode(value)


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")).encode
