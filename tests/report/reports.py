"""Reports to look at: of a few lines, of thousands of bans, and of what hostile clients write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC
from random import Random

from mailguard.model import HOSTILE, Ban, Impose, Network, Notice, Offence
from mailguard.notation import V6
from mailguard.replay.known import Closely, Tally
from mailguard.replay.timeline import LANES, BanRecord, Score
from mailguard.report import Frontier, Point, Report
from mailguard.report.calendar import edges, step_of
from mailguard.report.watching import Account, Source, Volume

T = 1_760_000_000.0
DAY = 86400.0
#: What clients write where a name belongs, to be taken for something else.
HOSTILE_NAMES = (
    "<script>window.pwned = 1</script>",
    "<img src=x onerror='window.pwned = 1'>",
    '"><svg onload="window.pwned = 1">',
    "</style><style>body { display: none }",
    "</title><meta http-equiv=refresh content='0;url=https://192.0.2.1/'>",
    "javascript:window.pwned=1",
    "&lt;b&gt;&#60;script&#62;",
    "admin\u202egpj.exe\u2066",
    "\u200f\u200eright to left \u061c",
    "bell\x07 escape\x1b[31m nul\x00 delete\x7f c1\x9b",
    "line\nfeed\ttab\rreturn",
    "\ud800\udcff broken",
    "Z" + "\u0301" * 300,
    "\u00ad\u200b\u2060\ufeff invisible",
    "日本語の利用者" * 40,
    "A" * 8192,
    "${7*7} {{7*7}} <%= 7*7 %>",
    "",
)


def ban(at: float, address: int, seconds: float | None, **more: object) -> BanRecord:
    """A ban of a replay, of one host unless `prefix` says otherwise."""
    prefix = more.pop("prefix", 64 if address >= V6 else 32)
    detector = str(more.pop("detector", "password-guessing"))
    assert isinstance(prefix, int)
    offence = Offence(detector, "key", at - 60, at, 5, ("auth_failure",))
    until = None if seconds is None else at + seconds
    imposed = Impose(Ban(Network(address, prefix), at, until, offence=offence), at)
    record = BanRecord(imposed, float("inf") if until is None else until, at - 60, 5, Tally())
    for name, value in more.items():
        setattr(record, name, value)
    return record


def hurting(at: float, users: Sequence[str], senders: Sequence[str]) -> Closely:
    """Somebody known came at that time."""
    found = Closely()
    for user in users:
        found.login(at, user)
    for sender in senders:
        found.mail(at, sender, "info@example.jp")
    return found


def many(count: int, days: float = 90.0, names: Sequence[str] = ("anna", "bert")) -> Report:
    """A report of so many bans, made by chance that is always the same."""
    chance = Random(count)
    bans = []
    for number in range(count):
        at = T + days * DAY * number / max(1, count)
        address = (
            0xCB007100 + chance.randrange(256) if number % 5 else V6 + (0x20010DB8 << 96) + (number << 64)
        )
        record = ban(
            at,
            address,
            chance.choice((600.0, 3600.0, DAY, 14 * DAY)),
            detector=chance.choice(("password-guessing", "harvest", "user-spray", "slow-guessing")),
            stopped=chance.randrange(60),
            hidden=chance.choice((0.0, 0.0, 0.0, 600.0)),
        )
        if not number % 97:
            record.during = hurting(at + 60, names, ["a@example.jp", "b@example.com"])
        if not number % 41:
            record.lifted, record.until = "unban", at + 300
        bans.append(record)
    bounds = edges(T, T + days * DAY, UTC, step_of(T, T + days * DAY))
    volumes = []
    for kind in HOSTILE:
        events = [chance.randrange(400) if chance.random() < 0.7 else 0 for _ in bounds[1:]]
        volumes.append(Volume(kind, events, [int(one * chance.random()) for one in events]))
    sources = [
        (
            Network(0xC6336400 + number, 32),
            Source(900 - number, T, T + DAY, Counter(auth_failure=800, relay_denied=90, tls_failure=7)),
            number % 3,
        )
        for number in range(20)
    ]
    hurt = [one for one in bans if one.during]
    return Report(
        first=T,
        last=T + days * DAY,
        zone=UTC,
        logs=["/var/log/mail.log"],
        records=1_234_567,
        hostile=sum(sum(one.events) for one in volumes),
        stopped=sum(sum(one.stopped) for one in volumes),
        caught=count,
        alerts=12,
        edges=bounds,
        volumes=volumes,
        bans=bans,
        scores=[("harvest", Score(3, 1, 100, 0)), ("password-guessing", Score(count, 0, 4000, len(hurt)))],
        sources=sources,
        networks=[(Network(0xC6336400, 24), sources[0][1], 4)],
        accounts=[(name, Account(name, 99, {1, 2}, T, 3)) for name in names],
        never=(1, 7),
        worst=[(Network(0xC0000207, 32), [T, T + 5, LANES["auth_failure"] * 7, T, 7, False])],
        notices=[Notice("log-strange", {"log": name}) for name in names],
        hurt=hurt,
        hidden=[one for one in bans if one.hidden and not one.during],
    )


def frontier(settings: int = 40) -> Frontier:
    """Settings that were tried: the more that is let through, the fewer are hurt."""
    points = [
        Point(
            f"count = {2 + number}, within = 10m",
            caught=200 - 4 * number,
            through=400 + 220 * number,
            hurt=max(0, 14 - number // 2) if number % 4 == 0 else 16 - number // 3,
            bans=300 - 5 * number,
            peak=90 - number,
            delay=20.0 + 9 * number,
            best=number % 4 == 0,
            present=number == 8,
            advised=number == 12,
        )
        for number in range(settings)
    ]
    return Frontier(
        "password-guessing",
        tuple(points),
        20_000,
        ("Six tries in ten minutes let 300 more events through and lock out 4 people fewer.",),
        ("The history is shorter than the longest window.",),
        '[detector.password-guessing]\ncount = 6\nwithin = "10m"\n',
    )


Render = Callable[..., str]
