"""How requests fare while an index is swapped in: `python -m loadtests.mapping_swap FOLDER`.

The folder holds an index (`loadtests.mapping --keep FOLDER`); a service of its own loads it, and twice more beside
requests.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx

from loadtests import results
from loadtests.mapping_texts import texts
from loadtests.service import running
from shared.settings import CommonSettings

_REQUESTERS = 4


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of an index")
    options = parser.parse_args()
    print(json.dumps(swap(CommonSettings(), options.folder, texts().asked_texts)))


def swap(common: CommonSettings, folder: Path, asked: Sequence[str]) -> dict[str, results.Value]:
    """Return how requests fare while an index of that size is swapped in twice, and how long that takes."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        (home / "models").symlink_to(common.models.resolve())
        shutil.copytree(folder, home / "mapping", copy_function=os.link)
        with running("mapping", home, start_seconds=600) as (host, port):
            base = f"http://{host}:{port}"
            quiet = _requests(base, asked, lambda: time.sleep(5))
            started = time.perf_counter()
            during = _requests(base, asked, lambda: _reload(base, times=2))
            seconds = (time.perf_counter() - started) / 2
    latencies = sorted(each for each in during if each is not None)
    calm = sorted(each for each in quiet if each is not None)
    return {
        "swap_seconds": round(seconds, 1),
        "swap_requests": len(during),
        "swap_failures": sum(each is None for each in during),
        "swap_latency_ms_p50": round(1e3 * latencies[len(latencies) // 2], 1),
        "swap_latency_ms_max": round(1e3 * latencies[-1], 1),
        "calm_latency_ms_p50": round(1e3 * calm[len(calm) // 2], 1),
        "calm_latency_ms_max": round(1e3 * calm[-1], 1),
    }


def _reload(base: str, times: int) -> None:
    for _ in range(times):
        answer = httpx.post(f"{base}/v1/index:reload", timeout=600.0, trust_env=False)
        answer.raise_for_status()


def _requests(base: str, asked: Sequence[str], body: Callable[[], object]) -> list[float | None]:
    """Ask from a few threads until the body is over; return seconds, None for what failed."""
    over = threading.Event()
    seconds: list[float | None] = []

    def _ask(number: int) -> None:
        with httpx.Client(timeout=30.0, trust_env=False) as client:
            position = number
            while not over.is_set():
                queries = [asked[(position + place) % len(asked)] for place in range(4)]
                document = {"document_id": "d", "queries": queries}
                started = time.perf_counter()
                try:
                    answer = client.post(f"{base}/v1/map", json={"documents": [document]})
                    is_right = answer.status_code == httpx.codes.OK
                except httpx.HTTPError:
                    is_right = False
                seconds.append(time.perf_counter() - started if is_right else None)
                position += 4 * _REQUESTERS
                over.wait(0.02)

    threads = [threading.Thread(target=_ask, args=(4 * number,)) for number in range(_REQUESTERS)]
    for thread in threads:
        thread.start()
    body()
    over.set()
    for thread in threads:
        thread.join()
    return seconds


if __name__ == "__main__":
    main()
