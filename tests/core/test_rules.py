"""How captured bytes become fields."""

from __future__ import annotations

import unicodedata
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.core.rules import Addresses, Parser, clean, decode
from mailguard.notation import V6, parse_address


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"yamamoto", "yamamoto"),
        ("山本".encode(), "山本"),
        ("山本".encode("cp932"), "山本"),
        (b"\xff\xfe", "\xff\xfe"),
        (b"a\x1b[31m\x07b\x7f", "a\ufffd[31m\ufffdb\ufffd"),
        ("a\u0085b\u2028c\u2029d\u202ee\u009b".encode(), "a\ufffdb\ufffdc\ufffdd\ufffde\ufffd"),
        (b"tab\there", "tab\ufffdhere"),
        (b"", ""),
    ],
)
def test_decode(raw: bytes, text: str) -> None:
    """UTF-8, else CP932, else Latin-1; what could steer a terminal or end a line is replaced."""
    assert decode(raw) == text


@given(st.binary(max_size=200))
def test_no_control_character_survives(raw: bytes) -> None:
    """No field ever holds a control character or a line or paragraph separator, whatever was captured."""
    for text in (decode(raw), clean(raw.decode("latin-1"))):
        assert not [char for char in text if unicodedata.category(char) in ("Cc", "Zl", "Zp")]
        assert len(text.splitlines()) <= 1


def test_addresses_are_remembered_and_bounded() -> None:
    """Text that is no address is None; the memory of addresses does not grow for ever."""
    known = Addresses()
    assert known[b"192.0.2.7"] == parse_address("192.0.2.7")
    assert known[b"::ffff:192.0.2.7"] == parse_address("192.0.2.7")
    assert known[b"unknown"] is None
    for number in range(70_000):
        known[b"10.%d.%d.%d" % (number >> 16, number >> 8 & 255, number & 255)]
    assert len(known) <= 65536


@pytest.mark.parametrize(
    ("program", "takes"),
    [
        (b"postfix/smtpd", True),
        (b"postfix/submission/smtpd", True),
        (b"smtpd", True),
        (b"postfix", True),
        (b"postfix/qmgr", False),
        (b"smtpd/x", False),
        (b"\xffsmtpd", False),
        (b"", False),
    ],
)
def test_programs_by_their_last_part(program: bytes, takes: bool) -> None:
    """A program belongs to a parser by the last component of its name."""
    assert Parser("p", "", (), programs=("smtpd", "postfix")).takes(program) is takes


def test_no_program_named_takes_all() -> None:
    """A parser that names no program reads every program."""
    assert Parser("p", "", ()).takes(b"anything")


@given(
    st.one_of(
        st.ip_addresses().map(str),
        st.ip_addresses(v=6).map(lambda address: address.exploded),
        st.text("0123456789abF:.%+_ \n\u0663", max_size=45),
        st.lists(st.sampled_from(["", "0", "ffff", "12345", "abCD", "1.2.3.4"]), max_size=10).map(":".join),
        st.lists(st.sampled_from(["0", "00", "7", "255", "256", "1000", "", "+1"]), max_size=6).map(".".join),
    )
)
def test_what_is_an_address(text: str) -> None:
    """Exactly what `ipaddress` takes, but no zones, and mapped IPv4 is IPv4."""
    try:
        value = int(ip_address(text))
        told = value if ":" not in text else value & 0xFFFFFFFF if value >> 32 == 0xFFFF else value + V6
    except ValueError:
        told = None
    assert parse_address(text) == (None if "%" in text else told)
