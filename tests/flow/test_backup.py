"""The backup and the restore of deploy/README.md, as they stand there."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.contracts.document import Document
from shared.contracts.events import Event
from shared.contracts.mapping import TrainQuery
from shared.contracts.reviews import ReviewVerdict, Verdict
from tests.chaos.documents import document_of
from tests.support.whole_suite import PARTS, ROOT, WholeSuite

DOCUMENTS = 30


def commands(title: str) -> str:
    """Return the shell commands of the how-to's block that begins with a comment."""
    text = (ROOT / "deploy/README.md").read_text()
    found = re.search(rf"```sh\n(# {title}.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def suite(tmp_path: Path, tiny_encoder: Path) -> Iterator[WholeSuite]:
    with WholeSuite(tmp_path, tiny_encoder) as suite:
        suite.environment["SKIM_BACKUP"] = str(tmp_path / "backup")
        program = tmp_path / "bin" / "skim"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m services.cli "$@"\n')
        program.chmod(0o755)
        suite.environment["PATH"] = f"{program.parent}:{suite.environment['PATH']}"
        yield suite


def run(suite: WholeSuite, title: str) -> None:
    # Here generation is a stand-in that `skim up` must not start.
    script = commands(title).replace("skim up\n", f"skim up --only {PARTS}\n")
    done = suite.run(["bash", "-euxo", "pipefail", "-c", script])
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_everything_is_there_after_backup_destruction_and_restore(suite: WholeSuite) -> None:
    with suite.mapping() as mapping:  # it is in the mapping's journal alone
        mapping.put_train_queries([TrainQuery(id="q-late", text="a late query")])
        known = mapping.info()
    suite.until(lambda: _is_followed(suite, known.index_version))
    with suite.augmentation() as augmentation, suite.inference() as inference:
        job = augmentation.post_documents([document_of(each) for each in range(DOCUMENTS)])
        suite.until(lambda: augmentation.job(job.id).done == DOCUMENTS)
        labels = augmentation.labels("d00000")
        query_id = labels.labels[0].query_id
        augmentation.put_reviews(
            [Verdict(document_id="d00000", query_id=query_id, verdict=ReviewVerdict.ACCEPT)]
        )
        dead = suite.store.accept([Document(id="dead", title="dead")])
        suite.store.finish_document(dead.id, "dead", error="odd")
        inference.put_ads([Document(id="own", title="an ad of its own")])
        answer = inference.ads("reed wind", k=3)
        click = Event(
            id="e-1",
            kind="click",
            time=datetime.now(UTC),
            query="reed wind",
            ad=answer.ads[0].id,
            position=1,
            generation=answer.generation,
            request=answer.request,
        )
        assert inference.send_events([click]).accepted == 1
        suite.until(lambda: augmentation.counts().waiting == 0)
        exported = sorted(each.model_dump_json() for each in augmentation.export_labels())
        augmentation.post_documents([document_of(each) for each in range(DOCUMENTS, 200)])
        run(suite, "Backup")  # while documents are worked on
        suite.until(lambda: augmentation.counts().waiting == 0)

    suite.skim("down")
    for name in ("redis", "ads", "mapping", "events", "bundles"):
        shutil.rmtree(suite.home / name)
    run(suite, "Restore")

    with suite.augmentation() as augmentation, suite.inference() as inference:
        suite.until(lambda: augmentation.counts().waiting == 0)
        found = {each.model_dump_json() for each in augmentation.export_labels()}
        assert set(exported) <= found
        assert augmentation.counts().documents == 201
        assert {each.document_id for each in augmentation.export_labels()} == {
            f"d{number:05}" for number in range(200)
        }
        assert [each.query_id for each in suite.store.reviews("d00000")] == [query_id]
        assert augmentation.job(job.id).done == DOCUMENTS
        assert [each.document_id for each in augmentation.all_dead_letters()] == ["dead"]
        assert inference.ad("own").ad.title == "an ad of its own"
        assert inference.ad("d00199").ad.title == "thing 199"
    with suite.mapping() as mapping:
        assert mapping.info() == known
    assert any(b"e-1" in path.read_bytes() for path in (suite.home / "events").iterdir())


def _is_followed(suite: WholeSuite, version: int) -> bool:
    followed = suite.store.followed()
    return followed is not None and followed.version == version
