"""Cutting bytes into lines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailguard.feeds import lines as cutting
from mailguard.feeds.lines import LIMIT, PENDING, cut


@pytest.fixture(autouse=True, params=["compiled", "python"], scope="module")
def _both(request: pytest.FixtureRequest) -> Iterator[None]:
    """Long lines are looked for in compiled code where there is some, else in Python; both cut alike."""
    before = cutting._long_at
    if request.param == "python":
        cutting._long_at = None
    yield
    cutting._long_at = before


def pieces(data: bytes, **options: bool) -> tuple[list[bytes], bytes, list[bytes]]:
    """Lines handed out, what is left for later, and the cut lines."""
    buffer = bytearray(data + b"?")
    found = cut(buffer, 0, len(data), **options)
    text = b"".join(bytes(buffer[start:end]) for start, end, _ in found.pieces)
    cuts = [bytes(buffer[at:]).split(b"\n")[0] for piece in found.pieces for at in piece.cuts]
    return text.split(b"\n")[:-1], data[found.consumed :], cuts


@pytest.mark.parametrize(
    ("data", "lines", "rest"),
    [
        (b"", [], b""),
        (b"a\nb\n", [b"a", b"b"], b""),
        (b"a\nb", [b"a"], b"b"),
        (b"\n\n", [b"", b""], b""),
        (b"a\r\nb\r\n", [b"a\r", b"b\r"], b""),
        (b"a\xc2\x85b\xe2\x80\xa8c\x0bd\x0ce\x1cf\n", [b"a\xc2\x85b\xe2\x80\xa8c\x0bd\x0ce\x1cf"], b""),
        (b"\0\0\0a\nb\n", [b"a", b"b"], b""),
        (b"a\n\0\0b\n", [b"a", b"b"], b""),
        (b"a\0\0b\nc\n", [b"a\0\0b", b"c"], b""),
        (b"a\0b\n\0c\0\nd\n", [b"a\0b", b"c\0", b"d"], b""),
        (b"\0\0\n", [b""], b""),
        (b"a\n\0\0", [b"a"], b"\0\0"),
        (b"x" * LIMIT + b"\n", [b"x" * LIMIT], b""),
    ],
)
def test_lines(data: bytes, lines: list[bytes], rest: bytes) -> None:
    """LF ends a line and nothing else does; NUL runs before a line are left out, inside a line they stay."""
    assert pieces(data) == (lines, rest, [])


def test_a_long_line_is_cut_and_the_next_one_is_whole() -> None:
    """Of a line over the limit the beginning is kept, its rest never becomes a line of its own."""
    long = b"L" * (LIMIT + 1)
    lines, rest, cuts = pieces(b"a\n" + long + b"\nb\n" + long + b"\n")
    assert lines == [b"a", long[:LIMIT], b"b", long[:LIMIT]]
    assert (rest, cuts) == (b"", [long[:LIMIT]] * 2)


def test_an_unterminated_line_is_waited_for_up_to_a_bound() -> None:
    """Then its beginning goes out as cut, and what follows up to its LF is dropped."""
    assert pieces(b"x" * PENDING) == ([], b"x" * PENDING, [])
    lines, rest, cuts = pieces(b"x" * (PENDING + 1))
    assert (lines, rest, cuts) == ([b"x" * LIMIT], b"", [b"x" * LIMIT])
    assert pieces(b"xxx\nb\n", skipping=True) == ([b"b"], b"", [])
    assert pieces(b"xxx", skipping=True) == ([], b"", [])


def test_endless_nul_bytes_are_not_kept() -> None:
    """A hole left by copytruncate passes without a line and without growing."""
    assert pieces(b"\0" * (PENDING + 1)) == ([], b"", [])
    assert pieces(b"\0" * (PENDING + 1) + b"a") == ([], b"a", [])


def test_the_last_line_of_a_finished_log_goes_out_as_cut() -> None:
    """It may be half a line: only rules that a cut cannot deceive may look at it."""
    assert pieces(b"a\nb", final=True) == ([b"a", b"b"], b"", [b"b"])
    long = b"b" * (LIMIT + 5)
    assert pieces(long, final=True) == ([long[:LIMIT]], b"", [long[:LIMIT]])
    assert pieces(b"rest", final=True, skipping=True) == ([], b"", [])


text = st.lists(
    st.one_of(
        st.binary(max_size=20).map(lambda line: line.replace(b"\0", b"0").replace(b"\n", b"")),
        st.integers(LIMIT - 2, LIMIT + 3).map(lambda size: b"x" * size),
        st.just(b"y" * (PENDING + 9)),
    ),
    max_size=8,
)


@settings(deadline=None)
@given(lines=text, chunks=st.lists(st.integers(700, 3 * LIMIT), min_size=1, max_size=6))
@example(lines=[b"y" * (PENDING + 9), b"a"], chunks=[PENDING + 1])
def test_chunks_do_not_matter(lines: list[bytes], chunks: list[int]) -> None:
    """However the bytes arrive, the same lines come out, none longer than the limit, each position true."""
    data = b"".join(line + b"\n" for line in lines)
    handed: list[bytes] = []
    positions: list[int] = []
    offset = end = turn = 0
    skipping = False
    while offset < len(data):
        end = min(len(data), end + chunks[turn % len(chunks)])
        turn += 1
        buffer = bytearray(data[offset:end] + b"?")
        found = cut(buffer, 0, end - offset, skipping)
        for start, stop, _ in found.pieces:
            for line in bytes(buffer[start:stop]).split(b"\n")[:-1]:
                handed.append(line)
            positions.append(offset + start)
            assert offset + start == 0 or data[offset + start - 1 : offset + start] == b"\n"
        offset += found.consumed
        skipping = found.skipping
    assert handed == [line[:LIMIT] for line in lines]
    assert positions == sorted(positions)
