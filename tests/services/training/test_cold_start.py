from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from services.training.cold_start import (
    ColdStart,
    ColdStartSettings,
    _Combiner,
    nearest_classifiers,
    train_cold_start,
)
from shared.errors import InvalidInput, NotFound

SETTINGS = ColdStartSettings(epochs=20, batch_size=32, learning_rate=3e-3, input_dropout=0.0)


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def documents(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings in groups, and classifiers that their group moves to a place of its own."""
    groups, places = (
        unit(np.random.default_rng(number).standard_normal((20, 16))) for number in (1, 2)
    )
    random = np.random.default_rng(seed)
    group = random.integers(20, size=count)
    embeddings = unit(groups[group] + 0.1 * random.standard_normal((count, 16)))
    return embeddings, (0.5 * embeddings + 0.5 * places[group]).astype(np.float32)


TRAINED, CLASSIFIERS = documents(400, seed=3)
NEW, NEVER_TRAINED = documents(50, seed=4)


def error(vectors: np.ndarray) -> float:
    return float(((vectors - NEVER_TRAINED) ** 2).sum(axis=1).mean())


def test_new_documents_come_nearer_to_their_classifiers_than_their_embeddings_are() -> None:
    cold_start = train_cold_start(TRAINED, CLASSIFIERS, SETTINGS)

    vectors = cold_start.vectors(NEW, nearest_classifiers(NEW, TRAINED, CLASSIFIERS))

    assert vectors.dtype == np.float32
    assert vectors.shape == NEW.shape
    assert error(vectors) < error(NEW) / 4


def test_untrained_it_is_the_embedding() -> None:
    cold_start = train_cold_start(TRAINED, CLASSIFIERS, replace(SETTINGS, epochs=0))

    vectors = cold_start.vectors(NEW, nearest_classifiers(NEW, TRAINED, CLASSIFIERS))

    assert vectors == pytest.approx(NEW)


def test_a_training_that_goes_astray_leaves_the_embedding() -> None:
    astray = replace(SETTINGS, epochs=3, learning_rate=100.0)
    near = nearest_classifiers(NEW, TRAINED, CLASSIFIERS)

    vectors = train_cold_start(TRAINED, CLASSIFIERS, astray).vectors(NEW, near)

    assert vectors == pytest.approx(NEW)


def test_numpy_computes_what_torch_was_trained_as() -> None:
    torch.manual_seed(0)
    model = _Combiner(16, SETTINGS).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    near = nearest_classifiers(NEW, TRAINED, CLASSIFIERS)

    expected = model(torch.from_numpy(NEW), torch.from_numpy(near)).detach().numpy()

    assert ColdStart(model.weights()).vectors(NEW, near) == pytest.approx(expected, abs=1e-4)


def test_a_documents_own_classifier_is_hidden_in_training() -> None:
    near = nearest_classifiers(TRAINED, TRAINED, CLASSIFIERS, hides_own=True)

    assert near.shape == (400, 3, 16)
    assert not (near == CLASSIFIERS[:, None]).all(axis=2).any()


def test_a_new_document_reads_its_nearest_first() -> None:
    near = nearest_classifiers(TRAINED[:5], TRAINED, CLASSIFIERS)

    assert (near[:, 0] == CLASSIFIERS[:5]).all()


def test_the_seed_decides_everything() -> None:
    near = nearest_classifiers(NEW, TRAINED, CLASSIFIERS)
    first, again, other = (
        train_cold_start(TRAINED, CLASSIFIERS, replace(SETTINGS, epochs=2, seed=seed)).vectors(
            NEW, near
        )
        for seed in (1, 1, 2)
    )

    assert (first == again).all()
    assert not (first == other).all()


def test_saved_weights_give_the_same_vectors(tmp_path: Path) -> None:
    cold_start = train_cold_start(TRAINED, CLASSIFIERS, replace(SETTINGS, epochs=1))
    near = nearest_classifiers(NEW, TRAINED, CLASSIFIERS)

    cold_start.save(tmp_path / "cold_start.safetensors")

    loaded = ColdStart.load(tmp_path / "cold_start.safetensors")
    assert (loaded.vectors(NEW, near) == cold_start.vectors(NEW, near)).all()
    with pytest.raises(NotFound):
        ColdStart.load(tmp_path / "other.safetensors")


def test_too_few_documents_teach_nothing() -> None:
    with pytest.raises(InvalidInput, match="expected 10"):
        train_cold_start(TRAINED[:9], CLASSIFIERS[:9], SETTINGS)
    with pytest.raises(InvalidInput, match="expected 3"):
        nearest_classifiers(NEW, TRAINED[:2], CLASSIFIERS[:2])
