import asyncio
from collections.abc import Awaitable, Callable

import pytest

from shared.web.whole_answers import HeadWithBody

HEAD, BODY = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n", b"body"


class Transport:
    """Notes what is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def close(self) -> None:
        self.sent.append(b"closed")

    def is_closing(self) -> bool:
        return b"closed" in self.sent


def sent_by(act: Callable[[HeadWithBody, Transport], Awaitable[None]]) -> list[bytes]:
    async def _run() -> list[bytes]:
        transport = Transport()
        await act(HeadWithBody(transport, asyncio.get_running_loop()), transport)  # type: ignore[arg-type]
        await asyncio.sleep(0)
        return transport.sent

    return asyncio.run(_run())


def test_a_head_leaves_with_its_body() -> None:
    async def act(connection: HeadWithBody, transport: Transport) -> None:
        for _ in range(2):
            connection.write(HEAD)
            assert not transport.sent or transport.sent == [HEAD + BODY]
            connection.write(BODY)

    assert sent_by(act) == [HEAD + BODY, HEAD + BODY]


def test_a_head_alone_leaves_at_once_and_what_streams_is_not_held() -> None:
    async def act(connection: HeadWithBody, transport: Transport) -> None:
        connection.write(HEAD)
        await asyncio.sleep(0)
        assert transport.sent == [HEAD]
        connection.write(BODY)
        connection.write(BODY)
        assert transport.sent == [HEAD, BODY, BODY]

    assert sent_by(act) == [HEAD, BODY, BODY]


@pytest.mark.parametrize("whole", [b"HTTP/1.1 400 Bad Request\r\n\r\nInvalid", b"\r\n\r\n"])
def test_what_is_no_head_is_sent_as_it_comes(whole: bytes) -> None:
    async def act(connection: HeadWithBody, transport: Transport) -> None:
        connection.write(whole)
        assert transport.sent == [whole]

    assert sent_by(act) == [whole]


def test_a_connection_that_is_closed_has_sent_its_head() -> None:
    async def act(connection: HeadWithBody, transport: Transport) -> None:
        connection.write(HEAD)
        connection.close()
        assert connection.is_closing()

    assert sent_by(act) == [HEAD, b"closed"]
