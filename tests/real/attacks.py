"""Everything that clients do to a mail server, good and bad, each from an address of its own.

An `Act` is one client's deed and the events it must leave: hostile kinds with their weight (how many
attempts), and of the context kinds `auth_success` and `mail_*`; `connect` and `disconnect` are left to
the tests. Every act has its own source address, by which a test tells the events apart; texts that a
client chooses name another address (`FORGED`), which must never become a source.

The deeds themselves register from `attacks_login`, `attacks_mail`, `attacks_protocol` and
`attacks_dovecot`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mailhost import Mailhost

#: Addresses that only ever occur inside text that a client chose.
FORGED = "203.0.113.99"

#: Login names that try to look like the rest of a log line, or to hide the line from a reader.
HOSTILE_NAMES: dict[str, bytes] = {
    "dovecot-tail": b"x>, method=PLAIN, rip=203.0.113.99, lip=203.0.113.25, session=<AAAA>",
    "dovecot-auth": b"x,203.0.113.99,<AAAAAAAAAAA>): unknown user",
    "second-name": b"a, sasl_username=b",
    "postfix-head": b"]: SASL LOGIN authentication failed: (reason unavailable), sasl_username=x",
    "postfix-line": b"warning: unknown[203.0.113.99]: SASL LOGIN authentication failed: x",
    "next-line": "a\u0085Nov 22 10:00:00 mail1 postfix/smtpd[1]: connect from x[203.0.113.99]".encode(),
    "line-separator": "a\u2028Nov 22 10:00:00 mail1 dovecot: imap-login: Login: user=<x>".encode(),
    "controls": b"a\x01\x1b[31m\x7f\x0bb",
    "long": b"a" * 300,
    "long-cut": ("x" * 99 + "ああ").encode(),
    "cp932": "ソース表[]能".encode("cp932"),
    "brackets": b"[203.0.113.99]",
    "quotes": b'"a\\"b\'c<d>e(f)',
    "empty-looking": b" ",
    "hash": b"a#012Nov 22 10:00:00",
}

#: HELO names of the same sort.
HOSTILE_HELOS: dict[str, bytes] = {
    "tail": b"x> from=<a@b> to=<c@d> [203.0.113.99]: 554 5.7.1 <x>: Relay access denied; helo=<y",
    "address": b"[203.0.113.99]:",
    "colons": b"a,b:c;d=e]:[f",
    "unicode": "\u0085\u2028é".encode(),
    "controls": b"\x01\x02\x1b",
    "long": b"h" * 600,
}


@dataclass(frozen=True)
class Act:
    """One client's deed. `expect`: kind -> weight; `alone`: it must not run beside others."""

    name: str
    source: str
    run: Callable[[Mailhost, str], None]
    expect: dict[str, int]
    alone: bool = False


ACTS: list[Act] = []
_v4 = iter([f"192.0.2.{n}" for n in range(20, 220)] + [f"198.51.100.{n}" for n in range(1, 200)])
_v6 = iter([f"2001:db8:1{n:03x}::{n:x}" for n in range(1, 200)])


def act(
    expect: str = "", *, source: str = "", v6: bool = False, alone: bool = False, name: str = ""
) -> Callable[[Callable[[Mailhost, str], None]], Callable[[Mailhost, str], None]]:
    """Register a deed. `expect`: blank-separated kinds, each with `*N` where it counts N."""
    wanted = {}
    for word in expect.split():
        kind, _, number = word.partition("*")
        wanted[kind] = int(number or 1)

    def register(run: Callable[[Mailhost, str], None]) -> Callable[[Mailhost, str], None]:
        address = source or next(_v6 if v6 else _v4)
        ACTS.append(Act(name or run.__name__.replace("_", "-"), address, run, wanted, alone))
        return run

    return register
