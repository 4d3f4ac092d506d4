import sys

import pytest

from loadtests.peers.process import DecoderProcess
from loadtests.peers.protocol import Job
from shared.errors import Unavailable

ECHO = "tests.support.echo_decoder"


def job(*prompts: list[int]) -> Job:
    return Job(list(prompts), [0.0] * len(prompts), max_new_tokens=3, end_id=2)


def test_a_decoder_in_its_own_process_does_one_job_after_another() -> None:
    with DecoderProcess(sys.executable, ECHO) as decoder:
        first = decoder.complete(job([1, 5], [2]))
        second = decoder.complete(job([7]))

    assert first.tokens == [[5, 5, 5], []]
    assert first.peak_rss_mb > 1
    assert second.tokens == [[7, 7, 7]]


def test_a_decoder_that_stops_is_an_error_with_its_last_words() -> None:
    with (
        pytest.raises(Unavailable, match=r"echo_decoder stopped: .*unlucky"),
        DecoderProcess(sys.executable, ECHO) as decoder,
    ):
        decoder.complete(job([13]))


def test_a_decoder_that_cannot_start_is_an_error_too() -> None:
    with (
        pytest.raises(Unavailable, match=r"No module named tests\.support\.nobody"),
        DecoderProcess(sys.executable, "tests.support.nobody"),
    ):
        pass
