"""The security rules of the linter (S) are on, and where one is ignored it is one of these."""

import re
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
RUFF = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
OUR_OWN_COMMANDS = "S603"
NAMES_OF_TOKENS = {"S105", "S107"}
CHECKED_BEFORE = "S101"


def test_security_rules_are_on() -> None:
    assert "S" in RUFF["extend-select"]
    assert [rule for rule in RUFF["ignore"] if rule.startswith("S")] == ["S311"]
    ignored = {rule for rules in RUFF["per-file-ignores"].values() for rule in rules}
    assert {rule for rule in ignored if rule.startswith("S")} == {"S101", "S105", "S106"}


def test_code_of_ours_ignores_none_that_matters() -> None:
    ignored = {
        rule
        for folder in ("services", "shared", "loadtests")
        for path in (REPOSITORY / folder).rglob("*.py")
        for line in re.findall(r"# noqa: ([A-Z0-9, ]+)", path.read_text())
        for rule in re.findall(r"\bS\d+", line)
    }

    assert ignored <= {OUR_OWN_COMMANDS, CHECKED_BEFORE, *NAMES_OF_TOKENS}
