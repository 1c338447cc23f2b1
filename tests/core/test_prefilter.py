"""The prefilters: one answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.core.prefilter import ENGINES, MOST, SHIFT, Prefilter, choose
from tests.engines import HERE

SMALL = st.binary(min_size=1, max_size=4).map(lambda raw: bytes(byte % 4 + 97 for byte in raw))


@pytest.fixture(params=HERE)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def found(prefilter: Prefilter, data: bytes, start: int, end: int) -> list[tuple[int, int]]:
    return [(hit >> SHIFT, hit & MOST - 1) for hit in prefilter.find(data, start, end)]


def test_all_occurrences(engine: str) -> None:
    """Overlapping and contained literals are all reported, sorted by where they end."""
    literals = [b"from ", b"disconnect from ", b"\n", b"a+b", b"\0x", b"\xff\xfe"]
    data = b"disconnect from a+b\0x\xff\xfe\nfrom a"
    expected = sorted(
        (at + len(text), number)
        for number, text in enumerate(literals)
        for at in range(len(data))
        if data.startswith(text, at)
    )
    assert found(choose(literals, engine), data, 0, len(data)) == expected


def test_bounds_and_buffers(engine: str) -> None:
    """Only the part asked for is searched, offsets are those of the whole, and a buffer is free
    afterwards."""
    data = bytearray(b"needle needle needle")
    prefilter = choose([b"needle"], engine)
    assert found(prefilter, data, 1, 19) == [(13, 0)]  # type: ignore[arg-type]
    data.extend(b"!")  # would fail while somebody still looks at it
    assert found(prefilter, data, 0, 6) == [(6, 0)]  # type: ignore[arg-type]
    assert found(prefilter, data, 3, 3) == []  # type: ignore[arg-type]


@given(st.lists(SMALL, min_size=1, max_size=6, unique=True), st.binary(max_size=80), st.integers(0, 40))
def test_engines_agree(literals: list[bytes], raw: bytes, start: int) -> None:
    """On any text over a small alphabet the engines answer the same."""
    data = bytes(byte % 5 + 97 for byte in raw)
    start = min(start, len(data))
    answers = [choose(literals, engine).find(data, start, len(data)) for engine in HERE]
    assert all(answer == answers[0] for answer in answers)


def test_choice() -> None:
    """`auto` takes one that works; an unknown name and too many literals are errors; none is fine."""
    assert choose([b"x"]).name in ENGINES
    assert choose([b"x"], compiled=False).name != "native"
    assert choose([]).find(b"abc", 0, 3) == []
    with pytest.raises(ValueError, match="no such prefilter"):
        choose([b"x"], "grep")
    with pytest.raises(ValueError, match="literals"):
        choose([b"%d" % number for number in range(MOST + 1)])
