"""Which recipe makes the best student: `python -m loadtests.students --target FOLDER --save` (on a GPU: minutes).

Every recipe is tuned as `skim distill tune` does and writes, with torch, for held-out documents that
`skim distill evaluate` does not read; its labels are judged there at several bounds of trust. So recipe,
samples and bounds are chosen without the report's documents. Recipes are independent: one killed is
tuned again alone, and `--jobs` are tuned beside each other.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from loadtests.results import Value, save
from services.cli.quality import TEACHER
from services.generation.requests import Completion
from services.generation.scored_lines import read_lines
from services.generation.selection import ScoredLine, select_queries
from services.generation.settings import GenerationSettings
from services.mapping.trust import Trust
from services.training.distillation.clicks_teacher import click_examples
from services.training.distillation.export import merge_adapter
from services.training.distillation.judging import NEIGHBOURS, Judge
from services.training.distillation.sft import FineTuneSettings, fine_tune
from services.training.distillation.students import SETTINGS
from services.training.distillation.teacher_data import (
    Example,
    hold_out,
    read_examples,
    read_for_teacher,
    read_taught,
)
from shared.contracts.document import Document
from shared.contracts.synthetic_queries import WrittenQueries
from shared.dataset import Dataset
from shared.encoder import SentenceEncoder
from shared.prompt import PromptTokenizer, TitleOnlyPrompts
from shared.settings import CommonSettings

REPORT_DOCUMENTS = 400
"""What `skim distill evaluate` reads; these are passed over."""
TAU = 0.9
SUPPORTS = (0.0, 0.25, 0.34, 0.38, 0.5, 0.63, 0.67, 0.75)
LOG_PROBABILITIES = (None, -6.0, -4.0, -3.0, -2.5, -2.0, -1.5)
SAMPLES = (1, 4, 6, 8)
"""1 is the likeliest completion, undrawn and unjudged; the others are drawn as the service draws."""


@dataclass(frozen=True)
class Recipe:
    """What a student learns from, and how.

    Args:
        examples: chosen from (answers for the catalogue's documents, answers for pages, data set).
        settings: of the fine-tuning.
    """

    examples: Callable[[list[Example], list[Example], Dataset], list[Example]]
    settings: FineTuneSettings


def _both(answers: list[Example], pages: list[Example], dataset: Dataset) -> list[Example]:
    return [*answers, *pages, *click_examples(dataset)]


def _answers_only(answers: list[Example], pages: list[Example], dataset: Dataset) -> list[Example]:
    del dataset
    return [*answers, *pages]


def _first_both(answers: list[Example], pages: list[Example], dataset: Dataset) -> list[Example]:
    return [*answers[:2200], *pages, *click_examples(dataset)]


def _more_clicks(answers: list[Example], pages: list[Example], dataset: Dataset) -> list[Example]:
    return [*answers, *pages, *click_examples(dataset, min_queries=1)]


def _merged(answers: list[Example], pages: list[Example], dataset: Dataset) -> list[Example]:
    """One example a document: what was clicked among what the teacher wrote."""
    clicked = {example.document.id: example.queries for example in click_examples(dataset)}
    merged = [
        Example(
            example.document,
            list(dict.fromkeys([*clicked.pop(example.document.id, ()), *example.queries])),
        )
        for example in answers
    ]
    return [*merged, *pages, *(e for e in click_examples(dataset) if e.document.id in clicked)]


def _shuffled(answers: list[Example], pages: list[Example], dataset: Dataset) -> list[Example]:
    """Each answer twice: as written, and in another order, so that no query waits for another."""
    order = random.Random(0)
    examples = _both(answers, pages, dataset)
    return [
        *examples,
        *(Example(e.document, order.sample(list(e.queries), len(e.queries))) for e in examples),
    ]


_FIRST = replace(SETTINGS, batch_size=16, rows_at_once=16, epochs=1)
_TWICE = SETTINGS
RECIPES: dict[str, Recipe] = {
    "both_3": Recipe(_both, replace(_TWICE, epochs=3, patience=3, dropout=0.05)),
    "more_clicks_2": Recipe(_more_clicks, _TWICE),
    "both_2_wide": Recipe(
        _both, replace(_TWICE, rank=64, alpha=128, dropout=0.05, learning_rate=7e-4)
    ),
    "both_2": Recipe(_both, _TWICE),
    "merged_2": Recipe(_merged, _TWICE),
    "shuffled": Recipe(_shuffled, replace(_TWICE, epochs=1)),
    "teacher_2": Recipe(_answers_only, _TWICE),
    "titles_2": Recipe(
        lambda answers, pages, dataset: answers, replace(_TWICE, reads_metadata=False)
    ),
    "clicks_2": Recipe(lambda answers, pages, dataset: click_examples(dataset), _TWICE),
    "clicks": Recipe(lambda answers, pages, dataset: click_examples(dataset), _FIRST),
    "both_first": Recipe(_first_both, _FIRST),
}


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
    answers = read_examples(TEACHER / "things.jsonl", dataset.documents)
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
    labels = _Labels(judge, sorted(texts))
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


class _Labels:
    """The labels that follow from queries, each text encoded and mapped once."""

    def __init__(self, judge: Judge, texts: Sequence[str]) -> None:
        self._judge = judge
        cosines = judge.encoder.encode(texts) @ judge.query_vectors.T
        nearest = np.argpartition(-cosines, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
        self._reached = {
            text: {judge.query_ids[query] for query in near if row[query] >= TAU}
            for text, near, row in zip(texts, nearest, cosines, strict=True)
        }

    def figures(self, together: Sequence[WrittenQueries], trust: Trust) -> dict[str, Value]:
        """Return precision and recall of the labels that the trusted queries lead to."""
        hits = labels = relevant = queries = 0
        for document, written in zip(self._judge.documents, together, strict=True):
            trusted = trust.trusted(written)
            true = self._judge.reference.relevant[document.id]
            reached = set().union(*(self._reached[text] for text in trusted))
            hits, labels = hits + len(reached & true), labels + len(reached)
            relevant, queries = relevant + len(true), queries + len(trusted)
        return {
            "label_precision": round(hits / max(labels, 1), 4),
            "label_recall": round(hits / max(relevant, 1), 4),
            "queries_per_document": round(queries / len(together), 2),
        }


class TorchWriter:
    """Writes as the generation service does, from merged float32 weights, many documents at once.

    Args:
        base: Hugging Face style folder.
        adapter: merged into it.
        reads_metadata: False shows it titles only.
    """

    def __init__(self, base: Path, adapter: Path, *, reads_metadata: bool = True) -> None:
        merged = adapter.with_name(f"{adapter.name}.merged")
        merge_adapter(base, adapter, merged)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model = AutoModelForCausalLM.from_pretrained(merged).to(self._device).eval()
        prompts = PromptTokenizer if reads_metadata else TitleOnlyPrompts
        self._prompts = prompts(merged / "tokenizer.json")
        self._settings = GenerationSettings()

    def write(
        self, documents: Sequence[Document], samples: int, *, draws: bool = True
    ) -> list[list[list[ScoredLine]]]:
        """Return the scored lines of each sample of each document."""
        written: dict[str, list[list[ScoredLine]]] = {}
        rows = 1024 if self._device == "cuda" else 32
        for batch in _batches(documents, self._prompts, max(1, rows // samples)):
            for document, completions in zip(
                batch, self._complete(batch, samples, draws=draws), strict=True
            ):
                written[document.id] = [
                    read_lines(
                        completion,
                        document,
                        self._prompts.decode,
                        max_queries=self._settings.max_queries,
                    )[0]
                    for completion in completions
                ]
        return [written[document.id] for document in documents]

    @torch.no_grad()
    def _complete(
        self, documents: Sequence[Document], samples: int, *, draws: bool
    ) -> list[list[Completion]]:
        torch.manual_seed(0)
        settings, end = self._settings, self._prompts.end_id
        prompts = [self._prompts.encode_prompt(document) for document in documents]
        width = max(map(len, prompts))
        ids = torch.tensor([[end] * (width - len(p)) + list(p) for p in prompts])
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
        drawn = {
            "do_sample": True,
            "temperature": settings.temperature,
            "top_k": settings.top_k,
            "top_p": settings.top_p,
        }
        out = self._model.generate(
            input_ids=ids.to(self._device),
            attention_mask=mask.to(self._device),
            num_return_sequences=samples,
            max_new_tokens=settings.max_new_tokens,
            eos_token_id=end,
            pad_token_id=end,
            **(drawn if draws else {"do_sample": False}),
        )
        scores = self._scores(out, mask.repeat_interleave(samples, 0).to(self._device), width)
        flat = [
            _completion(row, each, end)
            for row, each in zip(out[:, width:].tolist(), scores, strict=True)
        ]
        return [flat[at : at + samples] for at in range(0, len(flat), samples)]

    def _scores(self, out: torch.Tensor, mask: torch.Tensor, width: int) -> list[list[float]]:
        """Return what the model itself gives each new token, at temperature 1."""
        scores: list[list[float]] = []
        new = out.shape[1] - width
        for at in range(0, len(out), 128):
            part = out[at : at + 128]
            seen = torch.cat(
                [
                    mask[at : at + 128],
                    torch.ones(len(part), new, device=mask.device, dtype=mask.dtype),
                ],
                dim=1,
            )
            places = (seen.cumsum(1) - 1).clamp(min=0)
            logits = self._model(
                input_ids=part, attention_mask=seen, position_ids=places, logits_to_keep=new + 1
            ).logits[:, :-1]
            likely = torch.log_softmax(logits.float(), dim=-1)
            scores += likely.gather(2, part[:, width:, None])[:, :, 0].tolist()
        return scores


def _completion(row: list[int], scores: list[float], end: int) -> Completion:
    is_finished = end in row
    length = row.index(end) if is_finished else len(row)
    return Completion(row[:length], is_finished, scores[:length])


def _batches(
    documents: Sequence[Document], prompts: PromptTokenizer, size: int
) -> Iterator[list[Document]]:
    order = sorted(documents, key=lambda document: len(prompts.encode_prompt(document)))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _note(name: str) -> Callable[[int, int, str], None]:
    def note(done: int, total: int, text: str) -> None:
        if done % 100 == 0 or done == total:
            print(f"{name}: step {done} of {total}, {text}", file=sys.stderr, flush=True)

    return note


if __name__ == "__main__":
    main()
