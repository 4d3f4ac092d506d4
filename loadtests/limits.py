"""What a load test promises, and which of it was broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """A run past one of these fails; a latency is None where its flow was not asked for."""

    failed_percent: float
    ads_p99_ms: float | None
    job_p95_seconds: float | None


@dataclass(frozen=True)
class Observed:
    """What a run saw; a latency is None where its flow never finished a request."""

    requests: int
    failed: int
    ads_p99_ms: float | None
    job_p95_seconds: float | None


def broken(observed: Observed, limits: Limits) -> Sequence[str]:
    """Return one line a broken promise, with both numbers; none means passed."""
    if not observed.requests:
        return ["no request was answered"]
    lines = []
    failed_percent = 100 * observed.failed / observed.requests
    if failed_percent > limits.failed_percent:
        lines.append(f"{failed_percent:.2f} % failed, at most {limits.failed_percent:g} % may")
    ads, job = observed.ads_p99_ms, observed.job_p95_seconds
    if limits.ads_p99_ms is not None:
        if ads is None:
            lines.append("no question for ads was answered")
        elif ads > limits.ads_p99_ms:
            lines.append(f"ads took {ads:g} ms at p99, limit {limits.ads_p99_ms:g}")
    if limits.job_p95_seconds is not None:
        if job is None:
            lines.append("no job was finished")
        elif job > limits.job_p95_seconds:
            lines.append(f"jobs took {job:g} s at p95, limit {limits.job_p95_seconds:g}")
    return lines
