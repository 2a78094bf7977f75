"""A real `migrate serve` for the tests, tokens as Supabase makes them, and the demo's people."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import jwt
import psycopg
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

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
        self.document = json.dumps({"keys": public})
        self.file = folder / "jwks.json"
        self.file.write_text(self.document)

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


def speed_up(database: Database) -> None:
    """Undo `slow_down`."""
    with psycopg.connect(database.conninfo, autocommit=True) as session:
        session.execute("drop trigger dawdle on public.events")


# ---------- other servers


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("0.0.0.0", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def listening(answer: Callable[[BaseHTTPRequestHandler], None], tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server of HTTP on a free port of 127.0.0.1, which it yields; `answer` serves each request."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        do_POST = do_GET  # noqa: N815  (the name is the library's)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that went away
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class KeyServer:
    """Where the keys for tokens are fetched from. `answer` is what it does; `asked` counts how often it was asked."""

    answer: Callable[[BaseHTTPRequestHandler], None]
    asked: int = 0
    url: str = ""

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        """Serve a request."""
        self.asked += 1
        self.answer(request)

    @staticmethod
    def saying(text: str, status: int = 200, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
        """An answer with this body."""

        def answer(request: BaseHTTPRequestHandler) -> None:
            request.send_response(status)
            for name, value in headers.items():
                request.send_header(name, value)
            request.end_headers()
            request.wfile.write(text.encode())

        return answer


@contextmanager
def key_server(document: str) -> Iterator[KeyServer]:
    """A server of keys that answers with this document until told otherwise."""
    found = KeyServer(KeyServer.saying(document))
    with listening(found.serve) as port:
        found.url = f"http://127.0.0.1:{port}/auth/v1/.well-known/jwks.json"
        yield found


@dataclass
class Proxy:
    """What stands in front of a server: it ends TLS, and says in X-Forwarded-For whom it serves."""

    trust: ssl.SSLContext
    url: str = ""
    port: int = 0  # of the server behind it

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        """Pass a request on, and the answer back, piece by piece."""
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        headers = {name: value for name, value in request.headers.items() if name.lower() != "connection"}
        told = [*request.headers.get_all("X-Forwarded-For", []), request.client_address[0]]
        connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request(
            request.command, request.path, body, {**headers, "X-Forwarded-For": ", ".join(told), "Connection": "close"}
        )
        answer = connection.getresponse()
        request.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding"):
                request.send_header(name, value)
        request.end_headers()
        try:
            while piece := answer.read1(65_536):
                request.wfile.write(piece)
        finally:
            connection.close()


@contextmanager
def tls_proxy(folder: Path) -> Iterator[Proxy]:
    """A proxy at https://localhost, with a certificate that `trust` knows; set its `port` once the server has one."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "tls.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(certificate.public_bytes(Encoding.PEM) + secret)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(file)
    found = Proxy(ssl.create_default_context(cafile=str(file)))
    with listening(found.serve, tls) as port:
        found.url = f"https://localhost:{port}"
        yield found
