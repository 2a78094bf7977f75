"""Tokens of Supabase: signature, expiry and audience checked, each algorithm with its own kind of key only."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from uuid import UUID

import jwt

from scripts.server.configuration import Configuration
from scripts.server.guard import log

LONGEST_TOKEN = 8_192
#: Clocks differ a little.
LEEWAY_SECONDS = 5
#: Keys are read again after so long,
KEYS_FRESH_SECONDS = 600.0
#: and count no longer when they could not be read for so long, which is as long as a token of Supabase lives.
KEYS_OLDEST_SECONDS = 3_600.0
#: A token with an unknown key makes the server ask again, but not more often than this.
KEYS_PAUSE_SECONDS = 10.0
_FETCH_SECONDS = 5.0
_LARGEST_KEYS = 262_144
_KEY_TYPES = {"RS256": "RSA", "ES256": "EC"}


class TokenRefused(Exception):  # noqa: N818  (the name says what happened)
    """A token that proves nothing. The text says why and may be shown."""


class KeysUnavailable(Exception):  # noqa: N818
    """The keys that tokens are signed with cannot be read now."""


@dataclass(frozen=True)
class Claims:
    """What a valid token says: the user, and until when (seconds since 1970)."""

    user_id: UUID
    expires_at: float


class Tokens:
    """Checks tokens with the keys that the configuration names."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._keys = _Keys(configuration)

    def verify(self, token: str) -> Claims:
        """The claims of a token. Raises TokenRefused, or KeysUnavailable when it cannot be judged."""
        if len(token) > LONGEST_TOKEN:
            raise TokenRefused("The token is too long.")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise TokenRefused("The token is no JWT.") from None
        algorithm = str(header.get("alg"))
        # The algorithm picks the key, and a key serves no other algorithm: a public key is never an HMAC secret.
        key: Any
        if algorithm == "HS256" and self._configuration.jwt_secret:
            key = self._configuration.jwt_secret
        elif algorithm in _KEY_TYPES and self._keys.configured:
            key = self._keys.find(header.get("kid"), algorithm)
        else:
            raise TokenRefused("The token is signed in a way that is not accepted here.")
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._configuration.audience,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "sub", "aud"]},
            )
        except jwt.ExpiredSignatureError:
            raise TokenRefused("The token has expired. Sign in again.") from None
        except jwt.InvalidAudienceError:
            raise TokenRefused("The token is for another audience.") from None
        except jwt.MissingRequiredClaimError as error:
            raise TokenRefused(f"The token lacks {error.claim}.") from None
        except jwt.ImmatureSignatureError:
            raise TokenRefused("The token is not valid yet.") from None
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
            raise TokenRefused("The token's signature or content is not valid.") from None
        try:
            return Claims(UUID(claims["sub"]), float(claims["exp"]))
        except (ValueError, TypeError, AttributeError, OverflowError):
            raise TokenRefused("The token names no user.") from None


@dataclass(frozen=True)
class _KeySet:
    """Keys by id and algorithm, and when (monotonic) they were read."""

    keys: Mapping[tuple[str | None, str], Any]
    read_at: float

    @property
    def age(self) -> float:
        return time.monotonic() - self.read_at

    def pick(self, kid: Any, algorithm: str) -> Any:
        """The key of this id for this algorithm; without an id the only one that there is. None when there is none."""
        if isinstance(kid, str):
            return self.keys.get((kid, algorithm))
        keys = [key for (_, known), key in self.keys.items() if known == algorithm]
        return keys[0] if kid is None and len(keys) == 1 else None


class _Keys:
    """The public keys (JWKS), read from a file or fetched from the address that the configuration names."""

    def __init__(self, configuration: Configuration) -> None:
        self._url = configuration.jwks_url
        self._file = configuration.jwks_file
        self._reading = threading.Lock()
        self._known = _KeySet({}, float("-inf"))
        self._tried_at = float("-inf")
        self._failed = False

    @property
    def configured(self) -> bool:
        return self._url is not None or self._file is not None

    def find(self, kid: Any, algorithm: str) -> Any:
        """The key for a token. Raises TokenRefused, or KeysUnavailable when it may be one that cannot be read now.

        Whoever has a key is not kept waiting: the keys are read again behind its back. An outage shorter than
        KEYS_OLDEST_SECONDS locks nobody out; a key that was withdrawn does not count longer than that.
        """
        known = self._known
        key = known.pick(kid, algorithm)
        if key is None or known.age > KEYS_OLDEST_SECONDS:
            with self._reading:
                self._read()
            known = self._known
            key = known.pick(kid, algorithm)
        elif known.age > KEYS_FRESH_SECONDS and self._reading.acquire(blocking=False):
            threading.Thread(target=self._read_behind, daemon=True).start()
        if known.age > KEYS_OLDEST_SECONDS or (key is None and self._failed):
            raise KeysUnavailable("The keys for tokens cannot be read now. Try again in a minute.")
        if key is None:
            raise TokenRefused("The token is signed with a key that is not known here.")
        return key

    def _read_behind(self) -> None:
        try:
            self._read()
        finally:
            self._reading.release()

    def _read(self) -> None:
        """Read the keys, unless that was tried a moment ago; what cannot be read leaves those that are known."""
        if time.monotonic() - self._tried_at < KEYS_PAUSE_SECONDS:
            return
        try:
            found = _parse(json.loads(self._text()))
        except (OSError, ValueError, RecursionError, HTTPException) as error:
            self._failed = True
            log(f"The keys for tokens cannot be read: {type(error).__name__}: {error}")
        else:
            self._failed, self._known = False, _KeySet(found, time.monotonic())
        finally:
            self._tried_at = time.monotonic()

    def _text(self) -> bytes:
        if self._file is not None:
            return self._file.read_bytes()[:_LARGEST_KEYS]
        assert self._url is not None
        deadline = time.monotonic() + _FETCH_SECONDS
        body = b""
        with _OPENER.open(self._url, timeout=_FETCH_SECONDS) as response:
            while piece := response.read1(65_536):
                body += piece
                if len(body) > _LARGEST_KEYS:
                    raise ValueError("the answer is too long")
                if time.monotonic() > deadline:
                    raise TimeoutError("the answer takes too long")
        return body


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Another address is not the one that was configured."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def _parse(document: Any) -> dict[tuple[str | None, str], Any]:
    """The keys for signatures by id and algorithm. Secrets (kty oct) are left out: they are no public keys."""
    found: dict[tuple[str | None, str], Any] = {}
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise ValueError("no list of keys")
    for one in keys:
        if not isinstance(one, dict) or one.get("use", "sig") != "sig":
            continue
        for algorithm, kind in _KEY_TYPES.items():
            if one.get("kty") != kind or one.get("alg", algorithm) != algorithm:
                continue
            try:
                found[one.get("kid"), algorithm] = jwt.PyJWK(one, algorithm=algorithm).key
            except (jwt.PyJWTError, ValueError, TypeError):
                continue
    return found
