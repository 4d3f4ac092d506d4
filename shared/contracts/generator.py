"""`generator.json`, beside the exported SLM: what it is. Training writes it, generation reads it."""

from __future__ import annotations

from shared.contracts.base import Contract

GENERATOR_CARD = "generator.json"


class GeneratorCard(Contract):
    """An exported student."""

    name: str
    """Id and the first digits of the sha256 over its files; synthetic queries are stored under it."""
    source: str
    adapter: str
    head_size: int
    """Width of one attention head's keys and values; the graph itself leaves it open."""
    context_tokens: int
    """Longest prompt plus completion."""
    end_token: str = "<|im_end|>"  # noqa: S105  (a token of text)
    """Ends a completion."""
    sha256: str = ""
    """Over the model's files, by name; empty for models exported before it was kept."""
    device: str = "cpu"
    precision: str = "int4"
