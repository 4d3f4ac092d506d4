"""Line plots with interval bands: figures in, coordinates of an SVG out. No script, no plotting library.

A plot says the same in its colours, its dashes and its markers, so that it can be read without colours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT = 400, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 386, 12, 224
_STEPS = (1, 2, 5, 10, 20, 25)
_MOST_TICKS = 6
_MARKER = 4.0
STYLES = 4
"""Colours, dashes and markers differ for so many series; then they begin again."""


@dataclass(frozen=True)
class Series:
    """A line: y over x, with the bounds of an interval where there are any."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    """In percent."""
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclass(frozen=True)
class Plot:
    """What is drawn. `is_log` spaces x by its logarithm; x is then above 0."""

    title: str
    description: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    is_log: bool = False


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where, in the SVG's units, and its text."""

    at: float
    text: str


@dataclass(frozen=True)
class Line:
    """A series as the SVG draws it; each path in the units of the view box."""

    name: str
    style: int
    path: str
    band: str
    markers: Sequence[str]


@dataclass(frozen=True)
class Drawing:
    """Everything the SVG template needs."""

    plot: Plot
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    lines: Sequence[Line]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = _RIGHT
    top: int = _TOP
    bottom: int = _BOTTOM
    middle: float = field(default=(_LEFT + _RIGHT) / 2)
    centre: float = field(default=(_TOP + _BOTTOM) / 2)


def draw(plot: Plot) -> Drawing:
    """Return the coordinates of a plot.

    Args:
        plot: at least one series has a point.
    """
    xs = sorted({x for series in plot.series for x in series.x})
    bottom, top, step = _y_range(
        [y for series in plot.series for y in (*series.y, *series.low, *series.high)]
    )

    def _x(x: float) -> float:
        start, end = _scaled(xs[0], plot), _scaled(xs[-1], plot)
        share = (_scaled(x, plot) - start) / (end - start) if end > start else 0.5
        return round(_LEFT + 10 + share * (_RIGHT - _LEFT - 20), 1)

    def _y(y: float) -> float:
        return round(_BOTTOM - (y - bottom) / (top - bottom) * (_BOTTOM - _TOP), 1)

    lines = [
        Line(
            name=series.name,
            style=number % STYLES,
            path=_path([(_x(x), _y(y)) for x, y in zip(series.x, series.y, strict=True)]),
            band=_band(
                [(_x(x), _y(y)) for x, y in zip(series.x, series.low, strict=False)],
                [(_x(x), _y(y)) for x, y in zip(series.x, series.high, strict=False)],
            ),
            markers=[
                marker(number % STYLES, _x(x), _y(y))
                for x, y in zip(series.x, series.y, strict=True)
            ],
        )
        for number, series in enumerate(plot.series)
    ]
    y_ticks = [Tick(_y(value), f"{value:g}") for value in _steps_between(bottom, top, step)]
    return Drawing(plot, [Tick(_x(x), f"{x:g}") for x in xs], y_ticks, lines)


def marker(style: int, x: float, y: float) -> str:
    """Return the path of a style's marker: square, diamond, triangle or cross-free circle."""
    r = _MARKER
    if style == 0:
        return f"M{x - r:g} {y:g}a{r:g} {r:g} 0 1 0 {2 * r:g} 0a{r:g} {r:g} 0 1 0 {-2 * r:g} 0z"
    if style == 1:
        return f"M{x - r:g} {y - r:g}h{2 * r:g}v{2 * r:g}h{-2 * r:g}z"
    if style == 2:
        return (
            f"M{x:g} {y - r - 1:g}l{r + 1:g} {r + 1:g}l{-r - 1:g} {r + 1:g}l{-r - 1:g} {-r - 1:g}z"
        )
    return f"M{x:g} {y - r - 1:g}l{r + 1:g} {2 * r:g}h{-2 * r - 2:g}z"


def _scaled(x: float, plot: Plot) -> float:
    return math.log(x) if plot.is_log else x


def _y_range(values: Sequence[float]) -> tuple[float, float, float]:
    """Return (bottom, top, step) of whole steps around the values, at most six ticks."""
    low, high = min(values), max(values)
    for step in _STEPS:
        bottom, top = step * math.floor(low / step), step * math.ceil(high / step)
        top = max(top, bottom + step)
        if (top - bottom) / step < _MOST_TICKS:
            return bottom, top, step
    return bottom, top, step


def _steps_between(bottom: float, top: float, step: float) -> list[float]:
    return [bottom + number * step for number in range(round((top - bottom) / step) + 1)]


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points) if points else ""


def _band(low: Sequence[tuple[float, float]], high: Sequence[tuple[float, float]]) -> str:
    return f"{_path([*high, *reversed(low)])}z" if low and high else ""
