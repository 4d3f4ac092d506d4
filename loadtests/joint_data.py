"""Write the folder that `python -m loadtests.joint` reads: `python -m loadtests.joint_data --data things --target DIR`.

Maps what is not mapped yet, as `skim evaluate` would (its cache is used), and prints the folder's size.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtests.joint_folder import (
    BOTH_TOWERS,
    Texts,
    arrays_of,
    pack_encoder,
    write_split,
    write_texts,
)
from services.cli.chain import DEFAULT_SPLIT
from services.cli.data import data_folder
from services.cli.generate import read_synthetic_queries
from services.cli.kept_labels import KeptLabels
from services.cli.written import WRITTEN, WRITTEN_WITHOUT_METADATA, find_written
from services.mapping.mapper import preset_of
from services.mapping.settings import MappingSettings
from services.training.arms import arms_named
from services.training.embeddings import CachedEncoder
from services.training.evaluation import exposed_slice
from services.training.labels import only_of, only_relevant, pair_matrix
from services.training.model_sources import MINILM, fetch
from services.training.sources import Written, gather
from services.training.supervision import positions_of
from services.training.train import TrainSettings, embed_documents
from shared.cold_start import Tower, text_of
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset, Pairs, read_dataset
from shared.encoder import SentenceEncoder
from shared.errors import InvalidInput, NotFound
from shared.settings import CommonSettings

ARMS = "clicks,unmapped_no_metadata,unmapped,skim,skim_and_unmapped,full_truth"
_WITH_A_TEACHER = "lever"
"""The arm that asks for the documents' embeddings, which take minutes."""
_TOWERS: Sequence[Tower] = ("title", "metadata")


class _Places(dict[str, int]):
    """Gives each new text the next place."""

    def __missing__(self, text: str) -> int:
        self[text] = len(self)
        return self[text]

    def of(self, texts: Sequence[str]) -> NDArray[np.int64]:
        return np.array([self[text] for text in texts], dtype=np.int64)


def main() -> None:
    """Write the folder and print what it weighs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="data folder with truth")
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("--arms", default=ARMS, help="by commas; `lever` embeds all documents")
    parser.add_argument("--source", type=Path, help="encoder to start from; MiniLM if absent")
    options = parser.parse_args()
    arms = options.arms.split(",")
    common = CommonSettings()
    folder = data_folder(options.data)
    options.target.mkdir(parents=True, exist_ok=True)
    splits = [DEFAULT_SPLIT, *sorted(path.stem for path in folder.glob("splits/*.tsv"))]
    places = _Places()
    for split in splits:
        dataset = read_dataset(folder, split=None if split == DEFAULT_SPLIT else split)
        write_split(options.target, split, _arrays(common, folder, split, dataset, places, arms))
    documents: dict[str, Sequence[str]] = {
        tower: [text_of(document, tower) for document in dataset.documents] for tower in _TOWERS
    }
    texts = Texts(list(places), documents)
    write_texts(options.target, texts)
    source = options.source or fetch(MINILM, common.models / "sources")
    pack_encoder(source, options.target / "encoder", texts)
    sizes = {
        str(path.relative_to(options.target)): path.stat().st_size
        for path in sorted(options.target.rglob("*"))
        if path.is_file()
    }
    print(json.dumps({"bytes": sum(sizes.values()), "files": sizes}))


def _arrays(
    common: CommonSettings,
    folder: Path,
    split: str,
    dataset: Dataset,
    places: _Places,
    arms: Sequence[str],
) -> dict[str, NDArray[Any]]:
    positions = positions_of(dataset.documents)
    exposed = exposed_slice(dataset, TrainSettings())
    arrays: dict[str, NDArray[Any]] = {
        "exposed/queries": places.of(exposed.queries),
        "exposed/documents": exposed.documents,
    }
    for part in ("validation", "test"):
        truth = only_of(only_relevant(dataset.truth), dataset.queries_of(part), positions)
        queries = [query for query in dataset.queries_of(part) if query.id in truth]
        matrix = pair_matrix(queries, positions, truth)
        arrays |= arrays_of(part, places.of([query.text for query in queries]), {"truth": matrix})
    written, without = _written(common, folder, split, dataset)
    encoder = CachedEncoder(
        SentenceEncoder(common.models / "encoder", threads=0), common.home / "evaluate" / "vectors"
    )
    for tower in _TOWERS:
        described = (
            embed_documents(dataset.documents, encoder, tower)
            if _WITH_A_TEACHER in arms
            else np.empty((0, 0), dtype=np.float32)
        )
        sources = gather(dataset, described, written=written, written_without_metadata=without)
        for arm in arms_named(arms):
            is_of_tower = arm.name == _WITH_A_TEACHER
            if arm.learns is None or (tower != _TOWERS[0] and not is_of_tower):
                continue
            try:
                taught = arm.learns(sources)
            except (NotFound, InvalidInput):
                continue
            arrays |= arrays_of(
                f"{tower if is_of_tower else BOTH_TOWERS}/{arm.name}",
                places.of(taught.queries),
                {"targets": taught.labels.targets, "weights": taught.labels.weights},
            )
    return arrays


def _written(
    common: CommonSettings, folder: Path, split: str, dataset: Dataset
) -> tuple[Written | None, Written | None]:
    rows, without = (
        None if path is None else _of(dataset, list(read_synthetic_queries(path)))
        for path in (
            find_written(folder, WRITTEN),
            find_written(folder, WRITTEN_WITHOUT_METADATA),
        )
    )
    kept = KeptLabels(
        common.home / "evaluate",
        SentenceEncoder(common.models / "encoder"),
        preset_of(MappingSettings()),
        is_fresh=False,
    )
    return (
        None if rows is None else Written(rows, _labels(kept, dataset, rows, split)),
        None if without is None else Written(without, {}),
    )


def _labels(
    kept: KeptLabels, dataset: Dataset, rows: Sequence[SyntheticQueries], split: str
) -> Pairs:
    title = f"Mapping to the train queries of {split}"
    try:
        return kept.calibrated(dataset, rows, f"{title}, calibrated")
    except InvalidInput:  # too little was shown: the paper's preset, as `skim evaluate` does
        return kept.by_preset(dataset, rows, title)


def _of(dataset: Dataset, rows: Sequence[SyntheticQueries]) -> Sequence[SyntheticQueries]:
    known = {document.id for document in dataset.documents}
    return [row for row in rows if row.document_id in known]


if __name__ == "__main__":
    main()
