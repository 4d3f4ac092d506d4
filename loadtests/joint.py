"""Encoder and classifiers trained together, against either alone: `python -m loadtests.joint --data DIR --device cuda`.

`DIR` is what `python -m loadtests.joint_data` wrote; nothing else is read, and no more is imported than a
bare machine with torch and transformers has. Rows are written as they come, to `--out`, and a time budget is kept.
Settings are chosen with `--measure validation --grid NAME=V,V`; test queries are for the table.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from loadtests.joint_folder import Asked, Split, Taught, read_texts, unpack_encoder
from services.training.classifiers import ClassifierSettings, train_classifiers
from services.training.guard import GuardSettings, choose_weight, mix
from services.training.joint import JointTraining, Lessons
from services.training.joint_guard import trust
from services.training.joint_settings import JointSettings
from services.training.metrics import PerQuery, bootstrap, measure, paired_differences
from services.training.siamese import SiameseEncoder
from services.training.team import DeviceName, Team, joined_team
from services.training.token_table import TokenTable
from shared.encoder_files import DESCRIPTION_TOKENS, QUERY_TOKENS

TOKENS = {"title": QUERY_TOKENS, "metadata": DESCRIPTION_TOKENS}
ARMS = ("clicks", "full_truth", "skim_and_unmapped", "skim", "unmapped_no_metadata", "lever")
KINDS = ("zero_shot", "classifiers", "dual_encoder", "joint")
_CUTOFFS = (10, 25, 100)
_RESAMPLES = 1_000
_ALL_AT_ONCE = 65_536
"""Documents whose classifiers are trained at once."""
_STEPS_A_LINE = 100


@dataclass(frozen=True)
class Cell:
    """One row to be measured."""

    split: str
    tower: str
    kind: str
    arm: str


@dataclass(frozen=True)
class Answer:
    """A model's answers to the queries that are measured, and how it came to them."""

    ranked: NDArray[np.int64]
    facts: Mapping[str, float]


class Bench:
    """The folder on a device; texts are cut into tokens, and embedded as they start, once for all rows."""

    def __init__(self, folder: Path, scratch: Path, team: Team, part: str) -> None:
        self._folder, self._team, self._part = folder, team, part
        self._source = unpack_encoder(folder / "encoder", scratch)
        texts = read_texts(folder)
        self._queries = TokenTable(self._source, texts.queries, QUERY_TOKENS, team.device)
        self._documents = {
            tower: TokenTable(self._source, read, TOKENS[tower], team.device)
            for tower, read in texts.documents.items()
        }
        self._encoder = SiameseEncoder(self._source).to(team.device).eval()
        self._query_vectors = self._embedded(self._queries)
        self._splits: dict[str, Split] = {}

    def split(self, name: str) -> Split:
        """Return a split, opened once."""
        if name not in self._splits:
            documents = len(next(iter(self._documents.values())))
            self._splits[name] = Split(self._folder, name, documents)
        return self._splits[name]

    def asked(self, split: str) -> Asked:
        """Return the queries to measure with."""
        return self.split(split).asked(self._part)

    def answer(self, cell: Cell, taught: Taught, settings: JointSettings) -> Answer:
        """Train the cell's model and ask it."""
        if cell.kind in ("classifiers", "zero_shot"):
            return self._frozen(cell, taught, settings.classifiers)
        if cell.kind == "dual_encoder":
            settings = replace(settings, classifier_weight=0.0)
        return self._trained(cell, taught, settings)

    def _trained(self, cell: Cell, taught: Taught, settings: JointSettings) -> Answer:
        documents = self._documents[cell.tower]
        lessons = Lessons(
            self._source, self._queries.part(taught.rows), taught.labels, documents, sha256=""
        )
        training = JointTraining(lessons, settings, self._team)
        training.run(progress=_tell_now_and_then())
        seconds = training.seconds
        exposed_queries, exposed = self.split(cell.split).exposed()
        trusted = trust(
            training,
            settings,
            documents,
            self._queries.part(exposed_queries) if len(exposed) else None,
            exposed,
            GuardSettings(),
        )
        asked = training.embedded(self._queries.part(self.asked(cell.split).rows))
        facts = {
            "step_share": trusted.step_share,
            "mixing_weight": trusted.mixing_weight,
            "first_loss": round(training.losses[0], 4),
            "last_loss": round(training.losses[-1], 4),
            "training_seconds": round(seconds, 2),
            "seconds_a_step": round(seconds / settings.steps, 5),
            "queries_learned": len(taught.rows),
        }
        return Answer(_top(asked, trusted.vectors), facts)

    def _frozen(self, cell: Cell, taught: Taught, settings: ClassifierSettings) -> Answer:
        """Classifiers over the encoder as it came, in float32; no classifiers for zero_shot."""
        started = time.monotonic()
        described = self._embedded(self._documents[cell.tower])
        vectors, weight = described, 0.0
        if cell.kind == "classifiers":
            exposed_queries, exposed = self.split(cell.split).exposed()
            classifiers = train_classifiers(
                self._query_vectors[taught.rows],
                taught.labels,
                described,
                replace(settings, documents_per_chunk=_ALL_AT_ONCE),
                device=self._team.device,
            )
            weight = choose_weight(
                classifiers,
                described,
                self._query_vectors[exposed_queries],
                exposed,
                GuardSettings(),
            )
            vectors = mix(classifiers, described, weight)
        facts = {
            "mixing_weight": weight,
            "training_seconds": round(time.monotonic() - started, 2),
            "queries_learned": len(taught.rows),
        }
        asked = torch.from_numpy(self._query_vectors[self.asked(cell.split).rows])
        return Answer(_top(asked.to(self._team.device), vectors), facts)

    @torch.no_grad()
    def _embedded(self, table: TokenTable) -> NDArray[np.float32]:
        width = self._encoder.transformer.config.hidden_size
        vectors = torch.empty(len(table), width, device=self._team.device)
        for rows in table.batches(np.arange(len(table)), 1_024):
            vectors[torch.from_numpy(rows).to(self._team.device)] = self._encoder(
                table.rows(rows)
            )[0]
        return vectors.cpu().numpy()


def _tell_now_and_then() -> Callable[[int, int, str], None]:
    started = time.monotonic()

    def _tell(done: int, total: int, note: str) -> None:
        if done % _STEPS_A_LINE == 0 or done == total:
            left = (time.monotonic() - started) * (total - done) / done
            print(f"  {done} of {total} steps, {note}, {left:.0f} s left", file=sys.stderr)

    return _tell


def main() -> None:
    """Measure, write and print rows until all are done or time is up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="what loadtests.joint_data wrote")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--splits", default="new_wordings,new_intents")
    parser.add_argument("--towers", default="metadata,title")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--measure", choices=("test", "validation"), default="test")
    parser.add_argument(
        "--grid", action="append", default=[], help="NAME=V,V of JointSettings; every combination"
    )
    parser.add_argument("--seconds", type=float, default=420, help="no row is begun after so many")
    parser.add_argument("--out", type=Path, help="JSON, written anew after every row")
    parser.add_argument("--json", action="store_true", help="print all rows at the end")
    options = parser.parse_args()
    started = time.monotonic()
    deadline = started + options.seconds
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    device: DeviceName = options.device
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch, joined_team(device) as team:
        bench = Bench(options.data, Path(scratch) / "encoder", team, options.measure)
        print(f"ready after {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)
        cells = [
            Cell(split, tower, kind, arm)
            for split, tower, kind in itertools.product(
                options.splits.split(","), options.towers.split(","), options.kinds.split(",")
            )
            for arm in (["clicks"] if kind == "zero_shot" else options.arms.split(","))
        ]
        for settings, changed in _grid(options.grid):
            for row in _measured(bench, cells, settings, deadline):
                rows.append(row | changed)
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
                if options.out:
                    _write(options.out, options, team, rows)
    if options.json:
        print(json.dumps({"rows": rows}))


def _measured(
    bench: Bench, cells: Sequence[Cell], settings: JointSettings, deadline: float
) -> Iterator[dict[str, Any]]:
    """Yield a row a cell, its gains over clicks and over zero-shot, and how much of the way to the truth it goes."""
    kept: dict[Cell, Mapping[str, PerQuery]] = {}
    for cell in cells:
        taught = bench.split(cell.split).taught(cell.tower, cell.arm)
        if taught is None:
            continue
        if time.monotonic() > deadline:
            yield asdict(cell) | {"left_out": "no time"}
            continue
        started = time.monotonic()
        answer = bench.answer(cell, taught, settings)
        measured = measure(answer.ranked, bench.asked(cell.split).truth, cutoffs=_CUTOFFS)
        kept[cell] = {f"recall@{k}": measured[f"recall@{k}"] for k in _CUTOFFS}
        row: dict[str, Any] = asdict(cell) | {
            name.replace("@", "_at_"): _percent(interval.value)
            for name, interval in bootstrap(kept[cell], resamples=_RESAMPLES).items()
        }
        for name, other in (
            ("gain_over_clicks", replace(cell, arm="clicks")),
            ("gain_over_zero_shot", replace(cell, kind="zero_shot", arm="clicks")),
            ("gain_over_classifiers", replace(cell, kind="classifiers")),
        ):
            if other != cell and other in kept:
                row[name] = _gains(kept[cell], kept[other])
        row["share_of_the_way"] = _shares(kept, cell)
        yield row | dict(answer.facts) | {"seconds": round(time.monotonic() - started, 2)}


def _gains(
    better: Mapping[str, PerQuery], worse: Mapping[str, PerQuery]
) -> dict[str, list[float]]:
    return {
        name: [_percent(each) for each in (interval.value, interval.low, interval.high)]
        for name, interval in paired_differences(better, worse, resamples=_RESAMPLES).items()
    }


def _shares(kept: Mapping[Cell, Mapping[str, PerQuery]], cell: Cell) -> dict[str, float] | None:
    """Return how much of the way from clicks to full truth an arm goes, if both were measured before it."""
    clicks, truth = (kept.get(replace(cell, arm=arm)) for arm in ("clicks", "full_truth"))
    if clicks is None or truth is None or cell.arm in ("clicks", "full_truth"):
        return None
    return {
        name: round(
            (kept[cell][name].mean - clicks[name].mean)
            / max(1e-9, truth[name].mean - clicks[name].mean),
            3,
        )
        for name in kept[cell]
    }


def _grid(options: Sequence[str]) -> Iterator[tuple[JointSettings, dict[str, float]]]:
    """Yield the settings of each combination, and what was changed."""
    base = JointSettings()
    kinds = {each.name: type(getattr(base, each.name)) for each in fields(JointSettings)}
    named = [option.partition("=") for option in options]
    for name, _, _ in named:
        if name not in kinds and not name.startswith("classifiers."):
            raise SystemExit(f"--grid {name}: no such setting; there are {', '.join(kinds)}")
    values = [[float(value) for value in given.split(",")] for _, _, given in named]
    for chosen in itertools.product(*values):
        changed = dict(zip((name for name, _, _ in named), chosen, strict=True))
        of_head: dict[str, Any] = {
            name.removeprefix("classifiers."): value
            for name, value in changed.items()
            if name.startswith("classifiers.")
        }
        own = {
            name: kinds[name](value)
            for name, value in changed.items()
            if not name.startswith("classifiers.")
        }
        classifiers = replace(base.classifiers, **of_head)
        yield replace(base, **own, classifiers=classifiers), changed


def _top(queries: torch.Tensor, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    scores = queries @ torch.from_numpy(vectors).to(queries.device).T
    return scores.topk(min(max(_CUTOFFS), len(vectors)), dim=1).indices.cpu().numpy()


def _write(
    path: Path, options: argparse.Namespace, team: Team, rows: Sequence[Mapping[str, Any]]
) -> None:
    device = torch.cuda.get_device_name() if team.device.type == "cuda" else "cpu"
    versions = {"torch": torch.__version__, "device": device}
    given = {name: str(value) for name, value in vars(options).items()}
    new = path.with_name(f".{path.name}.new")
    new.write_text(json.dumps({"options": given, **versions, "rows": list(rows)}, indent=1))
    new.replace(path)


def _percent(share: float) -> float:
    return round(100 * share, 2)


if __name__ == "__main__":
    main()
