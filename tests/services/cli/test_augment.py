from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from services.augmentation.app import build_app
from services.augmentation.dispatcher import Dispatcher
from services.augmentation.document_lines import chunk_of
from services.augmentation.line_reader import LineReader
from services.augmentation.routes.documents import key_name
from services.augmentation.settings import AugmentationSettings
from services.cli.augment import labels_of, remap_and_follow, summary_of, upload_and_follow
from shared.clients import AugmentationClient
from shared.contracts.augmentation import AcceptedJob, Job, JobKind, JobState
from shared.contracts.document import Document
from shared.contracts.synthetic_queries import SyntheticQueries, WrittenQueries
from shared.errors import InvalidInput
from shared.store import MemoryStore
from shared.store.intake import Hold
from tests.support.documents import label_of, revision_of
from tests.support.in_process import ImmediateQueue, InProcess

DOCUMENTS = [Document(id=f"d{number:03}", title=f"thing {number}") for number in range(450)]


class Suite:
    """The augmentation service, with a worker that labels at once or fails what is in `bad`."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.bad: set[str] = set()

    def augment(self, job_id: str, document_ids: Sequence[str]) -> None:
        for document_id in self.store.lease(job_id, document_ids, 60):
            if document_id in self.bad:
                self.store.finish_document(job_id, document_id, error="the SLM choked")
                continue
            document = self.store.document(document_id)
            self.store.write_labels(document_id, revision_of(document, label_of("q1", 0.75)))
            self.store.finish_document(job_id, document_id, labels=1)


Follow = Callable[..., Job]


@pytest.fixture
def suite() -> Suite:
    return Suite()


@pytest.fixture
def transport(suite: Suite) -> Iterator[InProcess]:
    queue = ImmediateQueue(suite.augment)
    dispatcher = Dispatcher(suite.store, queue, batch_size=64, seconds=60)
    with TestClient(build_app(AugmentationSettings(), suite.store, dispatcher)) as app:
        yield InProcess(app)


@pytest.fixture
def client(transport: InProcess) -> AugmentationClient:
    return AugmentationClient("http://augmentation", attempts=1, transport=transport)


@pytest.fixture
def progress() -> list[tuple[int, int]]:
    return []


@pytest.fixture
def follow(client: AugmentationClient, progress: list[tuple[int, int]], tmp_path: Path) -> Follow:
    def upload(
        documents: Sequence[Document] = DOCUMENTS, written: Sequence[SyntheticQueries] = ()
    ) -> Job:
        return upload_and_follow(
            client,
            lambda: documents,
            "slm-1",
            {row.document_id: row for row in written},
            lambda done, total: progress.append((done, total)),
            tmp_path / "run",
        )

    return upload


def test_a_file_of_any_length_is_one_job_that_is_followed_to_its_end(
    follow: Follow, progress: list[tuple[int, int]]
) -> None:
    job = follow()

    assert job.state is JobState.DONE
    assert progress[-1] == (450, 450)
    assert summary_of(job) == {
        "documents": 450, "unchanged": 0, "done": 450, "failed": 0, "cancelled": 0, "refused": 0,
        "labels": 450, "errors": {}, "refusals": [],
    }  # fmt: skip


def test_an_upload_that_was_killed_is_gone_on_with_when_it_is_run_again(
    follow: Follow, suite: Suite, tmp_path: Path
) -> None:
    class Dying(AugmentationClient):
        """Is killed in the middle of its upload: the service has half of the lines."""

        def upload_documents(
            self, lines: Callable[[], Iterable[bytes]], key: str, generator: str = ""
        ) -> AcceptedJob:
            stage_half(suite.store, b"\n".join([*lines(), b""]), key)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upload_and_follow(
            Dying("http://augmentation"), lambda: DOCUMENTS, "", {}, print, tmp_path / "run"
        )
    assert suite.store.counts().accepted == 0

    job = follow()

    assert (job.state, job.documents, job.refused) == (JobState.DONE, 450, 0)
    assert len(suite.store.jobs(9)[0]) == 1


def test_a_job_whose_follower_was_killed_is_followed_and_not_handed_in_again(
    follow: Follow, client: AugmentationClient, suite: Suite, tmp_path: Path
) -> None:
    def die(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upload_and_follow(client, lambda: DOCUMENTS, "slm-1", {}, die, tmp_path / "run")

    assert follow().documents == 450
    assert len(suite.store.jobs(9)[0]) == 1


def test_other_documents_are_another_job(
    follow: Follow, client: AugmentationClient, suite: Suite, tmp_path: Path
) -> None:
    def die(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upload_and_follow(client, lambda: DOCUMENTS, "slm-1", {}, die, tmp_path / "run")

    assert follow(DOCUMENTS[:2]).documents == 2


def stage_half(store: MemoryStore, data: bytes, key: str) -> None:
    """Leave an upload as a process that is killed does."""
    hold = Hold("killed", 0, 60)
    upload = store.open_upload(key_name(key), hold)
    reader = LineReader(chunk_bytes=1_000, max_line_bytes=10_000)
    for lines in reader.feed(data[: len(data) // 2]):
        store.stage(upload.job_id, hold, chunk_of(lines, "slm-1"))


def test_run_again_at_the_end_what_failed_is_tried_again_and_the_rest_costs_nothing(
    follow: Follow, suite: Suite
) -> None:
    suite.bad = {"d203"}
    first = follow()
    suite.bad = set()
    suite.store.note_generator("slm-1")

    second, third = follow(), follow()

    assert (first.state, first.errors) == (JobState.PARTIAL, {"d203": "the SLM choked"})
    assert (second.state, second.unchanged, second.labels) == (JobState.DONE, 449, 1)
    assert (third.state, third.unchanged, third.labels) == (JobState.DONE, 450, 0)


def test_queries_written_before_go_with_the_documents_they_belong_to(
    follow: Follow, suite: Suite
) -> None:
    written = [
        SyntheticQueries(document_id="d001", queries=["metal cup"]),
        SyntheticQueries(document_id="d449", queries=[]),
        SyntheticQueries(document_id="not-here", queries=["oboe"]),
    ]

    follow(written=written)

    assert suite.store.synthetic_queries(DOCUMENTS[1], "slm-1") == WrittenQueries(
        queries=["metal cup"]
    )
    assert suite.store.synthetic_queries(DOCUMENTS[449], "slm-1") == WrittenQueries(queries=[])
    assert suite.store.synthetic_queries(DOCUMENTS[1], "slm-2") is None


def test_documents_that_the_service_refuses_are_listed(follow: Follow) -> None:
    job = follow([DOCUMENTS[0], DOCUMENTS[1], DOCUMENTS[0]])

    assert (job.documents, job.refused) == (2, 1)
    assert summary_of(job)["refusals"] == [
        {"line": 3, "id": "d000", "reason": "the id came before"}
    ]


def test_a_file_without_documents_is_told(follow: Follow) -> None:
    with pytest.raises(InvalidInput, match="no line is a document"):
        follow([])


def test_what_labels_were_made_from_comes_out_as_skim_generate_writes_it(
    follow: Follow, client: AugmentationClient
) -> None:
    follow()

    rows = list(client.export_synthetic_queries())

    assert [row.document_id for row in rows] == [document.id for document in DOCUMENTS]
    assert rows[0].queries == ["reed wind", "orchestra"]
    assert [each.support for each in rows[0].evidence] == [1.0, 0.25]


def test_the_current_labels_come_out_by_query(follow: Follow, client: AugmentationClient) -> None:
    assert labels_of(client) == {}

    follow(DOCUMENTS[:2])

    assert labels_of(client) == {"q1": {"d000": 0.75, "d001": 0.75}}


def test_a_remap_is_followed_to_its_end(
    follow: Follow,
    client: AugmentationClient,
    transport: InProcess,
    suite: Suite,
    progress: list[tuple[int, int]],
) -> None:
    follow(DOCUMENTS[:3])
    progress.clear()

    class Sweeping(AugmentationClient):
        """Looks at a job after the sweeper and a worker have been at it."""

        def job(self, job_id: str) -> Job:
            page = suite.store.accept_page(job_id, 2)
            suite.augment(job_id, page.document_ids)
            return client.job(job_id)

    sweeping = Sweeping("http://augmentation", attempts=1, transport=transport)
    job = remap_and_follow(sweeping, lambda done, total: progress.append((done, total)))

    assert (job.kind, job.state, job.done) == (JobKind.REMAP, JobState.DONE, 3)
    assert progress == [(2, 3), (3, 3), (3, 3)]
