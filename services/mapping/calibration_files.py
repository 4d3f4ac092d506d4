"""A calibration beside its index, written whole and verified before it is used.

calibration.json             the calibration
statistics-DIGEST.npz        train query statistics it names by their sha256
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from pydantic import ValidationError

from services.mapping.calibration import Calibration
from services.mapping.index_files import FileEntry, move_in, verify
from services.mapping.query_statistics import QueryStatistics
from shared.errors import Conflict, Damaged

CALIBRATION = "calibration.json"
_STATISTICS = "statistics"
_COMMAND = "skim mapping calibrate"


def write_calibration(
    folder: Path, calibration: Calibration, statistics: QueryStatistics
) -> Calibration:
    """Write both to the folder of the index; readers see the old ones or the new ones.

    Returns:
        The calibration as it is on disk: it names the statistics.
    """
    replaced = _statistics_in(folder)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as scratch:
        new = Path(scratch) / f"{_STATISTICS}.npz"
        statistics.save(new)
        entry = move_in(new, folder)
        calibration = calibration.model_copy(update={"statistics": entry.sha256})
        written = Path(scratch) / CALIBRATION
        written.write_text(calibration.model_dump_json(indent=2) + "\n")
        written.replace(folder / CALIBRATION)
    for path in replaced - {folder / entry.name}:
        path.unlink(missing_ok=True)
    return calibration


def read_calibration(
    folder: Path, encoder: str, dimensions: int
) -> tuple[Calibration, QueryStatistics] | None:
    """Return what was written, None if nothing was.

    Raises:
        Damaged: a file is not what it says it is.
        Conflict: it was made with another encoder.
    """
    path = folder / CALIBRATION
    try:
        calibration = Calibration.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Damaged(f"{path}: {where}: {first['msg']}") from error
    if calibration.encoder != encoder:
        raise Conflict(
            f"{path}: made with {calibration.encoder}, but the encoder is {encoder}; "
            f"run `{_COMMAND}` again, or remove the file"
        )
    name = f"{_STATISTICS}-{calibration.statistics[:12]}.npz"
    verify(folder, FileEntry(name=name, sha256=calibration.statistics))
    return calibration, QueryStatistics.load(folder / name, dimensions)


def remove_calibration(folder: Path) -> None:
    """Let the paper's preset decide again."""
    (folder / CALIBRATION).unlink(missing_ok=True)
    for path in _statistics_in(folder):
        path.unlink(missing_ok=True)


def _statistics_in(folder: Path) -> set[Path]:
    return set(folder.glob(f"{_STATISTICS}-*.npz"))
