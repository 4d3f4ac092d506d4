"""Enough of PromQL to say which metrics an expression asks for, and by which labels."""

from __future__ import annotations

import re
from collections.abc import Iterator

_ASKED = re.compile(r"\b(up|(?:skim|process)_\w+|slo:[\w:]+)(?:\{([^}]*)\})?")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_TARGET_LABELS = {"job", "instance", "slo"}


def unknown_in(expression: str, series: dict[str, set[str]]) -> Iterator[str]:
    """Yield the metrics, and labels of selectors, of an expression that nothing has.

    Args:
        expression: PromQL.
        series: name -> labels of what there is; `process_*` is the client library's.
    """
    asked = _ASKED.findall(expression)
    if not asked:
        yield f"no metric in {expression}"
    for name, selector in asked:
        if name.startswith("process_"):
            continue
        if name not in series:
            yield name
            continue
        for label in set(_LABEL.findall(selector)) - _TARGET_LABELS - series[name]:
            yield f"{name}{{{label}}}"
