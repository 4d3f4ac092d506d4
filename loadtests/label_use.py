"""What labels are worth and what a shortlist costs: `python -m loadtests.label_use --data .skim/data/things-2500 --save`.

Every row trains clicks and SKIM's labels with one setting changed and is judged on *validation* queries, which play the
test; test queries are thrown away first.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loadtests.parts import SECTIONS
from loadtests.results import Row, save
from loadtests.validation import read_without_test
from services.cli.models import SHIPPED
from services.cli.offline_mapping import map_offline
from services.training.arms import Arm
from services.training.classifiers import ClassifierSettings
from services.training.embeddings import CachedEncoder
from services.training.evaluation import Evaluation, evaluate
from services.training.labels import LabelUse
from services.training.sources import Sources, Written, gather
from services.training.supervision import Supervision, of_labels, with_titles
from services.training.train import TrainSettings, embed_documents, embed_queries
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset
from shared.encoder import SentenceEncoder
from shared.settings import CommonSettings


@dataclass(frozen=True)
class Way:
    """One way to learn from the same clicks and labels."""

    use: LabelUse = field(default_factory=LabelUse)
    has_titles: bool = True
    """Whether each document's title is a query of its own."""
    classifiers: ClassifierSettings = field(default_factory=ClassifierSettings)

    def learns(self, sources: Sources) -> Supervision:
        """Return what the row learns from."""
        assert sources.written is not None  # noqa: S101  (`measure` gives it)
        labels = sources.written.labels
        of_queries = of_labels(
            sources.queries, sources.positions, sources.log.clicks, labels, self.use
        )
        return with_titles(of_queries, sources.documents) if self.has_titles else of_queries


AS_IT_IS = "as it is: hard labels, titles as queries, all documents"
WAYS: Mapping[str, Way] = {
    AS_IT_IS: Way(),
    "soft labels": Way(LabelUse("soft")),
    "weighted labels": Way(LabelUse("weighted")),
    "labels that count half": Way(LabelUse(weight=0.5)),
    "no titles as queries": Way(has_titles=False),
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
    dataset, rows = read_without_test(options.data, options.queries)
    table = measure(dataset, rows, WAYS)
    if options.save:
        save(
            f"label-use-{options.data.name}",
            table,
            command=f"python -m loadtests.label_use --data {options.data} --save",
        )
    print(json.dumps(table))


def measure(
    dataset: Dataset, rows: Sequence[SyntheticQueries], ways: Mapping[str, Way]
) -> list[Row]:
    """Return a row a way, with recall in percent and the seconds of training for both towers."""
    folder = CommonSettings().models / "encoder"
    with tempfile.TemporaryDirectory() as scratch:
        queries, mapper = dataset.queries_of("train"), SentenceEncoder(folder)
        labels = map_offline(rows, queries, mapper, Path(scratch), lambda done, total: None)
    encoder = CachedEncoder(SentenceEncoder(folder, threads=0))
    sources = {
        tower: gather(
            dataset,
            embed_documents(dataset.documents, encoder, tower),
            written=Written(rows, labels),
        )
        for tower in SECTIONS
    }
    embed_queries(queries, encoder)  # no row is to pay for it
    table: list[Row] = []
    for name, way in ways.items():
        result = evaluate(
            Evaluation(dataset, encoder, TrainSettings(classifiers=way.classifiers)),
            sources,
            split_name="validation",
            arms=[Arm(name, way.learns)],
        )
        measured = {tower: result.rows[section][name] for tower, section in SECTIONS.items()}
        recalls = {
            f"{tower} R@{k}": round(100 * row[f"recall_at_{k}"], 1)
            for tower, row in measured.items()
            for k in (10, 100)
        }
        seconds = {f"{tower} seconds": round(row["seconds"], 1) for tower, row in measured.items()}
        table.append({"learned": name, **recalls, **seconds})
    return table


if __name__ == "__main__":
    main()
