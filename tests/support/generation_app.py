"""What tests ask of the generation service's application, and what they read from its metrics."""

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

PATH = "/v1/generate"
NDJSON = {"accept": "application/x-ndjson"}


def body(*titles: str, **more: object) -> dict[str, object]:
    return {"documents": [{"id": title, "title": title} for title in titles], **more}


def value(app: FastAPI, name: str, **labels: str) -> float:
    registry: CollectorRegistry = app.state.registry
    found = registry.get_sample_value(f"skim_generation_{name}", labels)
    assert found is not None, f"no metric {name} {labels}"
    return found
