"""The POP3 service. The lines of its logs are not known: `Options.pop_form` chooses one of two likely
shapes."""

from __future__ import annotations

from tests.epost_server.auth import Exchange, begin
from tests.epost_server.options import POP_ANCESTOR
from tests.epost_server.session import ABORT, OK, Session


class PopSession(Session):
    """One POP3 connection."""

    service = "pop"
    dialogue = "receivepop3"

    def _connected(self) -> None:
        self.user = b"-"
        self.account: str | None = None
        self._exchange: Exchange | None = None

    def _too_many(self) -> str:
        return "-ERR exceeds an accepting limit."

    def _greet(self) -> list[str]:
        return self.say(f"+OK {self.options.name} E-POST POP3 Server ready")

    def _log(self, command: bytes, arguments: bytes, reply: str) -> None:
        now = self.now()
        stamp, address = self.server.stamp(now).encode(), self.address.encode()
        middle = self.user + b" from " + address + b" " + command + b" " + (arguments or b"-")
        if self.options.pop_form == POP_ANCESTOR:
            line = middle + b" " + stamp + b" (" + reply.encode("utf-8", "surrogateescape") + b")"
        else:
            words = {
                "PASS": ("Success", "failed"),
                "APOP": ("Success", "failed"),
                "AUTH": ("Success", "failed"),
            }
            status = words.get(command.decode("latin-1"), ("", ""))[reply.startswith("-ERR")]
            line = stamp + b" " + middle + b" " + status.encode()
        self.server.logs.write("pop3log", line, now)

    def _answer(self, line: bytes) -> list[str]:
        self.heard(line)
        if self._exchange is not None:
            return self._go_on(line.strip())
        word, _, rest = line.partition(b" ")
        command, rest = word.upper().strip(), rest.strip()
        if command == b"USER":
            self.user = rest
            return self._said(command, rest, "+OK please send PASS")
        if command in (b"PASS", b"APOP"):
            return self._login(command, rest)
        if command == b"AUTH" and rest and self.account is None:
            mechanism, _, first = rest.partition(b" ")
            self._exchange = begin(mechanism.decode("latin-1").upper(), self.options.challenges, self.now())
            if self._exchange is None:
                return self._said(command, mechanism, "-ERR unknown mechanism")
            return self._go_on(first) if first else self.say(f"+ {self._exchange.challenge()}")
        if command == b"QUIT":
            said = self._said(command, rest, f"+OK {self.options.name} closing connection")
            self._end("", OK)
            return said
        if command == b"CAPA":
            self._log(command, rest, "+OK")
            return self.say("+OK", "USER", "UIDL", ".")
        if self.account is None:
            return self._said(command, rest, "-ERR invalid command")
        return self._box(command, rest)

    def _login(self, command: bytes, rest: bytes) -> list[str]:
        name, password = self.user, rest
        if command == b"APOP":  # the digest is taken for the password
            name, _, password = rest.partition(b" ")
            self.user = name
        if self.login(name, password):
            self.account = self.options.account(name.decode("utf-8", "surrogateescape"))
            return self._said(command, b"****", "+OK maildrop is ready")
        said = self._said(command, b"****", "-ERR authentication failed")
        if self.cut:
            self._end("", ABORT)
        return said

    def _go_on(self, line: bytes) -> list[str]:
        exchange = self._exchange
        assert exchange is not None
        if not exchange.take(line):
            return self.say(f"+ {exchange.challenge()}")
        self._exchange = None
        account = self.options.account(exchange.user.decode("utf-8", "surrogateescape"))
        password = self.options.accounts[account] if account is not None else None
        right = self.judged(account, password is not None and exchange.proves(password.encode()))
        if right:
            self.user, self.account = exchange.user, account
        method = exchange.mechanism.encode()
        said = self._said(b"AUTH", method, "+OK maildrop is ready" if right else "-ERR authentication failed")
        if self.cut:
            self._end("", ABORT)
        return said

    def _box(self, command: bytes, rest: bytes) -> list[str]:
        assert self.account is not None
        names = sorted(path.name for path in (self.server.spool / "inbox" / self.account).glob("*.MSG"))
        if command == b"STAT":
            return self._said(command, rest, f"+OK {len(names)} 4096")
        if command in (b"LIST", b"UIDL") and not rest:
            self._log(command, rest, "+OK")
            return self.say("+OK", *(f"{at} {name}" for at, name in enumerate(names, 1)), ".")
        if command in (b"RETR", b"TOP", b"DELE", b"LIST", b"UIDL"):
            number = int(rest.split()[0]) if rest.split() and rest.split()[0].isdigit() else 0
            return self._said(command, rest, "+OK" if 1 <= number <= len(names) else "-ERR no such message")
        return self._said(command, rest, "+OK" if command == b"NOOP" else "-ERR invalid command")

    def _said(self, command: bytes, arguments: bytes, reply: str) -> list[str]:
        self._log(command, arguments, reply)
        return self.say(reply)
