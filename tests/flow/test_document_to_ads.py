"""The walking skeleton: a document becomes synthetic queries, labels, a classifier, a bundle, an ad."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from services.generation.app import load_generator
from services.generation.settings import GenerationSettings
from shared.contracts.augmentation import JobState
from shared.contracts.inference import Ad
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset, read_dataset
from shared.encoder import read_card
from shared.settings import CommonSettings
from tests.support.chain import (
    CLICKS,
    DOCUMENTS,
    TAU,
    TRAIN_QUERIES,
    TRAIN_QUERIES_OF_THINGS,
    UNSEEN_WORDING,
    WRITTEN,
    LegibleNoise,
    Suite,
    home_with,
    mapped_exactly,
    running,
)


def test_labels_are_those_that_exact_search_gives(
    suite: Suite, dataset: Dataset, tiny_encoder: Path
) -> None:
    job = suite.augmentation.post_documents(dataset.documents)

    ended = suite.augmentation.job(job.id)
    labels = suite.labels()
    found = {
        (query, each): cosine for query, row in labels.items() for each, cosine in row.items()
    }
    assert found == pytest.approx(mapped_exactly(tiny_encoder, WRITTEN, dataset), abs=1e-5)
    assert (ended.state, ended.done, ended.failed) == (JobState.DONE, len(WRITTEN), 0)
    assert ended.labels == len(found)
    assert {("q-reed", "oboe"), ("q-reed", "hautbois"), ("q-sharp", "naginata")} <= found.keys()


def test_a_label_says_which_synthetic_query_led_to_it(
    suite: Suite, dataset: Dataset, tiny_encoder: Path
) -> None:
    suite.augmentation.post_documents(dataset.documents)

    of_hautbois = suite.augmentation.labels("hautbois")
    [label] = [label for label in of_hautbois.labels if label.query_id == "q-reed"]
    assert of_hautbois.synthetic_queries == WRITTEN["hautbois"]
    assert label.query == TRAIN_QUERIES["q-reed"]
    assert label.provenance.synthetic_query == "a double reed woodwind"
    assert label.provenance.generator == "fake-1"
    assert label.provenance.min_similarity == TAU
    assert label.provenance.encoder == read_card(tiny_encoder).name


def test_a_document_is_an_ad_at_once_and_has_its_trained_vector_with_the_next_bundle(
    suite: Suite, dataset: Dataset
) -> None:
    first = replace(
        dataset,
        documents=[each for each in dataset.documents if each.id != "pear"],
        clicks={query: row for query, row in CLICKS.items() if "pear" not in row},
    )
    suite.augmentation.post_documents(first.documents)
    suite.publish(first, suite.labels())
    suite.augmentation.post_documents(dataset.documents)

    assert suite.inference.ads("pear", k=1).ads[0].id == "pear"
    assert suite.inference.explain("pear", "sweet fruit").vector == "cold_start"
    suite.publish(dataset, suite.labels())
    explained = suite.inference.explain("pear", "sweet fruit")
    assert explained.vector == "trained"
    assert explained.parts is not None
    assert explained.taught_by is not None
    assert [click.query for click in explained.taught_by.clicks] == ["sweet fruit"]


def test_a_new_document_is_found_by_what_was_written_for_it_before_any_training(
    suite: Suite, dataset: Dataset
) -> None:
    first = replace(
        dataset, documents=[each for each in dataset.documents if each.id != "hautbois"]
    )
    written = [
        SyntheticQueries(document_id=document.id, queries=WRITTEN[document.id])
        for document in first.documents
    ]
    suite.publish(first, {}, written)
    suite.inference.put_ads([Ad(id="hautbois", title="hautbois")])
    by_its_title = suite.inference.explain("hautbois", UNSEEN_WORDING)
    suite.augmentation.post_documents(dataset.documents)
    explained = suite.inference.explain("hautbois", UNSEEN_WORDING)

    assert (by_its_title.vector, by_its_title.taught_by) == ("cold_start", None)
    assert explained.vector == "cold_start"
    assert explained.taught_by is not None
    assert explained.taught_by.synthetic_queries == WRITTEN["hautbois"]
    assert explained.parts is not None
    assert explained.parts.synthetic_queries > 0


def test_a_deleted_ad_does_not_come_back_with_its_document_or_another_bundle(
    suite: Suite, dataset: Dataset
) -> None:
    suite.augmentation.post_documents(dataset.documents)
    suite.publish(dataset, {})
    suite.inference.delete_ads(["pear"])
    suite.augmentation.post_documents(dataset.documents)
    suite.publish(dataset, {})

    assert "pear" not in {ad.id for ad in suite.inference.ads("pear", k=100).ads}


def test_what_no_click_showed_is_found_because_of_its_label(
    suite: Suite, dataset: Dataset
) -> None:
    suite.augmentation.post_documents(dataset.documents)

    clicks_alone = suite.publish(dataset, {})
    before = suite.inference.ads(UNSEEN_WORDING)
    with_labels = suite.publish(dataset, suite.labels())
    after = suite.inference.ads(UNSEEN_WORDING)

    assert (before.generation, after.generation) == (clicks_alone, with_labels)
    assert "hautbois" not in [ad.id for ad in before.ads[:4]]
    assert after.ads[0].id == "hautbois"
    assert sorted(ad.id for ad in after.ads) == sorted(WRITTEN)
    hautbois = suite.inference.ad("hautbois")
    assert (hautbois.ad, hautbois.generation) == (
        Ad(id="hautbois", title="hautbois"),
        with_labels,
    )


def test_the_whole_chain_is_deterministic_with_a_real_language_model(
    tmp_path: Path, tiny_encoder: Path, tiny_slm: Path, dataset: Dataset
) -> None:
    outcomes = []
    for run in ("first", "second"):
        common = home_with(tmp_path / run, tiny_encoder, tiny_slm)
        generator = load_generator(
            common.models / "slm",
            GenerationSettings(threads=1, temperature=1.0, max_new_tokens=64),
            LegibleNoise,
        )
        with running(common, dataset, generator, tau=0.0) as suite:
            job = suite.augmentation.post_documents(dataset.documents)
            assert suite.augmentation.job(job.id).state is JobState.DONE
            written = [
                suite.augmentation.labels(document.id).synthetic_queries
                for document in dataset.documents
            ]
            suite.publish(dataset, suite.labels())
            outcomes.append((written, suite.labels(), suite.inference.ads(UNSEEN_WORDING).ads))

    assert any(outcomes[0][0])
    assert outcomes[0][1]
    assert outcomes[0] == outcomes[1]


@pytest.mark.slow
def test_the_real_models_label_real_documents_rightly(tmp_path: Path) -> None:
    built, folder = CommonSettings().models, CommonSettings().data / "things-2500"
    for needed in (built / "slm" / "generator.json", built / "encoder", folder):
        if not needed.exists():
            pytest.skip(f"{needed} is not there: `skim models build`, `skim data things {folder}`")
    things = read_dataset(folder)
    ids = {document.id for document in things.documents[:DOCUMENTS]}
    queries = [q for q in things.queries if q.split == "train"][:TRAIN_QUERIES_OF_THINGS]
    queries += [
        q for q in things.queries if q.split == "train" and ids & things.truth[q.id].keys()
    ]
    queries = list({query.id: query for query in queries}.values())
    part = Dataset(things.documents[:DOCUMENTS], queries, {}, {})
    common = home_with(tmp_path, (built / "encoder").resolve(), (built / "slm").resolve())

    with running(
        common, part, load_generator(common.models / "slm", GenerationSettings()), tau=0.6
    ) as suite:
        job = suite.augmentation.post_documents(part.documents)
        ended, labels = suite.augmentation.job(job.id), suite.labels()
        suite.publish(part, labels)
        query = next(iter(labels))
        answer = suite.inference.ads(next(q.text for q in queries if q.id == query), k=5)

    pairs = [(query, document) for query, row in labels.items() for document in row]
    right = sum(document in things.truth[query] for query, document in pairs) / len(pairs)
    relevant = sum(len(ids & things.truth[query.id].keys()) for query in queries)
    by_chance = relevant / (len(queries) * DOCUMENTS)
    assert (ended.state, ended.done) == (JobState.DONE, DOCUMENTS)
    assert len({document for _, document in pairs}) >= DOCUMENTS * 0.8
    assert right > 10 * by_chance, (len(pairs), right, by_chance)
    assert len(answer.ads) == 5
