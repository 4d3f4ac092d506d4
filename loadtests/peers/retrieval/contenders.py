"""The retrievers that take part in `loadtests.retrieval`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests.peers.install import (
    BM25,
    ENVIRONMENTS,
    OMIKUJI,
    PECOS,
    SENTENCE_TRANSFORMERS,
    python_of,
)
from services.training.model_sources import MINILM, fetch
from shared.errors import InvalidInput, NotFound
from shared.settings import CommonSettings

NAMES = (BM25, PECOS, OMIKUJI, SENTENCE_TRANSFORMERS)


@dataclass(frozen=True)
class Peer:
    """A retriever that can be started."""

    name: str
    python: Path
    module: str
    arguments: tuple[str, ...] = ()
    version: str = ""
    """Changes whenever its answers may: its code, its model, what its environment holds."""


def peers(common: CommonSettings, names: Sequence[str] = NAMES) -> list[Peer]:
    """Return the peers of these names; the encoder that one fine-tunes is fetched when it is missing.

    Raises:
        InvalidInput: there is no peer of that name.
        NotFound: it is not installed.
    """
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise InvalidInput(f"peer {unknown[0]!r} is none of {', '.join(NAMES)}")
    return [_peer(common, name) for name in names]


def _peer(common: CommonSettings, name: str) -> Peer:
    python = python_of(name, common.home)
    if not python.exists():
        raise NotFound(f"{python}: run `python -m loadtests.peers.install --only {name}`")
    arguments: tuple[str, ...] = ()
    if name == SENTENCE_TRANSFORMERS:
        arguments = ("--model", str(fetch(MINILM, common.models / "sources")))
    return Peer(name, python, f"loadtests.peers.retrieval.{name}", arguments, _version(name))


def _version(name: str) -> str:
    model = MINILM.sha256 if name == SENTENCE_TRANSFORMERS else ""
    digest = hashlib.sha256(repr((*ENVIRONMENTS[name].requirements, model)).encode())
    for module in (name, "features", "protocol"):
        digest.update((Path(__file__).parent / f"{module}.py").read_bytes())
    return digest.hexdigest()
