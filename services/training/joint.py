"""Train the sentence encoder and one classifier a document at once, each batch teaching both.

A batch's query embeddings go into two losses: the two towers' decoupled softmax over the batch's
documents (DEXML; batches clustered for hard negatives, NGAME), and binary cross-entropy over all
documents' classifiers (Renee), whose gradient is formed in place and handed to the encoder. AdamW for
the encoder, SGD with momentum for the classifiers, warm-up and cosine for both. Texts are cut into
tokens once and stay on the device, as labels and classifiers do. Processes that torchrun started share
each batch and take the steps that one alone would take.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

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
from services.training.classifier_head import ClassifierHead
from services.training.classifiers import LabelMatrix, learning_rate_factor
from services.training.device_labels import DeviceLabels
from services.training.dual_encoder import lessons_sha256
from services.training.joint_settings import JointSettings
from services.training.loss import decoupled_softmax
from services.training.query_batches import balanced_clusters, epoch_batches
from services.training.siamese import SiameseEncoder
from services.training.team import Team
from services.training.token_table import TokenTable
from shared.encoder_files import QUERY_TOKENS
from shared.errors import InvalidInput

ProgressWithNote = Callable[[int, int, str], None]
"""Called with (steps done, steps in all, the loss of late)."""
_TEXTS_AT_ONCE = 1_024
_LATELY = 25
"""Steps whose mean loss is told at once: reading a loss waits for the device."""


@dataclass(frozen=True)
class Lessons:
    """What is learned from, and how it was read: tokens and labels where the training runs."""

    source: Path
    """Hugging Face style folder of a BERT-like encoder with `tokenizer.json`."""
    queries: TokenTable
    labels: LabelMatrix
    """(queries, documents)."""
    documents: TokenTable
    sha256: str
    """Of weights, texts and labels."""


def read_lessons(
    source: Path,
    queries: Sequence[str],
    labels: LabelMatrix,
    documents: Sequence[str],
    settings: JointSettings,
    device: torch.device,
) -> Lessons:
    """Cut the texts into tokens and put them on the device.

    Raises:
        InvalidInput: no query has a label, or the labels do not fit the texts.
    """
    shape = (len(queries), len(documents))
    if labels.targets.shape != shape:
        raise InvalidInput(f"labels of shape {labels.targets.shape}, the texts are {shape}")
    if labels.targets.nnz == 0:
        raise InvalidInput("nothing to train on: no query has a click or a label")
    return Lessons(
        source,
        TokenTable(source, queries, QUERY_TOKENS, device),
        labels,
        TokenTable(source, documents, settings.document_tokens, device),
        lessons_sha256(source, queries, labels, documents),
    )


class JointTraining:
    """A training run: all that a checkpoint holds, and the model it ends with.

    Args:
        lessons: on the device of `team`.
        settings: hyper-parameters and seed.
        team: this process alone, or all that torchrun started.
    """

    def __init__(self, lessons: Lessons, settings: JointSettings, team: Team) -> None:
        self._lessons, self._settings, self._team = lessons, settings, team
        identity = json.dumps([lessons.sha256, asdict(settings), team.size])
        self._fingerprint = hashlib.sha256(identity.encode()).hexdigest()
        self.encoder = SiameseEncoder(lessons.source).to(team.device)
        self._start = {
            name: each.detach().clone() for name, each in self.encoder.trained().items()
        }
        self._end: dict[str, torch.Tensor] | None = None
        self._labels = DeviceLabels(lessons.labels, team.device)
        self.head = ClassifierHead(
            self.embedded(lessons.documents),
            settings.classifiers,
            queries=len(lessons.queries),
            documents_at_once=settings.documents_at_once,
        )
        self._end_of_head = self.head.vectors
        self._starts: tuple[torch.Tensor, torch.Tensor] | None = None
        if settings.guard_strength:
            self._starts = (self.embedded(lessons.queries), self.head.initial)
        self.encoder.train()
        self._shared: torch.nn.Module = self.encoder
        if team.size > 1:
            self._shared = torch.nn.parallel.DistributedDataParallel(self.encoder)
        self._optimizer = torch.optim.AdamW(
            self.encoder.trained().values(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=team.device.type == "cuda",
        )
        self._epoch_step = self._step = 0
        self._epoch = 0
        self._losses: list[float] = []
        """Means over `_LATELY` steps each."""
        self._unread: list[torch.Tensor] = []
        self._clusters: NDArray[np.int64] | None = None
        self._seconds_before, self._started = 0.0, time.monotonic()

    @property
    def data_sha256(self) -> str:
        """Return the hash of weights, texts and labels."""
        return self._lessons.sha256

    @property
    def losses(self) -> Sequence[float]:
        """Return the mean loss of each few steps, before these steps."""
        return self._losses

    @property
    def seconds(self) -> float:
        """Return how long it took, before a kill and since."""
        return self._seconds_before + time.monotonic() - self._started

    def resume(self, folder: Path) -> None:
        """Take up a run of the same lessons, settings and number of processes, if `folder` holds one."""
        saved = load(folder, self._fingerprint)
        if saved is None:
            return
        with torch.no_grad():
            for name, parameter in self.encoder.trained().items():
                parameter.copy_(saved.tensors[f"encoder/{name}"])
            self.head.vectors.copy_(saved.tensors["head/vectors"])
            self.head.velocity.copy_(saved.tensors["head/velocity"])
        restore_optimizer(self._optimizer, below("optimizer", saved.tensors))
        if "clusters" in saved.tensors:
            self._clusters = saved.tensors["clusters"].numpy()
        self._step, self._epoch = saved.facts["step"], saved.facts["epoch"]
        self._epoch_step, self._losses = saved.facts["epoch_step"], saved.facts["losses"]
        self._seconds_before = saved.facts["seconds"]

    def run(self, folder: Path | None = None, progress: ProgressWithNote | None = None) -> None:
        """Go on to the end.

        Args:
            folder: of checkpoints, gone at the end; none are written if absent.
            progress: told after every step, in the leading process.
        """
        while self._step < self._settings.steps:
            self._run_epoch(folder, progress if self._team.leads else None)
            self._epoch, self._epoch_step = self._epoch + 1, 0
        self._read_losses()
        self.encoder.eval()
        if folder is not None and self._team.leads:
            shutil.rmtree(folder, ignore_errors=True)

    @torch.no_grad()
    def embedded(self, texts: TokenTable) -> torch.Tensor:
        """Return (texts, dimensions) float32 unit vectors of the encoder as it is; each process does its share."""
        was_training = self.encoder.training
        self.encoder.eval()
        own = np.arange(len(texts))[self._team.share(len(texts))]
        width = self.encoder.transformer.config.hidden_size
        vectors = torch.empty(len(own), width, device=self._team.device)
        for rows in texts.batches(own, _TEXTS_AT_ONCE):
            places = torch.from_numpy(rows - own[0]).to(self._team.device)
            vectors[places] = self.encoder(texts.rows(rows))[0]
        self.encoder.train(was_training)
        return self._team.gathered(vectors, len(texts))

    @torch.no_grad()
    def stand_at(self, share: float) -> None:
        """Put encoder and classifiers `share` of the way from the start to where training led.

        Such averages of the weights before and after keep what the start knew (WiSE-FT, Wortsman et
        al. 2022).
        """
        if self._end is None:
            self._end = {name: each.clone() for name, each in self.encoder.trained().items()}
            self._end_of_head = self.head.vectors.clone()
        for name, parameter in self.encoder.trained().items():
            torch.lerp(self._start[name], self._end[name], share, out=parameter.data)
        torch.lerp(self.head.initial, self._end_of_head, share, out=self.head.vectors)

    def _run_epoch(self, folder: Path | None, progress: ProgressWithNote | None) -> None:
        settings = self._settings
        random = np.random.default_rng([settings.seed, self._epoch])
        if self._epoch_step == 0 and self._epoch % settings.cluster_epochs == 0:
            self._clusters = self._clustered()
        batches = epoch_batches(
            self._lessons.labels.targets,
            self._clusters,
            batch_size=settings.batch_size,
            pairs_per_query=settings.max_pairs_per_query,
            random_share=settings.random_share,
            random=random,
        )
        for pairs in batches[self._epoch_step : self._epoch_step + settings.steps - self._step]:
            self._unread.append(self._learn(pairs))
            self._step += 1
            self._epoch_step += 1
            if self._step % _LATELY == 0:
                self._read_losses()
            if progress is not None:
                lately = self._losses[-1] if self._losses else math.nan
                progress(self._step, settings.steps, f"loss {lately:.3f}")
            is_due = self._step % settings.checkpoint_steps == 0
            if folder is not None and is_due and self._team.leads:
                self._read_losses()
                self._save(folder)

    def _learn(self, pairs: NDArray[np.int64]) -> torch.Tensor:
        settings, team = self._settings, self._team
        # Drop-out depends on seed, step and process alone, so that a resumed run repeats it.
        torch.manual_seed(hash((settings.seed, self._step, team.rank)))
        factor = learning_rate_factor(self._step, settings.steps, settings.warmup_share)
        for group in self._optimizer.param_groups:
            group["lr"] = settings.learning_rate * factor
        queries, documents = np.unique(pairs[:, 0]), np.unique(pairs[:, 1])
        own = queries[team.share(len(queries))]
        own_documents = documents[team.share(len(documents))]
        vectors = self._shared(
            self._lessons.queries.rows(own), self._lessons.documents.rows(own_documents)
        )
        loss = settings.tower_weight * self._tower_loss(vectors, queries, documents)
        total = loss
        if settings.classifier_weight:
            of_queries, of_head = self.head.gradients(vectors[0].detach(), self._labels.of(own))
            # Its value means nothing; its gradient is the classifiers' own.
            handed = (vectors[0] * of_queries).sum() / len(queries)
            total = total + settings.classifier_weight * handed
            self.head.step(team.summed(of_head), len(queries), factor)
        if self._starts is not None:
            drift = self._drift(vectors, (own, own_documents))
            rows = len(queries) + len(documents)
            total = total + settings.guard_strength * drift / rows
        self._optimizer.zero_grad()
        # Each process has its own rows' gradient of the whole loss, and torch takes their mean.
        torch.autograd.backward(total * team.size)
        self._optimizer.step()
        return loss.detach()

    def _tower_loss(
        self,
        vectors: tuple[torch.Tensor, torch.Tensor],
        queries: NDArray[np.int64],
        documents: NDArray[np.int64],
    ) -> torch.Tensor:
        block = self._labels.block(self._labels.of(queries), len(queries), documents)
        similarities = (
            self._team.gathered(vectors[0], len(queries))
            @ self._team.gathered(vectors[1], len(documents)).T
        )
        return decoupled_softmax(
            similarities,
            block.is_positive,
            temperature=self._settings.temperature,
            targets=block.targets,
            weights=block.weights,
        )

    def _drift(
        self,
        vectors: tuple[torch.Tensor, torch.Tensor],
        rows: tuple[NDArray[np.int64], NDArray[np.int64]],
    ) -> torch.Tensor:
        """Return the sum over this process's rows of 1 - cosine to where they started."""
        assert self._starts is not None  # noqa: S101  (set where there is a guard)
        drifts = [
            (1 - (now * starts[torch.from_numpy(own).to(now.device)]).sum(dim=1)).sum()
            for now, starts, own in zip(vectors, self._starts, rows, strict=True)
        ]
        return torch.stack(drifts).sum()

    def _clustered(self) -> NDArray[np.int64] | None:
        """Cluster the queries by their embeddings as they are now."""
        if not self._settings.cluster_size:
            return None
        random = np.random.default_rng([self._settings.seed, self._epoch, 1])
        vectors = self.embedded(self._lessons.queries)
        clusters = balanced_clusters(vectors, self._settings.cluster_size, random)
        return self._team.told_by_leader(torch.from_numpy(clusters)).cpu().numpy()

    def _read_losses(self) -> None:
        if self._unread:
            self._losses.append(float(torch.stack(self._unread).mean()))
            self._unread.clear()

    def _save(self, folder: Path) -> None:
        tensors = {
            f"encoder/{name}": parameter.detach()
            for name, parameter in self.encoder.trained().items()
        } | {
            f"optimizer/{name}": tensor
            for name, tensor in optimizer_tensors(self._optimizer).items()
        }
        tensors |= {"head/vectors": self.head.vectors, "head/velocity": self.head.velocity}
        if self._clusters is not None:
            tensors["clusters"] = torch.from_numpy(self._clusters)
        facts = {
            "step": self._step,
            "epoch": self._epoch,
            "epoch_step": self._epoch_step,
            "losses": self._losses,
            "seconds": self.seconds,
        }
        save(folder, self._fingerprint, Saved(tensors, facts))
