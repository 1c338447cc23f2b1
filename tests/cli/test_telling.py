"""status, bans and why: what they say, to people and to programs, and that it stays as it is."""

from __future__ import annotations

import copy
import time
from typing import Any

import pytest

from mailguard.cli import messages, output

STATUS: dict[str, Any] = {
    "ok": True,
    "id": "status",
    "version": "0.1.0",
    "pid": 4711,
    "started": 1795312800.0,
    "now": 1795316400.0,
    "mode": "enforce",
    "paused_until": None,
    "firewall": {"name": "nftables", "words": "bans by nftables", "lost": False, "owed": 0},
    "bans": 3,
    "would": 0,
    "lines": 1000,
    "events": 40,
    "scanner": {"ambiguous": 1, "unmatched": {"postfix/smtpd": 2, "dovecot": 3}},
    "judge": {"events": 40},
    "logs": {"/var/log/mail.log": {"last": 1795316390.0}},
    "blind": [],
    "ledger": {"path": "/var/lib/mailguard/ledger.db", "failing": False},
}

BAN: dict[str, Any] = {
    "id": 1,
    "network": "192.0.2.7",
    "scope": "auth",
    "since": 1795312800.0,
    "until": 1795313400.0,
    "ordinal": 2,
    "reason": "",
    "detector": "password-guessing",
    "key": "192.0.2.7",
    "count": 5,
    "first": 1795312560.0,
    "last": 1795312800.0,
    "kinds": ["auth_failure"],
    "text": "ban 192.0.2.7 for 10m by password-guessing: 5 auth_failure in 4m (2. time)",
    "packets": 12,
    "bytes": 720,
}


def changed(**values: Any) -> dict[str, Any]:
    """STATUS with other values; a dict changes only what it names."""
    status = copy.deepcopy(STATUS)
    for name, value in values.items():
        status[name] = status[name] | value if isinstance(value, dict) else value
    return status


@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        (changed(), 0, "mailguard stands\n"),
        (changed(mode="observe", would=7), 1, "only observing; 7 bans would stand"),
        (changed(paused_until=1795317000.0), 1, "paused until"),
        (changed(blind=["log-silent /var/log/mail.log"]), 1, "it may be blind: log-silent"),
        (changed(ledger={"failing": True}), 1, "cannot be written"),
        (changed(firewall={"name": "recording"}), 1, "nothing is blocked"),
        (changed(firewall={"lost": True, "owed": 4}), 2, "the firewall is lost; 4 changes due"),
    ],
)
def test_status_tells_monitors(guard: Any, run: Any, answer: dict[str, Any], code: int, says: str) -> None:
    """Exit 0, 1 or 2, and the reason in words; the same in JSON."""
    guard.answers["status"] = answer
    said = run("status")
    assert (said.code, said.err) == (code, "")
    assert says in said.out
    said = run("status", "-o", "json")
    (told,) = said.objects
    assert (said.code, told["exit"], told["standing"]) == (code, code, code < 2)
    assert bool(told["warnings"]) == bool(code)
    assert told["mode"] == answer["mode"]


def test_status_lists_the_logs(guard: Any, run: Any) -> None:
    """Each log with the time since its last line."""
    guard.answers["status"] = STATUS
    assert "/var/log/mail.log\t10s ago\t\n" in run("status").out


def test_bans_plain_and_json(guard: Any, run: Any) -> None:
    """One line a ban, in the notation; JSON has every field with times as text."""
    permanent = BAN | {"until": None, "detector": "administrator", "packets": None}
    permanent["text"] = "ban 192.0.2.7 for ever by administrator: noise"
    guard.answers["bans"] = {"ok": True, "bans": [BAN, permanent]}
    assert run("bans").out.splitlines() == [
        f"192.0.2.7 auth until 2026-11-22T02:10:00+00:00 knocks 12: {BAN['text']}",
        "192.0.2.7 auth until permanent: ban 192.0.2.7 for ever by administrator: noise",
    ]
    first, second = run("bans", "-o", "json").objects
    assert first["until"] == "2026-11-22T02:10:00+00:00"
    assert first["packets"] == 12
    assert second["until"] is None


def test_bans_asks_for_what_was_named(guard: Any, run: Any) -> None:
    """The filters arrive, and pages are asked for until the last."""
    page = [BAN | {"id": number} for number in range(1, 1001)]
    answers = iter([{"ok": True, "bans": page}, {"ok": True, "bans": page[:2]}])

    class Pages(dict[str, Any]):
        def __missing__(self, verb: str) -> Any:
            return next(answers)

    guard.answers = Pages()
    said = run("bans", "--detector", "harvest", "--contains", "192.0.2.9", "--since", "2026-11-22T02:00:00Z")
    assert len(said.out.splitlines()) == 1002
    asked = {"detector": "harvest", "contains": "192.0.2.9", "since": 1795312800.0, "limit": 1000}
    assert guard.asked == [("bans", asked | {"after": 0}), ("bans", asked | {"after": 1000})]


def test_bans_is_a_table_on_a_terminal(guard: Any, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """People get headings and the time that is left; nothing when there is nothing."""
    for module in ("output", "bans"):
        monkeypatch.setattr(f"mailguard.cli.{module}.is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "160")
    guard.answers["bans"] = {"ok": True, "bans": [BAN | {"until": time.time() + 600}]}
    said = run("bans")
    assert "1 ban standing" in said.out
    assert "password-guessing: 5 auth_failure in 4m" in said.out
    assert "10m" in said.out
    guard.answers["bans"] = {"ok": True, "bans": []}
    assert run("bans").out == "no bans stand\n"
    assert output.is_terminal


WHY: dict[str, Any] = {
    "ok": True,
    "id": "why",
    "args": {"network": "192.0.2.7"},
    "banned": True,
    "bans": [BAN | {"hits": 3, "last_hit": 1795312900.0, "simulated": False}],
    "inside": [],
    "ordinal": 2,
    "spared": None,
    "standing": {"mail_days": 0, "login_days": 0, "revoked": False},
    "network_standing": {"mail_days": 3, "last_mail": 1795000000.0, "login_days": 0, "revoked": False},
    "history": [
        {
            "key": "192.0.2.7", "kind": "auth_failure", "count": 5, "first": 1795312560.0,
            "last": 1795312800.0, "values": 4,
        }
    ],
    "effects": [{"time": 1795312800.0, "text": BAN["text"]}],
    "lines": [
        {
            "time": 1795312800.0, "rule": "dovecot/auth-failed", "log": "/var/log/mail.log",
            "line": "user=<in\u2026#1234>", "source": "192.0.2.7",
        }
    ],
    "times_banned": 2,
    "undo": ["mailguard unban 192.0.2.7"],
}  # fmt: skip


def test_why_explains(guard: Any, run: Any) -> None:
    """End, finding, counts, lines, what speaks for it, history, and how to undo it, in this order."""
    guard.answers["why"] = WHY
    said = run("why", "192.0.2.7")
    assert said.code == 0
    parts = [
        "192.0.2.7 is banned from the ports for logins until",
        "password-guessing found 5 auth_failure in 4m",
        "It is the 2. ban of this network",
        "3 more events came from it since",
        "192.0.2.7: 5 auth_failure with 4 different values within 4m",
        "dovecot/auth-failed  /var/log/mail.log",
        "    user=<in\u2026#1234>",
        "Mail from its network was accepted on 3 days",
        "What happened (2 bans so far)",
        "  mailguard unban 192.0.2.7",
        '  mailguard allow add 192.0.2.7 --reason "..."',
    ]
    places = [said.out.find(part) for part in parts]
    assert -1 not in places, parts[places.index(-1)]
    assert places == sorted(places)


def test_why_of_somebody_unknown(guard: Any, run: Any) -> None:
    """An address that is not banned gets an answer, too."""
    nothing = {"bans": [], "banned": False, "history": [], "effects": [], "lines": [], "undo": []}
    guard.answers["why"] = WHY | nothing | {"network_standing": {}, "times_banned": 0}
    said = run("why", "192.0.2.7")
    assert said.out == (
        "192.0.2.7 is not banned.\n\nWhat speaks for it:\n  Nothing is known: no accepted mail, no login.\n"
    )


def test_why_of_one_who_is_spared(guard: Any, run: Any) -> None:
    """The entry of the list and its reason are told, and no way to allow it again."""
    guard.answers["why"] = WHY | {"spared": {"network": "192.0.2.0/24", "reason": "our office"}}
    said = run("why", "192.0.2.7")
    assert "never banned by mailguard itself: 192.0.2.0/24 is on the list (our office)" in said.out
    assert "allow add" not in said.out


def test_why_in_observe_mode(guard: Any, run: Any) -> None:
    """A ban that was only observed is told as one that would be."""
    guard.answers["why"] = WHY | {"bans": [WHY["bans"][0] | {"simulated": True}]}
    assert "would be banned" in run("why", "192.0.2.7").out


def test_why_in_json(guard: Any, run: Any) -> None:
    """Everything the guard knows, as one object."""
    guard.answers["why"] = WHY
    (told,) = run("why", "192.0.2.7", "-o", "json").objects
    assert told["banned"] is True
    times = [{**line, "time": "2026-11-22T02:00:00+00:00"} for line in WHY["lines"]]
    assert told["lines"] == times
    assert told["network"] == "192.0.2.7"


def test_enforce_in_a_script_asks_nothing(guard: Any, run: Any) -> None:
    """Without a terminal it does what it was told, and says how many observed bans stand now."""
    guard.answers["enforce"] = {"ok": True, "id": "mode", "args": {"mode": "enforce"}, "imposed": 2}
    said = run("enforce")
    assert (said.code, said.out) == (0, "bans are on; 2 that were observed stand now\n")
    assert guard.asked == [("enforce", {})]


def test_bans_that_would_stand(guard: Any, run: Any) -> None:
    """--would asks for the bans that are only observed, and shows them like the others."""
    times = dict.fromkeys(("since", "first", "last", "last_hit"), 1e9)
    words = "ban 192.0.2.7 for ever"
    ban = {"network": "192.0.2.7", "scope": "auth", "until": None, "text": words, **times}
    guard.answers["bans"] = {"ok": True, "id": "bans", "args": {"total": 1}, "bans": [ban]}
    assert run("bans", "--would").out == "192.0.2.7 auth until permanent: ban 192.0.2.7 for ever\n"
    verb, asked = guard.asked[-1]
    assert verb == "bans"
    assert asked["would"] is True
    [told] = run("bans", "--would", "-o", "json").objects
    assert told["last_hit"] == told["since"] == "2001-09-09T01:46:40+00:00"


@pytest.mark.parametrize(("number", "said"), [(0, "0 bans"), (1, "1 ban"), ("1", "1 ban"), (2, "2 bans")])
def test_words_agree_with_their_numbers(number: object, said: str) -> None:
    """English words that are counted stand in the number that is right."""
    assert messages.text("bans.title", count=number) == f"{said} standing"
