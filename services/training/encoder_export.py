"""A BERT-like encoder folder becomes the ONNX sentence encoder that mapping and inference load."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Literal

import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process
from transformers import AutoModel

from services.training.model_sources import sha256_of
from services.training.siamese import RECORD
from shared.encoder import EncoderCard
from shared.encoder_files import CARD, MODEL, TOKENIZER

Precision = Literal["int8", "fp32"]


class _SentenceModel(torch.nn.Module):
    """Transformer, mean over the tokens, unit length: what the weights were trained for."""

    def __init__(self, transformer: torch.nn.Module) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return (batch, dimensions) unit vectors for (batch, length) ids and mask."""
        hidden = self.transformer(input_ids=input_ids, attention_mask=attention_mask)[0]
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1e-9)
        return torch.nn.functional.normalize(mean, dim=1)


def export_encoder(source: Path, target: Path, *, precision: Precision = "int8") -> EncoderCard:
    """Write `encoder.onnx`, `tokenizer.json` and `encoder.json` to `target`, whole or not at all.

    A source that was fine-tuned here brings its `training.json` with it.

    Args:
        source: a Hugging Face style folder of a BERT-like encoder with `tokenizer.json`.
        target: replaced if it exists.
        precision: int8 quantises the weights, a scale a channel; fp32 leaves them.
    """
    transformer = AutoModel.from_pretrained(source).eval()
    model = _SentenceModel(transformer).eval()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        folder = Path(scratch) / "encoder"
        folder.mkdir()
        plain = Path(scratch) / "fp32.onnx"
        _export_graph(model, plain)
        if precision == "int8":
            prepared = Path(scratch) / "prepared.onnx"
            quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
            quantize_dynamic(
                str(prepared), str(folder / MODEL), weight_type=QuantType.QInt8, per_channel=True
            )
        else:
            plain.rename(folder / MODEL)
        shutil.copy(source / TOKENIZER, folder / TOKENIZER)
        if (source / RECORD).exists():
            shutil.copy(source / RECORD, folder / RECORD)
        card = EncoderCard(
            name=f"{source.name}-{precision}-{sha256_of(folder / MODEL)[:8]}",
            dimensions=transformer.config.hidden_size,
            precision=precision,
            source=source.name,
        )
        (folder / CARD).write_text(card.model_dump_json(indent=2) + "\n")
        shutil.rmtree(target, ignore_errors=True)
        folder.rename(target)
    return card


def _export_graph(model: torch.nn.Module, path: Path) -> None:
    ids = torch.ones((2, 8), dtype=torch.int64)
    mask = torch.ones_like(ids)  # not `ids` twice: the exporter makes one input of one tensor
    rows, length = torch.export.Dim("batch"), torch.export.Dim("length")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about its own exporter's insides
        torch.onnx.export(
            model,
            (ids, mask),
            str(path),
            input_names=["input_ids", "attention_mask"],
            output_names=["vectors"],
            dynamic_shapes=({0: rows, 1: length}, {0: rows, 1: length}),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
