"""What joint training is measured on, as one small folder that a borrowed machine can read without the suite.

`texts.json.gz` (queries and documents), an npz a split (supervisions, truth, exposed slice; rows are places in
`texts.json.gz`) and the encoder, its weights in 16 bits and the word embeddings in 8 with a scale a row.
"""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from services.training.classifiers import LabelMatrix

_TEXTS, _WEIGHTS = "texts.json.gz", "weights.npz"
BOTH_TOWERS = "both"
"""Stands for the tower of what is the same for both."""
_ROWS_OF_8_BITS = 10_000
"""Matrices of at least so many rows are embeddings of words."""
_LEFT_OUT = ("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias")
"""Tensors that mean pooling does not read; the pooler is made anew and is not trained."""


@dataclass(frozen=True)
class Asked:
    """Queries to measure with."""

    rows: NDArray[np.int64]
    """Places in `texts.json.gz`."""
    truth: sp.csr_array
    """(queries, documents); no row is empty."""


@dataclass(frozen=True)
class Taught:
    """An arm's supervision."""

    rows: NDArray[np.int64]
    """Places of its queries in `texts.json.gz`."""
    labels: LabelMatrix


@dataclass(frozen=True)
class Texts:
    """All queries, and the documents as each tower reads them."""

    queries: Sequence[str]
    documents: Mapping[str, Sequence[str]]


class Split:
    """One split of the folder, opened."""

    def __init__(self, folder: Path, name: str, documents: int) -> None:
        self._arrays: Mapping[str, NDArray[Any]] = np.load(folder / f"{name}.npz")
        self._documents = documents

    def asked(self, part: str) -> Asked:
        """Return the queries of `test` or `validation`."""
        return Asked(*self._matrix(part, "truth"))

    def exposed(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the exposed pairs: places of queries, positions of documents."""
        return self._arrays["exposed/queries"], self._arrays["exposed/documents"]

    def taught(self, tower: str, arm: str) -> Taught | None:
        """Return what an arm learns from; None where it has no source."""
        names = (f"{tower}/{arm}", f"{BOTH_TOWERS}/{arm}")
        name = next((each for each in names if f"{each}/queries" in self._arrays), None)
        if name is None:
            return None
        rows, targets = self._matrix(name, "targets")
        _, weights = self._matrix(name, "weights")
        return Taught(rows, LabelMatrix(targets, weights))

    def _matrix(self, name: str, values: str) -> tuple[NDArray[np.int64], sp.csr_array]:
        rows, indptr, indices, data = (
            self._arrays[f"{name}/{part}"] for part in ("queries", "indptr", "indices", values)
        )
        shape = (len(rows), self._documents)
        matrix = sp.csr_array((data.astype(np.float32), indices, indptr), shape=shape)
        return rows.astype(np.int64), matrix


def read_texts(folder: Path) -> Texts:
    """Return the texts of a folder."""
    with gzip.open(folder / _TEXTS, "rt", encoding="utf-8") as file:
        found = json.load(file)
    return Texts(found["queries"], found["documents"])


def write_texts(folder: Path, texts: Texts) -> None:
    """Write the texts."""
    content = {"queries": list(texts.queries), "documents": dict(texts.documents)}
    with gzip.open(folder / _TEXTS, "wt", encoding="utf-8") as file:
        json.dump(content, file, ensure_ascii=False)


def write_split(folder: Path, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write the arrays that `Split` reads."""
    np.savez_compressed(folder / f"{name}.npz", **arrays)  # type: ignore[arg-type]  # numpy's stub


def arrays_of(
    name: str, rows: NDArray[np.int64], matrices: Mapping[str, sp.csr_array]
) -> dict[str, NDArray[Any]]:
    """Return rows and matrices of one structure under names NAME/..."""
    first = next(iter(matrices.values()))
    arrays: dict[str, NDArray[Any]] = {
        f"{name}/queries": rows.astype(np.int32),
        f"{name}/indptr": first.indptr.astype(np.int32),
        f"{name}/indices": first.indices.astype(np.int32),
    }
    return arrays | {
        f"{name}/{values}": matrix.data.astype(np.float16) for values, matrix in matrices.items()
    }


def pack_encoder(source: Path, target: Path, texts: Texts) -> None:
    """Write an encoder small: what is read of it, in 16 and 8 bits a number; words of no text are zeros."""
    target.mkdir(parents=True, exist_ok=True)
    everything = [*texts.queries, *(text for each in texts.documents.values() for text in each)]
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    read = np.unique([token for row in tokenizer.encode_batch(everything) for token in row.ids])
    arrays: dict[str, NDArray[Any]] = {}
    for name, tensor in load_file(source / "model.safetensors").items():
        if name in _LEFT_OUT:
            continue
        values = tensor.numpy()
        if len(values) < _ROWS_OF_8_BITS:
            arrays[name] = values.astype(np.float16)
            continue
        kept = np.zeros_like(values)
        kept[read] = values[read]
        values = kept
        scale = np.abs(values).max(axis=1, keepdims=True) / 127 + 1e-12
        arrays[f"{name}/scale"] = scale.astype(np.float32)
        arrays[f"{name}/8bit"] = np.round(values / scale).astype(np.int8)
    np.savez_compressed(target / _WEIGHTS, **arrays)  # type: ignore[arg-type]  # numpy's stub
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(source / name, target / name)


def unpack_encoder(packed: Path, target: Path) -> Path:
    """Write a Hugging Face style folder of float32 weights from `pack_encoder`'s; return it."""
    target.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, torch.Tensor] = {}
    with np.load(packed / _WEIGHTS) as arrays:
        for name in arrays.files:
            if name.endswith("/scale"):
                continue
            values = arrays[name].astype(np.float32)
            if name.endswith("/8bit"):
                values *= arrays[name.replace("/8bit", "/scale")]
            tensors[name.removesuffix("/8bit")] = torch.from_numpy(values)
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(packed / name, target / name)
    return target
