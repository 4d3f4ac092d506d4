"""The table of arms: one line each. All are trained alike, each on its own supervision."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from services.training import baselines
from services.training.sources import LogName, Sources
from services.training.supervision import Supervision
from shared.cold_start import Tower
from shared.errors import InvalidInput

Kind = Literal["classifiers", "dual_encoder", "joint"]
"""What is trained: classifiers over the encoder as it is, the encoder alone, or both together."""
KINDS: Sequence[Kind] = get_args(Kind)


@dataclass(frozen=True)
class Arm:
    """One row of the table."""

    name: str
    learns: Callable[[Sources], Supervision] | None = None
    """What it is trained on; nothing is zero-shot, or BM25."""
    log: LogName = "given"
    """Whose clicks."""
    reads: Tower | None = None
    """Text of a document where it is not the tower's."""
    bm25: bool = False
    expanded: bool = False
    """BM25 only: whether synthetic queries are read as part of their documents."""
    rival_of: str = "skim"
    """The arm of ours whose gain over this one is told."""
    kind: Kind = "classifiers"

    @property
    def compared_with(self) -> str:
        """Return the arm its gain is over: clicks only, of the same log."""
        clicks = "clicks" if self.log == "given" else "clicks_stochastic"
        return _of_kind(clicks, self.kind)

    def of_kind(self, kind: Kind) -> Arm:
        """Return the same supervision for another kind of model."""
        name, rival_of = (_of_kind(each, kind) for each in (self.name, self.rival_of))
        return replace(self, name=name, rival_of=rival_of, kind=kind)


ARMS: Sequence[Arm] = (
    Arm("zero_shot_title", reads="title"),
    Arm("zero_shot_metadata", reads="metadata"),
    Arm("bm25", bm25=True),
    Arm("bm25_expanded", bm25=True, expanded=True),
    Arm("clicks", baselines.clicks),
    Arm("lever", baselines.lever),
    Arm("gandalf", baselines.gandalf),
    Arm("unmapped_no_metadata", baselines.unmapped_no_metadata),
    Arm("unmapped", baselines.unmapped),
    Arm("skim_no_metadata", baselines.skim_no_metadata),
    Arm("skim_preset", baselines.skim_preset),
    Arm("skim", baselines.skim),
    Arm(
        "skim_preset_and_unmapped",
        baselines.skim_preset_and_unmapped,
        rival_of="skim_and_unmapped",
    ),
    Arm("skim_and_unmapped", baselines.skim_and_unmapped),
    Arm("mar", baselines.missing_at_random),
    Arm("full_truth", baselines.full_truth),
    Arm(
        "full_truth_and_unmapped",
        baselines.full_truth_and_unmapped,
        rival_of="skim_and_unmapped",
    ),
    Arm("clicks_stochastic", baselines.clicks, log="stochastic", rival_of="skim_stochastic"),
    Arm("ips", baselines.ips_estimated, log="stochastic", rival_of="skim_stochastic"),
    Arm("ips_golden", baselines.ips_golden, log="stochastic", rival_of="skim_stochastic"),
    Arm("lever_ips", baselines.lever_ips, log="stochastic", rival_of="skim_stochastic"),
    Arm(
        "skim_stochastic", baselines.skim_of_any_log, log="stochastic", rival_of="skim_stochastic"
    ),
)
OF_EXPOSURE = (
    *("clicks", "skim", "skim_and_unmapped"),
    *("clicks_stochastic", "ips_golden", "skim_stochastic"),
)
"""Arms of the curve of recall against exposure."""
IN_SHORT = ("zero_shot_title", "zero_shot_metadata", "clicks", "skim", "skim_and_unmapped")
"""Arms of the demo."""
_BY_NAME: Mapping[str, Arm] = {arm.name: arm for arm in ARMS}


def arms_of_kinds(arms: Sequence[Arm], kinds: Sequence[str]) -> list[Arm]:
    """Return each arm once for each kind, named ARM_KIND but for classifiers; what trains nothing stays one.

    Raises:
        InvalidInput: there is no such kind.
    """
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        raise InvalidInput(f"no model kind {unknown[0]!r}; there are {', '.join(KINDS)}")
    untrained = [arm for arm in arms if arm.learns is None]
    trained = [arm for arm in arms if arm.learns is not None]
    chosen = [kind for kind in KINDS if kind in kinds]
    return [*untrained, *(arm.of_kind(kind) for kind in chosen for arm in trained)]


def arms_named(names: Sequence[str]) -> list[Arm]:
    """Return these arms in the order of the table.

    Raises:
        InvalidInput: there is no arm of a name.
    """
    unknown = [name for name in names if name not in _BY_NAME]
    if unknown:
        raise InvalidInput(f"no arm {unknown[0]!r}; there are {', '.join(_BY_NAME)}")
    return [arm for arm in ARMS if arm.name in names]


def _of_kind(name: str, kind: Kind) -> str:
    return name if kind == "classifiers" else f"{name}_{kind}"
