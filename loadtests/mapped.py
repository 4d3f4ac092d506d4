"""What an SLM wrote of a data set's documents with the labels that it became, for benchmarks of training."""

from __future__ import annotations

from collections.abc import Sequence

from services.cli.kept_labels import KeptLabels
from services.mapping.mapper import preset_of
from services.mapping.settings import MappingSettings
from services.training.embeddings import CachedEncoder
from services.training.sources import Written
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset
from shared.encoder import SentenceEncoder
from shared.settings import CommonSettings


def mapped(dataset: Dataset, rows: Sequence[SyntheticQueries]) -> tuple[CachedEncoder, Written]:
    """Return the encoder, with the vectors that evaluations keep, and what was written of known documents.

    Labels are those of the mapping that `skim evaluate` calibrates on what the log showed.
    """
    common = CommonSettings()
    folder, home = common.models / "encoder", common.home / "evaluate"
    encoder = CachedEncoder(SentenceEncoder(folder, threads=0), home / "vectors")
    known = {document.id for document in dataset.documents}
    rows = [row for row in rows if row.document_id in known]
    preset = preset_of(MappingSettings())
    kept = KeptLabels(home, SentenceEncoder(folder), preset, is_fresh=False)
    return encoder, Written(rows, kept.calibrated(dataset, rows, "Mapping, calibrated"))
