"""The shipped parsers keep what the manual promises, and read a line the same through every envelope."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailguard.core.rules import Parser, Sample
from mailguard.core.scanner import Scanner
from mailguard.core.sessions import Sessions
from mailguard.definitions import checks, dialogues, remembered, source
from mailguard.definitions.parsers import load_parser, load_parsers, read_parser, self_test
from mailguard.model import Block, Event, Record, Records
from mailguard.problems import ProblemsError
from tests.engines import HERE

SHIPPED = sorted(source.search("parsers", Path("/nonexistent")).items())
NAMES = [name for name, _ in SHIPPED]
PATHS = [path for _, path in SHIPPED]
shipped = pytest.mark.parametrize("path", PATHS, ids=NAMES)


@shipped
def test_shipped_parsers_are_right(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every shipped parser loads with all its proofs and samples, without believing an earlier run."""
    monkeypatch.setattr(source, "cache_folders", lambda: [tmp_path])
    monkeypatch.setattr(remembered.Passed, "_keys", None)
    monkeypatch.setattr(remembered, "PROOFS", remembered.Proofs())
    parser = load_parser(path)
    assert self_test(parser) == []
    assert {file.name for file in tmp_path.iterdir()} <= {"proofs", "passed.json"}
    again = load_parser(path)
    assert [rule.full_name for rule in again.rules] == [rule.full_name for rule in parser.rules]


def lines(parser: Parser) -> list[Sample]:
    found = [sample for rule in parser.rules for sample in (*rule.samples, *rule.forgeries)]
    return [sample for sample in found if sample.line.startswith(b"Nov ")]


def told(events: list[Event]) -> list[tuple[object, ...]]:
    return [(e.kind, e.time, e.source, e.rule, e.weight, tuple(sorted(e.fields.items()))) for e in events]


def run(scanner: Scanner, sample: Sample, change: object = None) -> list[tuple[object, ...]]:
    """The events of a sample's last line, each line changed by `change` before."""
    sessions = Sessions(scanner.parsers)
    found: list[Event] = []
    for line in (*sample.after, sample.line):
        data = (change(line) if callable(change) else line) + b"\n"
        block = Block("l", data, 0, len(data), 0, dialogues.ARRIVAL, False, timezone="UTC")
        found = sessions.join(scanner.scan(block))
    return told(found)


def iso(line: bytes) -> bytes:
    return b"2026-11-%s%sT%s.000000+00:00%s" % (
        line[4:5].replace(b" ", b"0"),
        line[5:6],
        line[7:15],
        line[15:],
    )


def wire(line: bytes) -> bytes:
    return b"<22>" + line


def crlf(line: bytes) -> bytes:
    return line + b"\r"


@shipped
def test_one_event_through_every_prefix(path: Path) -> None:
    """A sample makes the same event behind an RFC 3339 stamp, with a priority before it, and with CR behind
    it."""
    parser = load_parser(path, check=False)
    scanner = Scanner([parser])
    for sample in lines(parser):
        expected = run(scanner, sample)
        for change in (iso, wire, crlf):
            assert run(scanner, sample, change) == expected, sample.where


@shipped
def test_one_event_with_every_prefilter(path: Path) -> None:
    """The prefilters find the same events in the samples, the compiled scan too."""
    parser = load_parser(path, check=False)
    scanners = [Scanner([parser], engine) for engine in HERE]
    for sample in lines(parser):
        first, *others = (run(scanner, sample) for scanner in scanners)
        assert others == [first] * len(others), sample.where


@shipped
def test_one_event_from_the_journal(path: Path) -> None:
    """A sample makes the same event when its message comes as a journal entry."""
    parser = load_parser(path, check=False)
    scanner = Scanner([parser])
    for sample in lines(parser):
        expected, sessions = run(scanner, sample), Sessions([parser])
        found: list[Event] = []
        for line in (*sample.after, sample.line):
            opened = scanner.explain(line, dialogues.ARRIVAL, timezone="UTC", fits=False)
            if opened.opened is None or opened.opened.style != "syslog":
                break
            record = Record(
                opened.opened.time,
                opened.opened.host,
                opened.opened.program,
                opened.opened.pid,
                opened.message,
                0,
            )
            found = sessions.join(scanner.scan_records(Records("l", [record], dialogues.ARRIVAL, False)))
        else:
            assert told(found) == expected, sample.where


def test_all_parsers_together() -> None:
    """With all shipped parsers at once each sample still makes the event of its own parser."""
    parsers = load_parsers(check=False)
    scanner = Scanner(parsers)
    for parser in parsers:
        for rule in parser.rules:
            for sample in rule.samples:
                assert {event[3] for event in run(scanner, sample)} <= {rule.full_name}, sample.where
    assert scanner.counters.ambiguous == 0


RULE = """
format = 1
title = "t"
program = ["smtpd"]
[[rule]]
name = "hello"
event = "connect"
match = "connect from [{source:ip}]{? as {helo:helo}?}"
  [[rule.sample]]
  message = "connect from [192.0.2.7]"
  expect = { source = "192.0.2.7" }
  [[rule.sample]]
  message = "connect from [2001:db8::7] as x"
  expect = { source = "2001:db8::7", helo = "x" }
"""


def test_a_file_is_checked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that passed is not run again, until its text changes; a broken one never counts as passed."""
    monkeypatch.setattr(source, "cache_folders", lambda: [tmp_path])
    monkeypatch.setattr(remembered.Passed, "_keys", None)
    runs: list[str] = []
    original = checks.run_samples
    monkeypatch.setattr(checks, "run_samples", lambda parser: (runs.append(parser.name), original(parser))[1])
    for _ in range(2):
        read_parser(RULE, "one.toml")
    assert runs == ["one"]
    monkeypatch.setattr(remembered.Passed, "_keys", None)  # as a new process
    read_parser(RULE, "one.toml")
    assert runs == ["one"]
    read_parser(RULE + "# more\n", "one.toml")
    assert runs == ["one", "one"]
    broken = RULE.replace('source = "192.0.2.7"', 'source = "192.0.2.9"')
    for _ in range(2):
        with pytest.raises(ProblemsError):
            read_parser(broken, "one.toml")
    assert len(runs) == 4


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b'{"x": 5}', b"\xff"])
def test_a_damaged_memory_is_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    """What earlier runs left is believed only when it is whole; otherwise everything is proved again."""
    monkeypatch.setattr(source, "cache_folders", lambda: [tmp_path])
    monkeypatch.setattr(remembered.Passed, "_keys", None)
    monkeypatch.setattr(remembered, "PROOFS", remembered.Proofs())
    for name in ("passed.json", "proofs"):
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o644)
    assert len(read_parser(RULE, "one.toml").rules) == 1


def test_odd_samples() -> None:
    """Bytes that no TOML text can hold are written with an encoding; lines before a sample with after."""
    text = RULE.replace(
        'message = "connect from [192.0.2.7]"', 'message = "connect from [192.0.2.7]"\nencoding = "latin-1"'
    )
    assert read_parser(text, "one.toml").rules[0].samples[0].line.endswith(b"connect from [192.0.2.7]")
    text = RULE + '[[unmatched]]\nmessage = "\\u00ff"\nencoding = "latin-1"\n'
    assert read_parser(text, "one.toml").unmatched[0].line.endswith(b": \xff")
