import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.cli.components import asks_for_keys, check_addresses, choose, suite_components
from services.cli.supervisor import Component
from shared.errors import Conflict, InvalidInput, Unavailable
from shared.settings import CommonSettings


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def suite(folder: Path, **settings: str) -> dict[str, Component]:
    components = suite_components(CommonSettings.model_construct(home=folder, **settings))
    return {component.name: component for component in components}


def test_the_suite_is_redis_five_services_a_worker_and_the_sweeper(tmp_path: Path) -> None:
    ports = {
        name: component.address and component.address[1]
        for name, component in suite(tmp_path).items()
    }

    assert ports == {
        "redis": 6390,
        "generation": 8101,
        "mapping": 8102,
        "augmentation": 8103,
        "inference": 8100,
        "dashboard": 8104,
        "worker": None,
        "sweeper": None,
    }


def test_redis_starts_first_and_stops_last(tmp_path: Path) -> None:
    parts = suite(tmp_path)

    assert all(
        part.stage > parts["redis"].stage for name, part in parts.items() if name != "redis"
    )


def test_every_process_gets_the_same_home_wherever_it_is_started(tmp_path: Path) -> None:
    parts = suite(tmp_path)

    homes = {part.environment.get("SKIM_HOME") for name, part in parts.items() if name != "redis"}
    assert homes == {str(tmp_path.resolve())}


def test_the_graph_of_the_mapping_lies_in_huge_pages_unless_the_operator_tunes_the_allocator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    started = suite(tmp_path)["mapping"].environment["GLIBC_TUNABLES"]

    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=2")

    assert started == "glibc.malloc.hugetlb=1"
    assert "GLIBC_TUNABLES" not in suite(tmp_path)["mapping"].environment


def test_a_service_listens_where_its_clients_look(tmp_path: Path) -> None:
    mapping = suite(tmp_path, mapping_url="http://127.0.0.1:9102")["mapping"]

    assert mapping.address == ("127.0.0.1", 9102)
    assert mapping.environment["SKIM_MAPPING_PORT"] == "9102"


def test_what_runs_on_another_machine_is_not_started(tmp_path: Path) -> None:
    parts = suite(
        tmp_path, generation_url="http://gpu.example:8101", redis_url="redis://db.example:6379/0"
    )

    assert not {"generation", "redis"} & set(parts)


def test_parts_can_be_chosen_by_name(tmp_path: Path) -> None:
    chosen = choose(list(suite(tmp_path).values()), "mapping, generation")

    assert [component.name for component in chosen] == ["generation", "mapping"]


def test_an_unknown_part_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="mappping"):
        choose(list(suite(tmp_path).values()), "generation,mappping")


def test_a_port_in_use_is_named_with_the_service_that_wants_it(taken_port: int) -> None:
    component = Component("mapping", ["true"], 1, address=("127.0.0.1", taken_port))

    with pytest.raises(Conflict, match=f"mapping: port {taken_port} .* in use"):
        check_addresses([component])


def test_two_parts_with_one_port_are_named() -> None:
    parts = [Component(name, ["true"], 1, address=("127.0.0.1", 8102)) for name in ("a", "b")]

    with pytest.raises(Conflict, match="b: port 8102 is meant for a"):
        check_addresses(parts)


def test_a_probe_without_an_answer_says_unavailable(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        parts = suite(
            tmp_path,
            redis_url=f"redis://127.0.0.1:{port}/0",
            mapping_url=f"http://127.0.0.1:{port}",
        )

        for name in ("redis", "mapping"):
            probe = parts[name].probe
            assert probe is not None
            with pytest.raises(Unavailable):
                probe()


def auth_of(folder: Path, **settings: str) -> set[str | None]:
    parts = suite(folder, **settings).items()
    return {part.environment.get("SKIM_AUTH") for name, part in parts if name != "redis"}


def test_where_nobody_made_a_key_the_suite_asks_for_none(tmp_path: Path) -> None:
    assert auth_of(tmp_path) == {"off"}


@pytest.mark.parametrize("content", ["", "feed read " + "0" * 64])
def test_where_there_is_a_key_file_the_suite_asks_for_keys(tmp_path: Path, content: str) -> None:
    (tmp_path / "keys").write_text(content)

    assert auth_of(tmp_path) == {None}


def test_what_the_settings_say_about_keys_goes_first(tmp_path: Path) -> None:
    common = CommonSettings(home=tmp_path, auth="keys")

    assert asks_for_keys(common)
    (tmp_path / "keys").touch()
    assert not asks_for_keys(CommonSettings(home=tmp_path, auth="off"))
