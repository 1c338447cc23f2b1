"""Who is known from the logs, and what speaks for them: accepted mail and logins, for each source.

Owns: compact counters for each source, bounded. Never: judges. Limits: `CAP` sources in two generations:
when the young one is full, the old one is forgotten, except what was seen in between, and the forgotten are
counted. Different pairs of sender and recipient are counted up to `MOST` for a source, accounts too; beyond
that the figure stands for "at least".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..core import native
from ..core.networks import source_key
from ..model import Network
from ..notation import V6, covers, host_prefix

CAP = 200_000
MOST = 64
PAIRS_KEPT = 400_000  # different pairs remembered over all sources
_PROBES = 1024  # a network of no more sources than this is looked up, a wider one looked through
NAMES = 8  # accounts and domains that are named

# places in a source's record
MESSAGES, PAIRS, LAST_MAIL, LOGINS, ACCOUNTS, LAST_LOGIN = range(6)
Record = list[Any]


@dataclass(slots=True)
class Tally:
    """Accepted mail and logins of one network in one stretch of time."""

    messages: int = 0
    pairs: int = 0
    last_mail: float = 0.0
    logins: int = 0
    accounts: int = 0
    last_login: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.messages or self.logins)

    def add(self, record: Record) -> None:
        """Take the record of a source in."""
        self.messages += record[MESSAGES]
        self.pairs += record[PAIRS]
        self.last_mail = max(self.last_mail, record[LAST_MAIL])
        self.logins += record[LOGINS]
        self.accounts += record[ACCOUNTS]
        self.last_login = max(self.last_login, record[LAST_LOGIN])

    def row(self, moment: Any) -> dict[str, Any]:
        """As plain values; times by `moment`."""
        return {
            "messages": self.messages,
            "pairs": self.pairs,
            "last_mail": moment(self.last_mail) if self.messages else None,
            "logins": self.logins,
            "accounts": self.accounts,
            "last_login": moment(self.last_login) if self.logins else None,
        }


@dataclass(slots=True)
class Closely(Tally):
    """The same with the names of those concerned; each different pair and account is remembered."""

    most: int = MOST
    seen: set[int] = field(default_factory=set)
    users: dict[str, int] = field(default_factory=dict)  # account: logins
    domains: dict[str, int] = field(default_factory=dict)  # of senders: messages

    def mail(self, time: float, sender: str, recipient: str) -> None:
        """A message was accepted; "" for who is not known."""
        self.messages += 1
        if time > self.last_mail:
            self.last_mail = time
        if len(self.seen) < self.most:
            self.seen.add(hash((sender, recipient)))
            self.pairs = len(self.seen)
        domain = sender.rpartition("@")[2].lower() if "@" in sender else ""
        if domain in self.domains or len(self.domains) < self.most:
            self.domains[domain] = self.domains.get(domain, 0) + 1

    def login(self, time: float, user: str) -> None:
        """Somebody logged in."""
        self.logins += 1
        if time > self.last_login:
            self.last_login = time
        if user in self.users or len(self.users) < self.most:
            self.users[user] = self.users.get(user, 0) + 1
            self.accounts = len(self.users)

    def row(self, moment: Any) -> dict[str, Any]:
        return Tally.row(self, moment) | {"users": named(self.users), "domains": named(self.domains)}


def named(counted: dict[str, int]) -> list[str]:
    """The most frequent names, at most NAMES of them; those without a name are left out."""
    names = [name for name in counted if name]
    return sorted(names, key=lambda name: (-counted[name], name))[:NAMES]


class Known:
    """What speaks for each source."""

    __slots__ = ("_pairs", "_users", "forgotten", "old", "young")

    def __init__(self) -> None:
        self.young: dict[int, Record] = {}
        self.old: dict[int, Record] = {}
        self.forgotten = 0
        self._pairs: set[int] = set()  # of source, sender and recipient
        self._users: set[int] = set()  # of source and account

    def find(self, key: int) -> Record:
        """The record of a source that the young generation does not have."""
        if len(self.young) >= CAP // 2:
            self.forgotten += len(self.old)
            self.old, self.young = self.young, {}
        record = self.old.pop(key, None)
        if record is None:
            record = [0, 0, 0.0, 0, 0, 0.0]
        self.young[key] = record
        return record

    def mail(self, key: int, time: float, fields: dict[str, str]) -> None:
        """Mail from the source was accepted."""
        record = self.young.get(key) or self.find(key)
        record[MESSAGES] += 1
        if time > record[LAST_MAIL]:
            record[LAST_MAIL] = time
        if record[PAIRS] < MOST:
            pair = hash((key, fields.get("sender"), fields.get("recipient")))
            if pair not in self._pairs:
                if len(self._pairs) >= PAIRS_KEPT:
                    self._pairs.clear()
                self._pairs.add(pair)
                record[PAIRS] += 1

    def login(self, key: int, time: float, fields: dict[str, str]) -> None:
        """Somebody logged in from the source."""
        record = self.young.get(key) or self.find(key)
        record[LOGINS] += 1
        if time > record[LAST_LOGIN]:
            record[LAST_LOGIN] = time
        if record[ACCOUNTS] < MOST:
            user = hash((key, fields.get("user")))
            if user not in self._users:
                if len(self._users) >= PAIRS_KEPT:
                    self._users.clear()
                self._users.add(user)
                record[ACCOUNTS] += 1

    def of(self, network: Network) -> Tally:
        """All that speaks for a network so far."""
        tally = Tally()
        for records in (self.young, self.old):
            for record in inside(records, network):
                tally.add(record)
        return tally


def inside(records: dict[int, Record], network: Network) -> Iterator[Record]:
    """The records of the sources in a network."""
    keys, step = sources_in(network)
    first = source_key(network.address)
    if keys <= _PROBES:
        flow = native.load("flow")
        if flow is not None:
            yield from flow.inside(records, first, keys, step)
            return
        for number in range(keys):
            record = records.get(first + number * step)
            if record is not None:
                yield record
        return
    for key, record in list(records.items()):
        if covers(network, Network(key, host_prefix(key))):
            yield record


def sources_in(network: Network) -> tuple[int, int]:
    """How many sources (IPv4 addresses, IPv6 /64) a network has, and the distance of their keys."""
    if network.address >= V6:
        return (1 << max(0, 64 - network.prefix)), 1 << 64
    return 1 << (32 - network.prefix), 1
