"""One classifier a document over frozen query embeddings: binary cross-entropy over all documents.

The recipe is Renee's (Jain et al., MLSys 2023), as its paper tells it: document texts as additional
training queries, start from the document's embedding, SGD with momentum, warm-up and cosine, the
gradient formed in place. With frozen embeddings the documents do not depend on each other, so they
are trained a chunk at a time and memory stays flat however many there are. Past
`shortlist_documents` a batch learns from the documents near its queries and random ones instead.
"""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from services.training.checkpoint import Saved, load, save
from services.training.loss import Positives, binary_cross_entropy_gradient_
from services.training.shortlist import NearestDocuments, SparseMomentum, draw_shortlist

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


@dataclass(frozen=True)
class ClassifierSettings:
    """Hyper-parameters, chosen on the complete truth of validation queries of `things`."""

    epochs: int = 6
    """Most passes over the training queries."""
    queries_seen: int = 300_000
    """Past so many queries in all passes there are fewer passes, as few as `fewest_epochs`: with tens of
    thousands of synthetic queries three pass for six."""
    fewest_epochs: int = 2
    batch_size: int = 128
    learning_rate: float = 0.1
    momentum: float = 0.9
    warmup_share: float = 0.1
    scale: float = 20.0
    """logit = scale x (query . vector - threshold)."""
    threshold: float = 0.5
    """The inner product at which a document counts as likely as not."""
    pull: float = 40.0
    """Strength of the pull towards the initial vector, in training queries."""
    seed: int = 0
    documents_per_chunk: int = 4_096
    """Documents trained at once: bounds memory, and changes no result."""
    shortlist_documents: int = 150_000
    """Above so many documents, batches learn from shortlists."""
    shortlist_nearest: int = 100
    """Documents nearest to each query of a batch that are on its shortlist."""
    shortlist_random: int = 2_000
    """Random documents on it."""
    shortlist_epochs: int = 2
    """Epochs after which nearness is that of the vectors as they are then."""

    def epochs_over(self, queries: int) -> int:
        """Return how many passes are made over so many training queries."""
        affordable = max(self.fewest_epochs, round(self.queries_seen / queries))
        return min(self.epochs, affordable)


@dataclass(frozen=True)
class LabelMatrix:
    """What the queries are labelled with: two CSR matrices of one structure, (queries, documents)."""

    targets: sp.csr_array
    """float32 in [0, 1]."""
    weights: sp.csr_array
    """float32: how much each labelled pair counts."""


def train_classifiers(
    queries: NDArray[np.float32],
    labels: LabelMatrix,
    initial: NDArray[np.float32],
    settings: ClassifierSettings,
    progress: Progress | None = None,
    *,
    checkpoint: Path | None = None,
    device: torch.device | None = None,
) -> NDArray[np.float32]:
    """Return the (documents, dimensions) float32 classifiers. The same input gives the same output.

    Args:
        queries: (queries, dimensions) float32 embeddings, at least one.
        labels: one row a query, one column a document.
        initial: (documents, dimensions) float32 vectors to start from and to stay near.
        settings: hyper-parameters.
        progress: told after every epoch of every chunk, or of the shortlists.
        checkpoint: folder for what is done so far, from which a killed run of the same input goes on;
            gone at the end.
        device: of the work, unless there are shortlists; the CPU if absent.
    """
    progress = progress or (lambda done, total: None)
    fingerprint = _fingerprint(queries, labels, initial, settings) if checkpoint else ""
    files = _Files(checkpoint, fingerprint)
    if len(initial) > settings.shortlist_documents:
        vectors = _train_shortlisted(queries, labels, initial, settings, progress, files)
    else:
        vectors = _train_chunked(queries, labels, initial, settings, progress, files, device)
    files.remove()
    return vectors


@dataclass(frozen=True)
class _Files:
    """Where a run is saved; nowhere if `folder` is None."""

    folder: Path | None
    fingerprint: str

    def save(self, done: int, **arrays: torch.Tensor) -> None:
        if self.folder is not None:
            save(self.folder, self.fingerprint, Saved(arrays, {"done": done}))

    def load(self) -> Saved | None:
        return None if self.folder is None else load(self.folder, self.fingerprint)

    def remove(self) -> None:
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def _train_chunked(
    queries: NDArray[np.float32],
    labels: LabelMatrix,
    initial: NDArray[np.float32],
    settings: ClassifierSettings,
    progress: Progress,
    files: _Files,
    device: torch.device | None,
) -> NDArray[np.float32]:
    rows = torch.from_numpy(queries).to(device)
    vectors = np.empty_like(initial)
    starts = range(0, len(initial), settings.documents_per_chunk)
    epochs = settings.epochs_over(len(queries))
    columns = LabelMatrix(labels.targets.tocsc(), labels.weights.tocsc())
    done = 0
    if saved := files.load():
        done = saved.facts["done"]
        finished = saved.tensors["vectors"].numpy()
        vectors[: len(finished)] = finished
    for number, start in enumerate(starts[done:], start=done):
        chunk = slice(start, start + settings.documents_per_chunk)
        chunk_labels = LabelMatrix(
            columns.targets[:, chunk].tocsr(), columns.weights[:, chunk].tocsr()
        )

        def _tell(epoch: int, number: int = number) -> None:
            progress(number * epochs + epoch, epochs * len(starts))

        trained = _train_chunk(
            rows, chunk_labels, torch.from_numpy(initial[chunk]).to(device), settings, _tell
        )
        vectors[chunk] = trained.cpu().numpy()
        files.save(number + 1, vectors=torch.from_numpy(vectors[: chunk.stop]))
    return vectors


def _train_shortlisted(
    queries: NDArray[np.float32],
    labels: LabelMatrix,
    initial: NDArray[np.float32],
    settings: ClassifierSettings,
    progress: Progress,
    files: _Files,
) -> NDArray[np.float32]:
    optimizer = SparseMomentum(
        torch.from_numpy(initial),
        momentum=settings.momentum,
        pull=settings.pull / len(queries),
    )
    everything = torch.arange(len(initial))
    bias = torch.tensor(-settings.scale * settings.threshold)
    steps_in_epoch = math.ceil(len(queries) / settings.batch_size)
    epochs = settings.epochs_over(len(queries))
    steps = epochs * steps_in_epoch
    near_vectors, done = initial, 0
    if saved := files.load():
        done = saved.facts["done"]
        optimizer.restore(
            saved.tensors["vectors"], saved.tensors["velocity"], done * steps_in_epoch
        )
        near_vectors = saved.tensors["near_vectors"].numpy()
    nearest = NearestDocuments(near_vectors)
    for epoch in range(done, epochs):
        if epoch and epoch % settings.shortlist_epochs == 0:
            near_vectors = optimizer.vectors.numpy().copy()
            nearest = NearestDocuments(near_vectors)
        random = np.random.default_rng([settings.seed, epoch])
        batches = np.array_split(random.permutation(len(queries)), steps_in_epoch)
        for step, batch in enumerate(batches, start=epoch * steps_in_epoch):
            rate = settings.learning_rate * learning_rate_factor(
                step, steps, settings.warmup_share
            )
            near = np.union1d(
                nearest.of(queries[batch], settings.shortlist_nearest),
                labels.targets[batch].indices,
            )
            shortlist = draw_shortlist(near, len(initial), settings.shortlist_random, random)
            rows = torch.from_numpy(shortlist)
            optimizer.catch_up(rows, step, rate)
            embeddings = torch.from_numpy(queries[batch])
            logits = torch.addmm(bias, embeddings, optimizer.vectors[rows].T, alpha=settings.scale)
            positives = _positives(labels, batch, among=shortlist)
            gradient = binary_cross_entropy_gradient_(logits, positives)
            optimizer.step(rows, gradient.T @ embeddings * (settings.scale / len(batch)), rate)
        optimizer.catch_up(everything, (epoch + 1) * steps_in_epoch, rate)
        files.save(
            epoch + 1,
            vectors=optimizer.vectors,
            velocity=optimizer.velocity,
            near_vectors=torch.from_numpy(near_vectors),
        )
        progress(epoch + 1, epochs)
    return optimizer.vectors.numpy()


def _train_chunk(
    queries: torch.Tensor,
    labels: LabelMatrix,
    initial: torch.Tensor,
    settings: ClassifierSettings,
    tell: Callable[[int], None],
) -> torch.Tensor:
    vectors, velocity = initial.clone(), torch.zeros_like(initial)
    bias = initial.new_tensor(-settings.scale * settings.threshold)
    pull = settings.pull / len(queries)
    random = np.random.default_rng(settings.seed)
    steps_in_epoch = math.ceil(len(queries) / settings.batch_size)
    epochs = settings.epochs_over(len(queries))
    step = 0
    for epoch in range(epochs):
        for batch in np.array_split(random.permutation(len(queries)), steps_in_epoch):
            rate = settings.learning_rate * learning_rate_factor(
                step, epochs * steps_in_epoch, settings.warmup_share
            )
            step += 1
            embeddings = queries[torch.from_numpy(batch).to(queries.device)]
            logits = torch.addmm(bias, embeddings, vectors.T, alpha=settings.scale)
            positives = _positives(labels, batch).to(queries.device)
            gradient = binary_cross_entropy_gradient_(logits, positives)
            velocity.mul_(settings.momentum)
            velocity.addmm_(gradient.T, embeddings, alpha=settings.scale / len(batch))
            velocity.add_(vectors - initial, alpha=pull)
            vectors.add_(velocity, alpha=-rate)
        tell(epoch + 1)
    return vectors


def learning_rate_factor(step: int, steps: int, warmup_share: float) -> float:
    """Return the share of the learning rate at `step` of `steps`: up in a line, down in a cosine."""
    warmup = warmup_share * steps
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1.0, steps - warmup)))


def _positives(
    labels: LabelMatrix, batch: NDArray[np.int64], among: NDArray[np.int64] | None = None
) -> Positives:
    """Return the labels of a batch; `among` are the columns' documents, all labelled ones included."""
    targets, weights = labels.targets[batch], labels.weights[batch]
    rows = np.repeat(np.arange(len(batch)), np.diff(targets.indptr))
    columns = targets.indices if among is None else np.searchsorted(among, targets.indices)
    return Positives(
        rows=torch.from_numpy(rows),
        columns=torch.from_numpy(columns.astype(np.int64)),
        targets=torch.from_numpy(targets.data),
        weights=torch.from_numpy(weights.data),
    )


def _fingerprint(
    queries: NDArray[np.float32],
    labels: LabelMatrix,
    initial: NDArray[np.float32],
    settings: ClassifierSettings,
) -> str:
    digest = hashlib.sha256(repr(asdict(settings)).encode())
    targets = labels.targets
    for array in (queries, initial, targets.indptr, targets.indices, targets.data):
        digest.update(np.ascontiguousarray(array).data)
    digest.update(labels.weights.data.tobytes())
    return digest.hexdigest()
