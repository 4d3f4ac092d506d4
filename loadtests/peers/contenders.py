"""Everyone who takes part in `loadtests.generation`, with the settings among which each shows its best."""

from __future__ import annotations

import sys
from collections.abc import Callable

from loadtests.peers.install import LLAMA_CPP, python_of
from loadtests.peers.models import LLAMA_CPP_TYPES, PeerModels
from loadtests.peers.process import DecoderProcess
from loadtests.side_by_side import Contender
from shared.errors import NotFound
from shared.settings import CommonSettings

OURS = "skim"
TRANSFORMERS, GENAI = "transformers", "genai"


def contenders(common: CommonSettings, *, threads: int) -> list[Contender]:
    """Return ours, then its peers; their models are made when they are missing.

    Raises:
        NotFound: a peer is not installed, or there is no SLM.
    """
    llama_python = python_of(LLAMA_CPP, common.home)
    if not llama_python.exists():
        raise NotFound(f"{llama_python}: no llama.cpp; run `python -m loadtests.peers.install`")
    models = PeerModels(common.home)
    budget = ("--threads", str(threads))

    def _start(name: str, *arguments: str) -> DecoderProcess:
        python = llama_python if name == LLAMA_CPP else sys.executable
        return DecoderProcess(python, f"loadtests.peers.{name}", [*arguments, *budget])

    def _static(name: str, model: str) -> Callable[[str], DecoderProcess]:
        return lambda size: _start(name, model, "--batch-size", size)

    return [
        Contender(
            OURS,
            "slots",
            ["32"],
            lambda slots: _start(OURS, str(common.models / "slm"), "--slots", slots),
        ),
        Contender(
            LLAMA_CPP,
            "type",
            LLAMA_CPP_TYPES,
            lambda kind: _start(LLAMA_CPP, str(models.gguf(kind))),
        ),
        Contender(GENAI, "batch_size", ["16", "32"], _static(GENAI, str(models.genai()))),
        Contender(
            TRANSFORMERS,
            "batch_size",
            ["16", "32"],
            _static(TRANSFORMERS, str(models.merged())),
        ),
    ]
