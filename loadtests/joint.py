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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from loadtests.joint_folder import Asked, Split, Taught, read_texts, unpack_encoder
from services.training.classifiers import ClassifierSettings, train_classifiers
from services.training.guard import GuardSettings, choose_weight, mix
from services.training.joint import JointSettings, JointTraining, read_lessons
from services.training.joint_guard import trust
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
    """The folder on a device, and what is computed once for all rows of a split and tower."""

    def __init__(self, folder: Path, scratch: Path, team: Team, part: str) -> None:
        self.source = unpack_encoder(folder / "encoder", scratch)
        self.texts = read_texts(folder)
        self._folder, self._team, self._part = folder, team, part
        self._splits: dict[str, Split] = {}

    def split(self, name: str) -> Split:
        """Return a split, opened once."""
        if name not in self._splits:
            self._splits[name] = Split(self._folder, name, self.texts)
        return self._splits[name]

    def asked(self, split: str) -> Asked:
        """Return the queries to measure with."""
        return self.split(split).asked(self._part)

    def answer(self, cell: Cell, taught: Taught, settings: JointSettings) -> Answer:
        """Train the cell's model and ask it."""
        settings = replace(settings, document_tokens=TOKENS[cell.tower])
        if cell.kind == "dual_encoder":
            settings = replace(settings, classifier_weight=0.0)
        if cell.kind in ("classifiers", "zero_shot"):
            return self._frozen(cell, taught, settings.classifiers)
        return self._trained(cell, taught, settings)

    def _trained(self, cell: Cell, taught: Taught, settings: JointSettings) -> Answer:
        split = self.split(cell.split)
        documents = self.texts.documents[cell.tower]
        lessons = read_lessons(
            self.source, taught.texts, taught.labels, documents, settings, self._team.device
        )
        training = JointTraining(lessons, settings, self._team)
        training.run()
        steps_done = training.seconds
        exposed_texts, exposed = split.exposed()
        trusted = trust(
            training,
            settings,
            lessons.documents,
            self._table(exposed_texts, QUERY_TOKENS) if len(exposed) else None,
            exposed,
            GuardSettings(default=settings.mixing_weight),
        )
        queries = training.embedded(self._table(self.asked(cell.split).texts, QUERY_TOKENS))
        facts = {
            "step_share": trusted.step_share,
            "mixing_weight": trusted.mixing_weight,
            "first_loss": round(training.losses[0], 4),
            "last_loss": round(training.losses[-1], 4),
            "training_seconds": round(steps_done, 2),
            "seconds_a_step": round(steps_done / settings.steps, 5),
            "queries_learned": len(taught.texts),
        }
        return Answer(_top(queries, trusted.vectors), facts)

    def _frozen(self, cell: Cell, taught: Taught, settings: ClassifierSettings) -> Answer:
        """Classifiers over the encoder as it came, in float32; no classifiers for zero_shot."""
        started = time.monotonic()
        described = self._embedded(self.texts.documents[cell.tower], TOKENS[cell.tower])
        asked = self._embedded(self.asked(cell.split).texts, QUERY_TOKENS)
        vectors, weight = described, 0.0
        if cell.kind == "classifiers":
            exposed_texts, exposed = self.split(cell.split).exposed()
            classifiers = train_classifiers(
                self._embedded(taught.texts, QUERY_TOKENS),
                taught.labels,
                described,
                replace(settings, documents_per_chunk=65_536),
                device=self._team.device,
            )
            weight = choose_weight(
                classifiers,
                described,
                self._embedded(exposed_texts, QUERY_TOKENS),
                exposed,
                GuardSettings(),
            )
            vectors = mix(classifiers, described, weight)
        facts = {
            "mixing_weight": weight,
            "training_seconds": round(time.monotonic() - started, 2),
            "queries_learned": len(taught.texts),
        }
        return Answer(_top(torch.from_numpy(asked).to(self._team.device), vectors), facts)

    @torch.no_grad()
    def _embedded(self, texts: Sequence[str], tokens: int) -> NDArray[np.float32]:
        encoder = SiameseEncoder(self.source).to(self._team.device).eval()
        table = self._table(texts, tokens)
        vectors = np.empty((len(texts), encoder.transformer.config.hidden_size), dtype=np.float32)
        for rows in table.batches(np.arange(len(texts)), 1_024):
            vectors[rows] = encoder(table.rows(rows))[0].cpu().numpy()
        return vectors

    def _table(self, texts: Sequence[str], tokens: int) -> TokenTable:
        return TokenTable(self.source, texts, tokens, self._team.device)


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
    deadline = time.monotonic() + options.seconds
    device: DeviceName = options.device
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch, joined_team(device) as team:
        bench = Bench(options.data, Path(scratch) / "encoder", team, options.measure)
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


def _shares(
    kept: Mapping[Cell, Mapping[str, PerQuery]], cell: Cell
) -> dict[str, float] | None:
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
        of_head = {
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
    return scores.topk(max(_CUTOFFS), dim=1).indices.cpu().numpy()


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
