"""`skim train`, `skim publish`, `skim evaluate`: clicks and labels become a bundle, and what that is worth."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.augment import labels_of
from services.cli.console import out, print_json, progress_bar, progress_bar_with_note
from services.cli.generate import read_synthetic_queries
from services.cli.mapping import map_offline
from shared.bundle import activate, open_bundle
from shared.clients import AugmentationClient, InferenceClient
from shared.contracts.mapping import SyntheticQueries
from shared.dataset import Dataset, Pairs, read_dataset, read_pairs
from shared.encoder import SentenceEncoder
from shared.errors import NotFound, Unavailable
from shared.settings import CommonSettings

if TYPE_CHECKING:
    from services.training.evaluation import EvaluationResult
    from services.training.train import Tower

# What imports torch is imported inside the functions: `skim search` must not wait for it.

DEFAULT_SPLIT = "new_wordings"
"""Name of the split in queries.jsonl."""


class TowerName(StrEnum):
    """What documents' embeddings are made of."""

    TITLE = "title"
    METADATA = "metadata"


def train_command(
    folder: Annotated[Path, typer.Argument(help="Data folder: documents, queries, clicks.")],
    labels: Annotated[
        Path | None, typer.Option(help="Labels to add; those of the running suite if absent.")
    ] = None,
    clicks_only: Annotated[bool, typer.Option("--clicks-only", help="Add no labels.")] = False,
    tower: Annotated[
        TowerName, typer.Option(help="Text of a document's embedding.")
    ] = TowerName.METADATA,
    split: Annotated[str | None, typer.Option(help="Another split, of FOLDER/splits.")] = None,
    fine_tune_epochs: Annotated[
        int, typer.Option(min=0, help="Epochs to fine-tune the encoder first; 0 keeps it.")
    ] = 0,
    version: Annotated[str | None, typer.Option(help="Name of the bundle.")] = None,
) -> None:
    """Train on clicks and labels and write a bundle; `skim publish` serves it."""
    from services.training.embeddings import CachedEncoder
    from services.training.publish import bundle_model
    from services.training.train import TrainSettings, train

    common = CommonSettings()
    dataset = read_dataset(folder, split=split)
    added = {} if clicks_only else _labels(common, labels)
    with tempfile.TemporaryDirectory(dir=common.models) as scratch:
        encoder = common.models / "encoder"
        if fine_tune_epochs:
            encoder = _tuned_encoder(
                common, dataset, added, tower.value, fine_tune_epochs, Path(scratch)
            )
        cached = CachedEncoder(SentenceEncoder(encoder, threads=0))
        with progress_bar("Training classifiers") as advance:
            model = train(dataset, added, cached, TrainSettings(tower=tower.value), advance)
        bundle = bundle_model(model, dataset.documents, encoder, common.bundles, version=version)
    print_json(
        {
            "bundle": bundle.name,
            "folder": str(bundle),
            **model.counts.model_dump(),
            "mixing_weight": model.mixing_weight,
        }
    )


def publish(
    version: Annotated[str, typer.Argument(help="Name of a bundle that `skim train` wrote.")],
) -> None:
    """Verify a bundle and serve it; a running inference service switches without a failed request."""
    common = CommonSettings()
    print_json({"bundle": version, "reloaded": publish_bundle(common, version)})


def publish_bundle(common: CommonSettings, version: str) -> bool:
    """Verify and activate a bundle; False if no inference service runs to take it at once."""
    open_bundle(common.bundles / version)
    activate(common.bundles, version)
    try:
        with InferenceClient(common.inference_url, attempts=1) as client:
            client.reload()
    except Unavailable:
        return False
    return True


def evaluate_command(
    folder: Annotated[Path, typer.Argument(help="Data folder with truth (qrels.tsv).")],
    queries: Annotated[Path, typer.Option(help="Synthetic queries that `skim generate` wrote.")],
    as_json_line: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Compare zero-shot, clicks, and clicks + labels on the truth of test queries, on every split there is."""
    from services.training.report import as_json, as_table

    common = CommonSettings()
    results = evaluate_splits(common, folder, list(read_synthetic_queries(queries)))
    if as_json_line:
        print_json(as_json(results))
        return
    for result in results:
        out.print(as_table(result))


def evaluate_splits(
    common: CommonSettings,
    folder: Path,
    rows: Sequence[SyntheticQueries],
    labels: Pairs | None = None,
) -> list[EvaluationResult]:
    """Evaluate every split of a data folder.

    Args:
        common: where the encoder is.
        folder: the data folder.
        rows: synthetic queries, mapped here to each split's train queries.
        labels: of the default split, if they were made already; then only other splits are mapped.
    """
    from services.training.embeddings import CachedEncoder
    from services.training.evaluation import evaluate
    from services.training.train import TrainSettings

    encoder = SentenceEncoder(common.models / "encoder")
    cached = CachedEncoder(SentenceEncoder(common.models / "encoder", threads=0))
    results: list[EvaluationResult] = []
    for name in (DEFAULT_SPLIT, *sorted(path.stem for path in (folder / "splits").glob("*.tsv"))):
        dataset = read_dataset(folder, split=None if name == DEFAULT_SPLIT else name)
        of_split = labels if name == DEFAULT_SPLIT and labels is not None else None
        if of_split is None:
            with (
                tempfile.TemporaryDirectory() as scratch,
                progress_bar(f"Mapping to the train queries of {name}") as advance,
            ):
                train_queries = dataset.queries_of("train")
                of_split = map_offline(
                    rows, train_queries, encoder, Path(scratch) / "index", advance
                )
        with progress_bar(f"Training the arms of {name}") as advance:
            results.append(
                evaluate(
                    dataset,
                    of_split,
                    cached,
                    split_name=name,
                    settings=TrainSettings(),
                    progress=lambda arm, done, total, advance=advance: advance(done, total),  # type: ignore[misc]
                )
            )
    return results


def _labels(common: CommonSettings, path: Path | None) -> Pairs:
    if path is not None:
        return read_pairs(path)
    try:
        with AugmentationClient(common.augmentation_url, attempts=1) as client:
            return labels_of(client)
    except Unavailable as error:
        raise NotFound(
            "no labels: the suite is not up; name a file with --labels, or train with --clicks-only"
        ) from error


def _tuned_encoder(
    common: CommonSettings,
    dataset: Dataset,
    labels: Pairs,
    tower: Tower,
    epochs: int,
    scratch: Path,
) -> Path:
    """Fine-tune the encoder on clicks and labels and export it; return its folder.

    The tuned weights stay in the models' folder, so that a run that was killed goes on there.
    """
    from services.training.dual_encoder import (  # torch: slow to import
        DualEncoderSettings,
        fine_tune,
    )
    from services.training.encoder_export import export_encoder
    from services.training.labels import LabelUse, added_pairs, label_matrix, only_of
    from services.training.model_sources import MINILM, fetch
    from services.training.train import DESCRIPTION_TOKENS, QUERY_TOKENS, positions_of

    source = fetch(MINILM, common.models / "sources")
    queries, positions = dataset.queries_of("train"), positions_of(dataset.documents)
    clicks = only_of(dataset.clicks, queries, positions)
    added = added_pairs(only_of(labels, queries, positions), clicks)
    reads_titles = tower == "title"
    settings = DualEncoderSettings(
        epochs=epochs, document_tokens=QUERY_TOKENS if reads_titles else DESCRIPTION_TOKENS
    )
    tuned = common.models / "tuned"
    with progress_bar_with_note("Fine-tuning the encoder") as advance:
        fine_tune(
            source,
            [query.text for query in queries],
            label_matrix(queries, positions, clicks, added, LabelUse()),
            [
                document.title if reads_titles else document.described()
                for document in dataset.documents
            ],
            tuned,
            settings,
            advance,
        )
    export_encoder(tuned, scratch / "encoder")
    return scratch / "encoder"
