from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from services.training.classifiers import ClassifierSettings
from services.training.embeddings import CachedEncoder
from services.training.evaluation import exposed_slice
from services.training.guard import GuardSettings
from services.training.supervision import Supervision, supervise
from services.training.train import (
    TrainedModel,
    TrainSettings,
    embed_documents,
    embed_queries,
    flat_settings,
    start_of,
    train,
)
from shared.cold_start import cold_start_of
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset
from shared.errors import InvalidInput

Labels = dict[str, dict[str, float]]
TITLES = TrainSettings(tower="title")


def trained(
    dataset: Dataset, labels: Labels, encoder: CachedEncoder, settings: TrainSettings
) -> TrainedModel:
    return train(
        dataset.documents,
        supervise(dataset, labels, settings.labels),
        encoder,
        settings,
        exposed_slice(dataset, settings),
    )


def test_training_lifts_what_the_train_queries_were_labelled_with(
    dataset: Dataset, labels: Labels, encoder: CachedEncoder
) -> None:
    model = trained(dataset, labels, encoder, TITLES)
    train_queries = dataset.queries_of("train")
    [click] = dataset.clicks[train_queries[0].id]
    position = [document.id for document in dataset.documents].index(click)
    scores = model.vectors @ embed_queries(train_queries, encoder)[0]
    before = (
        embed_documents(dataset.documents, encoder, "title")
        @ embed_queries(train_queries, encoder)[0]
    )

    assert (scores > scores[position]).sum() < 10
    assert scores[position] - scores.mean() > before[position] - before.mean()


def test_the_counts_say_what_was_learned_from(
    dataset: Dataset, labels: Labels, encoder: CachedEncoder
) -> None:
    counts = trained(dataset, labels, encoder, TITLES).counts

    assert (counts.ads, counts.train_queries, counts.clicks) == (96, 36, 36)
    assert counts.labels == sum(
        len(labels[query.id].keys() - dataset.clicks[query.id].keys())
        for query in dataset.queries_of("train")
    )


def test_labels_and_clicks_of_held_out_queries_teach_nothing(
    dataset: Dataset, labels: Labels, encoder: CachedEncoder
) -> None:
    train_ids = {query.id for query in dataset.queries_of("train")}
    clean = replace(dataset, clicks={q: dataset.clicks[q] for q in train_ids})

    tempted = trained(dataset, labels, encoder, TITLES)
    honest = trained(clean, {q: labels[q] for q in train_ids}, encoder, TITLES)

    assert (tempted.vectors == honest.vectors).all()
    assert tempted.data_sha256 == honest.data_sha256


def test_test_truth_changes_nothing(
    dataset: Dataset, labels: Labels, encoder: CachedEncoder
) -> None:
    test_ids = {query.id for query in dataset.queries_of("test")}
    blind = replace(dataset, truth={q: r for q, r in dataset.truth.items() if q not in test_ids})

    first, second = (trained(d, labels, encoder, TITLES) for d in (dataset, blind))

    assert (first.vectors == second.vectors).all()


def test_labels_of_unknown_documents_are_left_out(
    dataset: Dataset, encoder: CachedEncoder
) -> None:
    first = dataset.queries_of("train")[0].id

    model = trained(dataset, {first: {"elsewhere": 0.9}}, encoder, TITLES)

    assert model.counts.labels == 0


def test_the_towers_start_from_different_texts(dataset: Dataset, encoder: CachedEncoder) -> None:
    closed = GuardSettings(candidates=(0.0,), default=0.0)

    titles, metadata = (
        trained(dataset, {}, encoder, TrainSettings(tower=tower, guard=closed)).vectors
        for tower in ("title", "metadata")
    )

    assert (titles == embed_documents(dataset.documents, encoder, "title")).all()
    assert (metadata == embed_documents(dataset.documents, encoder, "metadata")).all()
    assert not (titles == metadata).all()


def test_the_hash_follows_the_data(
    dataset: Dataset, labels: Labels, encoder: CachedEncoder
) -> None:
    hashes = {trained(dataset, taken, encoder, TITLES).data_sha256 for taken in ({}, labels)}

    assert len(hashes) == 2


@pytest.mark.parametrize("change", [{"clicks": {}}, {"queries": []}, {"documents": []}])
def test_nothing_to_learn_from_is_refused(
    dataset: Dataset, encoder: CachedEncoder, change: dict[str, object]
) -> None:
    with pytest.raises(InvalidInput, match="train on"):
        trained(replace(dataset, **change), {}, encoder, TITLES)


def test_vectors_are_float32_and_finite(dataset: Dataset, encoder: CachedEncoder) -> None:
    vectors = trained(dataset, {}, encoder, TITLES).vectors

    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()


def test_settings_are_flat_under_dotted_names() -> None:
    flat = flat_settings(TITLES)

    assert (flat["tower"], flat["classifiers.epochs"], flat["labels.kind"]) == ("title", 6, "hard")
    assert all(isinstance(value, str | int | float | bool) for value in flat.values())


def test_a_run_that_was_killed_goes_on_where_it_was(
    dataset: Dataset, labels: Labels, encoder: CachedEncoder, tmp_path: Path
) -> None:
    settings = TrainSettings(
        tower="title", classifiers=ClassifierSettings(epochs=2, documents_per_chunk=40)
    )
    supervision = supervise(dataset, labels, settings.labels)

    class Killed(Exception):
        """Stands for the end of the process."""

    def _run(stop_at: int | None) -> tuple[TrainedModel | None, list[int]]:
        told: list[int] = []

        def _tell(done: int, _: int) -> None:
            told.append(done)
            if done == stop_at:
                raise Killed

        try:
            model = train(
                dataset.documents,
                supervision,
                encoder,
                settings,
                progress=_tell,
                checkpoint=tmp_path / "classifiers",
            )
        except Killed:
            return None, told
        return model, told

    _run(stop_at=5)
    resumed, told = _run(stop_at=None)
    whole = train(dataset.documents, supervision, encoder, settings)

    assert told == [5, 6]
    assert resumed is not None
    assert (resumed.vectors == whole.vectors).all()
    assert not (tmp_path / "classifiers").exists()


def with_queries(dataset: Dataset, texts: dict[str, list[str]]) -> Supervision:
    written = [SyntheticQueries(document_id=key, queries=row) for key, row in texts.items()]
    return supervise(dataset, {}, TITLES.labels, written)


def test_training_begins_where_synthetic_queries_are_part_of_a_document(
    dataset: Dataset, encoder: CachedEncoder
) -> None:
    first = dataset.documents[0]
    supervision = with_queries(dataset, {first.id: ["a quick boat", "a slow boat"]})
    described = embed_documents(dataset.documents, encoder, "title")
    rows = encoder.encode(supervision.queries, max_tokens=32)

    start, has_queries = start_of(described, rows, supervision, 0.5)

    mean = encoder.encode(["a quick boat", "a slow boat"], max_tokens=32).mean(axis=0)
    expected = described[0] + mean / np.linalg.norm(mean)
    assert start[0] == pytest.approx(expected / np.linalg.norm(expected), abs=1e-6)
    assert has_queries.tolist() == [document is first for document in dataset.documents]
    assert start[1] == pytest.approx(described[1], abs=1e-6)
    assert start_of(described, rows, supervision, 0.0)[0] is described


def test_titles_and_train_queries_are_no_synthetic_queries(
    dataset: Dataset, encoder: CachedEncoder
) -> None:
    supervision = supervise(dataset, {}, TITLES.labels)
    described = embed_documents(dataset.documents, encoder, "title")
    rows = encoder.encode(supervision.queries, max_tokens=32)

    start, has_queries = start_of(described, rows, supervision, 0.5)

    assert start is described
    assert not has_queries.any()


def test_the_model_tells_how_training_moved_documents_with_synthetic_queries(
    dataset: Dataset, encoder: CachedEncoder
) -> None:
    texts = {document.id: [f"cheap {document.title}"] for document in dataset.documents[:40]}
    supervision = with_queries(dataset, texts)
    settings = replace(TITLES, queries_share=0.5)

    model = train(dataset.documents, supervision, encoder, settings)

    described = embed_documents(dataset.documents, encoder, "title")
    rows = encoder.encode(supervision.queries, max_tokens=32)
    start, _ = start_of(described, rows, supervision, 0.5)
    moved = (model.vectors[:40] - start[:40]).mean(axis=0)
    assert model.cold_start.queries_share == 0.5
    assert model.cold_start.shift == pytest.approx(moved.tolist(), abs=1e-5)
    assert np.linalg.norm(moved) > 0.01


def test_without_synthetic_queries_a_new_document_is_its_embedding(
    dataset: Dataset, labels: Labels, encoder: CachedEncoder
) -> None:
    assert trained(dataset, labels, encoder, TITLES).cold_start == cold_start_of("title")
