"""The generation service is told to stop while it writes, over a real socket."""

import signal
import socket
import threading
from pathlib import Path

import httpx

from services.generation.app import build_app
from services.generation.generator import QueryGenerator
from services.generation.sampling import Sampling
from services.generation.settings import GenerationSettings
from shared.prompt import PromptTokenizer
from shared.settings import CommonSettings
from shared.web.server import Server
from tests.support.language_models import FakeLanguageModel
from tests.support.tiny_models import END_TOKEN, write_tokenizer


def test_a_request_under_way_is_answered_then_the_model_is_closed(tmp_path: Path) -> None:
    prompts = PromptTokenizer(write_tokenizer(tmp_path), end_token=END_TOKEN)
    model = FakeLanguageModel(prompts, lambda *_: "woodwind\nreed", is_held=True)
    app = build_app(
        CommonSettings(home=tmp_path),
        GenerationSettings(),
        QueryGenerator(model, prompts, Sampling()),
    )
    server = Server(app)
    answers: list[httpx.Response] = []
    body = {"documents": [{"id": "oboe", "title": "oboe"}]}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        serving = threading.Thread(target=server.run, args=([listener],))
        serving.start()
        asking = threading.Thread(
            target=lambda: answers.append(httpx.post(f"{url}/v1/generate", json=body, timeout=20))
        )
        asking.start()
        assert model.has_been_asked.wait(20)

        server.handle_exit(signal.SIGTERM, None)
        assert app.state.is_stopping
        assert not model.is_closed
        model.answer("oboe")
        asking.join(20)
        serving.join(20)

    assert [answer.status_code for answer in answers] == [200]
    assert answers[0].json()["results"][0]["queries"] == ["reed", "woodwind"]
    assert model.is_closed


def test_who_leaves_a_real_connection_is_noticed(tmp_path: Path) -> None:
    prompts = PromptTokenizer(write_tokenizer(tmp_path), end_token=END_TOKEN)
    model = FakeLanguageModel(prompts, lambda *_: "reed", is_held=True)
    app = build_app(
        CommonSettings(home=tmp_path),
        GenerationSettings(),
        QueryGenerator(model, prompts, Sampling()),
    )
    server = Server(app)
    left = threading.Event()
    content = b'{"documents": [{"id": "oboe", "title": "oboe"}]}'
    request = (
        b"POST /v1/generate HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n%s" % (len(content), content)
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = threading.Thread(target=server.run, args=([listener],))
        serving.start()
        with socket.create_connection(listener.getsockname()) as connection:
            connection.sendall(request)
            assert model.has_been_asked.wait(20)
            model.asked[0].promise.add_done_callback(lambda _: left.set())
        was_noticed = left.wait(20)
        server.handle_exit(signal.SIGTERM, None)
        serving.join(20)

    assert was_noticed
    assert model.asked[0].promise.cancelled()
