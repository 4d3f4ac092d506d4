"""Our worker, whose main loop hangs while a file (`SKIM_HANG`) is there: `celery -A tests.support.hanging_worker worker`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from celery import bootsteps

from services.augmentation.tasks import app

__all__ = ["app"]


class Hangs(bootsteps.StartStopStep):
    requires = ("celery.worker.components:Timer",)

    def start(self, parent: Any) -> None:  # noqa: ANN401
        parent.timer.call_repeatedly(0.2, _hang, (Path(os.environ["SKIM_HANG"]),))


def _hang(file: Path) -> None:
    while file.exists():
        time.sleep(0.05)


app.steps["worker"].add(Hangs)
