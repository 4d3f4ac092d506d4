"""Fine-tune the sentence encoder on labelled queries, as a dual encoder (siamese: one set of weights).

Mean pooling and unit length as at serving, in-batch documents as negatives with every known positive
masked out of them, hard ones by clustered batches (NGAME), AdamW, warm-up and cosine, held near the
start. The result is a Hugging Face style folder that `encoder_export.export_encoder` takes. Started by
torchrun, the processes share each batch and take the steps that one alone would take.
"""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from services.training.checkpoint import (
    Saved,
    below,
    load,
    optimizer_tensors,
    restore_optimizer,
    save,
)
from services.training.classifiers import LabelMatrix, learning_rate_factor
from services.training.loss import decoupled_softmax, in_batch_softmax
from services.training.model_sources import sha256_of
from services.training.query_batches import (
    Block,
    balanced_clusters,
    batches_in_epoch,
    block_of,
    epoch_batches,
)
from services.training.siamese import SiameseEncoder, TextTokenizer, Tokens
from services.training.team import Team, joined_team
from shared.encoder_files import DESCRIPTION_TOKENS, QUERY_TOKENS, TOKENIZER
from shared.errors import InvalidInput, NotFound

ProgressWithNote = Callable[[int, int, str], None]
"""Called with (steps done, steps in all, the loss of late)."""
_TEXTS_AT_ONCE = 256
_LATELY = 50
"""Steps whose mean loss progress shows."""


@dataclass(frozen=True)
class DualEncoderSettings:
    """Hyper-parameters of a short fine-tune."""

    loss: Literal["decoupled", "in_batch"] = "decoupled"
    """decoupled: every label in the batch is a positive. in_batch: the drawn pairs are, both ways."""
    epochs: int = 1
    batch_size: int = 64
    """Pairs of a batch, over all processes."""
    learning_rate: float = 2e-5
    weight_decay: float = 0.01
    warmup_share: float = 0.1
    temperature: float = 0.05
    max_pairs_per_query: int = 8
    """Pairs of one query seen in an epoch: broad queries would drown the others."""
    document_tokens: int = DESCRIPTION_TOKENS
    """As many as are read of a document; of a query `QUERY_TOKENS`."""
    cluster_size: int = 16
    """Similar queries that share a batch; 0 leaves all batches random."""
    cluster_epochs: int = 2
    """Epochs after which the clusters are made anew."""
    random_share: float = 0.5
    """Share of the queries that are batched at random all the same."""
    guard: Literal["none", "parameters", "embeddings"] = "none"
    """What is held near the start: the parameters (L2), or the batch's embeddings (cosine)."""
    guard_strength: float = 1.0
    """parameters: as a weight decay towards the start. embeddings: times 1 - cosine, in the loss."""
    trained_layers: int | None = None
    """Upper layers that learn; None is all of them and the word embeddings."""
    checkpoint_steps: int = 100
    seed: int = 0


@dataclass(frozen=True)
class DualEncoderReport:
    """What a run did."""

    losses: list[float]
    """Mean loss of each epoch, before the step."""
    pairs: int
    steps: int
    seconds: float
    """Of training, those before a kill included."""
    data_sha256: str
    """Of the source's weights, the texts and the labels."""


def fine_tune(
    source: Path,
    queries: Sequence[str],
    labels: LabelMatrix,
    documents: Sequence[str],
    target: Path,
    settings: DualEncoderSettings,
    progress: ProgressWithNote | None = None,
) -> DualEncoderReport:
    """Train on the labelled pairs and write the encoder to `target`, whole or not at all.

    Beside the weights stands `training.json`: settings, seed, data hash and losses. A run that was
    killed goes on from its last checkpoint (`target` with `.checkpoint` behind it) if source, data,
    settings and number of processes are the same, and ends with the same weights.

    Args:
        source: Hugging Face style folder of a BERT-like encoder with `tokenizer.json`.
        queries: text of each row; those without a label are not read.
        labels: (queries, documents).
        documents: text of each column, as it will be embedded.
        target: replaced if it exists.
        settings: hyper-parameters and seed.
        progress: told after every step, in the leading process.

    Raises:
        NotFound: `source` holds no encoder.
        InvalidInput: no query has a label, the labels do not fit the texts, or a setting the encoder.
    """
    if not (source / TOKENIZER).exists():
        raise NotFound(f"{source}: no encoder with {TOKENIZER} here")
    shape = (len(queries), len(documents))
    if labels.targets.shape != shape:
        raise InvalidInput(f"labels of shape {labels.targets.shape}, the texts are {shape}")
    if labels.targets.nnz == 0:
        raise InvalidInput("nothing to train on: no query has a click or a label")
    folder = target.with_name(f"{target.name}.checkpoint")
    with joined_team() as team:
        run = _Run(source, queries, labels, documents, settings, team)
        run.resume(folder)
        run.train(folder, progress if team.leads else None)
        report = run.report()
        if team.leads:
            record = {"settings": asdict(settings), "report": asdict(report)}
            run.encoder.save(source, target, json.dumps(record, indent=2) + "\n")
            shutil.rmtree(folder, ignore_errors=True)
        team.wait()
    return report


class _Run:
    """The state of a training run: everything that a checkpoint holds."""

    def __init__(
        self,
        source: Path,
        queries: Sequence[str],
        labels: LabelMatrix,
        documents: Sequence[str],
        settings: DualEncoderSettings,
        team: Team,
    ) -> None:
        labelled = np.flatnonzero(np.diff(labels.targets.indptr)).tolist()
        self._queries = [queries[row] for row in labelled]
        self._labels = LabelMatrix(labels.targets[labelled], labels.weights[labelled])
        self._documents, self._settings, self._team = documents, settings, team
        self._data_sha256 = lessons_sha256(source, self._queries, self._labels, documents)
        identity = json.dumps([self._data_sha256, asdict(settings), team.size])
        self._fingerprint = hashlib.sha256(identity.encode()).hexdigest()
        self.encoder = SiameseEncoder(source, settings.trained_layers).to(team.device).train()
        self._start: SiameseEncoder | None = None
        if settings.guard != "none":
            self._start = copy.deepcopy(self.encoder).requires_grad_(requires_grad=False).eval()
        self._shared: torch.nn.Module = self.encoder
        if team.size > 1:
            self._shared = torch.nn.parallel.DistributedDataParallel(self.encoder)
        self._tokenizer = TextTokenizer(source, team.device)
        self._optimizer = torch.optim.AdamW(
            self.encoder.trained().values(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
        )
        self._steps_in_epoch = batches_in_epoch(
            self._labels.targets, settings.batch_size, settings.max_pairs_per_query
        )
        self._steps = settings.epochs * self._steps_in_epoch
        self._step = 0
        self._losses: list[float] = []
        """Of every step."""
        self._clusters: NDArray[np.int64] | None = None
        self._seconds_before, self._started = 0.0, time.monotonic()

    def resume(self, folder: Path) -> None:
        """Take up a run of the same fingerprint, if `folder` holds one."""
        saved = load(folder, self._fingerprint)
        if saved is None:
            return
        with torch.no_grad():
            for name, parameter in self.encoder.trained().items():
                parameter.copy_(saved.tensors[f"encoder/{name}"])
        restore_optimizer(self._optimizer, below("optimizer", saved.tensors))
        if "clusters" in saved.tensors:
            self._clusters = saved.tensors["clusters"].numpy()
        self._step, self._losses = saved.facts["step"], saved.facts["losses"]
        self._seconds_before = saved.facts["seconds"]

    def train(self, folder: Path, progress: ProgressWithNote | None) -> None:
        """Go on to the end."""
        while self._step < self._steps:
            epoch, done = divmod(self._step, self._steps_in_epoch)
            random = np.random.default_rng([self._settings.seed, epoch])
            if done == 0 and epoch % self._settings.cluster_epochs == 0:
                self._clusters = self._clustered(epoch)
            batches = epoch_batches(
                self._labels.targets,
                self._clusters,
                batch_size=self._settings.batch_size,
                pairs_per_query=self._settings.max_pairs_per_query,
                random_share=self._settings.random_share,
                random=random,
            )
            for pairs in batches[done:]:
                self._losses.append(self._learn(block_of(self._labels, pairs)))
                self._step += 1
                if progress is not None:
                    progress(
                        self._step, self._steps, f"loss {np.mean(self._losses[-_LATELY:]):.3f}"
                    )
                is_due = self._step % self._settings.checkpoint_steps == 0
                if is_due and self._step < self._steps and self._team.leads:
                    self._save(folder)

    def report(self) -> DualEncoderReport:
        """Return what was done."""
        epochs = np.array(self._losses).reshape(self._settings.epochs, self._steps_in_epoch)
        return DualEncoderReport(
            losses=epochs.mean(axis=1).tolist(),
            pairs=int(self._labels.targets.nnz),
            steps=self._steps,
            seconds=round(self._seconds(), 1),
            data_sha256=self._data_sha256,
        )

    def _learn(self, block: Block) -> float:
        # Drop-out depends on seed, step and process alone, so that a resumed run repeats it.
        torch.manual_seed(hash((self._settings.seed, self._step, self._team.rank)))
        rate = self._settings.learning_rate * learning_rate_factor(
            self._step, self._steps, self._settings.warmup_share
        )
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        query_rows, document_rows = (
            rows[self._team.share(len(rows))] for rows in (block.queries, block.documents)
        )
        tokens = (
            self._tokenizer([self._queries[row] for row in query_rows], QUERY_TOKENS),
            self._tokenizer(
                [self._documents[row] for row in document_rows], self._settings.document_tokens
            ),
        )
        queries, documents = self._shared(*tokens)
        loss = self._loss(
            self._team.gathered(queries, len(block.queries))
            @ self._team.gathered(documents, len(block.documents)).T,
            block,
        )
        total = loss
        if self._settings.guard == "embeddings":
            drift = self._drift(tokens, (queries, documents))
            rows = len(block.queries) + len(block.documents)
            total = loss + self._settings.guard_strength * drift / rows
        self._optimizer.zero_grad()
        # Each process has its own rows' gradient of the whole loss, and torch takes their mean.
        torch.autograd.backward(total * self._team.size)
        self._optimizer.step()
        if self._settings.guard == "parameters":
            self._pull_to_start(rate * self._settings.guard_strength)
        return loss.item()

    def _loss(self, similarities: torch.Tensor, block: Block) -> torch.Tensor:
        is_positive = torch.from_numpy(block.is_positive)
        targets, weights = torch.from_numpy(block.targets), torch.from_numpy(block.weights)
        temperature = self._settings.temperature
        if self._settings.loss == "decoupled":
            return decoupled_softmax(
                similarities,
                is_positive,
                temperature=temperature,
                targets=targets,
                weights=weights,
            )
        return in_batch_softmax(
            similarities,
            is_positive,
            torch.from_numpy(block.is_drawn),
            temperature=temperature,
            targets=targets,
            weights=weights,
        )

    def _drift(
        self, tokens: tuple[Tokens, ...], vectors: tuple[torch.Tensor, ...]
    ) -> torch.Tensor:
        """Return the sum over this process's rows of 1 - cosine to where they started."""
        assert self._start is not None  # noqa: S101  (set where there is a guard)
        with torch.no_grad():
            starts = self._start(*tokens)
        drifts = [
            (1 - (now * then).sum(dim=1)).sum() for now, then in zip(vectors, starts, strict=True)
        ]
        return torch.stack(drifts).sum()

    @torch.no_grad()
    def _pull_to_start(self, share: float) -> None:
        assert self._start is not None  # noqa: S101  (set where there is a guard)
        starts = dict(self._start.transformer.named_parameters())
        for name, parameter in self.encoder.trained().items():
            parameter.lerp_(starts[name], share)

    @torch.no_grad()
    def _clustered(self, epoch: int) -> NDArray[np.int64] | None:
        """Cluster the queries by their embeddings as they are now."""
        if not self._settings.cluster_size:
            return None
        self.encoder.eval()
        share = self._team.share(len(self._queries))
        own = self._queries[share]
        vectors = torch.cat(
            [
                self.encoder(self._tokenizer(own[at : at + _TEXTS_AT_ONCE], QUERY_TOKENS))[0]
                for at in range(0, max(len(own), 1), _TEXTS_AT_ONCE)
            ]
        )
        self.encoder.train()
        everyone = self._team.gathered(vectors, len(self._queries))
        random = np.random.default_rng([self._settings.seed, epoch, 1])
        clusters = balanced_clusters(everyone, self._settings.cluster_size, random)
        return self._team.told_by_leader(torch.from_numpy(clusters)).cpu().numpy()

    def _seconds(self) -> float:
        return self._seconds_before + time.monotonic() - self._started

    def _save(self, folder: Path) -> None:
        tensors = {
            f"encoder/{name}": parameter.detach()
            for name, parameter in self.encoder.trained().items()
        } | {
            f"optimizer/{name}": tensor
            for name, tensor in optimizer_tensors(self._optimizer).items()
        }
        if self._clusters is not None:
            tensors["clusters"] = torch.from_numpy(self._clusters)
        facts = {"step": self._step, "losses": self._losses, "seconds": self._seconds()}
        save(folder, self._fingerprint, Saved(tensors, facts))


def lessons_sha256(
    source: Path, queries: Sequence[str], labels: LabelMatrix, documents: Sequence[str]
) -> str:
    """Return the hash of an encoder's weights and of all it learns from."""
    digest = hashlib.sha256()
    for path in sorted(source.glob("*.safetensors")):
        digest.update(sha256_of(path).encode())
    digest.update(json.dumps([list(queries), list(documents)]).encode())
    for part in (labels.targets.indptr, labels.targets.indices):
        digest.update(part.astype(np.int64).tobytes())
    for values in (labels.targets.data, labels.weights.data):
        digest.update(values.tobytes())
    return digest.hexdigest()
