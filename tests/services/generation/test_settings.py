"""Settings of generation that must fit each other."""

import pytest
from pydantic import ValidationError

from services.generation.settings import GenerationSettings


def test_more_samples_than_slots_are_refused_at_once() -> None:
    with pytest.raises(ValidationError, match="samples is 4, expected at most 2"):
        GenerationSettings(slots=2, samples=4)


def test_an_empty_path_of_train_queries_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKIM_GENERATION_TRAIN_QUERIES", "")

    assert GenerationSettings().train_queries is None
