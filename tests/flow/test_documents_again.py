"""Documents posted again, or with queries that were written before, cost nothing twice."""

from __future__ import annotations

from shared.contracts.augmentation import JobState, WrittenBefore
from shared.dataset import Dataset
from tests.support.chain import WRITTEN, Suite


def test_posting_the_same_documents_again_changes_nothing(suite: Suite, dataset: Dataset) -> None:
    suite.augmentation.post_documents(dataset.documents)
    labels, calls = suite.labels(), suite.generated()
    before = suite.augmentation.labels("oboe")

    again = suite.augmentation.post_documents(dataset.documents)

    counts = suite.augmentation.counts()
    assert suite.augmentation.job(again.id).state is JobState.DONE
    assert suite.labels() == labels
    assert suite.augmentation.labels("oboe").revision == before.revision
    assert suite.generated() == calls
    assert (counts.documents, counts.labels) == (
        len(WRITTEN),
        sum(map(len, labels.values())),
    )


def test_queries_written_before_are_used_without_asking_the_generator(
    suite: Suite, dataset: Dataset
) -> None:
    before = WrittenBefore(generator="fake-1", queries={"oboe": ["metal cup"]})

    suite.augmentation.post_documents(dataset.documents[:1], before)

    of_oboe = suite.augmentation.labels("oboe")
    assert suite.generated() == 0
    assert of_oboe.synthetic_queries == ["metal cup"]
    assert of_oboe.labels[0].query_id == "q-cup"


def test_queries_that_another_generator_wrote_before_are_not_used(
    suite: Suite, dataset: Dataset
) -> None:
    before = WrittenBefore(generator="other-1", queries={"oboe": ["metal cup"]})

    suite.augmentation.post_documents(dataset.documents[:1], before)

    assert suite.generated() == 1
    assert suite.augmentation.labels("oboe").synthetic_queries == WRITTEN["oboe"]


def test_documents_that_were_not_written_before_are_generated(
    suite: Suite, dataset: Dataset
) -> None:
    before = WrittenBefore(generator="fake-1", queries={"oboe": ["metal cup"]})

    suite.augmentation.post_documents(dataset.documents[:2], before)

    assert suite.generated() == 1
    assert suite.augmentation.labels("flute").synthetic_queries == WRITTEN["flute"]
