"""Make the environments of peers that need their own: `python -m loadtests.peers.install`.

llama.cpp is compiled for this machine (a C++ compiler is needed; about 10 minutes on 2 cores). transformers
and onnxruntime-genai run in SKIM's own environment, which has them for training.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

from shared.settings import CommonSettings

LLAMA_CPP = "llama_cpp"
_REQUIREMENTS = ("llama-cpp-python==0.3.36", "numpy==2.4.6")
_CMAKE = " ".join(
    (
        "-DGGML_NATIVE=ON",
        *(f"-D{part}=OFF" for part in ("LLAVA_BUILD", "MTMD_BUILD", "LLAMA_CURL")),
        *(f"-DLLAMA_BUILD_{part}=OFF" for part in ("TESTS", "TOOLS", "EXAMPLES", "SERVER")),
    )
)


def python_of(peer: str, home: Path) -> Path:
    """Return the interpreter of a peer's environment; it need not exist."""
    return home / "peers" / peer / "bin" / "python"


def main() -> int:
    """Make what is missing."""
    python = python_of(LLAMA_CPP, CommonSettings().home)
    if not python.exists():
        venv.create(python.parents[1], with_pip=True)
    command = [str(python), "-m", "pip", "install", "--no-binary", "llama-cpp-python"]
    environment = {
        **os.environ,
        "CMAKE_ARGS": _CMAKE,
        "CMAKE_BUILD_PARALLEL_LEVEL": str(os.cpu_count() or 1),
    }
    finished = subprocess.run([*command, *_REQUIREMENTS], env=environment, check=False)  # noqa: S603
    print(python if finished.returncode == 0 else "llama.cpp could not be built", file=sys.stderr)
    return finished.returncode


if __name__ == "__main__":
    raise SystemExit(main())
