"""Which recipe makes the best student: `python -m loadtests.students --target FOLDER --save` (on a GPU: minutes).

Every recipe is tuned as `skim distill tune` does and writes, with torch, for held-out documents that
`skim distill evaluate` does not read; its labels are judged there at several bounds of trust. So recipe,
samples and bounds are chosen without the report's documents. Recipes are independent: one killed is
tuned again alone, and `--jobs` are tuned beside each other.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from loadtests.recipes import RECIPES
from loadtests.results import Value, save
from loadtests.torch_writer import TorchWriter
from loadtests.trusted_labels import TrustedLabels
from services.cli.quality import ANSWERS, TEACHER
from services.generation.selection import select_queries
from services.mapping.trust import Trust
from services.training.distillation.judging import Judge
from services.training.distillation.sft import fine_tune
from services.training.distillation.teacher_data import (
    hold_out,
    read_examples,
    read_for_teacher,
    read_taught,
)
from shared.encoder import SentenceEncoder
from shared.settings import CommonSettings

REPORT_DOCUMENTS = 400
"""What `skim distill evaluate` reads; these are passed over."""
SUPPORTS = (0.0, 0.25, 0.34, 0.38, 0.5, 0.63, 0.67, 0.75)
LOG_PROBABILITIES = (None, -6.0, -4.0, -3.0, -2.5, -2.0, -1.5)
SAMPLES = (1, 4, 6, 8)
"""1 is the likeliest completion, undrawn and unjudged; the others are drawn as the service draws."""


def main() -> None:
    """Tune and judge every recipe, print and keep the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of `skim data things`")
    parser.add_argument("--target", type=Path, required=True, help="receives a folder a recipe")
    parser.add_argument("--recipes", default=",".join(RECIPES))
    parser.add_argument("--jobs", type=int, default=1, help="recipes tuned at once")
    parser.add_argument("--documents", type=int, default=2_000, help="most that are written for")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    names = options.recipes.split(",")
    if len(names) == 1 and not options.save:
        rows = measure(names[0], options.data, options.target / names[0], options.documents)
        print(json.dumps(rows))
        return
    with ThreadPoolExecutor(options.jobs) as pool:
        lists = list(pool.map(lambda name: _in_a_process(name, options), names))
    rows = [row for rows in lists for row in rows]
    if options.save:
        save("students", rows, command="python -m loadtests.students --data things --save")
    print(json.dumps(rows))


def _in_a_process(name: str, options: argparse.Namespace) -> list[dict[str, Value]]:
    arguments = ["--data", str(options.data), "--target", str(options.target)]
    arguments += ["--recipes", name, "--documents", str(options.documents)]
    command = [sys.executable, "-m", "loadtests.students", *arguments]
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
    if finished.returncode:
        print(f"{name} failed with {finished.returncode}", file=sys.stderr)
        return []
    rows: list[dict[str, Value]] = json.loads(finished.stdout.splitlines()[-1])
    return rows


def measure(name: str, data: Path, target: Path, most: int) -> list[dict[str, Value]]:
    """Tune a recipe's student into `target` and return a row for each way of reading what it writes."""
    begun = time.monotonic()
    common = CommonSettings()
    dataset = read_for_teacher(data)
    recipe = RECIPES[name]
    answers = read_examples(ANSWERS, dataset.documents)
    examples = recipe.examples(answers, read_taught(TEACHER / "pages.jsonl"), dataset)
    learn, held_out = hold_out(examples)
    base = common.models / "sources" / "smollm2-135m-instruct"
    if not (target / "adapter_model.safetensors").exists():
        fine_tune(base, learn, held_out, target, recipe.settings, _note(name))
    queries = dataset.queries_of("train")
    encoder = SentenceEncoder(common.models / "encoder")
    judge = Judge.of_held_out(dataset, answers, queries, encoder, most, skip=REPORT_DOCUMENTS)
    writer = TorchWriter(base, target, reads_metadata=recipe.settings.reads_metadata)
    training = json.loads((target / "training.json").read_text())["report"]
    told: dict[str, Value] = {
        "recipe": name,
        "examples": len(learn),
        "held_out_loss": min(training["held_out_losses"]),
        "documents": len(judge.documents),
    }
    rows: list[dict[str, Value]] = []
    drawn = writer.write(judge.documents, max(SAMPLES))
    likeliest = writer.write(judge.documents, 1, draws=False)
    texts = {line.text for lists in (*drawn, *likeliest) for lines in lists for line in lines}
    labels = TrustedLabels(judge, sorted(texts))
    for samples in SAMPLES:
        written = likeliest if samples == 1 else [w[:samples] for w in drawn]
        together = [select_queries(lines) for lines in written]
        for support in SUPPORTS if samples > 1 else (0.0,):
            for bound in LOG_PROBABILITIES if samples > 1 else (None,):
                trust = Trust(support, bound, 0 if samples == 1 else 1)
                figures = labels.figures(together, trust)
                rows.append(
                    told
                    | {"samples": samples, "support": support, "log_probability": bound}
                    | figures
                )
    print(f"{name}: {time.monotonic() - begun:.0f} s", file=sys.stderr)
    (target / "rows.json").write_text(json.dumps(rows))
    return rows


def _note(name: str) -> Callable[[int, int, str], None]:
    def note(done: int, total: int, text: str) -> None:
        if done % 100 == 0 or done == total:
            print(f"{name}: step {done} of {total}, {text}", file=sys.stderr, flush=True)

    return note


if __name__ == "__main__":
    main()
