import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.cli.__main__ import app
from services.cli.log_lines import Choice, Follower, LogLine, parsed, read_lines, readable

JOB, REQUEST = "0123456789abcdef", "r-1"


def said(at: str, event: str, **fields: object) -> str:
    return json.dumps(
        {"event": event, "level": "info", "timestamp": f"2026-11-25T{at}Z", **fields}
    )


def write(folder: Path, part: str, *lines: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{part}.log").write_text("".join(f"{line}\n" for line in lines))


def add(folder: Path, text: str) -> None:
    with (folder / "worker.log").open("a") as log:
        log.write(text)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "run/logs"
    write(
        folder,
        "worker",
        said("10:00:02", "batch_ended", job=JOB, request_id=REQUEST),
        "Traceback: somewhere",
        said("10:00:09", "later"),
    )
    write(folder, "augmentation", said("10:00:01", "batch_queued", job=JOB, request_id=REQUEST))
    write(folder, "redis", "1:M Ready to accept connections")
    monkeypatch.setenv("SKIM_HOME", str(tmp_path))
    return tmp_path


def skim_logs(*arguments: str) -> list[str]:
    finished = CliRunner().invoke(app, ["logs", *arguments])
    assert finished.exit_code == 0, finished.output
    return finished.output.splitlines()


def test_lines_of_all_parts_are_in_order_of_time(home: Path) -> None:
    lines = skim_logs()

    assert [line.split()[1] for line in lines[1:3]] == ["augmentation", "worker"]
    assert lines[-1].startswith("10:00:09")
    assert "batch_queued" in lines[1]


def test_a_line_that_is_not_ours_stays_behind_the_one_before_it(home: Path) -> None:
    lines = skim_logs("worker")

    assert ["batch_ended" in lines[0], "Traceback" in lines[1], "later" in lines[2]] == [True] * 3


def test_a_job_or_a_request_is_followed_through_the_parts(home: Path) -> None:
    by_job, by_digits = skim_logs("--job", JOB), skim_logs("--job", JOB[:8])
    by_request = skim_logs("--request", REQUEST)

    assert by_job == by_digits == by_request
    assert [line.split()[1] for line in by_job] == ["augmentation", "worker"]


def test_as_json_every_line_is_json_with_its_part(home: Path) -> None:
    lines = [json.loads(line) for line in skim_logs("--json", "-n", "100")]

    assert {line["part"] for line in lines} == {"worker", "augmentation", "redis"}
    assert all("event" in line and "timestamp" in line for line in lines)


def test_no_more_lines_than_asked_for_the_last_ones(home: Path) -> None:
    assert len(skim_logs("-n", "1")) == 1
    assert "later" in skim_logs("-n", "1")[0]
    assert skim_logs("-n", "0") == []


def test_an_unknown_part_is_told_with_those_there_are(home: Path) -> None:
    finished = CliRunner().invoke(app, ["logs", "wroker"])

    assert "expected of augmentation, redis, worker" in str(finished.exception)


def test_the_older_file_of_a_long_log_comes_first(tmp_path: Path) -> None:
    write(tmp_path, "worker", "new")
    (tmp_path / "worker.log.1").write_text("old\n")

    assert [line.text for line in read_lines(tmp_path, ["worker"], Choice())] == ["old", "new"]


def test_what_is_written_is_followed_over_a_new_file_and_a_new_part(tmp_path: Path) -> None:
    write(tmp_path, "worker", "before")
    steps = iter(
        [
            lambda: add(tmp_path, "half"),
            lambda: add(tmp_path, " and whole\n"),
            lambda: (tmp_path / "worker.log").replace(tmp_path / "worker.log.1"),
            lambda: write(tmp_path, "worker", "in the new file"),
            lambda: write(tmp_path, "sweeper", "a new part"),
        ]
    )
    follower = Follower(tmp_path, [], Choice(), sleep=lambda _: next(steps)())

    seen = follower.lines()

    texts = [next(seen).text for _ in range(3)]
    seen.close()

    assert texts == ["half and whole", "in the new file", "a new part"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "-             worker  plain"),
        ("{not json", "-             worker  {not json"),
        (said("10:00:01", "sent", n=2), "10:00:01Z     worker  info    sent n=2"),
    ],
)
def test_a_line_is_readable(text: str, shown: str) -> None:
    assert readable(parsed("worker", text), 6) == shown


def test_a_short_id_takes_no_other_by_chance() -> None:
    line = LogLine("worker", "", fields={"job": JOB})

    assert not Choice(job="0").takes(line)
    assert not Choice(job=JOB, request="r").takes(line)
