"""Looks at a page as a person does: through every window, by day and by night."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WIDTHS = (1280, 390)
SCHEMES = ("light", "dark")
_OUTSIDE = """() => {
  const width = document.documentElement.clientWidth;
  const isScrolled = e => e.parentElement.closest(".wide");
  const isSeen = e => !e.closest(".hidden, .skip, thead") && e.getBoundingClientRect().width;
  const boxes = [...document.querySelectorAll("main *")].filter(e => isSeen(e) && !isScrolled(e));
  const outside = boxes.filter(e => e.getBoundingClientRect().right > width + 0.5);
  const page = document.documentElement.scrollWidth > width ? [`page is ${document.documentElement.scrollWidth}`] : [];
  const tables = [...document.querySelectorAll(".wide")].filter(e => e.scrollWidth > e.clientWidth + 1);
  return page.concat([...outside, ...tables].map(e => e.outerHTML.slice(0, 120)));
}"""
"""What is past the window's right edge, or past that of the box that a table scrolls in."""


def outside(page: Any, name: str, screenshots: Path) -> dict[str, list[str]]:  # noqa: ANN401
    """Return what does not fit, by width and scheme; each is photographed."""
    found = {}
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=screenshots / f"{name}-{width}-{scheme}.png", full_page=True)
            found[f"{width} {scheme}"] = page.evaluate(_OUTSIDE)
    return {where: what for where, what in found.items() if what}
