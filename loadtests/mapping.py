"""How fast synthetic queries are mapped: `python -m loadtests.mapping --rows 100000 --json --save`.

Texts are real (what the shipped SLM wrote), encoded by the service's encoder. The train queries' vectors are real ones, each
moved along the difference of two others, so that neighbours are as near as in a real log: sums of real vectors
fill the space as texts do, random ones do not. The peer is the sentence-transformers library with the same weights in torch and
its exact search, on the same texts and vectors, turn by turn.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, NamedTuple, cast

import numpy as np

from loadtests import results
from loadtests.mapping_swap import swap
from loadtests.mapping_texts import Vectors, encoded, like, texts
from loadtests.peers.install import SENTENCE_TRANSFORMERS, python_of
from services.mapping.build_parts import BuildParts
from services.mapping.index_builder import build_graph
from services.mapping.index_files import load_index, next_version, save_index
from services.mapping.recall import recall_above_tau
from services.mapping.segmented_graph import ROWS_PER_SEGMENT
from services.mapping.train_query_index import DEFAULT_PARAMETERS, TrainQueryIndex
from shared.dataset import Query
from shared.encoder import SentenceEncoder
from shared.errors import NotFound, SkimError
from shared.settings import CommonSettings

_NEIGHBOURS, _TURNS, _LOOKED_FROM = 10, 2, 500
_THREADS = os.cpu_count() or 1
_PEER = Path(__file__).parent / "peers" / "map_queries.py"


class _Seconds(NamedTuple):
    """What mapping took: by the clock, and what each thread spent, added up."""

    wall: float
    encode: float
    search: float


def main() -> int:
    """Build, measure, print, save if told to; 1 if an error of ours stopped it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000, help="train queries")
    parser.add_argument(
        "--keep",
        type=Path,
        help="folder of the built index: the next run with the same settings uses it, or goes on with it",
    )
    parser.add_argument("--no-peer", action="store_true", help="leave sentence-transformers out")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        try:
            figures = measure(
                CommonSettings(), options.rows, folder, with_peer=not options.no_peer
            )
        except SkimError as error:
            print(f"loadtests.mapping: {error}", file=sys.stderr)
            return 1
    if options.save:
        command = f"python -m loadtests.mapping --rows {options.rows} --json --save"
        results.save(f"mapping-{options.rows}", figures, command=command)
    print(json.dumps(figures) if options.json else results.markdown_table(figures))
    return 0


def measure(
    common: CommonSettings, rows: int, folder: Path, *, with_peer: bool
) -> dict[str, results.Value]:
    """Return the figures for an index of so many train queries, which `folder` keeps."""
    encoder = SentenceEncoder(common.models / "encoder")
    chosen = texts()
    asked_vectors, base_vectors = encoded(encoder, chosen.asked), encoded(encoder, chosen.base)
    vectors = like(base_vectors, rows)
    looks = encoded(encoder, chosen.tuning)
    folder.mkdir(parents=True, exist_ok=True)
    before = _resident()
    index, build_seconds = _index(folder, vectors, looks, encoder.name)
    figures: dict[str, results.Value] = {
        "train_queries": rows,
        "build_seconds": build_seconds,
        "bytes_per_query": round((_resident() - before) / rows),
        "file_bytes_per_query": round(
            sum(path.stat().st_size for path in folder.glob("*-*")) / rows
        ),
        "recall_above_tau": round(recall_above_tau(index, asked_vectors[:_LOOKED_FROM]), 4),
        "ef": index.ef,
        "segments": len(index.graph.segments),
        "nearest_cosine_p50": round(_nearest_median(index, asked_vectors[:_LOOKED_FROM]), 3),
        "nearest_cosine_p50_of_real_texts": round(
            float(np.median((asked_vectors[:_LOOKED_FROM] @ base_vectors.T).max(axis=1))), 3
        ),
        "search_us_p50": round(_search_median(index, asked_vectors) * 1e6),
    }
    turns = _turns(common, encoder, index, chosen.asked, vectors, with_peer=with_peer)
    figures |= turns
    del index
    figures |= swap(common, folder, chosen.asked)
    figures["peak_rss_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return figures


def _index(
    folder: Path, vectors: Vectors, looks: Vectors, encoder: str
) -> tuple[TrainQueryIndex, float | None]:
    """Build the index, or load what an earlier run built of the same; its seconds are kept beside it."""
    made_of = {
        "rows": len(vectors),
        "encoder": encoder,
        "parameters": asdict(DEFAULT_PARAMETERS),
        "rows_per_segment": ROWS_PER_SEGMENT,
        "vectors": hashlib.sha256(vectors[:: len(vectors) // 1_000 or 1].tobytes()).hexdigest(),
        "looks": hashlib.sha256(looks.tobytes()).hexdigest(),
    }
    kept = folder / "built.json"
    if kept.exists() and (known := json.loads(kept.read_text()))["of"] == made_of:
        return load_index(folder, encoder=encoder, dimensions=vectors.shape[1]), known["seconds"]
    kept.unlink(missing_ok=True)
    queries = [Query(id=f"q{row}", text=f"train query {row}") for row in range(len(vectors))]
    parts = BuildParts(folder / ".parts")
    took_up = (folder / ".parts").exists()
    started = time.perf_counter()
    index, recall = build_graph(
        queries,
        vectors,
        looks,
        encoder,
        parameters=DEFAULT_PARAMETERS,
        version=next_version(0),
        progress=lambda done, total: _tell("inserted", done, total),
        parts=parts,
    )
    seconds = None if took_up else round(time.perf_counter() - started, 1)
    save_index(index, folder, ef=index.ef, recall=recall)
    parts.remove()
    kept.write_text(json.dumps({"seconds": seconds, "of": made_of}))
    return index, seconds


def _nearest_median(index: TrainQueryIndex, asked: Vectors) -> float:
    return float(np.median(index.search_exactly(asked, 1)[1]))


def _search_median(index: TrainQueryIndex, asked: Vectors) -> float:
    seconds = []
    for vector in asked[:500]:
        started = time.perf_counter()
        index.nearest(vector[None], _NEIGHBOURS)
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


def _turns(
    common: CommonSettings,
    encoder: SentenceEncoder,
    index: TrainQueryIndex,
    asked: Sequence[str],
    vectors: Vectors,
    *,
    with_peer: bool,
) -> dict[str, results.Value]:
    """Map all texts in turns with the peer: ours, its, ours, its."""
    ours: list[_Seconds] = []
    theirs: list[float] = []
    with tempfile.TemporaryDirectory() as scratch:
        if not with_peer:
            ours = [_map(encoder, index, asked) for _ in range(_TURNS)]
        else:
            with _peer(common, Path(scratch), asked, vectors) as turn:
                for _ in range(_TURNS):
                    ours.append(_map(encoder, index, asked))
                    theirs.append(sum(turn().values()))
    figures: dict[str, results.Value] = {
        "threads": _THREADS,
        "queries_per_second": round(len(asked) / min(each.wall for each in ours), 1),
        "encode_share": round(ours[-1].encode / (ours[-1].encode + ours[-1].search), 3),
    }
    if theirs:
        figures["sentence_transformers_queries_per_second"] = round(len(asked) / min(theirs), 1)
        ratios = [their / our.wall for their, our in zip(theirs, ours, strict=True)]
        figures["ratio_vs_sentence_transformers"] = round(min(ratios), 2)
    return figures


def _map(encoder: SentenceEncoder, index: TrainQueryIndex, asked: Sequence[str]) -> _Seconds:
    """Map all texts, some in each thread."""

    def _one(texts: Sequence[str]) -> tuple[float, float]:
        encode = search = 0.0
        for text in texts:
            started = time.perf_counter()
            vector = encoder.encode([text], batch_size=1)
            encoded = time.perf_counter()
            index.nearest(vector, _NEIGHBOURS)
            encode += encoded - started
            search += time.perf_counter() - encoded
        return encode, search

    started = time.perf_counter()
    with ThreadPoolExecutor(_THREADS) as pool:
        parts = list(pool.map(_one, [asked[number::_THREADS] for number in range(_THREADS)]))
    wall = time.perf_counter() - started
    return _Seconds(wall, sum(part[0] for part in parts), sum(part[1] for part in parts))


@contextmanager
def _peer(
    common: CommonSettings, scratch: Path, asked: Sequence[str], vectors: Vectors
) -> Iterator[_Turn]:
    python = python_of(SENTENCE_TRANSFORMERS, common.home)
    if not python.exists():
        raise NotFound(
            f"{python}: not there; run `python -m loadtests.peers.install --only {SENTENCE_TRANSFORMERS}`"
        )
    (scratch / "texts.json").write_text(json.dumps(list(asked)))
    np.save(scratch / "vectors.npy", vectors)
    model = common.models / "sources" / "all-minilm-l6-v2"
    arguments = [model, scratch / "texts.json", scratch / "vectors.npy", _NEIGHBOURS, _THREADS]
    with subprocess.Popen(  # noqa: S603
        [str(python), "-P", str(_PEER), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        turn = _Turn(process)
        turn.line()
        yield turn
        turn.end()


class _Turn:
    """A peer's process that does the same again for each line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._asks, self._answers = cast(IO[str], process.stdin), cast(IO[str], process.stdout)

    def __call__(self) -> dict[str, float]:
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


def _resident() -> int:
    """Return the bytes this process holds in memory now."""
    fields = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def _tell(what: str, done: int, total: int) -> None:
    if done * 20 // total > (done - 2_048) * 20 // total:
        print(f"{what}: {done} of {total}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
