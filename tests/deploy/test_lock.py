"""The lock review: what is installed is what was written down, each at one version, and nothing else.

An advisory service may be out of reach where this runs; where it is not: `pipx run pip-audit -r deploy/constraints.txt`.
"""

import re
import tomllib
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[2]
LINES = [
    line
    for line in (REPOSITORY / "deploy/constraints.txt").read_text().splitlines()
    if not line.startswith("#")
]
LOCK = {canonicalize_name(line.split("==")[0]): line.split("==")[-1] for line in LINES}
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
INSTALLED: dict[str, Distribution] = {
    canonicalize_name(each.metadata["Name"]): each for each in distributions()
}
TOOLS_OF_VENV = {"pip", "setuptools", "wheel"}
OURS = "skim"


def direct() -> list[Requirement]:
    """Return what pyproject.toml asks for, all extras together."""
    project = PROJECT["project"]
    extras = [each for extra in project["optional-dependencies"].values() for each in extra]
    wanted = [Requirement(each) for each in [*project["dependencies"], *extras]]
    return [each for each in wanted if each.name != OURS]


def reached() -> set[str]:
    """Return all packages that our requirements lead to, by what the installed ones say they need."""
    names: set[str] = set()
    todo = [(canonicalize_name(each.name), frozenset(each.extras)) for each in direct()]
    seen = set()
    while todo:
        name, extras = todo.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        names.add(name)
        for needed in map(
            Requirement, INSTALLED[name].requires or [] if name in INSTALLED else []
        ):
            environments = [{"extra": extra} for extra in extras] or [{"extra": ""}]
            if needed.marker is None or any(map(needed.marker.evaluate, environments)):
                todo.append((canonicalize_name(needed.name), frozenset(needed.extras)))
    return names


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_the_lock_is_one_package_at_one_version(line: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][A-Za-z0-9.!]*", line)


def test_no_package_is_locked_twice() -> None:
    names = [canonicalize_name(line.split("==")[0]) for line in LINES]

    assert len(set(names)) == len(names)
    assert {OURS, *TOOLS_OF_VENV} & set(names) <= {"setuptools"}


def test_what_we_ask_for_is_pinned_and_the_lock_agrees() -> None:
    for wanted in direct():
        [pin] = wanted.specifier
        assert pin.operator == "=="
        assert wanted.url is None
        if wanted.marker is None or wanted.marker.evaluate():
            assert LOCK[canonicalize_name(wanted.name)] == pin.version


def test_every_locked_package_is_one_that_something_of_ours_needs() -> None:
    assert set(LOCK) - reached() == set()


def test_everything_that_is_needed_here_is_locked() -> None:
    needed = {name for name in reached() if name in INSTALLED}

    assert needed - set(LOCK) - TOOLS_OF_VENV == set()


def test_what_is_installed_is_what_is_locked() -> None:
    versions = {
        name: (INSTALLED[name].version.split("+")[0], version)
        for name, version in LOCK.items()
        if name in INSTALLED
    }

    assert {name: pair for name, pair in versions.items() if pair[0] != pair[1]} == {}
    assert len(versions) > len(LOCK) / 2


def test_what_builds_us_is_pinned() -> None:
    assert all("==" in each for each in PROJECT["build-system"]["requires"])
