"""The catalogue that everyone serves, made once and kept; and everyone's index of it, kept as well."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import onnx

from loadtests.peers.inference.protocol import ADS, ENCODER, HIDDEN, JUDGES, VECTORS
from loadtests.queries import DEFAULT
from loadtests.vectors import interpolated
from shared.contracts.document import Document
from shared.dataset import read_documents, read_queries, write_rows
from shared.encoder import SentenceEncoder, read_card
from shared.encoder_files import MODEL
from shared.errors import Damaged
from shared.settings import CommonSettings

_REAL_QUERIES = 300
_NORMS = ("LayerNormalization", "SkipLayerNormalization")
"""What a layer ends in: the latter where it is fused with the sum before it."""
_HIDDEN_STATE = "last_hidden_state"
"""Output by which optimum knows it."""


def kept(home: Path, name: str, ingredients: Sequence[str], make: Callable[[Path], None]) -> Path:
    """Return the absolute folder of what `make` made of these ingredients, made when it is missing, whole or not at all.

    Args:
        home: the suite's.
        name: begins the folder's name.
        ingredients: everything that decides on what is made.
        make: fills an empty folder.
    """
    digest = hashlib.sha256("\n".join(ingredients).encode()).hexdigest()[:12]
    folder = home.resolve() / "peers" / "inference" / f"{name}-{digest}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as scratch:
            new = Path(scratch) / name
            new.mkdir()
            make(new)
            new.rename(folder)
    return folder


def source_of(*modules: Path) -> str:
    """Return a digest of source files: what they make may change with them."""
    digest = hashlib.sha256()
    for module in modules:
        digest.update(module.read_bytes())
    return digest.hexdigest()


def catalogue_folder(common: CommonSettings, ads: int) -> Path:
    """Return a folder as `protocol` says, of so many ads: real things first, then what lies between them.

    Raises:
        NotFound: there is no encoder, or `skim data fetch` was never run.
    """
    encoder, things = common.models / "encoder", common.data / "things"
    documents = things / "documents.jsonl"
    ingredients = [read_card(encoder).name, str(ads), source_of(Path(__file__))]

    def _make(folder: Path) -> None:
        real = list(islice(read_documents(documents), ads))
        shutil.copytree(encoder, folder / ENCODER)
        without_pooling(encoder, common.models / "sources", folder / HIDDEN)
        model = SentenceEncoder(encoder, threads=0)
        made = (
            Document(id=f"between-{row}", title=f"between {row}") for row in range(len(real), ads)
        )
        write_rows(folder / ADS, [*real, *made])
        np.save(folder / VECTORS, interpolated(model.encode([each.title for each in real]), ads))
        np.save(folder / JUDGES, model.encode(judging_queries(common)))

    return kept(common.home, "catalogue", ingredients, _make)


def judging_queries(common: CommonSettings) -> list[str]:
    """Return the queries by which recall is judged: those of the load, and real ones of things."""
    asked = [query.text for query in read_queries(common.data / "things" / "queries.jsonl")]
    return [*DEFAULT, *asked[:: max(1, len(asked) // _REAL_QUERIES)]]


def without_pooling(encoder: Path, sources: Path, folder: Path) -> None:
    """Write the same graph up to its last hidden state, which is what infinity pools itself, beside its configuration."""
    card = read_card(encoder)
    shutil.copytree(sources / card.source, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "onnx").mkdir()
    model = onnx.load(str(encoder / MODEL))
    norms = [node for node in model.graph.node if node.op_type in _NORMS]
    if not norms:
        raise Damaged(f"{encoder / MODEL}: no {' or '.join(_NORMS)}, so no last hidden state")
    hidden = norms[-1].output[0]
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [_HIDDEN_STATE if name == hidden else name for name in names]
    inputs = [value.name for value in model.graph.input]
    whole, cut = folder / "whole.onnx", folder / "onnx" / "model_quantized.onnx"
    model.graph.value_info.append(  # what a fused layer puts out is not inferred
        onnx.helper.make_tensor_value_info(
            _HIDDEN_STATE, onnx.TensorProto.FLOAT, ["batch", "length", card.dimensions]
        )
    )
    onnx.save(onnx.shape_inference.infer_shapes(model), str(whole))
    onnx.utils.extract_model(str(whole), str(cut), inputs, [_HIDDEN_STATE], check_model=False)
    whole.unlink()
