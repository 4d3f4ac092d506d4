"""Writes queries with torch, from merged weights: a student is judged before anything is exported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from services.generation.requests import Completion
from services.generation.scored_lines import read_lines
from services.generation.selection import ScoredLine
from services.generation.settings import GenerationSettings
from services.training.distillation.base_model import end_token_of
from services.training.distillation.export import merge_adapter
from shared.contracts.document import Document
from shared.prompt import PromptTokenizer, TitleOnlyPrompts


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
        self._prompts = prompts(merged / "tokenizer.json", end_token=end_token_of(merged))
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
