"""What speaks for somebody: logins that succeeded, and accepted mail.

Owns: what a login means before it may earn standing: the end of a sequence, or pardon for the way there.
Never: counts what speaks against somebody; what anybody may have written earns nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..model import Effect, Event
from .detectors import KIND_NUMBER
from .lanes import Lane
from .names import Hasher
from .networks import source_value
from .settling import Settling
from .standing import Book

_FAILURE = KIND_NUMBER["auth_failure"]


def short_name(user: str) -> str:
    """The name under which somebody who logged in as `user` is known too: people leave the domain out, or
    write one that the server does not want. `sato@example.net` is `sato`; `sato` is `sato@` with any domain.
    Accounts of two domains are never the same.
    """
    return user.partition("@")[0] if "@" in user else f"{user}@"


def alias(user: str) -> str:
    """What `short_name` of an account would be that `user` may mean."""
    return f"{user.partition('@')[0]}@" if "@" in user else user


class Earning:
    """Tells the book of standing what earns some."""

    __slots__ = ("book", "completing", "hasher", "pardoning", "settling")

    def __init__(self, book: Book, hasher: Hasher, lanes: Sequence[Lane], settling: Settling):
        self.book = book
        self.hasher = hasher
        self.settling = settling
        #: where a login may end a sequence
        self.completing = tuple(lane for lane in lanes if lane.completing)
        #: where it takes back the failures before it
        self.pardoning = tuple(
            lane for lane in lanes if lane.form in ("source", "user", "user+network") and _FAILURE in lane.who
        )

    def login(self, event: Event) -> list[Effect]:
        """A login succeeded: perhaps the end of a sequence, else standing, and pardon for the way there."""
        user, source, time = event.fields.get("user"), event.source, event.time
        if not user or source is None or "user" not in event.proved:
            return []
        name = self.hasher[user]
        known = self.book.known(name, source, time)
        effects: list[Effect] = []
        suspicious = False
        for lane in self.completing:
            key = lane.key_of(event)
            if key is None:
                continue
            for fired in lane.complete(key, KIND_NUMBER[event.kind], time):
                who = fired.watch.detector.who
                if who != "any" and (who == "known") != known:
                    continue
                # From where our people have long been logging in, it is more likely one of them.
                suspicious = suspicious or not (known or self.book.source(source).good(time))
                effects += self.settling.decide(lane, fired, event)
        if not event.may_ban:  # what anybody may have written speaks for nobody, and against nobody's name
            return effects
        if suspicious:
            self.book.revoke(name, source, time, shared=self.book.source(source).login_days > 0)
            return effects
        other = self.hasher[short_name(user)]
        self.book.login(name, source, time)
        self.book.settle(other, source, time)
        for lane in self.pardoning:
            key = lane.key_of(event)
            if key is None or lane.history.table.get(key) is None:
                continue
            for value in (name, other) if lane.form == "source" else (source_value(source),):
                lane.history.forget(key, _FAILURE, value)
        return effects

    def mail(self, event: Event) -> None:
        """A message was accepted."""
        if event.source is not None and event.may_ban:
            fields, hasher = event.fields, self.hasher

            def pair() -> int:
                sender, recipient = fields.get("sender", ""), fields.get("recipient", "")
                return hasher[f"{sender}\0{recipient}"] if sender or recipient else 0

            self.book.mail(event.source, event.time, pair)
