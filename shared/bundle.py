"""A bundle: the folder that training publishes and inference serves, verified before it is loaded.

    manifest.json      what the files are: sha256, size, versions, counts, metrics
    encoder/           a sentence encoder (`shared/encoder.py`)
    ads.jsonl          the documents; line n belongs to
    vectors.npy        row n, (ads, dimensions) float32
    ads.faiss          the index over them, where the exact one that is made while loading is too slow
    canaries.jsonl     queries with the ads they must find (`shared/bundle_facts.py`)
    lessons.jsonl      line n: what taught ad n

Format 1 has neither of the last three, nor, like format 2, a start that synthetic queries are part of. Bundles live in one folder, each under its version; the file `current` there names
the served one, `previous` the one before.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from shared.ad_index import INDEX, IndexCard, write_index
from shared.bundle_facts import CANARIES, LESSONS, Canary, Lessons, ScoreCalibration
from shared.cold_start import ColdStart
from shared.contracts.base import BUNDLE_PATTERN, Contract, Identifier
from shared.contracts.document import Document
from shared.dataset import read_documents, write_rows
from shared.disk import flush
from shared.encoder import read_card
from shared.encoder_files import CARD
from shared.errors import Conflict, Damaged, InvalidInput, NotFound
from shared.index_choice import choose_index
from shared.vector_files import VECTORS, read_vectors, write_vectors

MANIFEST = "manifest.json"
ENCODER = "encoder"
ADS = "ads.jsonl"
CURRENT, PREVIOUS = "current", "previous"
EVENTS_UNTIL = "events_until"
"""Setting of a manifest: the moment up to which training read the event files."""
SUITE_LABELS = "suite_labels"
"""And how many labels the suite gave it."""


class FileEntry(Contract):
    """A file as it was written."""

    sha256: str
    bytes: int


class Counts(Contract):
    """How much a bundle was made from."""

    ads: int
    train_queries: int
    clicks: int
    labels: int
    """Augmented labels: pairs that are not clicks."""


class Manifest(Contract):
    """`manifest.json`."""

    format_version: Literal[1, 2, 3] = 3
    version: Identifier
    created_at: datetime
    git_revision: str | None
    encoder: str
    dimensions: int
    counts: Counts
    settings: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    """What the model was trained with."""
    data_sha256: str | None = None
    """Of the documents, train queries, clicks and labels it was trained on."""
    metrics: dict[str, float] = Field(default_factory=dict)
    index: IndexCard = IndexCard(kind="flat")
    cold_start: ColdStart | None = None
    """How training embeds documents; None in format 1."""
    calibration: ScoreCalibration | None = None
    """None where validation clicks are too few."""
    files: dict[str, FileEntry]
    """Path inside the bundle -> the file; every file but the manifest."""


@dataclass(frozen=True)
class Bundle:
    """An opened bundle. `vectors[n]`, (ads, dimensions) float32, belongs to `ads[n]`."""

    manifest: Manifest
    encoder: Path
    """Folder of the sentence encoder."""
    ads: Sequence[Document]
    vectors: NDArray[np.float32]


def write_bundle(
    bundles: Path,
    *,
    encoder: Path,
    ads: Sequence[Document],
    vectors: NDArray[np.float32],
    counts: Counts,
    git_revision: str | None = None,
    settings: Mapping[str, str | int | float | bool | None] | None = None,
    data_sha256: str | None = None,
    metrics: Mapping[str, float] | None = None,
    version: str | None = None,
    cold_start: ColdStart | None = None,
    calibration: ScoreCalibration | None = None,
    canaries: Sequence[Canary] = (),
    lessons: Sequence[Lessons] = (),
    asked: NDArray[np.float32] | None = None,
    max_index_bytes: int | None = None,
) -> Path:
    """Write a bundle under its version, whole or not at all, and return its folder.

    Args:
        bundles: folder of all bundles.
        encoder: folder of the sentence encoder, copied.
        ads: the documents.
        vectors: (ads, dimensions) float32, in the order of `ads`.
        counts: what it was made from.
        git_revision: of the code that trained it.
        settings: what it was trained with.
        data_sha256: of the data it was trained on.
        metrics: what was measured.
        version: names the bundle; the time and the vectors' sha256 if absent.
        cold_start: how documents that training did not see are embedded.
        calibration: how scores become probabilities.
        canaries: what an opened bundle must find.
        lessons: what taught each ad, in the order of `ads`.
        max_index_bytes: of the vectors in memory; above that 8 bits a number, if recall allows it.
        asked: (any number, dimensions) float32 vectors of queries, to choose the index with.

    Raises:
        InvalidInput: vectors, lessons and ads disagree, or the version is no identifier.
        NotFound: there is no encoder in `encoder`.
        Conflict: there is a bundle of that version.
    """
    card = read_card(encoder)
    if vectors.shape != (len(ads), card.dimensions):
        raise InvalidInput(
            f"vectors of shape {vectors.shape}, expected {(len(ads), card.dimensions)}: "
            f"{len(ads)} ads, encoder {card.name}"
        )
    if lessons and len(lessons) != len(ads):
        raise InvalidInput(f"{len(lessons)} lessons for {len(ads)} ads")
    now = datetime.now(UTC)
    bundles.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=bundles, prefix=".new-") as scratch:
        folder = Path(scratch) / "bundle"
        folder.mkdir()
        shutil.copytree(encoder, folder / ENCODER)
        write_rows(folder / ADS, ads)
        write_vectors(folder, vectors)
        index = choose_index(vectors, asked, max_bytes=max_index_bytes)
        if index.card.kind != "flat":
            write_index(folder, index)
        for name, rows in ((CANARIES, canaries), (LESSONS, lessons)):
            if rows:
                write_rows(folder / name, rows)
        files = {name: _entry(folder / name) for name in sorted(_files_in(folder))}
        version = version or f"{now:%Y%m%dT%H%M%S}-{files[VECTORS].sha256[:8]}"
        manifest = Manifest(
            version=_checked(version),
            created_at=now,
            git_revision=git_revision,
            encoder=card.name,
            dimensions=card.dimensions,
            counts=counts,
            settings=dict(settings or {}),
            data_sha256=data_sha256,
            metrics=dict(metrics or {}),
            index=index.card,
            cold_start=cold_start,
            calibration=calibration,
            files=files,
        )
        (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n")
        for path in [*folder.rglob("*"), folder]:
            flush(path)
        target = bundles / version
        if target.exists():
            raise Conflict(f"{target}: there is a bundle of that version")
        folder.rename(target)
        flush(bundles)
    return target


def open_bundle(folder: Path) -> Bundle:
    """Verify every file of a bundle, then read ads and vectors; see `verify_bundle`."""
    manifest = verify_bundle(folder)
    ads, vectors = _read_ads(folder / ADS), read_vectors(folder)
    expected = (len(ads), manifest.dimensions)
    if vectors.shape != expected or manifest.counts.ads != len(ads):
        raise Damaged(
            f"{folder / VECTORS}: shape {vectors.shape}, expected {expected} "
            f"({manifest.counts.ads} ads in {MANIFEST})"
        )
    return Bundle(manifest, folder / ENCODER, ads, vectors)


def verify_bundle(folder: Path) -> Manifest:
    """Verify every file of a bundle by its sha256, and return what they are.

    Raises:
        NotFound: there is no bundle.
        Damaged: a file is missing, is not listed, or is not what the manifest says.
    """
    manifest = read_manifest(folder)
    unlisted = sorted(_files_in(folder) - {MANIFEST} - set(manifest.files))
    if unlisted:
        raise Damaged(f"{folder / unlisted[0]}: not listed in {MANIFEST}")
    needed = {ADS, VECTORS, f"{ENCODER}/{CARD}"}
    if manifest.index.kind != "flat":
        needed.add(INDEX)
    for name in sorted({*needed, *manifest.files}):
        _verify(folder, name, manifest.files.get(name))
    return manifest


def versions(bundles: Path) -> list[Manifest]:
    """Return the bundles that can be served, newest first; folders whose manifest cannot be read are left out."""
    found = []
    for folder in bundles.iterdir() if bundles.is_dir() else ():
        if _is_version(folder.name) and (folder / MANIFEST).is_file():
            with suppress(NotFound, Damaged):
                found.append(read_manifest(folder))
    return sorted(found, key=lambda manifest: manifest.created_at, reverse=True)


def folder_of(bundles: Path, version: str) -> Path:
    """Return the folder of a bundle.

    Raises:
        InvalidInput: the version is no identifier.
        NotFound: there is no bundle of that version.
    """
    folder = bundles / _checked(version)
    if not (folder / MANIFEST).is_file():
        raise NotFound(f"{bundles}: no bundle {version!r}")
    return folder


def previous(bundles: Path) -> str:
    """Return the version that was served before the current one.

    Raises:
        NotFound: there was none.
    """
    try:
        return _named_in(bundles / PREVIOUS)
    except FileNotFoundError as error:
        raise NotFound(f"{bundles}: no bundle was served before this one") from error


def activate(bundles: Path, version: str) -> None:
    """Make `version` the served bundle, at once, and remember the one before.

    Raises:
        NotFound: there is no bundle of that version.
    """
    folder_of(bundles, version)
    with suppress(FileNotFoundError, Damaged):
        before = _named_in(bundles / CURRENT)
        if before != version:
            _point(bundles, PREVIOUS, before)
    _point(bundles, CURRENT, version)


def _point(bundles: Path, name: str, version: str) -> None:
    temporary = bundles / f".{name}.{os.getpid()}"
    temporary.write_text(version + "\n")
    flush(temporary)
    temporary.replace(bundles / name)
    flush(bundles)


def _named_in(path: Path) -> str:
    try:
        version = path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError as error:
        raise Damaged(f"{path}: not a version") from error
    if not _is_version(version):
        raise Damaged(f"{path}: {version[:80]!r} is not a version")
    return version


def current(bundles: Path) -> Path:
    """Return the folder of the served bundle.

    Raises:
        NotFound: none is served, or the one that is named does not exist.
        Damaged: the name is no version.
    """
    path = bundles / CURRENT
    try:
        version = _named_in(path)
    except FileNotFoundError as error:
        raise NotFound(f"{path}: no bundle is published; run `skim publish`") from error
    if not (bundles / version).is_dir():
        raise NotFound(f"{bundles / version}: no such bundle, though {path} names it")
    return bundles / version


def trained_until(bundles: Path) -> datetime | None:
    """Return the moment up to which the served bundle knows the log of events; None if there is no bundle."""
    try:
        manifest = read_manifest(current(bundles))
    except (NotFound, Damaged):
        return None
    known = manifest.settings.get(EVENTS_UNTIL)
    return datetime.fromisoformat(known) if isinstance(known, str) else manifest.created_at


def read_manifest(folder: Path) -> Manifest:
    """Return a bundle's manifest; the files it lists are not looked at.

    Raises:
        NotFound: there is no bundle.
        Damaged: it is no manifest.
    """
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"{folder}: no bundle here ({MANIFEST} is missing)") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Damaged(f"{path}: {where}: {first['msg']}") from error


def _read_ads(path: Path) -> list[Document]:
    try:
        return list(read_documents(path))
    except InvalidInput as error:
        raise Damaged(str(error)) from error


def _verify(folder: Path, name: str, entry: FileEntry | None) -> None:
    path = folder / name
    if entry is None:
        raise Damaged(f"{path}: not listed in {MANIFEST}")
    if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
        raise Damaged(f"{path}: missing, though {MANIFEST} names it")
    found = _entry(path)
    if found != entry:
        raise Damaged(
            f"{path}: {found.bytes} bytes with sha256 {found.sha256}, "
            f"{MANIFEST} says {entry.bytes} with {entry.sha256}"
        )


def _entry(path: Path) -> FileEntry:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return FileEntry(sha256=sha256, bytes=path.stat().st_size)


def _files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def _checked(version: str) -> str:
    if not _is_version(version):
        raise InvalidInput(f"bundle version {version[:80]!r} does not match {BUNDLE_PATTERN}")
    return version


def _is_version(version: str) -> bool:
    return re.fullmatch(BUNDLE_PATTERN, version) is not None and version not in {CURRENT, PREVIOUS}
