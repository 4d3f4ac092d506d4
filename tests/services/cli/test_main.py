import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  (our own command)
        [sys.executable, *command],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def skim(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run("-m", "services.cli", *arguments, **environment)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("data", "info", "no-such-folder"), 1, "no-such-folder/documents.jsonl: no such file"),
        (("search", "oboe"), 3, "/v1/ads: no answer"),
        (("publish", "v1"), 1, "no bundle here"),
    ],
)
def test_an_error_of_ours_is_one_line_and_an_exit_code(
    tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    finished = skim(*arguments, SKIM_HOME=str(tmp_path), SKIM_INFERENCE_URL="http://127.0.0.1:1")

    assert finished.returncode == code
    assert finished.stdout == ""
    [line] = finished.stderr.splitlines()
    assert line.startswith("skim: ")
    assert message in line


def test_a_malformed_setting_is_named_in_one_line(tmp_path: Path) -> None:
    finished = skim("status", SKIM_HOME=str(tmp_path), SKIM_MAPPING_PORT="abc")

    assert finished.returncode == 1
    [line] = finished.stderr.splitlines()
    assert line.startswith("skim: MappingSettings: port: ")
    assert "valid integer" in line


def test_a_suite_that_asks_for_keys_does_not_start_without_one_of_its_own(tmp_path: Path) -> None:
    finished = skim("up", SKIM_HOME=str(tmp_path), SKIM_AUTH="keys", SKIM_API_KEY="")

    assert finished.returncode == 1
    assert "skim keys create suite --scopes read,ingest" in finished.stderr


def test_help_lists_the_commands() -> None:
    finished = skim("--help")

    assert finished.returncode == 0
    for command in (
        *("demo", "up", "down", "status", "data", "models", "mapping", "generate"),
        *("augment", "labels", "distill", "dead-letters", "train", "publish", "evaluate"),
        *("search", "keys"),
    ):
        assert f" {command} " in finished.stdout


def test_the_command_line_starts_without_what_only_training_needs() -> None:
    script = (
        "import services.cli.__main__, sys; print({'torch', 'transformers'} & set(sys.modules))"
    )

    assert run("-c", script).stdout == "set()\n"
