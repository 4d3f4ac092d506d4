from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from services.training.choice import (
    AS_GIVEN,
    NO_CHOICES,
    Candidate,
    Choices,
    Chosen,
    candidates_of,
    train_best,
    with_shares,
)
from services.training.embeddings import CachedEncoder
from services.training.evaluation import exposed_slice
from services.training.guard import GuardSettings
from services.training.labels import at_least
from services.training.supervision import Supervision, supervise
from services.training.train import TrainSettings, train
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset
from tests.services.training.conftest import DOCUMENTS_PER_KIND, KINDS

SETTINGS = TrainSettings(tower="title", guard=GuardSettings(slice_share=0.5))
SCARCE = TrainSettings(tower="title", guard=GuardSettings(slice_share=0.01))
TAUS = Choices(taus=(0.7,), epochs=())
Labels = Mapping[str, Mapping[str, float]]


@pytest.fixture
def noisy(dataset: Dataset, labels: Labels) -> Labels:
    """A right label is more similar than a wrong one, of which there are more."""
    wrong = {
        query.id: {
            f"d{(kind + 1 + number) % KINDS}-{number % DOCUMENTS_PER_KIND}": 0.6
            for number in range(KINDS - 1)
            for kind in [int(query.id[1:].split("-")[0])]
        }
        for query in dataset.queries
    }
    return {query_id: wrong[query_id] | dict(row) for query_id, row in labels.items()}


def tried(
    dataset: Dataset, labels: Labels, settings: TrainSettings, choices: Choices
) -> list[Candidate]:
    def learn(tau: float | None) -> Supervision:
        return supervise(dataset, at_least(labels, tau), settings.labels)

    return candidates_of(learn, settings, choices)


def chosen(
    dataset: Dataset,
    labels: Labels,
    encoder: CachedEncoder,
    settings: TrainSettings = SETTINGS,
    choices: Choices = TAUS,
    told: list[tuple[int, int]] | None = None,
) -> Chosen:
    return train_best(
        dataset.documents,
        tried(dataset, labels, settings, choices),
        encoder,
        exposed_slice(dataset, settings),
        lambda done, total: told.append((done, total)) if told is not None else None,
    )


def test_labels_that_mislead_are_left_out_where_the_slice_shows_it(
    dataset: Dataset, noisy: Labels, encoder: CachedEncoder
) -> None:
    found = chosen(dataset, noisy, encoder)

    purer = supervise(dataset, at_least(noisy, 0.7), SETTINGS.labels)
    alone = train(dataset.documents, purer, encoder, SETTINGS, exposed_slice(dataset, SETTINGS))
    assert found.name == "with tau 0.7"
    assert np.array_equal(found.model.vectors, alone.vectors)
    assert found.model.data_sha256 == alone.data_sha256


def test_what_is_given_stays_where_nothing_is_clearly_better(
    dataset: Dataset, labels: Labels, encoder: CachedEncoder
) -> None:
    right = at_least(labels, 0.7)

    assert chosen(dataset, right, encoder, choices=Choices((0.9,), ())).name == AS_GIVEN


def test_a_small_slice_chooses_nothing_and_costs_one_training(
    dataset: Dataset, noisy: Labels, encoder: CachedEncoder
) -> None:
    told: list[tuple[int, int]] = []

    found = chosen(dataset, noisy, encoder, SCARCE, told=told)

    assert found.name == AS_GIVEN
    assert told[-1][0] == told[-1][1] == len(told)


def test_progress_goes_over_all_trainings(
    dataset: Dataset, noisy: Labels, encoder: CachedEncoder
) -> None:
    told: list[tuple[int, int]] = []

    chosen(dataset, noisy, encoder, choices=Choices((0.7,), (1,)), told=told)

    shares = [done / total for done, total in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_each_thing_is_tried_alone_and_nothing_twice(dataset: Dataset, labels: Labels) -> None:
    usual = SETTINGS.classifiers.epochs
    found = tried(dataset, labels, SETTINGS, Choices((0.1, 0.7, 0.75), (usual, 2, 12)))

    assert [each.name for each in found] == [
        AS_GIVEN,
        "with tau 0.7",
        "with 2 epochs",
        "with 12 epochs",
    ]
    assert found[1].settings == SETTINGS
    assert found[2].supervision is found[0].supervision
    queries = 1_000_000
    assert [each.settings.classifiers.epochs_over(queries) for each in found[2:]] == [2, 12]


def test_a_tau_that_leaves_nothing_to_learn_from_is_not_tried(
    dataset: Dataset, labels: Labels
) -> None:
    unclicked = replace(dataset, clicks={})

    found = tried(unclicked, labels, SETTINGS, Choices((0.95,), ()))

    assert [each.name for each in found] == [AS_GIVEN]


def test_without_choices_only_what_is_given_is_trained(dataset: Dataset, labels: Labels) -> None:
    [given] = tried(dataset, labels, SETTINGS, NO_CHOICES)

    assert given.name == AS_GIVEN
    assert given.settings == SETTINGS


def test_choosing_is_repeatable(dataset: Dataset, noisy: Labels, encoder: CachedEncoder) -> None:
    first, second = (chosen(dataset, noisy, encoder) for _ in range(2))

    assert first.name == second.name
    assert np.array_equal(first.model.vectors, second.model.vectors)


def shared(
    dataset: Dataset,
    encoder: CachedEncoder,
    queries_of: Callable[[int], list[str]],
    settings: TrainSettings,
) -> float:
    """Return the share of synthetic queries that is begun with, where a document of a kind has these."""
    written = [
        SyntheticQueries(document_id=each.id, queries=queries_of(int(each.id[1:].split("-")[0])))
        for each in dataset.documents
    ]

    def learn(tau: float | None) -> Supervision:
        return supervise(dataset, {}, settings.labels, written)

    candidates = candidates_of(learn, settings, NO_CHOICES)
    exposed = exposed_slice(dataset, settings)
    [candidate] = with_shares(candidates, dataset.documents, encoder, exposed)
    assert replace(candidate.settings, queries_share=settings.queries_share) == settings
    return candidate.settings.queries_share


def test_training_begins_with_as_much_of_the_synthetic_queries_as_the_slice_shows_to_be_right(
    dataset: Dataset, encoder: CachedEncoder
) -> None:
    described = replace(SETTINGS, tower="metadata")

    def right(kind: int) -> list[str]:
        return [f"kind{kind} asked"]

    def wrong(kind: int) -> list[str]:
        return [f"kind{(kind + 1) % KINDS} asked"]

    def scattered(kind: int) -> list[str]:
        return [*right(kind), *(f"kind{other} asked" for other in range(KINDS))]

    assert shared(dataset, encoder, right, SETTINGS) == SETTINGS.queries_share
    assert shared(dataset, encoder, wrong, described) == 0.0
    assert 0 < shared(dataset, encoder, scattered, described) < described.queries_share
    assert shared(dataset, encoder, wrong, replace(SCARCE, tower="metadata")) > 0
    assert shared(dataset, encoder, right, replace(SETTINGS, queries_share=0.0)) == 0.0


def test_without_synthetic_queries_there_is_no_share_to_choose(
    dataset: Dataset, labels: Labels, encoder: CachedEncoder
) -> None:
    candidates = tried(dataset, labels, SETTINGS, TAUS)
    exposed = exposed_slice(dataset, SETTINGS)

    assert with_shares(candidates, dataset.documents, encoder, exposed) == candidates
