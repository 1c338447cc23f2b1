"""Small servers beside the mail server, run inside it: names, a policy service, and a faulty login server.

Usage: responder.py ROOT. Ends when its standard input does.

* DNS on 127.0.0.1:53, a handful of fixed answers; everything else does not exist.
* `queue/private/policy`: a Postfix policy service that refuses a sender as an SPF check would.
* `queue/private/faultyauth`: speaks Dovecot's login protocol, then fails like a server in trouble.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import struct
import sys
from typing import cast

A, PTR, MX, TXT, AAAA = 1, 12, 15, 16, 28
LISTED = "listed; from=<x@example.com> to=<z@example.com> proto=ESMTP helo=<fake> [203.0.113.99]"


def reverse(address: str) -> str:
    return ".".join(reversed(address.split("."))) + ".in-addr.arpa"


#: (name, type) -> answer. The names of some clients are as misleading as DNS permits.
NAMES: dict[tuple[str, int], str] = {
    (reverse("192.0.2.10"), PTR): "good.example.org",
    ("good.example.org", A): "192.0.2.10",
    (reverse("192.0.2.15"), PTR): "other.example.org",
    ("other.example.org", A): "192.0.2.15",
    (reverse("192.0.2.11"), PTR): "203.0.113.99.example.org",
    ("203.0.113.99.example.org", A): "192.0.2.11",
    (reverse("192.0.2.12"), PTR): "liar.example.org",
    ("liar.example.org", A): "203.0.113.99",
    (reverse("192.0.2.13"), PTR): "203.0.113.99",
    (reverse("192.0.2.14"), PTR): "ghost.example.org",
    ("example.org", A): "198.51.100.200",
    ("example.com", A): "198.51.100.200",
    ("spf.example.org", A): "198.51.100.200",
    ("client.example.org", A): "198.51.100.200",
}
for last in range(240, 250):
    zone = ".".join(reversed(f"192.0.2.{last}".split("."))) + ".bl.example.org"
    NAMES[zone, A] = "127.0.0.2"
    NAMES[zone, TXT] = LISTED


def answer(query: bytes) -> bytes:
    """A DNS reply to one question."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode("ascii", "replace").lower())
        at += 1 + query[at]
    kind = struct.unpack_from("!H", query, at + 1)[0]
    question, name = query[12 : at + 5], ".".join(labels)
    value = NAMES.get((name, kind))
    if value is None:
        code = 0 if any(known == name for known, _ in NAMES) else 3
        return query[:2] + struct.pack("!HHHHH", 0x8580 | code, 1, 0, 0, 0) + question
    if kind == A:
        data = socket.inet_aton(value)
    elif kind == TXT:
        data = bytes([len(value)]) + value.encode()
    else:
        data = b"".join(bytes([len(label)]) + label.encode() for label in value.split(".")) + b"\0"
    record = struct.pack("!HHHIH", 0xC00C, kind, 1, 60, len(data)) + data
    return query[:2] + struct.pack("!HHHHH", 0x8580, 1, 1, 0, 0) + question + record


class Names(asyncio.DatagramProtocol):
    """The name server."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        cast(asyncio.DatagramTransport, self.transport).sendto(answer(data), address)


async def policy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One Postfix connection: requests of name=value lines, each ended by an empty line."""
    while request := await reader.readuntil(b"\n\n"):
        verdict = b"DUNNO"
        if b"sender=fail@spf.example.org" in request:
            verdict = b"550 5.7.23 Message rejected due to: SPF fail - not authorized. Please see http://example.org"
        elif b"sender=soft@spf.example.org" in request:
            verdict = b"DEFER_IF_PERMIT Greylisted, see http://example.org"
        writer.write(b"action=" + verdict + b"\n\n")
        await writer.drain()


async def faulty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A login server: for the user `wait` it says a temporary failure, for anybody else it hangs up."""
    writer.write(
        b"VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\nSPID\t1\nCUID\t1\n"
        b"COOKIE\t00000000000000000000000000000000\nDONE\n"
    )
    while line := await reader.readline():
        words = line.split(b"\t")
        if words[0] == b"AUTH":
            if b"resp=AHdhaXQA" in line:  # NUL wait NUL ...
                writer.write(
                    b"FAIL\t" + words[1] + b"\tuser=wait\ttemp\treason=Temporary authentication failure\n"
                )
            else:
                break
    writer.close()


async def main(root: str) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(Names, local_addr=("127.0.0.1", 53))
    for name, serve in (("policy", policy), ("faultyauth", faulty)):
        path = f"{root}/queue/private/{name}"
        await asyncio.start_unix_server(serve, path)
        shutil.chown(path, "postfix", "postfix")
    await loop.run_in_executor(None, sys.stdin.buffer.read)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
