"""A teacher asked about thirty documents, run after run over the same files."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from services.training.distillation.budget import Budget, Cost, Limits
from services.training.distillation.journal import Journal
from services.training.distillation.settings import TeacherSettings
from services.training.distillation.teacher import TeacherClient
from services.training.distillation.teacher_data import TeacherAnswer
from services.training.distillation.teacher_prompts import Flavour, TeacherPrompts
from services.training.distillation.teacher_run import Outcome, Standing, TeacherRun
from shared.contracts.document import Document
from shared.dataset import Dataset, Query
from tests.support.teacher import KEY, FakeClock

DOCUMENTS = [Document(id=f"d{n}", title=f"thing {n}", text="of oak") for n in range(30)]
DATASET = Dataset(
    DOCUMENTS,
    [Query(id="q1", text="oak things"), Query(id="q2", text="zebrawood", split="test")],
    {"q1": {"d1": 1.0}, "q2": {"d1": 5.0, "d2": 5.0}},
    {"q2": {"d1": 1.0}},
)


class Asking:
    """Runs of a teacher over the same files."""

    def __init__(self, folder: Path) -> None:
        self.answers = folder / "answers.jsonl"
        self.calls = folder / "answers.calls.jsonl"
        self.clock = FakeClock()
        self.told: list[Standing] = []

    def run(
        self,
        teacher: httpx.AsyncBaseTransport,
        limits: Limits | None = None,
        limit: int | None = None,
        **values: object,
    ) -> Outcome:
        settings = TeacherSettings.model_validate(
            {"base_url": "http://teacher.test", "api_key": KEY, "model": "big"}
            | {"concurrency": 4, "attempts": 3, "price_in": 10.0, "price_out": 100.0}
            | values
        )
        return asyncio.run(self._run(teacher, settings, limits or Limits(), limit))

    async def _run(
        self,
        teacher: httpx.AsyncBaseTransport,
        settings: TeacherSettings,
        limits: Limits,
        limit: int | None,
    ) -> Outcome:
        with (
            Journal(self.calls, Cost, key=None) as calls,
            Journal(self.answers, TeacherAnswer) as answers,
        ):
            costs = [row.cost for row in answers.rows() if row.cost is not None]
            async with TeacherClient(settings, transport=teacher) as client:
                run = TeacherRun(
                    client,
                    settings,
                    answers,
                    Budget(limits, calls, costs),
                    clock=self.clock,
                    tell=self.told.append,
                )
                return await run.ask(TeacherPrompts(DATASET, Flavour.SEARCH), limit)

    def rows(self) -> list[TeacherAnswer]:
        with Journal(self.answers, TeacherAnswer) as answers:
            return list(answers.rows())
