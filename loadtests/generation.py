"""How fast the SLM writes, against transformers with the same weights: `python -m loadtests.generation --json`.

Both read the same documents with the same prompts, greedily, in one run and in turns (ours, theirs, ours, theirs).
transformers runs in float32 at the batch size that is best for it among those tried; ours is the served int4 model.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from loadtests.results import save
from services.generation.language_model import LanguageModel
from services.generation.sampling import Sampling
from services.training.distillation.export import merge_adapter
from services.training.model_sources import SMOLLM2, fetch
from shared.contracts.document import Document
from shared.dataset import read_documents
from shared.prompt import PromptTokenizer
from shared.settings import CommonSettings

ADAPTER = Path(__file__).resolve().parents[1] / "deploy" / "models" / "slm-things"
GREEDY = Sampling(temperature=0, max_new_tokens=64)
PEER_BATCH_SIZES = (4, 8, 16, 32)

Tokens = list[list[int]]
Runner = Callable[[Sequence[list[int]]], Tokens]


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--save", action="store_true", help="write loadtests/results/generation.json"
    )
    parser.add_argument("--documents", type=int, default=64)
    parser.add_argument(
        "--data", type=Path, help="documents.jsonl (default: the catalogue things)"
    )
    options = parser.parse_args()
    common = CommonSettings()
    path = options.data or common.data / "things" / "documents.jsonl"
    documents = _spread(list(read_documents(path)), options.documents)
    figures = measure(common, documents)
    if options.save:
        save("generation", figures)
    print(json.dumps(figures) if options.json else json.dumps(figures, indent=2))


def measure(common: CommonSettings, documents: Sequence[Document]) -> dict[str, Any]:
    """Time both on `documents`, twice each in turns; figures are means over the two runs."""
    folder = common.models / "slm"
    tokenizer = PromptTokenizer(folder / "tokenizer.json")
    prompts = [tokenizer.encode_prompt(document) for document in documents]
    ours = _ours(LanguageModel(folder), tokenizer.end_id)
    with tempfile.TemporaryDirectory() as scratch:
        merge_adapter(fetch(SMOLLM2, common.models / "sources"), ADAPTER, Path(scratch))
        model = AutoModelForCausalLM.from_pretrained(scratch, dtype=torch.float32).eval()
    sample = prompts[: max(PEER_BATCH_SIZES)]
    rates = {
        size: _timed(_theirs(model, tokenizer.end_id, size), sample)[1]
        for size in PEER_BATCH_SIZES
    }
    best = max(rates, key=lambda size: rates[size])
    theirs = _theirs(model, tokenizer.end_id, best)
    ours(prompts[:4])  # warm-up
    runs = [(_timed(ours, prompts), _timed(theirs, prompts)) for _ in range(2)]
    ours_rate = statistics.mean(run[0][1] for run in runs)
    theirs_rate = statistics.mean(run[1][1] for run in runs)
    return {
        "documents": len(documents),
        "documents_per_second": round(ours_rate, 2),
        "tokens_per_second": round(statistics.mean(run[0][0] / run[0][2] for run in runs), 1),
        "new_tokens_per_document": round(runs[0][0][0] / len(documents), 1),
        "prompt_tokens_per_document": round(sum(map(len, prompts)) / len(prompts), 1),
        "transformers_documents_per_second": round(theirs_rate, 2),
        "transformers_batch_size": best,
        "ratio_vs_transformers": round(ours_rate / theirs_rate, 2),
    }


def _timed(run: Runner, prompts: Sequence[list[int]]) -> tuple[int, float, float]:
    """Return (new tokens, documents a second, seconds)."""
    started = time.perf_counter()
    tokens = sum(map(len, run(prompts)))
    seconds = time.perf_counter() - started
    return tokens, len(prompts) / seconds, seconds


def _ours(model: LanguageModel, end_id: int) -> Runner:
    return lambda prompts: [
        completion.ids
        for completion in model.complete(
            prompts, end_id=end_id, sampling=GREEDY, seeds=[0] * len(prompts)
        )
    ]


def _theirs(model: Any, end_id: int, batch_size: int) -> Runner:  # noqa: ANN401  (untyped library)
    def _run(prompts: Sequence[list[int]]) -> Tokens:
        written: Tokens = []
        rows = sorted(prompts, key=len)  # the same kindness as ours: little padding
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            width = max(map(len, batch))
            ids = torch.full((len(batch), width), end_id)
            mask = torch.zeros((len(batch), width), dtype=torch.long)
            for row, prompt in enumerate(batch):
                ids[row, width - len(prompt) :] = torch.tensor(prompt)
                mask[row, width - len(prompt) :] = 1
            with torch.inference_mode():
                output = model.generate(
                    input_ids=ids,
                    attention_mask=mask,
                    max_new_tokens=GREEDY.max_new_tokens,
                    do_sample=False,
                    eos_token_id=end_id,
                    pad_token_id=end_id,
                )
            for row in output[:, width:].tolist():
                written.append(row[: row.index(end_id)] if end_id in row else row)
        return written

    return _run


def _spread(documents: Sequence[Document], count: int) -> list[Document]:
    """Return `count` documents evenly spread over the file."""
    step = max(1, len(documents) // count)
    return list(documents[::step][:count])


if __name__ == "__main__":
    main()
