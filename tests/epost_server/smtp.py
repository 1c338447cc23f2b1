"""The SMTP receiver: one connection's commands, its records in acceptlog, and its messages in the queue."""

from __future__ import annotations

import re

from tests.epost_server import effect
from tests.epost_server.auth import Exchange, begin
from tests.epost_server.session import ABORT, OK, Session

_ADDRESS = re.compile(rb"\s*(?:<([^>]*)>|(\S*))")
_NONE = {"short": b"<B0000000000>", "long": b"<B0000000000>", "text": b"<>", "bare": b""}


class SmtpSession(Session):
    """One SMTP connection."""

    service = "smtp"
    dialogue = "receivelog"

    def _connected(self) -> None:
        self.helo: bytes | None = None
        self.extended = False
        self.account: str | None = None  # logged in as
        self.sender: bytes | None = None
        self.recipients: list[bytes] = []
        self.relay = effect.NORMAL
        self.id = ""  # of the last MAIL FROM that was accepted
        self.detail: bytes | None = None  # overwritten by each AUTH and MAIL FROM
        self.detail_at = self.now()
        self.status = ABORT
        self.message: list[bytes] | None = None  # lines of a message being received
        self.exchange: Exchange | None = None  # an AUTH dialogue
        self.server.logs.write("acceptlog", self._head(self.now()) + self._accepted_by(), self.now())

    def _head(self, at: float) -> bytes:
        return f"{self.server.stamp(at)}, ({self.options.name}), ".encode()

    def _accepted_by(self) -> bytes:
        return f"[{self.address}]:{self.port}{' SSL' if self.ssl else ''}, Client accept now.".encode()

    def _too_many(self) -> str:
        code = "4.7.0 " if self.options.codes else ""
        return f"421 {code}{self.options.name} exceeds an accepting limit."

    def _greet(self) -> list[str]:
        """The banner, unless a block list or the missing name turns the client away without a word."""
        if self.address in self.options.listed:
            return self._turned_away(b"It was in the ORDB IP.")
        if self.options.reverse_dns and self.address not in self.options.names:
            return self._turned_away(b'"Revers DNS" was failed.')
        return self.say(f"220 {self.options.name} {self.options.banner}")

    def _turned_away(self, detail: bytes) -> list[str]:
        long_zeros = self.options.id_form == "long" and detail.startswith(b"It was")
        self._record(detail, b"<B000000000000>" if long_zeros else _NONE[self.options.id_form], ABORT)
        self.open = False
        self.server.give_context(self.context)
        return []

    # ------------------------------------------------------------ record 2

    def _detail(self, detail: bytes) -> None:
        self.detail, self.detail_at = detail, self.now()

    def _closed(self, status: bytes) -> None:
        if self.detail is None and not self.options.result_of_silence:
            return
        if self.options.debug and status == ABORT:
            text = f" <{self.id}>, [WSA10054], recv() failed from {self.address}"
            self.server.logs.write("acceptlog", text.encode(), self.now())
        number = f"<{self.id}>".encode() if self.id else _NONE[self.options.id_form]
        self._record(self.detail or b"", number, status if status not in (OK, ABORT) else self.status)

    def _record(self, detail: bytes, number: bytes, status: bytes) -> None:
        now = self.now()
        at = self.detail_at if self.options.late_stamps else now
        name = self.options.names.get(self.address, self.address).encode("utf-8", "surrogateescape")
        blank = b" " if self.options.name_blank else b""
        who = name + blank + f"[{self.address}], ".encode()
        line = self._head(at) + who + detail + b"," + number + b"," + status
        self.server.logs.write(
            "acceptlog", line, now, day=None if self.options.file_at_close else self.detail_at
        )

    # ------------------------------------------------------------ commands

    def _answer(self, line: bytes) -> list[str]:
        if self.message is not None:
            return self._content(line)
        self.heard(line)
        if self.exchange is not None:
            return self._go_on(line)
        word, _, rest = line.partition(b" ")
        command = _COMMANDS.get(word.upper().strip())
        if command is None:
            text = line.decode("utf-8", "surrogateescape")
            return self.say(f'500 5.5.2 command unrecognized: "{text}"')
        return command(self, rest)

    def _helo(self, rest: bytes) -> list[str]:
        self.helo, self.extended = rest.strip(), False
        return self.say(f"250 {self.options.name} Hello [{self.address}], pleased to meet you")

    def _ehlo(self, rest: bytes) -> list[str]:
        self.helo, self.extended = rest.strip(), True
        lines = [
            f"250-{self.options.name} Hello [{self.address}], pleased to meet you",
            f"250-SIZE {self.options.size_limit}",
            f"250 AUTH {' '.join(self.options.mechanisms)}" if self.options.auth else "250 8BITMIME",
        ]
        return self.say(*lines)

    # ------------------------------------------------------------ AUTH

    def _auth(self, rest: bytes) -> list[str]:
        if not self.options.auth:
            return self.say("503 5.5.1 Error: authentication not enabled.")
        if not self.extended:
            return self.say("503 5.0.0 Need EHLO before AUTH")
        word, _, first = rest.strip().partition(b" ")
        mechanism = word.decode("latin-1").upper()
        known = {one.upper() for one in self.options.mechanisms}
        exchange = begin(mechanism, self.options.challenges, self.now()) if mechanism in known else None
        if exchange is None:
            return self.say("504 5.7.4 Unrecognized authentication type.")
        self.exchange = exchange
        self._direct = bool(first)
        return self._go_on(first) if first else self.say(f"334 {exchange.challenge()}")

    def _go_on(self, line: bytes) -> list[str]:
        exchange = self.exchange
        assert exchange is not None
        if line.strip() == b"*":
            self.exchange = None
            return self.say("501 5.0.0 The client wanted to cancel authentication.")
        if not exchange.take(line.strip()):
            return self.say(f"334 {exchange.challenge()}")
        self.exchange = None
        account = self.options.account(exchange.user.decode("utf-8", "surrogateescape"))
        password = self.options.accounts[account] if account is not None else None
        right = self.judged(account, password is not None and exchange.proves(password.encode()))
        mechanism = self._mechanism(exchange.mechanism)
        self._detail(b"AUTH-%s:%s [%s]" % (mechanism, exchange.user, b"success" if right else b"failed"))
        if right:
            self.account = account
            return self.say("235 2.0.0 Authentication successful.")
        said = self.say("535 5.7.0 Authentication failed.")
        if self.cut:
            self._end("", ABORT)
        return said

    def _mechanism(self, true: str) -> bytes:
        """The word in acceptlog; before 2024-12 it is what the code happened to have there."""
        true = "XAOUTH2" if true == "XOAUTH2" else true
        if self.options.true_mechanism or true == "CRAM-MD5" or (true == "PLAIN" and self._direct):
            return true.encode()
        return b"LOGIN"

    # ------------------------------------------------------------ MAIL, RCPT, DATA

    def _mail(self, rest: bytes) -> list[str]:
        keyword, _, value = rest.partition(b":")
        if keyword.strip().upper() != b"FROM":
            return self.say("501 5.5.2 Syntax error in parameters.")
        found = _ADDRESS.match(value)
        assert found is not None
        raw = found[1] if found[1] is not None else found[2]
        sender = raw.decode("utf-8", "surrogateescape")
        self._detail(raw)
        self.status = ABORT
        blank = not value.strip()
        logged_in = self.account is not None
        self.relay = effect.verdict(self.server.effect, self.address, None if blank else sender, logged_in)
        if self.relay == effect.REFUSE:
            return self.say("550 5.1.7 Please, mail from a valid IP or Domain address.")
        if self.address in self.options.spf_failing and not logged_in:
            self.trace("_spawnl() 'Reject (SPF).'")
            return self.say("450 4.7.1 Sorry. mail from a valid IP or Domain address.(SPF_GRAY)")
        if sender and self.options.is_local(sender):
            if self.options.account(sender) is None and sender.partition("@")[0] not in self.options.lists:
                return self.say("550 5.1.7 Please, mail from a valid e-mail address.")
            if self.options.need_auth and not logged_in and self.relay != effect.ACCEPT:
                return self.say("503 5.0.0 Need AUTH before MAIL")
        self.sender, self.recipients = raw, []
        self.id = self.server.message_id(self.now())
        return self.say(f"250 2.0.0 <{sender}>... Sender ok.")

    def _rcpt(self, rest: bytes) -> list[str]:
        keyword, _, value = rest.partition(b":")
        if self.sender is None or keyword.strip().upper() != b"TO":
            return self.say("503 5.0.0 Need MAIL before RCPT")
        found = _ADDRESS.match(value)
        assert found is not None
        raw = found[1] if found[1] is not None else found[2]
        to = raw.decode("utf-8", "surrogateescape")
        refusal = self._refuses(to, self.sender.decode("utf-8", "surrogateescape"))
        if refusal:
            return self.say(refusal)
        self.recipients.append(raw)
        return self.say(f"250 2.0.0 <{to}>... Recipient ok.")

    def _refuses(self, to: str, sender: str) -> str:
        """Why this recipient is not taken; "" when it is."""
        if len(self.recipients) >= self.options.recipient_limit:
            return "550 5.1.1 Address exceeds a maximum."
        logged_in = self.account is not None
        if self.options.is_local(to):
            account = self.options.account(to)
            if account is None:
                known = to.partition("@")[0] in self.options.lists
                return "" if known else f"550 5.1.1 <{to}> ... User unknown."
            own = effect.verdict(self.server.personal_effect(account), self.address, sender, logged_in)
            return "550 5.1.7 Please, mail from a valid IP or Domain address." if own == effect.REFUSE else ""
        if self.relay == effect.LOCAL_ONLY:
            return "550 5.1.1 Please mail to a valid e-mail address."
        may = logged_in or self.relay == effect.ACCEPT or (bool(sender) and self.options.is_local(sender))
        return "" if may else f"550 5.7.1 Sorry {to}, I don't allow unauthorized relaying."

    def _data(self, rest: bytes) -> list[str]:
        if not self.recipients:
            return self.say("503 5.0.0 Need RCPT before DATA")
        self.message = []
        return self.say(f"354 Start mail; id <{self.id}@{self.options.name}> end with <CRLF>.<CRLF>")

    def _content(self, line: bytes) -> list[str]:
        assert self.message is not None
        if self.options.log_data:
            self.heard(line)
        if line != b".":
            self.message.append(line[1:] if line.startswith(b".") else line)
            return []
        content, self.message = b"\r\n".join(self.message) + b"\r\n", None
        if len(content) > self.options.size_limit:
            return self.say("552 5.3.1 Requested mail action aborted: exceeded storage allocation.")
        if content.lower().count(b"\r\nreceived:") > 25:
            return self.say("554 5.4.6 too many Received: headers.")
        if self.options.filtered and self.options.filtered in content:
            return self.say("552 5.7.1 Requested mail action aborted: caught by the filter setting.")
        self._queue(content)
        self.status = OK
        self.sender, self.recipients = None, []
        return self.say("250 2.0.0 Message received ok.")

    def _queue(self, content: bytes) -> None:
        assert self.sender is not None
        now = self.now()
        head = f"<{self.id}@{self.options.name}> {self.server.stamp(now)} {self.address} ".encode()
        rest = b" ".join([self.helo or b"", self.sender, *self.recipients])
        self.server.logs.write("inlog", head + rest, now)
        self.server.delivery.put(self.id, self.sender, self.recipients, content)

    # ------------------------------------------------------------ the rest

    def _vrfy(self, rest: bytes) -> list[str]:
        name = rest.strip().decode("utf-8", "surrogateescape")
        if not self.options.verify:
            return self.say("252 2.0.0 Cannot VRFY user; try RCPT to attempt delivery")
        account = self.options.account(name)
        if account is None:
            return self.say(f"550 5.1.1 <{name}> ... User unknown.")
        domain = min(self.options.domains)
        return self.say(f"250 2.0.0 {account} <{account}@{domain}>")

    def _expn(self, rest: bytes) -> list[str]:
        name = rest.strip().decode("utf-8", "surrogateescape").partition("@")[0]
        if not self.options.verify:
            return self.say("252 2.0.0 Cannot VRFY user; try RCPT to attempt delivery")
        members = self.options.lists.get(name)
        if members is None:
            return self.say("550 5.1.1 That is a user name, not a mailing list")
        heads = ["250-"] * (len(members) - 1) + ["250 "]
        return self.say(*(f"{head}2.0.0 <{one}>" for head, one in zip(heads, members, strict=True)))

    def _rset(self, rest: bytes) -> list[str]:
        self.sender, self.recipients = None, []
        return self.say("250 2.0.0 Reset state.")

    def _noop(self, rest: bytes) -> list[str]:
        return self.say("250 2.0.0 OK.")

    def _quit(self, rest: bytes) -> list[str]:
        said = self.say(f"221 2.0.0 {self.options.name} closing connection")
        self._end("", self.status)
        return said


_COMMANDS = {
    b"HELO": SmtpSession._helo, b"EHLO": SmtpSession._ehlo, b"AUTH": SmtpSession._auth,
    b"MAIL": SmtpSession._mail, b"RCPT": SmtpSession._rcpt, b"DATA": SmtpSession._data,
    b"VRFY": SmtpSession._vrfy, b"EXPN": SmtpSession._expn, b"RSET": SmtpSession._rset,
    b"NOOP": SmtpSession._noop, b"QUIT": SmtpSession._quit,
}  # fmt: skip
