"""The commands that ask the guard: what they ask, how the answer reads, and the exit code when it says no."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

import mailguard
from mailguard.cli import client
from mailguard.control import DEFAULT_SOCKET, ControlDenied

BAN = {
    "network": "192.0.2.7",
    "scope": "auth",
    "since": 1795312800.0,
    "until": 1795313400.0,
    "ordinal": 1,
    "reason": "",
    "detector": "password-guessing",
    "key": "192.0.2.7",
    "count": 5,
    "first": 1795312560.0,
    "last": 1795312800.0,
    "kinds": ["auth_failure"],
}


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["ban", "192.0.2.7"], {"network": "192.0.2.7", "for": 86400, "reason": "", "scope": "mail"}),
        (
            ["ban", "2001:db8::/48", "--for", "permanent", "--reason", "noise", "--scope", "all", "--force"],
            {
                "network": "2001:db8::/48",
                "for": "permanent",
                "reason": "noise",
                "scope": "all",
                "force": True,
            },
        ),
    ],
)
def test_ban_asks_for_a_ban(guard: Any, run: Any, arguments: list[str], asked: dict[str, Any]) -> None:
    """Network, length, reason, scope and force arrive as they were meant; the answer names the end."""
    guard.answers["ban"] = {"ok": True, "id": "banned", "args": {"network": asked["network"]}, "ban": BAN}
    said = run(*arguments)
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"{asked['network']} is banned until ")
    assert guard.asked[-1] == ("ban", asked)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"network": "0.0.0.0/0", "reason": "too-wide", "entry": ""}, "very wide"),
        (
            {"network": "192.0.2.7", "reason": "our office", "entry": "192.0.2.0/24"},
            "192.0.2.0/24 is never banned (our office)",
        ),
        ({"network": "192.0.2.7", "reason": "standing", "entry": ""}, "mailguard why 192.0.2.7"),
    ],
)
def test_a_refused_ban_says_why(guard: Any, run: Any, arguments: dict[str, str], says: str) -> None:
    """Exit 1, the reason and the way around it on standard error."""
    guard.answers["ban"] = {"ok": False, "id": "refused", "args": arguments}
    said = run("ban", arguments["network"])
    assert (said.code, said.out) == (1, "")
    assert says in said.err
    assert "--force" in said.err


def test_who_may_not_ask_is_told(guard: Any, run: Any) -> None:
    """Exit 77 with the guard's own words."""
    guard.answers["ban"] = {"ok": False, "denied": True, "error": "only root may ask for ban"}
    said = run("ban", "192.0.2.7")
    assert said.code == 77
    assert said.err == "mailguard: only root may ask for ban\n"


def test_no_guard_is_told(run: Any, tmp_path: Path) -> None:
    """Exit 69 when nobody listens; `status` alone says 2."""
    for command in (["bans"], ["ban", "192.0.2.7"], ["why", "192.0.2.7"], ["panic"]):
        said = run(*command, "--socket", str(tmp_path / "none"))
        assert said.code == 69
        assert "does not run" in said.err
    assert run("status", "--socket", str(tmp_path / "none")).code == 2


def test_an_answer_cannot_steer_the_terminal(guard: Any, run: Any) -> None:
    """Whatever stands in an answer, no control character reaches standard output or error."""
    guard.answers["ban"] = {"ok": False, "error": "bad \x1b]0;title\x07 \x9b31m"}
    said = run("ban", "192.0.2.7")
    assert said.err == "mailguard: bad \\x1b]0;title\\x07 \\x9b31m\n"


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["192.0.2.7", "2001:db8::/64"], {"networks": ["192.0.2.7", "2001:db8::/64"]}),
        (["--detector", "harvest"], {"detector": "harvest"}),
        (["--since", "2026-11-22T02:00:00Z"], {"since": 1795312800.0}),
        (["--all"], {"all": True}),
    ],
)
def test_unban_asks(guard: Any, run: Any, arguments: list[str], asked: dict[str, Any]) -> None:
    """Each way to say which; every lifted ban is one line."""
    guard.answers["unban"] = {
        "ok": True,
        "id": "unbanned",
        "args": {"lifted": ["192.0.2.7"], "still_inside": ["192.0.2.0/24"]},
    }
    said = run("unban", *arguments)
    assert said.code == 0
    assert said.out.splitlines() == [
        "192.0.2.7 is no longer banned; what was counted against it is forgotten",
        "but 192.0.2.0/24 is banned and holds it",
    ]
    assert guard.asked == [("unban", asked)]


@pytest.mark.parametrize("arguments", [[], ["192.0.2.7", "--all"], ["--all", "--detector", "harvest"]])
def test_unban_wants_to_know_which(run: Any, arguments: list[str]) -> None:
    """Nothing, or two ways at once, is a usage error: nobody lifts everything by accident."""
    assert run("unban", *arguments).code == 64


def test_unban_of_nothing_says_so(guard: Any, run: Any) -> None:
    """Exit 1 when there was nothing to lift."""
    guard.answers["unban"] = {"ok": False, "id": "nothing-to-lift", "args": {"lifted": []}}
    said = run("unban", "192.0.2.7")
    assert (said.code, said.err) == (1, "mailguard: there was nothing to lift\n")


def test_allow(guard: Any, run: Any) -> None:
    """add, del, list and check ask for what they say; check answers by its exit code."""
    guard.answers["allow"] = {"ok": True, "id": "allowed", "args": {"network": "192.0.2.0/24"}, "lifted": 2}
    said = run("allow", "add", "192.0.2.0/24", "--reason", "office")
    assert said.out == "192.0.2.0/24 is never banned from now on; lifted inside it: 2 bans\n"
    assert guard.asked[-1] == ("allow", {"do": "add", "network": "192.0.2.0/24", "reason": "office"})

    guard.answers["disallow"] = {"ok": False, "id": "not-allowed-before", "args": {"network": "192.0.2.0/24"}}
    said = run("allow", "del", "192.0.2.0/24")
    assert (said.code, said.err) == (1, "mailguard: 192.0.2.0/24 was not added by `mailguard allow`\n")

    guard.answers["allow-list"] = {
        "ok": True,
        "entries": [{"network": "198.51.100.0/24", "reason": "partner"}],
        "never": [{"network": "192.0.2.1", "reason": "gateway"}],
    }
    said = run("allow", "list")
    assert said.out == "192.0.2.1\tgateway\tsettings\n198.51.100.0/24\tpartner\tcommand\n"
    assert run("allow", "list", "-o", "json").objects == [
        {"network": "192.0.2.1", "reason": "gateway", "origin": "settings"},
        {"network": "198.51.100.0/24", "reason": "partner", "origin": "command"},
    ]

    for allowed, code in ((True, 0), (False, 1)):
        guard.answers["allow-check"] = {
            "ok": True,
            "allowed": allowed,
            "args": {"network": "192.0.2.7", "entry": "192.0.2.0/24", "reason": "office"},
        }
        assert run("allow", "check", "192.0.2.7").code == code


def test_pause_and_panic(guard: Any, run: Any) -> None:
    """pause says until when, panic how much it lifted, observe that nothing more is banned."""
    guard.answers["pause"] = {"ok": True, "paused_until": 1795312800.0}
    assert run("pause", "1h", "-o", "json").objects == [{"paused_until": "2026-11-22T02:00:00+00:00"}]
    assert guard.asked[-1] == ("pause", {"for": 3600})
    guard.answers["pause"] = {"ok": True, "paused_until": None}
    assert run("pause", "0s").out == "no pause; the bans are in the firewall\n"
    guard.answers["panic"] = {"ok": True, "id": "panic", "args": {"lifted": 3}}
    assert run("panic").out == "3 bans lifted; only observing until `mailguard enforce`\n"
    guard.answers["observe"] = {"ok": True, "id": "mode", "args": {"mode": "observe", "changed": True}}
    assert "only observing" in run("observe").out


def test_where_the_guard_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """At MAILGUARD_SOCKET, else where the settings say (even wrong ones), else where the defaults say."""
    settings = tmp_path / "mailguard.toml"
    monkeypatch.delenv("MAILGUARD_SOCKET", raising=False)
    monkeypatch.setenv("MAILGUARD_CONFIG", str(settings))
    defaults = tomllib.loads((Path(mailguard.__file__).parent / "defaults.toml").read_text())
    assert client.usual_socket() == DEFAULT_SOCKET == defaults["general"]["socket"]
    for text, where in (
        ('[general]\nsocket = "/run/other"\nwrong = 1\n', "/run/other"),
        ("[general\n", DEFAULT_SOCKET),
        ("general = 3\n", DEFAULT_SOCKET),
    ):
        settings.write_text(text)
        assert client.usual_socket() == where
    monkeypatch.setenv("MAILGUARD_SOCKET", "/run/mine")
    assert client.usual_socket() == "/run/mine"


def test_unban_inside_a_banned_network_names_it(guard: Any, run: Any) -> None:
    """Whoever lifts one address of a banned network is told that it is still banned, and by what."""
    args = {"lifted": [], "still_inside": ["192.0.2.0/24"]}
    guard.answers["unban"] = {"ok": False, "id": "nothing-to-lift", "args": args}
    said = run("unban", "192.0.2.7")
    assert said.code == 1
    assert "192.0.2.0/24 is banned and holds it" in said.err


def test_a_refusal_is_json_too(guard: Any, run: Any, tmp_path: Path) -> None:
    """A script that asked for JSON gets an object when the guard says no, or is not there."""
    args = {"network": "192.0.2.7", "reason": "our office", "entry": "192.0.2.0/24"}
    guard.answers["ban"] = {"ok": False, "id": "refused", "args": args}
    (said,) = run("ban", "192.0.2.7", "-o", "json").objects
    assert (said["ok"], said["exit"], said["id"], said["args"]) == (False, 1, "refused", args)
    (said,) = run("bans", "--output=json", "--socket", str(tmp_path / "none")).objects
    assert (said["ok"], said["exit"]) == (False, 69)


def test_times_in_json_are_text(guard: Any, run: Any) -> None:
    """RFC 3339 in every answer, as `bans` and `events` have it."""
    guard.answers["ban"] = {"ok": True, "id": "banned", "args": {"network": "192.0.2.7"}, "ban": BAN}
    (said,) = run("ban", "192.0.2.7", "-o", "json").objects
    assert said["ban"]["until"] == "2026-11-22T02:10:00+00:00"
    assert said["ban"]["count"] == 5


def test_allow_check_of_a_part(guard: Any, run: Any) -> None:
    """No, with the part that is on the list."""
    args = {"network": "192.0.2.0/24", "entry": "192.0.2.0/25", "reason": "office"}
    guard.answers["allow-check"] = {"ok": True, "allowed": False, "part": True, "args": args}
    said = run("allow", "check", "192.0.2.0/24")
    assert said.code == 1
    assert said.out == "192.0.2.0/24 is not on the list, only 192.0.2.0/25 in it is (office)\n"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("::FFFF:192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7/128", "192.0.2.7"),
        (" 2001:DB8:0::/48 ", "2001:db8::/48"),
    ],
)
def test_ways_to_write_a_network(guard: Any, run: Any, written: str, meant: str) -> None:
    """IPv4 written as IPv6 is IPv4, case and spaces do not matter."""
    guard.answers["why"] = {"ok": True, "bans": []}
    run("why", written, "-o", "json")
    assert guard.asked == [("why", {"network": meant})]


@pytest.mark.parametrize("arguments", [["ban", "192.0.2.7", "--for", "99999d"], ["pause", "99999d"]])
def test_lengths_beyond_reason(run: Any, arguments: list[str]) -> None:
    """A usage error that names the longest, before the guard is asked."""
    said = run(*arguments)
    assert said.code == 64
    assert "at most 10000d" in said.err


def test_who_may_not_reach_the_socket(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 77, and `status` does not claim that the guard is gone."""

    def refuse(*_: Any) -> Any:
        raise ControlDenied("you may not ask the guard")

    monkeypatch.setattr(client, "ask", refuse)
    assert run("bans").code == 77
    said = run("status")
    assert (said.code, said.out) == (
        2,
        "it is not known whether mailguard stands: you may not ask the guard\n",
    )
