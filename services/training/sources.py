"""Everything an arm may learn from. Made of train queries alone: nothing of a held-out query is in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from services.training.labels import LabelUse, Pairs, at_least, only_of, only_relevant
from services.training.supervision import positions_of
from shared.contracts.document import Document
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset, Query
from shared.errors import NotFound

LogName = Literal["given", "stochastic"]
_Part = TypeVar("_Part")


@dataclass(frozen=True)
class Log:
    """Clicks, and the probability with which the logging policy let each of them happen."""

    clicks: Pairs
    propensities: Pairs = field(default_factory=dict)
    """Golden ones; empty where nobody knows them."""


@dataclass(frozen=True)
class Written:
    """What an SLM wrote of the documents, and the labels it became."""

    synthetic_queries: Sequence[SyntheticQueries]
    labels: Pairs
    """Train query id -> document id -> similarity; by a calibrated mapping where one could be calibrated."""
    preset_labels: Pairs = field(default_factory=dict)
    """The same by the paper's preset, where it is another mapping."""


@dataclass(frozen=True)
class PropensitySettings:
    """Jain et al. 2016, and how far a click may be weighed up."""

    a: float = 0.55
    b: float = 1.5
    largest_weight: float = 10.0


@dataclass(frozen=True)
class Sources:
    """What there is to learn from. A part that is absent leaves out the arms that need it."""

    documents: Sequence[Document]
    queries: Sequence[Query]
    """Train queries."""
    log: Log
    described: NDArray[np.float32]
    """(documents, dimensions) embeddings of the tower's texts; the teacher of LEVER."""
    truth: Pairs = field(default_factory=dict)
    """Of train queries: for the arms that are oracles."""
    stochastic: Log | None = None
    written: Written | None = None
    written_without_metadata: Written | None = None
    use: LabelUse = field(default_factory=LabelUse)
    propensities: PropensitySettings = PropensitySettings()
    seed: int = 0

    @property
    def positions(self) -> Mapping[str, int]:
        """Return document id -> column."""
        return positions_of(self.documents)

    def with_log(self, name: LogName) -> Sources:
        """Return the same with one of the logs as *the* log.

        Raises:
            NotFound: there is none of that name.
        """
        if name == "given":
            return self
        return replace(
            self, log=needed(self.stochastic, "a stochastic log (truth of train queries)")
        )

    def with_labels_from(self, tau: float | None) -> Sources:
        """Return the same without the labels of a smaller similarity; None leaves out none."""
        return replace(
            self,
            written=_from(self.written, tau),
            written_without_metadata=_from(self.written_without_metadata, tau),
        )


def gather(
    dataset: Dataset,
    described: NDArray[np.float32],
    *,
    stochastic: Log | None = None,
    written: Written | None = None,
    written_without_metadata: Written | None = None,
    use: LabelUse | None = None,
) -> Sources:
    """Return the sources of a data set, stripped of all that belongs to held-out queries."""
    queries, positions = dataset.queries_of("train"), positions_of(dataset.documents)

    def _of_train(pairs: Pairs) -> Pairs:
        return only_of(pairs, queries, positions)

    def _log(log: Log) -> Log:
        return Log(_of_train(log.clicks), _of_train(log.propensities))

    def _written(made: Written | None) -> Written | None:
        if made is None:
            return None
        known = [row for row in made.synthetic_queries if row.document_id in positions]
        return Written(known, _of_train(made.labels), _of_train(made.preset_labels))

    return Sources(
        documents=dataset.documents,
        queries=queries,
        log=_log(Log(dataset.clicks, dataset.propensities)),
        described=described,
        truth=_of_train(only_relevant(dataset.truth)),
        stochastic=None if stochastic is None else _log(stochastic),
        written=_written(written),
        written_without_metadata=_written(written_without_metadata),
        use=use or LabelUse(),
    )


def _from(written: Written | None, tau: float | None) -> Written | None:
    if written is None or tau is None:
        return written
    return replace(
        written,
        labels=at_least(written.labels, tau),
        preset_labels=at_least(written.preset_labels, tau),
    )


def needed(part: _Part | None, what: str) -> _Part:
    """Return the part.

    Raises:
        NotFound: it is absent or empty.
    """
    if not part:
        raise NotFound(f"needs {what}")
    return part
