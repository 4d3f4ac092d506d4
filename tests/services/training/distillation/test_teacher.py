"""One request to a chat endpoint: what every kind of answer becomes, and where the key never shows."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler

import httpx
import pytest
from pydantic import ValidationError

from services.training.distillation.settings import TeacherSettings
from services.training.distillation.teacher import Reply, TeacherClient, TryLater
from shared.errors import SkimError
from tests.support.http_server import serving
from tests.support.teacher import KEY, completion, completion_body

MESSAGES = [{"role": "user", "content": "oak bed"}]
NOW = 1_700_000_000.0
Handler = Callable[[httpx.Request], httpx.Response]


def settings_of(**values: object) -> TeacherSettings:
    return TeacherSettings.model_validate(
        {"base_url": "http://teacher.test/v1", "api_key": KEY, "model": "big", **values}
    )


def ask(handler: Handler | httpx.Response | Exception, **values: object) -> Reply:
    def _answer(request: httpx.Request) -> httpx.Response:
        if isinstance(handler, Exception):
            raise handler
        return handler if isinstance(handler, httpx.Response) else handler(request)

    return asyncio.run(ask_through(httpx.MockTransport(_answer), settings_of(**values)))


async def ask_through(transport: httpx.AsyncBaseTransport, settings: TeacherSettings) -> Reply:
    async with TeacherClient(settings, now=lambda: NOW, transport=transport) as client:
        return await client.ask(MESSAGES)


def seen_by_endpoint(**values: object) -> httpx.Request:
    requests: list[httpx.Request] = []

    def _note(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return completion("bed")

    ask(_note, **values)
    (request,) = requests
    return request


def test_the_request_is_what_a_chat_endpoint_expects() -> None:
    request = seen_by_endpoint(temperature=0.5, max_tokens=99)

    assert request.method == "POST"
    assert str(request.url) == "http://teacher.test/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert json.loads(request.content) == {
        "model": "big",
        "messages": MESSAGES,
        "max_tokens": 99,
        "temperature": 0.5,
    }


def test_endpoints_that_name_the_length_otherwise_or_refuse_a_temperature_are_served() -> None:
    request = seen_by_endpoint(length_parameter="max_completion_tokens", temperature=None)

    assert set(json.loads(request.content)) == {"model", "messages", "max_completion_tokens"}


def test_a_base_url_may_end_in_a_slash_or_carry_parameters() -> None:
    request = seen_by_endpoint(base_url="http://teacher.test/v1/?api-version=2")

    assert str(request.url) == "http://teacher.test/v1/chat/completions?api-version=2"


def test_without_a_key_none_is_sent() -> None:
    assert "authorization" not in seen_by_endpoint(api_key="").headers


def test_an_answer_comes_with_its_tokens() -> None:
    assert ask(completion("bed\nsofa")) == Reply("bed\nsofa", True, "bed sofa", 100, 20)
    assert not ask(completion("bed\nso", finish_reason="length")).is_finished


def test_an_answer_in_parts_is_joined() -> None:
    body = completion_body(None)
    parts = [{"type": "text", "text": "bed\n"}, {"type": "text", "text": "sofa"}]
    body["choices"] = [{"message": {"content": parts}}]

    assert ask(httpx.Response(200, json=body)).text == "bed\nsofa"


@pytest.mark.parametrize(
    ("response", "remark"),
    [
        (httpx.Response(200, text="<html><b>Hello</b></html>"), "not a chat completion: <html>"),
        (httpx.Response(200, content=b"\xff\xfe\x00"), "not a chat completion"),
        (httpx.Response(200, text=""), "not a chat completion"),
        (httpx.Response(200, json={"choices": []}), "not a chat completion"),
        (httpx.Response(200, json={"error": {"message": "overloaded"}}), "overloaded"),
        (httpx.Response(200, json=[1, 2]), "not a chat completion"),
        (httpx.Response(200, text="[" * 100_000), "not a chat completion"),
        (completion(None), "an empty answer"),
        (completion("  \n "), "an empty answer"),
        (
            httpx.Response(
                200, json={"choices": [{"message": {"content": None, "refusal": "I must not"}}]}
            ),
            "I must not",
        ),
    ],
)
def test_garbage_is_an_answer_without_queries_that_says_what_it_was(
    response: httpx.Response, remark: str
) -> None:
    reply = ask(response)

    assert reply.text.strip() == ""
    assert remark in reply.remark
    assert len(reply.remark) < 300


@pytest.mark.parametrize(
    "usage",
    [
        None,
        "many",
        {},
        {"prompt_tokens": 5},
        {"prompt_tokens": -1, "completion_tokens": 1},
        {"prompt_tokens": 10**30, "completion_tokens": 1},
    ],
)
def test_an_endpoint_that_does_not_say_what_it_read_leaves_that_open(usage: object) -> None:
    body = {**completion_body("bed"), "usage": usage}

    reply = ask(httpx.Response(200, json=body))

    assert (reply.text, reply.tokens_in, reply.tokens_out) == ("bed", None, None)


def test_a_bad_answer_that_was_charged_says_so() -> None:
    reply = ask(httpx.Response(200, json={**completion_body(""), "choices": []}))

    assert (reply.tokens_in, reply.tokens_out) == (100, 20)


@pytest.mark.parametrize("status", [301, 400, 401, 402, 403, 404, 405, 413, 422])
def test_what_asking_again_cannot_help_is_not_for_later(status: int) -> None:
    with pytest.raises(SkimError, match=f"http://teacher.test/v1/chat/.*HTTP {status}") as caught:
        ask(httpx.Response(status, json={"error": {"message": "no\nsuch model"}}))

    assert not isinstance(caught.value, TryLater)
    assert "\n" not in str(caught.value)
    if status in {401, 403}:
        assert "SKIM_TEACHER_API_KEY" in str(caught.value)
    else:
        assert "such model" in str(caught.value)


@pytest.mark.parametrize(
    ("status", "is_free"),
    [(408, False), (429, True), (500, True), (502, False), (503, True), (504, False), (529, True)],
)
def test_what_may_pass_is_for_later_and_says_whether_it_was_free(
    status: int, is_free: bool
) -> None:
    with pytest.raises(TryLater, match=f"HTTP {status}") as caught:
        ask(httpx.Response(status, text="busy"))

    assert caught.value.is_free is is_free
    assert caught.value.wait_seconds is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        (" 17 ", 17.0),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60.0),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0.0),
        ("Tue, 14 Nov 2023 22:14:20", 60.0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("", None),
        ("Tue, 99 Nov 2023 22:14:20 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(header: str, seconds: float | None) -> None:
    with pytest.raises(TryLater) as caught:
        ask(httpx.Response(429, headers={"retry-after": header}))

    assert caught.value.wait_seconds == seconds


@pytest.mark.parametrize(
    ("error", "is_free"),
    [
        (httpx.ConnectError("refused"), True),
        (httpx.ConnectTimeout("slow"), True),
        (httpx.ReadTimeout("slow"), False),
        (httpx.ReadError("reset"), False),
        (httpx.RemoteProtocolError("cut"), False),
    ],
)
def test_a_broken_connection_is_free_only_if_nothing_was_sent(
    error: Exception, is_free: bool
) -> None:
    with pytest.raises(TryLater, match="no answer") as caught:
        ask(error)

    assert caught.value.is_free is is_free


@pytest.mark.parametrize("status", [200, 301, 400, 401, 403, 404, 429, 500])
def test_an_endpoint_that_repeats_the_key_does_not_get_it_into_errors_remarks_or_logs(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def _echo(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, text=f"got {request.headers['authorization']}, no")

    try:
        told = repr(ask(_echo))
    except SkimError as error:
        told = f"{error!r} {error} {error.__cause__!r}"

    assert KEY not in told
    assert KEY not in caplog.text


def test_a_broken_connection_that_quotes_the_key_does_not_show_it() -> None:
    with pytest.raises(TryLater) as caught:
        ask(httpx.ReadError(f"illegal header: Bearer {KEY}"))

    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        {"api_key": f"{KEY}\nmore"},
        {"api_key": f"{KEY}\u00e9"},
        {"base_url": "teacher.test/v1"},
        {"base_url": "ftp://teacher.test"},
        {"base_url": f"http://me:{KEY}@teacher.test/v1"},
        {"base_url": "http://[::/v1"},
        {"price_in": -1},
        {"concurrency": 0},
    ],
)
def test_a_malformed_setting_is_refused_without_showing_the_key(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        settings_of(**values)

    assert KEY not in str(caught.value)


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKIM_TEACHER_API_KEY", f" {KEY}\n")
    monkeypatch.setenv("SKIM_TEACHER_MODEL", "large")
    monkeypatch.setenv("SKIM_TEACHER_TEMPERATURE", "none")

    settings = TeacherSettings()

    assert settings.api_key.get_secret_value() == KEY
    assert (settings.model, settings.temperature) == ("large", None)
    assert KEY not in repr(settings)


class Real(BaseHTTPRequestHandler):
    """Misbehaves by path, on a real socket."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        behaviour = self.path.split("/")[1]
        if behaviour == "drops":
            self.close_connection = True
            self.connection.close()
            return
        if behaviour == "hangs":
            time.sleep(0.5)
            return
        body = json.dumps(completion_body("bed\nsofa")).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if behaviour == "drips":
            self._drip(body)
        else:
            time.sleep(0.05)
            self.wfile.write(body)

    def _drip(self, body: bytes) -> None:
        try:
            for at in range(len(body)):
                self.wfile.write(body[at : at + 1])
                time.sleep(0.02)
        except OSError:
            self.close_connection = True

    def log_message(self, *values: object) -> None:
        pass


def ask_real(behaviour: str, timeout_seconds: float = 5.0) -> Reply:
    with serving(Real) as server:
        base_url = f"http://127.0.0.1:{server.server_port}/{behaviour}"
        settings = settings_of(base_url=base_url, timeout_seconds=timeout_seconds)
        return asyncio.run(ask_through(httpx.AsyncHTTPTransport(), settings))


def test_a_slow_answer_over_a_real_socket_arrives() -> None:
    assert ask_real("slow").text == "bed\nsofa"


@pytest.mark.parametrize(
    ("behaviour", "timeout_seconds"), [("hangs", 0.2), ("drips", 0.2), ("drops", 5.0)]
)
def test_a_socket_that_hangs_drips_or_drops_is_for_later_and_may_have_been_charged(
    behaviour: str, timeout_seconds: float
) -> None:
    started = time.monotonic()

    with pytest.raises(TryLater, match="no answer") as caught:
        ask_real(behaviour, timeout_seconds)

    assert not caught.value.is_free
    assert time.monotonic() - started < 4
