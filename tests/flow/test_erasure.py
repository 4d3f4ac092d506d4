"""Who deletes a document finds nothing of it in any key of Redis and any file of the home."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.contracts.document import Document
from shared.contracts.events import Event
from shared.contracts.reviews import ReviewVerdict, Verdict
from shared.dataset import Dataset, Query, write_dataset
from tests.chaos.documents import document_of
from tests.support.whole_suite import WholeSuite

CANARY = "Xylokanarie"
OTHERS = 20
SECRET = Document(
    id="secret",
    title=f"a {CANARY} of reed",
    text=f'reed wind, "{CANARY}" é; brass',
    metadata={CANARY: f"maker {CANARY}", "year": 1690},
)


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Iterator[WholeSuite]:
    with WholeSuite(tmp_path_factory.mktemp("suite"), tiny_encoder) as suite:
        yield suite


@pytest.mark.slow
def test_nothing_is_left_of_an_erased_document(suite: WholeSuite) -> None:
    with suite.augmentation() as augmentation, suite.inference() as inference:
        job = augmentation.post_documents([SECRET, *map(document_of, range(OTHERS))])
        suite.until(lambda: augmentation.job(job.id).done == OTHERS + 1)
        labels = augmentation.labels("secret")
        assert labels.labels
        assert any(CANARY.lower() in each.lower() for each in labels.synthetic_queries)
        verdict = Verdict(
            document_id="secret",
            query_id=labels.labels[0].query_id,
            verdict=ReviewVerdict.REJECT,
        )
        augmentation.put_reviews([verdict])
        suite.until(lambda: augmentation.counts().waiting == 0)
        before = suite.skim("store", "find", CANARY, expected=[1])["places"]
        # Another version of it, and one that was given up.
        augmentation.post_documents([SECRET.model_copy(update={"title": f"{CANARY} again"})])
        suite.store.finish_document(suite.store.accept([SECRET]).id, "secret", error="odd")
        suite.until(lambda: augmentation.counts().waiting == 0)
        answer = inference.ads("reed wind", k=3)
        event = Event(
            id="e-1",
            kind="click",
            time=datetime.now(UTC),
            query="reed wind",
            ad="secret",
            position=1,
            generation=answer.generation,
            request=answer.request,
        )
        assert inference.send_events([event]).accepted == 1
        assert inference.ad("secret").ad.title

    erased = suite.skim("store", "erase", "secret", "--prove", CANARY)

    kinds = {place.split(":")[3] for place in before if place.startswith("redis: skim:1:")}
    assert {"document", "synthetic"} <= kinds
    files = " ".join(place for place in before if not place.startswith("redis"))
    assert "journal.bin" in files
    assert "appendonlydir" in files
    assert erased["left"] == []
    assert erased["removed"] == 1
    suite.skim("down")
    assert list(_files_with(suite.home, CANARY.encode())) == []
    suite.skim("up", "--only", "redis,mapping,augmentation,inference,worker,sweeper")
    with suite.augmentation() as augmentation, suite.inference() as inference:
        assert augmentation.counts().documents == OTHERS
        assert inference.info().ads == OTHERS + 4


@pytest.mark.slow
def test_a_bundle_that_knows_it_is_named(suite: WholeSuite, tmp_path: Path) -> None:
    ads = [SECRET, Document(id="other", title="other")]
    dataset = Dataset(ads, [Query(id="q", text="reed")], {"q": {"secret": 1.0}}, {})
    write_dataset(tmp_path / "known", dataset)
    suite.skim("train", str(tmp_path / "known"), "--clicks-only", "--version", "knows")

    told = suite.skim("store", "erase", "secret", "--prove", CANARY, expected=[1])

    assert told["left"]
    assert all("bundles/knows" in place for place in told["left"])
    assert told["unknown"] == ["secret"]


def _files_with(folder: Path, text: bytes) -> Iterator[Path]:
    """Yield every file that has a text, read by nothing of ours."""
    for path in folder.rglob("*"):
        if path.is_file() and text.lower() in path.read_bytes().lower():
            yield path
