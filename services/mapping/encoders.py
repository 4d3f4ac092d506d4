"""The encoder of an index: one view of a text, or several side by side."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.encoder import SentenceEncoder, TextEncoder, read_card
from shared.errors import Conflict

FOLDER = "encoders"
"""Beside an index: the encoders it was built with, a folder each, but for the models' own."""
_BETWEEN = "+"


class JoinedEncoder:
    """Several encoders as one, whose cosine is the mean of theirs.

    One that was fine-tuned on biased clicks knows the log's words and may be blind to what is missing from it; a general
    one is not. Safe to call from several threads.

    Args:
        encoders: at least one.
    """

    def __init__(self, encoders: Sequence[TextEncoder]) -> None:
        self._encoders = encoders

    @property
    def name(self) -> str:
        """Return their names, joined."""
        return _BETWEEN.join(encoder.name for encoder in self._encoders)

    @property
    def dimensions(self) -> int:
        """Return the length of the vectors: the sum of theirs."""
        return sum(encoder.dimensions for encoder in self._encoders)

    def encode(
        self, texts: Sequence[str], *, max_tokens: int = 32, batch_size: int = 32
    ) -> NDArray[np.float32]:
        """Return (texts, dimensions) float32 unit vectors: theirs side by side."""
        views = [
            encoder.encode(texts, max_tokens=max_tokens, batch_size=batch_size)
            for encoder in self._encoders
        ]
        return np.hstack(views) / np.float32(np.sqrt(len(views)))


def open_encoder(models: Path, folder: Path, name: str | None = None) -> TextEncoder:
    """Load the encoder that an index names.

    Args:
        models: whose `encoder` is the general one.
        folder: of the index; may hold others.
        name: of one encoder, or several joined by a plus sign; the models' own if None.

    Raises:
        NotFound: the models' encoder is missing.
        Conflict: the index was built with one that is nowhere.
    """
    general = models / "encoder"
    known = {read_card(each).name: each for each in (general, *_kept_in(folder))}
    if name is None:
        return SentenceEncoder(general)
    missing = [each for each in name.split(_BETWEEN) if each not in known]
    if missing:
        raise Conflict(
            f"{folder}: built with the encoder {missing[0]}, which is not here; run `skim mapping build` again"
        )
    views = [SentenceEncoder(known[each]) for each in name.split(_BETWEEN)]
    return views[0] if len(views) == 1 else JoinedEncoder(views)


def keep_encoders(models: Path, folder: Path, sources: Sequence[Path]) -> str:
    """Copy encoders beside the index that is going to be built with them; return the name to open them by.

    Args:
        models: whose own encoder is not copied.
        folder: of the index.
        sources: encoder folders, in order: of a bundle, say.

    Raises:
        NotFound: one of them is no encoder.
    """
    general, names = read_card(models / "encoder").name, []
    for source in sources:
        name = read_card(source).name
        names.append(name)
        target = folder / FOLDER / name
        if name == general or target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".new-") as scratch:
            copied = Path(scratch) / "encoder"
            shutil.copytree(source, copied)
            copied.rename(target)
    return _BETWEEN.join(names)


def _kept_in(folder: Path) -> list[Path]:
    kept = sorted((folder / FOLDER).glob("*/encoder.json")) if (folder / FOLDER).is_dir() else []
    return [path.parent for path in kept]
