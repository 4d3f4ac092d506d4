from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from services.augmentation.app import build_app
from services.augmentation.dispatcher import Dispatcher
from services.augmentation.settings import AugmentationSettings
from services.cli import calibration
from services.cli.__main__ import app
from services.cli.reviews import with_reviews
from services.mapping.outcomes import Evidence, outcomes
from shared.contracts.reviews import Review, ReviewVerdict, Verdict
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset, Pairs, write_dataset, write_rows
from shared.errors import InvalidInput, NotFound, SkimError
from shared.store import MemoryStore
from tests.support.catalogue import DATASET
from tests.support.operated_suite import served
from tests.support.queues import FakeQueue

REVIEWS = [
    Review(document_id=document, query_id=query, verdict=verdict, reviewed_at=datetime.now(UTC))
    for document, query, verdict in (
        ("a", "oboe", ReviewVerdict.ACCEPT),
        ("b", "oboe", ReviewVerdict.REJECT),
    )
]


def reviewed(truth: Pairs) -> Pairs:
    dataset: Dataset = replace(DATASET, truth=truth)
    return with_reviews(dataset, REVIEWS).truth


def test_a_verdict_is_a_judgement_of_its_pair_and_of_no_other() -> None:
    found = outcomes("judgements", Evidence(truth=reviewed({})), ["oboe"] * 3, ["a", "b", "c"])

    np.testing.assert_array_equal(found.is_known, [True, True, False])
    np.testing.assert_array_equal(found.is_right, [True, False, False])


def test_a_verdict_counts_before_the_folders_own_judgement() -> None:
    truth = reviewed({"oboe": {"a": 0.0, "c": 1.0}, "horn": {"b": 0.0}})

    assert truth == {"oboe": {"a": 1.0, "b": 0.0, "c": 1.0}, "horn": {"b": 0.0}}


def test_complete_truth_does_not_stand_beside_verdicts() -> None:
    assert reviewed({"oboe": {"c": 1.0}}) == {"oboe": {"a": 1.0, "b": 0.0}}


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store.accept(DATASET.documents)
    return store


@pytest.fixture
def folder(store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data folder, while an augmentation service runs that `skim` finds."""
    write_dataset(tmp_path, DATASET)
    rows = [SyntheticQueries(document_id=each.id, queries=["bed"]) for each in DATASET.documents]
    write_rows(tmp_path / "synthetic.jsonl", rows)
    dispatcher = Dispatcher(store, FakeQueue(), batch_size=2, seconds=60)
    with served(build_app(AugmentationSettings(), store, dispatcher)) as url:
        monkeypatch.setenv("SKIM_AUGMENTATION_URL", url)
        yield tmp_path


def calibrate(folder: Path, *options: str) -> None:
    command = ["mapping", "calibrate", str(folder), "--reviews", *options]
    result = CliRunner().invoke(
        app, [*command, "--queries", str(folder / "synthetic.jsonl"), "--json"]
    )
    if isinstance(result.exception, SkimError):
        raise result.exception


def test_calibrating_by_reviews_asks_the_suite_for_them(
    store: MemoryStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[Pairs, str]] = []
    verdict = Verdict(document_id="d1", query_id="q1", verdict=ReviewVerdict.REJECT)
    store.put_reviews([verdict])

    def calibrate_index(common: object, dataset: Dataset, rows: object, **options: Any) -> None:  # noqa: ANN401
        given.append((dataset.truth, options["source"].value))
        raise InvalidInput("that is enough")

    monkeypatch.setattr(calibration, "calibrate_index", calibrate_index)
    with pytest.raises(InvalidInput, match="enough"):
        calibrate(folder)

    assert given == [({"q1": {"d1": 0.0}}, "judgements")]


def test_without_a_verdict_calibrating_by_reviews_says_where_to_give_some(folder: Path) -> None:
    with pytest.raises(NotFound, match="/reviews"):
        calibrate(folder)


def test_reviews_are_no_clicks(folder: Path) -> None:
    with pytest.raises(InvalidInput, match="--source clicks"):
        calibrate(folder, "--source", "clicks")
