"""What the service maps with, opened whole: the train queries, their encoder, and the rule."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from services.mapping.calibration import Calibration
from services.mapping.calibration_files import read_calibration
from services.mapping.cross_encoder import FOLDER as CROSS_ENCODERS
from services.mapping.cross_encoder import CrossEncoderScorer, name_of
from services.mapping.encoders import open_encoder
from services.mapping.index_files import read_manifest
from services.mapping.mapper import QueryMapper, preset_of
from services.mapping.query_statistics import QueryStatistics
from services.mapping.remembering_encoder import RememberingEncoder
from services.mapping.rules import CalibratedRule, MappingRule
from services.mapping.scorers import DocumentScorer, Scorer
from services.mapping.settings import MappingSettings
from services.mapping.train_queries import TrainQueries, Upkeep
from shared.encoder import TextEncoder
from shared.errors import Conflict, Damaged, NotFound

_MOST_LOADS = 3


@dataclass(frozen=True)
class ServedMapping:
    """A mapper, and the train queries that it maps to, which change while it serves."""

    mapper: QueryMapper
    train_queries: TrainQueries
    encoder: RememberingEncoder
    """The mapper's; knows what was asked."""


def open_mapping(models: Path, folder: Path, settings: MappingSettings) -> ServedMapping:
    """Load the index from `folder` with its journal and calibration, and the encoder it was built with.

    Raises:
        NotFound: encoder or index are missing; the message says what to run.
        Damaged: a file is not what its manifest says.
        Conflict: the encoder of the index is not here, or the calibration is another encoder's.
    """
    encoder = open_encoder(models, folder, read_manifest(folder).encoder)
    return serve_index(folder, encoder, settings)


def serve_index(folder: Path, encoder: TextEncoder, settings: MappingSettings) -> ServedMapping:
    """Load what is in `folder` with an encoder that is open already; see `open_mapping`.

    Without a calibration, or with `rule` set to the preset, the paper's preset decides. Where another process replaces the index
    meanwhile (a compaction), what that one left is loaded.
    """
    for _ in range(_MOST_LOADS - 1):
        manifest = read_manifest(folder)
        try:
            return _load(folder, encoder, settings)
        except (Conflict, Damaged, NotFound):
            if read_manifest(folder) == manifest:
                raise
    return _load(folder, encoder, settings)


def _load(folder: Path, encoder: TextEncoder, settings: MappingSettings) -> ServedMapping:
    remembering = RememberingEncoder(encoder, settings.remembered_texts)
    upkeep = Upkeep(settings.recent_queries, settings.deleted_share, settings.remembered_changes)
    train_queries = TrainQueries.load(folder, remembering, ef=settings.ef, upkeep=upkeep)
    preset = preset_of(settings)
    rule: MappingRule = preset
    if settings.rule == "calibrated":
        found = read_calibration(folder, encoder.name, encoder.dimensions)
        if found is not None:
            rule = CalibratedRule(*found, _scorers(folder, remembering, train_queries, found))
    mapper = QueryMapper(remembering, train_queries.index, rule, preset)
    train_queries.note_policy(mapper.policy)
    return ServedMapping(mapper, train_queries, remembering)


def _scorers(
    folder: Path,
    encoder: TextEncoder,
    train_queries: TrainQueries,
    found: tuple[Calibration, QueryStatistics],
) -> list[Scorer]:
    calibration, statistics = found
    scorers: list[Scorer] = [DocumentScorer(encoder, train_queries.index, statistics)]
    if calibration.cross_encoder:
        kept = folder / CROSS_ENCODERS / calibration.cross_encoder
        if name_of(kept) != calibration.cross_encoder:
            raise Damaged(f"{kept}: not the model that the calibration was fitted with")
        scorers.append(CrossEncoderScorer(kept))
    return scorers
