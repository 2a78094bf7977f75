"""A real `migrate serve` for the tests, tokens as Supabase makes them, and the demo's people."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt
import psycopg
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from scripts.paths import project_dir
from scripts.settings import Database

SECRET = "a secret of the tests, long enough for HS256"
EVENTS = "/functions/v1/migrate-events-canonical"
CAMPAIGNS = "/functions/v1/migrate-campaigns-v2"
ALLOWED_ORIGIN = "https://app.example.com"


@dataclass
class Served:
    """A server that runs. `token`: the local one-time token, where it printed one."""

    base: str
    token: str | None
    database: Database
    process: subprocess.Popen[str]
    errors: Path

    def client(self, **options: Any) -> httpx.Client:
        """A client of this server."""
        return httpx.Client(base_url=self.base, timeout=120, **options)

    def log(self) -> str:
        """What it wrote to stderr."""
        return self.errors.read_text()


@contextmanager
def serving(database: Database, folder: Path, *arguments: str, **environment: str) -> Iterator[Served]:
    """Run `migrate serve` on a free port until the end of the block; `folder` takes its stderr."""
    errors = folder / f"serve-{time.monotonic_ns()}.log"
    with errors.open("w") as file:
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / "migrate"), "serve", "--port", "0", *arguments],
            env={**os.environ, "DATABASE_URL": database.conninfo, **environment},
            cwd=project_dir(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        found = re.fullmatch(r"(https?://[^/]+)/login(?:\?token=(.+))?", line)
        assert found, line + errors.read_text()
        yield Served(found[1], found[2], database, process, errors)
    finally:
        process.terminate()
        process.wait(20)
        assert process.stdout is not None
        process.stdout.close()
        assert "Traceback" not in errors.read_text(), errors.read_text()


# ---------- people and their tokens


def user(database: Database, word: str) -> str:
    """The id of one of the demo's users: admin, root (superadmin), agency, moderator, selfmade."""
    with psycopg.connect(database.conninfo) as session:
        row = session.execute("select id::text from auth.users where email = %s", [f"{word}@example.com"]).fetchone()
    assert row is not None
    return str(row[0])


def claims(subject: str, **more: Any) -> dict[str, Any]:
    """What Supabase writes into a token, valid for an hour; a claim given as None is left out."""
    found = {
        "sub": subject,
        "aud": "authenticated",
        "role": "authenticated",
        "exp": int(time.time()) + 3600,
        "iat": int(time.time()),
        **more,
    }
    return {name: value for name, value in found.items() if value is not None}


def token(subject: str, secret: str = SECRET, **more: Any) -> str:
    """A valid token of a user, signed with the project's secret."""
    return jwt.encode(claims(subject, **more), secret, algorithm="HS256")


def bearer(token: str) -> dict[str, str]:
    """The header that carries a token."""
    return {"Authorization": f"Bearer {token}"}


class KeyPairs:
    """An RSA and an EC key, and the JWKS file with their public halves (and a secret, which must not count)."""

    def __init__(self, folder: Path) -> None:
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        public = [
            {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.rsa.public_key())), "kid": "RS256"},
            {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self.ec.public_key())), "kid": "ES256"},
            {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "kid": "oct"},
        ]
        self.file = folder / "jwks.json"
        self.file.write_text(json.dumps({"keys": public}))

    def token(self, algorithm: str, subject: str, **header: str) -> str:
        """A valid token signed with one of the keys."""
        key = self.rsa if algorithm == "RS256" else self.ec
        return jwt.encode(claims(subject), key, algorithm=algorithm, headers={"kid": algorithm, **header})


def slow_down(database: Database, seconds: float = 0.03) -> None:
    """Make every write of an event take so long, so that a run can be watched."""
    with psycopg.connect(database.conninfo, autocommit=True) as session:
        session.execute(
            "create function public.dawdle() returns trigger language plpgsql as "
            f"$$begin perform pg_sleep({seconds}); return new; end$$"
        )
        session.execute(
            "create trigger dawdle before update on public.events for each row execute function public.dawdle()"
        )
