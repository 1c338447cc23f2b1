"""The firewall as the judge has it: every call is a frame to the enforcer and waits for its answer."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping, Sequence

from mailguard.clock import Clock, SystemClock
from mailguard.firewall import wire
from mailguard.firewall.channel import READING, Channel, why
from mailguard.firewall.desired import Changes, Key, changes_of_bans, key_of
from mailguard.firewall.interface import FirewallError, Standing, ports_of
from mailguard.model import Ban, Network

#: Seconds to wait for the first answer of an enforcer, which may have much to restore.
PATIENCE = 60.0
#: More seconds where it has much to do: for each ban of `open` and `impose`, and for emptying all.
_EACH, _EMPTYING = 1e-4, 10.0


class RemoteFirewall(Channel):
    """`Firewall` by an enforcer in another process.

    `connect` makes the connection, at first and again after it was lost; where only one can ever be made (a
    socket pair) it raises OSError the second time. When the connection is lost every call raises
    FirewallError with `lost` until `open` succeeds; one `firewall-lost` notice says so.

    An enforcer that does not answer in time (stopped, or busy with a repair) is not lost: calls raise
    FirewallError at once, without asking it anything more, until its answer has come, which a notice
    `firewall-answers` tells to the loop.
    """

    def __init__(
        self,
        connect: Callable[[], socket.socket],
        ports: Mapping[str, Sequence[int]] | None = None,
        name: str = "enforcer",
        patience: float = PATIENCE,
        clock: Clock | None = None,
    ):
        super().__init__(connect, patience)
        self.name = name
        self.pid: int | None = None  # of the keeper of enforcers that was started with this guard
        self._ports = ports
        self._many = 0  # bans of the last `open`
        self._clock: Clock = clock or SystemClock()

    def set_ports(self, ports: Mapping[str, Sequence[int]]) -> None:
        """Ports of the scopes from the next `open` on."""
        self._ports = ports

    # ---- the Firewall protocol

    def open(self, bans: Iterable[Ban], now: float) -> None:
        self._ready()
        self._settled()
        if self._ports is not None:
            self._ask(wire.SETUP, wire.pack_ports(ports_of(self._ports)))
        changes = changes_of_bans(bans, now)
        if len(changes) > wire.MOST_BANS:
            raise FirewallError(f"{len(changes)} bans are more than the {wire.MOST_BANS} the enforcer takes")
        # Sent while it is being packed: the enforcer reads meanwhile, on another processor.
        self._sequence += 1
        waiting = b""
        for body in wire.pack_bans(_living(changes), now):
            if waiting:
                self._send(wire.frame(wire.OPEN, self._sequence, b"\0" + waiting))
            waiting = body
        self._send(wire.frame(wire.OPEN, self._sequence, b"\1" + waiting))
        self._many = len(changes)
        self._answer(self._sequence, READING + _EACH * self._many)
        self._opened = True

    def begin(self, network: Network, scope: str, until: float, now: float) -> bool:
        """Ask for one ban without waiting: `impose` of the same one waits for the answer, and so does
        whatever else is asked. False: it cannot be done that way now, and nothing was asked."""
        connection = self._socket
        if self._compiled is None or connection is None or not self._opened or until <= now:
            return False
        if self._owed or self._begun is not None or not self._frames.idle:
            return False
        self._sequence += 1
        key = key_of(network, scope)
        try:
            began: bool = self._compiled.begin(
                connection.fileno(), self._sequence, *key, min(until - now, wire.LONGEST)
            )
        except OSError as error:
            self._lose(why(error))  # `impose` says so
            return False
        if began:
            self._begun = self._sequence, key, until
        return began

    def impose(self, bans: Sequence[Ban], now: float) -> None:
        if self._begun is not None:
            stands = self._finish()
            bans = [ban for ban in bans if (key_of(ban.network, ban.scope), ban.until) != stands]
            if not bans:
                return
        if len(bans) == 1 and self._one(bans[0], now):
            return
        for body in wire.pack_bans(_living(changes_of_bans(bans, now)), now):
            if body:
                self._ask(wire.IMPOSE, body, self._short + _EACH * len(bans))

    def _one(self, ban: Ban, now: float) -> bool:
        """The case that must not wait: one ban with an end, to an enforcer that owes no answer. False: it is
        another case."""
        until, connection = ban.until, self._socket
        if until is None or until <= now or connection is None or self._owed:
            return False
        self._sequence += 1
        sequence, key = self._sequence, key_of(ban.network, ban.scope)
        self._wait(socket.SO_RCVTIMEO, self._short)
        if self._compiled is None or not self._frames.idle:
            self._send(wire.one_ban(sequence, key, until, now))
            self._answer(sequence, self._short)
            return True
        seconds = min(until - now, wire.LONGEST)
        self._heard(sequence, self._compiled.ask, connection.fileno(), sequence, *key, seconds)
        return True

    def lift(self, networks: Sequence[tuple[Network, str]]) -> None:
        for body in wire.pack_places(key_of(network, scope) for network, scope in networks):
            if body:
                self._ask(wire.LIFT, body)

    def allow(self, networks: Sequence[Network]) -> None:
        bodies = list(wire.pack_places((0, *network) for network in networks))
        if len(bodies) > 1:
            raise FirewallError(f"more than {wire.ROWS} allowed networks")
        self._ask(wire.ALLOW, bodies[0])

    def banned(self) -> dict[tuple[Network, str], Standing]:
        seen: dict[tuple[Network, str], Standing] = {}
        for body in self._ask(wire.BANNED, patience=READING + _EACH * self._many):
            try:
                seen |= wire.unpack_standing(body)
            except wire.WireError as error:
                raise self._lose(str(error)) from error
        return seen

    def pause(self, until: float | None) -> None:
        seconds = 0.0 if until is None else max(0.0, until - self._clock.now())
        self._ask(wire.PAUSE, wire.pack_seconds(min(seconds, wire.LONGEST)))

    def panic(self) -> None:
        self._ready()
        self._ask(wire.PANIC, patience=_EMPTYING)

    def close(self, keep: bool) -> None:
        if self._socket is None:
            self._let_go()
            return
        try:
            self._ask(wire.CLOSE, b"\1" if keep else b"\0", _EMPTYING)
        finally:
            self._hang_up()
            self._let_go()


def _living(changes: Changes) -> Iterable[tuple[Key, float]]:
    return ((key, until) for key, until in changes.items() if until is not None)
