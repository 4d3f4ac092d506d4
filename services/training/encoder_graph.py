"""The graph of a sentence encoder: exported, its layers fused, its products in bytes."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxscript.optimizer import fold_constants
from onnxscript.rewriter.ort_fusions import optimize_for_ort
from tokenizers import Tokenizer

from services.training.quantise import Steady, quantise_graph

_ANY_SIZE = 2**30
_MICROSOFT = "com.microsoft"
_STEADY = ("LayerNormalization", "SkipLayerNormalization", "MultiHeadAttention")
"""What puts out much the same range for every text. An activation does not: a fixed step would cost it as much as all else."""
_TEXTS, _FEWEST_WORDS, _MOST_WORDS = 300, 1, 30
_SMOOTHING = 0.7
"""How much of the unevenness of a value's columns goes into the weights (SmoothQuant, arXiv 2211.10438, eq. 4)."""
_LARGEST_BYTE = 127
_STEPS_AN_OCTAVE = 4
"""To which ranges are rounded: processors that round sums differently make the same file all the same."""
_LEAST = 1e-5


class SentenceModel(torch.nn.Module):
    """Transformer, mean over the tokens, unit length: what the weights were trained for."""

    def __init__(self, transformer: torch.nn.Module) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return (batch, dimensions) unit vectors for (batch, length) ids and mask."""
        mask = attention_mask.to(torch.float32)
        rows, length = input_ids.shape
        # given whole, or the transformer works it out in twenty nodes of every query's time
        hiding = ((1 - mask) * torch.finfo(torch.float32).min)[:, None, None, :]
        hiding = hiding.expand(rows, 1, length, length)
        hidden = self.transformer(input_ids=input_ids, attention_mask=hiding)[0]
        weights = mask.unsqueeze(-1)
        mean = (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)
        return torch.nn.functional.normalize(mean, dim=1)


def exported(transformer: torch.nn.Module) -> onnx.ModelProto:
    """Return the graph in float32: `input_ids`, `attention_mask` (batch, length) int64 to `vectors` (batch, dimensions).

    Attention, layer norms and activations are one node each, where ONNX Runtime has one.

    Args:
        transformer: BERT-like, in evaluation mode.
    """
    ids = torch.ones((2, 8), dtype=torch.int64)
    mask = torch.ones_like(ids)  # not `ids` twice: the exporter makes one input of one tensor
    rows, length = torch.export.Dim("batch"), torch.export.Dim("length")
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # torch warns about its own exporter's insides
        program = torch.onnx.export(
            SentenceModel(transformer).eval(),
            (ids, mask),
            input_names=["input_ids", "attention_mask"],
            output_names=["vectors"],
            dynamic_shapes=({0: rows, 1: length}, {0: rows, 1: length}),
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch exported nothing")
    model, _ = optimize_for_ort(program.model, clear_metadata=True)
    fold_constants(model, input_size_limit=_ANY_SIZE, output_size_limit=_ANY_SIZE)
    return ir.to_proto(model)


def in_bytes(model: onnx.ModelProto, tokenizer: Tokenizer) -> onnx.ModelProto:
    """Return the graph with products of bytes, whose rows do not depend on what is encoded beside them.

    What layer norms and attention put out is uneven between its columns and much the same for every text: its range is measured
    ahead, on random words of the vocabulary (no text of anybody's), and the unevenness moved into the weights. What an
    activation puts out has a scale a row.

    Args:
        model: as `exported` gives it.
        tokenizer: of the encoder.
    """
    quantised = onnx.ModelProto()
    quantised.CopyFrom(model)
    _open_attention(quantised.graph)
    _name_nodes(quantised.graph)
    steady = _steady_values(quantised, _random_texts(tokenizer))
    quantise_graph(quantised, steady, embedding_limit=_LARGEST_BYTE)
    return quantised


def _open_attention(graph: onnx.GraphProto) -> None:
    """Take the product of queries, keys and values out of each attention node: it becomes one of bytes like all others."""
    nodes = []
    for node in graph.node:
        if node.op_type != "Attention" or node.domain != _MICROSOFT:
            nodes.append(node)
            continue
        value, weight, bias, mask, past, hiding = [*node.input, *[""] * 6][:6]
        if mask or past:
            raise ValueError(f"attention {node.name} with a mask or a past of its own")
        parts = [f"{node.output[0]}/{part}" for part in ("query", "key", "value")]
        nodes += [
            helper.make_node("MatMul", [value, weight], [f"{node.output[0]}/all"]),
            helper.make_node("Split", [f"{node.output[0]}/all"], parts, axis=-1, num_outputs=3),
            helper.make_node(
                "MultiHeadAttention",
                [*parts, bias, "", hiding],
                node.output,
                domain=_MICROSOFT,
                **{
                    attribute.name: helper.get_attribute_value(attribute)
                    for attribute in node.attribute
                    if attribute.name in ("num_heads", "scale")
                },
            ),
        ]
    del graph.node[:]
    graph.node.extend(nodes)


def _name_nodes(graph: onnx.GraphProto) -> None:
    for number, node in enumerate(graph.node):
        node.name = f"node_{number}"


def _random_texts(tokenizer: Tokenizer) -> list[list[int]]:
    """Return token ids of texts of random words, always the same."""
    first, last = _frame(tokenizer)
    words = sorted(number for word, number in tokenizer.get_vocab().items() if word.isalpha())
    random = np.random.default_rng(0)
    return [
        [*first, *random.choice(words, random.integers(_FEWEST_WORDS, _MOST_WORDS + 1)), *last]
        for _ in range(_TEXTS)
    ]


def _frame(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Return the ids that a tokenizer puts before and behind a text."""
    empty: list[int] = tokenizer.encode("").ids
    return empty[:1], empty[1:]


def _steady_values(model: onnx.ModelProto, texts: Sequence[Sequence[int]]) -> dict[str, Steady]:
    """Return the range of each factor that has much the same for every text."""
    weights = {each.name: each for each in model.graph.initializer if len(each.dims) == 2}
    factors: dict[str, list[NDArray[np.float32]]] = defaultdict(list)
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.input[1] in weights:
            factors[node.input[0]].append(numpy_helper.to_array(weights[node.input[1]]))
    known = {node.output[0] for node in model.graph.node if node.op_type in _STEADY}
    highest = _highest(model, sorted(known & factors.keys()), texts)
    steady = {}
    for value, columns in highest.items():
        largest = np.max([np.abs(each).max(axis=1) for each in factors[value]], axis=0)
        uneven = np.maximum(columns, _LEAST) ** _SMOOTHING
        uneven /= np.maximum(largest, _LEAST) ** (1 - _SMOOTHING)
        even = _rounded(uneven)
        steady[value] = Steady(even, float(_rounded((columns / even).max())) / _LARGEST_BYTE)
    return steady


def _rounded(values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    steps = np.round(_STEPS_AN_OCTAVE * np.log2(values))
    rounded: NDArray[np.float32] = np.exp2(steps / _STEPS_AN_OCTAVE).astype(np.float32)
    return rounded


def _highest(
    model: onnx.ModelProto, values: Sequence[str], texts: Sequence[Sequence[int]]
) -> Mapping[str, NDArray[np.float32]]:
    """Return (columns,) the largest size of each value's columns over the texts."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    for value in values:
        watched.graph.output.append(helper.make_tensor_value_info(value, TensorProto.FLOAT, None))
    session = ort.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    highest: dict[str, NDArray[np.float32]] = {}
    for text in texts:
        ids = np.array([text], dtype=np.int64)
        found = session.run(list(values), {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        for value, rows in zip(values, found, strict=True):
            largest = np.abs(rows).max(axis=(0, 1))
            highest[value] = np.maximum(largest, highest.get(value, largest))
    return highest
