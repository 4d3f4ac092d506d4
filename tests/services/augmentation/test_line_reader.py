import hashlib

from hypothesis import given
from hypothesis import strategies as st

from services.augmentation.line_reader import LineReader, Lines
from shared.store.intake import Position

pieces = st.lists(st.sampled_from([b"a", b"bcd", b"\n", b"\n\n", b"efghij", b"\r\n"]), max_size=20)


def read(
    data: list[bytes],
    *,
    chunk_bytes: int = 1,
    max_line_bytes: int = 100,
    at: Position | None = None,
) -> list[Lines]:
    reader = LineReader(chunk_bytes=chunk_bytes, max_line_bytes=max_line_bytes, at=at)
    found: list[Lines] = []
    for piece in data:
        rest = piece
        if reader.is_skipping:
            rest, is_same = reader.skip(piece)
            assert is_same
        found += reader.feed(rest)
    return [*found, *reader.end()]


def lines_of(found: list[Lines]) -> list[bytes | None]:
    return [line for each in found for line in each.lines]


@given(data=pieces, chunk_bytes=st.integers(min_value=1, max_value=9))
def test_however_a_stream_is_cut_its_lines_are_the_same(
    data: list[bytes], chunk_bytes: int
) -> None:
    whole = b"".join(data)

    found = read(data, chunk_bytes=chunk_bytes)

    expected = whole.split(b"\n")
    assert lines_of(found) == (expected if expected[-1] else expected[:-1])
    assert [each.first for each in found] == [
        1 + sum(len(before.lines) for before in found[:at]) for at in range(len(found))
    ]


@given(data=pieces)
def test_each_chunk_goes_on_where_the_one_before_ended(data: list[bytes]) -> None:
    whole = b"".join(data)

    found = read(data)

    assert [each.since for each in found] == [0, *(each.to.bytes for each in found)][: len(found)]
    for each in found:
        assert each.to.digest == hashlib.sha256(whole[: each.to.bytes]).hexdigest()
    assert sum(len(each.lines) for each in found) == (found[-1].to.lines if found else 0)
    assert (found[-1].to.bytes if found else 0) == len(whole)


@given(data=pieces, at=st.integers(min_value=0, max_value=9))
def test_a_stream_can_be_gone_on_with_from_any_chunk(data: list[bytes], at: int) -> None:
    found = read(data)
    before = found[:at]

    rest = read(data, at=before[-1].to if before else None)

    assert lines_of(before) + lines_of(rest) == lines_of(found)
    assert [each.to for each in before + rest][-1:] == [each.to for each in found][-1:]


@given(data=pieces, chunk_bytes=st.integers(min_value=1, max_value=9))
def test_a_line_that_is_too_long_is_left_out_and_no_other(
    data: list[bytes], chunk_bytes: int
) -> None:
    expected = [
        line if len(line) <= 4 else None for line in lines_of(read(data, chunk_bytes=chunk_bytes))
    ]

    found = read(data, chunk_bytes=chunk_bytes, max_line_bytes=4)

    assert lines_of(found) == expected
    assert (found[-1].to if found else None) == (read(data)[-1].to if found else None)


def test_a_line_without_end_is_not_kept_in_memory() -> None:
    reader = LineReader(chunk_bytes=10, max_line_bytes=100)

    for _ in range(1_000):
        assert list(reader.feed(b"x" * 50)) == []

    assert len(reader._buffer) <= 200
    assert lines_of(list(reader.end())) == [None]


def test_another_stream_is_told_from_the_one_before() -> None:
    at = read([b"abc\n"])[-1].to
    reader = LineReader(chunk_bytes=1, max_line_bytes=100, at=at)

    assert reader.skip(b"abd\n") == (b"", False)
