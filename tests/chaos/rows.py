"""The faults: each row is what is done to a suite while documents are posted to it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from shared.contracts.document import Document
from shared.store.server import RedisServer
from tests.chaos.documents import CRASH, FLOOD, HANG, KILL, STOP, poison_of
from tests.chaos.suite import QUEUE, Part, Server, Suite
from tests.support import clocks
from tests.support.sentinels import WatchedRedis

_CLOCK = "clock"
Fault = Callable[[Suite], None]


@dataclass(frozen=True)
class Row:
    """What is done, how often, to which suite, with which documents beside the ordinary ones.

    Args:
        fault: one of it.
        also: others that follow each of it.
        times: in all, each once the workers are busy again.
        poison: documents that have to end as dead letters.
        apis: processes of the augmentation service.
        sweepers: processes of the sweeper.
        seconds: faults go on for so long, however many; 0: `times` says it.
        seconds_per_fault: documents are posted for so long, times the number of faults.
        share: of ordinary documents, in multiples of the asked number.
        pause_seconds: between two faults.
        server: makes Redis in the row's folder, if not one server alone.
        environment: gives processes of ours more variables, for the row's folder.
        why_not: says what it needs that is not on this machine; empty if nothing.
    """

    fault: Fault
    times: int = 0
    also: Sequence[Fault] = ()
    poison: Sequence[Document] = ()
    apis: int = 1
    sweepers: int = 1
    seconds: float = 0.0
    seconds_per_fault: float = 2.5
    share: int = 1
    pause_seconds: float = 0.6
    server: Callable[[Path], Server] | None = None
    environment: Callable[[Path], Mapping[str, str]] | None = None
    why_not: Callable[[], str] = str


def _nothing(suite: Suite) -> None:
    suite.rest(0.1)


def _worker_group_kill(suite: Suite) -> None:
    suite.worker.kill()
    suite.worker.start()


def _pool_child_kill(suite: Suite) -> None:
    suite.kill_a_child()


def _redis_kill(suite: Suite) -> None:
    suite.redis.kill()
    suite.rest(0.5)
    suite.redis.start()


def _worker_term(suite: Suite) -> None:
    suite.worker.terminate(20.0)
    suite.worker.start()


def _down(part: Part, suite: Suite, seconds: float = 2.0) -> None:
    part.kill()
    suite.rest(seconds)
    part.start()


def _generation_down(suite: Suite) -> None:
    _down(suite.generation, suite)


def _mapping_down(suite: Suite) -> None:
    _down(suite.mapping, suite)


def _message_dropped(suite: Suite) -> None:
    with suppress(redis.RedisError):
        suite.client.rpop(QUEUE)


def _queue_flushed(suite: Suite) -> None:
    with suppress(redis.RedisError):
        suite.client.delete(QUEUE, "unacked", "unacked_index")


def _memory_full(suite: Suite) -> None:
    """Leave Redis no room for two seconds."""
    with suppress(redis.RedisError):
        info: Any = suite.client.info("memory")
        suite.client.config_set("maxmemory", max(int(info["used_memory"]) - 100_000, 1))
    suite.rest(2.0)
    with suppress(redis.RedisError):
        suite.client.config_set("maxmemory", 0)


def _sweepers_kept_busy(suite: Suite) -> None:
    _queue_flushed(suite)
    _pool_child_kill(suite)


def _api_kill(suite: Suite) -> None:
    _down(random.choice(suite.apis), suite, 0.2)


def _failover(suite: Suite) -> None:
    assert isinstance(suite.redis, WatchedRedis)
    suite.redis.fail_over()


def _clocks_jump(suite: Suite) -> None:
    """Set our processes' clocks a day ahead, a day back, and right again."""
    for seconds in (clocks.DAY, -clocks.DAY, 0):
        clocks.jump(suite.folder / _CLOCK, seconds)
        suite.rest(1.5)


def _redis_clock_jumps(suite: Suite) -> None:
    """Set Redis' own clock a day ahead or back, turn by turn; it is right at the end."""
    file = suite.folder / _CLOCK
    was = int(file.read_text())
    clocks.jump(file, {0: clocks.DAY, clocks.DAY: -clocks.DAY, -clocks.DAY: 0}[was])
    suite.rest(2.5)


def _server_with_a_jumping_clock(folder: Path) -> Server:
    environment = clocks.of_a_server(folder / _CLOCK)
    clocks.jump(folder / _CLOCK, 0)
    return RedisServer(folder / "redis", environment=environment)


def _anything(suite: Suite) -> None:
    faults: Sequence[Fault] = (
        _worker_group_kill,
        _pool_child_kill,
        _redis_kill,
        _worker_term,
        _generation_down,
        _mapping_down,
        _message_dropped,
        _queue_flushed,
        _memory_full,
        _api_kill,
    )
    random.choice(faults)(suite)
    time.sleep(random.random())


ROWS: Mapping[str, Row] = {
    "undisturbed": Row(_nothing),
    "worker_group_kill": Row(_worker_group_kill, 8),
    "pool_child_kill": Row(_pool_child_kill, 8),
    "redis_kill": Row(_redis_kill, 6),
    "worker_term": Row(_worker_term, 6, seconds_per_fault=10.0),
    "generation_down": Row(_generation_down, 4),
    "mapping_down": Row(_mapping_down, 4),
    "message_dropped": Row(_message_dropped, 12),
    "queue_flushed": Row(_queue_flushed, 4),
    "memory_full": Row(_memory_full, 3),
    "two_sweepers": Row(_sweepers_kept_busy, 6, sweepers=2),
    "two_api_processes": Row(_api_kill, 6, apis=2),
    "failover": Row(_failover, 2, seconds_per_fault=12.0, server=WatchedRedis),
    "clocks_jump": Row(
        _clocks_jump,
        4,
        seconds_per_fault=5.0,
        environment=lambda folder: clocks.of_processes(folder / _CLOCK),
    ),
    "redis_clock_jumps": Row(
        _redis_clock_jumps,
        6,
        seconds_per_fault=4.0,
        server=_server_with_a_jumping_clock,
        why_not=clocks.why_no_server_clock_jumps,
    ),
    "poison_kill": Row(_nothing, poison=[poison_of(KILL, 0), poison_of(KILL, 1)]),
    "poison_hang": Row(_nothing, poison=[poison_of(HANG), poison_of(STOP)]),
    "poison_overfeed": Row(_nothing, poison=[poison_of(FLOOD), poison_of(CRASH)]),
    "everything": Row(
        _anything, poison=[poison_of(KILL)], apis=2, sweepers=2, seconds=120.0, share=3
    ),
}
