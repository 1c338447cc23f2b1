"""What speaks for a source, a network, or a user at a network: accepted mail and logins that succeeded.

Owns: who has earned consideration, since when and on how many days.
Never: excuses anybody from `auth_failure` but the very user who had logged in from that network before.
Limits: bounded tables (`cap` keys each); whoever was seen on two days outlives whoever was seen once.
Nothing counts that is older than 13 months. Times are rounded down to ten minutes of inactivity: a busy
partner's last mail may be told up to ten minutes too early.

How many messages and logins came from a source is counted as long as its row lives, up to 2**32 - 1 of each.
Counts are for people: nothing is decided by them. A row written before they were kept goes on with what it
has, and what is counted from then on is told as the least there was. Of counts that changed alone each
checkpoint takes a few, so a guard that was killed may have counted too few, never too many.

A source or network is *in good standing* when mail was accepted from it, or somebody logged in from it, on at
least two days, the first of them at least two days ago. So nobody earns it in the hour in which he needs it.
`revoke` takes it away for good (13 months): a stolen password that worked buys its thief nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from struct import Struct

from ..model import Network
from ..notation import V6, covers, network_of
from .keys import user_network
from .networks import NETWORK4, NETWORK6, network_key, source_key
from .table import Row, Table

DAY = 86400.0
AGE = 396 * DAY  # 13 months
RIPE = 2 * DAY  # the first accepted mail or login must be this old
DAYS = 2  # and must have been on this many days
_GRAIN = 600.0
_PAIRS = 8
_MOST_LOOKS = 300_000  # for one question of an administrator: a fraction of a second

_OWED = 32  # rows whose counts alone changed that one checkpoint takes, or a sixteenth of those that wait

# first and last mail, first and last login, days with mail and with a login, flags; then, where the flags say
# so, messages and logins; then pair hashes (uint32)
_RECORD = Struct("=ddddHHB")
_COUNTS = Struct("=II")
_LOGIN = Struct("=ddB")
_REVOKED, _COUNTED = 1, 2
_MORE_MAIL, _MORE_LOGINS = 4, 8  # there were some before they were counted
_MOST = 0xFFFFFFFF
_NONE = 0.0
_NOBODY = 0  # no user's hash is 0: under it stands when a network was pardoned
NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known in favour of one source or network. Times are 0.0 where there was nothing."""

    first_mail: float = _NONE
    last_mail: float = _NONE
    first_login: float = _NONE
    last_login: float = _NONE
    mail_days: int = 0
    login_days: int = 0
    pairs: int = 0  # different sender and recipient pairs seen, at most 8
    revoked: bool = False
    messages: int = 0  # accepted, as far as they were counted; of a network they are not
    logins: int = 0
    more_messages: bool = False  # there were more than that
    more_logins: bool = False

    def good(self, now: float) -> bool:
        """In good standing at time `now`."""
        if self.revoked:
            return False
        mail = self.mail_days >= DAYS and self.first_mail <= now - RIPE and self.last_mail >= now - AGE
        return mail or self.home(now)

    def home(self, now: float) -> bool:
        """In good standing at time `now` because people log in from here: an office, a provider's gateway."""
        if self.revoked:
            return False
        return self.login_days >= DAYS and self.first_login <= now - RIPE and self.last_login >= now - AGE


NOTHING = Standing()


@dataclass(frozen=True, slots=True)
class Friends:
    """Who is known to come from a network. Of logins it is known from which /24 (IPv6: /48) they came, so
    `accounts` are those of all of it, also where a single address is asked about."""

    mail_sources: int  # addresses from which mail was accepted
    login_sources: int  # and from which somebody logged in
    pairs: int  # different senders with recipients; of each address at most 8 are kept
    more_pairs: bool  # an address has 8: there may be more
    accounts: int | None  # different users; None: not worked out
    messages: int = 0  # accepted from these addresses, as far as they were counted
    more_messages: bool = False  # there were more than that
    logins: int = 0
    more_logins: bool = False


def _unpack(value: bytes | None) -> Standing:
    if value is None:
        return NOTHING
    mail1, mail2, login1, login2, mail_days, login_days, flags = _RECORD.unpack_from(value)
    begin = _pairs_at(flags)
    pairs = (len(value) - begin) // 4
    flags, messages, logins = _counts(value, flags, mail_days, login_days)
    return Standing(
        mail1,
        mail2,
        login1,
        login2,
        mail_days,
        login_days,
        pairs,
        bool(flags & _REVOKED),
        messages,
        logins,
        bool(flags & _MORE_MAIL) or messages == _MOST,
        bool(flags & _MORE_LOGINS) or logins == _MOST,
    )


def _pairs_at(flags: int) -> int:
    """Where the pairs of a record begin."""
    return _RECORD.size + _COUNTS.size if flags & _COUNTED else _RECORD.size


def _full(value: bytes) -> bool:
    """A record that takes no more pairs."""
    return len(value) >= _pairs_at(value[_RECORD.size - 1]) + 4 * _PAIRS


def _counts(value: bytes, flags: int, mail_days: int, login_days: int) -> tuple[int, int, int]:
    """Flags, messages and logins of a record, also of one from before they were counted."""
    if flags & _COUNTED:
        messages, logins = _COUNTS.unpack_from(value, _RECORD.size)
        return flags, messages, logins
    more = (_MORE_MAIL if mail_days else 0) | (_MORE_LOGINS if login_days else 0)
    return flags | _COUNTED | more, 0, 0


def _later(first: float, last: float, days: int, time: float) -> tuple[float, float, int]:
    """The span and the number of days after one more thing at `time`."""
    if not days:
        return time, time, 1
    if time > last:
        return first, time, min(days + (time // DAY > last // DAY), 0xFFFF)
    return min(first, time), last, min(days + (time // DAY < first // DAY), 0xFFFF)


Stale = Callable[[dict[int, bytes], float], list[int]]


def stale_earned(keys: dict[int, bytes], oldest: float) -> list[int]:
    """Sources or networks of which nothing good is known since `oldest`."""
    found = []
    for key, value in keys.items():
        _, mail, _, login, _, _, _ = _RECORD.unpack_from(value)
        if max(mail, login) < oldest:
            found.append(key)
    return found


def stale_logins(keys: dict[int, bytes], oldest: float) -> list[int]:
    """Users, or users at networks, whose last login was before `oldest`."""
    return [key for key, value in keys.items() if _LOGIN.unpack(value)[1] < oldest]


class Book:
    """Standing of sources, networks and users at networks."""

    def __init__(self, cap: int, salt: int = 0, track: bool = False):
        self.sources = Table("standing/source", cap, salt, track)
        self.networks = Table("standing/network", max(8, cap // 2), salt, track)
        self.logins = Table("standing/login", cap, salt, track)  # user and network
        self.users = Table("standing/user", max(8, cap // 2), salt, track)
        self.tables = (self.sources, self.networks, self.logins, self.users)
        self._turn = 0
        #: sources whose counts no checkpoint has yet, the longest waiting first; the compiled engine adds too
        self.owed: dict[int, None] | None = {} if track else None
        #: which keys of the first two tables, and of the others, are older than a time; the compiled engine
        #: puts its own here
        self.stale: tuple[Stale, Stale] = (stale_earned, stale_logins)

    # ------------------------------------------------------------ earning

    def _earn(self, table: Table, key: int, time: float, mail: bool, pair: int) -> None:
        value = table.get(key)
        if value is None:
            flags, counts = 0, b""
            if table is self.sources:
                flags, counts = _COUNTED, _COUNTS.pack(mail, not mail)
            record = (time, time, 0.0, 0.0, 1, 0, flags) if mail else (0.0, 0.0, time, time, 0, 1, flags)
            pairs = pair.to_bytes(4, "little") if pair else b""
            table.put(key, _RECORD.pack(*record) + counts + pairs, False)
            return
        mail1, mail2, login1, login2, mail_days, login_days, flags = _RECORD.unpack_from(value)
        if flags & _REVOKED:
            return
        begin = _pairs_at(flags)
        counts, pairs = value[_RECORD.size : begin], value[begin:]
        if table is self.sources:
            flags, messages, logins = _counts(value, flags, mail_days, login_days)
            messages, logins = min(messages + mail, _MOST), min(logins + (not mail), _MOST)
            counts = _COUNTS.pack(messages, logins)
        fresh = b""
        if pair and len(pairs) < 4 * _PAIRS:
            fresh = pair.to_bytes(4, "little")
            if any(pairs[i : i + 4] == fresh for i in range(0, len(pairs), 4)):
                fresh = b""
        last = mail2 if mail else login2
        if not fresh and 0 <= time - last < _GRAIN and time // DAY == last // DAY:
            if table is self.sources:  # nothing new but the counts: as for most
                packed = _RECORD.pack(mail1, mail2, login1, login2, mail_days, login_days, flags)
                table.amend(key, packed + counts + pairs)
                if self.owed is not None:
                    self.owed[key] = None
            return
        if mail:
            mail1, mail2, mail_days = _later(mail1, mail2, mail_days, time)
        else:
            login1, login2, login_days = _later(login1, login2, login_days, time)
        packed = _RECORD.pack(mail1, mail2, login1, login2, mail_days, login_days, flags)
        table.put(key, packed + counts + pairs + fresh, max(mail_days, login_days) >= DAYS)

    def mail(self, source: int, time: float, pair: int | Callable[[], int] = 0) -> None:
        """Mail from this packed address was accepted; `pair` hashes its sender and recipient (0: unknown), or
        does so when called: for most it need not be known.
        """
        key = source_key(source)
        value = self.sources.get(key)
        if value is not None:
            if value[_RECORD.size - 1] & _REVOKED:
                return
            if _full(value):
                pair = 0
        if callable(pair):
            pair = pair()
        self._earn(self.sources, key, time, True, pair & 0xFFFFFFFF)
        self._earn(self.networks, network_key(source), time, True, 0)

    def settle(self, user: int, source: int, time: float) -> bool:
        """The hashed name is at home in the network of this address; False: its login there was a theft."""
        key = user_network(user, source)
        value = self.logins.get(key)
        if value is None:
            self.logins.put(key, _LOGIN.pack(time, time, 0), False)
        else:
            first, last, flags = _LOGIN.unpack(value)
            if flags & _REVOKED:
                if not self._pardoned(source, first):
                    return False
                first = last = NEVER
            if not 0 <= time - last < _GRAIN:
                first = time if first == NEVER else first
                strong = max(last, time) - min(first, time) >= DAY
                self.logins.put(key, _LOGIN.pack(min(first, time), max(last, time), 0), strong)
        return True

    def login(self, user: int, source: int, time: float) -> None:
        """The hashed user logged in from this packed address."""
        if not self.settle(user, source, time):
            return
        self._earn(self.sources, source_key(source), time, False, 0)
        self._earn(self.networks, network_key(source), time, False, 0)
        value = self.users.get(user)
        if value is None:
            self.users.put(user, _LOGIN.pack(time, time, 0), False)
        else:
            first, last, flags = _LOGIN.unpack(value)
            if time - last >= _GRAIN:
                self.users.put(user, _LOGIN.pack(first, time, flags), True)

    # ------------------------------------------------------------ asking

    def known(self, user: int, source: int, time: float) -> bool:
        """Had this hashed user logged in from the network of this address before `time`?"""
        value = self.logins.get(user_network(user, source))
        if value is None:
            return False
        first, last, flags = _LOGIN.unpack(value)
        return not flags & _REVOKED and first <= time and last >= time - AGE

    def exists(self, user: int) -> bool:
        """Has this hashed user ever logged in? Then the name is an account and no mistyped password."""
        return user in self.users

    def source(self, address: int) -> Standing:
        return _unpack(self.sources.get(source_key(address)))

    def network(self, network: Network, now: float) -> Standing:
        """The best standing of anything in the network."""
        exact = NETWORK6 if network.address >= V6 else NETWORK4
        if network.prefix > exact:
            found = self.source(network.address)
            if found.good(now) or network == network_of(network.address, 32, 64):
                return found
            return NOTHING
        if network.prefix == exact:
            return _unpack(self.networks.get(network.address))
        best = NOTHING
        for key, value in self.networks.items():
            if covers(network, network_of(key, NETWORK4, NETWORK6)):
                found = _unpack(value)
                if found.good(now):
                    return found
                best = found
        return best

    def friends(self, network: Network, now: float) -> Friends:
        """Who is known to come from inside the network; no more than that is kept."""
        oldest = now - AGE
        mail = logins = pairs = messages = entries = 0
        full = more_messages = more_logins = False
        for value in self._inside(network):
            found = _unpack(value)
            if found.revoked:
                continue
            if found.mail_days > 0 and found.last_mail >= oldest:
                mail, messages = mail + 1, messages + found.messages
                more_messages = more_messages or found.more_messages
            if found.login_days > 0 and found.last_login >= oldest:
                logins, entries = logins + 1, entries + found.logins
                more_logins = more_logins or found.more_logins
            pairs += found.pairs
            full = full or found.pairs >= _PAIRS
        accounts = self._accounts(network, oldest)
        return Friends(mail, logins, pairs, full, accounts, messages, more_messages, entries, more_logins)

    def _inside(self, network: Network) -> Iterator[bytes]:
        """The records of the sources of a network."""
        six = network.address >= V6
        if not six and network.prefix >= 20:  # so few addresses that each is asked for
            for address in range(network.address, network.address + (1 << 32 - network.prefix)):
                value = self.sources.get(address)
                if value is not None:
                    yield value
            return
        for key, value in self.sources.items():
            if covers(network, network_of(key, 32, 64)):
                yield value

    def _accounts(self, network: Network, oldest: float) -> int | None:
        """How many different users logged in from the networks of `network`; None: too many to look at."""
        exact = NETWORK6 if network.address >= V6 else NETWORK4
        if network.prefix >= exact:
            places = [network.address]
        else:
            places = [
                key
                for key, _ in self.networks.items()
                if covers(network, network_of(key, NETWORK4, NETWORK6))
            ]
        if len(places) * len(self.users) > _MOST_LOOKS:
            return None
        count = 0
        for user, _ in self.users.items():
            for place in places:
                value = self.logins.get(user_network(user, place))
                if value is None:
                    continue
                _, last, flags = _LOGIN.unpack(value)
                if not flags & _REVOKED and last >= oldest:
                    count += 1
                    break
        return count

    # ------------------------------------------------------------ losing

    def revoke(self, user: int, source: int, time: float, shared: bool = False) -> None:
        """The user's login from here was a theft: it speaks for nobody, and nothing more is earned from
        here, unless the source is `shared` with others whose logins still count.
        """
        self.logins.put(user_network(user, source), _LOGIN.pack(time, time, _REVOKED), True)
        if shared:
            return
        packed = _RECORD.pack(0.0, 0.0, time, time, 0, 1, _REVOKED | _COUNTED)
        self.sources.put(source_key(source), packed + _COUNTS.pack(0, 0), True)

    def pardon(self, source: int, time: float) -> bool:
        """An administrator speaks for the source: what was revoked before `time` may be earned again."""
        self.logins.put(user_network(_NOBODY, source), _LOGIN.pack(time, time, 0), True)
        value = self.sources.get(source_key(source))
        if value is None or not value[_RECORD.size - 1] & _REVOKED:
            return False
        self.sources.drop(source_key(source))
        return True

    def _pardoned(self, source: int, since: float) -> bool:
        value = self.logins.get(user_network(_NOBODY, source))
        return value is not None and bool(_LOGIN.unpack(value)[1] >= since)

    def sweep(self, clock: float) -> int:
        """A piece of housekeeping: one shard of one table; how many keys were looked at."""
        oldest = clock - AGE
        self._turn = (self._turn + 1) % 4

        stale = self.stale[self._turn >= 2]
        return self.tables[self._turn].sweep(lambda keys: stale(keys, oldest))

    def settle_counts(self, most: int | None = None) -> None:
        """The next checkpoint has the counts of all sources; `most`: of that many that wait for one."""
        if self.owed:
            for key in list(islice(self.owed, most)):
                del self.owed[key]
                self.sources.touch(key)

    def owe(self, full: bool) -> None:
        """A checkpoint follows (`full`: of all that is known): it has some of the counts that wait."""
        if full and self.owed:
            self.owed.clear()
        elif self.owed:
            self.settle_counts(max(_OWED, len(self.owed) // 16))

    def changes(self, full: bool) -> list[Row]:
        """The rows of a checkpoint."""
        self.owe(full)
        rows: list[Row] = []
        for table in self.tables:
            rows += table.changes(full)
        return rows
