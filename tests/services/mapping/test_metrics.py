import math
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry

from services.mapping import recall_canary
from services.mapping.app import build_app
from services.mapping.index_builder import build_index
from services.mapping.metrics import MappingMetrics
from services.mapping.recall_canary import measure
from services.mapping.serving import serve_index
from services.mapping.settings import MappingSettings
from shared.contracts.mapping import MapDocument
from shared.dataset import Query
from tests.support.encoders import BagOfWordsEncoder

SETTINGS = MappingSettings(canary_seconds=0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    queries = [
        Query(id=text.replace(" ", "-"), text=text) for text in ("red wine", "fishing boat")
    ]
    build_index(queries, BagOfWordsEncoder(), tmp_path, lambda *_: None)
    return tmp_path


def page_after(folder: Path, *queries: str) -> str:
    served = serve_index(folder, BagOfWordsEncoder(), SETTINGS)
    body = {"documents": [{"document_id": "d", "queries": list(queries)}]}
    with TestClient(build_app(SETTINGS, lambda: served)) as client:
        client.post("/v1/map", json=body).raise_for_status()
        return client.get("/metrics").text


def test_what_reaches_tau_and_what_does_not_is_counted(folder: Path) -> None:
    page = page_after(folder, "old red wine")

    assert 'skim_mapping_neighbours_total{outcome="reached"} 1.0' in page
    assert 'skim_mapping_neighbours_total{outcome="below"} 1.0' in page
    assert 'skim_mapping_candidates_total{outcome="accepted",rule="preset"} 1.0' in page
    assert 'skim_mapping_candidates_total{outcome="rejected",rule="preset"} 0.0' in page
    assert "skim_mapping_label_similarity_count 1.0" in page


def test_a_document_without_labels_is_counted_as_such(folder: Path) -> None:
    page = page_after(folder, "green tea")

    assert 'skim_mapping_documents_total{outcome="unlabelled"} 1.0' in page
    assert 'skim_mapping_documents_total{outcome="labelled"}' not in page


def test_the_stages_of_a_request_are_timed(folder: Path) -> None:
    page = page_after(folder, "red wine")

    assert 'skim_mapping_stage_seconds_count{stage="queue"} 1.0' in page
    assert 'skim_mapping_stage_seconds_count{stage="map"} 1.0' in page


def test_the_canary_says_what_the_index_finds(folder: Path) -> None:
    registry = CollectorRegistry()
    metrics = MappingMetrics(registry)
    before = registry.get_sample_value("skim_mapping_index_recall")

    measure(serve_index(folder, BagOfWordsEncoder(), SETTINGS), metrics)

    assert before is not None
    assert math.isnan(before)
    assert registry.get_sample_value("skim_mapping_index_recall") == 1
    assert registry.get_sample_value("skim_mapping_train_queries") == 2


def test_the_canary_looks_from_what_was_mapped_last(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve_index(folder, BagOfWordsEncoder(), SETTINGS)
    asked = [f"wine {number}" for number in range(40)]
    served.mapper.encoder.encode(["a description of a document"], max_tokens=128)
    served.mapper.map([MapDocument(document_id="d", queries=asked)])
    looked: list[np.ndarray] = []
    monkeypatch.setattr(
        recall_canary,
        "recall_above_tau",
        lambda index, vectors, k: looked.append(vectors) or 0.75,
    )

    registry = CollectorRegistry()
    measure(served, MappingMetrics(registry))

    assert np.array_equal(looked[0], BagOfWordsEncoder().encode(asked[:7:-1]))
    assert registry.get_sample_value("skim_mapping_index_recall") == 0.75


def test_the_canary_measures_once_the_service_runs(folder: Path) -> None:
    served = serve_index(folder, BagOfWordsEncoder(), SETTINGS)
    settings = MappingSettings(canary_seconds=3_600)
    app = build_app(settings, lambda: served)

    with TestClient(app) as client:
        pages = (client.get("/metrics").text for _ in range(1_000))
        measured = any("skim_mapping_index_recall 1.0" in page for page in pages)

    assert measured
