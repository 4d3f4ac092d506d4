"""Are the models, the index and the bundles what they were when they were written? Each file by its sha256."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from services.cli.check import Check
from services.mapping.index_files import read_manifest, verify
from shared.bundle import current, open_bundle
from shared.contracts.generator import GENERATOR_CARD, GeneratorCard
from shared.encoder import read_card
from shared.encoder_files import MODEL
from shared.errors import Damaged, NotFound, SkimError

_SLM_FILES = ("model.onnx", "model.onnx.data", "tokenizer.json")
"""In the order in which their sha256 was taken."""


def encoder(folder: Path) -> Check:
    """Compare the sentence encoder with the sha256 in its name."""
    card = read_card(folder)
    sha256 = _sha256_of([folder / MODEL])
    if not sha256.startswith(card.name.rpartition("-")[2]):
        raise Damaged(f"{folder / MODEL}: sha256 {sha256} is not that of {card.name}")
    return Check("encoder", "ok", f"{card.name}, {card.dimensions} dimensions, sha256 {sha256}")


def slm(folder: Path) -> Check:
    """Compare the SLM's files with the sha256 in its card."""
    path = folder / GENERATOR_CARD
    if not path.exists():
        return Check("slm", "absent", f"{folder}: no language model", "skim models build")
    card = GeneratorCard.model_validate_json(path.read_bytes())
    sha256 = _sha256_of([folder / name for name in _SLM_FILES])
    if sha256 != card.sha256:
        raise Damaged(f"{folder}: sha256 {sha256}, its card says {card.sha256}")
    return Check("slm", "ok", f"{card.name}, {card.precision} for {card.device}, sha256 {sha256}")


def index(folder: Path) -> Check:
    """Compare the index of train queries with its manifest."""
    manifest = read_manifest(folder)
    for entry in manifest.files:
        verify(folder, entry)
    found = f"{manifest.train_queries:,} train queries by {manifest.encoder}"
    sums = " ".join(entry.sha256 for entry in manifest.index)
    return Check("index", "ok", f"{found}, sha256 {sums}")


def bundles(folder: Path) -> Iterator[Check]:
    """Open every bundle, which compares each file with its sha256; say which one is served."""
    served = None
    try:
        served = current(folder).name
    except NotFound as error:
        yield Check("bundles", "absent", str(error))
    for path in sorted(folder.glob("*/manifest.json")):
        name = path.parent.name
        try:
            manifest = open_bundle(path.parent).manifest
        except SkimError as error:
            yield Check(f"bundle {name}", "wrong", str(error), "publish another version")
            continue
        is_served = ", served" if name == served else ""
        yield Check(
            f"bundle {name}",
            "ok",
            f"{manifest.counts.ads:,} ads, {len(manifest.files)} files{is_served}",
        )


def _sha256_of(paths: Sequence[Path]) -> str:
    """Return one sha256 over files one after the other; those that are not there are left out."""
    digest = hashlib.sha256()
    for path in paths:
        if path.exists():
            with path.open("rb") as file:
                while part := file.read(1 << 20):
                    digest.update(part)
    return digest.hexdigest()
