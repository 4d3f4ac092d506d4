"""Which part limits SKIM, each replaced by an oracle: `python -m loadtests.parts --data FOLDER --save`.

All rows are trained alike and judged on *validation* queries, which play the test; test queries are thrown away first.
The right labels are those that the truth of train queries confirms: a mapping without error. As many true pairs drawn
at random are what a language model without a bias of its own would find. And how many of the synthetic queries should
teach as they are: none, those that the mapping trusts, or all.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from loadtests.results import Row, save
from loadtests.validation import Bench, bench_of, recalls_of
from services.cli.models import SHIPPED
from services.mapping.settings import MappingSettings
from services.mapping.trust import Trust
from services.training import baselines
from services.training.arms import Arm
from services.training.evaluation import Evaluation, evaluate
from services.training.labels import Pairs, added_pairs, count, only_relevant
from services.training.sources import Sources, Written
from services.training.supervision import Supervision
from services.training.train import TrainSettings
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset

Learns = Callable[[Sources], Supervision]


def main() -> None:
    """Measure every row, print them, save them if told to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="data folder with truth")
    parser.add_argument("--queries", type=Path, default=SHIPPED / "synthetic_queries.jsonl.xz")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    table = measure(bench_of(options.data, options.queries))
    if options.save:
        save(
            "parts", table, command=f"python -m loadtests.parts --data {options.data.name} --save"
        )
    print(json.dumps(table))


def measure(bench: Bench) -> list[Row]:
    """Return a row for each thing to learn from, with recall in percent for both towers."""
    learned = things_to_learn(bench.dataset, bench.rows, bench.labels)
    result = evaluate(
        Evaluation(bench.dataset, bench.encoder, TrainSettings()),
        bench.sources,
        split_name="validation",
        arms=[Arm(name, learns) for name, (learns, _) in learned.items()],
    )
    return [
        {"learned": name, "pairs added": added, **recalls_of(result, name)}
        for name, (_, added) in learned.items()
    ]


def things_to_learn(
    dataset: Dataset, rows: Sequence[SyntheticQueries], labels: Pairs
) -> Mapping[str, tuple[Learns, int]]:
    """Return what each row learns from, beside clicks, and how many pairs of train queries it adds."""
    train = {query.id for query in dataset.queries_of("train")}
    truth = {each: row for each, row in only_relevant(dataset.truth).items() if each in train}
    clicks = {each: row for each, row in dataset.clicks.items() if each in train}
    added, missing = added_pairs(labels, clicks), added_pairs(truth, clicks)
    right = {
        query_id: {each: value for each, value in row.items() if each in missing.get(query_id, {})}
        for query_id, row in added.items()
    }
    drawn = _drawn(missing, count(right))
    trust = Trust.of(MappingSettings())
    trusted = [
        SyntheticQueries(document_id=row.document_id, queries=trust.trusted(row)) for row in rows
    ]

    def _skim_with(pairs: Pairs) -> Learns:
        return lambda sources: baselines.skim(replace(sources, written=Written(rows, pairs)))

    def _both_with(queries: Sequence[SyntheticQueries]) -> Learns:
        written = Written(queries, labels)
        return lambda sources: baselines.skim_and_unmapped(replace(sources, written=written))

    return {
        "clicks": (baselines.clicks, 0),
        "labels": (_skim_with(labels), count(added)),
        "labels, the right ones": (_skim_with(right), count(right)),
        "true pairs at random, as many": (_skim_with(drawn), count(drawn)),
        "full truth": (baselines.full_truth, count(missing)),
        "labels + trusted synthetic queries": (_both_with(trusted), count(added)),
        "labels + all synthetic queries": (_both_with(rows), count(added)),
    }


def _drawn(pairs: Pairs, size: int) -> Pairs:
    listed = sorted((query_id, each) for query_id, row in pairs.items() for each in row)
    drawn: dict[str, dict[str, float]] = {}
    for query_id, document_id in random.Random(0).sample(listed, size):
        drawn.setdefault(query_id, {})[document_id] = 1.0
    return drawn


if __name__ == "__main__":
    main()
