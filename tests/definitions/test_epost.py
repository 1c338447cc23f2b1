"""The E-Post parsers over a week of logs: who did what, and that nobody can put it on somebody else."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, pairwise
from pathlib import Path

import pytest

from mailguard.core import pattern as patterns
from mailguard.core.rules import Parser
from mailguard.core.scanner import Scanner
from mailguard.core.sessions import Sessions
from mailguard.definitions.parsers import load_parser
from mailguard.model import Block, Event
from mailguard.notation import format_address

ROOT = Path(__file__).resolve().parents[2]
LOGS = ("acceptlog", "inlog", "imap4log", "pop3log")


def parser(name: str) -> Parser:
    return load_parser(ROOT / "parsers" / f"epost-{name}.toml")


def events(name: str, data: bytes | None = None, *others: str) -> list[Event]:
    """The events of a sample log, or of other bytes, read by its parser and by `others`."""
    data = (ROOT / "samples" / "logs" / f"epost-{name}.log").read_bytes() if data is None else data
    parsers = [parser(one) for one in (name, *others)]
    block = Block(name, data, 0, len(data), 0, 1_796_000_000.0, False, timezone="Asia/Tokyo")
    return Sessions(parsers).join(Scanner(parsers).scan(block))


def per_source(found: list[Event], kind: str) -> dict[str, int]:
    return dict(
        Counter(format_address(one.source) for one in found if one.kind == kind and one.source is not None)
    )


def test_acceptlog_tells_guessers_partners_and_scanners_apart() -> None:
    """Brute force, slow guessing, injected names, block-listed hosts and the partner's mail, each under its
    own address."""
    found = events("acceptlog")
    failures = per_source(found, "auth_failure")
    assert failures["203.0.113.9"] == 14
    assert failures["198.51.100.3"] == 6
    assert failures["198.51.100.77"] == 50
    assert set(failures) == {"203.0.113.9", "198.51.100.3", "198.51.100.77"}
    assert set(per_source(found, "mail_accepted")) == {"192.0.2.10", "192.0.2.20"}
    assert per_source(found, "session_aborted")["203.0.113.200"] == 9
    assert per_source(found, "session_aborted")["2001:db8:9::66"] == 14
    assert sum(per_source(found, "blocklisted").values()) == 16
    assert sum(per_source(found, "policy_reject").values()) == 8


def test_the_slow_guesser_is_seen_at_every_try() -> None:
    """One try at a time, at most seven hours apart, over eight days."""
    times = [
        one.time
        for one in events("acceptlog")
        if one.source and format_address(one.source) == "198.51.100.77"
    ]
    assert times[-1] - times[0] > 7 * 86400
    assert max(b - a for a, b in pairwise(times)) <= 7 * 3600


@pytest.mark.parametrize("name", LOGS)
def test_no_line_of_a_sample_log_is_laid_to_an_injected_address(name: str) -> None:
    """203.0.113.99 stands in names only."""
    data = (ROOT / "samples" / "logs" / f"epost-{name}.log").read_bytes()
    found = events(name)
    assert found
    assert "203.0.113.99" not in {format_address(one.source) for one in found if one.source is not None}
    assert len(found) >= data.count(b"\n") - data.count(b" SELECT ")


def test_receivelog_tells_who_was_refused_what() -> None:
    """Guessers, harvesters, relayers and probers, each under its own address, hostile replies or not."""
    found = events("receivelog")
    assert per_source(found, "auth_failure") == {
        "198.51.100.77": 9, "203.0.113.9": 10, "198.51.100.2": 6, "203.0.113.40": 6,
    }  # fmt: skip
    assert per_source(found, "unknown_recipient") == {"203.0.113.50": 12}
    assert per_source(found, "relay_denied") == {"203.0.113.60": 6}
    assert per_source(found, "address_probe") == {"203.0.113.70": 6}
    assert per_source(found, "content_reject") == {"203.0.113.85": 1}
    assert per_source(found, "locked_out") == {"203.0.113.200": 5}
    assert "203.0.113.99" not in {format_address(one.source) for one in found if one.source is not None}


def test_faillog_and_outlog_tell_what_became_of_mail() -> None:
    """The account that somebody else sends from fails 25 times; what was delivered is told with its way."""
    failed = events("faillog")
    assert Counter(one.fields["sender"] for one in failed) == {"tanaka@example.jp": 25}
    assert {one.fields["reason"] for one in failed} == {"550 User Unknown"}
    sent = events("outlog")
    assert {one.fields["recipient"] for one in sent} == {"a@example.net"}
    assert not any(one.may_ban for one in sent), "its words are guessed"


def test_inlog_and_acceptlog_tell_of_the_same_mail() -> None:
    """Every accepted message of one log is in the other, with source, sender and id."""
    accepted = [one for one in events("acceptlog") if one.kind == "mail_accepted"]
    taken = events("inlog")
    assert [(one.time, one.source, one.fields["sender"], one.fields["message_id"]) for one in accepted] == [
        (one.time, one.source, one.fields["sender"], one.fields["message_id"]) for one in taken
    ]


def test_stamps_are_local_time_of_the_server() -> None:
    """The first line of imap4log, 2026-11-16 in Japan, in seconds of UTC; lines end with CR and LF there."""
    first = events("imap4log")[0]
    assert 1_794_754_800 <= first.time < 1_794_754_800 + 86400
    assert not any(value.endswith("\r") for one in events("imap4log") for value in one.fields.values())


def test_a_success_that_a_sender_could_imitate_speaks_for_nobody() -> None:
    """The user of an acceptlog success is never certain: no key, no standing."""
    line = b"[12/Dec/2026:00:01:49], (x), a[192.0.2.20], AUTH-LOGIN:tanaka [success],<B0000000000>,abort"
    (one,) = events("acceptlog", line + b"\n")
    assert one.kind == "auth_success"
    assert "user" not in one.proved
    (two,) = events("acceptlog", line.replace(b"B0000000000", b"B0000097586") + b"\n")
    assert two.kind == "disconnect"


@pytest.mark.parametrize(("a", "b"), list(combinations(("acceptlog", "faillog", "imap4log", "inlog"), 2)))
def test_no_line_is_read_by_two_of_the_parsers_with_two_sources(a: str, b: str) -> None:
    """Whoever reads a spool with all parsers at once gets no contradictions: where two rules of different
    files could read one message, their lines begin differently."""
    one, two = parser(a), parser(b)
    for first in one.rules:
        for second in two.rules:
            if first.breaks_off and two.envelopes == ("epost-line",):
                continue  # see the next one
            if patterns.prove_pair(first.pattern, second.pattern) is not None:
                assert one.envelopes != two.envelopes
                assert "none" in one.envelopes + two.envelopes
                stampless = first if "none" in one.envelopes else second
                assert stampless.pattern.match(b"[12/Dec/2026:00:01:49] x", 0, 24) is None
                assert patterns.progress(stampless.pattern, b"[12/Dec/2026") == 0


def test_a_record_without_its_end_needs_the_comma() -> None:
    """A user of imap4log can be named like the beginning of acceptlog's record: its stamp has no comma."""
    line = b"[12/Dec/2026:00:01:49] (x), a[203.0.113.99], AUTH-LOGIN:x from 198.51.100.2 LOGIN %b **** failed"
    line %= b"(x), a[203.0.113.99], AUTH-LOGIN:x"
    scanner = Scanner([parser("acceptlog"), parser("imap4log")])
    (one,) = scanner.scan(Block("mail.log", line + b"\n", 0, len(line) + 1, 0, 1_800_000_000.0, False))
    assert isinstance(one, Event)
    assert (one.rule, format_address(one.source or 0)) == ("epost-imap4log/login-failed", "198.51.100.2")
