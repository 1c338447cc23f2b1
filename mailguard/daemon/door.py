"""The firewall as the daemon holds it: its descriptor follows it through lost and new connections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from ..firewall.interface import Firewall, FirewallError, Standing
from ..model import Ban, Item, Network

Callback = Callable[[int], list[Item] | None]


class Wait(Protocol):
    """Where descriptors are registered (see feeds/wait.py)."""

    def add(self, fd: int, call: Callback) -> Any: ...

    def remove(self, fd: int) -> None: ...


class Door:
    """A firewall whose notices come with the feed's items."""

    def __init__(self, inner: Firewall, name: str):
        """`name`: which way to ban it is, for `status`."""
        self.inner = inner
        self.name = name
        self._wait: Wait | None = None
        self._fd: int | None = None

    def attend(self, wait: Wait) -> None:
        """Listen for notices from now on."""
        self._wait = wait
        self._listen()

    def _listen(self) -> None:
        if self._wait is None:
            return
        if self._fd is not None:
            self._wait.remove(self._fd)
        self._fd = self.inner.fileno()
        if self._fd is not None:
            self._wait.add(self._fd, self._ready)

    def _ready(self, _events: int) -> list[Item]:
        with self._followed():
            return [*self.inner.notices()]

    @contextmanager
    def _followed(self) -> Iterator[None]:
        """Whatever may lose the connection stands in this: the number of its descriptor is given to somebody
        else at once."""
        try:
            yield
        finally:
            if self.inner.fileno() != self._fd:
                self._listen()

    # ---- the protocol

    def open(self, bans: Iterable[Ban], now: float) -> None:
        try:
            self.inner.open(bans, now)
        finally:
            self._listen()

    def impose(self, bans: Sequence[Ban], now: float) -> None:
        with self._followed():
            self.inner.impose(bans, now)

    def begin(self, network: Network, scope: str, until: float, now: float) -> bool:
        """See `RemoteFirewall.begin`; no other firewall can."""
        begin = getattr(self.inner, "begin", None)
        if begin is None:
            return False
        with self._followed():
            return bool(begin(network, scope, until, now))

    def lift(self, networks: Sequence[tuple[Network, str]]) -> None:
        with self._followed():
            self.inner.lift(networks)

    def allow(self, networks: Sequence[Network]) -> None:
        with self._followed():
            self.inner.allow(networks)

    def set_ports(self, ports: Mapping[str, Sequence[int]]) -> None:
        """Ports of the scopes from the next `open` on."""
        change = getattr(self.inner, "set_ports", None)
        if change is not None:
            change(ports)

    def panic(self) -> None:
        try:
            self.inner.panic()
        finally:
            self._listen()

    def standing(self) -> dict[tuple[Network, str], Standing]:
        """What the firewall has, with its counters; {} when it cannot be asked."""
        try:
            with self._followed():
                return self.inner.banned()
        except (FirewallError, OSError):
            return {}

    def close(self, keep: bool) -> str:
        """End; why it did not work, "" when it did."""
        if self._fd is not None and self._wait is not None:
            self._wait.remove(self._fd)
            self._fd = None
        try:
            self.inner.close(keep)
        except (FirewallError, OSError) as error:
            return str(error)
        return ""
