"""A stand-in for E-Post Mail Server, written from the project's facts about its log and control files.

`Server(spool, program_folder, clock, options)` speaks SMTP, POP3 and IMAP4 line by line, delivers what it
accepted, writes every log byte for byte, keeps the lock-out counters, appends its own rows to the reject
tables and reads the tables and effect.dat as often as the real one does. No socket, no thread and no clock of
its own.

    server = Server(spool, program, clock, Options(accounts={"sato": "secret"}))
    session = server.smtp("192.0.2.7")
    session.greeting                # ["220 example.jp E-POST ..."]; [] when the connection was closed at once
    session.send("EHLO pc")         # the lines of the reply
    session.hang_up()

Where those facts leave a choice open, `Options` has it, so that a reader can be tried against each.
"""

from __future__ import annotations

from tests.epost_server.options import POP_ANCESTOR, POP_LIKE_IMAP, Options
from tests.epost_server.server import Server
from tests.epost_server.session import Session

__all__ = ["POP_ANCESTOR", "POP_LIKE_IMAP", "Options", "Server", "Session"]
