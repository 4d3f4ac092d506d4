"""The chain behind `skim evaluate`: whatever a data folder lacks (clicks, labels) is made, and said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from services.cli.console import err, progress_bar, progress_bar_with_note
from services.cli.kept_labels import KeptLabels
from services.mapping.mapper import preset_of
from services.mapping.settings import MappingSettings
from services.training.arm_cache import ArmCache
from services.training.embeddings import CachedEncoder
from services.training.simulation import DEFAULT_SHOWN, Kind, LoggingPolicy, SimulatedLog
from services.training.sources import Log, Sources, Written, gather
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset, Pairs, read_dataset
from shared.encoder import SentenceEncoder
from shared.errors import InvalidInput
from shared.settings import CommonSettings

if TYPE_CHECKING:
    from services.training.arms import Arm
    from services.training.evaluation import EvaluationResult
    from services.training.team import DeviceName
    from shared.cold_start import Tower

DEFAULT_SPLIT = "new_wordings"
"""Name of the split in queries.jsonl."""


@dataclass(frozen=True)
class ChainSettings:
    """What may differ from one evaluation of a folder to the next."""

    towers: Sequence[Tower] = ("title", "metadata")
    min_similarity: float | None = None
    """tau of the paper's preset; if absent, a mapping calibrated on impressions, else the setting."""
    shown: int | None = None
    """K of logs that are simulated; the folder's own if it says one, else the default."""
    is_fresh: bool = False
    """Whether arms and labels that are cached are ignored."""
    chooses: bool = False
    """Whether tau and passes are chosen on the exposed slice, for every arm: several trainings each."""
    device: DeviceName | None = None
    """Where encoders are trained, for the arms that do; None trains none."""


class Chain:
    """One data folder: reads it, simulates, maps, trains and measures.

    Args:
        common: where the encoder and the cache are.
        folder: the data folder.
        settings: see there.
        rows: synthetic queries, if there are any.
        rows_without_metadata: the same, written from titles alone.
        labels: of the default split, if `rows` were mapped already; then only other splits are.
    """

    def __init__(
        self,
        common: CommonSettings,
        folder: Path,
        settings: ChainSettings,
        *,
        rows: Sequence[SyntheticQueries] | None = None,
        rows_without_metadata: Sequence[SyntheticQueries] | None = None,
        labels: Pairs | None = None,
    ) -> None:
        self._folder, self._settings, self._labels = folder, settings, labels
        self._rows, self._rows_without_metadata = rows, rows_without_metadata
        self._kept, self._models = common.home / "evaluate", common.models
        preset = preset_of(MappingSettings())
        if settings.min_similarity is not None:
            preset = replace(preset, min_similarity=settings.min_similarity)
        self._kept_labels = KeptLabels(
            self._kept,
            SentenceEncoder(common.models / "encoder"),
            preset,
            is_fresh=settings.is_fresh,
        )
        self._encoder = CachedEncoder(
            SentenceEncoder(common.models / "encoder", threads=0), self._kept / "vectors"
        )
        self._cache = ArmCache(self._kept, is_fresh=settings.is_fresh)
        self._policy: LoggingPolicy | None = None
        self._simulated: SimulatedLog | None = None

    @property
    def splits(self) -> list[str]:
        """Return the names of all splits, the queries' own first."""
        return [DEFAULT_SPLIT, *sorted(path.stem for path in self._folder.glob("splits/*.tsv"))]

    def evaluate(self, split: str, arms: Sequence[Arm]) -> EvaluationResult:
        """Train and measure these arms on the folder's log, and on a stochastic one if it can be simulated."""
        dataset = self._dataset(split)
        stochastic: Log | None = None
        if dataset.propensities:
            stochastic = Log(dataset.clicks, dataset.propensities)
        elif _has_truth_to_log(dataset):
            stochastic = _log_of(self.simulate(dataset, self.shown, "stochastic"))
        return self._evaluate(split, dataset, stochastic, arms, self._settings.towers, "")

    def evaluate_exposure(self, split: str, shown: int, arms: Sequence[Arm]) -> EvaluationResult:
        """Train and measure these arms, titles only, on logs that show `shown` documents a query."""
        dataset = self._dataset(split)
        simulated = self.simulate(dataset, shown, "deterministic")
        stochastic = _log_of(self.simulate(dataset, shown, "stochastic"))
        biased = replace(
            dataset, clicks=simulated.clicks, impressions=simulated.impressions, propensities={}
        )
        return self._evaluate(split, biased, stochastic, arms, ("title",), f", {shown} shown")

    @property
    def shown(self) -> int:
        """Return the K of simulated logs."""
        if self._settings.shown is not None:
            return self._settings.shown
        for card in ("simulation.json", "dataset.json"):
            path = self._folder / card
            if path.exists():
                return int(orjson.loads(path.read_bytes()).get("shown", DEFAULT_SHOWN))
        return DEFAULT_SHOWN

    def simulate(self, dataset: Dataset, shown: int, kind: Kind, *, seed: int = 0) -> SimulatedLog:
        """Return the log of a policy that ranks titles, which is made once."""
        from services.training.train import embed_documents, embed_queries

        if self._policy is None:
            self._policy = LoggingPolicy(
                dataset,
                embed_queries(dataset.queries, self._encoder),
                embed_documents(dataset.documents, self._encoder, "title"),
            )
        return self._policy.log(shown, kind, seed=seed)

    def _dataset(self, split: str) -> Dataset:
        dataset = read_dataset(self._folder, split=None if split == DEFAULT_SPLIT else split)
        if dataset.clicks or not _has_truth_to_log(dataset):
            return dataset
        if self._simulated is None:
            self._simulated = self.simulate(dataset, self.shown, "deterministic")
            _say(
                f"No clicks.tsv: simulated a log that shows {self.shown} documents a query and "
                f"{self._simulated.exposure:.1%} of the truth"
            )
        log = self._simulated
        return replace(dataset, clicks=log.clicks, impressions=log.impressions)

    def _evaluate(
        self,
        split: str,
        dataset: Dataset,
        stochastic: Log | None,
        arms: Sequence[Arm],
        towers: Sequence[Tower],
        note: str,
    ) -> EvaluationResult:
        from services.training.choice import Choices
        from services.training.evaluation import Evaluation, evaluate
        from services.training.joint_arms import Learner
        from services.training.model_sources import MINILM, fetch
        from services.training.train import TrainSettings, embed_documents

        sources: dict[Tower, Sources] = {}
        written = self._written(dataset, split)
        without = self._without_metadata(dataset, split)
        for tower in towers:
            with progress_bar(f"Encoding documents ({tower})") as advance:
                described = embed_documents(dataset.documents, self._encoder, tower, advance)
            sources[tower] = gather(
                dataset,
                described,
                stochastic=stochastic,
                written=written,
                written_without_metadata=without,
            )
        learner = None
        if self._settings.device is not None:
            learner = Learner(
                fetch(MINILM, self._models / "sources"), device=self._settings.device
            )
        trained, in_all = 0, len(arms) * len(sources)
        with progress_bar_with_note(f"Arms of {split}{note}") as advance_with_note:

            def _tell(arm: str, done: int, total: int) -> None:
                nonlocal trained
                trained += done == total
                share = trained + (done / total if done < total else 0)
                advance_with_note(round(100 * share), 100 * in_all, arm)

            result = evaluate(
                Evaluation(
                    dataset,
                    self._encoder,
                    TrainSettings(),
                    self._cache,
                    learner,
                    Choices() if self._settings.chooses else None,
                ),
                sources,
                split_name=split,
                arms=arms,
                progress=_tell,
            )
            advance_with_note(100 * in_all, 100 * in_all, "done")
        for section, choices in result.choices.items():
            for arm, choice in choices.items():
                _say(f"{split}{note}, {section}: {arm} is trained {choice}")
        for arm, reason in result.left_out.items():
            _say(f"{split}{note}: {arm} is left out: {reason}")
        return result

    def _written(self, dataset: Dataset, split: str) -> Written | None:
        """Map synthetic queries: calibrated where the log says what it showed, and by the preset."""
        if self._rows is None:
            return None
        if self._labels is not None and split == DEFAULT_SPLIT:
            return Written(self._rows, self._labels)
        rows = _of_documents(self._rows, dataset)
        title = f"Mapping to the train queries of {split}"
        preset = self._kept_labels.by_preset(dataset, rows, title)
        if not dataset.impressions or self._settings.min_similarity is not None:
            return Written(rows, preset)
        try:
            labels = self._kept_labels.calibrated(dataset, rows, f"{title}, calibrated")
        except InvalidInput as error:
            _say(f"{split}: the paper's preset maps ({error})")
            return Written(rows, preset)
        return Written(rows, labels, preset)

    def _without_metadata(self, dataset: Dataset, split: str) -> Written | None:
        """Map what was written from titles alone: by the preset, since a calibrated mapping reads metadata."""
        if self._rows_without_metadata is None:
            return None
        rows = _of_documents(self._rows_without_metadata, dataset)
        title = f"Mapping what was written from titles ({split})"
        return Written(rows, self._kept_labels.by_preset(dataset, rows, title))


def _of_documents(
    rows: Sequence[SyntheticQueries], dataset: Dataset
) -> Sequence[SyntheticQueries]:
    known = {document.id for document in dataset.documents}
    return [row for row in rows if row.document_id in known]


def _has_truth_to_log(dataset: Dataset) -> bool:
    """Say whether a log can be simulated: judgements of test queries alone do not make one."""
    return any(query.id in dataset.truth for query in dataset.queries_of("train"))


def _log_of(simulated: SimulatedLog) -> Log:
    return Log(simulated.clicks, simulated.propensities)


def _say(what: str) -> None:
    err.print(what, highlight=False, markup=False)
