from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from services.training.classifiers import (
    ClassifierSettings,
    LabelMatrix,
    learning_rate_factor,
    train_classifiers,
)

SETTINGS = ClassifierSettings(epochs=4, batch_size=8)


def unit_vectors(count: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, 16)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


QUERIES, INITIAL = unit_vectors(40, seed=1), unit_vectors(10, seed=2)


def labels_of(matrix: np.ndarray, weight: float = 1.0) -> LabelMatrix:
    targets = sp.csr_array(matrix.astype(np.float32))
    return LabelMatrix(targets, targets.astype(bool).astype(np.float32) * np.float32(weight))


LABELS = labels_of(np.random.default_rng(3).random((40, 10)) < 0.2)


def test_labelled_documents_rise_above_the_others() -> None:
    vectors = train_classifiers(QUERIES, LABELS, INITIAL, replace(SETTINGS, epochs=40, pull=0.1))
    scores, labelled = QUERIES @ vectors.T, LABELS.targets.toarray() > 0
    before = QUERIES @ INITIAL.T

    assert scores[labelled].mean() - scores[~labelled].mean() > 0.3
    assert abs(before[labelled].mean() - before[~labelled].mean()) < 0.15


def test_the_chunk_size_changes_nothing() -> None:
    whole = train_classifiers(QUERIES, LABELS, INITIAL, SETTINGS)
    chunked = train_classifiers(QUERIES, LABELS, INITIAL, replace(SETTINGS, documents_per_chunk=3))

    assert chunked == pytest.approx(whole, abs=1e-5)


def test_the_seed_decides_everything() -> None:
    first, again, other = (
        train_classifiers(QUERIES, LABELS, INITIAL, replace(SETTINGS, seed=seed))
        for seed in (1, 1, 2)
    )

    assert (first == again).all()
    assert not (first == other).all()


def test_the_initial_vectors_are_left_as_they_are() -> None:
    before = INITIAL.copy()

    train_classifiers(QUERIES, LABELS, INITIAL, SETTINGS)

    assert (before == INITIAL).all()


def test_a_stronger_pull_stays_nearer_to_the_initial_vectors() -> None:
    near, far = (
        np.linalg.norm(
            train_classifiers(QUERIES, LABELS, INITIAL, replace(SETTINGS, epochs=20, pull=pull))
            - INITIAL
        )
        for pull in (200.0, 0.0)
    )

    assert near < far / 2


def test_a_lighter_label_moves_its_document_less() -> None:
    full, light = (
        train_classifiers(QUERIES, labels_of(LABELS.targets.toarray(), weight), INITIAL, SETTINGS)
        for weight in (1.0, 0.2)
    )
    labelled = LABELS.targets.toarray() > 0

    assert (QUERIES @ light.T)[labelled].mean() < (QUERIES @ full.T)[labelled].mean()


def test_one_step_is_the_gradient_step_of_the_regularised_loss() -> None:
    settings = ClassifierSettings(epochs=1, batch_size=40, warmup_share=0.0, pull=4.0)
    vectors = torch.from_numpy(INITIAL).clone().requires_grad_()
    logits = settings.scale * (torch.from_numpy(QUERIES) @ vectors.T - settings.threshold)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, torch.from_numpy(LABELS.targets.toarray()), reduction="sum"
    )
    (loss / 40).backward()
    assert vectors.grad is not None
    expected = (vectors - settings.learning_rate * vectors.grad).detach().numpy()

    trained = train_classifiers(QUERIES, LABELS, INITIAL, settings)

    assert trained == pytest.approx(expected, abs=1e-5)


def test_progress_ends_with_everything_done() -> None:
    seen: list[tuple[int, int]] = []

    train_classifiers(
        QUERIES,
        LABELS,
        INITIAL,
        replace(SETTINGS, epochs=2, documents_per_chunk=5),
        lambda done, total: seen.append((done, total)),
    )

    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_learning_rate_rises_in_a_line_and_falls_to_nothing() -> None:
    factors = [learning_rate_factor(step, 100, 0.1) for step in range(101)]

    assert factors[:11] == sorted(factors[:11])
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[10] == 1
    assert factors[100] == pytest.approx(0)


def test_a_shortlist_of_all_documents_gives_what_no_shortlist_gives() -> None:
    settings = replace(SETTINGS, batch_size=40)  # one batch an epoch: its order does not matter
    whole = train_classifiers(QUERIES, LABELS, INITIAL, settings)

    shortlisted = train_classifiers(
        QUERIES, LABELS, INITIAL, replace(settings, shortlist_documents=5)
    )

    assert shortlisted == pytest.approx(whole, abs=1e-5)


def test_shortlists_rank_documents_as_the_loss_over_all_of_them_does() -> None:
    random = np.random.default_rng(4)

    def unit(vectors: np.ndarray) -> np.ndarray:
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    kinds = unit(random.standard_normal((40, 64)))
    of_query, of_document = random.integers(40, size=400), random.integers(40, size=800)
    queries, initial = (
        unit(kinds[kind] + unit(random.standard_normal((len(kind), 64))))
        for kind in (of_query, of_document)
    )
    alike = of_query[:, None] == of_document[None]
    labels = labels_of(alike & (random.random((400, 800)) < 0.3))
    settings = ClassifierSettings(
        epochs=6, batch_size=50, shortlist_nearest=30, shortlist_random=100
    )

    def top(vectors: np.ndarray) -> np.ndarray:
        return np.argsort(-(queries @ vectors.T), axis=1)[:, :10]

    whole = top(train_classifiers(queries, labels, initial, settings))
    shortlisted = train_classifiers(
        queries, labels, initial, replace(settings, shortlist_documents=100)
    )

    def agreement(vectors: np.ndarray) -> float:
        pairs = zip(top(vectors), whole, strict=True)
        return float(np.mean([len(np.intersect1d(*pair)) / 10 for pair in pairs]))

    assert agreement(initial) < 0.7
    assert agreement(shortlisted) > 0.85


@pytest.mark.parametrize("limit", [1_000, 5], ids=["chunks", "shortlists"])
def test_a_killed_training_goes_on_and_ends_the_same(tmp_path: Path, limit: int) -> None:
    settings = replace(
        SETTINGS,
        documents_per_chunk=3,
        shortlist_documents=limit,
        shortlist_nearest=2,
        shortlist_random=3,
    )
    whole = train_classifiers(QUERIES, LABELS, INITIAL, settings)
    again: list[int] = []

    def kill(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_classifiers(QUERIES, LABELS, INITIAL, settings, kill, checkpoint=tmp_path / "c")
    resumed = train_classifiers(
        QUERIES,
        LABELS,
        INITIAL,
        settings,
        lambda done, total: again.append(done),
        checkpoint=tmp_path / "c",
    )

    assert again[0] > 1, "what was done is not done again"
    assert (resumed == whole).all()
    assert not (tmp_path / "c").exists()


def test_other_labels_do_not_go_on_from_a_checkpoint(tmp_path: Path) -> None:
    settings = replace(SETTINGS, documents_per_chunk=3)
    other = labels_of(LABELS.targets.toarray(), weight=0.5)

    def kill(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_classifiers(QUERIES, LABELS, INITIAL, settings, kill, checkpoint=tmp_path / "c")
    vectors = train_classifiers(QUERIES, other, INITIAL, settings, checkpoint=tmp_path / "c")

    assert (vectors == train_classifiers(QUERIES, other, INITIAL, settings)).all()
