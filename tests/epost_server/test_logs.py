"""The stand-in writes what the facts about the formats show, byte for byte."""

from __future__ import annotations

import base64
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from mailguard.clock import ManualClock
from tests.epost_server import POP_ANCESTOR, Options, Server, Session

TOKYO = ZoneInfo("Asia/Tokyo")
PEOPLE = {"sato": "himitsu", "suzuki": "naisho"}


def at(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=TOKYO).timestamp()


def encoded(text: str | bytes) -> str:
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


class Stand:
    """A server in a folder with its clock."""

    def __init__(self, folder: Path, now: str, **options: object):
        self.clock = ManualClock(at(now))
        chosen = {"accounts": PEOPLE, "line_end": b"\n", **options}
        self.server = Server(folder / "spool", folder / "program", self.clock, Options(**chosen))  # type: ignore[arg-type]

    def later(self, seconds: float) -> None:
        self.clock.set(self.clock.now() + seconds)

    def log(self, name: str, day: str) -> bytes:
        return (self.server.logs.folder(name) / f"{day}.log").read_bytes()

    def say(self, session: Session, *lines: str | bytes) -> list[str]:
        said: list[str] = []
        for line in lines:
            said = session.send(line)
        return said

    def letter(self, session: Session, sender: str, *to: str) -> None:
        self.say(session, f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{one}>" for one in to), "DATA", "Hi", ".")


# ---------------------------------------------------------------- acceptlog


def test_both_records(tmp_path: Path) -> None:
    """A message from a client with a name, and the connection it came on."""
    stand = Stand(tmp_path, "2017-11-30 08:20:44", names={"192.0.2.10": "mail.example.net"})
    session = stand.server.smtp("192.0.2.10")
    stand.later(82)
    stand.say(session, "EHLO mail.example.net")
    stand.letter(session, "sender@example.net", "sato@example.jp")
    stand.later(60)
    stand.say(session, "QUIT")
    assert stand.log("acceptlog", "171130") == (
        b"[30/Nov/2017:08:20:44], (example.jp), [192.0.2.10]:25, Client accept now.\n"
        b"[30/Nov/2017:08:22:06], (example.jp), mail.example.net[192.0.2.10], sender@example.net,"
        b"<B0000097587>,ok\n"
    )


def test_ipv6_and_ssl(tmp_path: Path) -> None:
    stand = Stand(tmp_path, "2017-11-30 08:20:45")
    stand.server.smtp("2001:db8::25", 465, ssl=True)
    assert stand.log("acceptlog", "171130") == (
        b"[30/Nov/2017:08:20:45], (example.jp), [2001:db8::25]:465 SSL, Client accept now.\n"
    )


@pytest.mark.parametrize(
    ("form", "shown"),
    [("short", b"<B0000000000>"), ("long", b"<B0000000000>"), ("text", b"<>"), ("bare", b"")],
)
def test_ten_failures_are_one_line(tmp_path: Path, form: str, shown: bytes) -> None:
    """DETAIL is overwritten, and the stamp is that of the last AUTH."""
    stand = Stand(tmp_path, "2017-12-12 00:01:40", id_form=form)
    session = stand.server.smtp("203.0.113.9")
    stand.say(session, "EHLO pc")
    for name in ("a", "b", "c", "d", "e", "f", "g", "h", "i", "admin"):
        assert stand.say(session, "AUTH LOGIN", encoded(name), encoded("x"))[0].startswith("535 5.7.0 ")
        stand.later(1)
    stand.later(100)
    session.hang_up()
    assert stand.log("acceptlog", "171212").splitlines()[1:] == [
        b"[12/Dec/2017:00:01:49], (example.jp), 203.0.113.9[203.0.113.9], AUTH-LOGIN:admin [failed],"
        + shown
        + b",abort"
    ]


def test_a_sender_overwrites_the_login(tmp_path: Path) -> None:
    """Who logged in and sent mail shows the sender; without mail the login."""
    stand = Stand(tmp_path, "2017-12-12 00:01:40")
    for mail in (True, False):
        session = stand.server.smtp("192.0.2.20", 587)
        stand.say(session, "EHLO pc", f"AUTH PLAIN {encoded(chr(0) + 'sato' + chr(0) + 'himitsu')}")
        if mail:
            stand.letter(session, "sato@example.jp", "a@example.net")
        stand.say(session, "QUIT")
    lines = stand.log("acceptlog", "171212").splitlines()
    assert lines[1].endswith(b"192.0.2.20[192.0.2.20], sato@example.jp,<B0000097587>,ok")
    assert lines[3].endswith(b"192.0.2.20[192.0.2.20], AUTH-PLAIN:sato [success],<B0000000000>,abort")


@pytest.mark.parametrize(
    ("options", "port", "end"),
    [
        ({"listed": frozenset({"203.0.113.9"})}, 25, b"It was in the ORDB IP.,<B0000000000>,abort"),
        (
            {"listed": frozenset({"203.0.113.9"}), "id_form": "long"},
            25,
            b"It was in the ORDB IP.,<B000000000000>,abort",
        ),
        ({"reverse_dns": True}, 25, b'"Revers DNS" was failed.,<B0000000000>,abort'),
    ],
)
def test_turned_away_silently(tmp_path: Path, options: dict[str, object], port: int, end: bytes) -> None:
    """A block list or the missing name: nothing is said, and nothing stands in the dialogue."""
    stand = Stand(tmp_path, "2017-12-12 00:05:10", **options)
    session = stand.server.smtp("203.0.113.9", port)
    assert not session.open
    assert session.greeting == []
    assert stand.log("acceptlog", "171212").splitlines()[1] == (
        b"[12/Dec/2017:00:05:10], (example.jp), 203.0.113.9[203.0.113.9], " + end
    )
    assert not (stand.server.logs.folder("receivelog") / "171212.log").exists()


def test_who_leaves_early(tmp_path: Path) -> None:
    """Record 2 of a client that said nothing exists in builds from 2026-06 only."""
    for build, count in (((2026, 5), 1), ((2026, 6), 2)):
        stand = Stand(tmp_path / str(count), "2017-12-12 00:07:10", build=build, name_blank=True)
        stand.server.smtp("203.0.113.8").hang_up()
        lines = stand.log("acceptlog", "171212").splitlines()
        assert len(lines) == count
        if count == 2:
            assert lines[1] == (
                b"[12/Dec/2017:00:07:10], (example.jp), 203.0.113.8 [203.0.113.8], ,<B0000000000>,abort"
            )


def test_time_out(tmp_path: Path) -> None:
    stand = Stand(tmp_path, "2017-12-12 00:07:10")
    session = stand.server.smtp("203.0.113.8")
    stand.say(session, "HELO x", "MAIL FROM:<>")
    session.time_out()
    assert stand.log("acceptlog", "171212").splitlines()[1].endswith(b", ,<B0000097587>,connection timeout")


@pytest.mark.parametrize(("build", "day"), [((2026, 5), "171130"), ((2026, 6), "171201")])
def test_late_lines_at_midnight(tmp_path: Path, build: tuple[int, int], day: str) -> None:
    """Yesterday's stamp, in yesterday's file or today's, as the build has it."""
    stand = Stand(tmp_path, "2017-11-30 23:59:50", build=build)
    session = stand.server.smtp("203.0.113.8")
    stand.say(session, "HELO x", "MAIL FROM:<a@example.net>")
    stand.later(30)
    session.reset()
    last = stand.log("acceptlog", day).splitlines()[-1]
    assert last.startswith(b"[30/Nov/2017:23:59:50], ")
    assert last.endswith(b"a@example.net,<B0000097587>,abort")


def test_mechanisms(tmp_path: Path) -> None:
    """Their words in acceptlog, which older builds did not know."""
    for build, plain in (((2024, 11), b"AUTH-LOGIN"), ((2024, 12), b"AUTH-PLAIN")):
        stand = Stand(tmp_path / plain.decode(), "2017-12-12 00:07:10", build=build)
        session = stand.server.smtp("203.0.113.8")
        stand.say(session, "EHLO x", "AUTH PLAIN", encoded(b"\0admin\0x"))
        session.hang_up()
        assert plain + b":admin [failed]" in stand.log("acceptlog", "171212")
        session = stand.server.smtp("203.0.113.8")
        stand.say(session, "EHLO x", f"AUTH PLAIN {encoded(chr(0) + 'admin' + chr(0) + 'x')}")
        session.hang_up()
        assert b"AUTH-PLAIN:admin [failed]" in stand.log("acceptlog", "171212")
    stand = Stand(tmp_path, "2017-12-12 00:07:10", mechanisms=("XOAUTH2",))
    session = stand.server.smtp("203.0.113.8")
    said = stand.say(
        session, "EHLO x", f"AUTH XOAUTH2 {encoded(b'user=sato' + bytes([1]) + b'auth=Bearer x')}"
    )
    assert said == ["535 5.7.0 Authentication failed."]
    session.hang_up()
    assert b"AUTH-XAOUTH2:sato [failed]" in stand.log("acceptlog", "171212")


def test_a_name_in_cp932_stays_as_it_was_sent(tmp_path: Path) -> None:
    stand = Stand(tmp_path, "2017-12-12 00:07:10")
    session = stand.server.smtp("203.0.113.8")
    stand.say(session, "EHLO x", "AUTH LOGIN", encoded("ゼ表".encode("cp932")), encoded("x"))
    session.hang_up()
    assert b"AUTH-LOGIN:" + "ゼ表".encode("cp932") + b" [failed]" in stand.log("acceptlog", "171212")


# ---------------------------------------------------------------- inlog, queue, delivery


def test_inlog(tmp_path: Path) -> None:
    """HELO, sender and recipients; a null sender leaves two blanks."""
    stand = Stand(tmp_path, "2017-11-11 17:58:25")
    session = stand.server.smtp("198.51.100.7")
    stand.say(session, "HELO mail.example.net")
    stand.letter(session, "a@example.net", "sato@example.jp", "suzuki@example.jp")
    stand.letter(session, "", "sato@example.jp")
    assert stand.log("inlog", "171111") == (
        b"<B0000097587@example.jp> [11/Nov/2017:17:58:25] 198.51.100.7 mail.example.net a@example.net"
        b" sato@example.jp suzuki@example.jp\n"
        b"<B0000097588@example.jp> [11/Nov/2017:17:58:25] 198.51.100.7 mail.example.net  sato@example.jp\n"
    )


def test_the_queue_and_what_becomes_of_it(tmp_path: Path) -> None:
    """Delivered inside, delivered outside, refused there, and not reachable at all."""
    remote = {"example.net": "198.51.100.25 mx.example.net", "example.org": "550 User Unknown"}
    stand = Stand(tmp_path, "2017-11-01 10:25:43", remote=remote)
    session = stand.server.smtp("192.0.2.20", 587)
    stand.say(session, "EHLO pc", f"AUTH PLAIN {encoded(chr(0) + 'sato' + chr(0) + 'himitsu')}")
    stand.letter(
        session, "sato@example.jp", "suzuki@example.jp", "r@example.net", "no@example.org", "x@example.com"
    )
    queue = stand.server.spool / "incoming"
    assert sorted(path.name for path in queue.iterdir()) == ["B0000097587.MSG", "B0000097587.RCP"]
    assert (queue / "B0000097587.RCP").read_bytes() == (
        b"Message-ID: <B0000097587@example.jp>\r\nReturn-path: sato@example.jp\r\n"
        b"Recipient: suzuki@example.jp\r\nRecipient: r@example.net\r\nRecipient: no@example.org\r\n"
        b"Recipient: x@example.com\r\n"
    )
    assert [stand.server.deliver() for _ in range(4)] == [3, 0, 1, 0]
    assert not [path for path in stand.server.spool.rglob("*.MSG") if "inbox" not in path.parts]
    assert stand.log("outlocallog", "171101") == (
        b"B0000097587@example.jp sent on [01/Nov/2017:10:25:43] to 192.0.2.1 example.jp from"
        b" sato@example.jp to suzuki@example.jp\n"
    )
    assert stand.log("outlog", "171101") == (
        b"B0000097587@example.jp sent on [01/Nov/2017:10:25:43] to 198.51.100.25 mx.example.net from"
        b" sato@example.jp to r@example.net\n"
    )
    assert stand.log("faillog", "171101") == (
        b"B0000097587@example.jp send fail on [01/Nov/2017:10:25:43] from sato@example.jp to no@example.org"
        b" [550 User Unknown]\n"
        b"B0000097587-R0002@example.jp send fail on [01/Nov/2017:10:25:43] from sato@example.jp to"
        b" x@example.com [Unable to deliver to destination domain]\n"
    )
    assert b"[B0000097587-R0001] [example.com] GetTryServer:()\n" in stand.log("senderlog", "171101")


# ---------------------------------------------------------------- receivelog


def test_the_dialogue_of_the_page(tmp_path: Path) -> None:
    """An AUTH LOGIN that fails, a peer that resets the connection, and the end of the session."""
    stand = Stand(tmp_path, "2017-12-12 00:01:46", system="bsd")
    session = stand.server.smtp("203.0.113.9")
    stand.say(session, "EHLO pc", "AUTH LOGIN", encoded("admin"), encoded("x"))
    session.reset()
    head = b"[12/Dec/2017:00:01:46], 347c89c8, "
    assert stand.log("receivelog", "171212") == b"".join(
        [
            head + b"220 example.jp E-POST ESMTP Receiver (4.90) ...\n",
            head + b"EHLO pc\n",
            head + b"250-example.jp Hello [203.0.113.9], pleased to meet you\r\n",
            b"250-SIZE 20971520\r\n250 AUTH LOGIN PLAIN CRAM-MD5\r\n\n",
            head + b"AUTH LOGIN\n",
            head + b"334 dXNlcm5hbWU6\n",
            head + b"YWRtaW4=\n",
            head + b"334 UGFzc3dvcmQ6\n",
            head + b"eA==\n",
            head + b"535 5.7.0 Authentication failed.\n",
            head + b"get_reply() SOCKET_ERROR OTHER CODE=54\n",
            head + b"CloseClient Started.:SOCKET.C\n",
            head + b"closesocket():SOCKET.C\n",
        ]
    )


def test_contexts_are_used_again(tmp_path: Path) -> None:
    """Two at once differ; the next one gets the address that was given back."""
    stand = Stand(tmp_path, "2017-12-12 00:01:46")
    first, second = stand.server.smtp("203.0.113.9"), stand.server.smtp("203.0.113.10")
    assert first.context != second.context
    second.hang_up()
    assert stand.server.smtp("203.0.113.11").context == second.context


def test_line_ends_of_windows(tmp_path: Path) -> None:
    """Text mode: CRLF, and a stray CR where the text had its own."""
    stand = Stand(tmp_path, "2017-12-12 00:01:46", line_end=b"\r\n", own_ends="all", codes=False)
    session = stand.server.smtp("203.0.113.9")
    assert stand.say(session, "VRFY sato") == ["252 Cannot VRFY user; try RCPT to attempt delivery"]
    head = b"[12/Dec/2017:00:01:46], 347c89c8, "
    assert stand.log("receivelog", "171212").endswith(
        head + b"VRFY sato\r\r\n\r\n" + head + b"252 Cannot VRFY user; try RCPT to attempt delivery\r\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("said", "reply"),
    [
        (("AUTH LOGIN",), "503 5.0.0 Need EHLO before AUTH"),
        (("EHLO x", "AUTH NTLM"), "504 5.7.4 Unrecognized authentication type."),
        (("EHLO x", "AUTH LOGIN", "*"), "501 5.0.0 The client wanted to cancel authentication."),
        (("MAIL FROM:<sato@example.jp>",), "503 5.0.0 Need AUTH before MAIL"),
        (("MAIL FROM:<nobody@example.jp>",), "550 5.1.7 Please, mail from a valid e-mail address."),
        (("MAIL FROM:<a@example.net>",), "250 2.0.0 <a@example.net>... Sender ok."),
        (("MAIL FROM:<>", "RCPT TO:<sato@example.jp>"), "250 2.0.0 <sato@example.jp>... Recipient ok."),
        (("MAIL FROM:<>", "RCPT TO:<no@example.jp>"), "550 5.1.1 <no@example.jp> ... User unknown."),
        (
            ("MAIL FROM:<a@example.net>", "RCPT TO:<b@example.org>"),
            "550 5.7.1 Sorry b@example.org, I don't allow unauthorized relaying.",
        ),
        (("VRFY sato",), "252 2.0.0 Cannot VRFY user; try RCPT to attempt delivery"),
        (("GET / HTTP/1.0",), '500 5.5.2 command unrecognized: "GET / HTTP/1.0"'),
    ],
)
def test_replies(tmp_path: Path, said: tuple[str, ...], reply: str) -> None:
    stand = Stand(tmp_path, "2017-12-12 00:01:46")
    assert stand.say(stand.server.smtp("203.0.113.9"), *said) == [reply]
    assert b", " + reply.encode() + b"\n" in stand.log("receivelog", "171212")


def test_vrfy_and_expn_that_are_answered(tmp_path: Path) -> None:
    stand = Stand(tmp_path, "2017-12-12 00:01:46", verify=True, lists={"all": ("sato@example.jp",)})
    session = stand.server.smtp("203.0.113.9")
    assert stand.say(session, "VRFY sato") == ["250 2.0.0 sato <sato@example.jp>"]
    assert stand.say(session, "EXPN all") == ["250 2.0.0 <sato@example.jp>"]
    assert stand.say(session, "EXPN sato") == ["550 5.1.1 That is a user name, not a mailing list"]


def test_filter_and_spf(tmp_path: Path) -> None:
    stand = Stand(tmp_path, "2017-12-12 00:01:46", filtered=b"pills", spf_failing=frozenset({"203.0.113.9"}))
    session = stand.server.smtp("203.0.113.9")
    assert stand.say(session, "MAIL FROM:<a@example.net>")[0].endswith("(SPF_GRAY)")
    assert b"_spawnl() 'Reject (SPF).'\n" in stand.log("receivelog", "171212")
    session = stand.server.smtp("198.51.100.7")
    said = stand.say(
        session, "MAIL FROM:<a@example.net>", "RCPT TO:<sato@example.jp>", "DATA", "", "pills", "."
    )
    assert said == ["552 5.7.1 Requested mail action aborted: caught by the filter setting."]
    session.hang_up()
    assert stand.log("acceptlog", "171212").endswith(b"a@example.net,<B0000097587>,abort\n")


# ---------------------------------------------------------------- POP3 and IMAP4


def test_imap4log(tmp_path: Path) -> None:
    stand = Stand(tmp_path, "2017-12-12 00:01:49")
    stand.say(stand.server.imap("203.0.113.9"), "a LOGIN admin x", "b AUTHENTICATE PLAIN", "AGEAYg==")
    session = stand.server.imap("192.0.2.20")
    stand.say(session, "a LOGIN sato@example.jp himitsu", "b SELECT INBOX", "c NOOP")
    head = b"[12/Dec/2017:00:01:49] "
    assert stand.log("imap4log", "171212") == (
        head + b"admin from 203.0.113.9 LOGIN admin **** failed\n"
        + head + b"- from 203.0.113.9 AUTHENTICATE PLAIN failed\n"
        + head + b"sato@example.jp from 192.0.2.20 LOGIN sato@example.jp **** Success\n"
        + head + b"sato@example.jp from 192.0.2.20 SELECT INBOX \n"
        + head + b"sato@example.jp from 192.0.2.20 NOOP - \n"
    )  # fmt: skip
    assert b", a NO LOGIN fails\n" in stand.log("receiveimap4", "171212")
    assert b", a OK LOGIN completed\n" in stand.log("receiveimap4", "171212")


def test_quotes_left_behind(tmp_path: Path) -> None:
    stand = Stand(tmp_path, "2017-12-12 00:01:49", quotes_left="argument")
    stand.say(stand.server.imap("203.0.113.9"), 'a LOGIN "admin" "x y"')
    assert b'admin from 203.0.113.9 LOGIN admin" **** failed\n' in stand.log("imap4log", "171212")


def test_pop3log_in_both_shapes(tmp_path: Path) -> None:
    for form, line in (
        ("imap", b"[12/Dec/2017:00:01:49] admin from 203.0.113.9 PASS **** failed\n"),
        (
            POP_ANCESTOR,
            b"admin from 203.0.113.9 PASS **** [12/Dec/2017:00:01:49] (-ERR authentication failed)\n",
        ),
    ):
        stand = Stand(tmp_path / form, "2017-12-12 00:01:49", pop_form=form)
        stand.say(stand.server.pop3("203.0.113.9"), "USER admin", "PASS x")
        assert stand.log("pop3log", "171212").endswith(line)


# ---------------------------------------------------------------- folders


def test_without_a_computer_name_and_without_some_logs(tmp_path: Path) -> None:
    """Older builds have no folder of the computer's name; a log that is off is not written."""
    stand = Stand(tmp_path, "2017-12-12 00:01:49", computer="", logs=frozenset({"acceptlog"}))
    stand.server.smtp("203.0.113.9")
    assert (tmp_path / "spool/acceptlog/171212.log").exists()
    assert not (tmp_path / "spool/receivelog").exists()
