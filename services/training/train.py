"""A supervision in, one vector a document out: what evaluation compares and publishing serves."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.training.classifiers import ClassifierSettings, Progress, train_classifiers
from services.training.embeddings import CachedEncoder
from services.training.guard import (
    NOT_EXPOSED,
    ExposedSlice,
    GuardSettings,
    choose_weight,
    mix,
)
from services.training.joint_settings import JointSettings
from services.training.labels import LabelUse
from services.training.supervision import Supervision
from shared.bundle import Counts
from shared.cold_start import ColdStart, Tower, cold_start_of, start_parts
from shared.contracts.document import Document
from shared.dataset import Query
from shared.encoder_files import QUERY_TOKENS


@dataclass(frozen=True)
class TrainSettings:
    """How a model is trained."""

    tower: Tower = "metadata"
    """What the documents' embeddings are made of: titles, or titles, texts and metadata."""
    classifiers: ClassifierSettings = field(default_factory=ClassifierSettings)
    labels: LabelUse = field(default_factory=LabelUse)
    """What an augmented label is worth when the supervision is made."""
    guard: GuardSettings = field(default_factory=GuardSettings)
    queries_share: float = 0.65
    """Of the mean synthetic query in the vector that training begins from, where synthetic queries are learned."""
    joint: JointSettings | None = None
    """How encoder and classifiers learn together; None trains classifiers over the encoder as it is."""


@dataclass(frozen=True)
class TrainedModel:
    """A model and where it came from."""

    vectors: NDArray[np.float32]
    """(documents, dimensions) float32; a query's score of a document is the inner product."""
    mixing_weight: float
    """Share of the trained classifiers in `vectors`; 0 is zero-shot."""
    counts: Counts
    settings: TrainSettings
    data_sha256: str
    """Of the documents and the supervision."""
    encoder: str
    cold_start: ColdStart
    """How a document that training did not see becomes a vector that may stand beside these."""


def train(
    documents: Sequence[Document],
    supervision: Supervision,
    encoder: CachedEncoder,
    settings: TrainSettings,
    exposed: ExposedSlice = NOT_EXPOSED,
    progress: Progress | None = None,
    *,
    checkpoint: Path | None = None,
) -> TrainedModel:
    """Train on a supervision; the exposed slice only chooses the mixing weight.

    Args:
        documents: columns of the supervision.
        supervision: all that is learned from.
        encoder: stays as it is.
        settings: what to train and how.
        exposed: uniformly exposed pairs of validation queries; empty keeps the default weight.
        progress: told after every epoch of every chunk of documents.
        checkpoint: folder of what is done so far; a killed run of the same input goes on from it.
    """
    described = embed_documents(documents, encoder, settings.tower)
    rows = encoder.encode(supervision.queries, max_tokens=QUERY_TOKENS)
    start, has_queries = start_of(described, rows, supervision, settings.queries_share)
    classifiers = train_classifiers(
        rows,
        supervision.labels,
        start,
        settings.classifiers,
        progress,
        checkpoint=checkpoint,
    )
    weight = choose_weight(
        classifiers,
        start,
        encoder.encode(exposed.queries, max_tokens=QUERY_TOKENS),
        exposed.documents,
        settings.guard,
    )
    vectors = mix(classifiers, start, weight)
    cold_start = cold_start_of(settings.tower)
    if has_queries.any():
        shift = (vectors - start)[has_queries].mean(axis=0, dtype=np.float64)
        more = {"queries_share": settings.queries_share, "shift": shift.tolist()}
        cold_start = cold_start.model_copy(update=more)
    return model_of(documents, supervision, vectors, weight, settings, encoder.name, cold_start)


def start_of(
    described: NDArray[np.float32],
    rows: NDArray[np.float32],
    supervision: Supervision,
    share: float,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the (documents, dimensions) float32 unit vectors that training begins from, and which have queries in them.

    Not of the paper, which begins from embeddings (section 3.3); figures in `services/README.md`.

    Args:
        described: (documents, dimensions) float32 unit vectors of the documents' texts.
        rows: (queries, dimensions) float32 unit vectors of the supervision's.
        supervision: its synthetic queries are those of each document.
        share: of the mean synthetic query, see `shared.cold_start.start_parts`.
    """
    if not supervision.synthetic or not share:
        return described, np.zeros(len(described), dtype=np.bool_)
    written = slice(supervision.synthetic.start, supervision.synthetic.stop)
    owned = supervision.labels.targets[written]
    return start_parts(described, owned.T @ rows[written], share).start, owned.sum(axis=0) > 0


def model_of(
    documents: Sequence[Document],
    supervision: Supervision,
    vectors: NDArray[np.float32],
    mixing_weight: float,
    settings: TrainSettings,
    encoder: str,
    cold_start: ColdStart,
) -> TrainedModel:
    """Return the model that these vectors, (documents, dimensions), are; see `TrainedModel`."""
    return TrainedModel(
        vectors=vectors,
        mixing_weight=mixing_weight,
        counts=Counts(
            ads=len(documents),
            train_queries=supervision.train_queries,
            clicks=supervision.clicks,
            labels=supervision.added,
        ),
        settings=settings,
        data_sha256=hashlib.sha256(
            (documents_sha256(documents) + supervision.sha256).encode()
        ).hexdigest(),
        encoder=encoder,
        cold_start=cold_start,
    )


def documents_sha256(documents: Sequence[Document]) -> str:
    """Return the hash of the documents' ids and contents."""
    digest = hashlib.sha256()
    for document in documents:
        digest.update(f"{document.id} {document.content_hash}\n".encode())
    return digest.hexdigest()


def embed_documents(
    documents: Sequence[Document],
    encoder: CachedEncoder,
    tower: Tower,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Return (documents, dimensions) float32 unit vectors."""
    reading = cold_start_of(tower)
    texts = [reading.text_of(document) for document in documents]
    return encoder.encode(texts, max_tokens=reading.max_tokens, progress=progress)


def embed_queries(queries: Sequence[Query], encoder: CachedEncoder) -> NDArray[np.float32]:
    """Return (queries, dimensions) float32 unit vectors."""
    return encoder.encode([query.text for query in queries], max_tokens=QUERY_TOKENS)


def flat_settings(settings: TrainSettings) -> dict[str, str | int | float | bool | None]:
    """Return the settings under dotted names, as a manifest keeps them."""
    flat: dict[str, str | int | float | bool | None] = {}
    for name, value in asdict(settings).items():
        if isinstance(value, dict):
            flat |= {
                f"{name}.{inner}": str(setting) if isinstance(setting, (tuple, dict)) else setting
                for inner, setting in value.items()
            }
        elif value is not None:
            flat[name] = value
    return flat
