"""What is chosen on the exposed slice beside the mixing weight: where training begins, and, if asked for, tau and passes.

For the last two each candidate is trained, and the one that ranks the slice best stays. Like the mixing weight, on pairs
that were shown whatever the log would have shown, and only where another is clearly better than what is usual; see
`guard.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.training.classifiers import Progress
from services.training.embeddings import CachedEncoder
from services.training.guard import ExposedSlice, choose, log_ranks
from services.training.supervision import Supervision
from services.training.train import (
    TrainedModel,
    TrainSettings,
    embed_documents,
    start_of,
    train,
)
from shared.contracts.document import Document
from shared.encoder_files import QUERY_TOKENS
from shared.errors import InvalidInput, NotFound

AS_GIVEN = "as given"
"""Name of the candidate with all labels and the usual passes."""


@dataclass(frozen=True)
class Choices:
    """What is tried beside what is given, one at a time."""

    taus: tuple[float, ...] = (0.75, 0.9)
    """Labels of a smaller similarity are left out."""
    epochs: tuple[int, ...] = (2, 12)
    """Passes over the training queries at most, whatever the bound on queries seen says."""


NO_CHOICES = Choices((), ())
"""Trains what is given and nothing else."""


class Candidate(NamedTuple):
    """One way to train."""

    name: str
    supervision: Supervision
    settings: TrainSettings


class Chosen(NamedTuple):
    """The best model, and the candidate it is of."""

    model: TrainedModel
    name: str


def candidates_of(
    learn: Callable[[float | None], Supervision], settings: TrainSettings, choices: Choices
) -> list[Candidate]:
    """Return what is given, then all that differs from it.

    Args:
        learn: returns what to learn from with the labels from a tau on; None is all of them.
        settings: of the training.
        choices: what is tried.
    """
    given = learn(None)
    found = [Candidate(AS_GIVEN, given, settings)]
    for tau in choices.taus:
        try:
            supervision = learn(tau)
        except (InvalidInput, NotFound):  # without those labels there is nothing to learn from
            continue
        if supervision.sha256 not in {each.supervision.sha256 for each in found}:
            found.append(Candidate(f"with tau {tau:g}", supervision, settings))
    usual = settings.classifiers.epochs_over(len(given.queries))
    for epochs in choices.epochs:
        if epochs != usual:
            passes = replace(settings.classifiers, epochs=epochs, fewest_epochs=epochs)
            passing = replace(settings, classifiers=passes)
            found.append(Candidate(f"with {epochs} epochs", given, passing))
    return found


def with_shares(
    candidates: Sequence[Candidate],
    documents: Sequence[Document],
    encoder: CachedEncoder,
    exposed: ExposedSlice,
) -> list[Candidate]:
    """Return the candidates, each with the share of synthetic queries in its start that ranks the slice best, untrained.

    Queries that know less of documents than their texts do (an SLM that saw titles only) lead the wrong way if they are
    most of the start, and training ends there. Tried are the guard's candidates as parts of the given share, none of it
    among them: embeddings are what training must not fall below. The best on the mean is taken, clearly or not, since a
    start costs no training. With too small a slice the share stays.

    Args:
        candidates: see `train_best`.
        documents: columns of the supervisions.
        encoder: of documents and queries.
        exposed: uniformly exposed pairs of validation queries.
    """
    return [
        candidate._replace(settings=_with_share(candidate, documents, encoder, exposed))
        for candidate in candidates
    ]


def _with_share(
    candidate: Candidate,
    documents: Sequence[Document],
    encoder: CachedEncoder,
    exposed: ExposedSlice,
) -> TrainSettings:
    _, supervision, settings = candidate
    given = settings.queries_share
    if (
        not supervision.synthetic
        or not given
        or len(exposed.documents) < settings.guard.fewest_pairs
    ):
        return settings
    described = embed_documents(documents, encoder, settings.tower)
    rows = encoder.encode(supervision.queries, max_tokens=QUERY_TOKENS)
    asked = encoder.encode(exposed.queries, max_tokens=QUERY_TOKENS)

    def _log_rank(share: float) -> float:
        start, _ = start_of(described, rows, supervision, share)
        return float(log_ranks(start, asked, exposed.documents).mean())

    shares = sorted({part * given for part in settings.guard.candidates} | {given}, reverse=True)
    return replace(settings, queries_share=min(shares, key=_log_rank))


def train_best(
    documents: Sequence[Document],
    candidates: Sequence[Candidate],
    encoder: CachedEncoder,
    exposed: ExposedSlice,
    progress: Progress | None = None,
    *,
    checkpoint: Path | None = None,
) -> Chosen:
    """Train the candidates one after the other and keep the best; with too small a slice only the first.

    Args:
        documents: columns of the supervisions.
        candidates: the first stays unless another is better by more than the guard's standard errors.
        encoder: stays as it is.
        exposed: uniformly exposed pairs of validation queries.
        progress: told of the steps of all.
        checkpoint: see `train`; of the candidate under way, those before it are trained again.
    """
    guard = candidates[0].settings.guard
    if len(exposed.documents) < guard.fewest_pairs:
        candidates = candidates[:1]
    asked = encoder.encode(exposed.queries, max_tokens=QUERY_TOKENS)
    ranks: dict[str, NDArray[np.float64]] = {}

    def _trained(number: int) -> Chosen:
        name, supervision, settings = candidates[number]
        part = _part_of(progress, number, len(candidates))
        model = train(
            documents, supervision, encoder, settings, exposed, part, checkpoint=checkpoint
        )
        ranks[name] = log_ranks(model.vectors, asked, exposed.documents)
        return Chosen(model, name)

    best = _trained(0)
    for number in range(1, len(candidates)):
        chosen = _trained(number)
        if choose(ranks, candidates[0].name, guard) == chosen.name:
            best = chosen
    return best


def _part_of(progress: Progress | None, number: int, parts: int) -> Progress | None:
    """Return what tells of one of several trainings as a part of all."""
    if progress is None:
        return None
    return lambda done, total: progress(number * total + done, parts * total)
