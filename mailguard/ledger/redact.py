"""What a hostile line may leave in the ledger.

People type passwords where a user name is asked, and recipients are personal data. So unless the settings say
`evidence = "full"`, attempted user names and recipients appear shortened beside a keyed hash (the same name
always has the same hash on this host, nobody else can compute it). Passwords and base64 secrets never appear,
control characters are escaped, and a line is cut at `LINE` characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Protocol

LINE = 480
#: Fields that name a person. `sender` belongs to the attacker, but it may also be a stolen address.
PERSONAL = ("user", "recipient", "sender")

# What announces a secret: SMTP AUTH with an initial response, POP3 PASS and IMAP LOGIN where a command can
# stand (never the daemons' own prose, such as "SASL LOGIN authentication failed"), and the names that
# programs give a password. All are linear: bounded classes, nothing nested. Each runs only on lines that hold
# its word.
_SECRET = r"(?P<secret>[^\s,;>]{1,2048})"
_SECRETS: tuple[tuple[tuple[str, ...], re.Pattern[str]], ...] = tuple(
    (words, re.compile(f"(?P<word>{pattern}){_SECRET}"))
    for words, pattern in (
        (("AUTH ", "AUTH="), r"\bAUTH (?:PLAIN|LOGIN|XOAUTH2|OAUTHBEARER)[ =](?=[A-Za-z0-9+/=]{4})"),
        (("PASS ",), r"(?:^|[:<>] ?|\] )PASS "),
        (("AUTHENTICATE ",), r"\bAUTHENTICATE [A-Z0-9-]{1,32} "),
        ((" LOGIN ",), r"\b(?!SASL )[A-Za-z0-9.]{1,20} LOGIN (?!authentication )\S{1,256} "),
        (("resp=", "response="), r"\bresp(?:onse)?="),
        (("assw", "ASSW", "pass=", "pass:"), r"\b(?i:given password|pass(?:word|wd)?) ?[=:] ?"),
    )
)
_LETTERS64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
# A long run of base64 that stands alone: the answer to an AUTH challenge, or an initial response.
_BASE64 = re.compile(
    r"(?<![A-Za-z0-9+/=])(?=[A-Za-z0-9+/]{0,63}[A-Z0-9+/])[A-Za-z0-9+/]{16,2048}={1,2}(?![A-Za-z0-9+/=])"
)
_CONTROL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
HIDDEN = "<hidden>"
_NAMES = 8192  # names whose short form is remembered


def escape(text: str) -> str:
    """`text` with control characters, line separators, bidirectional marks and broken bytes written as
    escapes."""
    return text if text.isprintable() else _CONTROL.sub(lambda found: _escaped(found.group()), text)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


class Users(Protocol):
    """Numbers of users."""

    def __contains__(self, number: int, /) -> bool: ...


class Known:
    """`known` of a `Redactor`: whether a name is one of some users. The compiled twin sees into it."""

    __slots__ = ("hashes", "sieve", "users")

    def __init__(self, hashes: dict[str, int], users: Users, sieve: bytearray):
        """`hashes`: a name's number, made where it is not there yet. `users`: the numbers of the users, and
        `sieve` what `core.table.Table.sieve` is of them."""
        self.hashes = hashes
        self.users = users
        self.sieve = sieve

    def __call__(self, name: str) -> bool:
        return self.hashes[name] in self.users


class Redactor:
    """Turns raw lines and fields into what may be kept. `full` keeps names; secrets are dropped in any
    case."""

    def __init__(self, key: bytes, *, full: bool = False, known: Callable[[str], bool] | None = None):
        """`key`: 16 bytes of this host. `known` says whether a name is a user of this server: those are
        shown."""
        self.key = key
        self.full = full
        self.known = known
        self._names: dict[str, str] = {}

    def hash(self, text: str) -> str:
        """Eight hexadecimal digits that stand for `text` on this host."""
        return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=4, key=self.key).hexdigest()

    def shown(self, text: str) -> bool:
        """Whether a name may stand as it is."""
        return self.full or (self.known is not None and self.known(text))

    def name(self, text: str) -> str:
        """`jo…#1a2b3c4d@example.com` for a name or address; as it is when names are kept or there is none."""
        if not text or self.shown(text):
            return escape(text[:LINE])
        return self._short(text)

    def _short(self, text: str) -> str:
        """The short form of a name that may not stand as it is."""
        short = self._names.get(text)
        if short is None:
            local, at, domain = text.rpartition("@")
            if not at:
                local, domain = text, ""
            keep = local[:2] if len(local) > 4 else local[:1]
            if len(self._names) >= _NAMES:
                self._names.clear()
            self._names[text] = short = escape(f"{keep}…#{self.hash(text)}{at}{domain[:64]}")
        return short

    def fields(self, fields: Mapping[str, str]) -> dict[str, str]:
        """The fields of an event as they may be shown."""
        return {
            name: self.name(value) if name in PERSONAL else secrets_out(escape(value[:LINE]))
            for name, value in fields.items()
        }

    def line(self, line: bytes, fields: Mapping[str, str]) -> str:
        """The line as it may be kept; empty when a personal field cannot be found in it to be replaced."""
        text = line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
        if not self.full:
            values = [value for name in PERSONAL if (value := fields.get(name)) and not self.shown(value)]
            if (
                len(values) > 1
            ):  # the longest first, so that a name inside another one leaves no rest standing
                values = sorted(set(values), key=len, reverse=True)
            for value in values:
                replaced = _replace(text, value, self._short(value))
                if replaced is None:
                    return ""
                text = replaced
        text = secrets_out(escape(text))
        return text if len(text) <= LINE else text[: LINE - 1] + "…"


def _replace(text: str, value: str, by: str) -> str | None:
    """`text` with every occurrence of `value` replaced; None when there is none (another encoding, a cut
    line).

    A short value ("a") is replaced only where it stands alone: it would shred the line, and inside another
    word it tells nobody anything.
    """
    for encoding in ("", "cp932", "latin-1"):
        try:
            other = value.encode(encoding).decode("utf-8", "surrogateescape") if encoding else value
        except UnicodeError:
            continue
        if len(other) > 4 and other in text:
            return text.replace(other, by)
        if (alone := _replace_alone(text, other, by)) is not None:
            return alone
    return None


def _replace_alone(text: str, value: str, by: str) -> str | None:
    """The same where the value is no part of a longer word, in any case of its letters; None when nowhere."""
    folded, wanted = text.lower(), value.lower()
    if len(folded) != len(text):  # a letter whose lower case is two: places would shift
        folded, wanted = text, value
    pieces, begin = [], 0
    at = folded.find(wanted)
    while at >= 0:
        end = at + len(wanted)
        if not (at and folded[at - 1].isalnum()) and not folded[end : end + 1].isalnum():
            pieces += [text[begin:at], by]
            begin = end
        at = folded.find(wanted, max(end, at + 1))
    return "".join([*pieces, text[begin:]]) if pieces else None


def secrets_out(text: str) -> str:
    """`text` without what follows AUTH, PASS or `password=`, and without long base64 answers."""
    for words, pattern in _SECRETS:
        for word in words:
            if word in text:
                text = pattern.sub(_hidden, text)
                break
    at = text.find("=", 16)
    while at >= 0:
        before = text[at - 16 : at]
        if " " not in before and _LETTERS64.issuperset(before):  # nearly always there is a blank
            return _BASE64.sub(HIDDEN, text)
        at = text.find("=", at + 1)
    return text


def _hidden(found: re.Match[str]) -> str:
    return found.group("word") + HIDDEN
