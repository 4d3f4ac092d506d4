"""API keys: made once and shown once, kept as hashes, looked up in constant time, changed without a restart.

A key is `skim_NAME_SECRET`, a secret of 256 random bits: a plain SHA-256 of it cannot be turned back. A key file
holds one line a key, `name scopes sha256 [requests per second]`, scopes joined by commas:

    feed ingest,read 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 50
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import math
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import structlog

from shared.errors import Conflict, Damaged, InvalidInput, NotFound

_NAME = re.compile(r"[a-z0-9-]{1,40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NOBODYS = hashlib.sha256(secrets.token_bytes(32)).hexdigest()
"""Compared with where no key has the name, so that a wrong name takes as long as a wrong secret."""
_log = structlog.get_logger()


class Scope(StrEnum):
    """What a key may do. None includes another."""

    READ = "read"
    """Ask and look."""
    INGEST = "ingest"
    """Give documents, train queries, ads and events, change and remove them, and have them worked on."""
    ADMIN = "admin"
    """Everything else that changes something: switch, remap, replay, purge."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is kept: without its secret."""

    name: str
    scopes: frozenset[Scope]
    sha256: str
    """Of the whole key, in hex."""
    requests_per_second: float | None = None
    """Its own limit; None: the service's."""

    def line(self) -> str:
        """Return its line in a key file."""
        rate = "" if self.requests_per_second is None else f" {self.requests_per_second:g}"
        return f"{self.name} {','.join(sorted(self.scopes))} {self.sha256}{rate}"


def new_key(
    name: str, scopes: Iterable[Scope], requests_per_second: float | None = None
) -> tuple[str, ApiKey]:
    """Return a new key, to be shown once, and what is kept of it.

    Raises:
        InvalidInput: the name, the scopes or the limit cannot be.
    """
    token = f"skim_{name}_{secrets.token_hex(32)}"
    key = ApiKey(name, frozenset(scopes), _hash(token), requests_per_second)
    if _parse(key.line(), "the key") != key:
        raise InvalidInput(f"{requests_per_second} requests per second: too many digits")
    return token, key


def parse_keys(text: str, where: str) -> dict[str, ApiKey]:
    """Return the keys of a key file by name; empty lines and those that begin with `#` are skipped.

    Args:
        text: the file's content.
        where: what errors call it.

    Raises:
        InvalidInput: a line is no key, or two have one name. The message holds nothing of the line.
    """
    keys: dict[str, ApiKey] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key = _parse(line, f"{where}, line {number}")
        if key.name in keys:
            raise InvalidInput(f"{where}, line {number}: a second key of the name {key.name!r}")
        keys[key.name] = key
    return keys


def read_keys(path: Path) -> dict[str, ApiKey]:
    """Return the keys of a file by name.

    Raises:
        Damaged: it cannot be read, others may write it, or a line is no key.
    """
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & stat.S_IWOTH:
                raise Damaged(f"{path}: every user may write it; run `chmod o-w {path}`")
            return parse_keys(file.read().decode(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise Damaged(f"{path}: cannot be read ({error})") from error
    except InvalidInput as error:
        raise Damaged(str(error)) from error


def add_key(path: Path, key: ApiKey) -> None:
    """Append a key to a file, which is made if it is not there.

    Raises:
        Conflict: there is a key of that name.
        Damaged: the file is no key file.
    """
    with _changing(path) as lines:
        if key.name in parse_keys("\n".join(lines), str(path)):
            raise Conflict(f"{path}: there is a key {key.name!r} already; revoke it first")
        lines.append(key.line())


def remove_key(path: Path, name: str) -> None:
    """Take a key out of a file; comments stay.

    Raises:
        NotFound: there is no key of that name.
        Damaged: the file is no key file.
    """
    with _changing(path) as lines:
        if name not in parse_keys("\n".join(lines), str(path)):
            raise NotFound(f"{path}: there is no key {name!r}")
        lines[:] = [line for line in lines if line.split()[:1] != [name]]


class KeyRing:
    """The keys a service takes: those of a file, looked at again when it changes, and fixed ones.

    A file that breaks or goes away leaves the keys of before in force and is told of once; an empty one
    takes them away.

    Args:
        path: the key file; it may come later.
        fixed: keys of the environment, by name; a file's key of the same name goes first.
        look_seconds: pause between two looks at the file.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        path: Path,
        fixed: Mapping[str, ApiKey] | None = None,
        *,
        look_seconds: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._fixed = dict(fixed or {})
        self._keys = self._fixed
        self._look_seconds = look_seconds
        self._clock = clock
        self._seen: Sequence[int] | None = None
        self._look_at = -math.inf
        self._look()

    def __len__(self) -> int:
        self._look()
        return len(self._keys)

    def find(self, token: str) -> ApiKey | None:
        """Return the key that `token` is, None if it is none."""
        self._look()
        parts = token.split("_")
        key = self._keys.get(parts[1]) if len(parts) == 3 else None
        kept = key.sha256 if key else _NOBODYS
        return key if hmac.compare_digest(_hash(token), kept) else None

    def _look(self) -> None:
        now = self._clock()
        if now < self._look_at:
            return
        self._look_at = now + self._look_seconds
        seen = _signature(self._path)
        if seen == self._seen:
            return
        had_file, self._seen = bool(self._seen), seen
        if not seen and not had_file:
            return
        try:
            self._keys = self._fixed | read_keys(self._path)
            _log.info("keys_read", path=str(self._path), keys=len(self._keys))
        except Damaged as error:
            _log.error("keys_not_read", reason=str(error), keys_of_before=len(self._keys))


@contextmanager
def _changing(path: Path) -> Iterator[list[str]]:
    """Give the lines of a key file to change; what they became replaces it in one step, one writer at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            read_keys(path)
        lines = path.read_text().splitlines() if path.exists() else []
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o600
        yield lines
        scratch = path.with_name(f"{path.name}.new")
        scratch.unlink(missing_ok=True)
        with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
            file.writelines(f"{line}\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)


def _signature(path: Path) -> Sequence[int]:
    """Return what changes with the file, nothing if it is not there."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode)


def _parse(line: str, where: str) -> ApiKey:
    fields = line.split()
    if len(fields) not in (3, 4):
        raise InvalidInput(
            f"{where}: expected `name scopes sha256 [requests per second]`, got {len(fields)} fields"
        )
    name, scopes, sha256 = fields[:3]
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"{where}: a name is 1 to 40 of a-z, 0-9 and -")
    if not _SHA256.fullmatch(sha256):
        raise InvalidInput(f"{where}: the third field is not a SHA-256 in hex")
    return ApiKey(name, _scopes_of(scopes, where), sha256, _rate_of(fields[3:], where))


def _scopes_of(text: str, where: str) -> frozenset[Scope]:
    try:
        return frozenset(Scope(each) for each in text.split(","))
    except ValueError as error:
        raise InvalidInput(f"{where}: scopes are of {', '.join(Scope)}") from error


def _rate_of(fields: Sequence[str], where: str) -> float | None:
    if not fields:
        return None
    try:
        rate = float(fields[0])
    except ValueError:
        rate = math.nan
    if not (rate > 0 and math.isfinite(rate)):
        raise InvalidInput(f"{where}: requests per second is a number above 0")
    return rate


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
