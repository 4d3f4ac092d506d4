import hashlib
import json
from pathlib import Path

import pytest

from services.cli.models import build_models
from shared.encoder import STEADY_RECIPE
from shared.errors import NotFound, Unavailable
from tests.support.tiny_models import write_encoder, write_language_model


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return write_adapter(tmp_path / "things", b"weights")


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """An index that has nothing: whatever must be built cannot be fetched."""
    (tmp_path / "wheels").mkdir()
    return tmp_path / "wheels"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Both models as an earlier build with `adapter` would have left them."""
    digest = hashlib.sha256(b"weights").hexdigest()[:8]
    write_card(
        tmp_path / "models" / "encoder" / "encoder.json",
        name="encoder-1",
        dimensions=384,
        precision="int8",
        recipe=STEADY_RECIPE,
        source="minilm",
    )
    write_card(
        tmp_path / "models" / "slm" / "generator.json", name="slm-1", adapter=f"things-{digest}"
    )
    return tmp_path / "models"


def write_adapter(folder: Path, weights: bytes) -> Path:
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(weights)
    return folder


def write_card(path: Path, **fields: str | int) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(fields))


def test_what_is_there_is_not_built_again(models: Path, adapter: Path, packages: Path) -> None:
    assert build_models(models, adapter, packages) == {"encoder": "encoder-1", "slm": "slm-1"}


def test_a_missing_encoder_is_built(models: Path, adapter: Path, packages: Path) -> None:
    (models / "encoder" / "encoder.json").unlink()

    with pytest.raises(Unavailable, match="all-minilm"):
        build_models(models, adapter, packages)


@pytest.mark.parametrize(
    ("name", "weights"), [("others", b"weights"), ("retuned/things", b"other weights")]
)
def test_the_slm_is_built_again_for_another_adapter(
    models: Path, packages: Path, tmp_path: Path, name: str, weights: bytes
) -> None:
    (tmp_path / "retuned").mkdir()
    other = write_adapter(tmp_path / name, weights)

    with pytest.raises(Unavailable, match="smollm2"):
        build_models(models, other, packages)


def test_an_encoder_of_an_older_recipe_is_built_again(
    models: Path, adapter: Path, packages: Path
) -> None:
    card = models / "encoder" / "encoder.json"
    fields = json.loads(card.read_text())
    card.write_text(json.dumps({**fields, "recipe": 1}))

    with pytest.raises(Unavailable, match="minilm"):
        build_models(models, adapter, packages)


def test_fresh_builds_what_is_there(models: Path, adapter: Path, packages: Path) -> None:
    with pytest.raises(Unavailable):
        build_models(models, adapter, packages, fresh=True)


def test_a_folder_without_an_adapter_is_named(models: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"nothing/adapter_model\.safetensors"):
        build_models(models, tmp_path / "nothing")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft's
def test_both_models_are_built_from_their_sources(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    models, adapter = tmp_path / "models", tmp_path / "adapter"
    write_encoder(models / "sources" / "all-minilm-l6-v2")
    base = write_language_model(models / "sources" / "smollm2-135m-instruct")
    lora = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), lora).save_pretrained(adapter)

    built = build_models(models, adapter)

    assert built["encoder"].startswith("all-minilm-l6-v2-int8-")
    assert built["slm"].startswith("smollm2-135m-")
    assert (models / "encoder" / "encoder.onnx").exists()
    card = json.loads((models / "slm" / "generator.json").read_text())
    assert card["adapter"].startswith("adapter-")
    assert build_models(models, adapter) == built
