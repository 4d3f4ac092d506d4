"""A BERT-like sentence encoder with gradients: one set of weights for queries and documents."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import AutoModel

from shared.encoder_files import TOKENIZER
from shared.errors import InvalidInput

RECORD = "training.json"
"""Settings, data hash and metrics, beside the weights they led to."""


@dataclass(frozen=True)
class Tokens:
    """Texts as (texts, longest) int64 ids and mask."""

    ids: torch.Tensor
    mask: torch.Tensor


class TextTokenizer:
    """Texts to tokens as at serving, on a device."""

    def __init__(self, source: Path, device: torch.device) -> None:
        self._device = device
        self._tokenizer = Tokenizer.from_file(str(source / TOKENIZER))
        self._tokenizer.encode_special_tokens = True  # as at serving
        pad = self._tokenizer.token_to_id("[PAD]")
        self._tokenizer.enable_padding(pad_id=0 if pad is None else pad)

    def __call__(self, texts: Sequence[str], max_tokens: int) -> Tokens:
        """Return the first `max_tokens` of each text; of no texts a (0, 1) array."""
        self._tokenizer.enable_truncation(max_tokens)
        encoded = self._tokenizer.encode_batch(list(texts) or [""])
        ids = torch.tensor([row.ids for row in encoded], device=self._device)
        mask = torch.tensor([row.attention_mask for row in encoded], device=self._device)
        return Tokens(ids[: len(texts)], mask[: len(texts)])


class SiameseEncoder(torch.nn.Module):
    """Tokens to unit vectors: transformer, mean over the tokens, length 1.

    Args:
        source: Hugging Face style folder.
        trained_layers: how many of the upper layers learn; all, and the word embeddings, if None.
            What is frozen has no drop-out either and is left out of the backward pass.

    Raises:
        InvalidInput: `trained_layers` is not between 1 and the number of layers.
    """

    def __init__(self, source: Path, trained_layers: int | None = None) -> None:
        super().__init__()
        self.transformer: Any = AutoModel.from_pretrained(source, dtype=torch.float32)
        self._frozen: list[torch.nn.Module] = []
        pooler = getattr(self.transformer, "pooler", None)
        if pooler is not None:  # serving takes the mean instead
            self._frozen.append(pooler)
        if trained_layers is not None:
            self._frozen += _lower_parts(self.transformer, trained_layers)
        for part in self._frozen:
            part.requires_grad_(requires_grad=False)

    def forward(self, *texts: Tokens) -> tuple[torch.Tensor, ...]:
        """Return the (texts, dimensions) float32 unit vectors of each list of texts."""
        return tuple(self._vectors(tokens) for tokens in texts)

    def train(self, mode: bool = True) -> SiameseEncoder:
        """Switch drop-out on in the parts that learn."""
        super().train(mode)
        for part in self._frozen:
            part.eval()
        return self

    def trained(self) -> dict[str, torch.nn.Parameter]:
        """Return the parameters that learn, by name."""
        return {
            name: parameter
            for name, parameter in self.transformer.named_parameters()
            if parameter.requires_grad
        }

    def save(self, source: Path, target: Path, record: str) -> None:
        """Write a folder like `source` with these weights and `record`, whole or not at all."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            folder = Path(scratch) / "encoder"
            self.transformer.save_pretrained(folder)
            shutil.copy(source / TOKENIZER, folder / TOKENIZER)
            (folder / RECORD).write_text(record)
            shutil.rmtree(target, ignore_errors=True)
            folder.rename(target)

    def _vectors(self, tokens: Tokens) -> torch.Tensor:
        if (
            len(tokens.ids) == 0
        ):  # a process without a share; its parameters get a gradient of zero
            one = tokens.ids.new_ones((1, 1))
            return self._vectors(Tokens(one, one))[:0]
        on_cuda = tokens.ids.device.type == "cuda"
        with torch.autocast(tokens.ids.device.type, dtype=torch.bfloat16, enabled=on_cuda):
            hidden = self.transformer(input_ids=tokens.ids, attention_mask=tokens.mask)[0]
        hidden = hidden.float()
        weights = tokens.mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)
        return torch.nn.functional.normalize(mean, dim=1)


def _lower_parts(transformer: Any, trained: int) -> list[torch.nn.Module]:  # noqa: ANN401  (untyped)
    """Return the word embeddings and all but the upper `trained` layers (BERT and its kin, DistilBERT)."""
    stack = getattr(transformer, "encoder", None) or getattr(transformer, "transformer", None)
    layers = getattr(stack, "layer", None)
    if layers is None:
        raise InvalidInput(f"trained_layers: no layers known in a {type(transformer).__name__}")
    if not 1 <= trained <= len(layers):
        raise InvalidInput(f"trained_layers is {trained}, expected 1 to {len(layers)}")
    return [transformer.embeddings, *layers[: len(layers) - trained]]
