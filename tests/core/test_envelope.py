"""What every prefix of a log line is opened to."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.core.envelope import DOVECOT, EPOST, EPOST_LINE, STYLES, SYSLOG, Opened, Opener

ARRIVAL = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
TOKYO = "Asia/Tokyo"


def opened(
    line: bytes, styles: tuple[str, ...] = STYLES, zone: str = TOKYO, arrival: float = ARRIVAL
) -> Opened | None:
    opener = Opener(styles, zone)
    opener.arrive(arrival, False)
    return opener.open(line, 0, len(line))


def message(line: bytes, found: Opened) -> bytes:
    return (line if found.data is None else found.data)[found.start : found.end]


def at(*parts: int, micro: int = 0) -> float:
    """A time of day in Tokyo as seconds since 1970."""
    return datetime(*parts, tzinfo=UTC).timestamp() - 9 * 3600 + micro / 1e6  # type: ignore[arg-type,misc]


NINE = at(2026, 11, 22, 9, 31, 7)
PRECISE = NINE + 0.354793

SYSLOG_LINES = [
    # line, time, host, program, pid, message
    (
        b"Nov 22 09:31:07 mail1 postfix/smtpd[202]: connect from x",
        NINE,
        b"mail1",
        b"postfix/smtpd",
        202,
        b"connect from x",
    ),
    (
        b"Nov  2 09:05:07 mail1 dovecot: auth: hello",
        at(2026, 11, 2, 9, 5, 7),
        b"mail1",
        b"dovecot",
        0,
        b"auth: hello",
    ),
    (
        b"Nov 2 09:05:07 mail1 dovecot: auth: hello",
        at(2026, 11, 2, 9, 5, 7),
        b"mail1",
        b"dovecot",
        0,
        b"auth: hello",
    ),
    (
        b"Nov 02 09:05:07 mail1 dovecot: auth: hello",
        at(2026, 11, 2, 9, 5, 7),
        b"mail1",
        b"dovecot",
        0,
        b"auth: hello",
    ),
    (b"Nov 22 09:31:07 mail1  dovecot: x", NINE, b"mail1", b"dovecot", 0, b"x"),
    (b"<22>Nov 22 09:31:07 mail1 postfix/master[182]: x", NINE, b"mail1", b"postfix/master", 182, b"x"),
    (b"57 <22>Nov 22 09:31:07 mail1 postfix/master[182]: x", NINE, b"mail1", b"postfix/master", 182, b"x"),
    (
        b"Nov 22 09:31:07 postfix/smtpd[202]: warning: x: y",
        NINE,
        b"",
        b"postfix/smtpd",
        202,
        b"warning: x: y",
    ),
    (b"Nov 22 09:31:07 relay/mail1 cyrus/imaps[7]: x", NINE, b"relay/mail1", b"cyrus/imaps", 7, b"x"),
    (b"Nov 22 09:31:07 2001:db8::5 postfix/smtpd[2]: x", NINE, b"2001:db8::5", b"postfix/smtpd", 2, b"x"),
    (b"Nov 22 09:31:07.354793 mail1 postfix/smtpd[2]: x", PRECISE, b"mail1", b"postfix/smtpd", 2, b"x"),
    (
        b"2026-11-22T09:31:07.354793+09:00 mail1 postfix/smtpd[182]: x",
        PRECISE,
        b"mail1",
        b"postfix/smtpd",
        182,
        b"x",
    ),
    (
        b"2026-11-22T09:31:07,354793+0900 mail1 postfix/smtpd[182]: x",
        PRECISE,
        b"mail1",
        b"postfix/smtpd",
        182,
        b"x",
    ),
    (b"2026-11-22T09:31:07+09 mail1 postfix/smtpd[182]: x", NINE, b"mail1", b"postfix/smtpd", 182, b"x"),
    (b"2026-11-22T00:31:07Z mail1 postfix/smtpd[182]: x", NINE, b"mail1", b"postfix/smtpd", 182, b"x"),
    (b"2026-11-22T00:31:07+00:00 nas-1 Connection: User x", NINE, b"nas-1", b"Connection", 0, b"User x"),
    (b"2026-11-21T19:31:07-05:00 mail1 a[1]: x", NINE, b"mail1", b"a", 1, b"x"),
    (b"<22>2026-11-22T09:31:07+09:00 mail1 a[1]: x", NINE, b"mail1", b"a", 1, b"x"),
    (b"2026-11-22 09:31:07 mail1 a[1]: x", NINE, b"mail1", b"a", 1, b"x"),
    (
        b"<22>1 2026-11-22T09:31:07.354793+09:00 mail1 postfix 182 - -  connect from x",
        PRECISE,
        b"mail1",
        b"postfix",
        182,
        b"connect from x",
    ),
    (b"<22>1 2026-11-22T00:31:07Z mail1 dovecot - - - x", NINE, b"mail1", b"dovecot", 0, b"x"),
    (b"<22>1 2026-11-22T00:31:07Z - - - - - x", NINE, b"", b"", 0, b"x"),
    (b"<22>1 - mail1 dovecot - - - x", ARRIVAL, b"mail1", b"dovecot", 0, b"x"),
    (
        b'<22>1 2026-11-22T00:31:07Z mail1 a 1 ID [x@1 k="v\\]\\"\\\\" q="]"][y] \xef\xbb\xbfx',
        NINE,
        b"mail1",
        b"a",
        1,
        b"x",
    ),
    (b"123 <22>1 2026-11-22T00:31:07Z mail1 a 1 - - x", NINE, b"mail1", b"a", 1, b"x"),
    (b"1 2026-11-22T00:31:07Z mail1 a 1 - - x", NINE, b"mail1", b"a", 1, b"x"),
    (b"Sun 2026-11-22 09:31:07 JST mail1 postfix/smtpd[202]: x", NINE, b"mail1", b"postfix/smtpd", 202, b"x"),
    (b"Sun 2026-11-22 00:31:07 UTC mail1 postfix/smtpd[202]: x", NINE, b"mail1", b"postfix/smtpd", 202, b"x"),
    (b"1795307467.354793 mail1 postfix/smtpd[202]: x", PRECISE, b"mail1", b"postfix/smtpd", 202, b"x"),
    (b"Nov 22 09:31:07 mail1 dovecot[23]: x", NINE, b"mail1", b"dovecot", 23, b"x"),
    (b"Nov 22 09:31:07 mail1 a[1]: x\r", NINE, b"mail1", b"a", 1, b"x"),
    (b"\0\0\0\0Nov 22 09:31:07 mail1 a[1]: x", NINE, b"mail1", b"a", 1, b"x"),
    (b"Nov 22 09:31:07 mail1 a[1]: ", NINE, b"mail1", b"a", 1, b""),
    (b"Nov 22 09:31:60 mail1 a[1]: x", NINE + 52, b"mail1", b"a", 1, b"x"),
    (
        "Nov 22 09:31:07 mail1 a[1]: x\u0085y\u2028z".encode(),
        NINE,
        b"mail1",
        b"a",
        1,
        "x\u0085y\u2028z".encode(),
    ),
]


@pytest.mark.parametrize(("line", "time", "host", "program", "pid", "text"), SYSLOG_LINES)
def test_syslog_styles(line: bytes, time: float, host: bytes, program: bytes, pid: int, text: bytes) -> None:
    """Each style that syslogd, journald or Postfix write gives stamp, host, program, pid and message."""
    found = opened(line)
    assert found is not None
    assert found.time == pytest.approx(time, abs=1e-6)
    assert (found.host, found.program, found.pid, message(line, found)) == (host, program, pid, text)
    assert found.style == SYSLOG


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\r",
        b"\0\0",
        b" <B0000000000>, [WSA...], text",
        b"Nix 22 09:31:07 mail1 a[1]: x",
        b"Nov 32 09:31:07 mail1 a[1]: x",
        b"Nov 22 24:31:07 mail1 a[1]: x",
        b"Nov 22 09:31:61 mail1 a[1]: x",
        b"2026-13-22T09:31:07Z mail1 a[1]: x",
        b"2026-02-29T09:31:07Z mail1 a[1]: x",
        b"2026-11-22T09:31:07+99:00 mail1 a[1]: x",
        b"[31/Feb/2026:00:00:00] x",
        b"<22>1 2026-11-22T09:31:07 x",
        b'<22>1 2026-11-22T00:31:07Z mail1 a 1 - [x k="v x',
        b"November 22 09:31:07 mail1 a[1]: x",
        b"99999999999999 <22>x",
    ],
)
def test_what_is_no_prefix(line: bytes) -> None:
    """A line whose prefix fits no style, or whose date does not exist, is not opened."""
    assert opened(line) is None


DOVECOT_LINES = [
    (b"Nov 22 09:31:07 imap-login: Info: Login: user=<a>", b"imap-login: Login: user=<a>"),
    (b"2026-11-22T09:31:07+0900 imap-login: Info: Login: user=<a>", b"imap-login: Login: user=<a>"),
    (b"2026-11-22 09:31:07.000000 imap-login: Info: Login: user=<a>", b"imap-login: Login: user=<a>"),
    (
        b"Nov 22 09:31:07 auth: Info: passwd-file(a,192.0.2.1): unknown user",
        b"auth: passwd-file(a,192.0.2.1): unknown user",
    ),
    (b"Nov 22 09:31:07 auth: Error: no socket", b"auth: Error: no socket"),
    (
        b"Nov 22 09:31:07 lmtp(a b@example.net)<517><Zx>: Info: msgid=<x>: saved",
        b"lmtp(a b@example.net)<517><Zx>: msgid=<x>: saved",
    ),
    (
        b"Nov 22 09:31:07 auth(a,2001:db8::1,sasl:plain)<s>: Info: passwd-file: unknown user",
        b"auth(a,2001:db8::1,sasl:plain)<s>: passwd-file: unknown user",
    ),
    (
        b"Nov 22 09:31:07 imap-login: Info: Disconnected (auth failed): user=<x: Info: y>, rip=192.0.2.1",
        b"imap-login: Disconnected (auth failed): user=<x: Info: y>, rip=192.0.2.1",
    ),
    (
        b"Nov 22 09:31:07 auth-worker(12): Info: pam(a,192.0.2.1): Warning: x",
        b"auth-worker(12): pam(a,192.0.2.1): Warning: x",
    ),
]


@pytest.mark.parametrize(("line", "text"), DOVECOT_LINES)
def test_dovecot_own_file(line: bytes, text: bytes) -> None:
    """Through its own file Dovecot says the same as through syslog: `Info: ` is taken out, other levels
    stay."""
    found = opened(line)
    assert found is not None
    assert (found.style, found.program, found.host) == (DOVECOT, b"dovecot", b"")
    assert found.time == NINE
    assert message(line, found) == text


def test_dovecot_style_only_where_asked() -> None:
    """Where no parser reads Dovecot's own file, such a line is a syslog line without host."""
    found = opened(b"Nov 22 09:31:07 imap-login: Info: x", (SYSLOG,))
    assert found is not None
    assert (found.style, found.program) == (SYSLOG, b"imap-login")


def test_dovecot_through_syslog_keeps_its_host() -> None:
    """A syslog line of Dovecot with a level word is no line of its own file."""
    line = b"Nov 22 09:31:07 mail1 dovecot: auth: Error: x"
    found = opened(line)
    assert found is not None
    assert (found.style, found.host, message(line, found)) == (SYSLOG, b"mail1", b"auth: Error: x")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"[22/Nov/2026:09:31:07], (example.jp), [192.0.2.10]:25", b"(example.jp), [192.0.2.10]:25"),
        (b"[22/Nov/2026:09:31:07] admin from 203.0.113.9 LOGIN\r", b"admin from 203.0.113.9 LOGIN"),
        (b"[22/Nov/2026:09:31:07],x", b"x"),
    ],
)
def test_bracketed_stamps(line: bytes, text: bytes) -> None:
    """E-Post's stamp in brackets, then an optional comma, which tells two styles, and an optional blank."""
    found = opened(line)
    assert found is not None
    style = EPOST if b"]," in line else EPOST_LINE
    assert (found.style, found.time, message(line, found)) == (style, NINE, text)


@pytest.mark.parametrize("text", [b"22/Nov/2026:09:31:07", b"[22/Nov/2026:09:31:07]"])
def test_stamp_inside_a_message(text: bytes) -> None:
    """A stamp that stands in a slot is read with and without its brackets."""
    opener = Opener(STYLES, TOKYO)
    opener.arrive(ARRIVAL, False)
    assert opener.stamp(text) == NINE
    assert opener.stamp(text + b"x") is None


def test_repetition_notice() -> None:
    """`message repeated N times: [ ... ]` is the message N times."""
    line = b"Nov 22 09:31:07 mail1 a[1]: message repeated 5 times: [ connect from [192.0.2.1]]"
    found = opened(line)
    assert found is not None
    assert (found.repeat, message(line, found)) == (5, b"connect from [192.0.2.1]")


def test_repetition_notice_needs_its_bracket() -> None:
    """A message that only begins like a repetition notice is itself."""
    line = b"Nov 22 09:31:07 mail1 a[1]: message repeated 5 times: [ x"
    found = opened(line)
    assert found is not None
    assert (found.repeat, message(line, found)) == (1, b"message repeated 5 times: [ x")


@given(st.binary(max_size=300))
def test_no_line_breaks_it(line: bytes) -> None:
    """Whatever stands in a line, it is opened inside its bounds or not at all."""
    found = opened(line)
    if found is not None:
        size = len(line if found.data is None else found.data)
        assert 0 <= found.start <= found.end <= size


@given(
    st.sampled_from([line for line, *_ in SYSLOG_LINES if not line.endswith(b"\r")]),
    st.binary(max_size=40).filter(lambda text: b"\n" not in text),
)
def test_what_follows_changes_no_prefix(line: bytes, more: bytes) -> None:
    """Text that a client puts behind a prefix changes neither stamp nor host nor program."""
    first, second = opened(line + b"y"), opened(line + b"y" + more)
    assert first is not None
    assert second is not None
    assert first[:5] == second[:5]


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_bounds(before: bytes, after: bytes) -> None:
    """Bytes outside data[start:end] are never looked at."""
    line = b"Nov 22 09:31:07 mail1 postfix/smtpd[202]: connect from unknown"
    opener = Opener(STYLES, TOKYO)
    opener.arrive(ARRIVAL, False)
    data = before + line + after
    alone, inside = opener.open(line, 0, len(line)), opener.open(data, len(before), len(before) + len(line))
    assert alone is not None
    assert inside is not None
    assert message(data, inside) == message(line, alone)
    assert alone[:4] == inside[:4]


@pytest.mark.parametrize("host", ["fd00::1", "fe80::25", "mail1", "192.0.2.250"])
@pytest.mark.parametrize("level", ["Info", "Debug", "Warning", "Error"])
def test_level_words_of_a_client_open_nothing(host: str, level: str) -> None:
    """A client's level word makes no Dovecot file of a syslog line, whatever the host is called."""
    text = f"connect from x, user=<a: {level}: b>"
    found = opened(f"Nov 22 09:31:07 {host} postfix/smtpd[202]: {text}".encode())
    assert found is not None
    assert (found.style, found.host, found.program, found.pid) == (
        SYSLOG,
        host.encode(),
        b"postfix/smtpd",
        202,
    )


LABEL = b"@%016x%08x" % ((1 << 62) + 10 + int(NINE), 354_793_000)


@pytest.mark.parametrize(
    ("line", "program", "text", "style"),
    [
        (b" postfix/smtpd[202]: connect from x", b"postfix/smtpd", b"connect from x", SYSLOG),
        (b" mail1 postfix/smtpd[202]: connect from x", b"postfix/smtpd", b"connect from x", SYSLOG),
        (
            b" Jan  1 00:00:01 mail1 postfix/smtpd[202]: connect from x",
            b"postfix/smtpd",
            b"connect from x",
            SYSLOG,
        ),
        (b" 2020-01-01T00:00:01.5+00:00 mail1 dovecot: auth: x", b"dovecot", b"auth: x", SYSLOG),
        (b" imap-login: Info: Login: user=<a>", b"dovecot", b"imap-login: Login: user=<a>", DOVECOT),
        (b" Jan  1 00:00:01 imap-login: Info: x", b"dovecot", b"imap-login: x", DOVECOT),
    ],
)
def test_tai64n_labels(line: bytes, program: bytes, text: bytes, style: str) -> None:
    """The label is the line's time; a stamp of the program's own behind it is not."""
    line = LABEL + line
    found = opened(line)
    assert found is not None
    assert found.time == pytest.approx(PRECISE, abs=1e-6)
    assert (found.program, message(line, found), found.style) == (program, text, style)


@pytest.mark.parametrize(
    "line",
    [
        LABEL.upper() + b" dovecot: x",
        LABEL[:-1] + b" dovecot: x",
        LABEL + b"dovecot: x",
        LABEL + b" ",
        LABEL[:-8] + b"ffffffff dovecot: x",
        b"@4fffffffffffffff00000000 dovecot: x",
        b"@400000000000000000000000 dovecot: x",
        b"@" + LABEL + b" dovecot: x",
    ],
)
def test_what_is_no_tai64n_label(line: bytes) -> None:
    """Other digits, no room for a nanosecond, no year that a clock can show, or nothing behind it."""
    assert opened(line) is None
