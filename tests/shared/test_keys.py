import stat
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from shared.errors import Conflict, Damaged, InvalidInput, NotFound
from shared.keys import ApiKey, KeyRing, Scope, add_key, new_key, parse_keys, read_keys, remove_key


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def made(path: Path, name: str, *scopes: Scope) -> str:
    token, key = new_key(name, scopes or [Scope.READ])
    add_key(path, key)
    return token


def test_a_key_is_known_by_its_whole_self_only(path: Path) -> None:
    token, other = made(path, "feed", Scope.INGEST), made(path, "shop")
    ring = KeyRing(path)

    found = ring.find(token)
    assert found is not None
    assert (found.name, found.scopes) == ("feed", {Scope.INGEST})
    secret = token.rpartition("_")[2]
    for wrong in (
        *("", "skim", secret, f"skim_{secret}", token[:-1], token + "0", token.upper()),
        *(f" {token}", f"skim_shop_{secret}", f"skim_nobody_{secret}", f"x_feed_{secret}"),
        other.replace("shop", "feed"),
        "\udcff",
    ):
        assert ring.find(wrong) is None


def test_the_file_holds_no_secret_and_is_its_owners_alone(path: Path) -> None:
    token = made(path, "feed")

    assert token.rpartition("_")[2] not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_kept_of_a_key_is_read_back() -> None:
    _, key = new_key("feed-2", [Scope.READ, Scope.INGEST], 0.5)

    assert parse_keys(f"# of the shop\n\n{key.line()}\n", "x") == {"feed-2": key}


def test_a_second_key_of_a_name_is_refused(path: Path) -> None:
    made(path, "feed")

    with pytest.raises(Conflict, match="'feed' already"):
        made(path, "feed")


@pytest.mark.parametrize("name", ["", "Feed", "a b", "a_b", "a" * 41, "a\n", "ä"])
def test_a_name_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        new_key(name, [Scope.READ])


def test_a_key_without_a_scope_is_none() -> None:
    with pytest.raises(InvalidInput):
        new_key("feed", [])


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_limit_is_above_nothing(rate: float) -> None:
    with pytest.raises(InvalidInput):
        new_key("feed", [Scope.READ], rate)


@pytest.mark.parametrize(
    "line",
    ["feed", "feed read abc", "feed write {hash}", "feed read {hash} x", "a read {hash} 1 2"],
)
def test_a_line_that_is_no_key_is_named_and_not_repeated(line: str) -> None:
    with pytest.raises(InvalidInput, match="keys, line 2") as caught:
        parse_keys("#\n" + line.format(hash="a" * 64), "keys")

    assert "a" * 64 not in str(caught.value)


def test_a_revoked_key_leaves_and_comments_stay(path: Path) -> None:
    made(path, "feed")
    path.write_text("# who: the shop\n" + path.read_text())
    kept = made(path, "shop")

    remove_key(path, "feed")

    assert list(read_keys(path)) == ["shop"]
    assert path.read_text().startswith("# who: the shop\n")
    assert KeyRing(path).find(kept)
    with pytest.raises(NotFound):
        remove_key(path, "feed")


def test_a_file_that_every_user_may_write_is_no_key_file(path: Path) -> None:
    made(path, "feed")
    path.chmod(0o666)

    with pytest.raises(Damaged, match="chmod o-w"):
        read_keys(path)


def test_keys_come_and_go_without_a_restart(path: Path) -> None:
    clock = Clock()
    ring = KeyRing(path, clock=clock)
    token = made(path, "feed")
    assert ring.find(token) is None

    clock.seconds += 1
    assert ring.find(token)

    remove_key(path, "feed")
    clock.seconds += 1

    assert ring.find(token) is None


@pytest.mark.parametrize("content", [b"feed read nonsense", b"\xff\xfe", None])
def test_a_broken_file_keeps_the_keys_of_before_and_says_so_once(
    path: Path, content: bytes | None
) -> None:
    clock = Clock()
    token = made(path, "feed")
    ring = KeyRing(path, clock=clock)
    path.unlink() if content is None else path.write_bytes(content)

    with capture_logs() as logs:
        for _ in range(3):
            clock.seconds += 1
            assert ring.find(token)

    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("keys_not_read", "error")]
    assert token not in str(logs)


def test_an_empty_file_takes_the_keys_away(path: Path) -> None:
    clock = Clock()
    token = made(path, "feed")
    ring = KeyRing(path, clock=clock)
    path.write_text("")
    clock.seconds += 1

    assert ring.find(token) is None


def test_keys_of_the_environment_are_beside_those_of_the_file(path: Path) -> None:
    token, key = new_key("fixed", [Scope.ADMIN])
    of_file = made(path, "feed")
    ring = KeyRing(path, {"fixed": key})

    assert ring.find(token) == ApiKey("fixed", frozenset({Scope.ADMIN}), key.sha256)
    assert ring.find(of_file)
