from shared.retry_budget import RetryBudget


def test_retries_are_a_share_of_the_calls() -> None:
    budget = RetryBudget(share=0.25, most=2)
    spent = sum(budget.spend() for _ in range(10))

    for _ in range(100):
        budget.earn()
        spent += budget.spend()

    assert spent in (26, 27)


def test_no_more_is_saved_than_a_purse_holds() -> None:
    budget = RetryBudget(share=0.5, most=3)
    for _ in range(100):
        budget.earn()

    assert [budget.spend() for _ in range(4)] == [True, True, True, False]
