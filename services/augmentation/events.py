"""A job's progress as server-sent events: what changed, a comment now and then, and an end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from shared.contracts.augmentation import FINAL_STATES, Job
from shared.errors import NotFound, Unavailable

_RECONNECT_MILLISECONDS = 2_000
_DETAILS = {"errors", "refusals"}
"""Of a job, what is left out: it may be long, and would come again with every event."""


async def events_of(
    first: Job,
    read: Callable[[], Job],
    *,
    is_stopping: Callable[[], bool],
    pause_seconds: float,
    heartbeat_seconds: float,
) -> AsyncIterator[str]:
    """Yield a `job` event for each change of a job, to the one that says how it ended.

    Args:
        first: the job as it is now.
        read: looks again.
        is_stopping: whether the service is about to end; the stream does so then, and the client comes back.
        pause_seconds: between two looks.
        heartbeat_seconds: after so long without an event there is a comment, so that nobody in between hangs up.
    """
    yield f"retry: {_RECONNECT_MILLISECONDS}\n\n"
    job, said = first, _event_of(first)
    yield said
    spoke_at = time.monotonic()
    while job.state not in FINAL_STATES and not is_stopping():
        await asyncio.sleep(pause_seconds)
        try:
            job = await asyncio.to_thread(read)
        except NotFound:
            return
        except Unavailable:
            pass  # it is looked at again; until then the heartbeat goes on
        if (event := _event_of(job)) != said:
            said = event
            yield said
        elif time.monotonic() - spoke_at < heartbeat_seconds:
            continue
        else:
            yield ": heartbeat\n\n"
        spoke_at = time.monotonic()


def _event_of(job: Job) -> str:
    return f"event: job\ndata: {job.model_dump_json(exclude=_DETAILS)}\n\n"
