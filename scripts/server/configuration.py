"""What a person may set for `migrate serve`, and what follows from it. Secrets come from the environment only."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from scripts.errors import UserError

DEFAULT_AUDIENCE = "authenticated"
#: An HS256 secret must be as long as its hash, or the signature can be guessed offline (RFC 7518, 3.2).
SHORTEST_SECRET = 32
_STANDARD = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Configuration:
    """Who may come in, and from where.

    `home` is the server's own address (scheme, host and port), `origins` are all of them, `hosts` the values of the
    Host header that mean them, `allowed_origins` those of the product's pages, which may call the endpoints.
    `trusted_proxies` are the addresses and networks whose X-Forwarded-For is believed.
    """

    home: str
    origins: frozenset[str]
    hosts: frozenset[str]
    allowed_origins: frozenset[str]
    secure: bool  # behind TLS: cookies are Secure
    jwt_secret: str | None = field(default=None, repr=False)
    jwks_url: str | None = None
    jwks_file: Path | None = None
    audience: str = DEFAULT_AUDIENCE
    trusted_proxies: tuple[str, ...] = ()

    @property
    def port(self) -> int:
        """The port that a browser sees."""
        parts = urlsplit(self.home)
        return parts.port or _STANDARD[parts.scheme]

    @property
    def supabase(self) -> bool:
        """Whether users come with a token of Supabase; otherwise with the local one-time token."""
        return bool(self.jwt_secret or self.jwks_url or self.jwks_file)


def configuration(host: str, port: int, environment: Mapping[str, str] = os.environ) -> Configuration:
    """Read the settings for a server on this address. Raises UserError, which names the setting that is wrong."""

    def value(name: str) -> str | None:
        return environment.get(name, "").strip() or None

    secret = value("SUPABASE_JWT_SECRET")
    if secret and len(secret) < SHORTEST_SECRET:
        raise UserError(
            f"SUPABASE_JWT_SECRET has fewer than {SHORTEST_SECRET} characters, so tokens could be forged. "
            "Copy the whole secret from the project's settings."
        )
    jwks_url = value("SUPABASE_JWKS_URL")
    if jwks_url:
        parts = urlsplit(jwks_url)
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
            raise UserError("SUPABASE_JWKS_URL must start with https:// (http:// only for this machine itself).")
    jwks_file = value("SUPABASE_JWKS_FILE")
    if jwks_url and jwks_file:
        raise UserError("SUPABASE_JWKS_URL and SUPABASE_JWKS_FILE are both set: unset one of them.")
    if jwks_file and not Path(jwks_file).is_file():
        raise UserError(f"SUPABASE_JWKS_FILE names {jwks_file}, which is no file.")
    public = value("MIGRATION_PUBLIC_URL")
    supabase = bool(secret or jwks_url or jwks_file)
    if not is_loopback(host):
        if not supabase:
            raise UserError(
                f"--host {host} can be reached by others, so people must prove who they are: set SUPABASE_JWT_SECRET "
                "or SUPABASE_JWKS_URL. Without Supabase, serve on 127.0.0.1 (through `ssh -L` from elsewhere)."
            )
        if public is None:
            raise UserError(
                f"--host {host} can be reached by others: put a proxy with TLS in front, and set MIGRATION_PUBLIC_URL "
                "to its address, such as https://migration.example.com."
            )
    home = _origin(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}") or ""
    names = ("127.0.0.1", "localhost", "[::1]") if is_loopback(host) else ()
    origins = {home, *(str(_origin(f"http://{name}:{port}")) for name in names)}
    secure = False
    if public is not None:
        origin = _origin(public)
        if origin is None or urlsplit(public).path not in ("", "/"):
            raise UserError("MIGRATION_PUBLIC_URL must be an address without a path: https://migration.example.com.")
        secure = origin.startswith("https://")
        if not secure and not is_loopback(urlsplit(origin).hostname or ""):
            raise UserError("MIGRATION_PUBLIC_URL must start with https://: tokens would cross the network readable.")
        # The one way in: over plain http the cookie would not be sent anyway.
        home, origins = origin, {origin}
    return Configuration(
        home=home,
        origins=frozenset(origins),
        hosts=frozenset(urlsplit(origin).netloc for origin in origins),
        allowed_origins=_allowed(value("MIGRATION_ALLOWED_ORIGINS")),
        secure=secure,
        jwt_secret=secret,
        jwks_url=jwks_url,
        jwks_file=Path(jwks_file) if jwks_file else None,
        audience=value("SUPABASE_JWT_AUDIENCE") or DEFAULT_AUDIENCE,
        trusted_proxies=tuple(_proxies(value("MIGRATION_TRUSTED_PROXIES"))),
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host of this name."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _allowed(text: str | None) -> frozenset[str]:
    found = set()
    for one in re.split(r"[\s,]+", text or ""):
        if not one:
            continue
        origin = _origin(one)
        if origin is None or origin != one.rstrip("/").lower():
            raise UserError(
                f"MIGRATION_ALLOWED_ORIGINS has {one!r}, which is no origin. Write scheme, host and port, separated "
                "by commas: https://app.example.com,http://localhost:5173. A * is not accepted."
            )
        found.add(origin)
    return frozenset(found)


def _proxies(text: str | None) -> Iterator[str]:
    for one in re.split(r"[\s,]+", text or ""):
        if not one:
            continue
        try:
            network = ipaddress.ip_network(one)
        except ValueError:
            raise UserError(
                f"MIGRATION_TRUSTED_PROXIES has {one!r}, which is neither an address nor a network. Write those of "
                "your proxies, separated by commas: 127.0.0.1,10.0.0.0/8. A * is not accepted."
            ) from None
        yield str(network)
        if network.version == 4:
            # The same addresses, as a server sees them that listens on :: for both.
            yield f"::ffff:{network.network_address}/{96 + network.prefixlen}"


def _origin(url: str) -> str | None:
    """Scheme, host and port as a browser writes them; None when it is no http address."""
    try:
        parts = urlsplit(url.lower())
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or "*" in parts.netloc:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port and port != _STANDARD[parts.scheme] else "")
