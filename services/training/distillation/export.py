"""The tuned student becomes what the generation service loads: merged, quantised, as ONNX, with a model card."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import onnx
from peft import PeftModel
from transformers import AutoModelForCausalLM

from services.training.distillation.base_model import end_token_of, learned_end_token
from services.training.quantise import quantise
from shared.contracts.generator import GENERATOR_CARD, GeneratorCard
from shared.errors import InvalidInput, SkimError

Device = Literal["cpu", "cuda"]
Precision = Literal["int8", "int4", "fp16", "fp32"]

_FILES = ("model.onnx", "model.onnx.data", "tokenizer.json")
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
_CARD = "README.md"


@dataclass(frozen=True)
class ExportSettings:
    """What the graph is made for. int8 runs on CPUs only, fp16 on CUDA; fp32 is the reference of tests."""

    device: Device = "cpu"
    precision: Precision = "int8"
    block_size: int = 32
    """Weights that share a scale (int4)."""
    candidates: int = 256
    """CUDA: likeliest tokens that leave the device; drawing among more is refused."""

    def builder_options(self) -> Sequence[str]:
        """Return the exporter's arguments.

        Raises:
            InvalidInput: the device does not run this precision.
        """
        if self.device == "cpu" and self.precision == "fp16":
            raise InvalidInput("fp16 is for CUDA; a CPU runs int8, int4 or fp32")
        if self.device == "cuda" and self.precision == "int8":
            raise InvalidInput("int8 is for CPUs; CUDA runs fp16, int4 or fp32")
        exported = "fp32" if self.precision == "int8" else self.precision
        options = ["-p", exported, "-e", self.device]
        if self.precision == "int4":
            # level 4: activations become int8 too
            extra = ["int4_accuracy_level=4", f"int4_block_size={self.block_size}"]
            options += ["--extra_options", *extra]
        return options


def merge_adapter(base: Path, adapter: Path | None, target: Path) -> None:
    """Fold a LoRA adapter into its base and write the whole model to `target`; without one, the base.

    The model ends its answers as the adapter learned to, whatever the base's tokenizer calls the end.
    """
    model = AutoModelForCausalLM.from_pretrained(base)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    model.save_pretrained(target)
    for name in _TOKENIZER_FILES:
        shutil.copy(base / name, target / name)
    end_token = None if adapter is None else learned_end_token(adapter)
    if end_token is not None:
        path = target / _TOKENIZER_FILES[1]
        path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token": end_token}))


def export_language_model(
    source: Path,
    target: Path,
    *,
    name: str,
    adapter: str,
    settings: ExportSettings | None = None,
) -> GeneratorCard:
    """Write `model.onnx`, `tokenizer.json`, `generator.json` and a model card.

    Args:
        source: Hugging Face style folder of a merged Llama-like model.
        target: replaced if it exists, and only when everything went well.
        name: of the model, for its card.
        adapter: which adapter was merged ("none" for the untuned model).
        settings: device and precision; int8 for a CPU if absent.

    Raises:
        InvalidInput: device and precision do not go together.
        SkimError: the exporter failed; the message has the end of its output.
    """
    settings = settings or ExportSettings()
    options = settings.builder_options()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        built = Path(scratch) / "built"
        finished = subprocess.run(  # noqa: S603
            [
                *(sys.executable, "-m", "onnxruntime_genai.models.builder"),
                *("-i", str(source), "-o", str(built)),
                *("-c", str(Path(scratch) / "cache"), *options),
            ],
            capture_output=True,
            check=False,
            text=True,
        )
        if finished.returncode:
            raise SkimError(f"exporting {source} failed: {finished.stderr.strip()[-500:]}")
        folder = Path(scratch) / "slm"
        folder.mkdir()
        for file in _FILES:
            if (built / file).exists():
                (built / file).rename(folder / file)
        _keep_last_logits(folder / "model.onnx")
        if settings.device == "cuda":
            _choose_on_the_device(folder / "model.onnx", settings.candidates)
        if settings.precision == "int8":
            quantise(folder / "model.onnx")
        built_config = json.loads((built / "genai_config.json").read_text())["model"]
        digest = _digest(folder)
        card = GeneratorCard(
            name=f"{name}-{digest[:8]}",
            adapter=adapter,
            source=name,
            head_size=built_config["decoder"]["head_size"],
            context_tokens=built_config["context_length"],
            end_token=end_token_of(source),
            sha256=digest,
            device=settings.device,
            precision=settings.precision,
        )
        (folder / GENERATOR_CARD).write_text(card.model_dump_json(indent=2) + "\n")
        (folder / _CARD).write_text(_model_card(card))
        shutil.rmtree(target, ignore_errors=True)
        folder.rename(target)
    return card


def _model_card(card: GeneratorCard) -> str:
    rows = {
        "base": card.source,
        "adapter": card.adapter,
        "weights": f"{card.precision}, made for {card.device}",
        "sha256 of its files": card.sha256,
        "context": f"{card.context_tokens} tokens",
        "ends with": f"`{card.end_token}`",
        "reads": "`Title: ...`, text, `name: value` a field, `Queries:` (shared/prompt.py)",
        "writes": "one query a line (shared/completion.py makes them clean)",
        "exported": f"{datetime.now(UTC).date()} by services/training/distillation/export.py",
    }
    lines = [
        f"# {card.name}",
        "",
        "Writes search queries for a document.",
        "",
        "| | |",
        "|---|---|",
    ]
    return "\n".join([*lines, *(f"| {key} | {value} |" for key, value in rows.items())]) + "\n"


def _keep_last_logits(path: Path) -> None:
    """Make the graph take `last_positions` (batch, 1) and give logits (batch, vocabulary) there only.

    The vocabulary projection is a fifth of a prefill's work, and all but one position of it unused.
    """
    model = onnx.load(path, load_external_data=False)
    graph = model.graph
    (head,) = [node for node in graph.node if "logits" in node.output]
    hidden, head.input[0] = head.input[0], "last_hidden"
    gather = onnx.helper.make_node(
        "GatherND", [hidden, "last_positions"], ["last_hidden"], name="last_hidden", batch_dims=1
    )
    graph.node.insert(list(graph.node).index(head), gather)
    graph.input.append(
        onnx.helper.make_tensor_value_info(
            "last_positions", onnx.TensorProto.INT64, ["batch_size", 1]
        )
    )
    (logits,) = [output for output in graph.output if output.name == "logits"]
    del logits.type.tensor_type.shape.dim[1]
    model.producer_version = ""  # the exporter puts the git revision of its caller here
    onnx.save(model, path)


def _choose_on_the_device(path: Path, candidates: int) -> None:
    """Make the graph give its likeliest tokens with their logits, and the total of all, beside the logits.

    Copying all logits to the host and sorting them there took twenty times as long as a step of 256 rows.
    """
    model = onnx.load(path, load_external_data=False)
    graph, tensor = model.graph, onnx.TensorProto
    (logits,) = [output for output in graph.output if output.name == "logits"]
    candidates = min(candidates, logits.type.tensor_type.shape.dim[-1].dim_value)
    graph.initializer.append(
        onnx.helper.make_tensor("candidates", tensor.INT64, [1], [candidates])
    )
    graph.node.extend(
        [
            onnx.helper.make_node("Cast", ["logits"], ["all_logits"], to=tensor.FLOAT),
            onnx.helper.make_node(
                "TopK", ["all_logits", "candidates"], ["top_logits", "top_tokens"]
            ),
            onnx.helper.make_node(
                "ReduceLogSumExp", ["all_logits", "axis"], ["total"], keepdims=0
            ),
        ]
    )
    graph.initializer.append(onnx.helper.make_tensor("axis", tensor.INT64, [1], [1]))
    shapes = {
        "top_logits": (tensor.FLOAT, [candidates]),
        "top_tokens": (tensor.INT64, [candidates]),
    }
    for name, (kind, shape) in {**shapes, "total": (tensor.FLOAT, [])}.items():
        graph.output.append(onnx.helper.make_tensor_value_info(name, kind, ["batch_size", *shape]))
    onnx.save(model, path)


def _digest(folder: Path) -> str:
    """Return one sha256 over all model files, by name."""
    digest = hashlib.sha256()
    for file in _FILES:
        if (folder / file).exists():
            digest.update((folder / file).read_bytes())
    return digest.hexdigest()
