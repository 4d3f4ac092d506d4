"""Who goes first among the threads of the service: the event loop, whose work takes microseconds."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

_NICE = 10
"""On top of the process's. A session, container or unit of its own keeps it among the threads of the process."""


def let_the_event_loop_go_first() -> None:
    """Put this thread behind the event loop; every one that does more than a moment's work must be, or it goes before those that are."""
    if sys.platform == "linux":  # elsewhere a thread has no niceness of its own
        thread = threading.get_native_id()
        with suppress(OSError):  # it may not
            os.setpriority(
                os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICE
            )
