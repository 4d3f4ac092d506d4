"""A BERT-like encoder folder becomes the ONNX sentence encoder that mapping and inference load."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Literal

import onnx
from tokenizers import Tokenizer
from transformers import AutoModel

from services.training.encoder_graph import exported, in_bytes
from services.training.model_sources import sha256_of
from services.training.siamese import RECORD
from shared.encoder import STEADY_RECIPE, EncoderCard
from shared.encoder_files import CARD, MODEL, TOKENIZER

Precision = Literal["int8", "fp32"]


def export_encoder(source: Path, target: Path, *, precision: Precision = "int8") -> EncoderCard:
    """Write `encoder.onnx`, `tokenizer.json` and `encoder.json` to `target`, whole or not at all.

    A source that was fine-tuned here brings its `training.json` with it.

    Args:
        source: a Hugging Face style folder of a BERT-like encoder with `tokenizer.json`.
        target: replaced if it exists.
        precision: int8 makes bytes of weights and activations; fp32 leaves them.
    """
    transformer = AutoModel.from_pretrained(source).eval()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        folder = Path(scratch) / "encoder"
        folder.mkdir()
        graph = exported(transformer)
        if precision == "int8":
            graph = in_bytes(graph, Tokenizer.from_file(str(source / TOKENIZER)))
        onnx.save(graph, folder / MODEL)
        shutil.copy(source / TOKENIZER, folder / TOKENIZER)
        if (source / RECORD).exists():
            shutil.copy(source / RECORD, folder / RECORD)
        card = EncoderCard(
            name=f"{source.name}-{precision}-{sha256_of(folder / MODEL)[:8]}",
            dimensions=transformer.config.hidden_size,
            precision=precision,
            recipe=STEADY_RECIPE,
            source=source.name,
        )
        (folder / CARD).write_text(card.model_dump_json(indent=2) + "\n")
        shutil.rmtree(target, ignore_errors=True)
        folder.rename(target)
    return card
