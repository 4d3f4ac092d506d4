"""Who may come in: by key, or, with keys off, whoever is on this machine and no page of a browser."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from functools import lru_cache
from typing import Protocol
from urllib.parse import urlsplit

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.errors import Forbidden, SkimError, Unauthorized
from shared.keys import ApiKey, KeyRing, parse_keys
from shared.rate_limit import RateLimiter
from shared.settings import CommonSettings
from shared.web.problems import problem_of
from shared.web.scopes import OPEN, READING, scope_of

Headers = dict[bytes, bytes]


class Access(Protocol):
    """Lets a request in or raises why not."""

    def admit(self, method: str, path: str, headers: Headers, address: str) -> None:
        """Return if the request may go on.

        Raises:
            Unauthorized: it has no key that is known.
            Forbidden: its key, or where it comes from, does not allow it.
            RateLimited: it comes too soon.
        """


class AccessControl:
    """Asks `app.state.access` before anything else is done; without one (in process) all may come in."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI scope."""
        access: Access | None = None
        if scope["type"] != "lifespan":
            access = scope["app"].state.access
        if access is not None and scope["path"] not in OPEN:
            address = (scope.get("client") or ("", 0))[0]
            method = scope.get("method", "")
            try:
                access.admit(method, scope["path"], dict(scope["headers"]), address)
            except SkimError as error:
                await problem_of(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class ByKey:
    """Takes requests with a key that has the scope, as often as the key's limit allows.

    Requests without one share a limit an address, so that guessing costs us little.

    Args:
        keys: those that are known.
        limiter: counts requests by key, or by address.
    """

    def __init__(self, keys: KeyRing, limiter: RateLimiter) -> None:
        self._keys = keys
        self._limiter = limiter

    def admit(self, method: str, path: str, headers: Headers, address: str) -> None:
        """Return if the key allows the request; the log lines of the request name the key."""
        token = _token_of(method, headers)
        key = self._keys.find(token) if token else None
        if key is None:
            self._limiter.take(f"address {address}")
            raise Unauthorized(self._advice(token))
        self._limiter.take(key.name, key.requests_per_second)
        _check_scope(key, method, path)
        structlog.contextvars.bind_contextvars(key=key.name)

    def _advice(self, token: str) -> str:
        if not len(self._keys):
            return "this service has no keys yet: `skim keys create` makes one"
        if token:
            return "the key is not known here"
        return "a key is needed: send `Authorization: Bearer KEY` or `X-API-Key: KEY`"


class LoopbackOnly:
    """Takes requests without a key from programs on this machine, as often as the limit allows.

    A web page in a browser on this machine is somebody else: it is known by the name it thinks it
    talks to (DNS rebinding) or by the site it is from.

    Args:
        limiter: counts requests by address.
    """

    def __init__(self, limiter: RateLimiter) -> None:
        self._limiter = limiter

    def admit(self, method: str, path: str, headers: Headers, address: str) -> None:
        """Return if nothing says that the request is a foreign page's."""
        self._limiter.take(f"address {address}")
        host = headers.get(b"host", b"").decode("latin-1")
        if not is_loopback(_name_of(host)):
            raise Forbidden("keys are off here: only requests to a loopback address are taken")
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin and origin not in (f"http://{host}", f"https://{host}"):
            raise Forbidden("keys are off here: no page of another site may ask")


def access_of(settings: CommonSettings) -> Access:
    """Return the access control the settings ask for.

    Raises:
        InvalidInput: `SKIM_KEYS` holds what is no key.
    """
    limiter = RateLimiter(settings.requests_per_second)
    if settings.auth == "off":
        return LoopbackOnly(limiter)
    fixed = parse_keys(settings.keys.get_secret_value().replace(";", "\n"), "SKIM_KEYS")
    return ByKey(KeyRing(settings.key_file, fixed), limiter)


@lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own, and nobody else can reach it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_scope(key: ApiKey, method: str, path: str) -> None:
    needed = scope_of(method, path)
    if needed is not None and needed not in key.scopes:
        raise Forbidden(f"the key {key.name!r} lacks the scope {needed.value!r}")


def _token_of(method: str, headers: Headers) -> str:
    """Return the key a request carries, nothing if there is none.

    A browser can only show a key as the password of `Basic`, and then sends it along whoever made it ask: so it counts
    for reading, and for a change only if the browser says that a page of this very address asks.
    """
    given = headers.get(b"x-api-key")
    if given is not None:
        return given.decode("latin-1")
    kind, _, value = headers.get(b"authorization", b"").partition(b" ")
    if kind.lower() == b"bearer":
        return value.strip().decode("latin-1")
    is_ours = headers.get(b"sec-fetch-site") == b"same-origin"
    if kind.lower() == b"basic" and (method in READING or is_ours):
        return _password_of(value)
    return ""


def _password_of(basic: bytes) -> str:
    try:
        return base64.b64decode(basic, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


@lru_cache(maxsize=64)
def _name_of(host: str) -> str:
    """Return the name or address of a `Host` header, without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
