"""Tiny real models made on the spot: the same files and graphs as the real ones, in kilobytes."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertModel,
    LlamaConfig,
    PretrainedConfig,
)

END_TOKEN = "<|im_end|>"
"""What ends an answer of the tiny language models."""
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "a",
    "an",
    "the",
    "of",
    "for",
    "with",
    "used",
    "instrument",
    "wind",
    "woodwind",
    "reed",
    "double",
    "tool",
    "cutting",
    "knife",
    "saw",
    "hammer",
    "food",
    "fruit",
    "apple",
    "pear",
    "bread",
    "kitchen",
    "music",
    "musical",
    "string",
    "violin",
    "oboe",
    "flute",
    "clarinet",
    "container",
    "cup",
    "bowl",
    "bottle",
    "sharp",
    "sweet",
    "baked",
    "long",
    "short",
    "made",
    "wood",
    "metal",
]


def write_tokenizer(folder: Path) -> Path:
    """Write a byte-level `tokenizer.json` with one special token, END_TOKEN; return its path."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {END_TOKEN: 0} | {byte: n + 1 for n, byte in enumerate(alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([END_TOKEN])
    path = folder / "tokenizer.json"
    tokenizer.save(str(path))
    return path


def write_chat_tokenizer(folder: Path) -> Path:
    """Write `write_tokenizer`'s with more of a chat model's tokens, of which <tool_call> is not special.

    It also folds look-alikes (NFKC) before it looks for them, which is the worst case.
    """
    tokenizer = Tokenizer.from_file(str(write_tokenizer(folder)))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.add_special_tokens(["<|im_start|>", "<|endoftext|>"])
    tokenizer.add_tokens(["<tool_call>"])
    path = folder / "chat_tokenizer.json"
    tokenizer.save(str(path))
    return path


TINY_DECODER = {
    "vocab_size": 257,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
    "initializer_range": 0.4,
}
"""What configurations of Llama-like models have in common."""


def write_language_model(folder: Path, config: PretrainedConfig | None = None) -> Path:
    """Write a random model of two layers over `write_tokenizer`'s 257 tokens, Hugging Face style; a Llama
    unless another configuration is given.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(folder)
    (folder / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>"}'
    )
    torch.manual_seed(0)
    config = config or LlamaConfig(**TINY_DECODER, tie_word_embeddings=True)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


def write_encoder(folder: Path, *, layers: int = 1, dropout: float = 0.1) -> Path:
    """Write a random BERT over `WORDS`, Hugging Face style.

    Random layers keep near what the word embeddings say, so texts that share words are similar.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(
        models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=128,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    BertModel(config).save_pretrained(folder)
    return folder
