"""A decoder as a process of its own, asked over its stdin and stdout (see `protocol`)."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from loadtests.peers.protocol import Job, Transcript
from shared.errors import Unavailable

_ROOT = Path(__file__).resolve().parents[2]


class DecoderProcess:
    """Runs `python -m MODULE ARGUMENTS` while it is entered; a crash is `Unavailable`.

    Args:
        python: interpreter of the decoder's environment.
        module: one of `loadtests.peers`, or anything else that calls `protocol.serve`.
        arguments: for it.
        environment: variables set besides this process's own.
    """

    def __init__(
        self,
        python: Path | str,
        module: str,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = [str(python), "-m", module, *arguments]
        self._environment = peer_environment(environment or {})
        self._process: subprocess.Popen[str] | None = None
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  (a pipe nobody reads would fill up)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(  # noqa: S603
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            env=self._environment,
        )
        try:
            self._read(self._process)
        except Unavailable:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def complete(self, job: Job) -> Transcript:
        """Let the decoder do a job; return what it wrote and when.

        Raises:
            Unavailable: it stopped; the message has its last words.
        """
        if self._process is None:
            raise ValueError("enter the decoder before it is given work")
        _pipe(self._process.stdin).write(json.dumps(asdict(job)) + "\n")
        _pipe(self._process.stdin).flush()
        return Transcript(**self._read(self._process))

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        self._said.close()

    def _read(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        line = _pipe(process.stdout).readline()
        if not line:
            process.wait()
            self._said.seek(0)
            said = last_words(self._said.read())
            raise Unavailable(f"{' '.join(self._command[1:])} stopped: {said}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def peer_environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment in which `loadtests` can be imported, and more."""
    return {**os.environ, "PYTHONPATH": str(_ROOT), **more}


def last_words(output: bytes) -> str:
    """Return the last lines of a process's output as one."""
    return " / ".join(output.decode(errors="replace").strip().splitlines()[-3:])


def _pipe(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise ValueError("the decoder was started without its pipes")
    return stream
