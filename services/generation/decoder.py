"""One step of the exported graph over some rows of a fixed set: the only place that talks to ONNX Runtime.

The graph attends with GroupQueryAttention, so rows of different length share a step: prompts are padded on
the right, each row's new keys and values land behind its own last token, in buffers that past and
present share. What one run may hold on a CPU: one token of each row, or whole prompts of several rows, or
a part of one row's prompt behind what that row holds already.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from services.generation.key_values import CudaKeyValues, HostKeyValues, KeyValues
from services.generation.sampling import Candidates

_PAST = "past_key_values."
_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
}
_PREFILL_TOKENS = {"cpu": 256, "cuda": 4_096}
_OF_THE_BEST = ("top_logits", "top_tokens", "total")
"""What a graph made for CUDA gives instead of all logits."""


class OnnxDecoder:
    """The SLM over `rows` rows of `capacity` tokens each.

    What it returns holds until the next step. One thread at a time.

    Args:
        model: the exported graph (see services/training/distillation/export.py).
        rows: how many completions it can hold at once.
        capacity: tokens a row can hold.
        head_size: width of one attention head; the graph leaves it open.
        threads: cores one step may use; 0 lets ONNX Runtime decide.
    """

    def __init__(
        self, model: Path, *, rows: int, capacity: int, head_size: int, threads: int = 0
    ) -> None:
        self.rows, self.capacity = rows, capacity
        self._device = "cuda" if _has_cuda(ort.get_available_providers()) else "cpu"
        self._session = _session(model, self._device, threads)
        pasts = [item for item in self._session.get_inputs() if item.name.startswith(_PAST)]
        self._pasts = [item.name for item in pasts]
        shape = (len(pasts), rows, pasts[0].shape[1], capacity, head_size)
        self._key_value_type = _TYPES[pasts[0].type]
        buffers = CudaKeyValues if self._device == "cuda" else HostKeyValues
        self._key_values: KeyValues = buffers(shape, self._key_value_type)
        outputs = {item.name: item for item in self._session.get_outputs()}
        wanted = _OF_THE_BEST if _OF_THE_BEST[0] in outputs else ("logits",)
        self._outputs = {
            name: np.zeros((rows, *outputs[name].shape[1:]), _TYPES[outputs[name].type])
            for name in wanted
        }
        self._bindings: dict[tuple[int, int], Any] = {}
        self._positions = np.arange(capacity)

    @property
    def prefill_tokens(self) -> int:
        """Return how many prompt tokens it reads in about the time of decoding all rows."""
        return _PREFILL_TOKENS[self._device]

    @property
    def candidates(self) -> int:
        """Return how many of the likeliest tokens it gives; 0 is all."""
        best = self._outputs.get(_OF_THE_BEST[0])
        return 0 if best is None else best.shape[1]

    @property
    def row_bytes(self) -> int:
        """Return the memory of one full row's keys and values."""
        entries, _, heads, capacity, width = self._key_values.shape
        return entries * heads * capacity * width * np.dtype(self._key_value_type).itemsize

    def prefill(self, first: int, prompts: Sequence[Sequence[int]]) -> Candidates:
        """Read whole prompts into the rows from `first` on; return what may come behind each."""
        lengths = np.array([len(prompt) for prompt in prompts])
        ids = np.zeros((len(prompts), lengths.max()), dtype=np.int64)
        for row, prompt in zip(ids, prompts, strict=True):
            row[: len(prompt)] = prompt
        return self._run(first, ids, lengths, lengths - 1)

    def extend(self, row: int, held: int, ids: Sequence[int]) -> Candidates:
        """Read `ids` behind the first `held` tokens of one row; return what may come then."""
        return self._run(
            row,
            np.array([ids], dtype=np.int64),
            np.array([held + len(ids)]),
            np.array([len(ids) - 1]),
        )

    def decode(self, tokens: NDArray[np.int64], held: NDArray[np.int64]) -> Candidates:
        """Append a token to each of the first rows.

        Args:
            tokens: (n,) next token of the rows 0 to n - 1.
            held: (n,) tokens each row holds already.
        """
        return self._run(0, tokens[:, None], held + 1, np.zeros(len(tokens), dtype=np.int64))

    def copy_row(self, source: int, target: int, length: int) -> None:
        """Copy what a row holds of its first `length` tokens to another row."""
        self._key_values.copy_row(source, target, length)

    def _run(
        self,
        first: int,
        ids: NDArray[np.int64],
        lengths: NDArray[np.int64],
        last_positions: NDArray[np.int64],
    ) -> Candidates:
        rows = len(ids)
        binding = self._bindings.get((first, rows)) or self._bind(first, rows)
        # the graph reads only the mask's row sums and its width
        mask = (self._positions[: lengths.max()] < lengths[:, None]).astype(np.int64)
        binding.bind_cpu_input("input_ids", np.ascontiguousarray(ids))
        binding.bind_cpu_input("attention_mask", mask)
        binding.bind_cpu_input("last_positions", last_positions[:, None])
        self._session.run_with_iobinding(binding)
        logits, *more = (output[:rows] for output in self._outputs.values())
        return Candidates(logits.astype(np.float32, copy=False), *more)

    def _bind(self, first: int, rows: int) -> Any:  # noqa: ANN401  (untyped library)
        """Return a binding of the rows' keys and values and of the logits; kept, a step reuses it."""
        binding = self._session.io_binding()
        _, _, heads, capacity, width = self._key_values.shape
        shape = (rows, heads, capacity, width)
        for entry, past in enumerate(self._pasts):
            here = (self._device, 0, self._key_value_type, shape)
            address = self._key_values.address(entry, first)
            binding.bind_input(past, *here, address)
            binding.bind_output(past.replace(_PAST, "present."), *here, address)
        for name, output in self._outputs.items():
            part = output[:rows]
            binding.bind_output(name, "cpu", 0, part.dtype, part.shape, part.ctypes.data)
        self._bindings[first, rows] = binding
        return binding


def _session(model: Path, device: str, threads: int) -> Any:  # noqa: ANN401  (untyped library)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = ["CUDAExecutionProvider"] if device == "cuda" else []
    return ort.InferenceSession(
        str(model), options, providers=[*providers, "CPUExecutionProvider"]
    )


def _has_cuda(providers: Sequence[str]) -> bool:
    """Tell whether CUDA can really be used: the GPU package lists it on machines without a GPU too."""
    return "CUDAExecutionProvider" in providers and Path("/dev/nvidiactl").exists()
