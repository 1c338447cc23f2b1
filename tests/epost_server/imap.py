"""The IMAP4 service: imap4log has a line for each command, receiveimap4 the dialogue."""

from __future__ import annotations

import re

from tests.epost_server.auth import Exchange, begin
from tests.epost_server.session import ABORT, OK, Session

_LITERAL = re.compile(rb"\{([0-9]+)\}$")
_WORD = re.compile(rb'\s*(?:"((?:[^"\\]|\\.)*)"|(\S+))')


class ImapSession(Session):
    """One IMAP4 connection."""

    service = "imap"
    dialogue = "receiveimap4"

    def _connected(self) -> None:
        self.user = b"-"
        self.account: str | None = None
        self._waiting: tuple[bytes, Exchange] | None = None
        self._literal: tuple[bytes, list[bytes], int] | None = None  # tag, words before, bytes to come
        self._came = b""  # of those

    def _too_many(self) -> str:
        return "* BYE exceeds an accepting limit."

    def _greet(self) -> list[str]:
        return self.say(f"* OK {self.options.name} E-POST IMAP4rev1 Server ready")

    def _log(self, user: bytes, command: bytes, arguments: bytes, status: bytes) -> None:
        now = self.now()
        head = self.server.stamp(now).encode() + b" " + user + b" from " + self.address.encode() + b" "
        line = head + command + b" " + (arguments or b"-") + b" " + status
        self.server.logs.write("imap4log", line, now)

    def _answer(self, line: bytes) -> list[str]:
        self.heard(line)
        if self._waiting is not None:
            tag, exchange = self._waiting
            self._waiting = None
            return self._judge(tag, exchange, line.strip())
        if self._literal is not None:
            return self._go_on(line)
        tag, _, rest = line.partition(b" ")
        command, _, arguments = rest.partition(b" ")
        word = command.upper()
        if word == b"LOGIN":
            return self._login(tag, arguments)
        if word == b"AUTHENTICATE":
            return self._authenticate(tag, arguments.strip())
        self._log(self.user, word, arguments.strip(), b"")
        if word == b"LOGOUT":
            said = self.say(
                f"* BYE {self.options.name} closing connection", _text(tag) + " OK LOGOUT completed"
            )
            self._end("", OK)
            return said
        if word in (b"CAPABILITY", b"NOOP"):
            return self.say(_text(tag) + f" OK {_text(word)} completed")
        if self.account is None:
            return self.say(_text(tag) + f" NO {_text(word)} fails")
        return self.say(_text(tag) + f" OK {_text(word)} completed")

    def _go_on(self, line: bytes) -> list[str]:
        """A line of a literal, or what is left of it and the rest of the command."""
        assert self._literal is not None
        tag, words, size = self._literal
        self._came += line
        if len(self._came) < size:
            self._came += b"\n"
            return []
        self._literal = None
        return self._login(tag, self._came[size:], [*words, self._came[:size]])

    def _login(self, tag: bytes, arguments: bytes, before: list[bytes] | None = None) -> list[str]:
        literal = _LITERAL.search(arguments) if self.options.literals else None
        found = [match for match in _WORD.finditer(arguments[: literal.start()] if literal else arguments)]
        names = [*(before or []), *(one[2] if one[1] is None else one[1] for one in found)]
        if literal is not None:
            self._literal, self._came = (tag, names, int(literal[1])), b""
            return self.say("+ go on")
        name = names[0] if names else b""
        left = self.options.quotes_left if not before and found and found[0][1] is not None else "none"
        shown = name + (b'"' if left in ("name", "both") else b"")
        argument = name + (b'"' if left in ("argument", "both") else b"")
        right = len(names) == 2 and self.account is None and self.login(name, names[1])
        self._log(shown, b"LOGIN", argument + b" ****", b"Success" if right else b"failed")
        if right:
            self.user, self.account = name, self.options.account(_text(name))
            return self.say(_text(tag) + " OK LOGIN completed")
        return self._refused(tag, "LOGIN", len(names) == 2)

    def _authenticate(self, tag: bytes, arguments: bytes) -> list[str]:
        mechanism, _, first = arguments.partition(b" ")
        exchange = begin(_text(mechanism).upper(), self.options.challenges, self.now())
        if exchange is None or exchange.mechanism == "LOGIN" or self.account is not None:
            self._log(self.user, b"AUTHENTICATE", mechanism, b"failed")
            return self.say(_text(tag) + " NO AUTHENTICATE fails")
        if first:
            return self._judge(tag, exchange, first)
        self._waiting = tag, exchange
        return self.say(f"+ {exchange.challenge()}")

    def _judge(self, tag: bytes, exchange: Exchange, line: bytes) -> list[str]:
        exchange.take(line)
        account = self.options.account(_text(exchange.user))
        password = self.options.accounts[account] if account is not None else None
        right = self.judged(account, password is not None and exchange.proves(password.encode()))
        if right:
            self.user, self.account = exchange.user, account
        self._log(self.user, b"AUTHENTICATE", exchange.mechanism.encode(), b"Success" if right else b"failed")
        if right:
            return self.say(_text(tag) + " OK AUTHENTICATE completed")
        return self._refused(tag, "AUTHENTICATE", True)

    def _refused(self, tag: bytes, command: str, understood: bool) -> list[str]:
        if understood:
            said = self.say(_text(tag) + f" NO {command} fails")
        else:
            said = self.say(_text(tag) + " BAD illegal argument")
        if self.cut:
            self._end("", ABORT)
        return said


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
