"""What choosing tau and passes on the exposed slice brings: `python -m loadtests.choice --data FOLDER --save`.

Test queries are thrown away first: of the validation queries every second one gives the slice, as many pairs as it has in an evaluation, and the
others judge. Labels are those of the mapping that `skim evaluate` calibrates on what the log showed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from loadtests.mapped import mapped
from loadtests.results import Value, save
from services.cli.generate import read_synthetic_queries
from services.cli.models import SHIPPED
from services.training.arms import arms_named
from services.training.choice import Choices
from services.training.evaluation import SECTIONS, Evaluation
from services.training.guard import GuardSettings
from services.training.measurement import difference
from services.training.sources import gather
from services.training.train import TrainSettings, embed_documents
from shared.cold_start import Tower
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset, read_dataset

_ARMS = ("clicks", "skim")
_CUTOFFS = (10, 100)
_SETTINGS = TrainSettings(guard=GuardSettings(slice_share=2 * GuardSettings().slice_share))


def main() -> None:
    """Measure, print the rows, save them if told to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of `skim data things`")
    parser.add_argument("--towers", default=",".join(SECTIONS))
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    rows = list(read_synthetic_queries(SHIPPED / "synthetic_queries.jsonl.xz"))
    towers = [tower for tower in SECTIONS if tower in options.towers.split(",")]
    table = measure(parted(read_dataset(options.data)), rows, towers)
    if options.save:
        save(
            "choice",
            table,
            command=f"python -m loadtests.choice --data {options.data.name} --save",
        )
    print(json.dumps(table))


def parted(dataset: Dataset) -> Dataset:
    """Return the data set without its test queries, half of its validation queries in their place."""
    validation = dataset.queries_of("validation")[1::2]
    judging = [query.model_copy(update={"split": "test"}) for query in validation]
    moved = {query.id for query in judging}
    kept = [q for q in dataset.queries if q.split != "test" and q.id not in moved]
    return replace(dataset, queries=[*kept, *judging])


def measure(
    dataset: Dataset, rows: Sequence[SyntheticQueries], towers: Sequence[Tower]
) -> list[dict[str, Value]]:
    """Return a row an arm and tower: what was chosen, and the gain of recall in points with its 95 % interval."""
    encoder, written = mapped(dataset, rows)
    table: list[dict[str, Value]] = []
    for tower in towers:
        described = embed_documents(dataset.documents, encoder, tower)
        sources = gather(dataset, described, written=written)
        given, choosing = (
            Evaluation(dataset, encoder, _SETTINGS, choices=choices)
            for choices in (None, Choices())
        )
        for arm in arms_named(_ARMS):
            usual, chosen = (each.rank(arm, tower, sources, _tell) for each in (given, choosing))
            of_usual, of_chosen = (
                given.measurement.of(ranking.documents) for ranking in (usual, chosen)
            )
            gain = difference(of_chosen, of_usual)
            row: dict[str, Value] = {
                "documents as": "titles only" if tower == "title" else "titles + metadata",
                "arm": arm.name,
                "exposed pairs": len(given.exposed.documents),
                "chosen": chosen.choice,
            }
            row |= {f"gain of recall@{k}": _points(gain, f"recall_at_{k}") for k in _CUTOFFS}
            row |= {"seconds": round(usual.seconds), "seconds, choosing": round(chosen.seconds)}
            table.append(row)
    return table


def _tell(arm: str, done: int, total: int) -> None:
    print(f"\r{arm}: {done} of {total} ", end="", file=sys.stderr, flush=True)


def _points(gain: dict[str, float], name: str) -> str:
    return (
        f"{100 * gain[name]:+.1f} [{100 * gain[f'{name}_low']:+.1f}, "
        f"{100 * gain[f'{name}_high']:+.1f}]"
    )


if __name__ == "__main__":
    main()
