"""The delivery service: takes messages from the queue folders, and says in its logs what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.epost_server.server import Server

TRIES = 3
NO_ANSWER = "Unable to deliver to destination domain"


class Delivery:
    """The queue of one spool. A domain that `Options.remote` does not know does not answer."""

    def __init__(self, server: Server):
        self.server = server
        self.options = server.options

    def put(self, number: str, sender: bytes, recipients: Sequence[bytes], content: bytes) -> None:
        """A message and its envelope, first under working names."""
        folder = self.server.spool / "incoming"
        lines = [f"Message-ID: <{number}@{self.options.name}>".encode(), b"Return-path: " + sender]
        lines += [b"Recipient: " + one for one in recipients]
        for ending, data in ((".MSG", content), (".RCP", b"\r\n".join(lines) + b"\r\n")):
            working = folder / f"{number}{ending}$"
            working.write_bytes(data)
            working.rename(folder / f"{number}{ending}")

    def run(self) -> int:
        """All messages of incoming and, for another try, of domains; how many recipients were dealt with."""
        spool, done = self.server.spool, 0
        for envelope in [*_envelopes(spool / "domains"), *_envelopes(spool / "incoming")]:
            done += self._deliver(envelope)
        return done

    def _deliver(self, envelope: Path) -> int:
        sender, recipients = _read(envelope)
        number, _, tried = envelope.name.removesuffix(".RCP").partition("-R")
        attempt = int(tried or 0)
        shown = f"{number}-R{attempt:04}" if attempt else number
        waiting = []
        for to in recipients:
            if not self._one(shown, sender, to, attempt + 1 >= TRIES):
                waiting.append(to)
        message = envelope.with_suffix(".MSG")
        if waiting:
            folder = self.server.spool / "domains" / _domain(waiting[0])
            folder.mkdir(exist_ok=True)
            name = f"{number}-R{attempt + 1:04}"
            (folder / f"{name}.MSG").write_bytes(message.read_bytes())
            lines = [b"Message-ID: <%s>" % name.encode(), b"Return-path: " + sender]
            lines += [b"Recipient: " + one for one in waiting]
            (folder / f"{name}.RCP").write_bytes(b"\r\n".join(lines) + b"\r\n")
        for path in (envelope, message):
            path.unlink()
        return len(recipients) - len(waiting)

    def _one(self, number: str, sender: bytes, to: bytes, last: bool) -> bool:
        """Deliver to one recipient; False: try again later."""
        text = to.decode("utf-8", "surrogateescape")
        if self.options.is_local(text):
            account = self.options.account(text)
            if account is not None:
                (self.server.spool / "inbox" / account / f"{number}.MSG").touch()
            self._write(
                "outlocallog", number, f"sent on {self._stamp()} to 192.0.2.1 {self.options.name}", sender, to
            )
            return True
        domain = _domain(to)
        answer = self.options.remote.get(domain, "")
        self._dialogue(f"[{number}] [{domain}] GetTryServer:()")
        if answer[:1] == "5":
            self._dialogue(f"[{number}] SendMailMess:{answer}")
            self._fail(number, sender, to, answer)
            return True
        if answer:
            self._dialogue(f"[{number}] ConnectHost({answer.partition(' ')[0]})")
            self._dialogue(f"[{number}] SendMailMess:220 {answer.partition(' ')[2]} ESMTP")
            self._write("outlog", number, f"sent on {self._stamp()} to {answer}", sender, to)
            return True
        if last:
            self._fail(number, sender, to, NO_ANSWER)
        return last

    def _fail(self, number: str, sender: bytes, to: bytes, reason: str) -> None:
        self._write("faillog", number, f"send fail on {self._stamp()}", sender, to, f" [{reason}]")

    def _stamp(self) -> str:
        return self.server.stamp(self.server.clock.now())

    def _write(self, log: str, number: str, what: str, sender: bytes, to: bytes, rest: str = "") -> None:
        head = f"{number}@{self.options.name} {what} from ".encode()
        line = head + (sender or b"-") + b" to " + to + rest.encode()
        self.server.logs.write(log, line, self.server.clock.now())

    def _dialogue(self, text: str) -> None:
        self.server.logs.write("senderlog", text.encode("utf-8", "surrogateescape"), self.server.clock.now())


def _envelopes(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.RCP"))


def _read(envelope: Path) -> tuple[bytes, list[bytes]]:
    sender, recipients = b"", []
    for line in envelope.read_bytes().split(b"\r\n"):
        name, _, value = line.partition(b": ")
        if name == b"Return-path":
            sender = value
        elif name == b"Recipient":
            recipients.append(value)
    return sender, recipients


def _domain(address: bytes) -> str:
    return address.rpartition(b"@")[2].decode("utf-8", "surrogateescape").lower()
