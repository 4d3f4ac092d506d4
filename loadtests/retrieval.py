"""Other retrievers on our data and our splits: `python -m loadtests.retrieval --data FOLDER --json --save`.

BM25, PECOS XR-Linear, omikuji and a sentence-transformers encoder learn from the same clicks and texts as our arms and
are judged by the same metrics on the same test queries. Answers are kept under `<home>/peers/retrieval`, so that a
run that was killed goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from shutil import rmtree

from loadtests import results
from loadtests.peers.retrieval.contenders import NAMES, Peer, peers
from loadtests.peers.retrieval.judging import Part, judged, task_of
from loadtests.peers.retrieval.process import Answer, ask
from loadtests.peers.retrieval.protocol import RetrievalJob
from services.cli.chain import DEFAULT_SPLIT
from shared.cold_start import Tower
from shared.dataset import read_dataset
from shared.errors import SkimError
from shared.settings import CommonSettings

Figures = dict[str, dict[str, dict[str, dict[str, float]]]]
"""Split -> "peers" -> peer -> figure."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask, judge, print, and save where told to; 1 if an error of ours stopped it."""
    options = _options(arguments)
    common = CommonSettings()

    def _ask(peer: Peer, job: RetrievalJob) -> Answer:
        folder = answer_folder(common.home, peer, job)
        if options.fresh:
            rmtree(folder, ignore_errors=True)
        limit = options.timeout_minutes * 60
        return ask(peer, job, folder, threads=options.threads, timeout_seconds=limit)

    try:
        taking_part = peers(common, options.peers.split(","))
        figures = measure(options.data, taking_part, _ask, options.tower, options.part)
    except SkimError as error:
        print(f"loadtests.retrieval: {error}", file=sys.stderr)
        return 1
    rows = table(figures)
    if options.save:
        results.save("retrieval", rows, command=_command(options))
    print(json.dumps(figures) if options.json else results.markdown_table(rows))
    return 0


def measure(
    data: Path,
    taking_part: Sequence[Peer],
    answer_of: Callable[[Peer, RetrievalJob], Answer],
    tower: Tower = "metadata",
    part: Part = "test",
) -> Figures:
    """Return every peer's figures on every split of a data folder.

    Args:
        data: its own split is `DEFAULT_SPLIT`, others are in `splits/`.
        taking_part: the peers.
        answer_of: asks one of them.
        tower: what they read of a document.
        part: which queries they are asked.

    Raises:
        SkimError: the data cannot be used, or a peer failed.
    """
    figures: Figures = {}
    for split in (DEFAULT_SPLIT, *sorted(path.stem for path in (data / "splits").glob("*.tsv"))):
        dataset = read_dataset(data, split=None if split == DEFAULT_SPLIT else split)
        task = task_of(dataset, tower, part)
        of_split: dict[str, dict[str, float]] = {}
        for peer in taking_part:
            answer = answer_of(peer, task.job)
            of_split[peer.name] = {**judged(answer.ranked, task), "seconds": answer.seconds}
            recall = of_split[peer.name]["recall_at_100"]
            print(f"{split}, {peer.name}: recall@100 {recall:.3f}", file=sys.stderr, flush=True)
        figures[split] = {"peers": of_split}
    return figures


def answer_folder(home: Path, peer: Peer, job: RetrievalJob) -> Path:
    """Return where a peer's answer to a job is kept: another for another job or version of it."""
    digest = hashlib.sha256(f"{peer.version}\n{job.as_json()}".encode()).hexdigest()[:16]
    return home / "peers" / "retrieval" / f"{peer.name}-{digest}"


def table(
    figures: Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]],
) -> list[results.Row]:
    """Return a row a split and peer, shares rounded to what their intervals can tell."""
    return [
        {"split": split, "peer": name, **{key: round(value, 3) for key, value in row.items()}}
        for split, parts in figures.items()
        for name, row in parts["peers"].items()
    ]


def _command(options: argparse.Namespace) -> str:
    """Return what makes the same figures again."""
    chosen = [f"--data {options.data.name}"]
    if options.peers != ",".join(NAMES):
        chosen.append(f"--peers {options.peers}")
    chosen += [f"--tower {options.tower}", f"--part {options.part}"]
    return f"python -m loadtests.retrieval {' '.join(chosen)} --json --save"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a data folder with clicks")
    parser.add_argument("--peers", default=",".join(NAMES), help="some of them, by commas")
    parser.add_argument("--tower", choices=("title", "metadata"), default="metadata")
    parser.add_argument(
        "--part",
        choices=("test", "validation"),
        default="test",
        help="validation: to choose a peer's settings",
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--timeout-minutes", type=float, default=120, help="of a peer and split")
    parser.add_argument("--fresh", action="store_true", help="ask again for answers that are kept")
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
