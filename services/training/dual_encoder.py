"""Fine-tune the sentence encoder on clicks and labels, as a dual encoder (siamese: one set of weights).

Mean pooling and unit length as at serving, in-batch documents as negatives with every known positive
masked out of them, decoupled softmax (DEXML), AdamW, warm-up and cosine. The result is a Hugging Face
style folder that `encoder_export.export_encoder` takes.
"""

from __future__ import annotations

import math
import random
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import AutoModel

from services.training.classifiers import Progress, learning_rate_factor
from services.training.labels import Pairs, added_pairs, only_of
from services.training.loss import decoupled_softmax
from services.training.supervision import positions_of
from services.training.train import DESCRIPTION_TOKENS, QUERY_TOKENS, Tower
from shared.contracts.document import Document
from shared.dataset import Dataset
from shared.encoder import TOKENIZER
from shared.errors import InvalidInput, NotFound


@dataclass(frozen=True)
class DualEncoderSettings:
    """Hyper-parameters of a short fine-tune."""

    tower: Tower = "metadata"
    """What is read of a document."""
    epochs: int = 1
    batch_size: int = 64
    learning_rate: float = 2e-5
    weight_decay: float = 0.01
    warmup_share: float = 0.1
    temperature: float = 0.05
    max_pairs_per_query: int = 8
    """Pairs of one query seen in an epoch: broad queries would drown the others."""
    seed: int = 0


@dataclass(frozen=True)
class DualEncoderReport:
    """What a run did."""

    losses: list[float]
    """Mean loss of each epoch, before the step."""
    pairs: int
    steps: int
    seconds: float


def fine_tune(
    source: Path,
    dataset: Dataset,
    labels: Pairs,
    target: Path,
    settings: DualEncoderSettings,
    progress: Progress | None = None,
) -> DualEncoderReport:
    """Train on the train queries' pairs and write the encoder to `target`, whole or not at all.

    Args:
        source: Hugging Face style folder of a BERT-like encoder with `tokenizer.json`.
        dataset: only train queries are read.
        labels: query id -> document id -> similarity; those of other queries are left out.
        target: replaced if it exists.
        settings: hyper-parameters and seed.
        progress: told after every step.

    Raises:
        NotFound: `source` holds no encoder.
        InvalidInput: no train query has a click or a label.
    """
    started = time.monotonic()
    if not (source / TOKENIZER).exists():
        raise NotFound(f"{source}: no encoder with {TOKENIZER} here")
    positives = _positives(dataset, labels)
    texts = {query.id: query.text for query in dataset.queries_of("train")}
    described = {document.id: _read(document, settings.tower) for document in dataset.documents}
    torch.manual_seed(settings.seed)
    chooser = random.Random(settings.seed)
    epochs = [_batches(positives, settings, chooser) for _ in range(settings.epochs)]
    steps = sum(map(len, epochs))
    model = _SiameseEncoder(source)
    optimizer = torch.optim.AdamW(
        model.transformer.parameters(),
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(step, steps, settings.warmup_share)
    )
    losses: list[float] = []
    done = 0
    for batches in epochs:
        summed = 0.0
        for batch in batches:
            query_ids = list(dict.fromkeys(query_id for query_id, _ in batch))
            document_ids = list(dict.fromkeys(document_id for _, document_id in batch))
            loss = decoupled_softmax(
                model([texts[query_id] for query_id in query_ids], QUERY_TOKENS)
                @ model([described[name] for name in document_ids], DESCRIPTION_TOKENS).T,
                _is_positive(query_ids, document_ids, positives),
                temperature=settings.temperature,
            )
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            summed += loss.item()
            done += 1
            if progress is not None:
                progress(done, steps)
        losses.append(summed / len(batches))
    model.save(source, target)
    return DualEncoderReport(
        losses=losses,
        pairs=sum(len(row) for row in positives.values()),
        steps=steps,
        seconds=time.monotonic() - started,
    )


class _SiameseEncoder:
    """Texts to unit vectors, with gradients."""

    def __init__(self, source: Path) -> None:
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self.transformer = AutoModel.from_pretrained(source, dtype=torch.float32)
        self.transformer.to(self._device).train()
        self._tokenizer = Tokenizer.from_file(str(source / TOKENIZER))
        self._tokenizer.encode_special_tokens = True  # as at serving
        pad = self._tokenizer.token_to_id("[PAD]")
        self._tokenizer.enable_padding(pad_id=0 if pad is None else pad)

    def __call__(self, texts: Sequence[str], max_tokens: int) -> torch.Tensor:
        self._tokenizer.enable_truncation(max_tokens)
        encoded = self._tokenizer.encode_batch(list(texts))
        ids = torch.tensor([row.ids for row in encoded], device=self._device)
        mask = torch.tensor([row.attention_mask for row in encoded], device=self._device)
        hidden = self.transformer(input_ids=ids, attention_mask=mask)[0]
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)
        return torch.nn.functional.normalize(mean, dim=1)

    def save(self, source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            folder = Path(scratch) / "encoder"
            self.transformer.save_pretrained(folder)
            shutil.copy(source / TOKENIZER, folder / TOKENIZER)
            shutil.rmtree(target, ignore_errors=True)
            folder.rename(target)


def _positives(dataset: Dataset, labels: Pairs) -> Mapping[str, Sequence[str]]:
    queries, documents = dataset.queries_of("train"), positions_of(dataset.documents)
    clicks = only_of(dataset.clicks, queries, documents)
    added = added_pairs(only_of(labels, queries, documents), clicks)
    positives = {
        query.id: [*clicks.get(query.id, {}), *added.get(query.id, {})]
        for query in queries
        if query.id in clicks or query.id in added
    }
    if not positives:
        raise InvalidInput("nothing to train on: no train query has a click or a label")
    return positives


def _batches(
    positives: Mapping[str, Sequence[str]], settings: DualEncoderSettings, chooser: random.Random
) -> list[list[tuple[str, str]]]:
    """Return one epoch's pairs in batches of the same size, give or take one."""
    pairs = [
        (query_id, document_id)
        for query_id, row in positives.items()
        for document_id in chooser.sample(row, min(len(row), settings.max_pairs_per_query))
    ]
    chooser.shuffle(pairs)
    count = math.ceil(len(pairs) / settings.batch_size)
    return [pairs[number::count] for number in range(count)]


def _is_positive(
    query_ids: Sequence[str], document_ids: Sequence[str], positives: Mapping[str, Sequence[str]]
) -> torch.Tensor:
    known = [set(positives[query_id]) for query_id in query_ids]
    return torch.tensor([[document_id in row for document_id in document_ids] for row in known])


def _read(document: Document, tower: Tower) -> str:
    return document.title if tower == "title" else document.described()
