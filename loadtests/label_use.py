"""What labels are worth and what a shortlist costs: `python -m loadtests.label_use --data .skim/data/things-2500 --save`.

Every row trains clicks and SKIM's labels with one setting changed and is judged on *validation* queries, which play the
test; test queries are thrown away first.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from loadtests.results import Row, save
from loadtests.validation import Bench, bench_of, recalls_of
from services.cli.models import SHIPPED
from services.training import baselines
from services.training.arms import Arm
from services.training.classifiers import ClassifierSettings, LabelMatrix
from services.training.evaluation import SECTIONS, Evaluation, evaluate
from services.training.labels import LabelUse
from services.training.sources import Sources
from services.training.supervision import Supervision
from services.training.train import TrainSettings, embed_queries


def with_labels(use: LabelUse) -> Callable[[Sources], Supervision]:
    """Return what learns clicks, and labels as `use` says."""
    return lambda sources: baselines.skim(replace(sources, use=use))


def without_titles(sources: Sources) -> Supervision:
    """Return clicks and labels alone: titles are no queries."""
    learned = baselines.skim(sources)
    rows = learned.train_queries
    labels = LabelMatrix(learned.labels.targets[:rows], learned.labels.weights[:rows])
    return replace(learned, queries=learned.queries[:rows], labels=labels)


@dataclass(frozen=True)
class Way:
    """One way to learn from the same clicks and labels."""

    learns: Callable[[Sources], Supervision] = baselines.skim
    classifiers: ClassifierSettings = field(default_factory=ClassifierSettings)


AS_IT_IS = "as it is: hard labels, titles as queries, all documents"
WAYS: Mapping[str, Way] = {
    AS_IT_IS: Way(),
    "soft labels": Way(with_labels(LabelUse("soft"))),
    "weighted labels": Way(with_labels(LabelUse("weighted"))),
    "labels that count half": Way(with_labels(LabelUse(weight=0.5))),
    "no titles as queries": Way(without_titles),
    "shortlists": Way(classifiers=ClassifierSettings(shortlist_documents=0)),
    "short shortlists": Way(
        classifiers=ClassifierSettings(
            shortlist_documents=0, shortlist_nearest=5, shortlist_random=200
        )
    ),
}


def main() -> None:
    """Measure the rows, print them, save them if told to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="data folder with truth")
    parser.add_argument("--queries", type=Path, default=SHIPPED / "synthetic_queries.jsonl.xz")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    table = measure(bench_of(options.data, options.queries), WAYS)
    if options.save:
        save(
            f"label-use-{options.data.name}",
            table,
            command=f"python -m loadtests.label_use --data {options.data} --save",
        )
    print(json.dumps(table))


def measure(bench: Bench, ways: Mapping[str, Way]) -> list[Row]:
    """Return a row a way, with recall in percent and the seconds of training for both towers."""
    embed_queries(bench.dataset.queries_of("train"), bench.encoder)  # no row is to pay for it
    table: list[Row] = []
    for name, way in ways.items():
        result = evaluate(
            Evaluation(bench.dataset, bench.encoder, TrainSettings(classifiers=way.classifiers)),
            bench.sources,
            split_name="validation",
            arms=[Arm(name, way.learns)],
        )
        seconds = {
            f"{tower} seconds": round(result.rows[section][name]["seconds"], 1)
            for tower, section in SECTIONS.items()
        }
        table.append({"learned": name, **recalls_of(result, name), **seconds})
    return table


if __name__ == "__main__":
    main()
