from collections.abc import Iterator
from contextlib import contextmanager

from loadtests.peers.protocol import Job, Transcript
from loadtests.side_by_side import Contender, best_choice, take_turns

JOB = Job([[1], [2], [3]], [0.0, 0.0, 0.0], max_new_tokens=4, end_id=2)


class TimedDecoder:
    """Says that it took a given time; tells a shared list what it did."""

    def __init__(self, name: str, seconds: float, seen: list[tuple[str, int]]) -> None:
        self._name, self._seconds, self._seen = name, seconds, seen

    def complete(self, job: Job) -> Transcript:
        self._seen.append((self._name, len(job.prompts)))
        transcript = Transcript.of(job)
        transcript.finished_seconds = [self._seconds] * len(job.prompts)
        return transcript


def contender(seconds: dict[str, float], seen: list[tuple[str, int]]) -> Contender:
    @contextmanager
    def _start(choice: str) -> Iterator[TimedDecoder]:
        yield TimedDecoder(choice, seconds[choice], seen)

    return Contender("peer", "batch_size", list(seconds), _start)


def test_the_fastest_choice_is_taken_after_a_warm_up_of_each() -> None:
    seen: list[tuple[str, int]] = []

    best = best_choice(contender({"8": 3.0, "16": 1.0, "32": 2.0}, seen), JOB)

    assert best == "16"
    assert seen == [("8", 2), ("8", 3), ("16", 2), ("16", 3), ("32", 2), ("32", 3)]


def test_a_single_choice_needs_no_trial() -> None:
    seen: list[tuple[str, int]] = []

    assert best_choice(contender({"8": 3.0}, seen), JOB) == "8"
    assert seen == []


def test_decoders_work_in_turns_each_on_its_own_job() -> None:
    seen: list[tuple[str, int]] = []
    decoders = {name: TimedDecoder(name, 1.0, seen) for name in ("ours", "theirs")}

    written = take_turns(decoders, {"ours": [JOB, JOB], "theirs": [JOB.part([0])] * 2})

    assert seen == [("ours", 3), ("theirs", 1), ("ours", 3), ("theirs", 1)]
    assert [len(one.tokens) for one in written["theirs"]] == [1, 1]
