import pytest

from services.augmentation import tasks
from services.augmentation.augmenter import PAUSE_SECONDS
from services.augmentation.tasks import VISIBILITY_TIMEOUT, app, augment_batch, settings
from shared.store import MAX_TRIES, MemoryStore


def test_a_message_is_redelivered_only_after_its_task_must_be_over() -> None:
    conf = app.conf
    places = [
        conf.visibility_timeout,
        conf.broker_transport_options["visibility_timeout"],
        conf.result_backend_transport_options["visibility_timeout"],
    ]

    assert places == [VISIBILITY_TIMEOUT] * 3
    assert conf.task_soft_time_limit < conf.task_time_limit
    assert 2 * conf.task_time_limit < VISIBILITY_TIMEOUT
    assert augment_batch.default_retry_delay == PAUSE_SECONDS < VISIBILITY_TIMEOUT


def test_a_dead_worker_costs_no_message_and_a_deadly_message_ends() -> None:
    assert app.conf.task_acks_late
    assert app.conf.task_retry_on_worker_lost
    assert app.conf.task_reject_on_worker_lost
    assert augment_batch.max_retries == MAX_TRIES


def test_a_worker_takes_one_message_at_a_time_and_stops_softly() -> None:
    assert app.conf.worker_prefetch_multiplier == 1
    assert app.conf.worker_pool == "prefork"
    assert 0 < app.conf.worker_soft_shutdown_timeout < settings.task_seconds


def test_a_process_that_has_grown_is_replaced() -> None:
    assert app.conf.worker_max_memory_per_child == settings.memory_mb * 1024


def test_only_the_store_decides_how_often_something_is_tried() -> None:
    assert getattr(augment_batch, "autoretry_for", ()) == ()


def test_messages_are_json_only() -> None:
    conf = app.conf

    assert conf.accept_content == conf.result_accept_content == ["json"]
    assert {conf.task_serializer, conf.result_serializer, conf.event_serializer} == {"json"}


def test_where_queries_have_the_metadata_nothing_becomes_an_ad(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        tasks, "settings", settings.model_copy(update={"ads_url": "http://127.0.0.1:9"})
    )
    is_published = []
    for side in ("document", "query"):
        common = tasks.common.model_copy(update={"metadata_side": side})
        monkeypatch.setattr(tasks, "common", common)
        is_published.append(tasks.ad_publisher(MemoryStore()) is not None)

    assert is_published == [True, False]
