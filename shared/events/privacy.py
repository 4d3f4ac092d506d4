"""What keeps people out of the event files: keyed hashes of clients, and a list of what is to be forgotten.

key             32 random bytes, made once: without them nobody can tell whose hash it is
erased.jsonl    {"what", "hash", "until"} a line: queries, ads and clients by keyed hash, not by name
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from shared.contracts.base import Contract
from shared.dataset import read_rows
from shared.disk import flush
from shared.errors import Damaged, NotFound
from shared.events.record import StoredEvent
from shared.plain_text import query_key

What = Literal["query", "ad", "client"]
KEY = "key"
ERASED = "erased.jsonl"
_KEY_BYTES = 32


class Erasure(Contract):
    """What is forgotten: events of it that happened until then."""

    what: What
    hash: str
    until: str
    """As events have their time."""


class Keyed:
    """Hashes and seals under a secret key.

    Args:
        key: as `read_key` gives it.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.hash = functools.lru_cache(maxsize=50_000)(self._hash)

    def _hash(self, what: What, value: str) -> str:
        return self.seal(what, query_key(value) if what == "query" else value)

    def seal(self, *parts: str) -> str:
        """Return 16 hexadecimal digits that only who has the key can make of these texts."""
        digest = hashlib.blake2b(key=self._key, digest_size=8)
        for part in parts:
            content = part.encode(errors="surrogatepass")
            digest.update(b"%d:%b" % (len(content), content))
        return digest.hexdigest()

    def is_seal(self, seal: str, *parts: str) -> bool:
        """Say whether `seal` was made of these texts, in a time that tells nothing."""
        return hmac.compare_digest(seal.encode(), self.seal(*parts).encode())


def make_key(folder: Path) -> Keyed:
    """Return the folder's key; the first of all processes that ask makes it."""
    path = folder / KEY
    if not path.exists():
        temporary = folder / f".{KEY}.{secrets.token_hex(6)}"
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            os.write(descriptor, secrets.token_bytes(_KEY_BYTES))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
        flush(folder)
    return read_key(folder)


def read_key(folder: Path) -> Keyed:
    """Return the folder's key.

    Raises:
        NotFound: there is none.
        Damaged: it is no key.
    """
    path = folder / KEY
    try:
        key = path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"{path}: no events were taken here yet") from error
    if len(key) != _KEY_BYTES:
        raise Damaged(f"{path}: {len(key)} bytes, expected {_KEY_BYTES}")
    return Keyed(key)


def erase(folder: Path, keyed: Keyed, what: What, value: str, until: str) -> None:
    """Note that events of a query, ad or client are to be forgotten; on disk when this returns."""
    row = Erasure(what=what, hash=keyed.hash(what, value), until=until)
    with (folder / ERASED).open("a", encoding="utf-8") as file:
        file.write(row.model_dump_json() + "\n")
        file.flush()
        os.fsync(file.fileno())
    flush(folder)


def erasures(folder: Path) -> Callable[[StoredEvent], bool]:
    """Return what says whether an event is to be forgotten."""
    path = folder / ERASED
    if not path.exists():
        return lambda _: False
    until: dict[tuple[What, str], str] = {}
    for row in read_rows(path, Erasure, key=None):
        place = (row.what, row.hash)
        until[place] = max(row.until, until.get(place, ""))
    keyed = read_key(folder)

    def _is_erased(event: StoredEvent) -> bool:
        places: tuple[tuple[What, str], ...] = (
            ("query", keyed.hash("query", event.query)),
            ("ad", keyed.hash("ad", event.ad)),
            ("client", event.client),
        )
        return any(event.time <= until.get(place, "") for place in places)

    return _is_erased
