from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from loadtests.generation import measure, mixed_job, ratios
from loadtests.peers.contenders import GENAI, OURS, TRANSFORMERS
from loadtests.peers.install import LLAMA_CPP
from loadtests.peers.protocol import Job, Transcript
from loadtests.side_by_side import Contender
from loadtests.written import Speed
from shared.contracts.generator import GENERATOR_CARD, GeneratorCard
from tests.support.tiny_models import write_chat_tokenizer

NEWLINE, END = 10, 2
JOB = Job([[1] * (1 + n % 7) for n in range(100)], [0.0] * 100, max_new_tokens=4, end_id=END)


class SteadyDecoder:
    """Finishes a document every so often: one query of one word each, the line as late as the end."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self.jobs: list[Job] = []

    def complete(self, job: Job) -> Transcript:
        self.jobs.append(job)
        count = len(job.prompts)
        now = 0.0
        finished = []
        for arrival in job.arrivals:
            now = max(now, arrival) + 1 / self._per_second
            finished.append(now)
        return Transcript(
            [[5, NEWLINE]] * count, [[one, one] for one in finished], finished, peak_rss_mb=100.0
        )


def contender(name: str, decoder: SteadyDecoder) -> Contender:
    @contextmanager
    def _start(_: str) -> Iterator[SteadyDecoder]:
        yield decoder

    return Contender(name, "batch_size", ["8"], _start)


@pytest.fixture
def decoders() -> dict[str, SteadyDecoder]:
    return {
        OURS: SteadyDecoder(8),
        LLAMA_CPP: SteadyDecoder(4),
        GENAI: SteadyDecoder(5),
        TRANSFORMERS: SteadyDecoder(2),
    }


def measured(decoders: dict[str, SteadyDecoder]) -> dict[str, object]:
    taking_part = [contender(name, decoder) for name, decoder in decoders.items()]
    return dict(measure(taking_part, JOB, {NEWLINE}))


def test_ratios_compare_documents_a_second_when_all_come_at_once(
    decoders: dict[str, SteadyDecoder],
) -> None:
    figures = measured(decoders)

    assert figures["documents_per_second"] == 8
    assert figures["tokens_per_second"] == 16
    assert figures["ratio_vs_llama_cpp"] == 2
    assert figures["ratio_vs_static"] == 1.6
    assert figures["ratio_vs_transformers"] == 4
    assert figures["llama_cpp_documents_per_second"] == 4
    assert figures["peak_rss_mb"] == 100


def test_the_slow_peer_gets_a_sample_and_the_others_everything(
    decoders: dict[str, SteadyDecoder],
) -> None:
    measured(decoders)

    first, second = (job.prompts for job in decoders[OURS].jobs[1:3])
    assert sorted(first + second) == sorted(JOB.prompts)
    assert [len(job.prompts) for job in decoders[LLAMA_CPP].jobs] == [2, 50, 50, 50]
    assert [len(job.prompts) for job in decoders[TRANSFORMERS].jobs] == [2, 32, 32]


def test_random_arrivals_come_at_a_share_of_what_ours_can_carry(
    decoders: dict[str, SteadyDecoder],
) -> None:
    figures = measured(decoders)

    assert figures["poisson_arrivals_per_second"] == pytest.approx(0.7 * 8)
    ours, theirs = decoders[OURS].jobs[-1], decoders[LLAMA_CPP].jobs[-1]
    assert ours.arrivals == theirs.arrivals
    assert len(set(ours.arrivals)) == 50
    assert isinstance(figures["poisson_first_query_p50_ms"], int)
    assert isinstance(figures["llama_cpp_poisson_first_query_p50_ms"], int)
    assert figures["poisson_first_query_p50_ms"] < figures["first_query_p50_ms"]


def test_a_ratio_is_only_given_for_a_peer_that_took_part() -> None:
    speeds = {OURS: Speed(10, 20, 1.0, [1.0]), GENAI: Speed(10, 20, 4.0, [1.0])}

    assert ratios(speeds) == {"ratio_vs_static": 4}


def test_a_text_ends_where_the_served_model_learned_to_end_it(tmp_path: Path) -> None:
    write_chat_tokenizer(tmp_path).rename(tmp_path / "tokenizer.json")
    card = GeneratorCard(
        name="slm",
        source="slm",
        adapter="a",
        head_size=4,
        context_tokens=64,
        end_token="<|im_start|>",
        sha256="0" * 64,
    )
    (tmp_path / GENERATOR_CARD).write_text(card.model_dump_json())
    things, pages = tmp_path / "things.jsonl", tmp_path / "pages.jsonl"
    things.write_text('{"id": "saw", "title": "saw"}\n')
    pages.write_text('{"document": {"id": "page", "title": "a page"}, "queries": ["page"]}\n')

    job, line_ends = mixed_job(tmp_path, things, pages, 2)

    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert job.end_id == tokenizer.token_to_id("<|im_start|>")
    assert [tokenizer.decode([token]) for token in line_ends] == ["\n"]
    assert len(job.prompts) == 2
