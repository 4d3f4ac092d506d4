"""Everyone who takes part: ours and three others, with the settings among which each shows its best."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

from loadtests.peers.inference import protocol, serving
from loadtests.peers.inference.catalogue import kept, source_of
from loadtests.peers.install import ENVIRONMENTS, INFINITY, QDRANT_EDGE, TXTAI, python_of
from loadtests.peers.process import last_words, peer_environment
from shared import ad_index, bundle, index_choice
from shared.bundle import Counts, activate, read_manifest, write_bundle
from shared.dataset import read_documents
from shared.errors import Expired, InvalidInput, NotFound, Unavailable
from shared.settings import CommonSettings

OURS = "skim"
SETTINGS: Mapping[str, Sequence[str]] = {
    TXTAI: ("1", "2"),
    INFINITY: ("servers", "embedded"),
    QDRANT_EDGE: ("2", "16"),
}
"""Rival -> its settings, as its module explains them."""
NAMES = tuple(SETTINGS)
_BUILD_SECONDS = 1_200


@dataclass(frozen=True)
class Contender:
    """A service over the catalogue, not started yet."""

    name: str
    settings: Sequence[str]
    """One of them is chosen; one alone needs no trial."""
    start: Callable[[str], AbstractContextManager[serving.Served]]
    """Gives the service with one of the settings."""
    ef: int | None
    """Neighbours a search of its graph keeps; None if it has no graph."""
    versions: Mapping[str, str]
    """Of the packages that do the work."""


def ours(common: CommonSettings, catalogue: protocol.Catalogue) -> Contender:
    """Return our own service over a bundle of the catalogue, which is published when it is missing."""

    def _publish(folder: Path) -> None:
        bundles = folder / "bundles"
        write_bundle(
            bundles,
            encoder=catalogue.folder / protocol.ENCODER,
            ads=list(read_documents(catalogue.folder / protocol.ADS)),
            vectors=catalogue.vectors,
            counts=Counts(ads=len(catalogue.vectors), train_queries=0, clicks=0, labels=0),
            asked=catalogue.judges,
            version="rivals",
        )
        activate(bundles, "rivals")

    code = [Path(str(module.__file__)) for module in (ad_index, bundle, index_choice)]
    made = kept(
        common.home, OURS, [catalogue.folder.name, source_of(Path(__file__), *code)], _publish
    )
    bundles = made / "bundles"
    return Contender(
        OURS,
        ("",),
        lambda _: serving.ours(bundles),
        read_manifest(bundles / "rivals").index.ef,
        {name: version(name) for name in ("faiss-cpu", "fastapi", "uvicorn")},
    )


def rival(common: CommonSettings, catalogue: protocol.Catalogue, name: str) -> Contender:
    """Return a rival over the catalogue, which it indexes when its index is missing.

    Raises:
        InvalidInput: there is no rival of that name.
        NotFound: it is not installed.
        Unavailable: it could not index the catalogue; the message has its last words.
    """
    if name not in NAMES:
        raise InvalidInput(f"rival {name!r} is none of {', '.join(NAMES)}")
    python = python_of(name, common.home)
    if not python.exists():
        raise NotFound(f"{python}: run `python -m loadtests.peers.install --only {name}`")
    requirements = ENVIRONMENTS[name].requirements
    here = Path(__file__).parent
    command = [str(python), "-m", f"loadtests.peers.inference.{name}"]
    folder = kept(
        common.home,
        name,
        [
            catalogue.folder.name,
            *requirements,
            source_of(here / f"{name}.py", here / "protocol.py"),
        ],
        partial(_build, name, [*command, "build", str(catalogue.folder)]),
    )

    def _start(setting: str) -> AbstractContextManager[serving.Served]:
        where = [str(catalogue.folder), str(folder)]
        return serving.rival(name, [*command, "serve", *where, "--setting", setting])

    return Contender(
        name,
        SETTINGS[name],
        _start,
        protocol.read_width(folder).ef,
        dict(requirement.split("==", 1) for requirement in requirements),
    )


def _build(name: str, command: Sequence[str], folder: Path) -> None:
    try:
        finished = subprocess.run(  # noqa: S603
            [*command, str(folder)],
            env=peer_environment(serving.OFFLINE),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_BUILD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Expired(f"{name} had no index after {_BUILD_SECONDS} s") from error
    if finished.returncode:
        raise Unavailable(f"{name} could not index the ads: {last_words(finished.stdout)}")
