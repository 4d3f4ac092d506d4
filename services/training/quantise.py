"""Weights and activations of an exported model in 8 bits: on CPUs faster than 4-bit weights, and truer.

Every matrix product becomes one of bytes: weights have a scale a column, activations one a row, taken from
the row itself or measured ahead, and sums of bytes are exact in any order: a row comes out the same to the last bit whatever
shares its step. Weights keep to +-63: AVX2 adds two products in 16
bits, and 2 x 255 x 63 is the most that fits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

_WEIGHT_LIMIT = 63
_ACTIVATION_LIMIT = 127
_ZERO = 128  # of the unsigned bytes that hold activations


@dataclass(frozen=True)
class Steady:
    """A value whose range is known ahead: the scale of a row need not be looked for."""

    columns: NDArray[np.float32]
    """(columns,) what each column is divided by before its bytes are made; the weights are multiplied by it."""
    step: float
    """Between two bytes, after that division."""


def quantise(path: Path) -> None:
    """Turn a float32 graph of matrix products, with its weights beside it, into one of 8-bit products.

    The embedding is read from bytes too. The same graph gives the same files.

    Args:
        path: `model.onnx`; its weights go to `model.onnx.data`.
    """
    model = onnx.load(path)
    quantise_graph(model)
    data = path.with_name(f"{path.name}.data")
    data.unlink(missing_ok=True)
    onnx.save(model, path, save_as_external_data=True, location=data.name, size_threshold=256)


def quantise_graph(
    model: onnx.ModelProto,
    steady: Mapping[str, Steady] | None = None,
    *,
    embedding_limit: int = _WEIGHT_LIMIT,
) -> None:
    """Turn a float32 graph of matrix products into one of 8-bit products, in place.

    Args:
        model: with its weights.
        steady: value -> its range; the rows of all other values are measured as they come.
        embedding_limit: largest byte of the embedding, 127 at most where it is no factor of a product as well.
    """
    graph = _Graph(model.graph, steady or {}, embedding_limit)
    for node in list(model.graph.node):
        if node.op_type == "MatMul" and node.input[1] in graph.weights:
            graph.replace_product(node)
        elif node.op_type == "Transpose" and node.input[0] in graph.weights:
            (gather,) = [other for other in model.graph.node if node.output[0] in other.input]
            graph.replace_embedding(gather, node.input[0], is_transposed=True)
            graph.drop(node)
        elif node.op_type == "Gather" and node.input[0] in graph.weights:
            graph.replace_embedding(node, node.input[0], is_transposed=False)
    graph.finish()


class _Graph:
    """The graph under change: nodes in order, each product's replacement in its place."""

    def __init__(
        self, graph: onnx.GraphProto, steady: Mapping[str, Steady], embedding_limit: int
    ) -> None:
        self._graph, self._steady, self._embedding_limit = graph, steady, embedding_limit
        self.weights = {
            tensor.name: tensor for tensor in graph.initializer if len(tensor.dims) == 2
        }
        self._nodes: list[onnx.NodeProto] = []
        self._replaced: dict[str, list[onnx.NodeProto]] = {}
        self._quantised: set[str] = set()
        self._dropped: set[str] = set()
        for name, value in (
            ("q/step", np.array(1 / _ACTIVATION_LIMIT, np.float32)),
            ("q/least", np.array(1e-8, np.float32)),
            ("q/zero", np.array(_ZERO, np.uint8)),
            ("q/last", np.array([-1], np.int64)),
        ):
            self._constant(name, value)

    def replace_product(self, node: onnx.NodeProto) -> None:
        """Make bytes of both factors, multiply, and scale the rows back."""
        activation, weight = node.input
        steady = self._steady.get(activation)
        matrix = numpy_helper.to_array(self.weights[weight])
        columns, scales = _bytes_of(matrix if steady is None else matrix * steady.columns[:, None])
        self._constant(f"{weight}/bytes", columns)
        self._constant(f"{weight}/scales", scales)
        nodes = self._quantise(activation)
        step = "q/step" if steady is None else f"{activation}/step"
        product = node.output[0] if steady is not None else f"{node.output[0]}/unscaled"
        nodes.append(
            helper.make_node(
                "MatMulIntegerToFloat",
                [f"{activation}/bytes", f"{weight}/bytes", step, f"{weight}/scales", "q/zero"],
                [product],
                f"{node.name}/bytes",
                domain="com.microsoft",
            )
        )
        if steady is None:
            nodes.append(
                helper.make_node(
                    "Mul",
                    [product, f"{activation}/highest"],
                    [node.output[0]],
                    f"{node.name}/scaled",
                )
            )
        self._replaced[node.name] = nodes
        self._dropped.add(weight)

    def replace_embedding(
        self, gather: onnx.NodeProto, weight: str, *, is_transposed: bool
    ) -> None:
        """Read rows of bytes and scale them; a tied embedding is the last projection on its side."""
        matrix = numpy_helper.to_array(self.weights[weight])
        columns, scales = _bytes_of(matrix if is_transposed else matrix.T, self._embedding_limit)
        self._constant(f"{weight}/rows", np.ascontiguousarray(columns.T))
        self._constant(f"{weight}/row_scales", scales[:, None])
        ids, out = gather.input[1], gather.output[0]
        self._replaced[gather.name] = [
            helper.make_node("Gather", [f"{weight}/rows", ids], [f"{out}/bytes"], f"{out}/rows"),
            helper.make_node(
                "Cast", [f"{out}/bytes"], [f"{out}/cast"], f"{out}/cast", to=TensorProto.FLOAT
            ),
            helper.make_node(
                "Gather", [f"{weight}/row_scales", ids], [f"{out}/scale"], f"{out}/scale"
            ),
            helper.make_node("Mul", [f"{out}/cast", f"{out}/scale"], [out], f"{out}/scaled"),
        ]
        self._dropped.add(weight)

    def drop(self, node: onnx.NodeProto) -> None:
        """Leave a node out."""
        self._replaced[node.name] = []

    def finish(self) -> None:
        """Put the replacements in place and drop what they replace."""
        nodes = [new for node in self._graph.node for new in self._replaced.get(node.name, [node])]
        del self._graph.node[:]
        self._graph.node.extend(nodes)
        kept = [tensor for tensor in self._graph.initializer if tensor.name not in self._dropped]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)

    def _quantise(self, name: str) -> list[onnx.NodeProto]:
        """Return the nodes that make bytes of a value, once a value."""
        if name in self._quantised:
            return []
        self._quantised.add(name)
        steady = self._steady.get(name)
        if steady is not None:
            self._constant(f"{name}/columns", (1 / steady.columns).astype(np.float32))
            self._constant(f"{name}/step", np.array(steady.step, np.float32))
            return [
                helper.make_node(
                    "Mul", [name, f"{name}/columns"], [f"{name}/even"], f"{name}/even"
                ),
                helper.make_node(
                    "QuantizeLinear",
                    [f"{name}/even", f"{name}/step", "q/zero"],
                    [f"{name}/bytes"],
                    f"{name}/bytes",
                ),
            ]
        return [
            helper.make_node("Abs", [name], [f"{name}/abs"], f"{name}/abs"),
            helper.make_node(
                "ReduceMax", [f"{name}/abs", "q/last"], [f"{name}/max"], f"{name}/max", keepdims=1
            ),
            # a row of zeros must not become one of NaN: masked values are multiplied by 0
            helper.make_node(
                "Max", [f"{name}/max", "q/least"], [f"{name}/highest"], f"{name}/highest"
            ),
            helper.make_node("Div", [name, f"{name}/highest"], [f"{name}/unit"], f"{name}/unit"),
            helper.make_node(
                "QuantizeLinear",
                [f"{name}/unit", "q/step", "q/zero"],
                [f"{name}/bytes"],
                f"{name}/bytes",
            ),
        ]

    def _constant(self, name: str, value: NDArray[np.generic]) -> None:
        self._graph.initializer.append(numpy_helper.from_array(value, name))


def _bytes_of(
    weight: NDArray[np.float32], limit: int = _WEIGHT_LIMIT
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return a matrix in bytes and the scale of each column."""
    scales = np.maximum(np.abs(weight).max(axis=0), 1e-8) / limit
    return np.round(weight / scales).astype(np.int8), scales.astype(np.float32)
