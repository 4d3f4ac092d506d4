"""What a filter means, ad by ad: the definition that `columns.py` is fast at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from shared.contracts.document import MetadataValue
from shared.contracts.inference import FILTER_CHARACTERS, Condition, FilterValue

Conditions = Mapping[str, Condition]
"""Metadata field -> what it must be."""
Element = bool | int | float | str


def conditions_of(wanted: Mapping[str, FilterValue | Condition]) -> Conditions:
    """Return a filter with all its values as conditions."""
    return {
        field: each if isinstance(each, Condition) else Condition(eq=each)
        for field, each in wanted.items()
    }


def matches(conditions: Conditions, metadata: Mapping[str, MetadataValue]) -> bool:
    """Say whether an ad of this metadata is what is wanted."""
    return all(
        field in metadata
        and any(element_matches(each, condition) for each in elements_of(metadata[field]))
        for field, condition in conditions.items()
    )


def elements_of(value: MetadataValue) -> Iterable[Element]:
    """Return what a condition is held against."""
    return value if isinstance(value, list) else (value,)


def element_matches(element: Element, condition: Condition) -> bool:
    """Say whether all of a condition holds of one value."""
    if isinstance(element, str) and len(element) > FILTER_CHARACTERS:
        return False
    if condition.eq is not None and not _equal(element, condition.eq):
        return False
    if condition.in_ is not None and not any(_equal(element, each) for each in condition.in_):
        return False
    bounds = (condition.gt, condition.gte, condition.lt, condition.lte)
    if all(bound is None for bound in bounds):
        return True
    if isinstance(element, bool):
        return False
    if isinstance(element, str):
        return all(bound is None or isinstance(bound, str) for bound in bounds) and _within(
            element, *bounds
        )
    if any(isinstance(bound, str) for bound in bounds):
        return False
    return _within(float(element), *(None if each is None else float(each) for each in bounds))


def _equal(one: Element, other: Element) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    return float(one) == float(other)


def _within(value, gt, gte, lt, lte) -> bool:  # type: ignore[no-untyped-def]  # noqa: ANN001  (all text, or all numbers)
    return (
        (gt is None or value > gt)
        and (gte is None or value >= gte)
        and (lt is None or value < lt)
        and (lte is None or value <= lte)
    )
