"""The firewall as the loop sees it: what it did not do yet is owed, tried again, and said once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..model import Ban, Effect, Impose, Lift, Network, Notice
from .ports import Clock, Firewall, Pace, Place, Retry

Due = Callable[[float], list[Ban]]
#: `Firewall.begin`, where there is one: ask for a ban without waiting for it; True: `impose` will.
Begin = Callable[[Network, str, float, float], bool]


class Gate:
    """Owns: what a failing firewall is owed, and the pause. Never: decides about a ban."""

    def __init__(
        self,
        firewall: Firewall,
        clock: Clock,
        due: Due,
        say: Callable[[Notice], None],
        pace: Pace,
        errors: tuple[type[Exception], ...],
    ):
        """`due` gives every ban that must stand at a wall time; `errors` is what the firewall raises."""
        self.firewall = firewall
        self.paused_until: float | None = None  # wall seconds
        self.retry = Retry(pace)
        self._clock = clock
        self._due = due
        self._say = say
        self._errors = errors
        self._owed: dict[Place, Ban | None] = {}  # None: a lift
        self.begun: Place | None = None  # what `ahead` asked for: `apply` is waited for
        self._lost = False  # the table itself is gone: `open` again
        self._opening = False  # all doors were to be opened, and that failed
        self._panicked = False  # opened by `panic`: the first ban afterwards opens the firewall again
        self._allowed: list[Network] = []

    def allow(self, networks: Sequence[Network]) -> None:
        """Let these pass even from inside a banned network, from now on."""
        if list(networks) == self._allowed:
            return
        self._allowed = list(networks)
        if self.paused_until is None and not self._panicked and not self.retry.failing:
            try:
                self.firewall.allow(self._allowed)
            except self._errors as error:
                self._lost = True  # to come back with the whole
                self._failed(error)

    def ahead(self, address: int, prefix: int, scope: str, until: float) -> None:
        """The judge will impose this ban: the firewall may begin. `apply` waits for both, and takes back what
        the judge did not decide after all."""
        if self.begun is not None or self._panicked or self.paused_until is not None or self.retry.failing:
            return
        begin: Begin | None = getattr(self.firewall, "begin", None)
        network = Network(address, prefix)
        if begin is not None and begin(network, scope, until, self._clock.now()):
            self.begun = network, scope

    def apply(self, effects: Sequence[Effect], now: float) -> None:
        """Do what the effects ask, or owe it."""
        wanted: dict[Place, Ban | None] = {}
        for effect in effects:
            if isinstance(effect, Impose):
                wanted[effect.ban.network, effect.ban.scope] = effect.ban
            elif isinstance(effect, Lift):
                wanted[effect.network, effect.scope] = None
        if self.begun is not None:
            wanted.setdefault(self.begun, None)
            self.begun = None
        if not wanted:
            return
        if self.paused_until is not None:
            return  # the doors stand open on purpose; the ledger knows what is due at the end of it
        if self.retry.failing:
            self._owed.update(wanted)
            return
        if self._panicked:
            if any(wanted.values()):
                self._owed.update(wanted)
                self._lost = True
                self.make_good(now)
            return
        try:
            self._push(wanted, now)
        except self._errors as error:
            self._owed.update(wanted)
            self._failed(error)

    def _push(self, wanted: Mapping[Place, Ban | None], now: float) -> None:
        # Lifts first: a network that replaces another one may not overlap it in the kernel.
        lifts = [place for place, ban in wanted.items() if ban is None]
        bans = [ban for ban in wanted.values() if ban is not None]
        if lifts:
            self.firewall.lift(lifts)
        if bans:
            self.firewall.impose(bans, now)

    def _failed(self, error: Exception) -> None:
        self._lost = self._lost or bool(getattr(error, "lost", True))
        if self.retry.failed(self._clock.monotonic()):
            self._say(Notice("firewall-lost", {"reason": str(error), "owed": len(self._owed)}))

    def not_yet(self, error: Exception, said: bool) -> None:
        """The firewall could not be opened at the start and may be later: all that is due is owed. `said`:
        people heard of it already."""
        self._lost = True
        if said:
            self.retry.failed(self._clock.monotonic())
        else:
            self._failed(error)

    def lost(self) -> bool:
        """Somebody else found the firewall gone. True when that is news."""
        if self.paused_until is not None or self._panicked:
            return False
        self._lost = True
        return self.retry.failed(self._clock.monotonic())

    def hurry(self) -> None:
        """The firewall answers again: try at once what is owed."""
        if self.retry.failing:
            self.retry.at = self._clock.monotonic()

    def make_good(self, now: float) -> None:
        """Try everything that is owed; says so when the firewall is back."""
        owed = self._owed
        try:
            if self._opening:  # first: what is lifted would be taken for a ban of before otherwise
                self.firewall.panic()
                self._opening, self._lost = False, True
            if self._lost:
                self.firewall.open(self._due(now), now)
                self.firewall.allow(self._allowed)
            self._push(owed, now)
        except self._errors as error:
            self._failed(error)
            return
        self._owed, self._lost, self._panicked = {}, False, False
        if self.retry.worked():
            self._say(Notice("firewall-back", {"made_good": len(owed)}))

    @property
    def waits(self) -> bool:
        """`tick` may have something to do."""
        return self.paused_until is not None or self.retry.at is not None

    def tick(self, now: float, monotonic: float) -> None:
        """End a pause that is over, and try again what is due to be tried."""
        if self.paused_until is not None:
            if now >= self.paused_until:
                self.resume(now)
            elif self._opening and self.retry.at is not None and monotonic >= self.retry.at:
                self._open_doors()
        elif self.retry.at is not None and monotonic >= self.retry.at:
            self.make_good(now)

    def reopen(self, now: float) -> None:
        """The firewall is to be made anew (other ports); where its doors stand open it is when they close."""
        if self.paused_until is None and not self._panicked:
            self._lost = True
            self.make_good(now)

    def restored(self, allowed: Sequence[Network]) -> None:
        """The firewall was opened with what is due and lets these pass."""
        self._allowed = list(allowed)

    def panic(self) -> None:
        """Open all doors at once; an older pause ends with it."""
        self.paused_until = None
        self._panicked = True
        self._open_doors()

    def pause(self, until: float) -> None:
        """Take every ban out of the firewall until that wall time; they stay due."""
        self.paused_until = until
        self._open_doors()

    def _open_doors(self) -> None:
        self._owed = {}
        try:
            self.firewall.panic()
        except self._errors as error:
            self._opening = True
            self._failed(error)
            return
        self._opening = False
        if self.retry.worked():
            self._say(Notice("doors-open"))

    def resume(self, now: float) -> None:
        """End a pause: put back what is due."""
        if self.paused_until is None:
            return
        self.paused_until = None
        self._lost = True
        self.make_good(now)
        if not self.retry.failing:
            self._say(Notice("resumed"))

    def status(self) -> dict[str, Any]:
        """Figures for `status`."""
        return {
            "paused_until": self.paused_until,
            "firewall_owed": len(self._owed),
            "firewall_lost": self.retry.failing,
        }
