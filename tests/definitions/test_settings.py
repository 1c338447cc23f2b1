"""Settings: the shipped ones are right, a file changes only what it names, mistakes are all told at once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from mailguard.core.cases import run_case
from mailguard.core.detectors import BanRule
from mailguard.definitions.settings import DEFAULTS, Settings, load_settings
from mailguard.notation import covers
from mailguard.problems import ProblemsError
from tests.written import network

FOLDER = Path(__file__).resolve().parent.parent / "broken" / "settings"
BROKEN = sorted(FOLDER.glob("*.toml"))
PARSERS = ("dovecot", "postfix")
ACTIONS = ("ipset", "nftables", "recording")


def load(text: str) -> Settings:
    return load_settings("own.toml", text=text, parsers=PARSERS, actions=ACTIONS)


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_a_broken_file_gets_exactly_its_message(path: Path, golden: Callable[[Path, str], None]) -> None:
    """What an administrator reads after a mistake, word for word, with exit code 78."""
    with pytest.raises(ProblemsError) as caught:
        load_settings(path.name, text=path.read_text(encoding="utf-8"), parsers=PARSERS, actions=ACTIONS)
    told = str(caught.value).replace(str(DEFAULTS), "defaults.toml") + "\n"
    told = re.sub(r"defaults\.toml:\d+", "defaults.toml:N", told)
    golden(path.with_suffix(".txt"), told)
    assert caught.value.exit_code == 78


def test_every_message_belongs_to_a_file() -> None:
    """No text file is left over from a broken file that is gone."""
    assert {path.stem for path in FOLDER.glob("*.txt")} == {path.stem for path in BROKEN}


def test_the_shipped_settings_load_and_observe() -> None:
    """Out of the box: observing, with detectors for every hostile kind that can be judged by its count."""
    settings = load_settings(parsers=PARSERS, actions=ACTIONS)
    assert settings.general.mode == "observe"
    assert settings.logs == ()
    watched = {kind for detector in settings.detectors for kind in detector.on}
    assert watched >= {
        "auth_failure",
        "unknown_recipient",
        "relay_denied",
        "blocklisted",
        "policy_reject",
        "protocol_violation",
        "session_aborted",
        "rate_exceeded",
        "address_probe",
        "locked_out",
        "tls_failure",
        "connect",
    }


@pytest.mark.parametrize("detector", load_settings().detectors, ids=lambda detector: detector.name)
def test_every_shipped_detector_has_cases_for_both_sides(detector) -> None:  # type: ignore[no-untyped-def]
    """One case fires, one does not; each bans with an end or alerts; each says what it is about."""
    assert [case for case in detector.cases if case.fires is not None]
    assert [case for case in detector.cases if case.fires is None]
    assert all(run_case(detector, case) == pytest.approx(case.fires) for case in detector.cases)
    assert detector.about.endswith(".")
    assert detector.alert or detector.ban.longest < 31 * 86400


def test_every_key_of_the_defaults_has_a_comment() -> None:
    """defaults.toml is the reference of keys: each is explained beside it or above."""
    lines = DEFAULTS.read_text(encoding="utf-8").split("\n")
    head = lines[: next(n for n, line in enumerate(lines) if line.startswith("[detector."))]
    for number, line in enumerate(head):
        if re.match(r"[a-z_]+ = ", line):
            assert "#" in line or head[number - 1].startswith("#"), line
    described = "\n".join(line for line in head if line.startswith("#"))
    tables = tomllib.loads("\n".join(lines))["detector"]
    for key in {key for table in tables.values() for key in table}:
        assert re.search(rf"^# {key}\b", described, re.MULTILINE), key


def test_a_file_changes_only_the_keys_it_names() -> None:
    """Merging is key by key, down into a detector's ban; lists and cases are replaced."""
    settings = load(
        """
        [general]
        mode = "enforce"
        [never]
        networks = [{ network = "192.0.2.0/24", reason = "office" }]
        [policy]
        max_bans = 500
        [detector.password-guessing]
        ban = { first = "20m" }
        [detector.vrfy]
        enabled = false
        """
    )
    plain = load_settings(parsers=PARSERS, actions=ACTIONS)
    assert settings.general.mode == "enforce"
    assert settings.general.state == plain.general.state
    assert settings.policy.rules.max_bans == 500
    assert settings.policy.rules.forget == plain.policy.rules.forget
    by_name = {detector.name: detector for detector in settings.detectors}
    assert by_name["password-guessing"].ban == BanRule(1200.0, 4.0, 7 * 86400.0)
    assert by_name["password-guessing"].count == 5
    assert "vrfy" not in by_name
    assert len(by_name) == len(plain.detectors) - 1
    assert (network("192.0.2.0/24"), "office") in settings.setup().never
    assert (network("10.0.0.0/8"), "private use (RFC 1918)") in settings.setup().never


def test_private_networks_may_be_banned_on_request() -> None:
    """`private = false` leaves only this host itself on the list."""
    listed = load("[never]\nprivate = false").never.listed()
    assert network("127.0.0.0/8") in [entry for entry, _ in listed]
    assert network("192.168.0.0/16") not in [entry for entry, _ in listed]


def test_own_detectors_and_own_thresholds() -> None:
    """A new detector is a table; a changed threshold brings its own cases."""
    settings = load(
        """
        [detector.password-guessing]
        count = 10
        case = [{ at = { every = "1s", times = 10 }, fires = "9s" }]
        [detector.trap]
        about = "Nobody has any business with this."
        on = ["relay_denied"]
        key = "source"
        count = 1
        within = "1h"
        ban = { first = "30d", longest = "30d" }
        """
    )
    by_name = {detector.name: detector for detector in settings.detectors}
    assert by_name["password-guessing"].count == 10
    assert len(by_name["password-guessing"].cases) == 1
    assert by_name["trap"].ban == BanRule(30 * 86400.0, 1.0, 30 * 86400.0)
    assert by_name["trap"].where == "own.toml:5"


def test_a_ban_may_be_taken_away() -> None:
    """`ban = false` with `alert = true`: told, not banned."""
    settings = load("[detector.harvest]\nban = false\nalert = true\n")
    harvest = next(detector for detector in settings.detectors if detector.name == "harvest")
    assert harvest.ban is None
    assert harvest.alert


def test_logs_are_read() -> None:
    """Every kind of log, with one path or several."""
    settings = load(
        """
        [log.mail]
        path = "/var/log/mail.log"
        timezone = "Asia/Tokyo"
        parsers = ["postfix"]
        silent_after = "2h"
        [log.old]
        kind = "epost"
        path = ["/var/spool/epms", "/mnt/epms"]
        trust = "alert"
        [log.journal]
        kind = "journal"
        units = ["postfix*"]
        start = "begin"
        """
    )
    mail, old, journal = settings.logs
    assert (mail.name, mail.kind, mail.path, mail.timezone) == (
        "mail",
        "file",
        ("/var/log/mail.log",),
        "Asia/Tokyo",
    )
    assert mail.silent_after == 7200.0
    assert mail.may_ban
    assert not old.may_ban
    assert old.path == ("/var/spool/epms", "/mnt/epms")
    assert journal.units == ("postfix*",)
    assert journal.start == "begin"


def test_a_file_that_is_not_there_is_a_problem() -> None:
    """Told like any other mistake, with exit code 78."""
    with pytest.raises(ProblemsError) as caught:
        load_settings("/nonexistent/mailguard.toml")
    assert caught.value.exit_code == 78


def test_problems_stand_in_the_order_of_the_file() -> None:
    """They can be mended from top to bottom."""
    with pytest.raises(ProblemsError) as caught:
        load('[policy]\nforget = "x"\n[general]\nmode = "x"\n[never]\nown = "x"\n')
    lines = [int(problem.where.rpartition(":")[2]) for problem in caught.value.problems]
    assert lines == sorted(lines)
    assert len(lines) == 3


@pytest.mark.parametrize("address", ["64:ff9b::c000:207", "64:ff9b:1::5", "2001:0:4136:e378::1"])
def test_a_64_that_strangers_share_is_never_banned(address: str) -> None:
    """One guess through NAT64 would keep all of IPv4 out; no setting takes that off the list."""
    listed = load("[never]\nprivate = false").never.listed()
    found = network(address)
    assert [reason for known, reason in listed if covers(known, found)]
    assert not [reason for known, reason in listed if covers(known, network("2002:c000:207::1"))]
