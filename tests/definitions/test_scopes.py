"""A parser's [scopes]: the ports an offence concerns can follow from the name of the program."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailguard.core.scanner import Scanner
from mailguard.definitions.parsers import load_parser, load_parsers
from mailguard.model import Block, Event
from mailguard.problems import ProblemsError

RULE = """
[[rule]]
name = "failed"
event = "auth_failure"
match = "failed login from {source:ip}"
  [[rule.sample]]
  line = "Nov 22 10:49:08 mail1 post/smtpd[9]: failed login from 192.0.2.7"
  expect = { source = "192.0.2.7" }
"""


def _parser(tmp_path: Path, scopes: str) -> Path:
    path = tmp_path / "post.toml"
    path.write_text(
        f'format = 1\ntitle = "Post"\nenvelope = ["syslog"]\nprogram = ["smtpd"]\n{scopes}\n{RULE}'
    )
    return path


def _scope(path: Path, program: str) -> str:
    line = f"Nov 22 10:49:08 mail1 {program}[9]: failed login from 192.0.2.7\n".encode()
    [event] = Scanner([load_parser(path)]).scan(Block("log", line, 0, len(line), 0, 1_798_675_200.0, False))
    assert isinstance(event, Event)
    return event.scope


@pytest.mark.parametrize(
    ("program", "scope"),
    [
        ("post/smtpd", "mail"),
        ("post/submission/smtpd", "auth"),
        ("submission/smtpd", "auth"),
        ("post/submissions/smtpd", "mail"),
        ("post/nosubmission/smtpd", "mail"),
        ("smtpd", "mail"),
    ],
)
def test_a_whole_part_of_the_name_decides(tmp_path: Path, program: str, scope: str) -> None:
    """Only a whole part between slashes counts; other programs keep the rule's scope."""
    assert _scope(_parser(tmp_path, '[scopes]\nsubmission = "auth"'), program) == scope


@pytest.mark.parametrize(
    ("scopes", "what"),
    [
        ('[scopes]\nsubmission = "ports"', "unknown scope 'ports'"),
        ('[scopes]\n"post/submission" = "auth"', "'post/submission' is no part of a program's name"),
    ],
)
def test_bad_scopes_are_refused(tmp_path: Path, scopes: str, what: str) -> None:
    """A scope that is none, and a name that could never be one part, are told with their line."""
    with pytest.raises(ProblemsError) as refused:
        load_parser(_parser(tmp_path, scopes))
    assert [what in problem.what for problem in refused.value.problems] == [True]
    assert refused.value.problems[0].where.endswith(":6")


def test_postfix_login_ports() -> None:
    """Who guesses at the submission services is kept from the login ports, at port 25 from all mail ports."""
    scanner = Scanner(load_parsers(["postfix"]))
    text = "warning: unknown[192.0.2.61]: SASL PLAIN authentication failed: authentication failure"
    found = {}
    for program in ("postfix/smtpd", "postfix/submission/smtpd", "postfix/smtps/smtpd", "postfix"):
        line = f"Nov 22 10:49:08 mail1 {program}[9]: {text}\n".encode()
        [draft] = scanner.scan(Block("log", line, 0, len(line), 0, 1_798_675_200.0, False))
        found[program] = draft.scope if isinstance(draft, Event) else draft.event.scope
    assert found == {
        "postfix/smtpd": "mail",
        "postfix/submission/smtpd": "auth",
        "postfix/smtps/smtpd": "auth",
        "postfix": "mail",
    }
