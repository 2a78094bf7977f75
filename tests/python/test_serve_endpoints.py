"""The product's two endpoints over real HTTP: what they do, and what they refuse."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import psycopg
import pytest
from conftest import Cli, create_database, drop_database, on
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from serving import ALLOWED_ORIGIN, CAMPAIGNS, EVENTS, SECRET, KeyPairs, Served, bearer, claims, serving, token, user

from scripts import locks, project
from scripts.errors import UserError
from scripts.server.configuration import configuration
from scripts.settings import Database

PENDING = "select count(*) from public.events where canonical_event is null or canonical_event = '{}'"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyPairs:
    return KeyPairs(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def built(server: str, demo_template: str) -> Iterator[str]:
    """The name of a demo with every model that the endpoints read, to be copied."""
    name = create_database(server, template=demo_template)
    project.bring_up_to_date(on(server, name), "campaigns", also=("ambiguous_campaigns",))
    yield name
    drop_database(server, name)


@pytest.fixture(scope="module")
def served(server: str, built: str, keys: KeyPairs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with Supabase's tokens, on a demo that the tests only look at (or whose calls are refused)."""
    name = create_database(server, template=built)
    with serving(
        on(server, name), tmp_path_factory.mktemp("served"), SUPABASE_JWT_SECRET=SECRET,
        SUPABASE_JWKS_FILE=str(keys.file), MIGRATION_ALLOWED_ORIGINS=f"{ALLOWED_ORIGIN}, http://localhost:5173",
    ) as found:  # fmt: skip
        yield found
    drop_database(server, name)


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[httpx.Client]:
    """A client with an administrator's token."""
    with served.client(headers=bearer(token(user(served.database, "admin")))) as found:
        yield found


@pytest.fixture
def writing(server: str, built: str, tmp_path: Path) -> Iterator[tuple[httpx.Client, Database]]:
    """A client of a server whose database may be changed."""
    name = create_database(server, template=built)
    database = on(server, name)
    with (
        serving(database, tmp_path, SUPABASE_JWT_SECRET=SECRET) as found,
        found.client(headers=bearer(token(user(database, "admin")))) as client,
    ):
        yield client, database
    drop_database(server, name)


def value(database: Database, query: str) -> Any:
    with psycopg.connect(database.conninfo) as session:
        row = session.execute(query).fetchone()
    return row[0] if row else None


def run_loop(client: httpx.Client, database: Database, *, dry_run: bool, size: int = 100) -> dict[str, Any]:
    """What the product's page does: it counts once, and moves on by the size of a batch, whatever was written."""
    total = value(database, PENDING)
    found: dict[str, Any] = {"total": total, "migrated": 0, "skipped": 0, "errors": [], "runs": []}
    for offset in range(0, total, size):
        answer = client.post(EVENTS, json={"dryRun": dry_run, "batchSize": size, "offset": offset})
        assert answer.status_code == 200, answer.text
        result = answer.json()
        found["migrated"] += result["migrated"]
        found["skipped"] += result["skipped"]
        found["errors"] += result["errors"]
        found["runs"].append(result["runId"])
        found["remaining"] = result["remainingEvents"]
    return found


# ---------- what they do


def test_the_products_page_migrates_every_event(writing: tuple[httpx.Client, Database], cli: Cli) -> None:
    client, database = writing
    before = value(database, "select md5(string_agg(e::text, '|' order by id)) from public.events as e")
    looked = run_loop(client, database, dry_run=True)
    pending = value(database, "select count(*) from canonical_migration.canonical_events where is_pending")
    assert looked["migrated"] == pending > looked["total"] > 300  # the product does not count a JSON null
    assert looked["remaining"] == 0
    assert looked["runs"] == [None] * len(looked["runs"])
    assert value(database, "select md5(string_agg(e::text, '|' order by id)) from public.events as e") == before

    # As many calls as the count asks for, the last of them full: none to spare.
    done = run_loop(client, database, dry_run=False, size=looked["total"] // 4)
    assert len(done["runs"]) == 4
    assert done["migrated"] == pending
    assert (done["errors"], done["skipped"], done["remaining"]) == ([], 0, 0)
    assert value(database, "select count(*) from canonical_migration.canonical_events where is_pending") == 0

    admin = user(database, "admin")
    assert value(
        database, "select array_agg(distinct performed_by::text) from public.migration_log where kind = 'apply'"
    ) == [admin]
    # Each call is a run that can be undone.
    cli("rollback", done["runs"][0], "--apply", "--yes", database=database)
    back = value(database, PENDING)
    assert back == looked["total"] // 4

    again = client.post(EVENTS, json={"dryRun": False, "batchSize": 10_000, "offset": 12_345}).json()
    assert (again["migrated"] >= back, again["remainingEvents"], again["offset"]) == (True, 0, 12_345)
    nothing = client.post(EVENTS, json={"dryRun": False}).json()
    assert (nothing["migrated"], nothing["runId"]) == (0, None)


def test_rows_that_cannot_be_written_neither_stop_nor_starve_the_loop(
    writing: tuple[httpx.Client, Database],
) -> None:
    client, database = writing
    with psycopg.connect(database.conninfo, autocommit=True) as session:
        bad = session.execute(
            "select array_agg(id) from (select id from public.events "
            "where canonical_event is null or canonical_event = '{}' order by ctid limit 5) as e"
        ).fetchone()
        assert bad is not None
        session.execute(
            "create function public.refuse() returns trigger language plpgsql as "
            "$$begin raise exception 'not this one: %', new.user_email; end$$"
        )
        listed = ", ".join(f"'{one}'" for one in bad[0])
        session.execute(
            "create trigger refuse before update on public.events for each row "
            f"when (new.id in ({listed})) execute function public.refuse()"
        )
    expected = {str(one) for one in bad[0]}
    pending = value(database, "select count(*) from canonical_migration.canonical_events where is_pending")
    done = run_loop(client, database, dry_run=False, size=200)
    assert done["migrated"] == pending - 5
    assert {one["event_id"] for one in done["errors"]} == expected
    assert done["remaining"] == 0
    assert value(database, PENDING) == 5
    assert "@" not in json.dumps(done["errors"])


def test_campaigns_are_migrated_and_the_ambiguous_listed(writing: tuple[httpx.Client, Database]) -> None:
    client, database = writing
    looked = client.post(CAMPAIGNS, json={}).json()
    assert looked["dryRun"] is True
    assert (
        value(database, "select count(*) from canonical_migration.campaign_data_sources where is_pending")
        == looked["migrated"]
    )
    assert client.post(CAMPAIGNS).json() == looked

    # All of them, in batches: a client that sends nothing but dryRun has no way to ask for more.
    done = client.post(CAMPAIGNS, json={"dryRun": False, "batchSize": 7}).json()
    assert (done["success"], done["migrated"], done["errors"]) == (True, looked["migrated"], [])
    assert value(database, "select count(*) from canonical_migration.campaign_data_sources where is_pending") == 0
    assert value(database, f"select max(batch_number) from public.migration_log where run_id = '{done['runId']}'") == -(
        -looked["migrated"] // 7
    )
    ambiguous = {one["campaign_id"] for one in done["ambiguous"]}
    assert ambiguous == set(
        value(database, "select array_agg(campaign_id::text) from canonical_migration.ambiguous_campaigns")
    )
    assert all(one["reason"].endswith((".", ":")) or " " in one["reason"] for one in done["ambiguous"])
    text = json.dumps(done)
    with psycopg.connect(database.conninfo) as session:
        for (secret,) in session.execute("select value from public.integrations, jsonb_each_text(credentials)"):
            assert len(secret) < 8 or secret not in text


def test_another_run_is_a_conflict_with_a_clear_message(writing: tuple[httpx.Client, Database]) -> None:
    client, database = writing
    with psycopg.connect(database.conninfo, autocommit=True) as session:
        session.execute("select pg_advisory_lock(%s)", [locks.run_key("public", "events", "canonical_event")])
        answer = client.post(EVENTS, json={"dryRun": False})
    assert answer.status_code == 409
    assert "Another run is working on public.events.canonical_event" in answer.json()["error"]
    assert "migrated" not in answer.json(), "a page that adds up must notice that nothing was done"


def test_a_failure_shows_no_internals(writing: tuple[httpx.Client, Database]) -> None:
    client, database = writing
    with psycopg.connect(database.conninfo, autocommit=True) as session:
        session.execute("alter table public.events rename to happenings")
    answer = client.post(EVENTS, json={"dryRun": False})
    assert answer.status_code == 500
    assert answer.json()["success"] is False
    with psycopg.connect(database.conninfo, autocommit=True) as session:
        session.execute(
            "create or replace function public.is_admin(check_user_id uuid) returns boolean language plpgsql as "
            "$$begin raise exception 'the relation user_roles is gone'; end$$"
        )
    unknown = client.post(EVENTS, json={"dryRun": False})
    assert (unknown.status_code, unknown.json()["success"]) == (503, False)
    for word in ("events", "public", "psycopg", "socket", "Traceback", "column", "relation"):
        assert word not in answer.text + unknown.text


# ---------- whom they refuse


def forged(header: dict[str, Any], body: dict[str, Any], secret: bytes | None) -> str:
    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    signed = f"{part(json.dumps(header).encode())}.{part(json.dumps(body).encode())}"
    signature = hmac.new(secret, signed.encode(), hashlib.sha256).digest() if secret is not None else b""
    return f"{signed}.{part(signature)}"


def test_only_valid_tokens_of_administrators_are_accepted(served: Served, keys: KeyPairs) -> None:
    admin = user(served.database, "admin")
    pem = keys.rsa.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    now = int(time.time())
    good = token(admin)
    head, body, signature = good.split(".")
    refused = {
        "no scheme": good,
        "basic": f"Basic {good}",
        "empty": "Bearer",
        "garbage": "Bearer x",
        "dots": "Bearer ..",
        "huge": "Bearer " + "a" * 20_000,
        "expired": token(admin, exp=now - 60),
        "no expiry": token(admin, exp=None),
        "expiry in words": token(admin, exp="tomorrow"),
        "endless": forged({"alg": "HS256"}, claims(admin, exp=float("inf")), SECRET.encode()),
        "not yet": token(admin, nbf=now + 600),
        "wrong signature": token(admin, "another secret, which is long enough too"),
        "stripped signature": f"{head}.{body}.",
        "changed signature": f"{head}.{body}.{signature[:-4]}AAAA",
        "alg none": jwt_none(admin),
        "alg NONE": forged({"alg": "NONE", "typ": "JWT"}, claims(admin), None),
        "alg confusion": forged({"alg": "HS256", "kid": "RS256"}, claims(admin), pem),
        "alg of a list": forged({"alg": ["HS256"]}, claims(admin), SECRET.encode()),
        "secret of the key set": forged(
            {"alg": "HS256", "kid": "oct"}, claims(admin), b"secret-secret-secret-secret-secret"
        ),
        "HS512": jwt.encode(claims(admin), SECRET, algorithm="HS512"),
        "audience": token(admin, aud="anon"),
        "no audience": token(admin, aud=None),
        "no subject": token(admin, sub=None),
        "odd subject": token("admin"),
        "unknown key": keys.token("RS256", admin, kid="nobody"),
        "key of another kind": keys.token("RS256", admin, kid="ES256"),
        "local token": "Bearer " + "x" * 43,
    }
    with served.client() as client:
        assert client.post(EVENTS).status_code == 401
        for name, given in refused.items():
            header = given if " " in given or name in ("no scheme", "empty") else f"Bearer {given}"
            answer = client.post(EVENTS, headers={"Authorization": header})
            assert answer.status_code == 401, name
            assert answer.json()["success"] is False
            assert answer.headers["www-authenticate"].startswith("Bearer")
        for word in ("agency", "moderator", "selfmade"):
            answer = client.post(EVENTS, headers=bearer(token(user(served.database, word))))
            assert answer.status_code == 403, word
        stranger = bearer(token("00000000-0000-4000-8000-000000000000"))
        assert client.post(CAMPAIGNS, headers=stranger).status_code == 403
        accepted = [good, token(user(served.database, "root")), *(keys.token(one, admin) for one in ("RS256", "ES256"))]
        for given in accepted:
            assert client.post(EVENTS, headers=bearer(given), json={"batchSize": 1}).status_code == 200
        # A cookie is no way in, and no page of this server is called with a token.
        assert client.post(EVENTS, cookies={"migration": good}).status_code == 401
    assert good not in served.log()


def jwt_none(subject: str) -> str:
    return jwt.encode(claims(subject), "", algorithm="none")


def test_only_configured_origins_may_call(served: Served, client: httpx.Client) -> None:
    for origin in (ALLOWED_ORIGIN, "http://localhost:5173"):
        asked = client.options(EVENTS, headers={"Origin": origin, "Access-Control-Request-Method": "POST"})
        assert asked.status_code == 204
        assert asked.headers["access-control-allow-origin"] == origin
        assert "authorization" in asked.headers["access-control-allow-headers"]
        assert "access-control-allow-credentials" not in asked.headers
        for headers, status in (({}, 200), ({"Authorization": "Bearer x"}, 401)):
            answer = client.post(EVENTS, headers={"Origin": origin, **headers})
            assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, origin)
            assert answer.headers["vary"] == "Origin"
    for origin in ("https://evil.example", "null", f"{ALLOWED_ORIGIN}.evil.example", "http://app.example.com", "*"):
        for method in ("OPTIONS", "POST"):
            answer = client.request(method, EVENTS, headers={"Origin": origin})
            assert answer.status_code == 403, origin
            assert "access-control-allow-origin" not in answer.headers
    assert client.post(EVENTS, headers={"Origin": served.base}, json={"batchSize": 1}).status_code == 200
    assert client.post(EVENTS, headers={"Host": "evil.example"}).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"[]", b"null", b"1", b'"dryRun"', b"\xff\xfe", b"{}{}", b"[" * 60_000, b'{"dryRun": NaN}',
        b'{"dryRun": "false"}', b'{"dryRun": 0}', b'{"dryRun": null}', b'{"dryRun": []}', b'{"dryrun": false}',
        b'{"batchSize": 0}', b'{"batchSize": -1}', b'{"batchSize": 10001}', b'{"batchSize": 1e9}',
        b'{"batchSize": true}', b'{"batchSize": "100"}', b'{"batchSize": 1.5}', b'{"batchSize": ' + b"9" * 5_000 + b"}",
        b'{"batchSize": {"$gt": 0}}', b'{"extra": 1}', b'{"dryRun": false, "batchSize": null}',
    ],
)  # fmt: skip
def test_a_wrong_body_is_refused_with_what_was_wrong(served: Served, client: httpx.Client, body: bytes) -> None:
    for path in (EVENTS, CAMPAIGNS):
        answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400
        assert len(answer.json()["error"]) > 10
        assert "pydantic" not in answer.text
    assert value(served.database, "select count(*) from public.migration_log where not dry_run") == 0


def test_offsets_that_make_no_sense_are_refused(client: httpx.Client) -> None:
    for offset in (-1, 2**53, 1.5, 1e300, "0", True, None):
        assert client.post(EVENTS, json={"offset": offset}).status_code == 400, offset
    assert client.post(CAMPAIGNS, json={"offset": 0}).status_code == 400
    beyond = client.post(EVENTS, json={"offset": 2**53 - 1}).json()
    assert (beyond["migrated"], beyond["remainingEvents"]) == (0, 0)


def test_huge_and_foreign_bodies_and_methods_are_refused(served: Served, client: httpx.Client) -> None:
    huge = b'{"dryRun": true, "x": "' + b"a" * 70_000 + b'"}'
    assert client.post(EVENTS, content=huge, headers={"Content-Type": "application/json"}).status_code == 413

    def in_pieces() -> Iterator[bytes]:
        for _ in range(20):
            yield b" " * 8_192

    assert client.post(EVENTS, content=in_pieces(), headers={"Content-Type": "application/json"}).status_code == 413
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
    ):
        assert client.post(EVENTS, content=b'{"dryRun": false}', headers={"Content-Type": kind}).status_code == 415
    for method in ("GET", "PUT", "DELETE", "PATCH", "HEAD"):
        answer = client.request(method, EVENTS)
        assert answer.status_code == 405
        assert "POST" in answer.headers["allow"]
    assert client.post("/functions/v1/migrate-users").status_code == 404
    assert client.post(EVENTS + "/").status_code == 404
    assert "Something went wrong" not in served.log()


def test_every_answer_has_strict_headers(client: httpx.Client) -> None:
    for answer in (client.get("/health"), client.post(EVENTS, json={"x": 1}), client.get("/nowhere"), client.get("/")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers


# ---------- the local token, and settings


def test_without_supabase_the_one_time_token_serves_a_program(demo_database: Database, tmp_path: Path) -> None:
    with serving(demo_database, tmp_path) as served, served.client() as client:
        assert served.token is not None
        for _ in range(2):
            assert client.post(EVENTS, headers=bearer(served.token), json={"batchSize": 1}).status_code == 200
        assert client.post(EVENTS, headers=bearer(token(user(demo_database, "admin")))).status_code == 401
        done = client.post(EVENTS, headers=bearer(served.token), json={"dryRun": False, "batchSize": 5}).json()
        assert done["migrated"] == 5
        assert served.token not in served.log()
    assert value(demo_database, "select count(performed_by) from public.migration_log") == 0


@pytest.mark.parametrize(
    ("host", "environment", "said"),
    [
        ("0.0.0.0", {}, "SUPABASE_JWT_SECRET"),
        ("0.0.0.0", {"SUPABASE_JWT_SECRET": SECRET}, "MIGRATION_PUBLIC_URL"),
        ("0.0.0.0", {"SUPABASE_JWT_SECRET": SECRET, "MIGRATION_PUBLIC_URL": "http://x.example"}, "https"),
        ("::", {"SUPABASE_JWT_SECRET": SECRET}, "MIGRATION_PUBLIC_URL"),
        ("127.0.0.1", {"SUPABASE_JWT_SECRET": "short"}, "32 characters"),
        ("127.0.0.1", {"SUPABASE_JWKS_URL": "http://elsewhere.example/keys"}, "https"),
        ("127.0.0.1", {"SUPABASE_JWKS_FILE": "/nowhere/jwks.json"}, "/nowhere/jwks.json"),
        ("127.0.0.1", {"MIGRATION_ALLOWED_ORIGINS": "*"}, "MIGRATION_ALLOWED_ORIGINS"),
        ("127.0.0.1", {"MIGRATION_ALLOWED_ORIGINS": "https://a.example/path"}, "MIGRATION_ALLOWED_ORIGINS"),
    ],
)
def test_unsafe_settings_are_refused(host: str, environment: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        configuration(host, 8765, environment)


def test_who_opens_it_to_others_is_stopped_first(cli: Cli, database: Database) -> None:
    done = cli("serve", "--host", "0.0.0.0", "--port", "0", database=database, expect=2)
    assert "SUPABASE_JWT_SECRET" in done.stderr


def test_a_taken_port_says_so(cli: Cli, served: Served) -> None:
    port = served.base.rsplit(":", 1)[1]
    done = cli("serve", "--port", port, database=served.database, expect=2)
    assert f"Port {port} of 127.0.0.1 is taken" in done.stderr
    assert "--port" in done.stderr


# ---------- the description


def test_the_description_is_what_the_server_does(served: Served, client: httpx.Client, tmp_path: Path) -> None:
    described = client.get("/openapi.json").json()
    assert set(described["paths"]) == {EVENTS, CAMPAIGNS, "/health"}
    done = subprocess.run(
        [
            sys.executable, str(Path(sys.executable).parent / "schemathesis"), "run", f"{served.base}/openapi.json",
            "--header", f"Authorization: {client.headers['authorization']}",
            "--checks", "all", "--max-examples", "6", "--seed", "1", "--generation-database", "none",
            "--phases", "examples,coverage,fuzzing", "--suppress-health-check", "all", "--no-color",
        ],
        env={**os.environ, "SCHEMATHESIS_HOOKS": ""},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
