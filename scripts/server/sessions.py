"""Who is signed in: one-time tokens, sessions and the limit on failed logins. In memory: a restart ends them all."""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from uuid import UUID

LINK_SECONDS = 600
LOCAL_SESSION_SECONDS = 12 * 3600
FAILURES = 10
FAILURE_SECONDS = 300.0
MOST = 10_000


@dataclass(frozen=True)
class Administrator:
    """Who acts. `user_id` goes into the log as `performed_by`; a local administrator has none."""

    name: str
    user_id: UUID | None = None


LOCAL = Administrator("local administrator")


@dataclass
class LoginSession:
    """A signed-in browser, or a program that uses the local token. `csrf` must come with what changes something."""

    administrator: Administrator
    ends_at: float  # seconds since 1970
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    checked_at: float = field(default_factory=time.monotonic)  # when the user was last known to be an administrator

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return time.time() >= self.ends_at


class Sessions:
    """Sessions by the hash of their secret, so that none of them can be read from memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._links: dict[str, float] = {}
        self._sessions: dict[str, LoginSession] = {}

    def new_link(self) -> str:
        """A token that signs in once, within ten minutes."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._sweep()
            self._links[_hash(token)] = time.time() + LINK_SECONDS
        return token

    def redeem(self, token: str) -> bool:
        """Use up a one-time token; False when there is no such token (any more)."""
        with self._lock:
            return self._links.pop(_hash(token), 0.0) > time.time()

    def open(self, administrator: Administrator, ends_at: float, secret: str | None = None) -> tuple[str, LoginSession]:
        """Open a session; returns its secret (a new one unless given) and the session."""
        secret = secret or secrets.token_urlsafe(32)
        session = LoginSession(administrator, ends_at)
        with self._lock:
            self._sweep()
            self._sessions[_hash(secret)] = session
        return secret, session

    def find(self, secret: str) -> LoginSession | None:
        """The session of a secret; None when there is none or it has ended."""
        session = self._sessions.get(_hash(secret))
        return None if session is None or session.over else session

    def bearer(self, token: str) -> LoginSession | None:
        """The session of a program that presents the local token: its first use uses up the link."""
        found = self.find(token)
        if found is None and self.redeem(token):
            _, found = self.open(LOCAL, time.time() + LOCAL_SESSION_SECONDS, token)
        return found

    def close(self, secret: str) -> None:
        """End a session."""
        with self._lock:
            self._sessions.pop(_hash(secret), None)

    def _sweep(self) -> None:
        now = time.time()
        self._links = {key: until for key, until in self._links.items() if until > now}
        self._sessions = {key: one for key, one in self._sessions.items() if not one.over}


class LoginLimit:
    """So many failures of one address or user, and then none for a while. It keeps the last MOST of them in mind."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures: dict[str, deque[float]] = {}

    def wait(self, who: str) -> int:
        """Seconds until this address or user may try again; 0 when it may now."""
        with self._lock:
            times = [at for at in self._failures.get(_network(who), ()) if time.monotonic() - at < FAILURE_SECONDS]
        return 0 if len(times) < FAILURES else max(1, round(times[0] + FAILURE_SECONDS - time.monotonic()))

    def failed(self, who: str) -> None:
        """Count a failure."""
        with self._lock:
            times = self._failures.pop(_network(who), deque(maxlen=FAILURES))
            times.append(time.monotonic())
            self._failures[_network(who)] = times
            while len(self._failures) > MOST:
                del self._failures[next(iter(self._failures))]  # whose last failure is the longest ago


def _network(who: str) -> str:
    """An address as it counts: whoever has one of IPv6 has its whole /64 to choose from."""
    try:
        address = ipaddress.ip_address(who.partition("%")[0])
    except ValueError:
        return who
    if isinstance(address, ipaddress.IPv4Address) or address.ipv4_mapped:
        return who
    return str(ipaddress.IPv6Network((address, 64), strict=False))


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
