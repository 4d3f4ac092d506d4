from loadtests.peers.protocol import Job, Transcript, static_batches

END = 2


def job(*prompts: list[int], arrivals: list[float] | None = None) -> Job:
    return Job(list(prompts), arrivals or [0.0] * len(prompts), max_new_tokens=2, end_id=END)


def test_a_completion_ends_at_its_end_token_and_does_not_keep_it() -> None:
    work = job([1])
    transcript = Transcript.of(work)

    assert transcript.add(0, 7, work)
    assert not transcript.add(0, END, work)
    assert transcript.tokens == [[7]]
    assert transcript.finished_seconds[0] >= transcript.token_seconds[0][0] > 0


def test_a_completion_ends_at_the_limit_of_new_tokens() -> None:
    work = job([1])
    transcript = Transcript.of(work)

    assert transcript.add(0, 7, work)
    assert not transcript.add(0, 8, work)
    assert transcript.tokens == [[7, 8]]


def test_static_batches_hold_every_prompt_once_similar_lengths_together() -> None:
    work = job([1], [1] * 9, [1] * 2, [1] * 8)

    batches = list(static_batches(work, Transcript.of(work), 2))

    assert batches == [[1, 3], [2, 0]]


def test_a_static_batch_takes_only_what_has_arrived() -> None:
    work = job([1], [1, 1], arrivals=[0.05, 0.0])

    assert list(static_batches(work, Transcript.of(work), 8)) == [[1], [0]]


def test_a_part_of_a_job_keeps_prompts_and_arrivals_together() -> None:
    work = job([1], [2, 2], [3, 3, 3], arrivals=[0.1, 0.2, 0.3])

    assert work.part([2, 0]) == job([3, 3, 3], [1], arrivals=[0.3, 0.1])
