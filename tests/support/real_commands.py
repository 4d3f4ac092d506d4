"""Says what is wrong with a command: asked of the parsers, applications and files that would take it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

import yaml
from typer._click.exceptions import ClickException, MissingParameter
from typer.core import TyperGroup

from services.cli import console
from services.cli.__main__ import app
from services.cli.contents import command_of
from services.cli.show_settings import KINDS
from tests.support.commands import ROOT
from tests.support.reference import documents

_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
_MARKERS = {
    each.partition(":")[0] for each in _PROJECT["tool"]["pytest"]["ini_options"]["markers"]
}
_PROFILES = {
    profile
    for service in yaml.safe_load((ROOT / "compose.yaml").read_text())["services"].values()
    for profile in service.get("profiles", [])
}
_PORTS = {8100: "inference", 8101: "generation", 8102: "mapping", 8103: "augmentation"}
_OTHERS = {".", "echo", "mkdir", "cat", "cp", "promtool", "apt-get", "sleep"}
_VARIABLES = {
    f"{kind.model_config['env_prefix']}{field}".upper()
    for kind in KINDS
    for field in kind.model_fields
}


def fault_of(words: Sequence[str], *, is_whole: bool = True) -> str:
    """Return why a command would be refused; "" if it would not.

    Args:
        words: of the command.
        is_whole: whether it is all that somebody types; else arguments may be missing.
    """
    words = list(words)
    while words and (words[0] == "export" or re.match(r"\w+=", words[0])):
        name = words.pop(0).partition("=")[0]
        if name.startswith("SKIM_") and name not in _VARIABLES:
            return f"no setting {name}"
    if not words:
        return ""
    program, arguments = words[0].removeprefix(".venv/bin/"), words[1:]
    if program.startswith("deploy/"):
        return "" if (ROOT / program).is_file() else f"no file {program}"
    if program == "docker" and "tools" in arguments:
        return fault_of(arguments[arguments.index("tools") + 1 :])
    checks = {
        "skim": lambda: _skim(arguments, is_whole),
        "python": lambda: _module(arguments),
        "pytest": lambda: _pytest(arguments),
        "locust": lambda: _locust(arguments),
        "docker": lambda: _compose(arguments),
        "poe": lambda: _poe(arguments),
        "curl": lambda: _curl(arguments),
    }
    if program in checks:
        return checks[program]()
    return "" if program in _OTHERS else f"nobody knows {program}"


@cache
def _whole() -> TyperGroup:
    return command_of(app)


def _skim(arguments: list[str], is_whole: bool) -> str:
    wants_json, place = console.wants_json, _whole()
    try:
        while isinstance(place, TyperGroup) and arguments:
            name, *arguments = arguments
            if name in {"--help", "--install-completion"}:
                return ""
            if name not in place.commands:
                return f"no command {name}"
            place = place.commands[name]
        if isinstance(place, TyperGroup):
            return "which command?" if is_whole else ""
        place.make_context("skim", arguments)
    except MissingParameter as error:
        missing = f"{error.param.name if error.param else 'an argument'} is missing"
        return missing if is_whole else ""
    except ClickException as error:
        return error.message
    finally:
        console.wants_json = wants_json
    return ""


def _module(arguments: list[str]) -> str:
    """Read the options in a module's source: to ask it would be to import torch, or to start what has no parser."""
    if arguments[0] != "-m":
        return "" if (ROOT / arguments[0]).is_file() else f"no file {arguments[0]}"
    name, *rest = arguments[1:]
    place = ROOT / name.replace(".", "/")
    sources = [
        each for each in (place.with_suffix(".py"), place / "__main__.py") if each.is_file()
    ]
    if not sources:
        return f"no module {name}"
    known = _strings_in(sources[0])
    unknown = [each for each in rest if each.startswith("-") and each not in known]
    return f"{name} knows no {', '.join(unknown)}" if unknown else ""


def _strings_in(source: Path) -> set[str]:
    return {
        node.value
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def _pytest(arguments: list[str]) -> str:
    for before, word in zip(["", *arguments], arguments, strict=False):
        if before == "-m":
            unknown = set(re.findall(r"\w+", word)) - _MARKERS - {"and", "or", "not"}
            if unknown:
                return f"no marker {', '.join(sorted(unknown))}"
        elif "/" in word and not (ROOT / word).exists():
            return f"no file {word}"
    return ""


@cache
def _locust_help() -> str:
    command = [sys.executable, "-m", "locust", "--help"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout  # noqa: S603


def _locust(arguments: list[str]) -> str:
    """Read Locust's help, and our own options in the file: importing that would patch the standard library."""
    known = set(re.findall(r"(?<![\w-])--?[\w-]+", _locust_help()))
    known |= _strings_in(ROOT / "loadtests/locustfile.py")
    unknown = [each for each in arguments if each.startswith("-") and each not in known]
    return f"locust knows no {', '.join(unknown)}" if unknown else ""


def _compose(arguments: list[str]) -> str:
    if arguments[0] != "compose":
        return "expected docker compose"
    for before, word in pairwise(arguments):
        if before == "--profile" and word not in _PROFILES:
            return f"no profile {word}"
    return ""


def _poe(arguments: list[str]) -> str:
    unknown = set(arguments[:1]) - set(_PROJECT["tool"]["poe"]["tasks"])
    return f"no task {arguments[0]}" if unknown else ""


@cache
def _paths() -> dict[str, list[str]]:
    return {
        name: [re.sub(r"\{\w+\}", "[^/:]+", path) for path in document["paths"]]
        for name, document in documents().items()
    }


def _curl(arguments: list[str]) -> str:
    [*found] = re.findall(r":(81\d\d)(/[^?\s'\"]*)", " ".join(arguments))
    if not found:
        return "asks none of our services"
    for port, path in found:
        service = _PORTS.get(int(port), "")
        if not any(re.fullmatch(each, path) for each in _paths().get(service, [])):
            return f"nothing at {port} answers {path}"
    return ""
