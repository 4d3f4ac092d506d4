"""Which CUDA runtime copies rows: the one that ONNX Runtime has loaded."""

from pathlib import Path

import pytest

from services.generation.key_values import _loaded

MAPS = """\
7f00-7f01 r--p 0 08:01 1 /usr/lib/libc.so.6
7f02-7f03 r-xp 0 08:01 2 /opt/nvidia/cu13/lib/libcudart.so.13
7f04-7f05 rw-p 0 00:00 0
"""


def test_a_loaded_library_is_found_whatever_its_version(tmp_path: Path) -> None:
    (tmp_path / "maps").write_text(MAPS)

    assert _loaded("libcudart.so", tmp_path / "maps") == "/opt/nvidia/cu13/lib/libcudart.so.13"


def test_a_library_that_is_not_loaded_is_named(tmp_path: Path) -> None:
    (tmp_path / "maps").write_text(MAPS)

    with pytest.raises(RuntimeError, match=r"libcublas\.so is not loaded"):
        _loaded("libcublas.so", tmp_path / "maps")
