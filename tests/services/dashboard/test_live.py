import asyncio

import httpx
import pytest
from fastapi import FastAPI

from services.dashboard.app import build_app
from services.dashboard.live import Streams
from services.dashboard.settings import DashboardSettings
from shared.errors import Unavailable
from shared.settings import CommonSettings
from tests.support.asgi import Call, started, until


def refuse(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def dashboard() -> FastAPI:
    settings = DashboardSettings(refresh_seconds=1, max_streams=1)
    return build_app(CommonSettings(), settings, httpx.MockTransport(refuse))


def test_an_open_page_is_told_when_to_bring_itself_up_to_date() -> None:
    app = dashboard()

    async def _run() -> Call:
        async with started(app):
            call = Call(app, "/live")
            await until(lambda: "changed" in call.text)
            app.state.is_stopping = True
            await call.task
        return call

    call = asyncio.run(_run())

    assert call.headers["content-type"].startswith("text/event-stream")
    assert call.text.startswith("retry: 1000\n\nevent: changed\ndata:\n\n")


def test_a_page_that_is_left_makes_room_for_another() -> None:
    app = dashboard()

    async def _run() -> list[int]:
        statuses = []
        async with started(app):
            first = Call(app, "/live")
            await until(lambda: first.text)
            second = Call(app, "/live")
            await second.task
            first.leave()
            await first.task
            third = Call(app, "/live")
            await until(lambda: third.text)
            statuses = [first.status, second.status, third.status]
            third.leave()
            await third.task
        return statuses

    assert asyncio.run(_run()) == [200, 503, 200]


def test_there_is_room_for_so_many_and_no_more() -> None:
    streams = Streams(1)
    streams.enter()

    with pytest.raises(Unavailable):
        streams.enter()
