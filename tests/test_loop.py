"""The loop with everything around it made of paper: the order of steps, and what failures may cost."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pytest

from mailguard.clock import ManualClock
from mailguard.core.loop import Loop
from mailguard.core.ports import Pace, Row
from mailguard.enforcer import spawn
from mailguard.firewall.interface import FirewallError
from mailguard.firewall.recording import Recording
from mailguard.ledger import Ledger, LedgerError
from mailguard.ledger.writer import Writer
from mailguard.model import (
    Alert,
    Ban,
    Effect,
    Event,
    Events,
    Impose,
    Item,
    Lift,
    Network,
    Notice,
    Offence,
    Request,
)

T = 1_760_000_000.0


def net(number: int) -> Network:
    return Network(0xC0000200 + number, 32)


def ban(number: int, at: float = T, length: float = 600.0) -> Ban:
    key = f"192.0.2.{number}"
    return Ban(net(number), at, at + length, 1, Offence("paper", key, at, at, 1, ("auth_failure",)))


def event(number: int, at: float = T) -> Event:
    return Event("auth_failure", at, 0xC0000200 + number, "paper/rule", 1, {}, "log", number, line=b"a line")


class PaperFeed:
    """Hands out prepared batches, moving the clock by a second before each."""

    def __init__(self, clock: ManualClock, batches: list[list[Item]]):
        self.clock = clock
        self.batches = batches
        self.deadlines: list[float | None] = []

    def next(self, deadline: float | None) -> list[Item] | None:
        self.deadlines.append(deadline)
        if not self.batches:
            return None
        self.clock.set(self.clock.now() + 1)
        return self.batches.pop(0)

    def positions(self) -> dict[str, bytes]:
        return {"log": b"%d" % len(self.batches)}


class PaperJudge:
    """One event, one ban. `allow` and `unban` do what they say."""

    def __init__(self, diary: list[str]):
        self.diary = diary
        self.hostile: list[Event] = []
        self.changes: list[Row] = []
        self.state: dict[bytes, bytes] = {}
        self.open: tuple[Network, ...] = ()

    def feed(self, items: list[Item], now: float) -> list[Effect]:
        self.diary.append("judge")
        effects: list[Effect] = []
        for item in items:
            assert isinstance(item, Events)
            for one in item.events:
                assert one.source is not None
                self.hostile.append(one)
                self.state[b"%d" % one.source] = b"1"
                self.changes.append(("seen", b"%d" % one.source, b"1"))
                effects.append(Impose(ban(one.source - 0xC0000200, one.time), one.time))
        return effects

    def tick(self, now: float) -> list[Effect]:
        return []

    def request(self, verb: str, args: dict[str, Any], now: float) -> tuple[list[Effect], dict[str, Any]]:
        self.changes.append(("asked", verb.encode(), b"1"))
        if verb == "unban":
            return [Lift(net(args["number"]), now, "unban")], {"ok": True}
        if verb == "allow":
            self.open = (*self.open, net(args["number"]))
        return [], {"ok": True}

    def next_deadline(self) -> float | None:
        return None

    def complete(self) -> None:
        """Nothing is left for later here."""

    def checkpoint(self, full: bool = False) -> Iterable[Row]:
        rows, self.changes = self.changes, []
        return rows

    def take_evidence(self) -> list[Event]:
        taken, self.hostile = self.hostile, []
        return taken

    def allowed(self) -> Sequence[Network]:
        return self.open


class PaperFirewall:
    """Remembers what it holds; fails as often as `broken` says."""

    def __init__(self, diary: list[str]):
        self.diary = diary
        self.broken = 0
        self.gone = False
        self.held: set[Network] = set()
        self.pass_through: tuple[Network, ...] = ()

    def _do(self, word: str) -> None:
        self.diary.append(word)
        if self.broken:
            self.broken -= 1
            if self.gone:
                self.held = set()
            raise OSError("the firewall is away")

    def open(self, bans: Iterable[Ban], now: float) -> None:
        self._do("open")
        self.held |= {one.network for one in bans}

    def impose(self, bans: Sequence[Ban], now: float) -> None:
        self._do("impose")
        self.held |= {one.network for one in bans if one.until is None or one.until > now}

    def lift(self, networks: Sequence[tuple[Network, str]]) -> None:
        self._do("lift")
        self.held -= {network for network, _ in networks}

    def allow(self, networks: Sequence[Network]) -> None:
        self._do("allow")
        self.pass_through = tuple(networks)

    def panic(self) -> None:
        self._do("panic")
        self.held = set()


class PaperLedger(Ledger):
    """The real one in memory, with a disk that is full as often as `full` says."""

    def __init__(self, diary: list[str]):
        super().__init__(":memory:")
        self.diary = diary
        self.full = 0

    def _take(self) -> None:
        if self.full:
            self.full -= 1
            raise LedgerError("database or disk is full")

    def record(self, effects: Sequence[Effect]) -> None:
        self.diary.append("record")
        self._take()
        super().record(effects)

    def checkpoint(self, rows: Iterable[Row], positions: Mapping[str, bytes]) -> None:
        self.diary.append("checkpoint")
        self._take()
        super().checkpoint(rows, positions)


class PaperTeller:
    def __init__(self, diary: list[str]):
        self.diary = diary
        self.said: list[Notice] = []
        self.told: list[Effect] = []
        self.asks: list[str] = []

    def effects(self, effects: Sequence[Effect]) -> None:
        self.diary.append("tell")
        self.told += effects

    def notice(self, notice: Notice) -> None:
        self.said.append(notice)

    def answer(self, request: Request, now: float) -> dict[str, Any]:
        self.asks.append(request.verb)
        return {"ok": True, "verb": request.verb}

    def asked(
        self, request: Request, effects: Sequence[Effect], answer: dict[str, Any], now: float
    ) -> dict[str, Any]:
        self.asks.append("judge:" + request.verb)
        return answer

    def watch(self, items: Sequence[Item], now: float) -> list[Notice]:
        return []

    def next_deadline(self) -> float | None:
        return None


class Paper:
    """All of it."""

    def __init__(self, batches: list[list[Item]], pace: Pace | None = None):
        self.diary: list[str] = []
        self.clock = ManualClock(T)
        self.feed = PaperFeed(self.clock, batches)
        self.judge = PaperJudge(self.diary)
        self.firewall = PaperFirewall(self.diary)
        self.ledger = PaperLedger(self.diary)
        self.teller = PaperTeller(self.diary)
        self.writer = Writer(self.ledger, threaded=False, most=10, monotonic=self.clock.monotonic)
        self.loop = Loop(
            self.feed, self.judge, self.firewall, self.writer, self.clock, self.teller,
            pace=pace or Pace(checkpoint_every=1000),
        )  # fmt: skip

    def ids(self) -> list[str]:
        return [notice.id for notice in self.teller.said]


def hit(*numbers: int) -> list[Item]:
    return [Events([event(number) for number in numbers])]


def test_a_batch_goes_judge_firewall_ledger_words() -> None:
    """The ban stands before it is written down, and is written down before it is told; one transaction a
    batch."""
    paper = Paper([hit(1, 2, 3)])
    paper.loop.run()
    assert paper.diary == ["judge", "impose", "record", "tell", "checkpoint"]
    assert paper.firewall.held == {net(1), net(2), net(3)}
    assert paper.ledger.positions() == {"log": b"0"}


def test_lines_behind_an_effect_are_written_with_it() -> None:
    """The ledger has the hostile lines before the effect that rests on them."""
    paper = Paper([hit(1)])
    paper.loop.run()
    assert [line["line"] for line in paper.ledger.answers.why(net(1), T)["lines"]] == ["a line"]


class AheadFirewall(PaperFirewall):
    """Begins when it is told to, and holds the ban once somebody waited for it."""

    def __init__(self, diary: list[str]):
        super().__init__(diary)
        self.begun: list[Network] = []
        self.able = True
        self._waiting: set[Network] = set()

    def begin(self, network: Network, scope: str, until: float, now: float) -> bool:
        self.diary.append("begin")
        if self.able:
            self.begun.append(network)
            self._waiting.add(network)
        return self.able

    def _do(self, word: str) -> None:
        self.held |= self._waiting
        self._waiting.clear()
        super()._do(word)


class AheadJudge(PaperJudge):
    """Says the first ban of a batch before it is decided, and those in `wrong`, which are never decided."""

    def __init__(self, diary: list[str], tell: Callable[[int, int, str, float], None]):
        super().__init__(diary)
        self.tell = tell
        self.wrong: list[int] = []

    def feed(self, items: list[Item], now: float) -> list[Effect]:
        for number in self.wrong:
            self.tell(*net(number), "mail", now + 600)
        for item in items:
            assert isinstance(item, Events)
            for one in item.events:
                assert one.source is not None
                self.tell(one.source, 32, "mail", one.time + 600)
        return super().feed(items, now)


class TestAhead:
    def paper(self, batches: list[list[Item]]) -> tuple[Paper, AheadFirewall, AheadJudge]:
        paper = Paper(batches)
        paper.loop.gate.firewall = firewall = AheadFirewall(paper.diary)
        paper.loop.judge = judge = AheadJudge(paper.diary, paper.loop.gate.ahead)
        return paper, firewall, judge

    def test_the_firewall_begins_before_the_judge_is_done(self) -> None:
        """One of a batch; all stand when the batch is over; the next batch has its own."""
        paper, firewall, _ = self.paper([hit(1, 2), hit(3)])
        assert paper.loop.step()
        assert paper.diary == ["begin", "judge", "impose", "record", "tell"]
        assert firewall.held == {net(1), net(2)}
        assert paper.loop.step()
        assert firewall.begun == [net(1), net(3)]

    def test_what_was_not_decided_is_taken_back(self) -> None:
        """Also where nothing else follows from the batch."""
        paper, firewall, judge = self.paper([hit(1), [Events([])]])
        judge.wrong = [9]
        assert paper.loop.step()
        assert firewall.held == {net(1)}
        assert paper.loop.step()
        assert firewall.begun == [net(9), net(9)]
        assert firewall.held == {net(1)}
        assert paper.diary[-1] == "lift"

    def test_nothing_begins_behind_open_doors(self) -> None:
        """Paused, after a panic, and while the firewall is away."""
        paper, firewall, _ = self.paper([hit(1), hit(2), hit(3), hit(4)])
        paper.loop.gate.pause(T + 100)
        assert paper.loop.step()
        paper.loop.gate.paused_until = None
        paper.loop.gate.panic()
        firewall.broken = 3
        for _ in range(3):  # the first ban after a panic: it is opened, which fails
            assert paper.loop.step()
        assert "open" in paper.diary
        assert "begin" not in paper.diary

    def test_a_firewall_that_cannot_is_asked_the_usual_way(self) -> None:
        paper, firewall, _ = self.paper([hit(1)])
        firewall.able = False
        assert paper.loop.step()
        assert firewall.held == {net(1)}


class TestFirewallFails:
    def test_the_ban_stays_due_and_is_made_good(self) -> None:
        """Said once when it fails, once when it is back; nothing that was asked meanwhile is forgotten."""
        paper = Paper([hit(1), hit(2), [], [], [], [], [], [], []])
        paper.firewall.broken = 3
        paper.loop.run()
        assert paper.firewall.held == {net(1), net(2)}
        assert paper.ids() == ["firewall-lost", "firewall-back"]
        assert len(paper.ledger.due(T)) == 2

    def test_a_lift_that_failed_is_not_forgotten(self) -> None:
        """A network that was freed while the firewall was away is free when it is back."""
        unban: list[Item] = [Request("unban", {"number": 1})]
        paper = Paper([hit(1), unban, [], [], [], [], []])
        assert paper.loop.step()
        paper.firewall.broken = 2
        paper.loop.run()
        assert paper.firewall.held == set()
        assert paper.ids() == ["firewall-lost", "firewall-back"]

    def test_a_firewall_that_lost_everything_gets_all_that_is_due(self) -> None:
        """After a loss the whole of what the ledger says is put back, older bans included."""
        paper = Paper([hit(1), hit(2), [], [], []])
        assert paper.loop.step()
        paper.firewall.broken, paper.firewall.gone = 1, True
        paper.loop.run()
        assert paper.firewall.held == {net(1), net(2)}

    def test_it_is_tried_later_and_later(self) -> None:
        """The waits double up to the longest, and the loop wakes up for each."""
        paper = Paper([hit(1)] + [[] for _ in range(200)], Pace(1000, retry_first=2.0, retry_longest=16.0))
        paper.firewall.broken = 6
        paper.loop.run()
        # Impose fails in second 1; tries follow after 2, 4, 8, 16, 16 seconds, and the last one works.
        assert paper.diary.count("open") == 6
        waits = {deadline - T for deadline in paper.feed.deadlines if deadline is not None}
        assert waits - {1000.0} == {3.0, 7.0, 15.0, 31.0, 47.0, 63.0}

    def test_the_loss_may_be_told_by_the_firewall_itself(self) -> None:
        """A notice that the enforcer is gone opens it again, although no ban was asked for."""
        lost: list[Item] = [Notice("firewall-lost", {"reason": "the enforcer ended"})]
        paper = Paper([hit(1), lost, list(lost), [], []])
        assert paper.loop.step()
        paper.firewall.held = set()
        paper.loop.run()
        assert paper.firewall.held == {net(1)}
        assert paper.ids() == ["firewall-lost", "firewall-back"]


class TestFirewallDoesNotAnswer:
    def test_a_stopped_enforcer_holds_nobody_up(self) -> None:
        """One wait for it, then the loop goes on reading and deciding; it is said once; when the enforcer
        goes on, all that is due is put in at once."""
        enforcer = spawn(Recording())
        enforcer._short = 0.3
        paper = Paper(
            [hit(1), hit(2), hit(3), hit(4), [], []], Pace(1000, retry_first=0.5, retry_longest=2000)
        )
        paper.loop.gate.firewall = enforcer
        paper.loop.gate._errors = (FirewallError, OSError)
        enforcer.open([], T)
        assert paper.loop.step()
        worker = enforcer.worker
        assert worker is not None
        os.kill(worker, signal.SIGSTOP)
        try:
            begun = time.monotonic()
            for _ in range(4):
                assert paper.loop.step()
            assert time.monotonic() - begun < 3 * 0.3
            assert len(paper.teller.told) == 4
            assert paper.loop.status()["firewall_owed"] == 3
            assert paper.ids() == ["firewall-lost"]
            assert enforcer.notices() == []
        finally:
            os.kill(worker, signal.SIGCONT)
        number = enforcer.fileno()
        assert number is not None
        assert select.select([number], [], [], 10)[0]
        paper.feed.batches.insert(0, [*enforcer.notices()])
        assert paper.loop.step()
        assert paper.ids() == ["firewall-lost", "firewall-back"]
        assert {network for network, _ in enforcer.banned()} == {net(1), net(2), net(3), net(4)}
        enforcer.close(keep=False)
        assert enforcer.pid is not None
        os.waitpid(enforcer.pid, 0)


class TestDiskFull:
    def test_bans_go_on_and_are_written_when_there_is_room(self) -> None:
        """A full disk stops no ban; it is said once, and what was not written is written later, in order."""
        paper = Paper([hit(1), hit(2), [Request("unban", {"number": 1})], [], [], [], [], []])
        paper.ledger.full = 3
        paper.loop.run()
        assert paper.firewall.held == {net(2)}
        assert paper.ids() == ["disk-full", "disk-back"]
        assert [row["effect"] for row in paper.ledger.answers.every_effect()] == ["impose", "impose", "lift"]
        assert [one.network for one in paper.ledger.due(T)] == [net(2)]

    def test_a_failed_checkpoint_is_written_later(self) -> None:
        """Changes that a failed checkpoint had taken from the judge are not lost, nor those after it."""
        paper = Paper([hit(1), [], hit(2), [], [], []], Pace(checkpoint_every=0.5))
        paper.ledger.full = 2
        paper.loop.run()
        assert {key for _, key, _ in paper.ledger.restore()} == set(paper.judge.state)
        assert paper.ids() == ["disk-full", "disk-back"]

    def test_a_ban_that_is_not_written_yet_is_due(self) -> None:
        """A firewall that comes back while the disk is full gets all bans, lifted ones left out."""
        paper = Paper([])
        paper.ledger.full = 1000
        paper.writer.record([Impose(ban(1), T), Impose(ban(2), T), Lift(net(1), T, "unban")])
        assert [one.network for one in paper.writer.due(T)] == [net(2)]

    def test_memory_for_what_is_not_written_is_bounded(self) -> None:
        """Beyond the limit alerts go before bans, and what was dropped is counted and said."""
        paper = Paper([])
        paper.ledger.full = 1
        offence = Offence("paper", "k", T, T, 1)
        paper.writer.record([Impose(ban(100), T)])
        paper.writer.record([Alert(offence, T, "observe")] * 5)
        paper.writer.record([Impose(ban(n), T) for n in range(6)])
        assert (paper.writer.dropped, paper.writer.behind) == (3, 9)
        paper.writer.record([Impose(ban(n), T) for n in range(6, 9)])
        assert (paper.writer.dropped, paper.writer.behind) == (6, 9)
        assert len(paper.writer.due(T)) == 9
        paper.loop.notes.tick(paper.judge, paper.feed, paper.clock.monotonic())
        paper.clock.set(T + 100)
        paper.loop.notes.tick(paper.judge, paper.feed, paper.clock.monotonic())
        assert len(paper.ledger.due(T)) == 9
        assert [(said.id, said.args.get("dropped")) for said in paper.teller.said] == [
            ("disk-full", None), ("disk-back", 6),
        ]  # fmt: skip

    def test_a_thread_writes_the_same(self) -> None:
        """With a thread nothing waits for the disk; the order and the outcome are those without one."""
        paper = Paper([])
        writer = Writer(paper.ledger, retry_first=0.001)
        paper.ledger.full = 2
        for number in range(50):
            writer.evidence([event(number % 5, T + number)])
            writer.record([Impose(ban(number, T + number), T + number)])
        writer.checkpoint([("t", b"k", b"v")], {"log": b"1"})
        writer.later(lambda: paper.ledger.put("mode", "enforce"))
        end = time.monotonic() + 10
        while not writer.settle():
            assert time.monotonic() < end
            time.sleep(0.001)
        assert writer.close()
        assert (writer.behind, writer.dropped, writer.busy, writer.trouble) == (0, 0, False, "")
        told = list(paper.ledger.answers.every_effect())
        assert [row["network"] for row in told] == [f"192.0.2.{number}" for number in range(50)]
        assert paper.ledger.positions() == {"log": b"1"}
        assert paper.ledger.get("mode") == "enforce"
        assert len(paper.ledger.answers.why(net(3), T)["lines"]) == 10


class TestRequests:
    def test_what_a_request_changed_is_on_disk_before_its_answer(self) -> None:
        """Requests stand in no log that could be read again, so a checkpoint precedes the answer."""
        paper = Paper([hit(1)])
        answers: list[list[str]] = []
        paper.feed.batches.append(
            [Request("unban", {"number": 1}, lambda answer: answers.append(list(paper.diary)))]
        )
        paper.loop.run()
        assert answers[0][-4:] == ["lift", "record", "tell", "checkpoint"]
        assert paper.teller.asks == ["judge:unban"]

    def test_other_questions_go_to_the_teller(self) -> None:
        """Status, bans and why are answered by whoever speaks to people."""
        got: list[dict[str, Any]] = []
        paper = Paper([[Request("status", {}, got.append)]])
        paper.loop.run()
        assert got == [{"ok": True, "verb": "status"}]

    def test_stop_ends_the_loop_after_the_batch(self) -> None:
        """What came with the request is still judged, and the last checkpoint is written."""
        paper = Paper([[*hit(1), Request("stop")], hit(2)])
        paper.loop.run()
        assert paper.firewall.held == {net(1)}
        assert paper.diary[-1] == "checkpoint"
        assert len(paper.feed.batches) == 1

    def test_a_stop_notice_does_the_same(self) -> None:
        """Signals arrive as notices."""
        paper = Paper([[Notice("stop")], hit(2)])
        paper.loop.run()
        assert len(paper.feed.batches) == 1

    def test_pause_opens_the_doors_and_its_end_closes_them(self) -> None:
        """Bans stay due during a pause; those that came meanwhile are there afterwards too."""
        paper = Paper([hit(1), [Request("pause", {"for": 3})], hit(2)])
        for _ in range(3):
            paper.loop.step()
        assert paper.firewall.held == set()
        assert len(paper.ledger.due(T)) == 2
        deadline = paper.loop.deadline()
        assert deadline is not None
        assert deadline <= T + 5
        paper.feed.batches += [[], [], []]
        paper.loop.run()
        assert paper.firewall.held == {net(1), net(2)}
        assert paper.ids() == ["resumed"]

    def test_a_pause_of_nothing_ends_the_pause(self) -> None:
        """`mailguard pause 0s` brings the bans back at once."""
        paper = Paper([hit(1), [Request("pause", {"for": 3600})], [Request("pause", {"for": 0})]])
        paper.loop.run()
        assert paper.firewall.held == {net(1)}

    @pytest.mark.parametrize("length", [-1, "1h", None, True, float("nan"), 1e12])
    def test_a_pause_must_be_a_length(self, length: object) -> None:
        """Anything else is refused in words, and nothing is opened."""
        got: list[dict[str, Any]] = []
        paper = Paper([hit(1), [Request("pause", {"for": length}, got.append)]])
        paper.loop.run()
        assert got[0]["ok"] is False
        assert paper.firewall.held == {net(1)}

    def test_panic_empties_the_firewall_first(self) -> None:
        """The doors open before anything is counted; the next ban opens the firewall anew."""
        paper = Paper([hit(1), [Request("panic")], hit(2)])
        paper.loop.step()
        paper.loop.step()
        assert paper.diary.index("panic") == len(paper.diary) - 2
        assert paper.firewall.held == set()
        paper.loop.run()
        assert net(2) in paper.firewall.held
        assert "open" in paper.diary

    @pytest.mark.parametrize("verb", ["panic", "pause"])
    def test_doors_that_do_not_open_are_opened_later(self, verb: str) -> None:
        """A firewall that fails just then: the answer says so, and it is tried again before anything else."""
        got: list[dict[str, Any]] = []
        asked = Request(verb, {"for": 1000} if verb == "pause" else {}, got.append)
        paper = Paper([hit(1), [asked]], Pace(1000, retry_first=1, retry_longest=1))
        if verb == "panic":
            paper.judge.request = lambda *_: ([Lift(net(1), T, "unban")], {"ok": True})  # type: ignore[method-assign,assignment]
        paper.loop.step()
        paper.firewall.broken = 2
        paper.loop.step()
        assert got[0]["ok"] is True
        assert got[0]["firewall_lost"] is True
        assert paper.firewall.held == {net(1)}
        paper.feed.batches += [[], [], []]
        for _ in range(3):
            paper.clock.set(paper.clock.now() + 2)
            paper.loop.step()
        assert paper.firewall.held == set()
        assert not paper.loop.status()["firewall_lost"]
        assert paper.ids() == ["firewall-lost", "doors-open" if verb == "pause" else "firewall-back"]
        paper.feed.batches += [[Request("pause", {"for": 0}, got.append)], hit(2), []]
        paper.loop.run()
        assert net(2) in paper.firewall.held
        assert (net(1) in paper.firewall.held) == (verb == "pause")
        assert "firewall_lost" not in got[1]

    def test_allowed_networks_reach_the_firewall(self) -> None:
        """Whenever the judge's list changes, and again after a loss."""
        paper = Paper([[Request("allow", {"number": 9})], hit(1), [], [], []])
        paper.loop.step()
        assert paper.firewall.pass_through == (net(9),)
        paper.firewall.pass_through = ()
        paper.firewall.broken = 1
        paper.loop.run()
        assert paper.firewall.pass_through == (net(9),)


def test_the_loop_waits_until_something_is_due() -> None:
    """Nothing to do: no deadline; a changed state: the checkpoint's; a judge that asks for a tick: that."""
    paper = Paper([], Pace(checkpoint_every=7))
    assert paper.loop.deadline() is None
    paper.loop.notes.dirty += 1
    assert paper.loop.deadline() == T + 7
    paper.judge.next_deadline = lambda: T + 2  # type: ignore[method-assign,assignment]
    assert paper.loop.deadline() == T + 2
