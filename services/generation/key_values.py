"""The keys and values a decoder remembers: one buffer, a row a completion, never moved while it is written.

The buffer is (entries, rows, heads, capacity, head size): an entry is a layer's keys or its values, so that
each entry's rows lie one behind another and any run of rows is a tensor at an address, without a copy.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import DTypeLike, NDArray

_DEVICE_TO_DEVICE = 3  # cudaMemcpyKind


class _Pitched(ctypes.Structure):
    """`cudaPitchedPtr`."""

    _fields_ = (
        ("address", ctypes.c_void_p),
        ("pitch", ctypes.c_size_t),
        ("width", ctypes.c_size_t),
        ("height", ctypes.c_size_t),
    )


class _Copy(ctypes.Structure):
    """`cudaMemcpy3DParms`, of pitched memory to pitched memory."""

    _fields_ = (
        ("from_array", ctypes.c_void_p),
        ("from_position", ctypes.c_size_t * 3),
        ("source", _Pitched),
        ("to_array", ctypes.c_void_p),
        ("to_position", ctypes.c_size_t * 3),
        ("target", _Pitched),
        ("extent", ctypes.c_size_t * 3),
        ("kind", ctypes.c_int),
    )


class KeyValues(Protocol):
    """Rows of keys and values on some device."""

    shape: tuple[int, int, int, int, int]
    """(entries, rows, heads, capacity, head size)."""

    def address(self, entry: int, row: int) -> int:
        """Return where a row of an entry begins."""
        ...

    def copy_row(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of a row over those of another."""
        ...


class HostKeyValues:
    """Keys and values in main memory; pages that no token has reached cost none.

    Args:
        shape: (entries, rows, heads, capacity, head size).
        dtype: of keys and values.
    """

    def __init__(self, shape: tuple[int, int, int, int, int], dtype: DTypeLike) -> None:
        self.shape = shape
        self._array: NDArray[Any] = np.zeros(shape, dtype)

    def address(self, entry: int, row: int) -> int:
        """Return where a row of an entry begins."""
        entry_bytes, row_bytes, *_ = self._array.strides
        return int(self._array.ctypes.data) + entry * entry_bytes + row * row_bytes

    def copy_row(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of a row over those of another."""
        self._array[:, target, :, :length] = self._array[:, source, :, :length]


class CudaKeyValues:
    """Keys and values on the first GPU.

    Args:
        shape: (entries, rows, heads, capacity, head size).
        dtype: of keys and values.
    """

    def __init__(self, shape: tuple[int, int, int, int, int], dtype: DTypeLike) -> None:
        self.shape = shape
        _, rows, heads, capacity, width = shape
        # zeros: masked positions are multiplied by 0, and 0 times uninitialised memory may be NaN
        self._value = ort.OrtValue.ortvalue_from_numpy(np.zeros(shape, dtype), "cuda", 0)
        self._token_bytes = width * np.dtype(dtype).itemsize
        self._head_bytes = capacity * self._token_bytes
        self._row_bytes = heads * self._head_bytes
        self._entry_bytes = rows * self._row_bytes
        self._cuda = ctypes.CDLL(_loaded("libcudart.so"))

    def address(self, entry: int, row: int) -> int:
        """Return where a row of an entry begins."""
        start: int = self._value.data_ptr()
        return start + entry * self._entry_bytes + row * self._row_bytes

    def copy_row(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of a row over those of another.

        Raises:
            RuntimeError: CUDA refused; the message has its error number.
        """
        entries, rows, heads, *_ = self.shape
        copy = _Copy(
            source=_Pitched(self.address(0, source), self._head_bytes, 0, rows * heads),
            target=_Pitched(self.address(0, target), self._head_bytes, 0, rows * heads),
            extent=(length * self._token_bytes, heads, entries),
            kind=_DEVICE_TO_DEVICE,
        )
        # ONNX Runtime's stream does not wait for this one
        error = self._cuda.cudaMemcpy3D(ctypes.byref(copy)) or self._cuda.cudaDeviceSynchronize()
        if error:
            raise RuntimeError(f"copying a row failed with CUDA error {error}")


def _loaded(library: str, maps: Path = Path("/proc/self/maps")) -> str:
    """Return the path of a shared library that this process has loaded; ONNX Runtime has, for CUDA.

    Its version is ONNX Runtime's to choose.

    Raises:
        RuntimeError: no library of that name is loaded.
    """
    for line in maps.read_text().splitlines():
        path = line.rpartition(" ")[2]
        if Path(path).name.startswith(library):
            return path
    raise RuntimeError(f"{library} is not loaded")
