"""How fast synthetic queries are mapped: `python -m loadtests.mapping --rows 100000 --json --save`.

Texts are real (what the shipped SLM wrote), mapped by the service's mapper in requests as large as a worker's. The train queries' vectors are real ones, each
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
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from loadtests import results
from loadtests.mapping_peer import peer
from loadtests.mapping_swap import swap
from loadtests.mapping_texts import Vectors, encoded, like, requests, texts
from services.mapping.build_parts import BuildParts
from services.mapping.index_builder import build_graph
from services.mapping.index_files import load_index, next_version, save_index
from services.mapping.mapper import QueryMapper, preset_of
from services.mapping.recall import recall_above_tau
from services.mapping.segmented_graph import ROWS_PER_SEGMENT
from services.mapping.settings import HUGE_PAGES, MappingSettings
from services.mapping.train_query_index import DEFAULT_PARAMETERS, TrainQueryIndex
from shared.contracts.mapping import MapDocument
from shared.dataset import Query
from shared.encoder import SentenceEncoder
from shared.errors import SkimError
from shared.settings import CommonSettings

_NEIGHBOURS, _TURNS, _LOOKED_FROM = 10, 5, 2_000
_THREADS = os.cpu_count() or 1


class _Seconds(NamedTuple):
    """What mapping took: by the clock, and what each thread spent, added up."""

    wall: float
    encode: float
    all: float
    """Encoding, searching, and making labels of what is found."""


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
    if not HUGE_PAGES.keys() & os.environ.keys():  # as `skim up` starts the service
        again = [sys.executable, "-m", "loadtests.mapping", *sys.argv[1:]]
        tuned = {**os.environ, **HUGE_PAGES}
        return subprocess.run(again, env=tuned, check=False).returncode  # noqa: S603
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
    asked = chosen.asked_texts
    asked_vectors, base_vectors = encoded(encoder, asked), encoded(encoder, chosen.base)
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
    sent = requests(chosen.asked)
    figures["queries_per_request"] = round(len(asked) / len(sent))
    figures |= _turns(common, encoder, index, sent, vectors, with_peer=with_peer)
    del index
    figures |= swap(common, folder, asked)
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
    sent: Sequence[Sequence[MapDocument]],
    vectors: Vectors,
    *,
    with_peer: bool,
) -> dict[str, results.Value]:
    """Map all texts in turns with the peer, ours and its; the ratio is the median of the turns'."""
    asked = [text for request in sent for document in request for text in document.queries]
    ours: list[_Seconds] = []
    theirs: list[float] = []
    with tempfile.TemporaryDirectory() as scratch:
        if not with_peer:
            ours = [_map(encoder, index, sent) for _ in range(_TURNS)]
        else:
            with peer(
                common,
                Path(scratch),
                asked,
                vectors,
                neighbours=_NEIGHBOURS,
                threads=_THREADS,
            ) as turn:
                for _ in range(_TURNS):
                    ours.append(_map(encoder, index, sent))
                    theirs.append(sum(turn().values()))
    figures: dict[str, results.Value] = {
        "threads": _THREADS,
        "queries_per_second": round(len(asked) / min(each.wall for each in ours), 1),
        "encode_share": round(ours[-1].encode / ours[-1].all, 3),
    }
    if theirs:
        figures["sentence_transformers_queries_per_second"] = round(len(asked) / min(theirs), 1)
        ratios = [their / our.wall for their, our in zip(theirs, ours, strict=True)]
        figures["ratio_vs_sentence_transformers"] = round(float(np.median(ratios)), 2)
        figures["ratio_lowest"], figures["ratio_highest"] = (
            round(min(ratios), 2),
            round(max(ratios), 2),
        )
    return figures


def _map(
    encoder: SentenceEncoder, index: TrainQueryIndex, requests: Sequence[Sequence[MapDocument]]
) -> _Seconds:
    """Map all requests as the service does, a request in each thread; it remembers no text of an earlier turn."""
    rule = replace(preset_of(MappingSettings()), neighbours=_NEIGHBOURS)

    def _one(request: Sequence[MapDocument]) -> tuple[float, float]:
        timed = _Timed(encoder)
        started = time.perf_counter()
        QueryMapper(timed, index, rule, rule).map(request)
        return timed.seconds, time.perf_counter() - started

    started = time.perf_counter()
    with ThreadPoolExecutor(_THREADS) as pool:
        parts = list(pool.map(_one, requests))
    wall = time.perf_counter() - started
    return _Seconds(wall, sum(part[0] for part in parts), sum(part[1] for part in parts))


class _Timed:
    """An encoder that adds up how long it is asked."""

    def __init__(self, encoder: SentenceEncoder) -> None:
        self._encoder, self.seconds = encoder, 0.0
        self.name, self.dimensions = encoder.name, encoder.dimensions

    def encode(
        self, texts: Sequence[str], *, max_tokens: int = 32, batch_size: int = 32
    ) -> Vectors:
        """Return (texts, dimensions) float32 unit vectors, in the order given."""
        started = time.perf_counter()
        vectors = self._encoder.encode(texts, max_tokens=max_tokens, batch_size=batch_size)
        self.seconds += time.perf_counter() - started
        return vectors


def _resident() -> int:
    """Return the bytes this process holds in memory now."""
    fields = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def _tell(what: str, done: int, total: int) -> None:
    if done * 20 // total > (done - 2_048) * 20 // total:
        print(f"{what}: {done} of {total}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
