"""The inference service over a shelf of bundles, in this process."""

from __future__ import annotations

import threading

from fastapi.testclient import TestClient

from services.inference.app import build_app
from services.inference.live_ads import Upkeep
from services.inference.settings import InferenceSettings
from shared.contracts.document import Document
from tests.support import generations
from tests.support.encoders import BagOfWordsEncoder
from tests.support.generations import Shelf

TITLES = ("red wine", "white wine", "fishing boat", "kitchen knife")


def bundle(name: str, titles: tuple[str, ...] = TITLES) -> generations.Generation:
    ads = [Document(id=title.replace(" ", "-"), title=title, text="x") for title in titles]
    return generations.generation(name, ads, metrics={"recall@100": 0.5})


def client_of(
    shelf: Shelf, settings: InferenceSettings | None = None, upkeep: Upkeep | None = None
) -> TestClient:
    settings = settings or InferenceSettings(timeout_ms=60_000)
    app = build_app(settings, shelf.generations(upkeep))
    return TestClient(app, raise_server_exceptions=False)


class HeldEncoder(BagOfWordsEncoder):
    """Encodes queries when the gate opens; not before `hold`."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.entered = threading.Event(), threading.Semaphore(0)
        self.holds = False
        self.asked = 0

    def forward(self, rows: list[list[int]]) -> object:
        if self.holds:
            self.asked += 1
            self.entered.release()
            assert self.gate.wait(30)
        return super().forward(rows)
