"""What takes seconds to make, made once: tiny models, a Redis server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from hypothesis import settings

from shared.store import RedisStore
from shared.store.server import RedisServer


def pytest_configure() -> None:
    """Let numpy and torch compute in one thread: over models of kilobytes, threads do nothing but wait for each other.

    No example has a time limit: a busy machine makes none wrong.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports them
    settings.register_profile("untimed", deadline=None)
    settings.load_profile("untimed")


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a BERT as torch loads it, which `tiny_encoder` is made of."""
    from tests.support.tiny_models import write_encoder

    return write_encoder(tmp_path_factory.mktemp("bert") / "tiny")


@pytest.fixture(scope="session")
def tiny_encoder(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a sentence encoder as the services load it."""
    from services.training.encoder_export import export_encoder

    folder = tmp_path_factory.mktemp("encoder") / "encoder"
    export_encoder(tiny_bert, folder, precision="fp32")
    return folder


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a language model as torch loads it, which `tiny_slm` is made of."""
    from tests.support.tiny_models import write_language_model

    return write_language_model(tmp_path_factory.mktemp("llama") / "tiny")


@pytest.fixture(scope="session")
def tiny_slm(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an SLM as the generation service loads it; it writes noise."""
    from services.training.distillation.export import export_language_model

    folder = tmp_path_factory.mktemp("slm") / "slm"
    export_language_model(tiny_llama, folder, name="tiny", adapter="none")
    return folder


@pytest.fixture(scope="session")
def tiny_slm_fp32(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the same in float32, which others are compared with."""
    from services.training.distillation.export import ExportSettings, export_language_model

    folder = tmp_path_factory.mktemp("slm-fp32") / "slm"
    settings = ExportSettings(precision="fp32")
    export_language_model(tiny_llama, folder, name="tiny", adapter="none", settings=settings)
    return folder


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    folder: Path = tmp_path_factory.mktemp("redis")
    with RedisServer(folder) as server:
        yield server


@pytest.fixture
def redis_client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_server.url, decode_responses=True) as client:
        client.flushall()
        yield client


@pytest.fixture
def redis_store(redis_client: redis.Redis) -> RedisStore:
    return RedisStore(redis_client)
