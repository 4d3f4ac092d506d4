"""`skim train`, `skim publish`: clicks and labels become a bundle, and the bundle is served."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.augment import labels_of
from services.cli.console import Advance, err, print_json, progress_bar, progress_bar_with_note
from services.cli.direction import labels_as_pairs
from services.cli.generate import read_synthetic_queries
from services.cli.joint import train_encoder_and_classifiers
from services.cli.logged import log_in, put_new, with_log
from shared.bundle import EVENTS_UNTIL, SUITE_LABELS, activate, open_bundle
from shared.clients import AugmentationClient, InferenceClient
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset, Pairs, read_dataset, read_pairs
from shared.encoder import SentenceEncoder
from shared.errors import InvalidInput, NotFound, Unavailable
from shared.events.files import days_of
from shared.settings import CommonSettings

if TYPE_CHECKING:
    from services.training.choice import Chosen
    from services.training.embeddings import CachedEncoder
    from services.training.joint_settings import JointSettings
    from services.training.team import DeviceName
    from services.training.train import TrainSettings
    from shared.cold_start import Tower

# What imports torch is imported inside the functions: `skim search` must not wait for it.


class TowerName(StrEnum):
    """What documents' embeddings are made of."""

    TITLE = "title"
    METADATA = "metadata"


class LabelKindName(StrEnum):
    """What an augmented label is worth beside a click."""

    HARD = "hard"
    SOFT = "soft"
    WEIGHTED = "weighted"


class Device(StrEnum):
    """Where encoder and classifiers are trained together."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


def train_command(
    folder: Annotated[Path, typer.Argument(help="Data folder: documents, queries, clicks.")],
    labels: Annotated[
        Path | None, typer.Option(help="Labels to add; those of the running suite if absent.")
    ] = None,
    queries: Annotated[
        Path | None,
        typer.Option(
            help="Synthetic queries (`skim generate`); the suite's, if its labels are taken."
        ),
    ] = None,
    labels_only: Annotated[
        bool, typer.Option("--labels-only", help="Learn no synthetic query as it is (the paper).")
    ] = False,
    clicks_only: Annotated[
        bool, typer.Option("--clicks-only", help="Add neither labels nor synthetic queries.")
    ] = False,
    label_kind: Annotated[
        LabelKindName,
        typer.Option(help="Beside a click: as good, its similarity the target, or its weight."),
    ] = LabelKindName.HARD,
    tower: Annotated[
        TowerName, typer.Option(help="Text of a document's embedding.")
    ] = TowerName.METADATA,
    split: Annotated[str | None, typer.Option(help="Another split, of FOLDER/splits.")] = None,
    fine_tune_epochs: Annotated[
        int, typer.Option(min=0, help="Epochs to fine-tune the encoder first; 0 keeps it.")
    ] = 0,
    joint: Annotated[
        bool,
        typer.Option("--joint", help="Train encoder and classifiers together; for CUDA."),
    ] = False,
    joint_pairs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Pairs that --joint learns from; the device's default if absent."
        ),
    ] = None,
    device: Annotated[Device, typer.Option(help="Where --joint trains.")] = Device.AUTO,
    choose: Annotated[
        bool,
        typer.Option(
            "--choose", help="Choose tau and passes on the exploration log: five trainings."
        ),
    ] = False,
    version: Annotated[str | None, typer.Option(help="Name of the bundle.")] = None,
    max_index_mb: Annotated[
        int | None,
        typer.Option(min=1, help="Of the ads' vectors in memory; above, 8 bits a number."),
    ] = None,
    events: Annotated[
        bool, typer.Option(help="Learn what users did since, as the inference service was told.")
    ] = True,
) -> None:
    """Train on clicks, labels and synthetic queries and write a bundle; `skim publish` serves it.

    Labels, and the synthetic queries they were made from, are those of the running suite unless files
    are named. Clicks of `POST /v1/events` are added to the folder's, and queries that proved themselves there
    become train queries, also of the running mapping service. With --joint on several GPUs:
    `torchrun --nproc-per-node N -m services.cli train ... --joint`.
    """
    from services.training.embeddings import CachedEncoder
    from services.training.labels import LabelUse
    from services.training.publish import bundle_model
    from services.training.serving_facts import serving_facts
    from services.training.train import TrainSettings
    from services.training.validation import validation_metrics

    if joint and choose:
        raise InvalidInput(
            "--choose does not go with --joint, which chooses how far it is trusted"
        )
    if joint and fine_tune_epochs:
        raise InvalidInput("--fine-tune-epochs does not go with --joint, which tunes the encoder")
    common = CommonSettings()
    dataset = read_dataset(folder, split=split)
    asks_suite = labels is None and not clicks_only
    summary = log_in(folder)
    if events and summary is None and days_of(common.events):
        logged = with_log(common, dataset, folder)
        dataset, summary = logged.dataset, logged.summary
        if asks_suite and put_new(common, logged.new) is None:
            err.print("The mapping service did not take the log's new queries.")
    added, written = things_to_add(
        common, labels, queries, labels_only=labels_only, clicks_only=clicks_only
    )
    if added and not added.keys() & {query.id for query in dataset.queries_of("train")}:
        raise InvalidInput(
            f"no label is of a train query of {folder}: they are of another log or split, or "
            "SKIM_METADATA_SIDE was another one when they were exported"
        )
    settings = TrainSettings(
        tower=tower.value,
        labels=LabelUse(label_kind.value),
        joint=_joint_settings(tower.value, joint_pairs, device.value) if joint else None,
    )
    with tempfile.TemporaryDirectory(dir=common.models) as scratch:
        encoder = common.models / "encoder"
        if fine_tune_epochs:
            encoder = _tuned_encoder(
                common, dataset, added, settings, fine_tune_epochs, Path(scratch)
            )
        if settings.joint:
            encoder = Path(scratch) / "encoder"
            trained = train_encoder_and_classifiers(
                common, dataset, added, written, settings, device.value, encoder
            )
            if trained is None:
                return  # the leading process writes the bundle
            model, choice = trained, None
            cached = CachedEncoder(SentenceEncoder(encoder, threads=0))
        else:
            cached = CachedEncoder(SentenceEncoder(encoder, threads=0))
            with progress_bar("Training classifiers") as advance:
                model, choice = train_on(
                    dataset,
                    added,
                    written,
                    cached,
                    settings,
                    advance,
                    chooses=choose,
                    checkpoint=common.home / "run" / "classifiers",
                )
        bundle = bundle_model(
            model,
            dataset.documents,
            encoder,
            common.bundles,
            facts=serving_facts(model.vectors, dataset, added, written, cached),
            metrics=validation_metrics(model.vectors, dataset, cached),
            version=version,
            max_index_bytes=None if max_index_mb is None else max_index_mb * 1_000_000,
            notes=({EVENTS_UNTIL: summary.until} if summary else {})
            | ({SUITE_LABELS: sum(map(len, added.values()))} if asks_suite else {}),
        )
    print_json(
        {
            "bundle": bundle.name,
            "folder": str(bundle),
            **model.counts.model_dump(),
            "mixing_weight": model.mixing_weight,
            **({"choice": choice} if choose else {}),
            "events": summary.model_dump() if summary else None,
        }
    )


def _joint_settings(tower: Tower, pairs: int | None, device: DeviceName) -> JointSettings:
    from services.training.joint_settings import settings_for
    from services.training.team import uses_cuda
    from shared.cold_start import cold_start_of

    settings = settings_for(cuda=uses_cuda(device))
    settings = replace(settings, document_tokens=cold_start_of(tower).max_tokens)
    return settings if pairs is None else replace(settings, pairs_seen=pairs)


def train_on(
    dataset: Dataset,
    labels: Pairs,
    written: Sequence[SyntheticQueries],
    encoder: CachedEncoder,
    settings: TrainSettings,
    advance: Advance,
    *,
    chooses: bool = False,
    checkpoint: Path | None = None,
) -> Chosen:
    """Train on clicks, labels and synthetic queries; the exploration log, or a share of the truth, guards it.

    The same pairs say how much of the synthetic queries a document begins with; with `chooses` also tau and passes.
    """
    from services.training.choice import (
        NO_CHOICES,
        Choices,
        candidates_of,
        train_best,
        with_shares,
    )
    from services.training.evaluation import exposed_slice
    from services.training.labels import at_least
    from services.training.supervision import supervise

    candidates = candidates_of(
        lambda tau: supervise(dataset, at_least(labels, tau), settings.labels, written),
        settings,
        Choices() if chooses else NO_CHOICES,
    )
    exposed = exposed_slice(dataset, settings)
    candidates = with_shares(candidates, dataset.documents, encoder, exposed)
    return train_best(
        dataset.documents, candidates, encoder, exposed, advance, checkpoint=checkpoint
    )


def things_to_add(
    common: CommonSettings,
    labels: Path | None,
    queries: Path | None,
    *,
    labels_only: bool = False,
    clicks_only: bool = False,
) -> tuple[Pairs, list[SyntheticQueries]]:
    """Return the labels and the synthetic queries to learn beside clicks.

    Args:
        common: where the suite is, asked only if no file of labels is named.
        labels: a file of labels.
        queries: a file of synthetic queries.
        labels_only: learn no synthetic query.
        clicks_only: learn neither.

    Raises:
        InvalidInput: two of the options contradict each other.
        NotFound: the suite is asked and is not up.
    """
    if clicks_only and (labels or queries or labels_only):
        raise InvalidInput("--clicks-only goes with none of --labels, --queries and --labels-only")
    if queries and common.metadata_side == "query":
        raise InvalidInput(
            "--queries does not go with SKIM_METADATA_SIDE=query: what the SLM wrote are no queries"
        )
    if labels_only and queries:
        raise InvalidInput("--labels-only does not go with --queries")
    if clicks_only:
        return {}, []
    if labels is not None:
        added, written = read_pairs(labels, adds_up=False), list[SyntheticQueries]()
    else:
        added, written = _of_suite(common)
    if queries is not None:
        written = list(read_synthetic_queries(queries))
    return added, [] if labels_only else written


def publish(
    version: Annotated[str, typer.Argument(help="Name of a bundle that `skim train` wrote.")],
) -> None:
    """Verify a bundle and serve it; a running inference service switches without a failed request."""
    common = CommonSettings()
    print_json({"bundle": version, "reloaded": publish_bundle(common, version)})


def publish_bundle(common: CommonSettings, version: str) -> bool:
    """Verify and activate a bundle; False if no inference service runs to take it at once."""
    open_bundle(common.bundles / version)
    try:
        with InferenceClient(common.inference_url, attempts=1) as client:
            client.activate(version)
    except Unavailable:
        activate(common.bundles, version)
        return False
    return True


def _of_suite(common: CommonSettings) -> tuple[Pairs, list[SyntheticQueries]]:
    """Return the running suite's labels and what they were made from."""
    try:
        with AugmentationClient(common.augmentation_url, attempts=1) as client:
            labels = labels_as_pairs(labels_of(client), common)
            if common.metadata_side == "query":
                return labels, []  # what the SLM wrote are texts of documents, and no queries
            return labels, list(client.export_synthetic_queries())
    except Unavailable as error:
        raise NotFound(
            "no labels: the suite is not up; name a file with --labels, or train with --clicks-only"
        ) from error


def _tuned_encoder(
    common: CommonSettings,
    dataset: Dataset,
    labels: Pairs,
    settings: TrainSettings,
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
    from services.training.labels import only_of
    from services.training.model_sources import MINILM, fetch
    from services.training.supervision import of_labels, positions_of
    from shared.cold_start import cold_start_of

    source = fetch(MINILM, common.models / "sources")
    queries, positions = dataset.queries_of("train"), positions_of(dataset.documents)
    clicks, known = (only_of(pairs, queries, positions) for pairs in (dataset.clicks, labels))
    supervision = of_labels(queries, positions, clicks, known, settings.labels)
    reading = cold_start_of(settings.tower)
    tuning = DualEncoderSettings(epochs=epochs, document_tokens=reading.max_tokens)
    tuned = common.models / "tuned"
    with progress_bar_with_note("Fine-tuning the encoder") as advance:
        fine_tune(
            source,
            supervision.queries,
            supervision.labels,
            [reading.text_of(document) for document in dataset.documents],
            tuned,
            tuning,
            advance,
        )
    export_encoder(tuned, scratch / "encoder")
    return scratch / "encoder"
