"""How fast the SLM writes, beside other decoders of the same weights: `python -m loadtests.generation --json`.

Everyone completes the same 200 prompts of mixed lengths greedily on the same two threads, in one run and in turns:
transformers (float32) and onnxruntime-genai (int4) in static batches, llama.cpp (4 bits) and ours with
continuous batching. Each peer first shows on a sample which of its batch sizes or types is best for it.
Documents that come at once, half of them a turn, give the throughputs and their ratios; then the first half comes
again at random moments, for those with continuous batching.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial, reduce
from operator import add
from pathlib import Path

from tokenizers import Tokenizer

from loadtests import results
from loadtests.arrivals import all_at_once, poisson
from loadtests.identity import measure_identity
from loadtests.mixed_documents import LANDING_PAGES, mixed_documents, spread
from loadtests.peers.contenders import GENAI, OURS, TRANSFORMERS, contenders
from loadtests.peers.install import LLAMA_CPP
from loadtests.peers.protocol import Job
from loadtests.side_by_side import Contender, best_choice, take_turns, warm_up
from loadtests.written import Speed, speed_of
from shared.contracts.generator import GENERATOR_CARD, GeneratorCard
from shared.errors import SkimError
from shared.prompt import PromptTokenizer
from shared.settings import CommonSettings

THREADS = 2
TURNS = 2
LOAD = 0.7
"""Documents that come at random moments come at this share of what ours can carry."""
_MAX_NEW_TOKENS = 64
_TRIED_ON = 16  # documents on which a peer shows which of its settings is best
_SLOW = {TRANSFORMERS: 64, GENAI: 64}  # documents that stand for all: the same mix of lengths
_COMPARED_WITH_ALONE = 100  # documents
_RATIOS = {
    "ratio_vs_transformers": TRANSFORMERS,
    "ratio_vs_llama_cpp": LLAMA_CPP,
    "ratio_vs_static": GENAI,
}

Figures = dict[str, results.Value]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and save where asked; 1 if an error of ours stopped it."""
    options = _options(arguments)
    common = CommonSettings()
    try:
        taking_part = contenders(common, threads=THREADS)
        slm, things = common.models / "slm", common.data / "things" / "documents.jsonl"
        job, line_ends = mixed_job(slm, things, options.pages, options.documents)
        figures = measure(taking_part, job, line_ends) | _identity(slm, job)
    except SkimError as error:
        print(f"loadtests.generation: {error}", file=sys.stderr)
        return 1
    if options.save:
        results.save("generation", figures)
    print(json.dumps(figures) if options.json else results.markdown_table(figures))
    return 0


def mixed_job(slm: Path, things: Path, pages: Path, count: int) -> tuple[Job, set[int]]:
    """Return the prompts of mixed documents as a job, and the tokens that end a line.

    Args:
        slm: folder of the served SLM: every decoder ends a text where it learned to.
        things: documents.jsonl.
        pages: see `LANDING_PAGES`.
        count: how many.
    """
    card = GeneratorCard.model_validate_json((slm / GENERATOR_CARD).read_bytes())
    path = slm / "tokenizer.json"
    tokenizer = PromptTokenizer(path, end_token=card.end_token)
    documents = mixed_documents(things, pages, count)
    prompts = [tokenizer.encode_prompt(document) for document in documents]
    vocabulary = Tokenizer.from_file(str(path)).get_vocab_size()
    line_ends = {token for token in range(vocabulary) if "\n" in tokenizer.decode([token])}
    return Job(prompts, all_at_once(count), _MAX_NEW_TOKENS, tokenizer.end_id), line_ends


def measure(
    taking_part: Sequence[Contender], job: Job, line_ends: Collection[int], *, seed: int = 0
) -> Figures:
    """Return the figures of one run.

    Args:
        taking_part: ours and its peers.
        job: what each does; its documents come at once.
        line_ends: the tokens that end a line.
        seed: of the random arrivals.
    """
    lengths = [len(prompt) for prompt in job.prompts]
    sample = job.part(spread(_TRIED_ON, lengths))
    chosen = {contender.name: best_choice(contender, sample) for contender in taking_part}
    jobs = {
        contender.name: [
            job.part(spread(_SLOW.get(contender.name, len(lengths)), lengths)[turn::TURNS])
            for turn in range(TURNS)
        ]
        for contender in taking_part
    }
    with ExitStack() as running:
        decoders = {
            contender.name: running.enter_context(contender.start(chosen[contender.name]))
            for contender in taking_part
        }
        for decoder in decoders.values():
            warm_up(decoder, job)
        at_once = take_turns(decoders, jobs)
        speeds = {
            name: reduce(add, map(partial(speed_of, line_ends=line_ends), jobs[name], written))
            for name, written in at_once.items()
        }
        rate = LOAD * speeds[OURS].documents_per_second
        arrivals = poisson(len(jobs[OURS][0].prompts), per_second=rate, seed=seed)
        later = replace(jobs[OURS][0], arrivals=arrivals)
        continuous = {name: decoder for name, decoder in decoders.items() if name not in _SLOW}
        random = take_turns(continuous, {name: [later] for name in continuous})
    figures: Figures = {
        "documents": len(lengths),
        "prompt_tokens_per_document": round(sum(lengths) / len(lengths), 1),
        **ratios(speeds),
        "peak_rss_mb": round(max(one.peak_rss_mb for one in at_once[OURS] + random[OURS])),
        "poisson_arrivals_per_second": round(rate, 2),
    }
    for contender in taking_part:
        prefix = "" if contender.name == OURS else f"{contender.name}_"
        figures[f"{prefix}{contender.setting}"] = chosen[contender.name]
        figures |= _row(prefix, speeds[contender.name])
        if contender.name in random:
            (written,) = random[contender.name]
            figures |= _row(f"{prefix}poisson_", speed_of(later, written, line_ends))
    return figures


def ratios(speeds: Mapping[str, Speed]) -> Figures:
    """Return how many times as many documents ours finishes as each peer that took part."""
    ours = speeds[OURS].documents_per_second
    return {
        name: round(ours / speeds[peer].documents_per_second, 2)
        for name, peer in _RATIOS.items()
        if peer in speeds
    }


def _identity(folder: Path, job: Job) -> Figures:
    """Return how many texts are the same alone and in the crowd, and how many differ without a near-tie."""
    rows = spread(_COMPARED_WITH_ALONE, [len(prompt) for prompt in job.prompts])
    found = measure_identity(
        folder, job.part(rows).prompts, end_id=job.end_id, max_new_tokens=job.max_new_tokens
    )
    return {
        "compared_with_alone": len(rows),
        "identical_fraction": round(found.identical_fraction, 4),
        "unexplained_differences": found.unexplained_differences,
    }


def _row(prefix: str, speed: Speed) -> Figures:
    return {
        f"{prefix}documents_per_second": round(speed.documents_per_second, 2),
        f"{prefix}tokens_per_second": round(speed.tokens_per_second, 1),
        f"{prefix}tokens_per_document": round(speed.tokens_per_document, 1),
        f"{prefix}first_query_p50_ms": round(speed.first_query_p50_ms),
    }


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.generation", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    parser.add_argument(
        "--save", action="store_true", help="keep the figures in loadtests/results"
    )
    parser.add_argument("--documents", type=int, default=200, help="how many")
    parser.add_argument("--pages", type=Path, default=LANDING_PAGES, help="landing pages")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
