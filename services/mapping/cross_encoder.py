"""A cross-encoder as ONNX: reads a train query and a document together and says how well they fit."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from shared.contracts.mapping import MapDocument
from shared.dataset import Query
from shared.errors import Damaged, NotFound

NAMES = ("cross_encoder",)
FOLDER = "cross_encoder"
"""Beside an index: the one that its calibration was fitted with."""
_MODEL, _TOKENIZER = "model.onnx", "tokenizer.json"
_TOKENS, _BATCH = 160, 16


class CrossEncoderScorer:
    """Verifies the likeliest candidates of a document. Safe to call from several threads.

    It costs a forward pass a pair, so only the first of a document's candidates are read; the calibration
    knows that of the others nothing is known.

    Args:
        folder: holds `model.onnx` (inputs input_ids, attention_mask and, if it has any, token_type_ids: (pairs, length)
            int64; first output (pairs, 1) logits) and `tokenizer.json`, as Hugging Face exports write them.
        most_pairs: candidates read of a document.

    Raises:
        NotFound: a file is missing.
        Damaged: the graph is no cross-encoder of one logit.
    """

    names = NAMES

    def __init__(self, folder: Path, *, most_pairs: int = 32) -> None:
        self.name = name_of(folder)
        self._most_pairs = most_pairs
        self._tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
        self._tokenizer.encode_special_tokens = True  # a text's "[SEP]" is text, not a token
        self._tokenizer.enable_truncation(_TOKENS, strategy="only_second")
        self._tokenizer.no_padding()
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(
            str(folder / _MODEL), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = {each.name for each in self._session.get_inputs()}
        known = {"input_ids", "attention_mask", "token_type_ids"}
        shape = self._session.get_outputs()[0].shape
        if not {"input_ids", "attention_mask"} <= self._inputs <= known or shape[1:] != [1]:
            raise Damaged(
                f"{folder / _MODEL}: takes {sorted(self._inputs)} and gives {shape}; expected a "
                "cross-encoder that gives (pairs, 1)"
            )

    def scores(self, document: MapDocument, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Return (queries, 1) float32 logits, NaN for all but the first; without a text it has no opinion."""
        scores = np.full((len(queries), 1), np.nan, dtype=np.float32)
        if not document.text:
            return scores
        chosen = queries[: self._most_pairs]
        pairs = [(query.text, document.text) for query in chosen]
        rows: list[Encoding] = self._tokenizer.encode_batch(pairs)
        by_length = sorted(range(len(rows)), key=lambda row: len(rows[row].ids))
        for start in range(0, len(by_length), _BATCH):
            batch = by_length[start : start + _BATCH]
            scores[batch, 0] = self._logits([rows[row] for row in batch])
        return scores

    def _logits(self, rows: Sequence[Encoding]) -> NDArray[np.float32]:
        length = max(len(row.ids) for row in rows)
        arrays = {name: np.zeros((len(rows), length), dtype=np.int64) for name in self._inputs}
        for place, row in enumerate(rows):
            parts = (row.ids, row.attention_mask, row.type_ids)
            for name, part in zip(
                ("input_ids", "attention_mask", "token_type_ids"), parts, strict=True
            ):
                if name in arrays:
                    arrays[name][place, : len(part)] = part
        logits: NDArray[np.float32] = self._session.run(None, arrays)[0]
        return logits[:, 0]


def name_of(folder: Path) -> str:
    """Return the first digits of the sha256 of a cross-encoder's graph.

    Raises:
        NotFound: a file is missing.
    """
    missing = next((each for each in (_MODEL, _TOKENIZER) if not (folder / each).is_file()), None)
    if missing is not None:
        raise NotFound(f"{folder / missing}: no such file; expected a cross-encoder in ONNX")
    with (folder / _MODEL).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def keep_cross_encoder(index: Path, source: Path) -> Path:
    """Copy a cross-encoder beside an index, under its name; return the copy."""
    target = index / FOLDER / name_of(source)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".new-") as scratch:
            copied = Path(scratch) / "copy"
            copied.mkdir()
            for name in (_MODEL, _TOKENIZER):
                shutil.copyfile(source / name, copied / name)
            copied.rename(target)
    return target
