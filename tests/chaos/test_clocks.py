import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from services.cli.processes import wait_until
from shared.store.server import RedisServer
from tests.support import clocks

_TELL = """
import sys, time, datetime
for _ in sys.stdin:
    now = datetime.datetime.now(datetime.UTC)
    print(time.time(), time.time_ns() / 1e9, now.timestamp(), isinstance(now, datetime.datetime), time.monotonic())
    sys.stdout.flush()
"""


@pytest.mark.parametrize("seconds", [clocks.DAY, -clocks.DAY, 0])
def test_the_wall_clock_of_a_process_jumps_while_it_runs(tmp_path: Path, seconds: int) -> None:
    clocks.jump(tmp_path / "clock", 0)
    with subprocess.Popen(  # noqa: S603  (our own command)
        [sys.executable, "-c", _TELL],
        env={**os.environ, **clocks.of_processes(tmp_path / "clock")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        before = process.stdout.readline().split()
        clocks.jump(tmp_path / "clock", seconds)
        process.stdin.write("\n")
        process.stdin.close()
        after = process.stdout.readline().split()

    for told in after[:3]:
        assert float(told) == pytest.approx(time.time() + seconds, abs=30)
    assert before[3] == after[3] == "True"
    assert 0 <= float(after[4]) - float(before[4]) < 30


def test_the_clock_of_a_redis_server_jumps_while_it_runs(tmp_path: Path) -> None:
    if why_not := clocks.why_no_server_clock_jumps():
        pytest.skip(why_not)
    file = tmp_path / "clock"
    clocks.jump(file, 0)
    with (
        RedisServer(tmp_path / "redis", environment=clocks.of_a_server(file)) as server,
        redis.Redis.from_url(server.url) as client,
    ):

        def is_off_by(seconds: int) -> bool:
            told = client.time()
            return abs(told[0] - time.time() - seconds) < 30

        assert wait_until(lambda: is_off_by(0), 10.0)
        for seconds in (clocks.DAY, -clocks.DAY, 0):
            clocks.jump(file, seconds)
            assert wait_until(lambda seconds=seconds: is_off_by(seconds), 10.0)
