"""Texts that are read again and again, as tokens on a device: cut into tokens once, a batch is a gather."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from services.training.siamese import TextTokenizer, Tokens

_TEXTS_AT_ONCE = 8_192


class TokenTable:
    """The tokens of many texts, as at serving.

    Args:
        source: folder with the encoder's `tokenizer.json`.
        texts: at least one.
        max_tokens: as many are read of each text.
        device: where the tokens are kept.
    """

    def __init__(
        self, source: Path, texts: Sequence[str], max_tokens: int, device: torch.device
    ) -> None:
        tokenize = TextTokenizer(source, torch.device("cpu"))
        parts = [
            tokenize(texts[start : start + _TEXTS_AT_ONCE], max_tokens)
            for start in range(0, len(texts), _TEXTS_AT_ONCE)
        ]
        self._device = device
        self._lengths: NDArray[np.int64] = (
            torch.cat([part.mask.sum(dim=1) for part in parts]).numpy().astype(np.int64)
        )
        ids = torch.zeros((len(texts), int(self._lengths.max())), dtype=torch.int32)
        done = 0
        for part in parts:
            ids[done : done + len(part.ids), : part.ids.shape[1]] = part.ids
            done += len(part.ids)
        self._ids = ids.to(device)

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self._lengths)

    def part(self, rows: NDArray[np.int64]) -> TokenTable:
        """Return the table of these rows alone."""
        part = copy.copy(self)
        part._lengths = self._lengths[rows]
        part._ids = self._ids[torch.from_numpy(rows).to(self._device)]
        return part

    def rows(self, rows: NDArray[np.int64]) -> Tokens:
        """Return these texts, as wide as the longest of them."""
        lengths = self._lengths[rows]
        longest = int(lengths.max(initial=1))
        ids = self._ids[torch.from_numpy(rows).to(self._device), :longest].long()
        places = torch.arange(longest, device=self._device)
        mask = places < torch.from_numpy(lengths).to(self._device).unsqueeze(1)
        return Tokens(ids, mask.long())

    def batches(self, rows: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
        """Yield these rows in batches of texts of like length."""
        ordered = rows[np.argsort(self._lengths[rows], kind="stable")]
        for start in range(0, len(ordered), size):
            yield ordered[start : start + size]
