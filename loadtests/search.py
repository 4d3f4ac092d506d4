"""What a search of the SLM for train queries finds and costs: `python -m loadtests.search --data things --save`.

The shipped SLM writes for held-out documents that `skim distill evaluate` passes over: drawn only, and searched down
to several probabilities of a line, a part of the documents after the other by each in turn. Labels are judged
at several bounds of trust. So the bounds are chosen without the report's documents.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from loadtests.results import Value, save
from loadtests.students import REPORT_DOCUMENTS
from loadtests.trusted_labels import TrustedLabels
from services.cli.data import data_folder
from services.cli.quality import ANSWERS
from services.generation.app import load_generator
from services.generation.generator import QueryGenerator
from services.generation.settings import GenerationSettings
from services.mapping.settings import MappingSettings
from services.mapping.trust import Trust
from services.training.distillation.judging import Judge
from services.training.distillation.teacher_data import read_examples, read_for_teacher
from shared.contracts.synthetic_queries import WrittenQueries
from shared.encoder import SentenceEncoder
from shared.settings import CommonSettings

LOG_PROBABILITIES = (-4.0, -3.0, -2.5, -2.25, -2.0, -1.5)
EXPECTED = (0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3)
LINE_PROBABILITIES = (0.1, 0.05)
PARTS = 5
DRAWN = "drawn"


def main() -> None:
    """Write, judge, print and keep the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of `skim data things`, or `things`"
    )
    parser.add_argument("--documents", type=int, default=2_000, help="most that are written for")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    rows = measure(data_folder(options.data), options.documents)
    if options.save:
        save("search", rows, command="python -m loadtests.search --data things --save")
    print(json.dumps(rows))


def measure(data: Path, most: int) -> list[dict[str, Value]]:
    """Return a row for each way of writing at each bound of trust."""
    common, settings = CommonSettings(), GenerationSettings()
    dataset = read_for_teacher(data)
    queries = dataset.queries_of("train")
    answers = read_examples(ANSWERS, dataset.documents)
    encoder = SentenceEncoder(common.models / "encoder")
    judge = Judge.of_held_out(dataset, answers, queries, encoder, most, skip=REPORT_DOCUMENTS)
    folder, texts = common.models / "slm", [query.text for query in queries]
    generators = {DRAWN: load_generator(folder, settings)} | {
        f"searched from {least:g}": load_generator(
            folder,
            settings.model_copy(update={"min_line_probability": least}),
            train_queries=texts,
        )
        for least in LINE_PROBABILITIES
    }
    written, seconds = _in_turns(generators, judge)
    known = {text for together in written.values() for each in together for text in each.queries}
    labels = TrustedLabels(judge, sorted(known))
    rows: list[dict[str, Value]] = []
    for name, together in written.items():
        told: dict[str, Value] = {
            "written": name,
            "documents": len(judge.documents),
            "documents_per_second": round(len(judge.documents) / seconds[name], 2),
        }
        for bound, trust in _bounds(is_searched=name != DRAWN):
            rows.append(told | {"bound": bound} | labels.figures(together, trust))
    return rows


def _bounds(*, is_searched: bool) -> list[tuple[float, Trust]]:
    settings = MappingSettings()
    if is_searched:
        update = [(bound, {"min_expected": bound}) for bound in EXPECTED]
    else:
        update = [(bound, {"min_log_probability": bound}) for bound in LOG_PROBABILITIES]
    return [(bound, Trust.of(settings.model_copy(update=each))) for bound, each in update]


def _in_turns(
    generators: dict[str, QueryGenerator], judge: Judge
) -> tuple[dict[str, list[WrittenQueries]], dict[str, float]]:
    """Let each write one part of the documents after the other, so that all meet the same minutes."""
    written: dict[str, list[WrittenQueries]] = {name: [] for name in generators}
    seconds = dict.fromkeys(generators, 0.0)
    size = -(-len(judge.documents) // PARTS)
    for start in range(0, len(judge.documents), size):
        part = judge.documents[start : start + size]
        for name, generator in generators.items():
            begun = time.monotonic()
            written[name] += generator.generate(part)
            seconds[name] += time.monotonic() - begun
            print(f"{name}: {len(written[name])} documents", file=sys.stderr, flush=True)
    for generator in generators.values():
        generator.close()
    return written, seconds


if __name__ == "__main__":
    main()
