"""Logs and queues that grow beyond what is normal: caught within minutes, and no alarm about others."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from time import process_time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.core.causes import MOST, Causes
from mailguard.core.growth import Growth, Rules, thing_of
from mailguard.core.hours import SLOTS, WEEKS, Calendar, Hours
from mailguard.model import Alert, Effect, Event, Readings
from mailguard.notation import format_effect, parse_address

MINUTE, HOUR, DAY, WEEK = 60.0, 3600.0, 86400.0, 604800.0
BEGIN = datetime(2026, 9, 7, tzinfo=UTC).timestamp()  # a Monday
LOG, QUEUE = "/var/log/mail.log", "/var/spool/epms/incoming"
OFFICE, ATTACKER = parse_address("198.51.100.10"), parse_address("192.0.2.66")
Rate = Callable[[float], float]  # time -> bytes in that minute


def growth(zone: str = "UTC", **rules: float) -> Growth:
    return Growth(Rules(zone=ZoneInfo(zone), **rules), {"sato", "suzuki"}.__contains__)  # type: ignore[arg-type]


def event(
    kind: str, time: float, source: int | None = OFFICE, log: str = LOG, position: int = 0, **fields: str
) -> Event:
    return Event(kind, time, source, "p/r", 1, fields, log, position)


def office(time: float, zone: str = "UTC", seed: int = 1) -> float:
    """Busy by day, quiet by night, quieter at weekends; never twice the same."""
    at = datetime.fromtimestamp(time, ZoneInfo(zone))
    day = 1.0 if at.weekday() < 5 else 0.2
    busy = math.exp(-(((at.hour + at.minute / 60 - 13) / 4) ** 2)) + 0.03
    chance = random.Random(f"{seed} {time}")
    return 40_000 * day * busy * chance.choice((0.3, 0.7, 1.0, 1.3, 1.7))


class Watched:
    """A log measured every minute."""

    def __init__(self, made: Growth, rate: Rate):
        self.growth = made
        self.rate = rate
        self.size = 1000.0
        self.time = BEGIN

    def run(self, until: float, messages: Rate | None = None) -> list[tuple[float, str]]:
        """Alerts with their times, from now until then."""
        said: list[tuple[float, str]] = []
        while self.time < until:
            self.time += MINUTE
            self.size += self.rate(self.time)
            waiting = {} if messages is None else {QUEUE: int(messages(self.time))}
            for effect in self.growth.read(Readings(self.time, {LOG: int(self.size)}, waiting)):
                said.append((self.time, format_effect(effect)))
        return said


# ---------------------------------------------------------------- what must be told


def test_a_log_that_grows_ten_times_is_told_within_minutes() -> None:
    """In the fourth week, on a Wednesday at eleven; once, with the rate and the normal one."""
    watched = Watched(growth(), office)
    begin = BEGIN + 3 * WEEK + 2 * DAY + 11 * HOUR
    assert watched.run(begin) == []
    watched.rate = lambda time: 10 * office(time)
    said = watched.run(begin + 2 * HOUR)
    assert len(said) == 1
    assert said[0][0] - begin <= 8 * MINUTE
    assert said[0][1].startswith(f"alert {LOG} by growth: ")
    assert " bytes in 10m, normal " in said[0][1]
    status = watched.growth.status()[LOG]
    assert status["since"] == said[0][0]
    assert not status["learning"]
    watched.rate = office
    watched.run(begin + 4 * HOUR)
    assert watched.growth.status()[LOG]["since"] is None


def test_at_night_less_is_enough() -> None:
    """What is normal by day is a flood by night, if it is more than a handful."""
    watched = Watched(growth(), office)
    begin = BEGIN + 3 * WEEK + 2 * DAY + 3 * HOUR
    watched.run(begin)
    watched.rate = lambda time: 20_000.0
    assert [time - begin <= 10 * MINUTE for time, _ in watched.run(begin + HOUR)] == [True]


def test_a_queue_that_floods() -> None:
    """A few messages wait as a rule; two thousand do not."""
    watched = Watched(growth(), office)
    begin = BEGIN + 2 * WEEK
    chance = random.Random(1)
    assert watched.run(begin, lambda time: chance.randint(0, 40)) == []
    said = watched.run(begin + HOUR, lambda time: (time - begin) * 2)
    assert len(said) == 1
    assert said[0][0] - begin <= 3 * MINUTE
    assert said[0][1].startswith(f"alert {QUEUE} by growth: ")
    assert " messages, normal " in said[0][1]


def test_who_grew_with_it() -> None:
    """The account and the address behind most of what is new; not those who are always busy."""
    watched = Watched(growth(), office)
    begin = BEGIN + 2 * WEEK + 11 * HOUR
    watched.run(begin - 15 * MINUTE, lambda time: 0)
    made = watched.growth
    effects: list[Effect] = []
    for minute in range(-15, 10):
        time = begin + minute * MINUTE
        made.saw([event("auth_success", time, user="suzuki")] * 50)
        made.saw([event("mail_accepted", time, sender="suzuki@example.jp")] * 50)
        if minute >= 0:
            made.saw([event("mail_accepted", time, ATTACKER, sender="sato@example.jp")] * 300)
        made.saw([event("auth_failure", time, ATTACKER, user="Password1")] * 20)
        watched.size += 500_000 if minute >= 0 else office(time)
        effects += made.read(Readings(time, {LOG: int(watched.size)}, {QUEUE: 300 * max(minute, 0)}))
    assert len(effects) == 2
    for effect in effects:
        assert isinstance(effect, Alert)
        facts = dict(effect.offence.facts)
        assert facts["accounts"].startswith("sato@example.jp ")
        assert "suzuki" not in facts["accounts"]
        assert facts["sources"].startswith("192.0.2.66 ")
        assert "198.51.100.10" not in facts["sources"]
        assert effect.offence.sources == (ATTACKER,)
        assert "Password1" not in format_effect(effect)
    told = made.take()
    assert {(one.kind, one.log) for one in told} == {("growth", LOG), ("growth", QUEUE)}
    assert made.take() == []


def test_a_part_of_a_flood_tells_who_causes_it() -> None:
    """Of a great many events of one batch some are looked at, and stand for the others."""
    watched = Watched(growth(), office)
    begin = BEGIN + 2 * WEEK + 11 * HOUR
    watched.run(begin)
    flood = [
        event("mail_accepted", begin + number / 1000, ATTACKER, sender="sato@example.jp")
        if number % 4
        else event("connect", begin, OFFICE)
        for number in range(20_000)
    ]
    for batch in range(0, 20_000, 5000):
        watched.growth.saw(flood[batch : batch + 5000])
    watched.rate = lambda time: 5e6
    said = watched.run(begin + MINUTE)
    facts = said[0][1].partition("accounts ")[2]
    name, count = facts.split(",")[0].split()
    assert name == "sato@example.jp"
    assert 10_000 < int(count) < 20_000


def test_what_goes_on_is_told_once_a_day_and_becomes_normal() -> None:
    """A mailing list that came to stay: after some weeks nobody hears of it any more."""
    watched = Watched(growth(), office)
    begin = BEGIN + 3 * WEEK
    watched.run(begin)
    watched.rate = lambda time: 8 * office(time)
    said = watched.run(begin + 2 * DAY)
    assert 1 <= len(said) <= 5
    watched.run(begin + 4 * WEEK)
    assert watched.run(begin + 5 * WEEK) == []


# ---------------------------------------------------------------- what must not


def test_nothing_is_told_while_everything_is_new() -> None:
    """The first week is for learning, whatever happens in it."""
    watched = Watched(growth(), lambda time: office(time) * (20 if time % DAY < HOUR else 1))
    assert watched.run(BEGIN + 6 * DAY) == []
    assert watched.growth.status()[LOG]["learning"]


@pytest.mark.parametrize("seed", range(4))
def test_ordinary_weeks_are_quiet(seed: int) -> None:
    """Nights, weekends, mornings: all of them are as they always are."""
    watched = Watched(growth(), lambda time: office(time, seed=seed))
    assert watched.run(BEGIN + 4 * WEEK) == []


@pytest.mark.parametrize("watched_in", ["UTC", "Europe/Berlin", "America/New_York"])
def test_summer_time(watched_in: str) -> None:
    """The people's hours move, whether the guard's zone does or not."""
    watched = Watched(growth(watched_in), lambda time: office(time, "Europe/Berlin"))
    watched.time = datetime(2026, 9, 28, tzinfo=UTC).timestamp()  # summer time ends on 2026-10-25
    assert watched.run(watched.time + 7 * WEEK) == []


def test_rotation() -> None:
    """The log begins anew each night and, once, in the middle of the day."""
    watched = Watched(growth(), office)
    said = []
    for day in range(21):
        said += watched.run(BEGIN + day * DAY + 12 * HOUR + 30 * MINUTE)
        if day == 20:
            watched.size = 0
        said += watched.run(BEGIN + (day + 1) * DAY)
        watched.size = 500
    assert said == []


def test_a_guard_that_was_away() -> None:
    """What was written meanwhile came over hours, not at once."""
    watched = Watched(growth(), office)
    watched.run(BEGIN + 2 * WEEK + 9 * HOUR)
    for _ in range(5 * 60):
        watched.time += MINUTE
        watched.size += office(watched.time)
    assert watched.run(BEGIN + 2 * WEEK + 16 * HOUR) == []


def test_a_little_more_in_a_log_that_hardly_grows() -> None:
    """Ten times nearly nothing is nearly nothing."""
    watched = Watched(growth(), lambda time: 100.0)
    watched.run(BEGIN + 2 * WEEK)
    watched.rate = lambda time: 2000.0
    assert watched.run(BEGIN + 2 * WEEK + DAY) == []


def test_a_clock_that_was_set_back() -> None:
    watched = Watched(growth(), office)
    watched.run(BEGIN + 2 * WEEK + 12 * HOUR)
    watched.time -= 3 * HOUR
    assert watched.run(BEGIN + 2 * WEEK + 18 * HOUR) == []


def test_a_clock_that_was_a_year_ahead() -> None:
    """What grew by the wrong clock, told or being watched whether it is over, keeps nothing from being told
    by the right one; and who was busy is who is busy now."""
    watched = Watched(growth(), office)
    watched.run(BEGIN + 2 * WEEK + 11 * HOUR)
    watched.time += 52 * WEEK
    watched.run(watched.time + 2 * HOUR)
    watched.rate = lambda time: 20 * office(time)
    assert len(watched.run(watched.time + HOUR)) == 1
    watched.rate = office
    watched.growth.saw([event("auth_success", watched.time, OFFICE, user="sato")] * 500)
    watched.run(watched.time + 4 * MINUTE)  # it is calm, and not yet for long
    watched.time -= 52 * WEEK
    assert watched.run(BEGIN + 2 * WEEK + DAY + 11 * HOUR) == []
    watched.rate = lambda time: 20 * office(time)
    (found,) = watched.run(watched.time + HOUR)
    assert "sato" not in found[1]
    stored = [(table, key, value) for table, key, value in rows(watched.growth, full=True) if value]
    again = growth()
    for row in stored:
        again.restore(*row)
    late = Watched(again, watched.rate)
    late.time = watched.time - 20 * DAY  # the guard starts with a clock that is behind
    assert len(late.run(late.time + DAY + 2 * HOUR)) <= 2


def test_a_backlog_after_a_gap_is_no_flood() -> None:
    """A share was away for hours: what is read at once when it is back came over hours, also where the first
    reading comes in the middle of it."""
    watched = Watched(growth(), office)
    watched.run(BEGIN + 2 * WEEK + 9 * HOUR)
    missed = 0.0
    for _ in range(5 * 60):
        watched.time += MINUTE
        missed += office(watched.time)
    watched.size += 0.3 * missed
    watched.growth.read(Readings(watched.time, {LOG: int(watched.size)}, {}))
    watched.size += 0.7 * missed
    assert watched.run(BEGIN + 2 * WEEK + 16 * HOUR) == []


def test_a_folder_that_is_counted_seldom_is_learned() -> None:
    """Its count takes minutes: every seventh reading has it, and a flood is told all the same."""
    made = growth()
    time = BEGIN
    said: list[Effect] = []
    while time < BEGIN + 2 * WEEK:
        time += 7 * MINUTE
        said += made.read(Readings(time, {}, {QUEUE: 40}))
    assert said == []
    assert made.status()[QUEUE]["learning"] is False
    assert len(made.read(Readings(time + 7 * MINUTE, {}, {QUEUE: 5000}))) == 1


def test_a_folder_that_vanishes_and_returns() -> None:
    """Nothing is told of the time in between; what lies there when it is back is."""
    watched = Watched(growth(), office)
    watched.run(BEGIN + 2 * WEEK, messages=lambda time: 20)
    assert watched.run(BEGIN + 2 * WEEK + 9 * HOUR) == []
    assert watched.run(BEGIN + 2 * WEEK + 10 * HOUR, messages=lambda time: 25) == []
    assert watched.run(BEGIN + 2 * WEEK + 12 * HOUR) == []
    (found,) = watched.run(BEGIN + 2 * WEEK + 13 * HOUR, messages=lambda time: 900)
    assert QUEUE in found[1]
    assert "900" in found[1]


def test_very_many_logs() -> None:
    """So many are watched; the others are counted once each, and cost next to nothing."""
    made = growth()
    sizes = {f"/var/log/x{number}.log": 5 for number in range(100_000)}
    for minute in range(3):
        made.read(Readings(BEGIN + minute * MINUTE, sizes, {}))
    assert made.left_out == 100_000 - 200
    begun = process_time()
    made.read(Readings(BEGIN + 3 * MINUTE, sizes, {}))
    assert process_time() - begun < 0.5


def test_one_bad_week_does_not_become_normal() -> None:
    """An attack in the third week, and the same attack in the fourth is told again."""
    watched = Watched(growth(), office)
    for week in (2, 3):
        begin = BEGIN + week * WEEK + 2 * DAY + 11 * HOUR
        watched.run(begin)
        watched.rate = lambda time: 12 * office(time)
        assert len(watched.run(begin + 3 * HOUR)) == 1
        watched.rate = office


# ---------------------------------------------------------------- over a restart


def rows(made: Growth, full: bool = False) -> list[tuple[str, bytes, bytes | None]]:
    return list(made.checkpoint(full))


def test_a_restart_keeps_what_is_normal() -> None:
    """And what grows already is not told again."""
    watched = Watched(growth(), office)
    stored: dict[tuple[str, bytes], bytes] = {}

    def write() -> None:
        for table, key, value in watched.growth.checkpoint():
            if value is None:
                del stored[table, key]
            else:
                stored[table, key] = value

    begin = BEGIN + 2 * WEEK + 11 * HOUR
    while watched.time < begin:
        watched.run(watched.time + 5 * HOUR)
        write()
    watched.rate = lambda time: 10 * office(time)
    assert len(watched.run(watched.time + 20 * MINUTE)) == 1
    write()
    assert {(table, key): value for table, key, value in rows(watched.growth, True)} == stored
    again = growth()
    for (table, key), value in stored.items():
        again.restore(table, key, value)
    watched.growth = again
    assert watched.run(watched.time + HOUR) == []
    assert again.status()[LOG]["since"] is not None
    assert not again.status()[LOG]["learning"]


@given(st.lists(st.tuples(st.sampled_from(["growth/hours", "growth/alarms", "x"]), st.binary(), st.binary())))
def test_rows_of_something_else_change_nothing(stored: list[tuple[str, bytes, bytes]]) -> None:
    made = growth()
    for table, key, value in stored:
        made.restore(table, key, value)
    made.status()
    rows(made, True)


# ---------------------------------------------------------------- recorded logs


def recorded(weeks: float, flood: float | None = None, log: str = LOG, late: bool = False) -> Iterator[Event]:
    """An event a minute, at the place in the log that it has reached."""
    size, time, chance = 0.0, BEGIN, random.Random(2)
    while time < BEGIN + weeks * WEEK:
        time += MINUTE
        size += office(time) * (10 if flood is not None and flood <= time < flood + HOUR else 1)
        stamp = time + chance.random() * 50 - (30 if late and chance.random() < 0.1 else 0)
        yield event("auth_success", stamp, log=log, position=int(size), user="sato")


def found(events: Iterator[Event], batch: int = 100) -> list[str]:
    made, said = growth(), []
    waiting: list[Event] = []
    for one in events:
        waiting.append(one)
        if len(waiting) >= batch:
            said += [f"{effect.time:.0f} {format_effect(effect)}" for effect in made.saw(waiting)]
            waiting = []
    said += [f"{effect.time:.0f} {format_effect(effect)}" for effect in made.saw(waiting)]
    return said


def test_recorded_logs_tell_the_same_by_their_places() -> None:
    """However they are cut into batches."""
    flood = BEGIN + 3 * WEEK + 2 * DAY + 11 * HOUR
    said = found(recorded(3.5, flood, late=True))
    assert len(said) == 1
    assert flood < float(said[0].split()[0]) <= flood + 8 * MINUTE
    assert said == found(recorded(3.5, flood, late=True), 1) == found(recorded(3.5, flood, late=True), 4096)
    assert found(recorded(3.5)) == []


def test_rotated_and_day_named_files_are_one_log() -> None:
    """Each begins at 0 again."""

    def split(name: Callable[[int], str], place: Callable[[int, int], int]) -> Iterator[Event]:
        begins: dict[int, int] = {}
        for one in recorded(3):
            day = int((one.time - BEGIN) // DAY)
            within = one.position - begins.setdefault(day, one.position)
            yield one._replace(log=name(day), position=place(day, within))

    for name, place in (
        (lambda day: f"/var/log/mail.log.{30 - day}.gz", lambda day, within: within),
        (lambda day: f"/var/log/mail.log-202609{day + 1:02}", lambda day, within: within),
        (lambda day: f"/spool/acceptlog/MAIL1/2609{day + 1:02}.log", lambda day, within: within),
        (lambda day: "/spool/acceptlog/MAIL1", lambda day, within: (234_000 + 24 * day << 40) + within),
    ):
        made = growth()
        assert made.saw(list(split(name, place))) == []
        assert len(made.status()) == 1
        assert all(not one["learning"] for one in made.status().values())


def test_places_in_a_journal_are_no_bytes() -> None:
    """They are moments in microseconds."""
    made = growth()
    for one in recorded(2):
        made.saw([one._replace(position=int(one.time * 1e6))])
    assert made.status() == {}


def test_readings_take_over() -> None:
    """What a guard reads from before it measures itself teaches it; then only readings count."""
    made = growth()
    made.saw(list(recorded(2)))
    assert not made.status()[LOG]["learning"]
    watched = Watched(made, office)
    watched.time = BEGIN + 2 * WEEK
    assert watched.run(BEGIN + 2 * WEEK + 2 * DAY) == []
    watched.rate = lambda time: 15 * office(time)
    assert len(watched.run(BEGIN + 2 * WEEK + 2 * DAY + 12 * HOUR)) == 1


@pytest.mark.parametrize(
    ("log", "thing"),
    [
        ("/var/log/mail.log", "/var/log/mail.log"),
        ("/var/log/mail.log.1", "/var/log/mail.log"),
        ("/var/log/mail.log.12.gz", "/var/log/mail.log"),
        ("/var/log/maillog-20260905", "/var/log/maillog"),
        ("/var/log/maillog-20260905.xz", "/var/log/maillog"),
        ("/m/acceptlog/MAIL1/171130.log", "/m/acceptlog/MAIL1"),
        ("/m/senderlog/17113023.LOG", "/m/senderlog"),
        ("journal", "journal"),
        ("/123", "/123"),
    ],
)
def test_names(log: str, thing: str) -> None:
    assert thing_of(log) == thing


# ---------------------------------------------------------------- hours and causes


def test_hours_of_the_week() -> None:
    calendar = Calendar(ZoneInfo("Asia/Tokyo"))
    assert calendar.hour(BEGIN)[1] == 9
    assert calendar.hour(BEGIN + WEEK - HOUR)[1] == 8
    assert calendar.hour(BEGIN + 10)[0] == calendar.hour(BEGIN)[0]
    india = Calendar(ZoneInfo("Asia/Kolkata"))
    assert india.hour(BEGIN + 29 * MINUTE)[0] + 1 == india.hour(BEGIN + 30 * MINUTE)[0]


amounts = st.floats(0, 1e9, width=32)


@given(st.integers(0, SLOTS - 1), st.lists(st.tuples(amounts, amounts), min_size=3, max_size=WEEKS), amounts)
def test_one_strange_week_moves_nothing_beyond_the_others(
    slot: int, weeks: list[tuple[float, float]], strange: float
) -> None:
    """The median stays among what the other weeks had."""
    hours = Hours()
    for mean, peak in weeks:
        hours.learn(slot, mean, peak)
    hours.learn(slot, strange, strange)
    normal = hours.normal(slot)
    assert normal is not None
    kept = weeks[-(WEEKS - 1) :]
    assert min(one[0] for one in kept) <= normal.mean <= max(one[0] for one in kept)


@given(st.lists(st.tuples(st.integers(0, SLOTS - 1), amounts, amounts), max_size=60))
def test_hours_over_a_restart(learned: list[tuple[int, float, float]]) -> None:
    hours, again = Hours(), Hours()
    for slot, mean, peak in learned:
        hours.learn(slot, mean, peak)
    for slot, value in hours.rows(False):
        again.restore(slot, value)
    assert list(hours.rows(False)) == []
    assert [hours.normal(slot) for slot in range(SLOTS)] == [again.normal(slot) for slot in range(SLOTS)]


@given(st.integers(0, 2**32), st.integers(1, 50))
def test_the_busiest_is_found_among_very_many(seed: int, every: int) -> None:
    """Bounded, whatever comes; one who causes a fair share is kept."""
    causes = Causes(600, lambda name: False, str)
    chance = random.Random(seed)
    for number in range(6000):
        source = ATTACKER if number % every == 0 else chance.getrandbits(32)
        causes.saw([event("connect", BEGIN + number / 1000, source)])
    assert max(len(counts) for span in causes._spans for counts in span.values()) <= 2 * MOST
    assert causes.top(None)[0][0][0] == ATTACKER
