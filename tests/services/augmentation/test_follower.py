from collections.abc import Callable

import pytest

from services.augmentation.augmenter import Augmenter
from services.augmentation.dispatcher import Dispatcher
from services.augmentation.follower import Follower
from services.augmentation.sweeper import follow_once, sweep_once
from shared.contracts.augmentation import JobKind, JobState
from shared.contracts.document import Document
from shared.errors import Unavailable
from shared.store import MAX_AMONG, MemoryStore, Store
from tests.support.live_mapping import LiveMapping, Scribe
from tests.support.queues import FakeQueue

REED = Document(id="reed", title="oboe", text="double reed, wind")
SAW = Document(id="saw", title="saw", text="sharp tool")


class Suite:
    """A store, a mapping service that changes, a worker and a follower, driven by hand."""

    def __init__(self, store: Store, window: int = 100) -> None:
        self.store = store
        self.queue = FakeQueue()
        self.mapping = LiveMapping()
        self.scribe = Scribe()
        self.augmenter = Augmenter(store, self.scribe, self.mapping, lease_seconds=60)
        self.dispatcher = Dispatcher(store, self.queue, batch_size=2, seconds=60)
        self.window = window
        self.start_again()

    def start_again(self) -> None:
        """Replace the follower's process."""
        self.follower = Follower(self.store, self.mapping, self.dispatcher, window=self.window)

    def post(self, *documents: Document) -> str:
        job = self.store.accept(documents)
        self.dispatcher.dispatch(job.id, [document.id for document in documents])
        return job.id

    def work(self) -> None:
        """Empty the queue."""
        while self.queue.messages:
            self.augmenter.augment(*self.queue.messages.pop(0))

    def settle(self) -> None:
        """Follow and work until nothing is left to do."""
        for _ in range(8):
            self.follower.follow()
            self.work()

    def labels(self, document_id: str) -> list[str]:
        return [label.query_id for label in self.store.labels(document_id).labels]


@pytest.fixture(params=["memory", "redis"])
def suite(request: pytest.FixtureRequest) -> Suite:
    """A suite that follows, with two documents and a train query of each."""
    store = MemoryStore() if request.param == "memory" else request.getfixturevalue("redis_store")
    suite = Suite(store)
    suite.mapping.put("q-reed", "double reed")
    suite.mapping.put("q-tool", "sharp tool")
    suite.follower.follow()
    suite.post(REED, SAW)
    suite.work()
    suite.mapping.requests.clear()
    return suite


def jobs_of(suite: Suite) -> list[tuple[JobKind, JobState, int, int]]:
    """Return kind, state, documents and labels of each job, the oldest first."""
    jobs = reversed(suite.store.jobs(99)[0])
    return [(job.kind, job.state, job.documents, job.labels) for job in jobs]


def test_an_old_document_gains_a_new_train_query_without_the_generator(suite: Suite) -> None:
    asked = list(suite.scribe.asked)
    suite.mapping.put("q-wind", "wind instrument")

    suite.settle()

    assert suite.labels("reed") == ["q-reed", "q-wind"]
    assert suite.labels("saw") == ["q-tool"]
    assert suite.scribe.asked == asked
    assert jobs_of(suite)[1:] == [(JobKind.REMAP, JobState.DONE, 2, 2)]


def test_only_documents_that_reach_a_new_train_query_are_written_anew(suite: Suite) -> None:
    before = suite.store.labels("saw")
    suite.mapping.put("q-wind", "wind instrument")

    suite.settle()

    assert suite.store.labels("saw") == before
    among, whole = suite.mapping.requests
    assert (among.among, len(among.documents)) == (["q-wind"], 2)
    assert (whole.among, [each.document_id for each in whole.documents]) == (None, ["reed"])


def test_a_removed_train_query_is_gone_at_once_and_what_it_displaced_is_back(suite: Suite) -> None:
    for query_id, text in (("q-1", "tool"), ("q-2", "sharp tool box"), ("q-3", "sharp tool one")):
        suite.mapping.put(query_id, text)
    suite.settle()
    assert suite.labels("saw") == ["q-tool", "q-2"]

    suite.mapping.remove("q-2")
    suite.follower.follow()

    assert suite.labels("saw") == ["q-tool"]
    assert suite.store.labelled_with("q-2", 10).total == 0
    suite.settle()
    assert suite.labels("saw") == ["q-tool", "q-3"]


def test_a_train_query_with_another_text_is_mapped_by_that(suite: Suite) -> None:
    suite.mapping.put("q-tool", "double reed maker")

    suite.settle()

    assert suite.labels("saw") == []
    assert suite.labels("reed") == ["q-reed", "q-tool"]


def test_another_policy_remaps_everything_and_generates_nothing(suite: Suite) -> None:
    suite.mapping.put("q-wind", "wind instrument")
    suite.settle()
    asked = list(suite.scribe.asked)

    suite.mapping.policy = "p2"
    suite.settle()

    assert suite.labels("reed") == ["q-reed"]
    provenance = suite.store.labels("reed").labels[0].provenance
    assert (provenance.policy, provenance.min_similarity) == ("p2", 0.6)
    assert suite.store.labels("saw").labels[0].provenance.policy == "p2"
    assert suite.scribe.asked == asked


@pytest.mark.parametrize("how", ["forgotten history", "too many"])
def test_what_cannot_be_followed_one_by_one_remaps_everything(suite: Suite, how: str) -> None:
    suite.mapping.put("q-wind", "wind")
    if how == "too many":
        for number in range(MAX_AMONG):
            suite.mapping.put(f"q{number}", f"word{number}")
    else:
        suite.mapping.known_from = suite.mapping.version

    suite.settle()

    assert suite.labels("reed") == ["q-reed", "q-wind"]
    assert {request.among for request in suite.mapping.requests} == {None}


def test_an_index_put_back_is_followed_back(suite: Suite) -> None:
    suite.mapping.put("q-wind", "wind")
    suite.settle()
    older = LiveMapping()
    older.put("q-tool", "sharp tool")
    suite.mapping.__dict__.update(older.__dict__)

    suite.settle()

    assert (suite.labels("reed"), suite.labels("saw")) == ([], ["q-tool"])
    suite.mapping.put("q-wind", "wind")
    suite.settle()
    assert suite.labels("reed") == ["q-wind"]


def test_nothing_changed_asks_for_nothing(suite: Suite) -> None:
    suite.settle()

    assert suite.mapping.requests == []
    assert len(jobs_of(suite)) == 1


def test_labels_from_before_anything_was_followed_are_remapped() -> None:
    suite = Suite(MemoryStore())
    suite.post(REED)
    suite.work()
    assert suite.labels("reed") == []
    suite.mapping.put("q-reed", "double reed")

    suite.settle()

    assert suite.labels("reed") == ["q-reed"]
    assert suite.scribe.asked == ["reed"]


def test_a_worker_that_mapped_before_a_change_and_writes_after_it_is_caught_up(
    suite: Suite,
) -> None:
    """The remap looks at the document before the worker writes, and finds nothing to do."""
    late = Document(id="late", title="flute", text="wind")

    def change() -> None:
        suite.mapping.meanwhile = lambda: None
        suite.mapping.put("q-wind", "wind instrument")
        suite.mapping.remove("q-tool")
        suite.settle()

    suite.post(late)
    suite.mapping.meanwhile = change
    suite.work()
    assert suite.labels("late") == []

    suite.settle()

    assert suite.labels("late") == ["q-wind"]


def test_changes_gather_while_a_remap_is_under_way_and_removals_do_not_wait(suite: Suite) -> None:
    suite.mapping.put("q-wind", "wind instrument")
    suite.follower.follow()
    suite.mapping.put("q-sharp", "sharp tools")
    suite.mapping.remove("q-tool")
    suite.follower.follow()

    assert [kind for kind, *_ in jobs_of(suite)] == [JobKind.AUGMENT, JobKind.REMAP]
    assert suite.labels("saw") == []
    suite.settle()
    assert suite.labels("saw") == ["q-sharp"]


def test_a_remap_of_many_fills_neither_the_store_nor_the_queue() -> None:
    suite = Suite(MemoryStore(), window=4)
    suite.follower.follow()
    suite.post(*(Document(id=f"d{number}", title="x", text="wind") for number in range(11)))
    suite.work()
    suite.mapping.put("q-wind", "wind")

    waiting = []
    for _ in range(6):
        suite.follower.follow()
        waiting.append(suite.store.counts().waiting)
        suite.work()

    assert waiting[:4] == [4, 4, 3, 0]
    assert suite.store.labelled_with("q-wind", 100).total == 11


def test_a_document_without_stored_queries_of_its_content_is_left_to_its_own_job(
    suite: Suite,
) -> None:
    job_id = suite.post(Document(id="reed", title="oboe", text="wind"))
    messages, suite.queue.messages = suite.queue.messages, []
    suite.mapping.put("q-wind", "wind")

    suite.settle()

    assert suite.labels("reed") == ["q-reed"]
    assert jobs_of(suite)[-1] == (JobKind.REMAP, JobState.DONE, 2, 0)
    suite.queue.messages = messages
    suite.work()
    assert suite.labels("reed") == ["q-wind"]
    assert suite.store.job(job_id).state is JobState.DONE


def test_a_removed_document_does_not_come_back_by_a_remap(suite: Suite) -> None:
    def remove() -> None:
        suite.store.remove_documents(["reed"])

    suite.mapping.put("q-wind", "wind")
    suite.follower.follow()
    suite.mapping.meanwhile = remove
    suite.work()

    assert suite.store.counts().documents == 1
    assert suite.store.labelled_with("q-wind", 10).total == 0
    assert jobs_of(suite)[-1][1] is JobState.DONE


def test_a_mapping_that_is_behind_is_not_believed(suite: Suite) -> None:
    """Say a second process of it that has not heard of the change."""
    suite.mapping.put("q-wind", "wind")
    suite.follower.follow()
    suite.mapping.version -= 1

    with pytest.raises(Unavailable, match=r"answers with version 3 .*, expected 4 or later"):
        suite.work()


def test_a_remap_outlasts_a_mapping_that_stays_away(suite: Suite) -> None:
    suite.mapping.put("q-wind", "wind")
    suite.follower.follow()
    [(job_id, document_ids)] = suite.queue.messages
    suite.mapping.is_away = True
    with pytest.raises(Unavailable):
        suite.work()
    suite.mapping.is_away = False
    suite.queue.messages.clear()

    assert suite.store.job(job_id).failed == 0
    suite.store.lease(job_id, document_ids, 0)
    assert sweep_once(suite.dispatcher, 10) == 2
    suite.work()
    assert suite.labels("reed") == ["q-reed", "q-wind"]


@pytest.mark.parametrize("away", ["mapping", "queue"])
def test_following_goes_on_after_what_it_needs_was_away(suite: Suite, away: str) -> None:
    suite.mapping.put("q-wind", "wind")
    if away == "mapping":
        suite.mapping.is_away = True
    else:
        suite.queue.is_away = True
    follow_once(suite.follower)
    suite.mapping.is_away = suite.queue.is_away = False

    sweep_once(suite.dispatcher, 10)
    suite.settle()

    assert suite.labels("reed") == ["q-reed", "q-wind"]


def test_an_answer_that_is_not_our_contract_stops_no_sweeping(suite: Suite) -> None:
    def nonsense(since: int) -> None:
        raise ValueError("unexpected field")

    suite.mapping.changes = nonsense
    follow_once(suite.follower)


class Dying:
    """A store whose process dies at its n-th call, before the call or after it, as calls may end."""

    def __init__(self, store: Store, calls: int, is_done: bool) -> None:
        self._store = store
        self._left = calls
        self._is_done = is_done

    def __getattr__(self, name: str) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            self._left -= 1
            if self._left == 0 and not self._is_done:
                raise Unavailable(f"died before {name}")
            result = getattr(self._store, name)(*args, **kwargs)
            if self._left == 0:
                raise Unavailable(f"died after {name}")
            return result

        return call


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("calls", range(1, 14))
def test_a_follower_that_dies_anywhere_loses_nothing(
    suite: Suite, calls: int, is_done: bool
) -> None:
    suite.mapping.put("q-wind", "wind instrument")
    suite.mapping.remove("q-tool")
    suite.mapping.put("q-sharp", "sharp tools")
    store = suite.store
    dying = Dying(store, calls, is_done)
    dispatcher = Dispatcher(dying, suite.queue, batch_size=2, seconds=0)  # type: ignore[arg-type]
    follow_once(Follower(dying, suite.mapping, dispatcher, window=100))  # type: ignore[arg-type]

    suite.start_again()
    for _ in range(4):
        sweep_once(suite.dispatcher, 10)
        suite.settle()

    assert suite.labels("reed") == ["q-reed", "q-wind"]
    assert suite.labels("saw") == ["q-sharp"]
    assert suite.store.counts().waiting == 0
