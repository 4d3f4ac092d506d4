"""The served SLM's weights in every peer's own format, under `<home>/peers/models/<adapter>`, made once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from loadtests.peers.install import LLAMA_CPP, python_of
from services.cli.models import SHIPPED, name_of_adapter
from shared.contracts.generator import GENERATOR_CARD, GeneratorCard
from shared.errors import InvalidInput, NotFound, SkimError

LLAMA_CPP_TYPES = ("Q4_0", "Q4_1", "Q4_K_M", "Q8_0")
_MERGED, _FLOAT32 = "merged", "float32.gguf"


class PeerModels:
    """Makes what is missing when it is asked for.

    Args:
        home: SKIM_HOME; its `models/slm` says which adapter is served.
        adapter: folder of that adapter.
    """

    def __init__(self, home: Path, adapter: Path = SHIPPED) -> None:
        card = home / "models" / "slm" / GENERATOR_CARD
        if not card.exists():
            raise NotFound(f"{card}: no SLM here; run `skim models build`")
        served = GeneratorCard.model_validate_json(card.read_bytes()).adapter
        if served != name_of_adapter(adapter):
            raise InvalidInput(f"{card}: made from {served}, expected {name_of_adapter(adapter)}")
        self._home, self._adapter = home, adapter
        self._folder = home / "peers" / "models" / served
        self._folder.mkdir(parents=True, exist_ok=True)

    def merged(self) -> Path:
        """Return the float32 folder in Hugging Face style."""
        target = self._folder / _MERGED
        if not target.exists():
            # slow to import, and not needed once the models are there
            from services.training.distillation.export import merge_adapter
            from services.training.model_sources import SMOLLM2, fetch

            scratch = self._scratch(_MERGED)
            merge_adapter(
                fetch(SMOLLM2, self._home / "models" / "sources"), self._adapter, scratch
            )
            scratch.rename(target)
        return target

    def gguf(self, kind: str) -> Path:
        """Return the GGUF file of one of `LLAMA_CPP_TYPES` (or F16)."""
        target = self._folder / f"{kind}.gguf"
        if not target.exists():
            scratch = self._scratch(target.name)
            python = str(python_of(LLAMA_CPP, self._home))
            _run(
                [
                    python,
                    "-m",
                    "loadtests.peers.quantise",
                    str(self._float32()),
                    str(scratch),
                    kind,
                ]
            )
            scratch.rename(target)
        return target

    def genai(self) -> Path:
        """Return onnxruntime-genai's folder: int4 weights, int8 activations (the fastest on a CPU).

        Not with `prune_lm_head`, which reads the padding where a batch has prompts of several lengths.
        """
        target = self._folder / "genai"
        if not target.exists():
            scratch, cache = self._scratch("genai"), self._scratch("cache")
            options = ("int4_accuracy_level=4", "int4_block_size=32")
            _run(
                [
                    *(sys.executable, "-m", "onnxruntime_genai.models.builder"),
                    *("-i", str(self.merged()), "-o", str(scratch), "-c", str(cache)),
                    *("-p", "int4", "-e", "cpu", "--extra_options", *options),
                ]
            )
            scratch.rename(target)
        return target

    def _float32(self) -> Path:
        target = self._folder / _FLOAT32
        if not target.exists():
            from loadtests.peers.gguf_export import write_gguf

            scratch = self._scratch(_FLOAT32)
            write_gguf(self.merged(), scratch)
            scratch.rename(target)
        return target

    def _scratch(self, name: str) -> Path:
        """Return a free path beside the target, so that what stopped half-way is never taken for done."""
        scratch = self._folder / f".{name}"
        if scratch.is_dir():
            shutil.rmtree(scratch)
        scratch.unlink(missing_ok=True)
        return scratch


def _run(command: list[str]) -> None:
    finished = subprocess.run(command, capture_output=True, check=False, text=True)  # noqa: S603
    if finished.returncode:
        said = finished.stderr.strip()[-500:]
        raise SkimError(f"{' '.join(command[1:3])} failed: {said}")
