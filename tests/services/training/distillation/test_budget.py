"""A budget: what is granted never exceeds a limit, whatever is open, crashed or unknown."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.training.distillation.budget import Budget, Cost, Limits
from services.training.distillation.journal import Journal


def open_journal(path: Path) -> Journal[Cost]:
    return Journal(path, Cost, key=None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.jsonl"


def reserve(budget: Budget, tokens: int = 10, money: float = 1.0) -> Cost | None:
    return budget.reserve(tokens_in=tokens, tokens_out=0, money=money)


@pytest.mark.parametrize(
    ("limits", "name"),
    [(Limits(calls=2), "calls"), (Limits(tokens=25), "tokens"), (Limits(money=2.5), "money")],
)
def test_open_calls_count_at_their_most(path: Path, limits: Limits, name: str) -> None:
    with open_journal(path) as journal:
        budget = Budget(limits, journal)
        first, second = reserve(budget), reserve(budget)
        assert first is not None
        assert second is not None

        assert reserve(budget) is None
        assert budget.reached is None, "the open ones may turn out cheaper"

        budget.close(first)
        budget.close(second)

        assert reserve(budget) is None
        assert budget.reached == name


def test_a_call_that_turned_out_cheap_makes_room(path: Path) -> None:
    with open_journal(path) as journal:
        budget = Budget(Limits(tokens=15), journal)
        first = reserve(budget)
        assert first is not None

        budget.close(Cost(call=first.call, tokens_in=4))

        assert reserve(budget) is not None
        assert budget.spent.tokens == 4


def test_whoever_waits_is_woken_when_a_call_is_over(path: Path) -> None:
    async def _wait() -> bool:
        with open_journal(path) as journal:
            budget = Budget(Limits(tokens=15), journal)
            first = reserve(budget)
            assert first is not None
            waiting = asyncio.create_task(budget.change())
            await asyncio.sleep(0)
            budget.waive(first)
            await asyncio.wait_for(waiting, 5)
            return reserve(budget) is not None

    assert asyncio.run(_wait())


def test_a_call_that_a_crash_left_open_counts_at_its_most(path: Path) -> None:
    with open_journal(path) as journal:
        reserve(Budget(Limits(), journal), tokens=10, money=2.0)

    with open_journal(path) as journal:
        spent = Budget(Limits(), journal).spent

    assert (spent.calls, spent.tokens, spent.money) == (1, 10, 2.0)


def test_a_waived_call_counts_as_a_call_only_also_in_the_next_run(path: Path) -> None:
    with open_journal(path) as journal:
        budget = Budget(Limits(), journal)
        reserved = reserve(budget)
        assert reserved is not None
        budget.waive(reserved)

    with open_journal(path) as journal:
        spent = Budget(Limits(), journal).spent

    assert (spent.calls, spent.tokens, spent.money) == (1, 0, 0.0)


def test_the_cost_recorded_with_an_answer_overrules_what_was_reserved(path: Path) -> None:
    with open_journal(path) as journal:
        reserve(Budget(Limits(), journal), tokens=10)
        again = Budget(Limits(calls=2), journal, answered=[Cost(call=1, tokens_in=3)])

        assert (again.spent.calls, again.spent.tokens) == (1, 3)
        numbered = reserve(again)

        assert numbered is not None
        assert numbered.call == 2


Step = tuple[str, int, float]


@settings(max_examples=60)
@given(
    limits=st.tuples(st.integers(0, 12), st.integers(0, 100), st.floats(0, 5)),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["ask", "answer", "fail", "time-out", "crash"]),
            st.integers(0, 30),
            st.floats(0, 1),
        ),
        max_size=40,
    ),
)
def test_no_order_of_events_overruns_a_limit(
    limits: tuple[int, int, float], steps: Sequence[Step]
) -> None:
    bounds = Limits(calls=limits[0], tokens=limits[1], money=limits[2])
    answered: list[Cost] = []
    charged: list[Cost] = []
    with TemporaryDirectory() as folder:
        path = Path(folder) / "calls.jsonl"
        journal = open_journal(path)
        budget, under_way = Budget(bounds, journal), list[Cost]()
        for event, tokens, share in steps:
            if event == "crash":
                charged += under_way  # the endpoint charges all it has begun
                journal.close()
                journal = open_journal(path)
                budget, under_way = Budget(bounds, journal, answered), []
            elif event == "ask":
                granted = reserve(budget, tokens, share)
                under_way += [granted] if granted else []
            elif under_way:
                reserved = under_way.pop(0)
                if event == "fail":
                    charged.append(Cost(call=reserved.call))
                    budget.waive(reserved)
                    continue
                actual = reserved
                if event == "answer":
                    actual = Cost(
                        call=reserved.call,
                        tokens_in=int(reserved.tokens_in * share),
                        money=reserved.money * share,
                    )
                    answered.append(actual)
                charged.append(actual)
                budget.close(actual)
        charged += under_way
        journal.close()

    assert len(charged) <= limits[0]
    assert sum(cost.tokens_in for cost in charged) <= limits[1]
    assert sum(cost.money for cost in charged) <= limits[2] * (1 + 1e-12)
    assert len({cost.call for cost in charged}) == len(charged)
