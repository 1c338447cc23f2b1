"""A small syslog receiver: a NAS, an appliance or a Windows host sends its log to this machine.

UDP and TCP at stated addresses, inside the one wait: every descriptor is non-blocking, and each batch takes a
bounded number of messages. Who may send is a list of networks; from anybody else nothing is even opened. The
sender of a datagram can be forged, so these logs only alert until the settings say otherwise.

Ports below 1024 are not for this process: systemd may pass the sockets (sd_listen_fds(3)); one that is bound
to the very address in the settings is used.

Limits: 64 connections, 16 of one sender; a message has a minute to become whole. What was sent while nobody
listened is lost, and so is what waits unread when the guard is killed: nothing here can be read again.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from dataclasses import replace
from typing import Any

from mailguard.clock import Clock
from mailguard.feeds.interface import LogOptions, LogStatus, Saved
from mailguard.feeds.lines import Arena
from mailguard.feeds.syslogframes import packed
from mailguard.feeds.syslogmessage import Line, Messages
from mailguard.feeds.syslogpeers import BATCH, PIECE, Peers, Sent
from mailguard.feeds.syslogsockets import bound, inherited
from mailguard.feeds.wait import Timer, Wait
from mailguard.feeds.watch import Watchers
from mailguard.model import Block, Item, Network, Notice, Record, Records
from mailguard.notation import (
    Endpoint,
    covers,
    format_address,
    host_prefix,
    parse_address,
    parse_endpoint,
)

_MESSAGES = 1024  # of one batch and descriptor
_RETRY = 5.0  # seconds until an address that cannot be bound is tried again
_SAY = 3600.0  # seconds between two notices of one kind
_LOGS = 64  # logs inside messages that get a name of their own
_COUNTS = ("messages", "refused", "overflowed", "closed", "broken")
_OVERFLOW = getattr(socket, "SO_RXQ_OVFL", 40)
_COUNT = struct.Struct("=I")


class SyslogSource:
    """One `[log.NAME]` of kind "syslog". Row: "syslog:NAME", the clocks of senders that are known to be
    wrong."""

    def __init__(self, options: LogOptions, saved: Saved, clock: Clock):
        self.options = replace(options, start="end")  # nothing is there before it comes
        self.name = options.name or "syslog"
        self.ended = False
        #: After a reload that changes nothing here the source goes on: its sockets hold what nobody has read.
        self.lasting = True
        self._clock = clock
        places = (parse_endpoint(text) for text in options.listen)
        self._places = tuple(place for place in places if place is not None)
        row = saved.get(f"syslog:{self.name}", b"")
        self._messages = Messages(self.name, options.timezone, options.year, row)
        self._wait: Wait | None = None
        self._timers: dict[str, Timer] = {}
        self._udp: dict[int, socket.socket] = {}
        self._tcp: dict[int, socket.socket] = {}
        self._ready: set[int] = set()  # UDP sockets with datagrams
        self._senders: dict[str, str] = {}  # address as the kernel has it -> canonical text, "" for refused
        self._logs: dict[str, int] = {}  # logs inside messages: bytes handed out
        self._overflows: dict[int, int] = {}
        self._said: dict[str, float] = {}
        self._notices: list[Notice] = []
        self._counts: dict[str, int] = dict.fromkeys(_COUNTS, 0)
        self.peers = Peers(clock, self._sender, self._say, self._counts)
        self._status = LogStatus(path=", ".join(map(str, self._places)))

    # ------------------------------------------------------------ opening

    def open(self, wait: Wait, watchers: Watchers) -> None:
        """Listen. An address that cannot be bound is said and tried again."""
        self._wait = wait
        self.peers.attend(wait)
        for place in self._places:
            self._listen(place)

    def _listen(self, place: Endpoint) -> None:
        assert self._wait is not None
        try:
            made = inherited(place) or bound(place)
        except OSError as error:
            why = error.strerror or str(error)
            if isinstance(error, PermissionError):
                why += "; take a port from 1024 on, or let systemd pass the socket"
            self._status.words = f"{place}: {why}"
            self._say("log-unreadable", {"why": self._status.words}, str(place), blind=True)
            self._at(str(place), _RETRY, lambda _events: self._listen(place))
            return
        number = made.fileno()
        if place.transport == "udp":
            with contextlib.suppress(OSError):  # another kernel: what it drops is not counted
                made.setsockopt(socket.SOL_SOCKET, _OVERFLOW, 1)
            self._udp[number] = made
            self._wait.add(number, lambda _events: self._ready.add(number))
        else:
            self._tcp[number] = made
            self.peers.listen(made)
        self._status.opened = True
        if self._status.words:
            self._status.words = ""
            self._said.pop(f"log-unreadable {place}", None)
            self._notices.append(Notice("log-back", {"log": self.name}))

    def _at(self, name: str, seconds: float, call: Any) -> None:
        """One timer of each name."""
        assert self._wait is not None
        if name in self._timers:
            self._timers[name].cancel()
        self._timers[name] = self._wait.call_at(self._clock.monotonic() + seconds, call)

    def _say(self, what: str, args: dict[str, Any], about: str = "", blind: bool = False) -> None:
        """A notice of one kind, about one thing, at most once an hour."""
        now, key = self._clock.monotonic(), f"{what} {about}"
        if now - self._said.get(key, -_SAY) < _SAY:
            return
        if len(self._said) > 1000:
            self._said.clear()
        self._said[key] = now
        self._notices.append(Notice(what, {"log": self.name} | args, blind=blind))

    # ------------------------------------------------------------ senders

    def _sender(self, address: str) -> str:
        """Canonical text of an address that may send; "" for one that may not, which is counted."""
        known = self._senders.get(address)
        if known is None:
            packed = parse_address(address.partition("%")[0])
            known = ""
            if packed is not None:
                own = Network(packed, host_prefix(packed))
                if not self.options.senders or any(covers(one, own) for one in self.options.senders):
                    known = format_address(packed)
            if len(self._senders) > 10_000:
                self._senders.clear()
            self._senders[address] = known
        if not known:
            self._counts["refused"] += 1
            count = self._counts["refused"]
            self._say("syslog-refused", {"sender": address, "count": count}, "", blind=False)
        return known

    # ------------------------------------------------------------ reading

    @property
    def backlog(self) -> bool:
        """True while something can be read without waiting."""
        return bool(self._ready or self._notices) or self.peers.ready

    def read(self, arena: Arena, items: list[Item], arrival: float) -> None:
        """Hand out up to about a thousand messages of each socket."""
        found: list[Sent] = []
        for number in list(self._ready):
            self._datagrams(self._udp[number], found)
        self.peers.read(found)
        self._status.dropped = self.peers.dropped
        records: tuple[list[Record], list[Record]] = [], []
        lines: dict[tuple[str, bool], list[Line]] = {}
        for sender, data, cut, sure in found:
            one_message = self._messages.open(data, sender, arrival, cut, self._notices)
            if isinstance(one_message, Line):
                lines.setdefault((self._log_name(sender, one_message.log), sure), []).append(one_message)
            elif one_message is not None:
                records[not sure].extend([one_message] * self._messages.repeat)
        if not all(sure for *_, sure in found):
            sender = next(sender for sender, _, _, sure in found if not sure)
            self._say("syslog-packed", {"sender": sender}, sender)
        items += self._notices
        self._notices = []
        options, status = self.options, self._status
        if found:  # also without a record: who only sends lines of other logs is not silent
            items.append(Records(self.name, records[0], arrival, True, options.may_ban, options.parsers))
            if records[1]:
                items.append(Records(self.name, records[1], arrival, True, False, options.parsers))
        for (log, sure), said in lines.items():
            items.append(self._block(log, said, arrival, options.may_ban and sure))
        if found:
            status.last_line = arrival
            status.bytes += sum(len(data) for _, data, _, _ in found)
            status.cut += sum(cut for _, _, cut, _ in found)
            self._counts["messages"] += len(found)

    def _datagrams(self, taken: socket.socket, found: list[Sent]) -> None:
        number = taken.fileno()
        room = BATCH
        for _ in range(_MESSAGES):
            if room <= 0:
                return
            try:
                data, more, flags, peer = taken.recvmsg(PIECE, 64)
            except BlockingIOError:
                break
            except OSError:  # an ICMP answer to something that was never sent
                continue
            room -= len(data)
            for level, kind, value in more:
                if (level, kind) == (socket.SOL_SOCKET, _OVERFLOW) and len(value) >= 4:
                    self._overflowed(number, _COUNT.unpack(value[:4])[0])
            sender = self._sender(peer[0])
            if sender and data:
                messages, sure = packed(data)
                cut = bool(flags & socket.MSG_TRUNC)
                found += [
                    (sender, one, cut and at == len(messages), at <= sure)
                    for at, one in enumerate(messages, 1)
                ]
        else:
            return  # more may be there
        self._ready.discard(number)

    def _overflowed(self, number: int, total: int) -> None:
        """The kernel says how many datagrams it has dropped because nobody read in time."""
        lost = (total - self._overflows.get(number, 0)) & 0xFFFFFFFF
        if lost:
            self._overflows[number] = total
            self._counts["overflowed"] += lost
            self._say("syslog-lost", {"count": self._counts["overflowed"]}, blind=True)

    def _log_name(self, sender: str, program: str) -> str:
        """The name of a log inside messages; a sender who invents too many has one name for all."""
        name = f"{self.name}/{sender}/{program}" if program else f"{self.name}/{sender}"
        if name not in self._logs and len(self._logs) >= _LOGS:
            name = f"{self.name}/others"
        self._logs.setdefault(name, 0)
        return name

    def _block(self, log: str, lines: list[Line], arrival: float, may_ban: bool) -> Block:
        data = bytearray()
        cuts = []
        for line in lines:
            if line.cut:
                cuts.append(len(data))
            data += line.data.replace(b"\n", b" ") + b"\n"
        # Positions grow over restarts too, though nothing can be read again.
        position = self._logs.get(log) or int(arrival * 1e6)
        self._logs[log] = position + len(data)
        options = self.options
        return Block(
            log, data, 0, len(data), position, arrival, True, may_ban, tuple(cuts),
            options.timezone, options.year, options.parsers,
        )  # fmt: skip

    # ------------------------------------------------------------ answers

    def positions(self) -> dict[str, bytes]:
        """What is known about the senders' clocks."""
        row = self._messages.save()
        return {f"syslog:{self.name}": row} if row else {}

    def status(self) -> dict[str, dict[str, Any]]:
        """Counters: those of every log, and messages, refused, overflowed, closed, broken; open connections,
        messages without a program."""
        more = {"connections": len(self.peers.open), "unopened": self._messages.unopened}
        return {self.name: self._status.as_dict() | self._counts | more}

    def close(self) -> None:
        """Stop listening. May be repeated."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self.peers.close()
        for number, listener in [*self._udp.items(), *self._tcp.items()]:
            if self._wait is not None:
                self._wait.remove(number)
            listener.close()
        self._udp.clear()
        self._tcp.clear()
        self._ready.clear()
