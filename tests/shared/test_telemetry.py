import json
import subprocess
import sys

LOGGING = """
import logging, structlog
from shared.contracts.document import Document
from shared.telemetry import configure_logging
configure_logging("{level}")
with structlog.contextvars.bound_contextvars(request_id="r1"):
    logging.getLogger("uvicorn.error").warning("shutting %s", "down")
    logging.getLogger("httpx").info("GET /v1/ads?query=oboe")
    structlog.get_logger().info("taken", documents=2)
    try:
        Document.model_validate(dict(id="d1", title=["a slender reed"]))
    except ValueError as error:
        structlog.get_logger().error("unexpected_error", exc_info=error)
"""


def logged(level: str = "INFO") -> list[dict[str, object]]:
    finished = subprocess.run(  # noqa: S603  (our own command)
        [sys.executable, "-c", LOGGING.format(level=level)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout == ""
    return [json.loads(line) for line in finished.stderr.splitlines()]


def test_libraries_log_as_we_do_and_only_from_warning_on() -> None:
    library, ours, _ = logged()

    assert (library["event"], library["logger"]) == ("shutting down", "uvicorn.error")
    assert (ours["event"], ours["documents"]) == ("taken", 2)
    for line in (library, ours):
        assert line["request_id"] == "r1"
        assert {"timestamp", "level"} <= set(line)


def test_an_unforeseen_error_quotes_no_document() -> None:
    *_, error = logged()

    assert "title" in str(error["exception"])
    assert "reed" not in str(error)


def test_what_is_below_the_level_is_not_logged() -> None:
    assert [line["event"] for line in logged("ERROR")] == ["unexpected_error"]
