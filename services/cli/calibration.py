"""`skim mapping calibrate` and `skim mapping evaluate`: which similarity, and what else, makes a label."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from services.cli.console import err, out, print_json, progress_bar
from services.cli.data import data_folder
from services.cli.direction import read_mapped
from services.cli.generate import read_synthetic_queries
from services.cli.reviews import with_reviews
from services.cli.written import WRITTEN, find_written
from shared.clients import AugmentationClient, MappingClient
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset
from shared.errors import InvalidInput, NotFound, Unavailable
from shared.settings import CommonSettings

if TYPE_CHECKING:
    from services.mapping.calibration import Calibration
    from services.mapping.calibrator import Aim


class SourceName(StrEnum):
    """What a calibration may rest on."""

    TRUTH = "truth"
    JUDGEMENTS = "judgements"
    IMPRESSIONS = "impressions"
    CLICKS = "clicks"


class Weighs(StrEnum):
    """How much of what speaks for a label is weighed."""

    SIMILARITY = "similarity"
    EVIDENCE = "evidence"
    VERIFIED = "verified"


Queries = Annotated[
    Path | None,
    typer.Option(help="Synthetic queries that `skim generate` wrote; the folder's if absent."),
]
Documents = Annotated[
    int, typer.Option(min=100, help="Look at so many documents with synthetic queries, at most.")
]


def calibrate(
    folder: Annotated[Path, typer.Argument(help="Data folder whose train queries are indexed.")],
    queries: Queries = None,
    source: Annotated[
        SourceName | None,
        typer.Option(help="What tells right labels; the best there is if absent."),
    ] = None,
    precision: Annotated[
        float | None, typer.Option(min=0, max=1, help="Expect at least this of the labels.")
    ] = None,
    recall: Annotated[
        float | None,
        typer.Option(min=0.01, max=1, help="This share of the exploration log becomes labels."),
    ] = None,
    weighs: Annotated[Weighs, typer.Option(help="What speaks for a label.")] = Weighs.VERIFIED,
    labels_per_document: Annotated[int, typer.Option(min=1, help="The most probable ones.")] = 64,
    documents_per_query: Annotated[
        int | None, typer.Option(min=1, help="A train query absorbs no more of those looked at.")
    ] = None,
    documents: Documents = 20_000,
    split: Annotated[str | None, typer.Option(help="Another split, of FOLDER/splits.")] = None,
    cross_encoder: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a cross-encoder in ONNX that verifies as well; kept beside the index."
        ),
    ] = None,
    reviews: Annotated[
        bool,
        typer.Option(
            "--reviews",
            help="The verdicts of the label review tell right labels; asks the augmentation service.",
        ),
    ] = False,
    preset: Annotated[
        bool, typer.Option("--preset", help="Remove the calibration: the paper's tau decides.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Learn from a log or judgements which candidates are right; a running mapping service uses it at once.

    Without an aim, labels are taken until they hold as many right ones as the paper's preset would, by
    the calibration's own estimate. `skim labels remap` maps known documents anew.
    """
    from services.mapping.calibration_files import remove_calibration
    from services.mapping.calibrator import Aim

    common = CommonSettings()
    if preset:
        remove_calibration(common.mapping)
        print_json({"calibration": None, "reloaded": _reload(common)})
        return
    dataset = read_mapped(data_folder(folder), common, split)
    if reviews:
        if source not in (None, SourceName.JUDGEMENTS):
            raise InvalidInput(f"--reviews are judgements: they do not go with --source {source}")
        source = SourceName.JUDGEMENTS
        dataset = _reviewed(common, dataset)
    rows = _rows(folder, queries, dataset)[:documents]
    aim = Aim(
        precision=precision,
        recall=recall,
        labels_per_document=labels_per_document,
        documents_per_query=documents_per_query,
    )
    if cross_encoder is not None and weighs is not Weighs.VERIFIED:
        raise InvalidInput(
            f"--cross-encoder verifies: it does not go with --weighs {weighs.value}"
        )
    written = calibrate_index(
        common,
        dataset,
        rows,
        weighs=weighs,
        source=source,
        aim=aim,
        cross_encoder=cross_encoder,
    )
    reloaded = _reload(common)
    if as_json:
        print_json(written.model_dump(mode="json") | {"reloaded": reloaded})
        return
    out.print(_curve_table(written))
    say(written)


def calibrate_index(
    common: CommonSettings,
    dataset: Dataset,
    rows: Sequence[SyntheticQueries],
    *,
    weighs: Weighs = Weighs.VERIFIED,
    source: SourceName | None = None,
    aim: Aim | None = None,
    cross_encoder: Path | None = None,
) -> Calibration:
    """Calibrate the index that the mapping service loads, and write the calibration beside it."""
    from services.cli.offline_mapping import OfflineCalibration
    from services.mapping.calibration_files import write_calibration
    from services.mapping.calibrator import Aim
    from services.mapping.cross_encoder import CrossEncoderScorer, keep_cross_encoder
    from services.mapping.encoders import open_encoder
    from services.mapping.index_files import read_manifest
    from services.mapping.train_queries import TrainQueries

    named = read_manifest(common.mapping).encoder
    encoder = open_encoder(common.models, common.mapping, named)
    index = TrainQueries.load(common.mapping, encoder, is_owner=False).index
    reader = (
        CrossEncoderScorer(keep_cross_encoder(common.mapping, cross_encoder))
        if cross_encoder is not None
        else None
    )
    with progress_bar("Calibrating the mapping") as advance:
        offline = OfflineCalibration(dataset, rows, encoder, index, advance, reader)
    aim = aim or Aim()
    with tempfile.TemporaryDirectory() as scratch:
        explored = None if aim.recall is None else offline.explored(Path(scratch))
    known = offline.outcomes(source)
    found, statistics = offline.calibrate(weighs.value, known, aim, explored)
    return write_calibration(common.mapping, found, statistics)


def evaluate(
    folder: Annotated[Path, typer.Argument(help="Data folder with complete truth, or `things`.")],
    queries: Queries = None,
    source: Annotated[
        SourceName | None,
        typer.Option(help="What calibrates; the best there is but truth if absent."),
    ] = None,
    documents: Documents = 20_000,
    split: Annotated[str | None, typer.Option(help="Another split, of FOLDER/splits.")] = None,
    encoders: Annotated[
        list[Path] | None,
        typer.Option("--encoder", help="Encoder folder; two are two views, joined."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Judge the labels of the paper's preset and of calibrated mappings by the truth of train queries.

    No calibration sees that truth, unless it is named as the source.
    """
    from services.cli.mapping_quality import judge
    from services.mapping.encoders import keep_encoders, open_encoder

    common = CommonSettings()
    dataset = read_mapped(data_folder(folder), common, split)
    rows = _rows(folder, queries, dataset)[:documents]
    with (
        tempfile.TemporaryDirectory() as scratch,
        progress_bar("Looking at candidates") as advance,
    ):
        name = keep_encoders(common.models, Path(scratch), encoders) if encoders else None
        encoder = open_encoder(common.models, Path(scratch), name)
        general = open_encoder(common.models, Path(scratch)) if name else encoder
        figures = judge(dataset, rows, encoder, Path(scratch), source, advance, general)
    if as_json:
        print_json(figures)
        return
    out.print(_quality_table(figures["rows"]))


def _rows(folder: Path, queries: Path | None, dataset: Dataset) -> list[SyntheticQueries]:
    path = queries or find_written(data_folder(folder), WRITTEN)
    if path is None:
        raise NotFound(
            f"{folder}: no {WRITTEN} here; write it with `skim generate`, or name --queries"
        )
    known = {document.id for document in dataset.documents}
    rows = [row for row in read_synthetic_queries(path) if row.document_id in known]
    if not rows:
        raise InvalidInput(f"{path}: holds no document of {folder}")
    return rows


def _reviewed(common: CommonSettings, dataset: Dataset) -> Dataset:
    with AugmentationClient(common.augmentation_url) as client:
        verdicts = list(client.export_reviews())
    if not verdicts:
        raise NotFound(f"no label is reviewed yet; review some at {common.dashboard_url}/reviews")
    return with_reviews(dataset, verdicts)


def _reload(common: CommonSettings) -> bool:
    try:
        with MappingClient(common.mapping_url, attempts=1) as client:
            client.reload()
    except Unavailable:
        return False
    return True


def say(calibration: Calibration) -> None:
    """Tell on standard error what a calibration rests on and expects."""
    estimates = calibration.estimates
    err.print(
        f"Calibrated on {calibration.outcomes} candidates with known outcome ({calibration.source}), "
        f"{calibration.right_outcomes} of them right. On {estimates.documents} documents it expects "
        f"{estimates.labels} labels, {estimates.precision:.0%} of them right; the paper's preset gives "
        f"{estimates.preset_labels}, {estimates.preset_right / max(estimates.preset_labels, 1):.0%} right.",
        highlight=False,
        markup=False,
    )


def _curve_table(calibration: Calibration) -> Table:
    table = Table("similarity", "candidates", "known", "precision", "95 %", title="All documents")
    for each in calibration.curve:
        if each.group == "all" and each.candidates:
            table.add_row(
                f"{each.from_similarity:.2f} to {each.below_similarity:.2f}",
                str(each.candidates),
                str(each.judged),
                f"{each.precision:.3f}" if each.judged else "",
                f"{each.low:.2f} to {each.high:.2f}" if each.judged else "",
            )
    return table


def _quality_table(rows: Mapping[str, Mapping[str, Any]]) -> Table:
    names: Sequence[str] = list(next(iter(rows.values())))
    table = Table("mapping", *(name.replace("_", " ") for name in names))
    for name, row in rows.items():
        table.add_row(name, *(_shown(row[each]) for each in names))
    return table


def _shown(value: float | str | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)
