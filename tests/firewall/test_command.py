"""The command driver: argument lists only, bounded time, ends bans itself."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from mailguard.clock import ManualClock
from mailguard.enforcer import spawn
from mailguard.firewall import tools
from mailguard.firewall.command import Command, fill
from mailguard.firewall.desired import FOREVER
from mailguard.firewall.interface import FirewallError
from mailguard.model import Ban, Network
from mailguard.notation import parse_network


def program(path: Path, body: str) -> str:
    """A program that does `body`; its calls are in `calls` beside it."""
    made = path / "program"
    made.write_text(f'#!/bin/sh\nfor one in "$@"; do printf "<%s>" "$one"; done >> {path}/calls\n'
                    f"echo >> {path}/calls\n{body}\n")  # fmt: skip
    made.chmod(0o755)
    return str(made)


def calls(path: Path) -> list[str]:
    made = path / "calls"
    return made.read_text().splitlines() if made.exists() else []


def ban(text: str, until: float | None, scope: str = "mail") -> Ban:
    network = parse_network(text)
    assert network is not None
    return Ban(network, 0.0, until, scope=scope)


def test_placeholders_are_filled_with_typed_values() -> None:
    """Every placeholder, inside other text too; braces that are none stay."""
    arguments = ["/x", "--net={network}", "{address}/{prefix}", "{family}", "{seconds}", "{scope}", "{}"]
    address, prefix = parse_network("2001:db8::/48") or (0, 0)
    assert fill(arguments, (0, address, prefix), 100.5, 40.0) == (
        "/x", "--net=2001:db8::/48", "2001:db8::/48", "6", "61", "auth", "{}",
    )  # fmt: skip
    assert fill(["{seconds}", "{network}"], (2, 7, 32), FOREVER, 40.0) == ("0", "0.0.0.7")


def test_no_shell_ever_sees_an_argument(tmp_path: Path) -> None:
    """Arguments with spaces, quotes and dollars arrive as they are."""
    run = program(tmp_path, "exit 0")
    driver = Command(
        [run, "a b", "$(id)", "'; true", "{network}"], [run, "off", "{network}"], clock=ManualClock()
    )
    driver.open([ban("192.0.2.7", 60.0)], 0.0)
    assert calls(tmp_path) == ["<a b><$(id)><'; true><192.0.2.7>"]


def test_start_bans_ends_and_stop(tmp_path: Path) -> None:
    """Start, bans, the end of each ban by `tick`, lifts, and stop: in order, each once."""
    run = program(tmp_path, "exit 0")
    clock = ManualClock()
    driver = Command(
        [run, "ban", "{network}"], [run, "unban", "{network}"], [run, "start"], [run, "stop"], clock=clock
    )
    driver.open([ban("192.0.2.7", 60.0)], 0.0)
    driver.impose([ban("192.0.2.8", 30.0), ban("192.0.2.9", None)], 0.0)
    driver.lift([(Network(1, 32), "mail")])
    assert driver.tick(10.0) == 30.0
    clock.set(30.0)
    assert driver.tick(30.0) == 60.0
    assert {network for network, _ in driver.banned()} == {
        ban(one, None).network for one in ("192.0.2.7", "192.0.2.9")
    }
    clock.set(61.0)
    assert driver.tick(61.0) is None
    driver.close(keep=False)
    assert calls(tmp_path) == [
        "<start>", "<ban><192.0.2.7>", "<ban><192.0.2.8>", "<ban><192.0.2.9>", "<unban><192.0.2.8>",
        "<unban><192.0.2.7>", "<unban><192.0.2.9>", "<stop>",
    ]  # fmt: skip


def test_a_program_that_fails_leaves_the_ban_due(tmp_path: Path) -> None:
    """The exit code and its first line are in the error, control characters are not; repeating works."""
    run = program(
        tmp_path, r"test -e " + str(tmp_path / "works") + r" || { printf 'no\033[2J way\n' >&2; exit 3; }"
    )
    driver = Command([run, "ban"], [run, "unban"], clock=ManualClock())
    with pytest.raises(FirewallError, match=r"program ended with 3: no\?\[2J way"):
        driver.impose([ban("192.0.2.7", 60.0)], 0.0)
    assert driver.banned() == {}
    (tmp_path / "works").touch()
    driver.impose([ban("192.0.2.7", 60.0)], 0.0)
    assert len(driver.banned()) == 1
    (tmp_path / "works").unlink()
    with pytest.raises(FirewallError):
        driver.tick(61.0)
    (tmp_path / "works").touch()
    assert driver.tick(62.0) is None
    assert driver.desired.bans == {}


def test_a_program_that_hangs_is_ended(tmp_path: Path) -> None:
    """After the timeout it is killed, and the error says so."""
    run = program(tmp_path, "exec sleep 60")
    start = time.monotonic()
    with pytest.raises(FirewallError, match=r"did not end within 0\.2 seconds"):
        Command([run, "ban"], timeout=0.2, ends=True).impose([ban("192.0.2.7", None)], 0.0)
    assert time.monotonic() - start < 10


def test_what_ends_bans_itself_is_not_asked_to(tmp_path: Path) -> None:
    """With `ends` the driver forgets bans at their end and calls nothing."""
    driver = Command([program(tmp_path, "exit 0"), "{seconds}"], ends=True, clock=ManualClock())
    driver.open([ban("192.0.2.7", 60.0)], 0.0)
    assert driver.tick(61.0) is None
    driver.purge(61.0)
    assert driver.desired.bans == {}
    assert calls(tmp_path) == ["<60>"]


def test_in_an_enforcer_bans_end_on_time(tmp_path: Path, helpers: Any) -> None:
    """The enforcer calls the program at the end of a ban, without being asked."""
    run = program(tmp_path, "exit 0")
    guard = spawn(Command([run, "ban", "{network}"], [run, "unban", "{network}"]))
    guard.open([], time.time())
    guard.impose([helpers.ban("192.0.2.7", 60), helpers.ban("192.0.2.8", 1)], time.time())
    helpers.until(lambda: "<unban><192.0.2.8>" in calls(tmp_path))
    assert {one for one, _ in guard.banned()} == {ban("192.0.2.7", None).network}
    guard.close(keep=True)


def test_tools_that_are_not_there() -> None:
    """A missing program is named; the environment of the caller has no say in which one runs."""
    with pytest.raises(FirewallError, match="mailguard-nothing is not installed"):
        tools.run(["mailguard-nothing"])
    with pytest.raises(FirewallError, match="cannot be run"):
        tools.run(["/nonexistent/program"])
    assert tools.run(["env"]).splitlines() == [f"PATH={tools.PATH}", "LC_ALL=C"]
