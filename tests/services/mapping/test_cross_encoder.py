"""A second opinion that reads both texts: what it says, how it is kept, and that serving asks what calibrated."""

from pathlib import Path

import numpy as np
import pytest

from services.mapping.calibration import BY_EVIDENCE, Calibration
from services.mapping.calibration_files import write_calibration
from services.mapping.calibrator import Aim, Calibrator
from services.mapping.cross_encoder import CrossEncoderScorer, keep_cross_encoder
from services.mapping.index_builder import build_index
from services.mapping.mapper import QueryMapper
from services.mapping.observation import Observation, Observer
from services.mapping.outcomes import Outcomes
from services.mapping.query_statistics import QueryStatistics
from services.mapping.rules import MappingRule, PresetRule, WholeReading
from services.mapping.scorers import DocumentScorer
from services.mapping.serving import serve_index
from services.mapping.settings import MappingSettings
from services.mapping.trust import Trust
from shared.contracts.mapping import MapDocument
from shared.dataset import Query
from shared.errors import Damaged, NotFound
from tests.support.cross_encoders import write_cross_encoder
from tests.support.encoders import BagOfWordsEncoder

COLOURS, THINGS = ("red", "blue"), [f"thing{number}" for number in range(40)]
QUERIES = [Query(id=f"{thing}-{c}", text=f"{thing} {c}") for thing in THINGS for c in COLOURS]
WORDS = [*THINGS, *COLOURS, "has", "the", "colour"]
PRESET = PresetRule(Trust(0.0, None, 0), min_similarity=0.6, neighbours=10)
NAMES = (*BY_EVIDENCE, *DocumentScorer.names, *CrossEncoderScorer.names)


def documents_of() -> tuple[list[MapDocument], set[tuple[str, str]]]:
    """Return documents that write of both colours, and which pairs are right: only the text says it."""
    random = np.random.default_rng(0)
    documents, right = [], set()
    for number in range(200):
        thing, colour = random.choice(THINGS), COLOURS[number % 2]
        documents.append(
            MapDocument(
                document_id=f"d{number}",
                text=f"{thing} has the colour {colour}",
                queries=[f"{thing} red", f"{thing} blue"],
            )
        )
        right.add((f"{thing}-{colour}", f"d{number}"))
    return documents, right


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cross_encoder(tmp_path_factory.mktemp("models") / "cross", WORDS)


def observed(folder: Path, model: Path) -> tuple[Observation, Outcomes]:
    encoder = BagOfWordsEncoder()
    index = build_index(QUERIES, encoder, folder, lambda *_: None)
    mapper = QueryMapper(encoder, index, PRESET, PRESET)
    documents, right = documents_of()
    observation = Observer(mapper, encoder, QUERIES, [CrossEncoderScorer(model)]).observe(
        documents, {}, {}, WholeReading(), PRESET, lambda done, total: None
    )
    pairs = zip(observation.query_ids, observation.names, strict=True)
    is_right = np.array([pair in right for pair in pairs])
    return observation, Outcomes("truth", np.ones(len(is_right), np.bool_), is_right)


def calibrated(
    observation: Observation, outcomes: Outcomes, name: str
) -> tuple[Calibration, QueryStatistics]:
    calibrator = Calibrator(observation, BagOfWordsEncoder().name, PRESET, {})
    found, statistics = calibrator.calibrate(NAMES, outcomes, Aim(precision=0.95))
    return found.model_copy(update={"cross_encoder": name}), statistics


def test_it_reads_query_and_document_together_and_only_the_first_candidates(model: Path) -> None:
    scorer = CrossEncoderScorer(model, most_pairs=3)
    document = MapDocument(document_id="d", text="thing1 has the colour red", queries=["x"])
    texts = ["thing1 red", "thing2 red", "[SEP] blue", "thing1 red"]

    scores = scorer.scores(document, [Query(id="q", text=text) for text in texts])

    assert scores[:3, 0].tolist() == [2, 1, 0]
    assert np.isnan(scores[3, 0])


def test_without_a_text_it_has_no_opinion(model: Path) -> None:
    document = MapDocument(document_id="d", queries=["thing1 red"])

    assert np.isnan(CrossEncoderScorer(model).scores(document, QUERIES[:2])).all()


def test_the_service_asks_the_one_that_calibrated_and_takes_only_what_it_verifies(
    model: Path, tmp_path: Path
) -> None:
    observation, outcomes = observed(tmp_path, model)
    kept = keep_cross_encoder(tmp_path, model)
    write_calibration(tmp_path, *calibrated(observation, outcomes, kept.name))
    documents, right = documents_of()

    served = serve_index(tmp_path, BagOfWordsEncoder(), MappingSettings())

    def _labels(rule: MappingRule) -> set[tuple[str, str]]:
        mapped = served.mapper.map(documents, rule=rule)
        return {(label.query_id, each.document_id) for each in mapped for label in each.labels}

    labels, of_preset = _labels(served.mapper.rule), _labels(PRESET)
    assert len(of_preset & right) / len(of_preset) <= 0.5
    assert labels >= right
    assert len(right) / len(labels) > 0.9


def test_one_that_is_missing_or_another_is_an_error(model: Path, tmp_path: Path) -> None:
    observation, outcomes = observed(tmp_path, model)
    kept = keep_cross_encoder(tmp_path, model)
    write_calibration(tmp_path, *calibrated(observation, outcomes, kept.name))

    (kept / "model.onnx").write_bytes(b"another")
    with pytest.raises(Damaged, match="not the model"):
        serve_index(tmp_path, BagOfWordsEncoder(), MappingSettings())
    (kept / "model.onnx").unlink()
    with pytest.raises(NotFound, match=r"model\.onnx: no such file"):
        serve_index(tmp_path, BagOfWordsEncoder(), MappingSettings())


def test_a_model_of_two_logits_is_no_cross_encoder(tmp_path: Path) -> None:
    folder = write_cross_encoder(tmp_path / "two", WORDS, outputs=2)

    with pytest.raises(Damaged, match=r"expected a cross-encoder that gives \(pairs, 1\)"):
        CrossEncoderScorer(folder)
