"""The sentence encoder as ONNX: texts in, unit vectors out. Mapping and inference use the same one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from pydantic import ValidationError
from tokenizers import Tokenizer

from shared.contracts.base import Contract
from shared.encoder_files import CARD, MODEL, TOKENIZER
from shared.errors import Damaged, NotFound

STEADY_RECIPE = 2
"""From which on a text's int8 vector does not depend on what is encoded beside it."""


class EncoderCard(Contract):
    """`encoder.json`, beside the model: what it is."""

    name: str
    """Id and the first digits of the model's sha256; labels are stored under it."""
    dimensions: int
    precision: str
    """`int8` (weights and activations) or `fp32`."""
    recipe: int = 1
    """Of the graph. The int8 graphs of recipe 1 had one scale for all texts encoded together, so that a text's vector
    depended on its company (by a cosine of .01 on average)."""
    source: str
    """Where the weights came from."""


class TextEncoder(Protocol):
    """What users of an encoder need of it."""

    @property
    def name(self) -> str:
        """Return its id with the first digits of its sha256."""

    @property
    def dimensions(self) -> int:
        """Return the length of the vectors."""

    def encode(
        self, texts: Sequence[str], *, max_tokens: int = 32, batch_size: int = 32
    ) -> NDArray[np.float32]:
        """Return (texts, dimensions) float32 unit vectors, in the order given."""


class SentenceEncoder:
    """Encodes texts with a transformer whose graph ends in mean pooling and L2 normalisation.

    Safe to call from several threads; each call runs on `threads` cores without spinning, so that
    one thread a core is the fastest way to serve.

    Args:
        folder: holds `encoder.onnx` (inputs input_ids, attention_mask: (batch, length) int64; output
            (batch, dimensions) float32), `tokenizer.json` and `encoder.json`.
        threads: cores one call may use.
    """

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        self.card = read_card(folder)
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self._tokenizer.encode_special_tokens = True  # a text's "[SEP]" is text, not a token
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        pad = self._tokenizer.token_to_id("[PAD]")
        self._pad_id = 0 if pad is None else pad
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(
            str(folder / MODEL), options, providers=["CPUExecutionProvider"]
        )

    @property
    def name(self) -> str:
        """Return the encoder's id with the first digits of its sha256."""
        return self.card.name

    @property
    def dimensions(self) -> int:
        """Return the length of the vectors."""
        return self.card.dimensions

    @property
    def may_batch(self) -> bool:
        """Say whether a text has the same vector, up to the last bits, whatever it is encoded with."""
        return self.card.precision != "int8" or self.card.recipe >= STEADY_RECIPE

    def encode(
        self, texts: Sequence[str], *, max_tokens: int = 32, batch_size: int = 32
    ) -> NDArray[np.float32]:
        """Return (texts, dimensions) float32 unit vectors, in the order given.

        Args:
            texts: may be empty.
            max_tokens: a longer text is cut (the paper's encoders read 32 tokens).
            batch_size: texts of similar length are encoded together, this many at a time; one by one where that
                would change them.
        """
        if not self.may_batch:
            batch_size = 1
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        rows = self.tokens(texts, max_tokens=max_tokens)
        by_length = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        for start in range(0, len(by_length), batch_size):
            batch = by_length[start : start + batch_size]
            vectors[batch] = self.forward([rows[row] for row in batch])
        return vectors

    def tokens(self, texts: Sequence[str], *, max_tokens: int = 32) -> list[list[int]]:
        """Return the token ids of each text, `max_tokens` at most."""
        return [self._tokens(text, max_tokens) for text in texts]

    def _tokens(self, text: str, max_tokens: int) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids if len(ids) <= max_tokens else [*ids[: max_tokens - 1], ids[-1]]

    def forward(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Return (rows, dimensions) float32 unit vectors of token ids, all encoded at once."""
        length = max(len(row) for row in rows)
        input_ids = np.full((len(rows), length), self._pad_id, dtype=np.int64)
        attention_mask = np.zeros((len(rows), length), dtype=np.int64)
        for index, row in enumerate(rows):
            input_ids[index, : len(row)] = row
            attention_mask[index, : len(row)] = 1
        outputs = self._session.run(
            None, {"input_ids": input_ids, "attention_mask": attention_mask}
        )
        vectors: NDArray[np.float32] = outputs[0]
        return vectors


def read_card(folder: Path) -> EncoderCard:
    """Return what the sentence encoder in `folder` says of itself, without loading it.

    Raises:
        NotFound: there is none.
        Damaged: its card does not have our format.
    """
    try:
        return EncoderCard.model_validate_json((folder / CARD).read_bytes())
    except FileNotFoundError as error:
        raise NotFound(f"{folder}: no sentence encoder here; run `skim models build`") from error
    except ValidationError as error:
        raise Damaged(f"{folder / CARD}: {error.errors()[0]['msg']}") from error
