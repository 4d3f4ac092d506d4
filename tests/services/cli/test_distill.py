"""`skim distill ask` against an endpoint on a real socket."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from services.cli.__main__ import app
from services.cli.distill import cost_line
from services.training.distillation.teacher_data import read_examples
from services.training.distillation.teacher_run import Standing
from shared.contracts.document import Document
from shared.dataset import Dataset, Query, write_dataset
from shared.errors import InvalidInput, NotFound, SkimError, Unavailable
from tests.support.files import jsonl, write
from tests.support.http_server import serving
from tests.support.teacher import KEY, completion_body, queries_about, title_in

DOCUMENTS = [Document(id=f"d{n}", title=f"thing {n}") for n in range(12)]
REPOSITORY = Path(__file__).resolve().parents[3]


class Endpoint(BaseHTTPRequestHandler):
    """Answers who has the key, a little slowly; `server.seen` holds the bodies."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.seen.append(body)  # type: ignore[attr-defined]
        time.sleep(0.02)
        if self.headers["authorization"] != f"Bearer {KEY}":
            self._answer(401, {"error": {"message": f"bad key {self.headers['authorization']}"}})
        else:
            text = "\n".join(queries_about(title_in(body["messages"])))
            self._answer(200, completion_body(text))

    def _answer(self, status: int, value: object) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *values: object) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[ThreadingHTTPServer]:
    with serving(Endpoint) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    queries = [
        Query(id="q1", text="wooden ware"),
        Query(id="q2", text="zebrawood", split="test"),
    ]
    clicks = {"q1": {"d1": 1.0}, "q2": {"d1": 1.0}}
    write_dataset(tmp_path / "data", Dataset(DOCUMENTS, queries, clicks, {}))
    return tmp_path / "data"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "answers.jsonl"


def environment_of(endpoint: ThreadingHTTPServer, **settings: str) -> dict[str, str]:
    address = f"http://127.0.0.1:{endpoint.server_port}/v1"
    return {
        "SKIM_TEACHER_BASE_URL": address,
        "SKIM_TEACHER_API_KEY": KEY,
        "SKIM_TEACHER_MODEL": "big",
        "NO_PROXY": "127.0.0.1",
        **{f"SKIM_TEACHER_{name.upper()}": value for name, value in settings.items()},
    }


def ask(endpoint: ThreadingHTTPServer, *arguments: object, **settings: str) -> Result:
    return CliRunner().invoke(
        app, ["distill", "ask", *map(str, arguments)], env=environment_of(endpoint, **settings)
    )


def titles_asked(endpoint: ThreadingHTTPServer) -> list[str]:
    seen: list[dict[str, list[dict[str, str]]]] = endpoint.seen  # type: ignore[attr-defined]
    return [title_in(body["messages"]) for body in seen]


def test_a_data_folder_becomes_a_file_of_answers(
    endpoint: ThreadingHTTPServer, folder: Path, output: Path
) -> None:
    result = ask(endpoint, folder, "--output", output, price_in="10", price_out="100")

    assert result.exit_code == 0
    (line,) = result.stdout.splitlines()
    assert json.loads(line) == {
        "output": str(output),
        "asked": 12,
        "done": 12,
        "total": 12,
        "calls": 12,
        "tokens": 1440,
        "money": pytest.approx(0.036),
        "tokens_in_all": 1440,
        "money_in_all": pytest.approx(0.036),
        "left": 0,
        "stopped_by": None,
        "refused": [],
        "unanswered": [],
    }
    assert len(read_examples(output, DOCUMENTS)) == 12
    assert (
        "12 calls, 1,440 tokens, 0.0360 spent; in all about 1,440 tokens, 0.0360" in result.stderr
    )
    sent = json.dumps(endpoint.seen)  # type: ignore[attr-defined]
    assert "wooden ware" in sent
    assert "zebrawood" not in sent
    assert KEY not in output.read_text() + output.with_suffix(".calls.jsonl").read_text()


def test_limits_hold_over_runs_and_a_run_without_them_finishes(
    endpoint: ThreadingHTTPServer, folder: Path, output: Path
) -> None:
    for _ in range(2):
        result = ask(endpoint, folder, "--output", output, "--max-calls", 5)
        summary = json.loads(result.stdout)

        assert (summary["calls"], summary["left"], summary["stopped_by"]) == (5, 7, "calls")

    assert json.loads(ask(endpoint, folder, "--output", output).stdout)["left"] == 0
    assert sorted(titles_asked(endpoint)) == sorted(document.title for document in DOCUMENTS)


def test_refused_documents_are_asked_again_only_when_told_so_and_stay_paid_for(
    endpoint: ThreadingHTTPServer, folder: Path, output: Path
) -> None:
    cost = {"call": 1, "tokens_in": 70, "tokens_out": 7, "money": 0.25}
    write(output, jsonl({"id": "d3", "queries": [], "refused": "sorry", "cost": cost}))

    first = json.loads(ask(endpoint, folder, "--output", output).stdout)
    assert (first["asked"], first["refused"]) == (11, ["d3"])

    second = json.loads(ask(endpoint, folder, "--output", output, "--again").stdout)

    assert (second["asked"], second["refused"]) == (1, [])
    assert titles_asked(endpoint)[11:] == ["thing 3"]
    assert (second["calls"], second["tokens"]) == (13, 77 + 12 * 120)
    assert second["money"] == pytest.approx(0.25)
    assert len(read_examples(output, DOCUMENTS)) == 12


def test_flavour_examples_and_limit_reach_the_teacher(
    endpoint: ThreadingHTTPServer, folder: Path, output: Path, tmp_path: Path
) -> None:
    row = {"document": {"id": "e1", "title": "kettle"}, "queries": ["tea things", "stove ware"]}
    examples = write(tmp_path / "examples.jsonl", jsonl(row))

    ask(
        *(endpoint, folder, "--output", output, "--limit", 1),
        *("--flavour", "query-side", "--examples", examples, "--concurrency", 1),
    )

    (body,) = endpoint.seen  # type: ignore[attr-defined]
    assert titles_asked(endpoint) == ["wooden ware"]
    assert "labels" in body["messages"][0]["content"]
    assert body["messages"][2] == {"role": "assistant", "content": "tea things\nstove ware"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--output", "answers.jsonl.gz"), "ends in .jsonl"),
        (("--output", "answers.jsonl", "--max-money", "5"), "SKIM_TEACHER_PRICE_IN"),
    ],
)
def test_what_cannot_work_is_told_before_anything_is_asked(
    endpoint: ThreadingHTTPServer, folder: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = ask(endpoint, folder, *arguments)

    assert isinstance(result.exception, InvalidInput)
    assert message in str(result.exception)
    assert titles_asked(endpoint) == []


def test_a_folder_that_is_none_is_told(
    endpoint: ThreadingHTTPServer, tmp_path: Path, output: Path
) -> None:
    assert isinstance(ask(endpoint, tmp_path, "--output", output).exception, NotFound)


def test_an_endpoint_that_is_away_is_no_matter_of_the_suite(
    endpoint: ThreadingHTTPServer, folder: Path, output: Path
) -> None:
    away = {"base_url": "http://127.0.0.1:1", "attempts": "1"}

    result = ask(endpoint, folder, "--output", output, **away)

    assert isinstance(result.exception, SkimError)
    assert not isinstance(result.exception, Unavailable)
    assert "run it again" in str(result.exception)


def test_a_refused_key_is_one_line_that_does_not_show_it(
    endpoint: ThreadingHTTPServer, folder: Path, output: Path
) -> None:
    wrong = "sk-wrong-and-secret"

    finished = run(endpoint, folder, "--output", output, api_key=wrong).communicate(timeout=60)

    stdout, stderr = finished
    assert stdout == ""
    (line,) = [line for line in stderr.splitlines() if not line.startswith("Asking big")]
    assert line.startswith("skim: teacher at http://127.0.0.1:")
    assert "HTTP 401: the key in SKIM_TEACHER_API_KEY is not accepted" in line
    assert wrong not in stdout + stderr


@pytest.mark.parametrize(
    ("expected", "line"),
    [
        ((None, None), "3 calls, 1,234 tokens, 0.5000 spent"),
        (
            (30_850, 12.5),
            "3 calls, 1,234 tokens, 0.5000 spent; in all about 30,850 tokens, 12.5000",
        ),
    ],
)
def test_the_cost_line_says_what_is_known(
    expected: tuple[int | None, float | None], line: str
) -> None:
    tokens, money = expected
    standing = Standing(1, 9, 3, 1234, 0.5, tokens_in_all=tokens, money_in_all=money)

    assert cost_line(standing) == line


@pytest.mark.chaos
@pytest.mark.parametrize("after_requests", [1, 4, 9])
def test_a_killed_run_is_gone_on_with_within_its_limit_and_asks_nobody_answered_again(
    endpoint: ThreadingHTTPServer, folder: Path, output: Path, after_requests: int
) -> None:
    arguments = (folder, "--output", output, "--concurrency", 3, "--max-calls", 13)
    process = run(endpoint, *arguments)
    while len(titles_asked(endpoint)) < after_requests:
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    answered = {example.document.title for example in read_examples(output, DOCUMENTS)}
    asked_before = len(titles_asked(endpoint))

    stdout, _ = run(endpoint, *arguments).communicate(timeout=60)

    assert not answered & set(titles_asked(endpoint)[asked_before:])
    assert len(titles_asked(endpoint)) <= json.loads(stdout)["calls"] <= 13


def run(
    endpoint: ThreadingHTTPServer, *arguments: object, **settings: str
) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603  (our own command)
        [sys.executable, "-m", "services.cli", "distill", "ask", *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, **environment_of(endpoint, **settings)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
