"""What takes seconds to make, made once: tiny models, a Redis server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from shared.store import RedisStore
from shared.store.server import RedisServer


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a sentence encoder as the services load it."""
    from services.training.encoder_export import export_encoder
    from tests.support.tiny_models import write_encoder

    root = tmp_path_factory.mktemp("encoder")
    export_encoder(write_encoder(root / "tiny"), root / "encoder", precision="fp32")
    return root / "encoder"


@pytest.fixture(scope="session")
def tiny_slm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an SLM as the generation service loads it; it writes noise."""
    from services.training.distillation.export import export_language_model
    from tests.support.tiny_models import write_language_model

    root = tmp_path_factory.mktemp("slm")
    source = write_language_model(root / "tiny")
    export_language_model(source, root / "slm", name="tiny", adapter="none")
    return root / "slm"


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
