"""Where Redis is: one server, or the one that sentinels say is the master. For our store and for Celery."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import unquote

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from shared.errors import InvalidInput

_EXPECTED = "expected redis://HOST:PORT/DATABASE or redis+sentinel://HOST:PORT,HOST:PORT/DATABASE?master=NAME"
_SENTINEL_PORT = 26_379
_WITH_SENTINELS = re.compile(
    r"(?:redis\+)?sentinel://(?P<login>[^@/]*@)?(?P<hosts>[^@/?]+)"
    r"(?:/(?P<database>\d*))?\?master=(?P<master>[^&#]+)"
)
_HOST = re.compile(
    r"(?:sentinel://)?(?:[^@/]*@)?(?P<host>\[[^\]]+\]|[^:\[\]]+)(?::(?P<port>\d+))?"
)


class _MasterPool(SentinelConnectionPool):
    """Closes the connections to the sentinels with its own, which redis-py leaves to the garbage collector."""

    def disconnect(self, inuse_connections: bool = True) -> None:
        super().disconnect(inuse_connections)
        for sentinel in self.sentinel_manager.sentinels:
            sentinel.close()


@dataclass(frozen=True)
class RedisAddress:
    """Where Redis is.

    Args:
        url: of one server; empty with sentinels.
        sentinels: host and port of each.
        master: what they call it.
        login: `USER:PASSWORD@` of the server, as in a URL; or nothing.
        database: its number.
    """

    url: str = ""
    sentinels: Sequence[tuple[str, int]] = ()
    master: str = ""
    login: str = ""
    database: int = 0

    @classmethod
    def of(cls, url: str) -> Self:
        """Read a URL: `redis://`, `rediss://`, or `redis+sentinel://` with `?master=NAME`.

        Raises:
            InvalidInput: it is none of these, or says that it is a cluster's. It may hold a password and is not quoted.
        """
        scheme = url.partition("://")[0]
        if "cluster" in scheme:
            raise InvalidInput(
                f"SKIM_REDIS_URL is a cluster's, which the workers' queue cannot use; {_EXPECTED}"
            )
        if scheme in ("redis", "rediss"):
            return cls(url)
        found = _WITH_SENTINELS.fullmatch(re.sub(r";(?:sentinel://)?", ",", url))
        hosts = [_HOST.fullmatch(each) for each in found["hosts"].split(",")] if found else []
        if not found or not all(hosts):
            raise InvalidInput(f"the Redis URL (SKIM_REDIS_URL) is malformed; {_EXPECTED}")
        return cls(
            sentinels=[
                (each["host"].strip("[]"), int(each["port"] or _SENTINEL_PORT))
                for each in hosts
                if each
            ],
            master=found["master"],
            login=found["login"] or "",
            database=int(found["database"] or 0),
        )

    def client(self, *, retries: int, timeout_seconds: float) -> redis.Redis:
        """Return a client that decodes responses; it connects when first asked.

        Raises:
            InvalidInput: the URL is malformed.
        """
        timeouts = {
            "socket_timeout": timeout_seconds,
            "socket_connect_timeout": min(timeout_seconds, 2.0),
        }
        options: dict[str, Any] = {
            **timeouts,
            "decode_responses": True,
            "retry": Retry(ExponentialBackoff(), retries),
            "health_check_interval": 30,
        }
        if not self.sentinels:
            try:
                return redis.Redis.from_url(self.url, **options)
            except ValueError:
                # the cause may quote the password
                raise InvalidInput(
                    f"the Redis URL (SKIM_REDIS_URL) is malformed; {_EXPECTED}"
                ) from None
        user, _, password = self.login.removesuffix("@").partition(":")
        sentinels = Sentinel(  # type: ignore[no-untyped-call]
            self.sentinels, sentinel_kwargs={**timeouts, "retry": Retry(ExponentialBackoff(), 0)}
        )
        found: redis.Redis = sentinels.master_for(  # type: ignore[no-untyped-call]
            self.master,
            connection_pool_class=_MasterPool,
            db=self.database,
            username=unquote(user) or None,
            password=unquote(password) or None,
            **options,
        )
        return found

    @property
    def broker(self) -> tuple[str, Mapping[str, object]]:
        """Return what Celery calls the URL, and the options of its transport that belong to it."""
        if not self.sentinels:
            return self.url, {}
        urls = (
            f"sentinel://{self.login}{f'[{host}]' if ':' in host else host}:{port}/{self.database}"
            for host, port in self.sentinels
        )
        return ";".join(urls), {"master_name": self.master}

    @property
    def place(self) -> str:
        """Return how messages call it, without a password."""
        if not self.sentinels:
            return ""
        return f"Redis (the master {self.master!r} of {len(self.sentinels)} sentinels)"
