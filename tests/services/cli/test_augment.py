import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from services.augmentation.app import build_app
from services.augmentation.dispatcher import Dispatcher
from services.augmentation.settings import AugmentationSettings
from services.cli.augment import labels_of, post_and_follow, remap_and_follow, summary_of
from shared.clients import AugmentationClient
from shared.contracts.augmentation import Job, JobKind, JobState
from shared.contracts.document import Document
from shared.contracts.synthetic_queries import SyntheticQueries, WrittenQueries
from shared.store import MemoryStore
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


Follow = Callable[..., list[Job]]


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
    def post(
        documents: Sequence[Document] = DOCUMENTS, written: Sequence[SyntheticQueries] = ()
    ) -> list[Job]:
        return post_and_follow(
            client,
            documents,
            "slm-1",
            written,
            lambda done, total: progress.append((done, total)),
            tmp_path / "run" / "journal.jsonl",
        )

    return post


def posts(transport: InProcess) -> int:
    return transport.paths.count("/v1/documents")


def test_a_long_file_becomes_several_jobs_that_are_followed_to_their_end(
    follow: Follow, progress: list[tuple[int, int]]
) -> None:
    jobs = follow()

    assert [job.documents for job in jobs] == [200, 200, 50]
    assert {job.state for job in jobs} == {JobState.DONE}
    assert progress[-1] == (450, 450)
    assert summary_of(jobs) == {
        "documents": 450, "done": 450, "failed": 0, "labels": 450, "errors": {},
    }  # fmt: skip


def test_run_again_jobs_that_are_known_are_followed_and_not_posted_twice(
    follow: Follow, transport: InProcess
) -> None:
    first = follow()

    assert follow() == first
    assert posts(transport) == 3


def test_a_run_that_broke_off_posts_only_what_it_had_not_posted(
    follow: Follow, transport: InProcess, tmp_path: Path
) -> None:
    first = follow()
    journal = tmp_path / "run" / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:2]))

    second = follow()

    assert [job.id for job in second[:2]] == [job.id for job in first[:2]]
    assert second[2].id != first[2].id
    assert posts(transport) == 4
    assert [json.loads(line)[0] for line in journal.read_text().splitlines()] == [0, 200, 400]


def test_a_job_that_failed_is_posted_again(
    follow: Follow, suite: Suite, transport: InProcess
) -> None:
    suite.bad = {"d203"}
    first = follow()
    suite.bad = set()

    second = follow()

    assert summary_of(first)["errors"] == {"d203": "the SLM choked"}
    assert [job.state for job in first] == [JobState.DONE, JobState.PARTIAL, JobState.DONE]
    assert {job.state for job in second} == {JobState.DONE}
    assert [a.id == b.id for a, b in zip(first, second, strict=True)] == [True, False, True]
    assert posts(transport) == 4


def test_a_job_that_the_store_has_lost_is_posted_again(
    follow: Follow, tmp_path: Path, transport: InProcess
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "journal.jsonl").write_text('[0,"no-such-job"]\n')

    [job] = follow(DOCUMENTS[:2])

    assert (job.state, job.done) == (JobState.DONE, 2)
    assert posts(transport) == 1


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
