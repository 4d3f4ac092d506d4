"""A small world whose truth is known: documents write queries, some near to right train queries, some to wrong ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from services.mapping.calibration import (
    BY_EVIDENCE,
    BY_SIMILARITY,
    Calibration,
    threshold_of_precision,
)
from services.mapping.calibration_files import (
    read_calibration,
    remove_calibration,
    write_calibration,
)
from services.mapping.calibrator import Aim, Calibrator, Explored
from services.mapping.mapper import QueryMapper
from services.mapping.observation import Observation, Observer
from services.mapping.outcomes import Outcomes
from services.mapping.query_statistics import QueryStatistics
from services.mapping.rules import CalibratedRule, PresetRule, WholeReading
from services.mapping.scorers import DocumentScorer
from services.mapping.train_query_index import TrainQueryIndex
from services.mapping.trust import Trust
from shared.contracts.mapping import MapDocument
from shared.contracts.synthetic_queries import Evidence
from shared.dataset import Query
from shared.errors import Conflict, Damaged, InvalidInput
from tests.support.encoders import BagOfWordsEncoder

THINGS = [f"thing{number}" for number in range(40)]
QUERIES = [
    Query(id=f"{thing}-{kind}", text=f"{thing} {kind}")
    for thing in THINGS
    for kind in ("red", "old")
]
PRESET = PresetRule(Trust(0.5, None, 0), min_similarity=0.6, neighbours=10)
VERIFIED = (*BY_EVIDENCE, *DocumentScorer.names)


def documents_of() -> tuple[list[MapDocument], set[tuple[str, str]]]:
    """Return documents that write of their own thing and, less sure, of another; and the right pairs."""
    random = np.random.default_rng(0)
    documents, right = [], set()
    for number in range(200):
        own, other = random.choice(THINGS, 2, replace=False)
        document_id = f"d{number}"
        documents.append(
            MapDocument(
                document_id=document_id,
                text=f"{own} red old description",
                queries=[f"{own} red", f"{own} old", f"{other} red"],
                evidence=[Evidence(1.0, -0.5), Evidence(0.75, -1.0), Evidence(0.5, -3.0)],
            )
        )
        right |= {(f"{own}-red", document_id), (f"{own}-old", document_id)}
    return documents, right


@pytest.fixture(scope="module")
def mapper() -> QueryMapper:
    encoder = BagOfWordsEncoder()
    vectors = encoder.encode([query.text for query in QUERIES])
    index = TrainQueryIndex.build(QUERIES, vectors, encoder=encoder.name)
    return QueryMapper(encoder, index, PRESET, PRESET)


@pytest.fixture(scope="module")
def observation(mapper: QueryMapper) -> Observation:
    documents, _ = documents_of()
    observer = Observer(mapper, mapper.encoder, QUERIES)
    return observer.observe(documents, {}, {}, WholeReading(), PRESET, lambda done, total: None)


@pytest.fixture(scope="module")
def outcomes(observation: Observation) -> Outcomes:
    _, right = documents_of()
    pairs = zip(observation.query_ids, observation.names, strict=True)
    is_right = np.array([pair in right for pair in pairs])
    return Outcomes("truth", np.ones(len(is_right), np.bool_), is_right)


def calibrated(
    observation: Observation,
    outcomes: Outcomes,
    aim: Aim | None = None,
    names: tuple[str, ...] = VERIFIED,
) -> tuple[Calibration, QueryStatistics]:
    calibrator = Calibrator(observation, "words-1", PRESET, {"d0": "head"})
    return calibrator.calibrate(names, outcomes, aim or Aim())


def rule_of(mapper: QueryMapper, found: tuple[Calibration, QueryStatistics]) -> CalibratedRule:
    scorer = DocumentScorer(mapper.encoder, mapper.index, found[1])
    return CalibratedRule(*found, [scorer])


def quality(mapper: QueryMapper, rule: PresetRule | CalibratedRule) -> tuple[float, float]:
    documents, right = documents_of()
    mapped = mapper.map(documents, rule=rule)
    labels = {(label.query_id, each.document_id) for each in mapped for label in each.labels}
    return len(labels & right) / len(labels), len(labels & right) / len(right)


def test_evidence_tells_right_labels_from_equally_similar_wrong_ones(
    mapper: QueryMapper, observation: Observation, outcomes: Outcomes
) -> None:
    precision, recall = quality(mapper, PRESET)
    ours = quality(mapper, rule_of(mapper, calibrated(observation, outcomes, Aim(precision=0.95))))

    assert precision < 0.75
    assert ours[0] > 0.95
    assert ours[1] == recall == 1


def test_served_labels_are_those_that_were_calibrated(
    mapper: QueryMapper, observation: Observation, outcomes: Outcomes
) -> None:
    calibration, statistics = calibrated(observation, outcomes)
    chances = calibration.probabilities(observation.rows)
    expected = {
        (query, document)
        for query, document, chance in zip(
            observation.query_ids, observation.names, chances, strict=True
        )
        if chance >= calibration.min_probability
    }

    mapped = mapper.map(documents_of()[0], rule=rule_of(mapper, (calibration, statistics)))

    served = {
        (label.query_id, each.document_id): label for each in mapped for label in each.labels
    }
    assert served.keys() == expected
    assert len(served) == calibration.estimates.labels
    assert all(label.probability is not None for label in served.values())


def test_the_presets_labels_are_told_apart_among_candidates_found_by_looking_further(
    mapper: QueryMapper,
) -> None:
    documents, _ = documents_of()
    preset = replace(PRESET, min_similarity=0.3, neighbours=2)
    observer = Observer(mapper, mapper.encoder, QUERIES)
    observation = observer.observe(
        documents, {}, {}, WholeReading(least_similarity=0.2), preset, lambda done, total: None
    )

    mapped = mapper.map(documents, rule=preset)

    pairs = np.array(list(zip(observation.query_ids, observation.names, strict=True)))
    told = {tuple(pair) for pair in pairs[observation.is_preset].tolist()}
    assert told == {(label.query_id, each.document_id) for each in mapped for label in each.labels}
    assert len(told) < len(pairs)


def test_similarity_alone_is_tau(observation: Observation, outcomes: Outcomes) -> None:
    calibration, _ = calibrated(observation, outcomes, names=BY_SIMILARITY)

    chances = calibration.probabilities(observation.rows[:, :1])
    similarities = np.nan_to_num(observation.rows[:, 0], nan=-1.0)
    order = np.argsort(similarities[similarities > 0])
    assert (np.diff(chances[similarities > 0][order]) >= -1e-9).all()


def test_it_keeps_as_many_right_labels_as_the_preset_or_a_share_of_them(
    observation: Observation, outcomes: Outcomes
) -> None:
    aim = Aim(share_of_preset=0.9)
    estimates = calibrated(observation, outcomes, aim)[0].estimates

    assert estimates.right == pytest.approx(0.9 * estimates.preset_right, rel=0.02)
    assert estimates.labels < estimates.preset_labels


def test_a_train_query_absorbs_no_more_documents_than_it_may(
    mapper: QueryMapper, observation: Observation, outcomes: Outcomes
) -> None:
    found = calibrated(observation, outcomes, Aim(documents_per_query=2))

    mapped = mapper.map(documents_of()[0], rule=rule_of(mapper, found))

    absorbed = [label.query_id for each in mapped for label in each.labels]
    most = max(absorbed.count(query) for query in set(absorbed))
    free = mapper.map(documents_of()[0], rule=rule_of(mapper, calibrated(observation, outcomes)))
    assert most < max(len(each.labels) for each in free) + 12
    assert len(absorbed) < sum(len(each.labels) for each in free)


def test_a_document_gains_no_more_labels_than_it_may(
    mapper: QueryMapper, observation: Observation, outcomes: Outcomes
) -> None:
    found = calibrated(observation, outcomes, Aim(labels_per_document=1))

    mapped = mapper.map(documents_of()[0], rule=rule_of(mapper, found))

    assert max(len(each.labels) for each in mapped) == 1


def test_the_curve_has_intervals_for_all_and_by_clicks(
    observation: Observation, outcomes: Outcomes
) -> None:
    curve = calibrated(observation, outcomes)[0].curve

    assert {each.group for each in curve} == {"all", "head", "torso", "tail"}
    judged = [each for each in curve if each.judged]
    assert all(each.low <= each.precision <= each.high for each in judged)
    of_all = sum(each.candidates for each in curve if each.group == "all")
    assert of_all == sum(each.candidates for each in curve if each.group != "all")


def test_clicks_alone_are_corrected_by_the_share_that_the_log_holds(
    observation: Observation, outcomes: Outcomes
) -> None:
    random = np.random.default_rng(1)
    clicked = outcomes.is_right & (random.random(len(outcomes.is_right)) < 0.4)
    known = np.ones(len(clicked), np.bool_)

    calibration, _ = calibrated(observation, Outcomes("clicks", known, clicked, logged=0.4))

    chances = calibration.probabilities(observation.rows)
    assert calibration.corrected_by == 0.4
    assert chances[outcomes.is_right].mean() == pytest.approx(1, abs=0.1)


def test_too_few_outcomes_calibrate_nothing(observation: Observation, outcomes: Outcomes) -> None:
    known = np.zeros(len(outcomes.is_right), np.bool_)
    known[:40] = True

    with pytest.raises(InvalidInput, match="needs 30 of each"):
        calibrated(observation, replace(outcomes, is_known=known))


def test_recall_needs_an_exploration_log(observation: Observation, outcomes: Outcomes) -> None:
    with pytest.raises(InvalidInput, match="exploration"):
        calibrated(observation, outcomes, Aim(recall=0.5))


def test_no_threshold_has_a_precision_beyond_all_probabilities() -> None:
    assert threshold_of_precision(np.array([0.2, 0.5]), 0.9) == 1.0
    assert threshold_of_precision(np.array([0.2, 0.5, 0.9]), 0.7) == 0.5


def test_a_calibration_is_read_as_it_was_written(
    tmp_path: Path, observation: Observation, outcomes: Outcomes
) -> None:
    calibration, statistics = calibrated(observation, outcomes)
    assert read_calibration(tmp_path, "words-1", 64) is None

    written = write_calibration(tmp_path, calibration, statistics)

    found = read_calibration(tmp_path, "words-1", 64)
    assert found is not None
    assert found[0] == written
    assert np.array_equal(found[1].reach, statistics.reach)
    write_calibration(tmp_path, calibration, statistics)
    assert len(list(tmp_path.iterdir())) == 2
    remove_calibration(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_calibration_of_another_encoder_or_damaged_is_refused(
    tmp_path: Path, observation: Observation, outcomes: Outcomes
) -> None:
    write_calibration(tmp_path, *calibrated(observation, outcomes))

    with pytest.raises(Conflict, match="made with words-1"):
        read_calibration(tmp_path, "words-2", 64)
    with pytest.raises(Damaged, match="shapes"):
        read_calibration(tmp_path, "words-1", 32)
    [statistics] = tmp_path.glob("statistics-*.npz")
    whole = statistics.read_bytes()
    for place in (0, 100, len(whole) // 2, len(whole) - 3):
        flipped = bytearray(whole)
        flipped[place] ^= 1
        statistics.write_bytes(flipped)
        with pytest.raises(Damaged, match="sha256"):
            read_calibration(tmp_path, "words-1", 64)
    statistics.unlink()
    with pytest.raises(Damaged, match="missing"):
        read_calibration(tmp_path, "words-1", 64)
    (tmp_path / "calibration.json").write_text('{"format_version": 1}')
    with pytest.raises(Damaged, match="encoder"):
        read_calibration(tmp_path, "words-1", 64)


def test_recall_is_that_of_pairs_clicked_under_random_exposure(
    observation: Observation, outcomes: Outcomes
) -> None:
    right = np.flatnonzero(outcomes.is_right)[:100]
    explored = Explored(observation.rows[right], pairs=125)  # 25 are no candidates at all
    calibrator = Calibrator(observation, "words-1", PRESET, {})

    calibration, _ = calibrator.calibrate(VERIFIED, outcomes, Aim(recall=0.6), explored=explored)

    reached = calibration.probabilities(explored.rows) >= calibration.min_probability
    assert 75 <= reached.sum() <= 100
