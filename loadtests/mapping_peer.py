"""The mapping's peer: sentence-transformers in an environment and a process of its own, turn by turn."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import numpy as np

from loadtests.mapping_texts import Vectors
from loadtests.peers.install import SENTENCE_TRANSFORMERS, python_of
from shared.errors import NotFound
from shared.settings import CommonSettings

_PEER = Path(__file__).parent / "peers" / "map_queries.py"


@contextmanager
def peer(
    common: CommonSettings,
    scratch: Path,
    asked: Sequence[str],
    vectors: Vectors,
    *,
    neighbours: int,
    threads: int,
) -> Iterator[Turn]:
    """Start the peer; each call of what is yielded maps all texts once.

    Args:
        common: where its environment and the weights are.
        scratch: receives what it reads.
        asked: texts.
        vectors: (train queries, dimensions) to search.
        neighbours: of each text.
        threads: cores it may use.

    Raises:
        NotFound: it is not installed, or it ended.
    """
    python = python_of(SENTENCE_TRANSFORMERS, common.home)
    if not python.exists():
        raise NotFound(
            f"{python}: not there; run `python -m loadtests.peers.install --only {SENTENCE_TRANSFORMERS}`"
        )
    (scratch / "texts.json").write_text(json.dumps(list(asked)))
    np.save(scratch / "vectors.npy", vectors)
    model = common.models / "sources" / "all-minilm-l6-v2"
    arguments = [model, scratch / "texts.json", scratch / "vectors.npy", neighbours, threads]
    with subprocess.Popen(  # noqa: S603
        [str(python), "-P", str(_PEER), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        turn = Turn(process)
        turn.line()
        yield turn
        turn.end()


class Turn:
    """A peer's process that does the same again for each line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._asks, self._answers = cast(IO[str], process.stdin), cast(IO[str], process.stdout)

    def __call__(self) -> dict[str, float]:
        """Return its seconds of one turn, by what it does."""
        self._asks.write("\n")
        self._asks.flush()
        seconds: dict[str, float] = json.loads(self.line())
        return seconds

    def line(self) -> str:
        """Return the next line it prints."""
        line = self._answers.readline()
        if not line:
            raise NotFound("sentence-transformers ended; its last words are above")
        return line

    def end(self) -> None:
        """Let it finish."""
        self._asks.close()
