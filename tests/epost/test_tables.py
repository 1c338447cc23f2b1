"""Reject tables and effect.dat, read as E-Post reads them; times as E-Post writes them."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mailguard.epost import effect, overlay, reserved, tables
from mailguard.epost.filetime import from_filetime, to_filetime
from mailguard.model import Network
from mailguard.notation import V6, format_network, parse_address
from tests.epost.beside import network
from tests.epost_server.effect import verdict as verdict_of_effect
from tests.epost_server.tables import RejectTable

NOW = 1_795_000_000.0


def row(text: str) -> tables.Row:
    (one,) = tables.parse(text.encode())
    return one


def test_the_time_in_the_facts_is_read() -> None:
    """The one FILETIME that E-Post's own pages explain: 2025-07-23 22:42:31 in Japan."""
    assert int(from_filetime(133977517517477385)) == 1753278151


@given(st.floats(min_value=-1e9, max_value=1e11))
def test_times_make_the_round_trip(moment: float) -> None:
    """A time is the same after writing and reading, to the tick and the resolution of a float."""
    assert abs(from_filetime(to_filetime(moment)) - moment) < 2e-5


@pytest.mark.parametrize("moment", [-1e12, 1e300, 0.0])
def test_no_time_is_ever_the_mark_of_a_permanent_row(moment: float) -> None:
    """Whatever is asked for, the count is above 0 and fits 64 bits."""
    assert 0 < to_filetime(moment) < 1 << 63


@pytest.mark.parametrize(
    ("text", "kind", "flaw"),
    [
        ("192.0.2.15\ttrue", tables.ALLOW, ""),
        ("192.0.2.99\t133977293793391816", tables.TIMED, ""),
        ("203.0.113.9\t133977517517477385\tiplock", tables.TIMED, ""),
        ("198.51.100.7\t", tables.PERMANENT, ""),
        ("198.51.100.8", tables.PERMANENT, ""),
        ("198.51.100.8\t0", tables.PERMANENT, ""),
        ("203.0.113.0/24\t", tables.PERMANENT, ""),
        ("198.51.100.7\t'note", tables.PERMANENT, ""),
        ("192.0.2.*", tables.PERMANENT, ""),
        ("*.*.*.*\ttrue", tables.ALLOW, ""),
        ("*", tables.PERMANENT, ""),
        ("2001:db8::1", tables.PERMANENT, ""),
        ("2001:db8::/32\t0", tables.PERMANENT, ""),
        ("'192.0.2.1", tables.COMMENT, ""),
        (" 192.0.2.1", tables.EMPTY, ""),
        ("2001:DB8::1", tables.PERMANENT, tables.NOT_PLAIN),
        ("2001:db8:0::1", tables.PERMANENT, tables.NOT_PLAIN),
        ("192.0.2*", tables.PERMANENT, tables.STAR),
        ("192.0.2.1/24", tables.PERMANENT, tables.HOST_BITS),
        ("nonsense", tables.BROKEN, tables.NO_PATTERN),
        ("192.0.2.300", tables.BROKEN, tables.NO_PATTERN),
        ("192.0.2.0/33", tables.BROKEN, tables.NO_PATTERN),
        ("192.0.2.1\tfalse", tables.BROKEN, tables.NO_VALUE),
        ("192.0.2.1\t1\tother", tables.BROKEN, tables.NO_VALUE),
        ("192.0.2.1\t" + "9" * 120, tables.BROKEN, tables.TOO_LONG),
        ("あ\t0", tables.BROKEN, tables.NOT_ASCII),
    ],
)
def test_lines_of_a_table(text: str, kind: str, flaw: str) -> None:
    """Each sort of line is what the facts say; a damaged one disables itself alone."""
    one = row(text)
    assert (one.kind, one.flaw) == (kind, flaw)


_address4 = st.integers(0xC0000200, 0xC0000203)
_address6 = st.sampled_from(["2001:db8::1", "2001:db8:0:1::1", "2001:db8:1::"]).map(parse_address)
_clients = st.one_of(_address4, _address6)
_values = st.sampled_from(
    ["", "\t", "\t0", "\ttrue", f"\t{to_filetime(NOW - 60)}", f"\t{to_filetime(NOW - 7200)}", "\t1x"]
)
_patterns = st.sampled_from(
    [
        *("192.0.2.1", "192.0.2.2", "192.0.2.*", "192.*", "192.0.2*", "*", "192.0.2.0/30", "192.0.2.2/31"),
        *("2001:db8::1", "2001:DB8::1", "2001:db8::/48", "'x", " y", "nonsense", "0.0.0.0/0", "::/0"),
    ]
)
_lines = st.builds(
    lambda pattern, value, end: pattern + value + end, _patterns, _values, st.sampled_from(["\n", "\r\n"])
)


@given(st.lists(_lines, max_size=6), _clients, st.sampled_from([0.0, 3600.0]))
def test_who_is_refused_is_what_the_stand_in_says(
    tmp_path_factory: pytest.TempPathFactory, content: list[str], client: int, lock: float
) -> None:
    """For any table the row that decides is the one by which the stand-in for the server decides."""
    path = tmp_path_factory.getbasetemp() / "any.dat"
    path.write_bytes("".join(content).encode())
    address = ipaddress.ip_address(client - V6 if client >= V6 else client)
    if client >= V6:
        address = ipaddress.IPv6Address(client - V6)
    said = RejectTable(path).verdict(str(address), NOW, lock, iplock_rows=False)
    decides = tables.decides(tables.parse(path.read_bytes()), client, NOW, lock)
    assert said == ("free" if decides is None else "white" if decides.kind == tables.ALLOW else "refused")


@given(
    st.one_of(
        st.builds(
            lambda a, p: Network(a >> (32 - p) << (32 - p), p), st.integers(0, 2**32 - 1), st.integers(1, 32)
        ),
        st.builds(
            lambda a, p: Network(V6 + (a >> (128 - p) << (128 - p)), p),
            st.integers(2**32 << 16, 2**128 - 1),
            st.integers(1, 128),
        ),
    ),
    st.one_of(st.none(), st.floats(1e9, 1e11)),
    st.sampled_from([0.0, 60.0, 1e9]),
)
def test_rows_of_ours_are_rows(banned: Network, until: float | None, lock: float) -> None:
    """What is written is short, ASCII, and read back as that network with that end."""
    text = tables.reject_row(banned, until, lock)
    assert len(text) + 2 < reserved.WIDTH
    one = row(text.decode("ascii"))
    assert one.rejects
    assert one.flaw == ""
    assert one.network == banned
    if until is None or not lock:
        assert one.kind == tables.PERMANENT
    else:
        ends = one.ends(lock)
        assert ends is not None
        assert abs(ends - until) < 1e-4 or until - lock < -1.1e10
    assert row(tables.allow_row(banned).decode("ascii")).kind == tables.ALLOW


@pytest.mark.parametrize(
    ("text", "kind", "flaw"),
    [
        ("#<> default", effect.ENTRY, ""),
        ("192.168.0.* true", effect.ENTRY, ""),
        ("*.*.*.* norelay,2", effect.ENTRY, ""),
        ("spam*@example.net FALSE", effect.ENTRY, ""),
        ("example.com", effect.ENTRY, ""),
        ("' a comment", effect.COMMENT, ""),
        (" 192.0.2.1 true", effect.EMPTY, ""),
        ("# a comment", effect.BROKEN, effect.HASH_COMMENT),
        ("192.0.2.1\ttrue", effect.BROKEN, effect.TAB),
        ("192.0.2.1 yes", effect.BROKEN, effect.NO_TYPE),
        ("192.0.2.1 norelay,9", effect.BROKEN, effect.NO_TYPE),
        ("192.0.2.999 true", effect.BROKEN, effect.NO_PATTERN),
    ],
)
def test_lines_of_effect(text: str, kind: str, flaw: str) -> None:
    """Each sort of line is what the facts say."""
    (one,) = effect.parse(text.encode() + b"\n")
    assert (one.kind, one.flaw) == (kind, flaw)


def test_refusals_belong_before_the_line_for_everybody(tmp_path: Path) -> None:
    """Behind the defaults and the white list, before the last line: then they decide, and spare who is
    spared."""
    data = b"#<> default\n#blank false\n192.0.2.0/28 true\n*.*.*.* norelay,2\n"
    place = effect.place(effect.parse(data))
    path = tmp_path / "effect.dat"
    path.write_bytes(data[:place] + effect.refusal(network("192.0.2.0/24")) + b"\n" + data[place:])
    assert verdict_of_effect(path, "192.0.2.200", "a@example.net", False) == "refuse"
    assert verdict_of_effect(path, "192.0.2.1", "a@example.net", False) == "accept"
    assert verdict_of_effect(path, "198.51.100.1", "a@example.net", False) == "local-only"


def test_reserved_lines_are_what_they_are_taken_for() -> None:
    """Of one width with either line end, comments for the server, and nothing else looks like them."""
    for end in (b"\n", b"\r\n"):
        for allowed in (True, False):
            line = reserved.reserved(allowed, end)
            assert reserved.is_reserved(line)
            assert line.startswith(reserved.BEGINS)
            assert row(line.decode("ascii")).kind == tables.COMMENT
            assert not reserved.is_reserved(line[1:])
            assert not reserved.is_reserved(line.replace(b"....", b"..x.", 1))


def test_networks_in_rows_are_named_as_the_server_names_clients() -> None:
    """IPv6 compressed and in lower case: the server compares text."""
    assert tables.reject_row(network("2001:0DB8:0:0::1"), None, 0) == b"2001:db8::1\t0"
    assert format_network(network("2001:db8::/64")) == "2001:db8::/64"


_letters = st.text("0123456789.:/abcdef\t'", max_size=20).map(str.encode)


_ends = st.sampled_from([b"\n", b"\r\n"])


@given(st.lists(_letters, min_size=1, max_size=3), _letters, _ends, _ends)
def test_a_comment_becomes_another_by_way_of_comments_only(
    old: list[bytes], text: bytes, before_end: bytes, end: bytes
) -> None:
    """After each write, and with each write done in part, every line begins with the mark; then it is the
    new."""
    before = b"".join(b"'" + line + before_end for line in old)
    row = b"'" + text[: max(0, len(before) - len(end) - 1)] + end
    filler = len(before) - len(row)
    assume(filler == 0 or filler > len(end))  # only what fits is put there
    after = row + (b"'" + b"." * (filler - 1 - len(end)) + end if filler else b"")
    now = before
    for offset, part in overlay.steps(before, after):
        for done in range(len(part) + 1):
            seen = now[:offset] + part[:done] + now[offset + done :]
            assert all(line.startswith(b"'") for line in seen.split(b"\n") if line), seen
            assert len(seen) == len(before)
            assert seen.endswith(b"\n")
        now = now[:offset] + part + now[offset + len(part) :]
    assert now == after
