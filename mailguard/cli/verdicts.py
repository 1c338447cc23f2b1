"""Whom a ban would have hurt, in words; and what there is to say about a log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .messages import MESSAGES, text
from .moments import local, rough

if TYPE_CHECKING:
    from mailguard.model import Notice
    from mailguard.replay.timeline import Entry
    from mailguard.replay.verdict import Verdict


def who(accounts: int, customers: tuple[str, ...], more: int, messages: int) -> str:
    """`3 accounts and customer example.jp`; empty: nobody."""
    parts = []
    if accounts:
        parts.append(text("who.account") if accounts == 1 else text("who.accounts", count=accounts))
    if customers:
        names = ", ".join(customers)
        if more:
            names = text("who.more", names=names, count=more)
        one = len(customers) == 1 and not more
        parts.append(text("who.customer" if one else "who.customers", names=names))
    elif messages:
        parts.append(text("who.mail", count=messages))
    return text("who.and", one=parts[0], other=parts[1]) if len(parts) == 2 else "".join(parts)


def kept(friends: dict[str, Any]) -> Iterator[str]:
    """How many messages and logins the guard counted, in lines; a guard before this one counted none."""
    for what, sources in (("messages", "mail_sources"), ("logins", "login_sources")):
        count = friends.get(what, 0)
        if not friends.get(sources):
            continue
        if what not in friends or friends[f"more_{what}"]:
            yield text(f"kept.{what}-least", number=count) if count else text(f"kept.{what}-uncounted")
        else:
            yield text(f"kept.{what}", number=count)


def words(verdict: Verdict) -> str:
    """A verdict as a sentence."""
    hidden = rough(verdict.hidden)
    if verdict.id == "hurt":
        length = text("time.ever") if verdict.seconds is None else rough(verdict.seconds)
        person = who(verdict.accounts, verdict.customers, verdict.more, verdict.messages)
        name = "verdict.hurt-hidden" if verdict.hidden else "verdict.hurt"
        return text(name, who=person, length=length, hidden=hidden)
    if verdict.hidden:
        return text("verdict.hidden", hidden=hidden)
    if verdict.locked_out:
        return text("verdict.locked", times=verdict.locked_out)
    return text("verdict.nobody")


def notice_words(notice: Notice) -> str:
    """What a reader of logs has to say."""
    name = f"notice.{notice.id}"
    if name not in MESSAGES:
        from mailguard.daemon.words import sentence

        return sentence(notice)
    args: dict[str, Any] = dict(notice.args)
    if "seconds" in args:
        args["span"] = rough(args["seconds"])
    if "at" in args:
        args["at"] = local(args["at"])
    return text(name, **args)


def row_words(entry: Entry, row: dict[str, Any]) -> dict[str, Any]:
    """The row of a timeline's entry with its verdict in words."""
    from mailguard.replay.timeline import BanRecord
    from mailguard.replay.verdict import verdict

    if isinstance(entry, BanRecord):
        row["verdict"]["text"] = words(verdict(entry))
    return row
