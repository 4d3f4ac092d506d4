"""The metadata of many ads by field, so that a filter is a few array operations and not a look at every ad."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from services.inference.filters import Conditions, elements_of
from shared.contracts.document import MetadataValue
from shared.contracts.inference import FILTER_CHARACTERS, Condition

_MASKS_KEPT = 16

Positions = NDArray[np.int32]
_Value = TypeVar("_Value", str, bool)
_ByValue = defaultdict[_Value, "array[int]"]


@dataclass(frozen=True)
class _Field:
    """The values of one field; an ad whose value is a list occurs once for each element."""

    numbers: NDArray[np.float64]
    numbers_at: Positions
    """Ad of each number."""
    texts: list[str]
    """Distinct, in order."""
    texts_at: Positions
    """Ads by text: those of text n are from `starts[n]` to `starts[n + 1]`."""
    starts: NDArray[np.int64]
    truths: Mapping[bool, Positions]

    def mark(self, condition: Condition, mask: NDArray[np.bool_]) -> None:
        """Set the ads that match."""
        bounds = (condition.gt, condition.gte, condition.lt, condition.lte)
        given = [bound for bound in bounds if bound is not None]
        if not given:
            self._mark_truths(condition, mask)
        if not any(isinstance(bound, str) for bound in given):
            self._mark_numbers(condition, mask)
        if all(isinstance(bound, str) for bound in given):
            self._mark_texts(condition, mask)

    def _mark_truths(self, condition: Condition, mask: NDArray[np.bool_]) -> None:
        for truth, positions in self.truths.items():
            if (condition.eq is None or condition.eq is truth) and (
                condition.in_ is None or any(each is truth for each in condition.in_)
            ):
                mask[positions] = True

    def _mark_numbers(self, condition: Condition, mask: NDArray[np.bool_]) -> None:
        numbers = self.numbers
        fits = np.ones(len(numbers), dtype=np.bool_)
        if condition.eq is not None:
            fits &= np.isin(numbers, _numbers_of([condition.eq]))
        if condition.in_ is not None:
            fits &= np.isin(numbers, _numbers_of(condition.in_))
        if condition.gt is not None:
            fits &= numbers > float(condition.gt)
        if condition.gte is not None:
            fits &= numbers >= float(condition.gte)
        if condition.lt is not None:
            fits &= numbers < float(condition.lt)
        if condition.lte is not None:
            fits &= numbers <= float(condition.lte)
        mask[self.numbers_at[fits]] = True

    def _mark_texts(self, condition: Condition, mask: NDArray[np.bool_]) -> None:
        first, last = 0, len(self.texts)
        if isinstance(condition.gt, str):
            first = max(first, bisect_right(self.texts, condition.gt))
        if isinstance(condition.gte, str):
            first = max(first, bisect_left(self.texts, condition.gte))
        if isinstance(condition.lt, str):
            last = min(last, bisect_left(self.texts, condition.lt))
        if isinstance(condition.lte, str):
            last = min(last, bisect_right(self.texts, condition.lte))
        if condition.eq is None and condition.in_ is None:
            if first < last:
                mask[self.texts_at[self.starts[first] : self.starts[last]]] = True
            return
        choices = [[condition.eq]] if condition.eq is not None else []
        choices += [condition.in_] if condition.in_ is not None else []
        wanted = set.intersection(
            *({each for each in some if isinstance(each, str)} for some in choices)
        )
        for text in wanted:
            place = bisect_left(self.texts, text)
            if first <= place < last and self.texts[place] == text:
                mask[self.texts_at[self.starts[place] : self.starts[place + 1]]] = True


class Columns:
    """The metadata of ads, by field. Never changes.

    Args:
        rows: of each ad, by position.
    """

    def __init__(self, rows: Iterable[Mapping[str, MetadataValue]]) -> None:
        # arrays, not lists: nothing for the collector to walk, and numpy takes them as they are
        numbers: dict[str, array[float]] = defaultdict(lambda: array("d"))
        numbers_at: _ByValue[str] = defaultdict(_new_positions)
        texts: dict[str, _ByValue[str]] = defaultdict(_by_value)
        truths: dict[str, _ByValue[bool]] = defaultdict(_by_value)
        self._size = 0
        for position, metadata in enumerate(rows):
            self._size += 1
            for field, value in metadata.items():
                for element in elements_of(value):
                    if isinstance(element, bool):
                        truths[field][element].append(position)
                    elif isinstance(element, str):
                        if len(element) <= FILTER_CHARACTERS:
                            texts[field][element].append(position)
                    else:
                        numbers[field].append(float(element))
                        numbers_at[field].append(position)
        self._fields = {
            field: _field_of(numbers[field], numbers_at[field], texts[field], truths[field])
            for field in {*numbers, *texts, *truths}
        }
        self._masks: dict[str, NDArray[np.bool_]] = {}

    def mask(self, conditions: Conditions) -> NDArray[np.bool_]:
        """Return (ads,) bool: which ads match all conditions. Not to be written to."""
        key = repr(sorted(conditions.items()))
        known = self._masks.get(key)
        if known is None:
            known = np.ones(self._size, dtype=np.bool_)
            for field, condition in conditions.items():
                of_field = np.zeros(self._size, dtype=np.bool_)
                if field in self._fields:
                    self._fields[field].mark(condition, of_field)
                known &= of_field
            if len(self._masks) >= _MASKS_KEPT:
                self._masks = {}
            self._masks[key] = known
        return known


def _new_positions() -> array[int]:
    return array("i")


def _by_value() -> _ByValue[Any]:
    return defaultdict(_new_positions)


def _field_of(
    numbers: array[float], numbers_at: array[int], texts: _ByValue[str], truths: _ByValue[bool]
) -> _Field:
    ordered = sorted(texts)
    at = array("i")
    for text in ordered:
        at.extend(texts[text])
    return _Field(
        np.array(numbers, dtype=np.float64),
        np.array(numbers_at, dtype=np.int32),
        ordered,
        np.array(at, dtype=np.int32),
        np.concatenate([[0], np.cumsum([len(texts[text]) for text in ordered])]).astype(np.int64),
        {truth: np.array(positions, dtype=np.int32) for truth, positions in truths.items()},
    )


def _numbers_of(values: Iterable[object]) -> NDArray[np.float64]:
    return np.array(
        [
            float(each)
            for each in values
            if isinstance(each, int | float) and not isinstance(each, bool)
        ],
        dtype=np.float64,
    )
