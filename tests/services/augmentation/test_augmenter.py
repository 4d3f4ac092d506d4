import threading
from collections.abc import Callable, Sequence

import pytest
from pydantic import ValidationError

from services.augmentation.augmenter import Augmenter, reason_of
from services.augmentation.sweeper import note_generator_once
from shared.contracts.augmentation import JobState
from shared.contracts.document import Document
from shared.contracts.generation import GeneratedQueries, GenerateResponse, GenerationInfo
from shared.contracts.mapping import MappedDocument, MapRequest, MapResponse
from shared.errors import InvalidInput, SkimError, Unanswered, Unavailable
from shared.store import MAX_TRIES, MemoryStore
from tests.support.documents import document_of, label_of

D1, D2, D3 = (document_of(document_id) for document_id in ("d1", "d2", "d3"))


class FakeGeneration:
    """Writes one query a document; refuses documents named in `bad`."""

    def __init__(self) -> None:
        self.name = "slm-1"
        self.calls: list[list[str]] = []
        self.bad: set[str] = set()
        self.silent: set[str] = set()
        self.unlucky: set[str] = set()
        self.error: Exception | None = None
        self.info_error: BaseException | None = None

    def info(self) -> GenerationInfo:
        if self.info_error:
            raise self.info_error
        return GenerationInfo(
            generator=self.name, adapter="none", temperature=0, top_k=1, max_new_tokens=8
        )

    def generate(self, documents: Sequence[Document]) -> GenerateResponse:
        ids = [document.id for document in documents]
        self.calls.append(ids)
        if self.error:
            raise self.error
        if unanswered := self.unlucky.intersection(ids):
            raise Unanswered(f"no answer for {', '.join(sorted(unanswered))}")
        if refused := self.bad.intersection(ids):
            raise InvalidInput(f"cannot read {sorted(refused)}")
        return GenerateResponse(
            generator=self.name,
            results=[
                GeneratedQueries(
                    document_id=each, queries=[] if each in self.silent else [f"what is {each}"]
                )
                for each in ids
            ],
        )


class FakeMapping:
    """Maps each synthetic query to one train query."""

    def __init__(self) -> None:
        self.requests: list[MapRequest] = []
        self.before: Callable[[], None] = lambda: None
        self.error: Exception | None = None

    def map(self, request: MapRequest) -> MapResponse:
        self.requests.append(request)
        self.before()
        if self.error:
            raise self.error
        return MapResponse(
            encoder="encoder-1",
            min_similarity=0.6,
            neighbours=10,
            results=[
                MappedDocument(
                    document_id=document.document_id,
                    labels=[label_of("q1", 0.9, query) for query in document.queries],
                )
                for document in request.documents
            ],
        )


@pytest.fixture
def generation() -> FakeGeneration:
    return FakeGeneration()


@pytest.fixture
def mapping() -> FakeMapping:
    return FakeMapping()


@pytest.fixture
def augmenter(store: MemoryStore, generation: FakeGeneration, mapping: FakeMapping) -> Augmenter:
    return Augmenter(store, generation, mapping, lease_seconds=60)


def test_documents_get_labels_and_are_done(store: MemoryStore, augmenter: Augmenter) -> None:
    job = store.accept([D1, D2])

    augmenter.augment(job.id, ["d1", "d2"])

    job = store.job(job.id)
    assert (job.state, job.done, job.labels) == (JobState.DONE, 2, 2)
    labels = store.labels("d1")
    assert labels.synthetic_queries == ["what is d1"]
    [label] = labels.labels
    assert label.query_id == "q1"
    assert (label.provenance.synthetic_query, label.provenance.generator) == (
        "what is d1",
        "slm-1",
    )
    assert (label.provenance.encoder, label.provenance.min_similarity) == ("encoder-1", 0.6)


def test_a_document_without_synthetic_queries_is_done_with_no_labels(
    store: MemoryStore, generation: FakeGeneration, augmenter: Augmenter
) -> None:
    generation.silent = {"d1"}
    job = store.accept([D1])

    augmenter.augment(job.id, ["d1"])

    job = store.job(job.id)
    assert (job.state, job.labels, job.errors) == (JobState.DONE, 0, {})
    assert store.labels("d1").revision is not None


def test_a_message_that_comes_twice_is_worked_on_once(
    store: MemoryStore, generation: FakeGeneration, mapping: FakeMapping, augmenter: Augmenter
) -> None:
    job = store.accept([D1])
    for _ in range(2):
        augmenter.augment(job.id, ["d1"])

    assert len(generation.calls) == len(mapping.requests) == 1
    assert store.job(job.id).labels == 1


def test_what_is_unavailable_leaves_the_documents_waiting(
    store: MemoryStore, generation: FakeGeneration, augmenter: Augmenter
) -> None:
    generation.error = Unavailable("generation is away")
    job = store.accept([D1])

    with pytest.raises(Unavailable):
        augmenter.augment(job.id, ["d1"])

    assert store.job(job.id) == job
    assert store.counts().waiting == 1


def test_a_retry_uses_the_synthetic_queries_that_were_written(
    store: MemoryStore, generation: FakeGeneration, mapping: FakeMapping, augmenter: Augmenter
) -> None:
    mapping.error = Unavailable("mapping is away")
    job = store.accept([D1])
    with pytest.raises(Unavailable):
        augmenter.augment(job.id, ["d1"])
    mapping.error = None

    augmenter.augment(job.id, ["d1"])

    assert generation.calls == [["d1"]]
    assert store.job(job.id).state is JobState.DONE


def test_a_document_posted_again_is_unchanged_and_costs_nothing(
    store: MemoryStore, generation: FakeGeneration, mapping: FakeMapping, augmenter: Augmenter
) -> None:
    for documents in ([D1], [D1, D2]):
        job = store.accept(documents)
        augmenter.augment(job.id, [document.id for document in documents])

    assert generation.calls == [["d1"], ["d2"]]
    assert [len(request.documents) for request in mapping.requests] == [1, 1]
    job = store.job(job.id)
    assert (job.state, job.unchanged, job.done, job.labels) == (JobState.DONE, 1, 2, 1)


def test_another_generator_writes_anew(
    store: MemoryStore, generation: FakeGeneration, augmenter: Augmenter
) -> None:
    for generation.name in ("slm-1", "slm-2"):
        note_generator_once(store, generation)  # as the sweeper does
        job = store.accept([D1])
        augmenter.augment(job.id, ["d1"])

    assert generation.calls == [["d1"], ["d1"]]
    assert store.labels("d1").labels[0].provenance.generator == "slm-2"


def test_a_document_that_is_refused_fails_alone(
    store: MemoryStore, generation: FakeGeneration, augmenter: Augmenter
) -> None:
    generation.bad = {"d2"}
    job = store.accept([D1, D2, D3])

    augmenter.augment(job.id, ["d1", "d2", "d3"])

    job = store.job(job.id)
    assert (job.state, job.done, job.failed) == (JobState.PARTIAL, 2, 1)
    assert job.errors == {"d2": "cannot read ['d2']"}
    assert store.labels("d3").labels


def test_a_document_that_changed_meanwhile_is_left_to_the_job_that_changed_it(
    store: MemoryStore, mapping: FakeMapping, augmenter: Augmenter
) -> None:
    job = store.accept([D1])
    mapping.before = lambda: store.accept([document_of("d1", "other text")]) and None

    augmenter.augment(job.id, ["d1"])

    assert (store.job(job.id).state, store.job(job.id).labels) == (JobState.DONE, 0)
    assert store.labels("d1").revision is None
    assert store.counts().waiting == 1


def test_while_no_generator_answers_the_one_before_counts(
    store: MemoryStore, generation: FakeGeneration, augmenter: Augmenter
) -> None:
    augmenter.augment(store.accept([D1]).id, ["d1"])

    class Away:
        def info(self) -> GenerationInfo:
            raise Unavailable("generation is away")

        generate = generation.generate

    note_generator_once(store, Away())

    assert store.accept([D1]).unchanged == 1


def test_what_is_unavailable_does_not_count_as_a_try(
    store: MemoryStore, generation: FakeGeneration, augmenter: Augmenter
) -> None:
    generation.error = Unavailable("generation is away")
    job = store.accept([D1])
    for _ in range(2 * MAX_TRIES):
        with pytest.raises(Unavailable):
            augmenter.augment(job.id, ["d1"])
    generation.error = None

    augmenter.augment(job.id, ["d1"])

    assert store.job(job.id).state is JobState.DONE


@pytest.mark.parametrize(
    "error",
    [Unanswered("no answer"), MemoryError("too much"), TimeoutError("time is up"), SkimError("?")],
)
def test_a_batch_that_failed_is_tried_document_by_document(
    store: MemoryStore, generation: FakeGeneration, augmenter: Augmenter, error: Exception
) -> None:
    job = store.accept([D1, D2])
    generation.error = error
    assert augmenter.augment(job.id, ["d1", "d2"]) == []
    generation.error = None

    assert augmenter.augment(job.id, ["d1", "d2"]) == ["d1", "d2"]

    for each in ("d1", "d2"):
        augmenter.augment(job.id, [each])
    assert store.job(job.id).state is JobState.DONE


def test_a_document_that_no_one_answers_for_is_a_dead_letter_and_its_neighbour_done(
    store: MemoryStore, generation: FakeGeneration, augmenter: Augmenter
) -> None:
    generation.unlucky = {"d2"}
    job = store.accept([D1, D2])
    augmenter.augment(job.id, ["d1", "d2"])
    augmenter.augment(job.id, ["d1"])

    for _ in range(MAX_TRIES):
        augmenter.augment(job.id, ["d2"])

    [dead] = store.dead_letters(9).dead_letters
    assert (dead.document_id, dead.reason, dead.tries) == ("d2", "no answer for d2", MAX_TRIES)
    assert store.job(job.id).state is JobState.PARTIAL
    assert len(generation.calls) == 1 + 1 + MAX_TRIES


def test_a_generator_that_cannot_say_who_it_is_is_no_documents_fault(
    store: MemoryStore, generation: FakeGeneration, augmenter: Augmenter
) -> None:
    generation.info_error = Unanswered("info broke off")
    job = store.accept([D1])

    with pytest.raises(Unavailable) as raised:
        augmenter.augment(job.id, ["d1"])

    assert not isinstance(raised.value, Unanswered)
    assert store.dead_letters(9).total == 0


def test_a_worker_told_to_end_gives_its_documents_back_at_once(
    store: MemoryStore, generation: FakeGeneration, augmenter: Augmenter
) -> None:
    generation.info_error = SystemExit()
    job = store.accept([D1, D2])

    with pytest.raises(SystemExit):
        augmenter.augment(job.id, ["d1", "d2"])

    assert store.abandoned(9) == {job.id: ["d1", "d2"]}
    assert list(store.take(job.id, ["d1", "d2"], "another", 60).document_ids) == ["d1", "d2"]


def test_what_is_in_hands_stays_there_while_it_is_worked_on(
    store: MemoryStore, generation: FakeGeneration, mapping: FakeMapping
) -> None:
    renewed = threading.Event()

    class Renewed(MemoryStore):
        def renew(
            self, job_id: str, document_ids: Sequence[str], owner: str, seconds: float
        ) -> None:
            super().renew(job_id, document_ids, owner, seconds)
            renewed.set()

    store = Renewed()
    mapping.before = lambda: renewed.wait(20) and None
    job = store.accept([D1])

    Augmenter(store, generation, mapping, lease_seconds=0.01).augment(job.id, ["d1"])

    assert renewed.is_set()


def test_a_reason_holds_no_text_of_a_document() -> None:
    with pytest.raises(ValidationError) as raised:
        GenerateResponse.model_validate({"generator": "g", "results": "secret text"})

    reason = reason_of(raised.value)

    assert reason.startswith("an answer that is not our contract: results: ")
    assert "secret" not in reason
