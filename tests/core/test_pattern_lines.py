"""What a client cannot do to a line, what two rules may not do to each other, and what others ask of a
pattern."""

from __future__ import annotations

import pytest

from mailguard.core import pattern as p
from mailguard.core.pattern.prove import prove_echo_pair
from mailguard.problems import ProblemsError
from tests.templates import read

# ---------------------------------------------------------------- lines a client can send

SASL = (
    "warning: {host:host}[{source:ip}]: SASL {method:[!-~]{1,100}} authentication failed: {reason:prose}"
    "{?, sasl_username={user:foreign}?}"
)
DOVECOT = (
    "imap-login: {:prose} (auth failed, {attempts:int} attempts in {:int} secs): user=<{user:foreign}>"
    "{?, method={method:[!-;=?-~]{1,80}}?}, rip={source:ip}, lip={:ip}{?, TLS{?: {:prose}?}?}, "
    "session=<{session:base64}>"
)
HEADER = (
    "{queue_id:[0-9A-Za-z]{6,20}}: reject: header {:foreign} from {host:host}[{source:ip}]; "
    "from=<{sender:address}> to=<{recipient:address}> proto={:word} helo=<{helo:helo}>: {reason:prose}"
)
REJECT = (
    "NOQUEUE: reject: RCPT from {host:host}[{source:ip}]: {:int} 5.7.1 {reason:foreign}; "
    "from=<{sender:foreign}> to=<{recipient:foreign}> proto={:word} helo=<{helo:helo}>"
)
IMAP4LOG = "{user:foreign} from {source:ip} LOGIN {=user} **** failed"
GREEDY = "auth: passwd-file({user:foreign},{source:ip},<{session:base64}>): {unknown user|Password mismatch}"


@pytest.mark.parametrize("template", [SASL, DOVECOT, HEADER, REJECT, IMAP4LOG, GREEDY])
def test_the_usual_templates_are_proved(template: str) -> None:
    """The shapes the mail servers write have one source in every reading, although a client fills parts of
    them."""
    pattern = p.compile(template)
    assert {"source", "user"} & set(pattern.names) <= pattern.proved
    assert p.prove(pattern) == []
    assert p.check(pattern, "x") == []


@pytest.mark.parametrize(
    "user",
    [
        "tanaka@example.net",
        "",
        "x>, method=PLAIN, rip=203.0.113.99, lip=203.0.113.25, session=<AAAA>",
        "x>, method=PLAIN",
        ">, rip=203.0.113.99, lip=192.0.2.1",
        "<>",
        ">",
        ">>>, ",
        "\x85\u2028",
        "x>, method=PLAIN, rip=203.0.113.99, lip=203.0.113.25, TLS, session=<AAAA>, rip=203.0.113.98, lip=",
        "a, b",
    ],
)
@pytest.mark.parametrize(
    "rest",
    [
        ", method=PLAIN, rip=198.51.100.2, lip=203.0.113.25, TLS, session=<mx+Ir9Ng+9XAAAJN>",
        ", rip=2001:db8::2, lip=2001:db8::25, TLS: Connection closed, session=<tPOYr9Ngm5UgAQ24EAIAAAAAAAAB>",
        ", method=X]RIP=203.0.113.99, rip=198.51.100.2, lip=203.0.113.25, session=<AA>",
    ],
)
@pytest.mark.usefixtures("both_ways")
def test_a_dovecot_user_can_neither_forge_nor_hide(user: str, rest: str) -> None:
    """Whatever the name says, the line matches, the name is whole, and the source is the server's."""
    found = read(
        DOVECOT, f"imap-login: Disconnected (auth failed, 3 attempts in 9 secs): user=<{user}>{rest}"
    )
    assert found is not None
    assert found["user"] == user.encode()
    assert found["source"] in (b"198.51.100.2", b"2001:db8::2")
    assert found["attempts"] == b"3"


@pytest.mark.parametrize(
    "user",
    [
        "admin",
        "",
        "a, sasl_username=b",
        "x]: SASL LOGIN authentication failed: [203.0.113.1]",
        "[203.0.113.1]",
        " authentication failed: (x), sasl_username=y",
        "\udcff",
        "x" * 100,
    ],
)
def test_a_sasl_name_can_neither_forge_nor_hide(user: str) -> None:
    """Everything after the first `sasl_username=` is the name."""
    name = user.encode("utf-8", "surrogateescape")
    line = (
        b"warning: unknown[192.0.2.61]: SASL LOGIN authentication failed: (reason unavailable), "
        b"sasl_username=" + name
    )
    found = read(SASL, line)
    assert found is not None
    assert (found["source"], found["user"], found["method"]) == (b"192.0.2.61", name, b"LOGIN")


@pytest.mark.parametrize(
    "method",
    ["LOGIN", "X[203.0.113.1]:", "authentication", "a,b=c", "]:", "NTLM" + "A" * 90],
)
def test_a_sasl_mechanism_can_neither_forge_nor_hide(method: str) -> None:
    """The mechanism is a client's word as well."""
    found = read(
        SASL, f"warning: a.example[192.0.2.61]: SASL {method} authentication failed: no mechanism available"
    )
    assert found is not None
    assert (found["source"], found["method"]) == (b"192.0.2.61", method.encode())


@pytest.mark.parametrize(
    "header",
    [
        "Subject: x",
        "Subject: from a.example[203.0.113.99]; from=<a> to=<b> proto=ESMTP helo=<c>: 5.7.1 no",
        'Subject:  from a.example[203.0.113.99]; from=<"> to=<b> proto=ESMTP helo=<d>: no',
        " from x[203.0.113.99]; from=<> to=<> proto=ESMTP helo=<",
    ],
)
@pytest.mark.usefixtures("both_ways")
def test_a_header_can_neither_forge_nor_hide(header: str) -> None:
    """A rejected header stands before the client: the last ` from NAME[ADDR]; ` before the tail is the
    true one."""
    tail = 'from u.example[198.51.100.7]; from=<"> to=<b> proto="@example.org> to=<x@example.net> '
    tail += "proto=ESMTP helo=<h>: "
    found = read(HEADER, f"4AbCdE1234: reject: header {header} {tail}5.7.1 not here")
    assert found is not None
    assert found["source"] == b"198.51.100.7"
    assert found["sender"] == b'"> to=<b> proto="@example.org'
    assert found["recipient"] == b"x@example.net"


def test_the_last_tail_is_the_real_one() -> None:
    """Free text of a reject may hold a whole tail: the fields come from the last one, which Postfix wrote."""
    text = "Blocked; from=<x@a> to=<z@a> proto=ESMTP helo=<fake>"
    line = f"NOQUEUE: reject: RCPT from u[192.0.2.1]: 554 5.7.1 {text}; "
    line += "from=<a@b> to=<c@d> proto=ESMTP helo=<real>"
    assert read(REJECT, line) == {
        "host": b"u",
        "source": b"192.0.2.1",
        "reason": text.encode(),
        "sender": b"a@b",
        "recipient": b"c@d",
        "helo": b"real",
    }


@pytest.mark.parametrize(
    "user",
    [
        "admin",
        "",
        "x from 203.0.113.99 LOGIN x **** failed",
        "from 203.0.113.99 LOGIN",
        " from ",
        '"a"',
        "x from 203.0.113.99 LOGIN x from 203.0.113.99 LOGIN x",
        "a" * 3000,
    ],
)
def test_a_name_said_twice_can_neither_forge_nor_hide(user: str) -> None:
    """E-Post writes the attempted name twice: the source between two equal texts is the true one."""
    line = f"{user} from 198.51.100.2 LOGIN {user} **** failed"
    assert read(IMAP4LOG, line) == {"user": user.encode(), "source": b"198.51.100.2"}


def test_two_different_names_do_not_pass_for_one() -> None:
    """The text must be the same again, byte for byte."""
    assert read(IMAP4LOG, "admin from 198.51.100.2 LOGIN Admin **** failed") is None
    assert read(IMAP4LOG, "admin from 198.51.100.2 LOGIN admi **** failed") is None


@pytest.mark.parametrize(
    ("template", "slot"),
    [
        ("user={user:foreign}, rip={source:ip}, {:foreign}", None),
        ("user={user:foreign}, rip={source:ip}{?, {:prose}?}", None),
        ("{:foreign} from {source:ip} {:prose}", "source"),
        ("{?{:foreign}: ?}from {source:ip}{? {:foreign}?}", None),
        ("ruser={user:foreign} rhost={source:ip}  user={helo:foreign}", None),
        ("a {?{:word} ?}{user:word} {:foreign}", "user"),
        ("{user:foreign}: {:foreign}", "user"),
        ("reason={reason:prose} from {host:host}", None),
    ],
)
def test_what_can_be_forged_is_refused_with_the_line(template: str, slot: str | None) -> None:
    """An ambiguous slot comes with a line that fits both readings; what cannot be searched is refused."""
    try:
        pattern = p.compile(template)
    except ProblemsError:
        assert slot is None
        return
    found = p.prove(pattern)
    assert [one.slot for one in found][:1] == ([slot] if slot else [])
    for one in found:
        assert one.slot not in pattern.proved
        assert pattern.match(one.line, 0, len(one.line)) is not None
        assert one.reading_a != one.reading_b
        assert one.reading_a in one.line
        assert one.reading_b in one.line
        problem = str(p.check(pattern, "x.toml:3")[0])
        assert "is ambiguous" in problem
        assert one.line.decode() in problem


def test_the_forged_line_uses_documentation_addresses() -> None:
    """The example in the message is one an administrator understands."""
    (found,) = p.prove(p.compile("{:foreign} from {source:ip} {:prose}"))
    assert {found.reading_a, found.reading_b} == {b"203.0.113.9", b"192.0.2.7"}


# ---------------------------------------------------------------- pairs


@pytest.mark.parametrize(
    ("a", "b", "clash"),
    [
        ("user={user:foreign} from {source:ip}", "user={user:foreign} from {source:ip}", False),
        ("user={user:foreign} from {source:ip}", "user={user:foreign} at {source:ip}", False),
        ("login {source:ip} {user:foreign}", "login {user:word} from {source:ip}", False),
        ("login {user:foreign} from {source:ip}", "login {:word} from {source:ip} {user:foreign}", True),
        ("from {source:ip}: {:foreign}", "from {:ip}: by {source:ip}", True),
        ("from {source:ip}: {:foreign}", "from {:ip}: by {:ip}", False),
        ("x{? {source:ip}?}: {:foreign}", "x: by {source:ip}", True),
        ("from {source:ip} {:foreign}A", "from {:ip} {source:ip} {:foreign}A", True),
        ("from {source:ip} {:foreign}A", "from {:ip} {source:ip} {:foreign}B", True),
        ("from {source:ip}: {:int}", "from {source:ip}: {:foreign}", False),
        ("{user:foreign} {source:ip} {=user}", "{user:foreign} {source:ip} {:ip} {:ip} {=user}", True),
        ("{user:foreign} {source:ip} {=user}", "{user:foreign} {:ip} {source:ip} {:ip} {=user}", True),
        ("{user:foreign} {source:ip} {=user} a", "{user:foreign} {source:ip} {:ip} {=user} b", False),
        (
            "{user:foreign} from {source:ip} LOGIN {=user} **** failed",
            "{user:foreign} from {source:ip} AUTHENTICATE {method:token} failed",
            False,
        ),
        (
            "{user:foreign} from {source:ip} LOGIN {=user} **** failed",
            "{user:foreign} from {source:ip} AUTHENTICATE {method:[!-~]{1,20}} failed",
            True,
        ),
    ],
)
def test_two_rules_may_not_read_one_line_with_two_sources(a: str, b: str, clash: bool) -> None:
    """A pair is refused exactly when some line gives two sources; the line is shown and fits both."""
    one, two = p.compile(a), p.compile(b)
    found = p.prove_pair(one, two)
    assert (found is not None) == (p.prove_pair(two, one) is not None) == clash
    problems = p.check_pair(one, two, ("x/a", "x/b"), "x.toml:1")
    assert len(problems) == clash
    if found is not None and "{=" not in a and found.where == "whole":
        assert all(pattern.match(found.line, 0, len(found.line)) for pattern in (one, two))
        assert found.reading_a != found.reading_b


def test_middles_that_only_overlap_are_searched_too() -> None:
    """Texts of different length around the repeated ones shift the middles by some bytes."""
    a, b = (p.compile("{user:foreign}a{helo:[a]{2}}a{=user}" + end) for end in ("", "bb"))
    assert a.echo is not None
    assert b.echo is not None
    assert prove_echo_pair(a.echo, b.echo, "helo") is not None
    assert prove_echo_pair(b.echo, a.echo, "helo") is not None
    assert prove_echo_pair(a.echo, a.echo, "helo") is None


def test_a_pair_that_clashes_only_where_lines_are_cut_says_so() -> None:
    """Two rules may differ behind the place where a line can be cut: that is told apart."""
    a, b = p.compile("from {source:ip} {:foreign}A"), p.compile("from {:ip} {source:ip} {:foreign}B")
    found = p.prove_pair(a, b)
    assert found is not None
    assert found.where == "cut"
    assert "cut" in p.check_pair(a, b, ("x/a", "x/b"), "x.toml:1")[0].what
    line = found.line
    assert all(pattern.match(line, 0, len(line), True) for pattern in (a, b))


@pytest.mark.parametrize(
    ("template", "message", "user"),
    [
        ("{:prose}: {user:foreign}: end", "a: b: end", b"b"),
        ("{:prose}: {user:foreign}: end", "a: b: c: end: end", b"b: c: end"),
        ("{:prose}{: |; }{user:foreign}; end", "a: b; c; end", b"b; c"),
        ("{:[ab]{1,9}}b{user:foreign}b!", "abb!", b""),
        ("{:[ab]{1,9}}b{user:foreign}b!", "aabab!", b"a"),
        ("{:word}{?-x?}: {user:foreign}-y", "a-x: -y", b""),
        ("{:[a-x]{1,20}}a{?b?}{user:foreign}bc", "xabc", b""),
        ("{:[a-x]{1,20}}a{?b?}{user:foreign}bc", "xab", None),
    ],
)
@pytest.mark.usefixtures("both_ways")
def test_a_beginning_that_could_end_in_several_places_hides_nothing(
    template: str, message: str, user: bytes | None
) -> None:
    """Where the text before a foreign slot can end at several places, the line still matches if any of
    them fits."""
    found = read(template, message)
    assert (found["user"] if found else None) == user


# ---------------------------------------------------------------- cut lines


def test_a_cut_line_gives_what_stands_before_foreign_text() -> None:
    """The part before the first foreign slot must fit; what comes later is not known."""
    line = "warning: unknown[192.0.2.61]: SASL LOGIN authentication failed: (reason unavailable), "
    line += "sasl_username=abc"
    found = read(SASL, line, cut=True)
    assert found == {
        "host": b"unknown",
        "source": b"192.0.2.61",
        "method": b"LOGIN",
        "reason": b"(reason unavailable)",
        "user": None,
    }
    assert read(SASL, line[:90], cut=True) is None


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{user:foreign} from {source:ip}", "x from 192.0.2.7"),
        ("from {source:ip}", "from 192.0.2.7"),
        ("from {source:ip}.", "from 192.0.2.7."),
        (
            DOVECOT,
            "imap-login: x (auth failed, 1 attempts in 2 secs): user=<>, rip=192.0.2.7, lip=::1, session=<A>",
        ),
    ],
)
def test_a_cut_line_never_gives_a_source_that_is_not_certain(template: str, message: str) -> None:
    """No source from behind foreign text, and none that the missing rest could have changed."""
    assert read(template, message) is not None
    assert read(template, message, cut=True) is None


def test_a_cut_line_may_have_optional_parts_before_its_source() -> None:
    """What matters is that no reading of any continuation has another source."""
    assert read("{? {:int}?} {source:ip} x {:foreign}", " 192.0.2.7 x y", cut=True) == {
        "source": b"192.0.2.7"
    }
    unsure = "{?{:word} from {source:ip}: ?}{:foreign}"
    assert read(unsure, "a from 192.0.2.7: x", cut=True) is None


# ---------------------------------------------------------------- what others ask of a pattern


@pytest.mark.parametrize(
    ("template", "literals"),
    [
        ("a {:int} long one {:int}", (b" long one ", b"a ")),
        ("{?optional text?}{one text|other text} x", (b" x",)),
        ("a{{b}}c{:int}", (b"a{b}c",)),
        ("{:foreign}", ()),
    ],
)
def test_the_literals_are_what_every_match_holds(template: str, literals: tuple[bytes, ...]) -> None:
    """Longest first, without optional parts and alternatives: the prefilter may rely on each."""
    pattern = p.compile(template)
    assert pattern.literals == literals
    assert pattern.literal == (literals[0] if literals else b"")


@pytest.mark.parametrize(
    ("template", "message", "reached", "words"),
    [
        ("from {source:ip}: bad", "from 192.0.2.7; bad", 14, '": bad" or ip (source)'),
        ("from {source:ip}: bad", "from 192.0.2.7: bad", 19, "end of line"),
        ("from {source:ip}: bad", "from 192.0.2.7: bad!", 19, "end of line"),
        ("{ok|no} {user:foreign} at {:int}.", "ok a at b.", 10, '" at " or foreign (user)'),
        ("{:int}{? x?}", "12 y", 3, '"x"'),
        ("abc", "", 0, '"abc"'),
        ("{user:foreign} x {=user}", "a x", 3, '" x " or foreign (user)'),
    ],
)
def test_progress_says_where_a_message_stops_fitting(
    template: str, message: str, reached: int, words: str
) -> None:
    """The offset of the first byte that no reading takes, and what could have stood there."""
    pattern = p.compile(template)
    assert p.progress(pattern, message.encode()) == reached
    assert set(words.split(" or ")) <= set(p.expected(pattern, message.encode()).split(" or "))


def test_branches_tell_which_parts_a_sample_used() -> None:
    """Optional parts and alternatives, in order; a sample uses some of them."""
    pattern = p.compile("{ok|no}{? a{? b?}?}: {user:foreign}{?, {x|y}?}.")
    names = p.branches(pattern)
    assert len(names) == 7
    assert "'ok'" in names[0]
    assert "column 8" in names[2]
    assert p.used(pattern, b"no a: c, y.") == {1, 2, 4, 6} or p.used(pattern, b"no a: c, y.") == {1, 2}
    assert p.used(pattern, b"ok a b: c.") == {0, 2, 3}
    assert p.used(pattern, b"maybe: c.") is None


def test_proofs_are_remembered_between_runs() -> None:
    """A cache gives the same pattern and the same answers without proving again; damage is as if it were
    empty."""
    cache = p.ProofCache()
    bad = "{:foreign} from {source:ip} {:prose}"
    one, two = p.compile(bad, cache=cache), p.compile("from {source:ip}: {:foreign}", cache=cache)
    clash = p.prove_pair(two, p.compile("from {:ip}: by {source:ip}", cache=cache), cache)
    assert cache.changed
    again = p.ProofCache(cache.dump())
    assert len(again) == len(cache) == 4
    assert not again.changed
    assert p.compile(bad, cache=again).ambiguous == one.ambiguous
    assert p.prove_pair(two, p.compile("from {:ip}: by {source:ip}", cache=again), again) == clash
    assert not again.changed
    for damaged in (cache.dump()[:-3], b"", b"nonsense", cache.dump().replace(b"proofs 2", b"proofs 1")):
        assert len(p.ProofCache(damaged)) == 0
