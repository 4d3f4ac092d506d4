"""Make the environments of peers that need their own: `python -m loadtests.peers.install [--only bm25,pecos]`.

llama.cpp is compiled for this machine (a C++ compiler is needed; about 10 minutes on 2 cores); the others come as
wheels. transformers and onnxruntime-genai run in SKIM's own environment, which has them for training.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shared.settings import CommonSettings

LLAMA_CPP = "llama_cpp"
BM25, PECOS, OMIKUJI = "bm25", "pecos", "omikuji"
SENTENCE_TRANSFORMERS = "sentence_transformers"
TXTAI, INFINITY, QDRANT_EDGE = "txtai", "infinity", "qdrant_edge"
_CONSTRAINTS = Path(__file__).resolve().parents[2] / "deploy" / "constraints.txt"
_CMAKE = " ".join(
    (
        "-DGGML_NATIVE=ON",
        *(f"-D{part}=OFF" for part in ("LLAVA_BUILD", "MTMD_BUILD", "LLAMA_CURL")),
        *(f"-DLLAMA_BUILD_{part}=OFF" for part in ("TESTS", "TOOLS", "EXAMPLES", "SERVER")),
    )
)
_FEATURES = (  # the newest numpy and scipy that libpecos takes
    "numpy==1.26.4",
    "scipy==1.13.1",
    "scikit-learn==1.5.2",
    "joblib==1.5.3",
    "threadpoolctl==3.6.0",
)


@dataclass(frozen=True)
class Environment:
    """What a peer's environment holds."""

    requirements: Sequence[str]
    """Exact versions."""
    options: Sequence[str] = ()
    """For pip."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """For what pip builds."""


ENVIRONMENTS: Mapping[str, Environment] = {
    LLAMA_CPP: Environment(
        ("llama-cpp-python==0.3.36", "numpy==2.4.6"),
        ("--no-binary", "llama-cpp-python"),
        {"CMAKE_ARGS": _CMAKE, "CMAKE_BUILD_PARALLEL_LEVEL": str(os.cpu_count() or 1)},
    ),
    BM25: Environment(("bm25s==0.3.16", "PyStemmer==3.1.0", "numpy==2.4.6", "scipy==1.17.1")),
    # its wheel asks for torch, peft, datasets and sentencepiece, which only its transformers use
    PECOS: Environment(("libpecos==1.2.8", *_FEATURES), ("--no-deps",)),
    OMIKUJI: Environment(("omikuji==0.5.2", "milksnake==0.1.6", "cffi==2.1.1", *_FEATURES)),
    # torch and transformers as training has them
    SENTENCE_TRANSFORMERS: Environment(
        ("sentence-transformers[train]==6.2.0", "torch==2.13.0", "transformers==5.23.0"),
        ("--constraint", str(_CONSTRAINTS)),
    ),
    TXTAI: Environment(
        (
            "txtai[api]==9.14.0",
            "hnswlib==0.8.0",
            "onnxruntime==1.31.1",
            "torch==2.13.0",
            "transformers==5.23.0",
            "uvicorn[standard]==0.54.0",
        )
    ),
    # infinity's ONNX engine needs an optimum, and that one transformers, from before their fifth versions
    INFINITY: Environment(
        (
            "infinity-emb[server,optimum]==0.0.78",
            "chromadb==1.5.9",
            "optimum==1.24.0",
            "transformers==4.47.1",
            "torch==2.13.0",
        )
    ),
    QDRANT_EDGE: Environment(
        (
            "qdrant-edge-py==0.9.0",
            "onnxruntime==1.31.1",
            "tokenizers==0.23.3",
            "fastapi==0.165.0",
            "uvicorn[standard]==0.54.0",
            "orjson==3.13.0",
            "numpy==2.4.6",
        )
    ),
}


def python_of(peer: str, home: Path) -> Path:
    """Return the interpreter of a peer's environment; it need not exist."""
    return home / "peers" / peer / "bin" / "python"


def main(arguments: Sequence[str] | None = None) -> int:
    """Make what is missing; 1 if a peer cannot be had, which the others survive."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default=",".join(ENVIRONMENTS), help="peers, by commas")
    names = parser.parse_args(arguments).only.split(",")
    unknown = [name for name in names if name not in ENVIRONMENTS]
    if unknown:
        parser.error(f"peer {unknown[0]!r} is none of {', '.join(ENVIRONMENTS)}")
    made = {
        name: _make(ENVIRONMENTS[name], python_of(name, CommonSettings().home)) for name in names
    }
    for name, is_made in made.items():
        print(f"{name}: {'ready' if is_made else 'could not be installed'}", file=sys.stderr)
    return int(not all(made.values()))


def _make(environment: Environment, python: Path) -> bool:
    """Install what is missing; tell whether all of it is there."""
    if not python.exists():
        venv.create(python.parents[1], with_pip=True)
    command = [str(python), "-m", "pip", "install", *environment.options]
    finished = subprocess.run(  # noqa: S603
        [*command, *environment.requirements],
        env={**os.environ, **environment.variables},
        check=False,
    )
    return finished.returncode == 0


if __name__ == "__main__":
    raise SystemExit(main())
