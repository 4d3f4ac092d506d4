import pytest

from loadtests.peers.inference import rivals
from loadtests.peers.install import ENVIRONMENTS, main
from loadtests.peers.retrieval.contenders import NAMES


def test_every_requirement_of_a_peer_is_an_exact_version() -> None:
    loose = [
        requirement
        for environment in ENVIRONMENTS.values()
        for requirement in environment.requirements
        if "==" not in requirement
    ]

    assert loose == []


def test_every_retriever_has_an_environment() -> None:
    assert set(NAMES) <= ENVIRONMENTS.keys()


def test_every_rival_of_the_inference_service_has_an_environment() -> None:
    assert set(rivals.NAMES) <= ENVIRONMENTS.keys()


def test_an_unknown_peer_is_refused_before_anything_is_installed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "colbert"])

    assert "'colbert' is none of llama_cpp, bm25" in capsys.readouterr().err
