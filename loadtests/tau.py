"""What each tau brings, without looking at a test query: `python -m loadtests.tau --data FOLDER --save`.

Labels are judged by the truth of *train* queries, models by the truth of *validation* queries, which play the test; the
test queries are thrown away first. Compare generators by naming another file of synthetic queries with `--queries`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from loadtests.results import Value, save
from loadtests.validation import without_test
from services.cli.generate import read_synthetic_queries
from services.cli.models import SHIPPED
from services.cli.offline_mapping import map_offline
from services.mapping.rules import PresetRule
from services.mapping.settings import MappingSettings
from services.mapping.trust import Trust
from services.training.arms import arms_named
from services.training.embeddings import CachedEncoder
from services.training.evaluation import Evaluation, evaluate
from services.training.sources import Sources, Written, gather
from services.training.train import TrainSettings, embed_documents
from shared.cold_start import Tower
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset, read_dataset
from shared.encoder import SentenceEncoder
from shared.settings import CommonSettings

TAUS = (0.6, 0.75, 0.85, 0.9, 0.95)
NEIGHBOURS = 10
_COMPARED = {"clicks": "clicks", "skim": "labels", "skim_and_unmapped": "labels + synthetic"}
_TOWERS: tuple[tuple[Tower, str, str], ...] = (
    ("title", "title_only", "titles"),
    ("metadata", "full", "metadata"),
)
"""Tower, its section of the result, and what its columns are called."""
_CUTOFFS = (10, 100)


def main() -> None:
    """Measure every tau, print the rows, save them if told to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of `skim data things`")
    parser.add_argument("--queries", type=Path, default=SHIPPED / "synthetic_queries.jsonl.xz")
    parser.add_argument("--limit", type=int, help="judge the labels of the first documents only")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    rows = list(read_synthetic_queries(options.queries))[: options.limit]
    table = measure(without_test(read_dataset(options.data)), rows, trains=options.limit is None)
    if options.save:
        save("tau", table, command="python -m loadtests.tau --data things-2500 --save")
    print(json.dumps(table))


def measure(
    dataset: Dataset, rows: Sequence[SyntheticQueries], *, trains: bool
) -> list[dict[str, Value]]:
    """Return a row a tau; models are trained only if `trains`."""
    folder = CommonSettings().models / "encoder"
    encoder = SentenceEncoder(folder)
    cached = CachedEncoder(SentenceEncoder(folder, threads=0))
    known = {document.id for document in dataset.documents}
    rows = [row for row in rows if row.document_id in known]
    read = {row.document_id for row in rows}
    train = {query.id for query in dataset.queries_of("train")}
    truth = {(q, d) for q in train for d in dataset.truth.get(q, {}) if d in read}
    table: list[dict[str, Value]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for tau in TAUS:
            labels = map_offline(
                rows,
                dataset.queries_of("train"),
                encoder,
                Path(scratch) / "index",
                lambda done, total: None,
                preset=PresetRule(Trust.of(MappingSettings()), tau, NEIGHBOURS),
            )
            pairs = {(query_id, d) for query_id, row in labels.items() for d in row}
            hits = len(pairs & truth)
            line: dict[str, Value] = {
                "tau": tau,
                "labels": len(pairs),
                "precision": round(hits / max(len(pairs), 1), 3),
                "recall": round(hits / len(truth), 3),
            }
            if trains:
                line |= _recalls(dataset, Written(rows, labels), cached)
            table.append(line)
    return table


def _recalls(dataset: Dataset, written: Written, encoder: CachedEncoder) -> dict[str, Value]:
    """Return recall of clicks and of clicks + labels in percent, for both towers."""
    sources: dict[Tower, Sources] = {
        tower: gather(dataset, embed_documents(dataset.documents, encoder, tower), written=written)
        for tower, _, _ in _TOWERS
    }
    result = evaluate(
        Evaluation(dataset, encoder, TrainSettings()),
        sources,
        split_name="validation",
        arms=arms_named(list(_COMPARED)),
    )
    return {
        f"{tower}, {called} R@{k}": round(100 * result.rows[section][arm][f"recall_at_{k}"], 1)
        for _, section, tower in _TOWERS
        for arm, called in _COMPARED.items()
        for k in _CUTOFFS
    }


if __name__ == "__main__":
    main()
