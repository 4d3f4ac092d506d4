import asyncio

from loadtests.access import measure


def test_the_cost_of_a_key_is_told_beside_a_request_without() -> None:
    figures = asyncio.run(measure(rounds=1))

    assert all(float(figures[f"{kind}_us"] or 0) > 0 for kind in ("open", "keys", "keys_off"))
    assert figures["keys"] == 10
