"""A retriever as a process of its own, run until its answer lies in the job's folder (see `protocol`)."""

from __future__ import annotations

import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loadtests.peers.process import last_words, peer_environment
from loadtests.peers.retrieval.contenders import Peer
from loadtests.peers.retrieval.protocol import JOB, NOBODY, RANKED, RetrievalJob
from shared.errors import Expired, InvalidInput, Unavailable

_OUTPUT, _SECONDS = "output.txt", "seconds.txt"


@dataclass(frozen=True)
class Answer:
    """What a peer found."""

    ranked: NDArray[np.int64]
    """(test queries, ranks) document positions, best first; `NOBODY` where it found no more."""
    seconds: float
    """Start, training and search."""


def ask(
    peer: Peer, job: RetrievalJob, folder: Path, *, threads: int, timeout_seconds: float
) -> Answer:
    """Let a peer do a job; an answer that lies in `folder` is taken instead.

    Args:
        peer: does it.
        job: for it.
        folder: of this job and this version of the peer, and of nothing else.
        threads: it may use.
        timeout_seconds: until it is killed.

    Raises:
        Unavailable: it stopped without an answer (the message has its last words) or ran too long.
        InvalidInput: its answer is not one.
    """
    if not (folder / _SECONDS).exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RANKED).unlink(missing_ok=True)
        (folder / JOB).write_text(job.as_json())
        started = time.monotonic()
        _run(peer, folder, threads, timeout_seconds)
        seconds = time.monotonic() - started
        _checked(peer.name, folder / RANKED, job)
        (folder / _SECONDS).write_text(f"{seconds:.1f}")  # last: now the answer is whole
    return Answer(
        _checked(peer.name, folder / RANKED, job), float((folder / _SECONDS).read_text())
    )


def _run(peer: Peer, folder: Path, threads: int, timeout_seconds: float) -> None:
    command = [str(peer.python), "-m", peer.module, str(folder), *peer.arguments]
    said = folder / _OUTPUT
    try:
        with said.open("wb") as output:  # a file: one can watch a training that takes long
            finished = subprocess.run(  # noqa: S603
                [*command, "--threads", str(threads)],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=peer_environment({"OMP_NUM_THREADS": str(threads)}),
                timeout=timeout_seconds,
                check=False,
            )
    except subprocess.TimeoutExpired as error:
        raise Expired(f"{peer.name} had no answer after {timeout_seconds:.0f} s") from error
    except OSError as error:
        raise Unavailable(f"{peer.python}: cannot be run ({error.strerror})") from error
    if finished.returncode:
        raise Unavailable(f"{peer.name} stopped: {_end(finished.returncode, said.read_bytes())}")


def _end(code: int, output: bytes) -> str:
    """Return why a process ended, as one line."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return last_words(output) or f"exit code {code}"


def _checked(name: str, path: Path, job: RetrievalJob) -> NDArray[np.int64]:
    try:
        ranked: NDArray[np.int64] = np.load(path)
    except FileNotFoundError as error:
        raise Unavailable(f"{name} ended without an answer") from error
    except (ValueError, EOFError) as error:
        raise InvalidInput(f"{name}: {path.name} is no array ({error})") from error
    queries = len(job.test_queries)
    if ranked.ndim != 2 or len(ranked) != queries or ranked.dtype.kind != "i":
        raise InvalidInput(
            f"{name}: {ranked.dtype} {ranked.shape}, expected int64 ({queries}, ranks)"
        )
    if ranked.size and not (ranked.min() >= NOBODY and ranked.max() < len(job.documents)):
        raise InvalidInput(f"{name}: a rank is none of {len(job.documents)} documents")
    inner = np.sort(ranked, axis=1)
    if ((inner[:, 1:] == inner[:, :-1]) & (inner[:, 1:] != NOBODY)).any():
        raise InvalidInput(f"{name}: a document is ranked twice for the same query")
    return ranked.astype(np.int64)
