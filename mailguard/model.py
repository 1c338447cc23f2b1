"""The words of the program as types: what comes in, what is found, what is asked for.

Times are seconds since 1970-01-01 UTC as float. Addresses are *packed* integers: an IPv4 address is its
32-bit value, an IPv6 address is its 128-bit value plus 2**128 (so that families never mix), and an
IPv4-mapped IPv6 address is IPv4. `notation` turns them into text and back.

Imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

# ---------------------------------------------------------------- event kinds (a closed list)

HOSTILE: dict[str, str] = {
    "auth_failure": "A login was refused because the name or the password was wrong.",
    "unknown_recipient": "Mail was offered to a recipient that does not exist here.",
    "relay_denied": "A client without permission asked this server to relay to somebody else's domain.",
    "blocklisted": "The client was refused because a DNS block list names it.",
    "policy_reject": "The client was refused for its name, HELO, sender, or failed SPF, DKIM or DMARC.",
    "content_reject": "A message was refused for what it contains.",
    "protocol_violation": "The client broke the protocol: pipelining too early, not SMTP, bad commands.",
    "session_aborted": "The client left or fell silent before it said anything useful.",
    "rate_exceeded": "The server's own rate limit refused the client.",
    "address_probe": "The client asked whether an address exists (VRFY, EXPN).",
    "locked_out": "The server's own lock-out refused the client.",
    "tls_failure": "The TLS handshake failed.",
}
CONTEXT: dict[str, str] = {
    "connect": "A client connected.",
    "disconnect": "A client's connection ended.",
    "auth_success": "A login succeeded.",
    "mail_accepted": "A message was accepted into the queue.",
    "mail_sent": "A message was delivered.",
    "mail_bounced": "A message could not be delivered, finally.",
    "mail_deferred": "A message could not be delivered yet.",
    "growth": "A log or spool folder grew beyond what is normal.",
}
KINDS: dict[str, str] = HOSTILE | CONTEXT

#: The closed list of field names a pattern may capture, each with its meaning.
FIELDS: dict[str, str] = {
    "source": "the address the event is laid to",
    "user": "the login name that was tried or used",
    "sender": "the envelope sender; empty for bounces",
    "recipient": "the envelope recipient",
    "helo": "the client's HELO or EHLO argument",
    "host": "the client's name by reverse DNS",
    "method": "the authentication mechanism",
    "reason": "the server's words",
    "list": "the DNS block list that answered",
    "stage": "the protocol command at which it happened",
    "service": "the service or program the client talked to",
    "session": "the daemon's own session id",
    "queue_id": "the queue id of a message",
    "attempts": "how many attempts the line stands for",
    "limit": "how many the server counted",
    "status": "the outcome word of a result line",
    "relay": "the host a message was delivered to",
    "size": "size in bytes",
    "recipients": "number of recipients",
    "port": "a TCP port",
    "time": "the time stamp, where it does not stand first",
    "server": "the server's own name",
    "command": "the client's command",
    "pid": "the process id that wrote the line",
    "message_id": "the server's id of the message",
}

#: The field whose different values a `distinct` detector counts, one for each kind.
VALUE_FIELD: dict[str, str] = {
    "auth_failure": "user",
    "auth_success": "user",
    "unknown_recipient": "recipient",
    "relay_denied": "recipient",
    "address_probe": "recipient",
    "policy_reject": "sender",
    "blocklisted": "list",
    "mail_accepted": "sender",
}

# ---------------------------------------------------------------- what comes in


class Block(NamedTuple):
    """Whole lines of one log: `data[start:end]`, the last byte is LF. Valid until the feed is asked again."""

    log: str  # name of the log: its path as given, or the name in the settings
    data: Any  # bytes, bytearray or memoryview
    start: int
    end: int
    position: int  # byte offset in the log of data[start]
    arrival: float  # live: when it was read; recorded: the file's modification time (dates year-less stamps)
    live: bool  # True: a stamp far ahead counts as now
    may_ban: bool = True  # the log's trust; False: its events only alert
    cuts: tuple[int, ...] = ()  # offsets in data of lines that were cut at the length limit
    timezone: str = ""  # name of the writer's zone; empty: this host's
    year: int | None = None  # stated year for year-less stamps
    parsers: tuple[str, ...] = ()  # names of the parsers to try; empty: all


class Record(NamedTuple):
    """One entry that came with its envelope already open (journal)."""

    time: float
    host: bytes
    program: bytes  # "postfix/smtpd"
    pid: int  # 0: unknown
    message: bytes
    position: int  # journal: microseconds of its stamp
    cut: bool = False


class Records(NamedTuple):
    """Entries of one structured log, in order."""

    log: str
    records: list[Record]
    arrival: float
    live: bool
    may_ban: bool = True
    parsers: tuple[str, ...] = ()


class Event(NamedTuple):
    """What happened, when, by which source. `time` is the line's own stamp (clamped when it is ahead)."""

    kind: str
    time: float
    source: int | None  # packed address; None only for context events
    rule: str  # "parser/rule"
    weight: int  # attempts the line stands for
    fields: dict[str, str]  # captured fields but source, decoded
    log: str
    position: int  # byte offset of the line in its log; journal: microseconds
    scope: str = "mail"  # ports an offence from it concerns: "auth", "mail" (auth and 25), "all"
    may_ban: bool = True
    proved: frozenset[str] = frozenset()  # names of fields proved unambiguous: only these may be keys
    line: bytes = b""  # the raw line of a hostile event, for the ledger's evidence; empty where nobody asked


class Events(NamedTuple):
    """Events that were parsed elsewhere, in the order in which they count."""

    events: Sequence[Event]


class Readings(NamedTuple):
    """What was measured at a time: how many bytes each log has had so far (the smaller number of a log that
    was begun anew tells that it was), and how many messages wait in each spool folder. What could not be
    measured is not in it."""

    time: float
    bytes: dict[str, int]
    messages: dict[str, int]


@dataclass(frozen=True, slots=True)
class Request:
    """What an administrator asks of the running guard; `reply` is called once with the answer."""

    verb: str
    args: dict[str, Any] = field(default_factory=dict)
    reply: Any = None  # Callable[[dict[str, Any]], None] | None


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a feed or the firewall has to say: an id with arguments, never an event.

    Ids: `log-missing` `log-unreadable` `log-back` `log-rotated` `bytes-lost` `lines-cut` `log-silent`
    `nothing-matches` `lag` `suppressed` `reload` `stop` `firewall-lost` `firewall-back` `firewall-repaired`
    `disk-full`.
    """

    id: str
    args: dict[str, Any] = field(default_factory=dict)
    blind: bool = False  # the guard may be missing attacks because of it


Item = Block | Records | Events | Readings | Request | Notice

# ---------------------------------------------------------------- what is found


class Network(NamedTuple):
    """A network: packed address of its first host, prefix length of its own family (32 or 128: one host)."""

    address: int
    prefix: int


class Evidence(NamedTuple):
    """Where one counted event stands. The ledger finds the line for it."""

    time: float
    rule: str
    log: str
    position: int
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Offence:
    """A detector's finding. `key` is its text: an address, a network, or a hashed name."""

    detector: str
    key: str
    first: float
    last: float
    count: int
    kinds: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    scope: str = "mail"
    may_ban: bool = True
    sources: tuple[int, ...] = ()  # packed addresses that took part, newest last, bounded
    different: int = 0  # different values among the events, where the detector counts them ...
    of: str = ""  # ... and of which field: "user", "recipient", "source", "network", ...; growth: its unit
    facts: tuple[tuple[str, str], ...] = ()  # more that people should know, name and value


@dataclass(frozen=True, slots=True)
class Ban:
    """A network kept out from a time until a time. `until` None is permanent."""

    network: Network
    since: float
    until: float | None
    ordinal: int = 1  # how many times this network was banned, this one included
    offence: Offence | None = None  # None: an administrator asked
    reason: str = ""  # an administrator's words
    scope: str = "mail"


@dataclass(frozen=True, slots=True)
class Impose:
    """Ask for a ban."""

    ban: Ban
    time: float


@dataclass(frozen=True, slots=True)
class Lift:
    """Ask that a ban end early. `reason`: "replaced", "unban", "allowed", "evicted"."""

    network: Network
    time: float
    reason: str
    scope: str = "mail"


@dataclass(frozen=True, slots=True)
class Alert:
    """Tell a person. `why` says why no ban followed: "observe", "never-list", "standing", "stale-client",
    "unbanned", "trust", "guessed", "user", "cap", "alert" (the detector only alerts)."""

    offence: Offence
    time: float
    why: str
    network: Network | None = None
    would: Ban | None = None  # in observe mode: the ban that would have been imposed


Effect = Impose | Lift | Alert


# ---------------------------------------------------------------- checkpoints

#: A row of a checkpoint: table, key, value (None: deleted).
Row = tuple[str, bytes, bytes | None]


class Part(NamedTuple):
    """Rows of one table, not made yet: to make them is not for who must not wait.

    A row's key is `prefix` and the key of it here; a number stands for the shortest big-endian bytes of it
    (at least one). What stands under a number is None (deleted) or a value to be marked: b"\1" comes before
    one in a tuple, b"\0" before the others. What stands under bytes is the row's value.
    """

    table: str
    prefix: bytes
    values: dict[int, bytes | tuple[bytes] | None] | dict[bytes, bytes | None]

    def rows(self) -> Iterator[Row]:
        """The rows that it stands for."""
        key: int | bytes
        value: bytes | tuple[bytes] | None
        for key, value in self.values.items():
            if isinstance(key, bytes):
                assert not isinstance(value, tuple)
                yield self.table, self.prefix + key, value
                continue
            name = self.prefix + key.to_bytes((key.bit_length() + 7) // 8 or 1, "big")
            if value is None:
                yield self.table, name, None
            else:
                yield self.table, name, b"\1" + value[0] if isinstance(value, tuple) else b"\0" + value


class Changes:
    """A checkpoint: the rows are those in `rows`, and then those of `parts`. Whoever gets one may keep it and
    change it: who made it does not look at it again. In all checkpoints a row of a part stands under the same
    prefix and key.
    """

    __slots__ = ("parts", "rows")

    def __init__(self, rows: Iterable[Row], parts: Iterable[Part] = ()):
        self.rows = list(rows)
        self.parts = list(parts)

    def __iter__(self) -> Iterator[Row]:
        yield from self.rows
        for part in self.parts:
            yield from part.rows()
