import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand

from services.cli.__main__ import app
from services.cli.console import print_table, readable
from services.cli.contents import EXIT_CODES, PANELS, advised, command_of, commands_in
from tests.services.cli.test_main import skim

REPOSITORY = Path(__file__).resolve().parents[3]
WHOLE = command_of(app)
README = (REPOSITORY / "deploy/README.md").read_text()


def test_every_command_has_its_place_in_the_contents() -> None:
    placed = {name for names in PANELS.values() for name in names}

    assert set(WHOLE.commands) <= placed


def test_the_contents_are_in_the_order_of_the_flow() -> None:
    page = skim("--help").stdout

    places = [page.index(f" {panel} ") for panel in PANELS]
    assert places == sorted(places)
    assert page.index("│ augment ") < page.index("│ train ") < page.index("│ search ")


@pytest.mark.parametrize(
    "command", list(commands_in(WHOLE)), ids=lambda each: each.callback.__qualname__
)
def test_every_command_takes_json_and_says_what_it_does(command: TyperCommand) -> None:
    assert sum("--json" in parameter.opts for parameter in command.params) == 1
    assert command.help


def test_json_that_a_command_does_not_know_itself_is_taken(tmp_path: Path) -> None:
    finished = skim("data", "info", str(tmp_path / "no-such-folder"), "--json")

    assert finished.returncode == 1
    assert "no such file" in finished.stderr


def test_exit_codes_are_in_the_help_and_in_the_runbook() -> None:
    page = " ".join(skim("--help").stdout.split())

    for code, meaning in EXIT_CODES.items():
        assert f"{code} {meaning.partition(';')[0]}" in page
        assert f"| {code} | {meaning} |" in README


def test_what_is_away_and_what_is_wrong_have_codes_of_their_own(tmp_path: Path) -> None:
    away = skim("search", "oboe", SKIM_HOME=str(tmp_path), SKIM_INFERENCE_URL="http://127.0.0.1:1")
    misused = skim("search", "oboe", "-k", "many")
    denied = skim("report", str(tmp_path / "no.json"), SKIM_HOME=str(tmp_path))

    assert (away.returncode, misused.returncode, denied.returncode) == (3, 2, 1)
    assert "skim up" in away.stderr


@pytest.mark.parametrize(
    ("typed", "message", "said"),
    [
        (
            ["data", "info", "x"],
            "x: no such file",
            "x: no such file; `skim data info --help` says what is expected",
        ),
        (["publish", "v1"], "none here; run `skim train`", "none here; run `skim train`"),
        (["search", "data"], "empty", "empty; `skim search --help` says what is expected"),
        ([], "odd", "odd; `skim --help` says what is expected"),
    ],
)
def test_an_error_says_what_to_do_next(typed: list[str], message: str, said: str) -> None:
    assert advised(message, WHOLE, typed) == said


def test_an_unwritable_place_is_one_line_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    finished = skim("up", "--only", "redis", SKIM_HOME=str(tmp_path / "file"))

    [line] = finished.stderr.splitlines()
    assert finished.returncode == 1
    assert str(tmp_path / "file") in line
    assert "skim doctor" in line


def test_the_shell_completes_commands_and_parts(tmp_path: Path) -> None:
    logs = tmp_path / "run/logs"
    logs.mkdir(parents=True)
    (logs / "worker.log").touch()

    def completed(line: str, word: int) -> list[str]:
        environment = {
            "_SKIM_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(word),
            "SKIM_HOME": str(tmp_path),
        }
        finished = subprocess.run(
            [sys.executable, "-m", "services.cli"],
            cwd=REPOSITORY,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        return finished.stdout.split()

    assert completed("skim lo", 1) == ["logs"]
    assert completed("skim logs wor", 2) == ["worker"]


def at_a_terminal(*arguments: str) -> str:
    """Return what `skim` prints where somebody watches."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "wb") as screen:
        subprocess.run(  # noqa: S603  (our own command)
            [sys.executable, "-m", "services.cli", *arguments],
            cwd=REPOSITORY,
            env={**os.environ, "TERM": "dumb"},
            stdout=screen,
            stderr=subprocess.DEVNULL,
            check=True,
        )
    with os.fdopen(ours, "rb") as eyes:
        return eyes.read1().decode().replace("\r\n", "\n")


def test_a_result_is_readable_at_a_terminal_unless_json_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "documents.jsonl").write_text('{"id": "d1", "title": "oboe"}\n')
    (tmp_path / "queries.jsonl").write_text('{"id": "q1", "text": "reed", "split": "train"}\n')
    (tmp_path / "clicks.tsv").write_text("q1\td1\t1\n")
    command = ("data", "info", str(tmp_path))

    shown, asked, piped = (
        at_a_terminal(*command),
        at_a_terminal(*command, "--json"),
        skim(*command),
    )

    assert json.loads(asked) == json.loads(piped.stdout)
    assert json.loads(asked)["documents"] == 1
    assert re.search(r"^documents +1$", shown, re.MULTILINE)


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ({"labels": 12345}, ("labels", "12,345")),
        ({"is_new": True}, ("is new", "yes")),
        ({"bundle": None}, ("bundle", "-")),
        ({"counts": {"ads": 2}}, ("counts, ads", "2")),
        ({"parts": ["a", 1]}, ("parts", '["a",1]')),
    ],
)
def test_a_value_is_written_for_a_person(value: dict[str, object], line: tuple[str, str]) -> None:
    assert list(readable(value)) == [line]


def test_a_table_is_lines_with_tabs_where_nobody_watches(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = Table("part", "state")
    table.add_row("redis", Text("ready", style="green"))

    print_table(table)

    assert capsys.readouterr().out == "part\tstate\nredis\tready\n"


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("skim bun", ["bundles"]),
        ("skim bundles ", ["list", "activate", "rollback"]),
        ("skim search --fil", ["--filter"]),
        ("skim train --tower ", ["title", "metadata"]),
    ],
)
def test_a_shell_completes_commands_options_and_choices(typed: str, offered: list[str]) -> None:
    finished = skim(
        _SKIM_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=str(typed.count(" "))
    )

    assert finished.stdout.split() == offered


def test_completion_can_be_shown_for_the_shell() -> None:
    script = skim(_SKIM_COMPLETE="source_bash").stdout

    assert "complete -o default -F _skim_completion skim" in script
