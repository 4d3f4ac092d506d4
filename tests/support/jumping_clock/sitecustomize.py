"""Put first on PYTHONPATH: the wall clock of the process is off by the seconds that a file says, read again each time.

What counts seconds (`time.monotonic`) and the other processes' clocks stay as they are.
"""

from __future__ import annotations

import datetime as datetime_module
import os
import time
from typing import Any

VARIABLE = "SKIM_JUMPING_CLOCK"
"""Environment variable: the file."""
_time, _time_ns = time.time, time.time_ns
_datetime = datetime_module.datetime


def _offset() -> int:
    try:
        with open(os.environ[VARIABLE]) as file:
            return int(file.read() or 0)
    except OSError:
        return 0


class _AnyDatetime(type(_datetime)):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _datetime)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, _datetime)


class _Datetime(_datetime, metaclass=_AnyDatetime):
    __slots__ = ()

    @classmethod
    def now(cls, tz: datetime_module.tzinfo | None = None) -> Any:  # noqa: ANN401
        return _datetime.now(tz) + datetime_module.timedelta(seconds=_offset())

    @classmethod
    def utcnow(cls) -> Any:  # noqa: ANN401
        return _datetime.now(datetime_module.UTC).replace(tzinfo=None) + datetime_module.timedelta(
            seconds=_offset()
        )


if VARIABLE in os.environ:
    time.time = lambda: _time() + _offset()
    time.time_ns = lambda: _time_ns() + _offset() * 10**9
    datetime_module.datetime = _Datetime  # type: ignore[misc]
