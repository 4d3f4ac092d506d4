import pytest
import structlog
from celery.app.task import Context
from celery.exceptions import Retry
from structlog.testing import capture_logs

from services.augmentation.task_context import begin, carry, end
from services.augmentation.tasks import augment_batch
from shared.errors import Unavailable

ARGUMENTS = ("job-1", ["d1", "d2"])


def ended(retval: object, state: str, **headers: str) -> dict[str, object]:
    """Return what is logged of a task that came with these headers and ended so."""
    augment_batch.request_stack.push(Context(headers, id="task-1"))
    try:
        processors = [structlog.contextvars.merge_contextvars]
        with capture_logs(processors=processors) as lines:
            begin(task_id="task-1", task=augment_batch, args=ARGUMENTS)
            end(task_id="task-1", state=state, retval=retval)
    finally:
        augment_batch.request_stack.pop()
    [line] = lines
    return dict(line)


def test_a_message_carries_the_request_that_its_documents_came_with() -> None:
    headers: dict[str, object] = {"id": "task-1"}

    with structlog.contextvars.bound_contextvars(request_id="r1"), capture_logs() as lines:
        carry(headers=headers, body=(ARGUMENTS, {}, {}))

    assert headers["x-request-id"] == "r1"
    assert (lines[0]["event"], lines[0]["job"], lines[0]["documents"]) == (
        "batch_queued",
        "job-1",
        2,
    )


def test_what_a_task_logs_names_job_and_request_until_it_ends() -> None:
    line = ended(None, "SUCCESS", **{"x-request-id": "r1"})

    assert (line["job"], line["request_id"], line["documents"]) == ("job-1", "r1", 2)
    assert (line["state"], "reason" in line) == ("SUCCESS", False)
    assert structlog.contextvars.get_contextvars() == {}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Retry(exc=Unavailable("mapping is away")), "mapping is away"),
        (Unavailable("mapping is away"), "mapping is away"),
        (ValueError("a slender reed"), "ValueError"),
    ],
)
def test_why_a_task_failed_is_told_in_our_words_only(error: Exception, reason: str) -> None:
    assert ended(error, "FAILURE")["reason"] == reason


def test_a_task_that_began_elsewhere_ends_in_silence() -> None:
    with capture_logs() as lines:
        end(task_id="unknown", state="SUCCESS", retval=None)

    assert lines == []
