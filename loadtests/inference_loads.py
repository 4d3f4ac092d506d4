"""What a running inference service is asked by the benchmark: by one and by many, past what it can, and while bundles switch."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx
import numpy as np

from loadtests import closed_loop, open_loop

_SWAP_RATE, _SWAP_TURNS = 300.0, 2

Figures = dict[str, str | int | float | None]
Address = tuple[str, int]


@dataclass
class Loads:
    """What one and sixteen connections saw, and twice what sixteen could, in turns."""

    one: list[float] = field(default_factory=list)
    hundred: list[float] = field(default_factory=list)
    sixteen: list[float] = field(default_factory=list)
    overload: list[float] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)
    """Milliseconds, as the others."""
    peak_seconds: float = 0.0
    goodput: list[float] = field(default_factory=list)
    """Of each overload, answers a second."""
    errors: int = 0
    overload_errors: int = 0

    def take_turn(
        self, address: Address, requests: Sequence[bytes], many: Sequence[bytes], seconds: float
    ) -> None:
        """Load the service for `seconds` each way."""
        one, hundred, sixteen = (
            closed_loop.run(address, asked, connections=connections, seconds=seconds)
            for asked, connections in ((requests, 1), (many, 1), (requests, 16))
        )
        rate = 2 * sixteen.requests_per_second
        twice = open_loop.run(address, requests, per_second=rate, seconds=seconds)
        self.one += one.latencies_ms
        self.hundred += hundred.latencies_ms
        self.sixteen += sixteen.latencies_ms
        self.overload += twice.latencies_ms
        self.refusals += twice.refusals_ms
        self.peak_seconds += sixteen.seconds
        self.goodput.append(twice.goodput)
        self.errors += one.errors + hundred.errors + sixteen.errors
        self.overload_errors += twice.errors

    def figures(self) -> Figures:
        """Return what was seen in all turns."""
        peak = len(self.sixteen) / self.peak_seconds
        return {
            "c1_p50_ms": percentile(self.one, 50),
            "c1_p99_ms": percentile(self.one, 99),
            "c1_k100_p50_ms": percentile(self.hundred, 50),
            "c16_rps": round(peak, 1),
            "c16_p50_ms": percentile(self.sixteen, 50),
            "c16_p99_ms": percentile(self.sixteen, 99),
            "errors": self.errors,
            "overload_goodput": round(float(np.mean(self.goodput)) / peak, 3),
            "overload_p99_ms": percentile(self.overload, 99),
            "reject_ms_p50": percentile(self.refusals, 50),
            "reject_ms_p99": percentile(self.refusals, 99),
            "overload_errors": self.overload_errors,
        }


def open_at(
    address: Address, requests: Sequence[bytes], seconds: float, name: str, per_second: float
) -> Figures:
    """Return what queries at their own times see, so many a second, under names that begin with `name`."""
    load = open_loop.run(address, requests, per_second=per_second, seconds=seconds)
    return {
        f"{name}_per_second": round(per_second, 1),
        f"{name}_p50_ms": percentile(load.latencies_ms, 50),
        f"{name}_p99_ms": percentile(load.latencies_ms, 99),
        f"{name}_errors": load.errors + len(load.refusals_ms),
    }


def swap(address: Address, requests: Sequence[bytes], seconds: float) -> Figures:
    """Switch bundles and add ads under load, and compare with the same load without either, twice in turn."""
    quiet_ms: list[float] = []
    busy_ms: list[float] = []
    switched: list[float] = []
    failures, each = 0, seconds / 2 / _SWAP_TURNS
    for turn in range(_SWAP_TURNS):
        quiet = open_loop.run(
            address, requests, per_second=_SWAP_RATE, seconds=each, seed=2 * turn
        )
        worker = threading.Thread(target=_change_all, args=(address, switched))
        busy = open_loop.run(
            address,
            requests,
            per_second=_SWAP_RATE,
            seconds=each,
            seed=2 * turn + 1,
            halfway=worker.start,
        )
        worker.join()
        quiet_ms += quiet.latencies_ms
        busy_ms += busy.latencies_ms
        failures += busy.errors + len(busy.refusals_ms)
    before, after = (percentile(seen, 99) for seen in (quiet_ms, busy_ms))
    return {
        "swap_failures": failures,
        "swap_p99_ms": after,
        "swap_p99_ratio": round(after / before, 2) if before and after else None,
        "swap_seconds": round(max(switched), 2) if switched else None,
    }


def _change_all(address: Address, switched: list[float]) -> None:
    with httpx.Client(base_url=f"http://{address[0]}:{address[1]}", timeout=60.0) as client:
        client.put("/v1/ads", json=[{"id": "new", "title": "a new thing"}]).raise_for_status()
        other = next(
            (
                each
                for each in client.get("/v1/bundles").json()["bundles"]
                if not each["is_served"]
            ),
            None,
        )
        started = time.perf_counter()
        path = f"/v1/bundles/{other['version']}:activate" if other else "/v1/bundles:reload"
        client.post(path).raise_for_status()
        switched.append(time.perf_counter() - started)
        client.delete("/v1/ads/new").raise_for_status()


def percentile(milliseconds: Sequence[float], percent: float) -> float | None:
    """Return it to the microsecond; None of nothing."""
    return round(float(np.percentile(milliseconds, percent)), 3) if milliseconds else None
