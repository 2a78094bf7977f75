"""A small pooler in transaction mode, as PgBouncer and Supabase's are: a server process for each transaction only.

It speaks just enough of PostgreSQL's protocol for the tool's own clients: simple and extended queries and COPY.
"""

from __future__ import annotations

import queue
import shutil
import socket
import struct
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

PORT = 6432
#: The real thing, where it is installed.
BINARY = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
_SSL_REQUEST, _GSS_REQUEST, _CANCEL_REQUEST = 80877103, 80877104, 80877102


class _Wire:
    """Messages over a socket."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection

    def exactly(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            part = self.socket.recv(length - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def message(self) -> tuple[bytes, bytes]:
        kind = self.exactly(1)
        (length,) = struct.unpack("!I", self.exactly(4))
        return kind, self.exactly(length - 4)

    def send(self, kind: bytes, body: bytes) -> None:
        self.socket.sendall(kind + struct.pack("!I", len(body) + 4) + body)


class Pooler:
    """Hands each transaction of its clients to one of `size` connections to the server, the last used first."""

    def __init__(self, server: str, size: int) -> None:
        self._server = conninfo_to_dict(server)
        self._idle: queue.LifoQueue[_Wire] = queue.LifoQueue()
        self.status: dict[bytes, bytes] = {}
        for _ in range(size):
            self._idle.put(self._connect())

    def _connect(self) -> _Wire:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(f"{self._server['host']}/.s.PGSQL.{self._server.get('port') or 5432}")
        wire = _Wire(connection)
        parameters = {"user": self._server["user"], "database": self._server["dbname"]}
        body = b"".join(f"{name}\0{value}\0".encode() for name, value in parameters.items()) + b"\0"
        connection.sendall(struct.pack("!II", len(body) + 8, 196608) + body)
        while True:
            kind, body = wire.message()
            assert kind != b"E", body
            if kind == b"S":
                name, value = body.split(b"\0")[:2]
                self.status[name] = value
            if kind == b"Z":
                return wire

    def close(self) -> None:
        """Let the idle connections to the server go."""
        with suppress(queue.Empty):
            while True:
                self._idle.get_nowait().socket.close()

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._client, args=(_Wire(connection),), daemon=True).start()

    def _client(self, client: _Wire) -> None:
        with client.socket, suppress(EOFError, OSError):
            if self._greet(client):
                self._transactions(client)

    def _greet(self, client: _Wire) -> bool:
        while True:
            length, code = struct.unpack("!II", client.exactly(8))
            body = client.exactly(length - 8)
            if code == _CANCEL_REQUEST:
                return False
            if code not in (_SSL_REQUEST, _GSS_REQUEST):
                break
            client.socket.sendall(b"N")
        if b"options" in body.split(b"\0")[::2]:
            client.send(b"E", b"SFATAL\0VFATAL\0C08P01\0Munsupported startup parameter: options\0\0")
            return False
        client.send(b"R", struct.pack("!I", 0))
        for name, value in self.status.items():
            client.send(b"S", name + b"\0" + value + b"\0")
        client.send(b"K", struct.pack("!II", 1, 1))
        client.send(b"Z", b"I")
        return True

    def _transactions(self, client: _Wire) -> None:
        server: _Wire | None = None
        idle = True
        try:
            while True:
                kind, body = client.message()
                if kind == b"X":
                    return
                if server is None:
                    server = self._idle.get()
                server.send(kind, body)
                if kind in (b"Q", b"S"):
                    idle = self._answer(server, client)
                elif kind in (b"c", b"f"):
                    idle = False
                if kind in (b"Q", b"S") and idle:
                    self._idle.put(server)
                    server = None
        finally:
            if server is not None:
                # As a real pooler does when a client goes in the middle of a transaction.
                server.socket.close()
                with suppress(OSError, AssertionError):
                    self._idle.put(self._connect())

    @staticmethod
    def _answer(server: _Wire, client: _Wire) -> bool:
        """Pass on what the server says until it waits for the client; returns whether no transaction is open."""
        while True:
            kind, body = server.message()
            client.send(kind, body)
            if kind == b"G":
                while True:
                    sent, data = client.message()
                    server.send(sent, data)
                    if sent in (b"c", b"f"):
                        break
            if kind == b"Z":
                return body == b"I"


@contextmanager
def pooled(conninfo: str, size: int = 2) -> Iterator[str]:
    """A pooler before the database of this connection string; yields the connection string through it."""
    with psycopg.connect(conninfo) as session:
        info = session.info
        direct = make_conninfo("", host=info.host, port=info.port, user=info.user, dbname=info.dbname)
    with tempfile.TemporaryDirectory(prefix="pooler", dir="/tmp") as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(Path(folder) / f".s.PGSQL.{PORT}"))
        listener.listen()
        pooler = Pooler(direct, size)
        threading.Thread(target=pooler.serve, args=(listener,), daemon=True).start()
        try:
            yield make_conninfo(direct, host=folder, port=PORT)
        finally:
            pooler.close()
