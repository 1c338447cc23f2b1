"""The judge: order over logs, evidence, checkpoints of the whole; and what administrators ask of it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailguard.core.detectors import BanRule, Detector
from mailguard.core.engine import Engine, Setup
from mailguard.core.judge import Judge
from mailguard.core.scanner import Draft
from mailguard.model import Block, Effect, Event, Events, Impose, Item, Lift, Records
from mailguard.notation import format_effect, format_network, parse_address
from tests.written import network

pytestmark = pytest.mark.usefixtures("both_cores")

T = 1_800_000_000.0
DAY = 86400.0
GUESS = Detector(
    "guess", "", ("auth_failure",), "source", 600.0, count=3, who="stranger", ban=BanRule(600.0, 4.0, 7 * DAY)
)
HARVEST = Detector(
    "harvest", "", ("unknown_recipient",), "source", 600.0, count=3, ban=BanRule(600.0, 4.0, DAY)
)


class Lines:
    """A scanner for lines `TIME KIND SOURCE USER`."""

    def __init__(self) -> None:
        self.stamps: dict[str, float] = {}

    def scan(self, block: Block) -> list[Event | Draft]:
        found: list[Event | Draft] = []
        place = block.start
        for line in bytes(block.data[block.start : block.end]).split(b"\n")[:-1]:
            time, kind, source, user = line.decode().split(" ")
            fields = {"user": user}
            self.stamps[block.log] = max(self.stamps.get(block.log, 0.0), T + float(time))
            found.append(
                Event(
                    kind,
                    T + float(time),
                    parse_address(source),
                    "p/r",
                    1,
                    fields,
                    block.log,
                    block.position + place - block.start,
                    "auth",
                    block.may_ban,
                    frozenset(fields),
                    line,
                )
            )
            place += len(line) + 1
        return found

    def scan_records(self, records: Records) -> list[Event | Draft]:
        return []

    def running(self) -> dict[str, float]:
        return dict(self.stamps)

    def restore(self, running: dict[str, float], spoken: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self.stamps = dict(running)

    def spoken(self, full: bool = False) -> Iterator[tuple[bytes, bytes | None]]:
        return iter(())


class NoSessions:
    """Nothing to join; remembers what it was given back."""

    now: float | None = None

    def __init__(self) -> None:
        self.rows: list[tuple[bytes, bytes]] = []

    def join(self, drafts: Sequence[Event | Draft]) -> list[Event]:
        return [draft for draft in drafts if isinstance(draft, Event)]

    def snapshot(self, full: bool = False) -> Iterator[tuple[bytes, bytes | None]]:
        yield b"key", b"value"

    def changes(self) -> list[tuple[bytes, dict[bytes, bytes | None]]]:
        return [(b"k", {b"ey": b"value"})]

    def restore(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        self.rows = list(rows)

    def release(self, now: float) -> list[Event]:
        return []

    def next_release(self) -> float | None:
        return None

    def flush(self) -> list[Event]:
        return []


def judge(enforcing: bool = True, **more: Any) -> Judge:
    made = Judge(Lines(), NoSessions(), Engine(Setup((GUESS, HARVEST), track=True, **more)))
    made.enforcing = enforcing
    return made


def block(log: str, *lines: str, position: int = 0) -> Block:
    data = "".join(f"{line}\n" for line in lines).encode()
    return Block(log, data, 0, len(data), position, T, False)


def told(effects: list[Effect]) -> list[str]:
    return [format_effect(effect) for effect in effects]


# ---------------------------------------------------------------- order


def test_logs_merge_by_their_running_maximum_then_by_name() -> None:
    """A stamp that goes back does not carry its line back before others of its log."""
    made = judge()
    seen: list[str] = []
    made.observer = lambda event: seen.append(event.fields["user"])
    made.feed(
        [
            block("b.log", "5 connect 192.0.2.1 b1", "3 connect 192.0.2.1 b2", "9 connect 192.0.2.1 b3"),
            block("a.log", "4 connect 192.0.2.1 a1", "5 connect 192.0.2.1 a2", "6 connect 192.0.2.1 a3"),
        ],
        T,
    )
    assert seen == ["a1", "a2", "b1", "b2", "a3", "b3"]
    made.feed([block("b.log", "1 connect 192.0.2.1 b4"), block("a.log", "8 connect 192.0.2.1 a4")], T)
    assert seen[6:] == ["a4", "b4"]


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_how_a_log_is_cut_into_blocks_does_not_matter(data: st.DataObject) -> None:
    """One block or many: the same effects."""
    lines = [
        f"{number * 20} {kind} 192.0.2.{host} sato"
        for number, (kind, host) in enumerate(
            data.draw(
                st.lists(
                    st.tuples(
                        st.sampled_from(["auth_failure", "auth_success", "unknown_recipient"]),
                        st.integers(1, 4),
                    ),
                    min_size=1,
                    max_size=80,
                )
            )
        )
    ]
    whole = judge().feed([block("a.log", *lines)], T)
    pieces, made, place = [], judge(), 0
    while lines:
        count = data.draw(st.integers(1, 10))
        piece = block("a.log", *lines[:count], position=place)
        pieces += made.feed([piece], T)
        place += piece.end
        del lines[:count]
    assert pieces == whole


def test_events_that_come_in_order_stay_in_order() -> None:
    """What was merged elsewhere is not merged again."""
    made = judge()
    seen: list[float] = []
    made.observer = lambda event: seen.append(event.time - T)
    events = [Event("connect", T + time, 1, "p/r", 1, {}, "x", 0) for time in (5.0, 3.0, 4.0)]
    items: list[Item] = [
        block("a.log", "9 connect 192.0.2.1 x"),
        Events(events),
        block("a.log", "1 connect 192.0.2.1 x"),
    ]
    made.feed(items, T)
    assert seen == [9, 5, 3, 4, 1]


def test_evidence_is_handed_over_once() -> None:
    """The hostile events since the last call, with their lines; context is none."""
    made = judge()
    made.feed([block("a.log", "1 auth_failure 192.0.2.1 sato", "2 connect 192.0.2.1 sato")], T)
    assert [event.line for event in made.take_evidence()] == [b"1 auth_failure 192.0.2.1 sato"]
    assert made.take_evidence() == []


# ---------------------------------------------------------------- checkpoint


@pytest.mark.parametrize("seed", range(20))
def test_killed_and_restarted_it_gives_the_same_effects(seed: int) -> None:
    """Batches of two logs, checkpoints and kills at random: as if it had never stopped."""
    chance = random.Random(seed)
    batches: list[list[Item]] = []
    time, places = 0.0, {"a.log": 0, "b.log": 0}
    for _ in range(40):
        batch: list[Item] = []
        for log in places:
            lines = []
            for _ in range(chance.randrange(6)):
                time += chance.choice([0, 1, 30, 300, 4000])
                kind = chance.choice(["auth_failure"] * 3 + ["unknown_recipient", "auth_success"])
                stamp, host, user = (
                    time - chance.choice([0, 0, 40]),
                    chance.randrange(1, 6),
                    chance.randrange(3),
                )
                lines.append(f"{stamp} {kind} 192.0.2.{host} u{user}")
            if lines:
                piece = block(log, *lines, position=places[log])
                places[log] += piece.end
                batch.append(piece)
        batches.append(batch)
    straight = judge()
    expected = [straight.feed(batch, T) for batch in batches]
    made, rows, saved = judge(), {}, 0
    got: list[list[Effect]] = []
    for table, key, value in made.checkpoint():
        rows[table, key] = value
    place, kills = 0, 4
    while place < len(batches):
        if chance.random() < 0.2:
            for table, key, value in made.checkpoint(full=chance.random() < 0.2):
                if value is None:
                    rows.pop((table, key), None)
                else:
                    rows[table, key] = value
            saved = place
        if kills and chance.random() < 0.15:
            kills -= 1
            made = Judge(Lines(), NoSessions(), Engine(made.engine.setup))
            stored = [(table, key, value) for (table, key), value in rows.items() if value is not None]
            chance.shuffle(stored)
            assert made.restore(stored)["version"] == 1
            place = saved
            del got[saved:]
        got.append(made.feed(batches[place], T))
        place += 1
    assert got == expected


def test_sessions_and_running_stamps_are_part_of_the_checkpoint() -> None:
    """What the neighbours remember comes back to them."""
    made = judge()
    made.feed([block("a.log", "7 connect 192.0.2.1 x")], T)
    rows = [(table, key, value) for table, key, value in made.checkpoint(True) if value is not None]
    again = judge()
    again.restore(rows)
    assert isinstance(again.sessions, NoSessions)
    assert again.sessions.rows == [(b"key", b"value")]
    assert again.scanner.running() == {"a.log": T + 7}


def test_a_checkpoint_of_nothing_new_is_small() -> None:
    """Rows are changes: a second checkpoint holds only the facts about the whole, and what sessions say."""
    made = judge()
    made.feed([block("a.log", *(f"{n} auth_failure 192.0.2.{n} x" for n in range(50)))], T)
    assert len(list(made.checkpoint())) > 50
    assert {table for table, _, _ in made.checkpoint()} == {"engine", "session"}


def test_a_first_start_has_no_facts() -> None:
    """Nothing stored: nothing restored, observing."""
    made = Judge(Lines(), NoSessions(), Engine(Setup((GUESS,))))
    assert made.restore([]) == {}
    assert not made.enforcing


# ---------------------------------------------------------------- requests

ATTACK = tuple(f"{n} auth_failure 192.0.2.7 u{n}" for n in range(3))


def ask(made: Judge, verb: str, now: float = T + 10, **args: Any) -> tuple[list[str], dict[str, Any]]:
    effects, answer = made.request(verb, args, now)
    json.dumps(answer)
    return told(effects), answer


def test_ban_and_unban() -> None:
    """By hand, with a reason and an end; unbanning lifts it."""
    made = judge()
    effects, answer = ask(made, "ban", network="203.0.113.9", reason="spam", **{"for": "2h"})
    assert effects == ["ban 203.0.113.9 for 2h by administrator: spam"]
    assert answer["ok"]
    assert answer["ban"]["until"] == T + 10 + 7200
    effects, answer = ask(made, "unban", networks=["203.0.113.9"])
    assert effects == ["lift 203.0.113.9: unban"]
    assert answer["args"] == {"lifted": ["203.0.113.9"], "still_inside": []}
    effects, answer = ask(made, "unban", networks=["203.0.113.9"])
    assert effects == []
    assert (answer["ok"], answer["id"]) == (False, "nothing-to-lift")


def test_a_ban_by_hand_is_real_even_when_observing() -> None:
    """An administrator who says ban means it."""
    made = judge(enforcing=False)
    effects, _ = made.request("ban", {"network": "203.0.113.9", "for": "permanent"}, T)
    assert isinstance(effects[0], Impose)
    assert effects[0].ban.until is None
    effects, _ = made.request("unban", {"all": True}, T)
    assert [type(effect) for effect in effects] == [Lift]


def test_an_ipv6_address_is_banned_as_its_64() -> None:
    """As the detectors do."""
    assert ask(judge(), "ban", network="2001:db8::5")[0] == [
        "ban 2001:db8::/64 for 1d by administrator: no reason given"
    ]


@pytest.mark.parametrize(
    ("text", "reason", "entry"),
    [
        ("0.0.0.0/0", "too-wide", ""),
        ("::/0", "too-wide", ""),
        ("192.0.0.0/7", "too-wide", ""),
        ("198.51.100.1", "this host", "198.51.100.1"),
        ("198.51.100.0/24", "this host", "198.51.100.1"),
        ("198.51.100.254", "gateway", "198.51.100.254"),
        ("203.0.113.5", "office", "203.0.113.0/24"),
        ("192.0.2.25", "standing", ""),
    ],
)
def test_what_is_refused_without_force(text: str, reason: str, entry: str) -> None:
    """The whole net, own addresses, the gateway, allowed networks, partners: refused with the reason."""
    own = [(network("198.51.100.1"), "this host"), (network("198.51.100.254"), "gateway")]
    made = judge(never=own)
    for day in range(3):
        made.engine.book.mail(parse_address("192.0.2.25") or 0, T - (4 - day) * DAY)
    made.request("allow", {"network": "203.0.113.0/24", "reason": "office"}, T)
    if text == "192.0.0.0/7":
        text = "192.0.0.0/7"
    effects, answer = ask(made, "ban", network=text)
    assert effects == []
    assert answer == {
        "ok": False,
        "id": "refused",
        "args": {"network": format_network(network(text)), "reason": reason, "entry": entry},
    }
    effects, answer = ask(made, "ban", network=text, force=True)
    assert answer["ok"]
    assert len(effects) == 1


@pytest.mark.parametrize(
    ("verb", "args", "name"),
    [
        ("ban", {}, "network"),
        ("ban", {"network": "192.0.2.7/24"}, "network"),
        ("ban", {"network": 7}, "network"),
        ("ban", {"network": "192.0.2.7", "for": "soon"}, "for"),
        ("ban", {"network": "192.0.2.7", "for": -1}, "for"),
        ("ban", {"network": "192.0.2.7", "scope": "web"}, "scope"),
        ("ban", {"network": "192.0.2.7", "reason": 5}, "reason"),
        ("unban", {}, "network"),
        ("unban", {"networks": "192.0.2.7"}, "networks"),
        ("unban", {"networks": ["mail.example.com"]}, "networks"),
        ("unban", {"since": "later"}, "since"),
        ("allow", {"network": "nowhere"}, "network"),
        ("allow", {"do": "forget", "network": "192.0.2.7"}, "do"),
        ("why", {"network": ""}, "network"),
        ("bans", {"contains": "x"}, "contains"),
    ],
)
def test_what_cannot_be_read_changes_nothing(verb: str, args: dict[str, Any], name: str) -> None:
    """Answered with the name of the argument; a word that is no verb likewise."""
    made = judge()
    effects, answer = ask(made, verb, **args)
    assert effects == []
    assert (answer["ok"], answer["id"], answer["args"]["name"]) == (False, "bad-argument", name)
    assert ask(made, "dance")[1]["id"] == "unknown-verb"
    assert len(made.engine.bans) == 0


def test_unban_by_detector_by_age_and_all() -> None:
    """What one detector did, what was done lately, or everything."""

    def filled() -> Judge:
        made = judge()
        made.feed([block("a.log", *ATTACK)], T)
        made.feed([block("a.log", *(f"{500 + n} unknown_recipient 192.0.2.8 x" for n in range(3)))], T)
        made.request("ban", {"network": "203.0.113.0/24"}, T + 600)
        return made

    assert ask(filled(), "unban", T + 601, detector="guess")[0] == ["lift 192.0.2.7: unban"]
    assert ask(filled(), "unban", T + 601, since="2m")[0] == [
        "lift 192.0.2.8: unban",
        "lift 203.0.113.0/24: unban",
    ]
    assert ask(filled(), "unban", T + 601, since=T + 550)[0] == ["lift 203.0.113.0/24: unban"]
    assert len(ask(filled(), "unban", T + 601, all=True)[0]) == 3
    assert ask(filled(), "unban", T + 601, networks=["192.0.2.0/24"])[0] == [
        "lift 192.0.2.7: unban",
        "lift 192.0.2.8: unban",
    ]


def test_unbanning_forgets_what_led_there() -> None:
    """One more failure after a pardon is one failure, and the next ban is a first one."""
    made = judge()
    made.feed([block("a.log", *ATTACK)], T)
    ask(made, "unban", networks=["192.0.2.7"])
    assert made.feed([block("a.log", "11 auth_failure 192.0.2.7 x", "12 auth_failure 192.0.2.7 x")], T) == []
    assert told(made.feed([block("a.log", "13 auth_failure 192.0.2.7 x")], T)) == [
        "ban 192.0.2.7 for 10m by guess: 3 auth_failure in 2s"
    ]


def test_unbanning_tells_what_still_covers_it() -> None:
    """A host inside a banned range is not free by its own unban."""
    made = judge()
    ask(made, "ban", network="192.0.2.0/24")
    _, answer = ask(made, "unban", networks=["192.0.2.7"])
    assert answer["args"]["still_inside"] == ["192.0.2.0/24"]


def test_allowing_lifts_and_spares() -> None:
    """Allowed networks are free at once and stay so; taking the entry away makes them like others."""
    made = judge()
    made.feed([block("a.log", *ATTACK)], T)
    effects, answer = ask(made, "allow", network="192.0.2.0/24", reason="office")
    assert effects == ["lift 192.0.2.7: allowed"]
    assert made.allowed() == [network("192.0.2.0/24")]
    again = tuple(f"{20 + n} auth_failure 192.0.2.7 u{n}" for n in range(3))
    assert told(made.feed([block("a.log", *again)], T)) == [
        "alert 192.0.2.7 by guess: 3 auth_failure in 2s [never-list]"
    ]
    _, answer = ask(made, "allow", do="list")
    assert answer["entries"] == [{"network": "192.0.2.0/24", "reason": "office"}]
    _, answer = ask(made, "allow", do="check", network="192.0.2.99")
    assert (answer["allowed"], answer["args"]["reason"]) == (True, "office")
    assert ask(made, "allow", do="del", network="192.0.2.0/24")[1]["ok"]
    assert not ask(made, "disallow", network="192.0.2.0/24")[1]["ok"]
    assert made.allowed() == []


def test_allowing_the_whole_net_is_refused() -> None:
    """It would switch the guard off without saying so."""
    assert ask(judge(), "allow", network="0.0.0.0/0")[1]["id"] == "refused"


def test_enforcing_makes_standing_intentions_real() -> None:
    """What was only said and has not ended is imposed; from then on bans are real."""
    made = judge(enforcing=False)
    assert told(made.feed([block("a.log", *ATTACK)], T)) == [
        "alert 192.0.2.7 by guess: 3 auth_failure in 2s [observe]"
    ]
    effects, answer = ask(made, "enforce")
    assert effects == ["ban 192.0.2.7 for 10m by guess: 3 auth_failure in 2s"]
    assert answer["args"] == {"mode": "enforce", "changed": True}
    assert made.enforcing
    assert ask(made, "enforce")[0] == []
    assert ask(made, "observe")[1]["args"] == {"mode": "observe", "changed": True}
    assert [type(effect) for effect in made.request("unban", {"all": True}, T + 20)[0]] == [Lift]


def test_panic_lifts_all_and_observes() -> None:
    """The one word for the night."""
    made = judge()
    made.feed([block("a.log", *ATTACK)], T)
    ask(made, "ban", network="203.0.113.0/24", **{"for": "permanent"})
    effects, answer = ask(made, "panic")
    assert len(effects) == answer["args"]["lifted"] == 2
    assert not made.enforcing
    assert ask(made, "bans")[1]["bans"] == []


def test_bans_are_listed_and_filtered() -> None:
    """By detector, by age, by an address they contain; the newest within a limit."""
    made = judge()
    made.feed([block("a.log", *ATTACK)], T)
    ask(made, "ban", network="192.0.2.0/24", reason="enough")
    _, answer = ask(made, "bans")
    assert [ban["network"] for ban in answer["bans"]] == [
        "192.0.2.0/24"
    ]  # it replaced the shorter one inside
    assert ask(made, "bans", detector="administrator")[1]["bans"][0]["reason"] == "enough"
    assert ask(made, "bans", contains="192.0.2.99")[1]["args"]["total"] == 1
    assert ask(made, "bans", since=T + 100)[1]["bans"] == []
    assert len(ask(made, "bans", limit=0)[1]["bans"]) == 0


def test_why_tells_everything_that_is_known() -> None:
    """The ban with its numbers, what it did since, how often before, what speaks for it, what is in the
    windows.
    """
    made = judge()
    made.feed([block("a.log", *ATTACK, "5 auth_failure 192.0.2.7 x")], T)
    made.engine.book.mail(parse_address("192.0.2.7") or 0, T)
    _, answer = ask(made, "why", network="192.0.2.7")
    assert answer["banned"]
    (ban,) = answer["bans"]
    assert (ban["detector"], ban["count"], ban["hits"], ban["scope"]) == ("guess", 3, 1, "auth")
    assert answer["ordinal"] == 1
    assert answer["standing"]["mail_days"] == 1
    assert answer["spared"] is None
    assert answer["history"] == [
        {"key": "192.0.2.7", "kind": "auth_failure", "count": 3, "first": T, "last": T + 2, "values": 3}
    ]
    _, answer = ask(made, "why", network="192.0.2.0/24")
    assert not answer["banned"]
    assert [ban["network"] for ban in answer["inside"]] == ["192.0.2.7"]


def test_status_counts() -> None:
    """Numbers for people and monitors."""
    made = judge()
    made.feed([block("a.log", *ATTACK)], T)
    _, answer = ask(made, "status")
    status = answer["status"]
    assert (status["mode"], status["bans"], status["hostile"], status["imposed"]) == ("enforce", 1, 3, 1)
    assert status["keys"] == {"source": 1}
    assert made.next_deadline() is None
    assert made.tick(T) == []


def test_asking_never_changes_what_later_events_lead_to() -> None:
    """The wall clock of a question is not the clock of the logs."""
    made, asked = judge(), judge()
    for one in (made, asked):
        one.feed([block("a.log", *ATTACK)], T)
    for verb in ("status", "bans", "why", "enforce"):
        ask(asked, verb, T + 3 * DAY, network="192.0.2.7")
    assert ask(asked, "bans", T + 3 * DAY)[1]["bans"] == []
    later = block("a.log", *(f"{300 + n} auth_failure 192.0.2.7 x" for n in range(9)))
    assert asked.feed([later], T + 3 * DAY) == made.feed([later], T) == []


def test_what_is_banned_by_force_does_not_pass_as_allowed() -> None:
    """The firewall asks its allowed set first: a hole is cut into it for what is banned all the same."""
    made = judge()
    ask(made, "allow", network="192.0.2.0/29", reason="office")
    ask(made, "allow", network="2001:db8::/62", reason="office")
    ask(made, "ban", network="192.0.2.5", force=True)
    ask(made, "ban", network="2001:db8:0:1::/64", force=True)
    left = ["192.0.2.0/30", "192.0.2.4", "192.0.2.6/31", "2001:db8::/64", "2001:db8:0:2::/63"]
    assert made.allowed() == [network(one) for one in left]
    ask(made, "unban", networks=["192.0.2.5", "2001:db8:0:1::/64"])
    assert made.allowed() == [network("192.0.2.0/29"), network("2001:db8::/62")]


def test_unbanning_what_an_administrator_asked_for() -> None:
    """`administrator` names those bans for `unban` as it does for `bans`."""
    made = judge()
    made.feed([block("a.log", *ATTACK)], T)
    ask(made, "ban", network="203.0.113.7")
    effects, _ = ask(made, "unban", detector="administrator")
    assert effects == ["lift 203.0.113.7: unban"]


def test_a_part_that_is_allowed_is_not_the_whole() -> None:
    """Others in the network can be banned, so the answer to `allow check` is no, and says which part is."""
    made = judge()
    ask(made, "allow", network="192.0.2.0/25", reason="office")
    _, answer = ask(made, "allow", do="check", network="192.0.2.0/24")
    assert (answer["allowed"], answer["part"], answer["args"]["entry"]) == (False, True, "192.0.2.0/25")
    _, answer = ask(made, "allow", do="check", network="192.0.2.9")
    assert (answer["allowed"], answer["part"]) == (True, False)
