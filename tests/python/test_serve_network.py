"""What stands between the server and its users: keys that are fetched, a proxy with TLS, slow and failing answers."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from serving import EVENTS, KeyPairs, KeyServer, bearer, free_port, key_server, serving, tls_proxy, user
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from scripts.errors import UserError
from scripts.server import guard, tokens
from scripts.server.configuration import configuration
from scripts.server.tokens import KeysUnavailable, TokenRefused, Tokens
from scripts.settings import Database

ADMIN = "/admin/data-migration"
USER = "00000000-0000-4000-8000-00000000000a"


# ---------- keys that are fetched


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> KeyPairs:
    return KeyPairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> KeyPairs:
    """The keys after a rotation; their ids are other ones too."""
    found = KeyPairs(tmp_path_factory.mktemp("newer"))
    found.document = found.document.replace('"ES256"', '"ES256-2"').replace('"RS256"', '"RS256-2"')
    return found


@pytest.fixture
def keys(pairs: KeyPairs) -> Iterator[KeyServer]:
    with key_server(pairs.document) as found:
        yield found


def checker(keys: KeyServer) -> Tokens:
    return Tokens(configuration("127.0.0.1", 8765, {"SUPABASE_JWKS_URL": keys.url}))


def refused(found: Tokens, token: str) -> str:
    with pytest.raises((TokenRefused, KeysUnavailable)) as caught:
        found.verify(token)
    return caught.type.__name__


def test_keys_are_fetched_once_and_again_for_a_new_one(
    keys: KeyServer, pairs: KeyPairs, newer: KeyPairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = checker(keys)
    for algorithm in ("ES256", "RS256", "ES256"):
        assert str(found.verify(pairs.token(algorithm, USER)).user_id) == USER
    assert keys.asked == 1
    # A stranger's token makes it ask again, but not as often as a stranger likes.
    for _ in range(5):
        assert refused(found, pairs.token("ES256", USER, kid="unknown")) == "TokenRefused"
    assert keys.asked == 1

    monkeypatch.setattr(tokens, "KEYS_PAUSE_SECONDS", 0.0)
    rotated = newer.token("ES256", USER, kid="ES256-2")
    assert refused(found, rotated) == "TokenRefused"
    keys.answer = KeyServer.saying(newer.document)
    found.verify(rotated)
    assert keys.asked == 3
    assert refused(found, pairs.token("ES256", USER)) == "TokenRefused"  # withdrawn
    # The new key under the old one's name is not the old one.
    assert refused(found, newer.token("ES256", USER, kid="RS256-2")) == "TokenRefused"


def hang_up(request: BaseHTTPRequestHandler) -> None:
    request.connection.shutdown(socket.SHUT_RDWR)


def talk_nonsense(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"220 mail.example.com ready\r\n\r\n")


def break_off(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    request.wfile.write(b"ffff\r\n{")


OUTAGES = {
    "hangs up": hang_up,
    "nonsense": talk_nonsense,
    "breaks off": break_off,
    "error": KeyServer.saying("{}", 500),
    "a page": KeyServer.saying("<h1>Sign in to the network</h1>"),
    "another document": KeyServer.saying('["keys"]'),
    "elsewhere": KeyServer.saying("", 302, Location="https://elsewhere.example/keys"),
    "nested": KeyServer.saying("[" * 100_000),
    "huge": KeyServer.saying(json.dumps({"keys": [], "x": "x" * 300_000})),
}


@pytest.mark.parametrize("outage", OUTAGES)
def test_an_outage_locks_nobody_out_and_is_no_refusal(
    outage: str, keys: KeyServer, pairs: KeyPairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "KEYS_PAUSE_SECONDS", 0.0)
    working, keys.answer = keys.answer, OUTAGES[outage]
    found = checker(keys)
    good = pairs.token("ES256", USER)
    assert refused(found, good) == "KeysUnavailable"
    keys.answer = working
    found.verify(good)

    keys.answer = OUTAGES[outage]
    found.verify(good)
    # It may be signed with a new key, which cannot be read now.
    assert refused(found, pairs.token("ES256", USER, kid="new")) == "KeysUnavailable"
    found.verify(good)
    # Keys of long ago may have been withdrawn since.
    monkeypatch.setattr(tokens, "KEYS_OLDEST_SECONDS", 0.0)
    assert refused(found, good) == "KeysUnavailable"
    monkeypatch.undo()
    monkeypatch.setattr(tokens, "KEYS_PAUSE_SECONDS", 0.0)
    keys.answer = working
    assert refused(found, pairs.token("ES256", USER, kid="new")) == "TokenRefused"
    found.verify(good)


def test_a_slow_answer_keeps_nobody_waiting_who_has_a_key(
    keys: KeyServer, pairs: KeyPairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = checker(keys)
    found.verify(pairs.token("ES256", USER))
    working, arrived, leave = keys.answer, threading.Event(), threading.Event()

    def slow(request: BaseHTTPRequestHandler) -> None:
        arrived.set()
        leave.wait(60)
        working(request)

    keys.answer = slow
    monkeypatch.setattr(tokens, "_FETCH_SECONDS", 60.0)
    monkeypatch.setattr(tokens, "KEYS_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(tokens, "KEYS_FRESH_SECONDS", 0.0)
    done = [threading.Thread(target=found.verify, args=[pairs.token("ES256", USER)], daemon=True) for _ in range(3)]
    try:
        for one in done:
            one.start()
        assert arrived.wait(20)
        for one in done:
            one.join(20)
            assert not one.is_alive()
        assert keys.asked == 2
    finally:
        leave.set()


def test_an_answer_that_does_not_come_is_an_outage(
    keys: KeyServer, pairs: KeyPairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave = threading.Event()

    def stay_silent(_: BaseHTTPRequestHandler) -> None:
        leave.wait(60)

    keys.answer = stay_silent
    monkeypatch.setattr(tokens, "_FETCH_SECONDS", 0.2)
    try:
        assert refused(checker(keys), pairs.token("ES256", USER)) == "KeysUnavailable"
    finally:
        leave.set()


# ---------- a proxy with TLS in front


def from_address(address: str, verify: Any) -> httpx.HTTPTransport:
    return httpx.HTTPTransport(local_address=address, verify=verify)


def test_others_reach_it_through_a_proxy_with_tls(demo_database: Database, keys: KeyServer, pairs: KeyPairs,
                                                  tmp_path: Path) -> None:  # fmt: skip
    admin = user(demo_database, "admin")
    good = pairs.token("ES256", admin)
    port = free_port()
    with (
        tls_proxy(tmp_path) as proxy,
        serving(
            demo_database, tmp_path, "--host", "0.0.0.0", "--port", str(port), MIGRATION_PUBLIC_URL=proxy.url,
            SUPABASE_JWKS_URL=keys.url, MIGRATION_TRUSTED_PROXIES="127.0.0.1",
        ) as served,
        served.client(verify=proxy.trust) as client,
    ):  # fmt: skip
        proxy.port = port
        assert served.base == proxy.url
        own = {"Origin": proxy.url}

        # Past the proxy there is no way in, even with a token.
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as past:
            for path in ("/login", "/health", ADMIN):
                assert past.get(path).status_code == 400
            assert past.post(EVENTS, headers=bearer(good)).status_code == 400

        # Signing in, the page, a change, and live events.
        for origin in (None, proxy.url.replace("https", "http"), "https://localhost", "null"):
            headers = {"Origin": origin} if origin else {}
            assert client.post("/login", data={"token": good}, headers=headers).status_code == 403
        answer = client.post("/login", data={"token": good}, headers=own)
        assert (answer.status_code, answer.headers["location"]) == (303, ADMIN)
        cookie = answer.headers["set-cookie"]
        assert re.match(r"__Host-migration-\d+=", cookie)
        assert {"Secure", "HttpOnly", "Path=/"} <= {part.strip() for part in cookie.split(";")}
        assert "samesite=strict" in cookie.lower()
        assert answer.headers["strict-transport-security"].startswith("max-age=")
        page = client.get(ADMIN)
        assert page.status_code == 200
        csrf = re.search(r'name="csrf" value="([^"]+)"', page.text)
        assert csrf is not None
        started = client.post(f"{ADMIN}/start", data={"csrf": csrf[1], "action": "backup"}, headers=own)
        assert started.status_code == 303
        with client.stream("GET", f"{ADMIN}/live") as stream:
            line = next(line for line in stream.iter_lines() if line.startswith("data: "))
        assert started.headers["location"].rpartition("/")[2] in line or "stamp" in line
        assert client.post(EVENTS, json={"batchSize": 0}, headers=bearer(good)).status_code == 400

        # Failed logins are counted by the address that the proxy tells, not by what the client says it is.
        with httpx.Client(base_url=proxy.url, transport=from_address("127.0.0.2", proxy.trust), timeout=120) as other:
            answers = [
                other.post(
                    "/login", data={"token": f"wrong {n}"}, headers={**own, "X-Forwarded-For": f"203.0.113.{n}"}
                ).status_code
                for n in range(12)
            ]
            assert answers == [401] * 10 + [429] * 2
            # An administrator is let in all the same: there may be many behind one address.
            assert other.post("/login", data={"token": good}, headers=own).status_code == 303
        assert client.post("/login", data={"token": "wrong"}, headers=own).status_code == 401
    assert good not in served.log()


def test_a_user_who_is_no_administrator_keeps_nothing_busy(
    demo_database: Database, keys: KeyServer, pairs: KeyPairs, tmp_path: Path
) -> None:
    with serving(demo_database, tmp_path, SUPABASE_JWKS_URL=keys.url) as served, served.client() as client:
        selfmade = bearer(pairs.token("ES256", user(demo_database, "selfmade")))
        answers = [client.post(EVENTS, headers=selfmade) for _ in range(12)]
        assert [one.status_code for one in answers] == [403] * 10 + [429] * 2
        assert 0 < int(answers[-1].headers["retry-after"]) <= 300
        admin = bearer(pairs.token("ES256", user(demo_database, "admin")))
        assert client.post(EVENTS, headers=admin, json={"batchSize": 0}).status_code == 400


@pytest.mark.parametrize(
    ("host", "port", "environment", "home", "hosts"),
    [
        ("127.0.0.1", 8765, {}, "http://127.0.0.1:8765", {"127.0.0.1:8765", "localhost:8765", "[::1]:8765"}),
        ("::1", 8765, {}, "http://[::1]:8765", {"127.0.0.1:8765", "localhost:8765", "[::1]:8765"}),
        ("localhost", 80, {}, "http://localhost", {"127.0.0.1", "localhost", "[::1]"}),
        ("127.0.0.2", 1, {}, "http://127.0.0.2:1", {"127.0.0.2:1", "127.0.0.1:1", "localhost:1", "[::1]:1"}),
        ("127.0.0.1", 1, {"MIGRATION_PUBLIC_URL": "https://M.example/"}, "https://m.example", {"m.example"}),
    ],
)
def test_the_link_leads_to_where_it_listens(
    host: str, port: int, environment: dict[str, str], home: str, hosts: set[str]
) -> None:
    found = configuration(host, port, environment)
    assert found.home == home
    assert found.hosts == hosts
    assert home in found.origins


@pytest.mark.parametrize("said", ["*", "proxy.example", "10.0.0.1/8", "10.0.0.0/33"])
def test_only_addresses_are_trusted_proxies(said: str) -> None:
    with pytest.raises(UserError, match="MIGRATION_TRUSTED_PROXIES"):
        configuration("127.0.0.1", 8765, {"MIGRATION_TRUSTED_PROXIES": said})


# ---------- slow clients


def test_a_body_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.1)
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await Request(scope, receive).body()
        await PlainTextResponse("all of it")(scope, receive, send)

    async def receive() -> Message:
        if not sent:
            await asyncio.sleep(0.02)  # one byte after the other, without an end
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

    whole = FastAPI()
    whole.mount("/", app)
    scope: Scope = {
        "type": "http", "method": "POST", "path": "/", "raw_path": b"/", "query_string": b"", "root_path": "",
        "headers": [(b"host", b"127.0.0.1:8765")], "http_version": "1.1", "scheme": "http",
    }  # fmt: skip
    asyncio.run(guard.Guard(whole, configuration("127.0.0.1", 8765, {}))(scope, receive, send))
    assert sent[0]["status"] == 408
