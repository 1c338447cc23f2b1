"""What `mailguard epost audit` finds, and what it does not."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mailguard import locale
from mailguard.cli import epost as cli
from mailguard.cli.epost import findings_of, sentence
from mailguard.cli.eposts import Place
from mailguard.cli.messages import MESSAGES
from mailguard.cli.output import columns
from mailguard.epost import audit, tables
from mailguard.epost.filetime import to_filetime
from mailguard.firewall.epost import Epost
from mailguard.model import Ban, Network
from tests.epost.beside import network

GUARDED = [(network("192.0.2.20"), "our office"), (network("192.0.2.0/28"), "partner")]


class Site:
    """Folders of a server."""

    def __init__(self, path: Path):
        self.program, self.spool = path / "program", path / "spool"
        for folder in ("inbox/sato", "authlock", "iplock", "receivelog/MAIL1", "acceptlog/MAIL1"):
            (self.spool / folder).mkdir(parents=True)
        self.program.mkdir()
        self.table(b"")
        self.effect(b"#<> default\n#blank false\n")
        (self.program / "ordb.dat").write_bytes(b"dnsbl.example\n")
        (self.program / "mail.dat").write_bytes(b"RBL:dnsbl.example\n")

    def table(self, data: bytes, name: str = "rejectsmtpip.dat") -> None:
        (self.program / name).write_bytes(data)

    def effect(self, data: bytes) -> None:
        (self.program / "effect.dat").write_bytes(data)

    def log(self, name: str, data: bytes) -> None:
        (self.spool / name / "MAIL1" / "261122.log").write_bytes(data)

    def found(self, speaks: dict[Network, str] | None = None) -> dict[str, list[str]]:
        """Ids of the findings with the lines they are at; every one has a sentence."""
        found: dict[str, list[str]] = {}
        programs, spools = [str(self.program)], [str(self.spool)]
        for one in findings_of(programs, spools, GUARDED, (), lambda who: (speaks or {}).get(who, "")):
            assert sentence(one)
            found.setdefault(one.id, []).append(os.path.basename(one.where))
        return found


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_who_must_get_in_and_does_not(site: Site) -> None:
    """Own and never-listed hosts in rows of others are found; where a white-list row above saves them they
    are not; rows that are over or comments do no harm."""
    site.table(
        b"192.0.2.20\t0\n'192.0.2.20\t0\n192.0.2.1\ttrue\n192.0.2.1\t0\n192.0.2.0/24\t0\n198.51.100.1\t0\n"
    )
    assert site.found()["caught"] == ["rejectsmtpip.dat:1", "rejectsmtpip.dat:5"]
    site.table(b"192.0.2.20\ttrue\n192.0.2.0/28\ttrue\n192.0.2.0/24\t0\n")
    assert "caught" not in site.found()


def test_partners_are_found_by_what_speaks_for_them(site: Site) -> None:
    """A row that keeps out an address of good standing is severe."""
    site.table(b"198.51.100.9\t%d\n203.0.113.9\t0\n" % to_filetime(1_795_000_000))
    assert site.found({network("198.51.100.9"): "mail"})["partner"] == ["rejectsmtpip.dat:1"]


def test_damaged_rows_are_told_and_counted(site: Site) -> None:
    """Each with its line; of many the first twenty, and how many more."""
    site.table(b"192.0.2*\n2001:DB8::1\t0\nnonsense\n192.0.2.9\tno\n192.0.2.9\t%s\n" % (b"0" * 130))
    found = site.found()
    for number, name in enumerate(("star", "not-plain", "no-pattern", "no-value", "too-long"), 1):
        assert found[f"row-{name}"] == [f"rejectsmtpip.dat:{number}"]
    site.table(b"nonsense\n" * 50)
    found = site.found()
    assert len(found["row-no-pattern"]) == 20
    assert found["more"] == ["rejectsmtpip.dat"]


def test_order_and_ends_of_a_table(site: Site) -> None:
    """A white-list row below what refuses, and a last line without its end."""
    site.table(b"198.51.100.0/24\t0\n198.51.100.7\ttrue")
    found = site.found()
    assert found["white-behind"] == found["table-no-end"] == ["rejectsmtpip.dat:2"]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (b"192.0.2.1\ttrue\n", "effect-tab"),
        (b"# office\n", "effect-hash-comment"),
        (b"* true\n", "effect-open"),
        (b"*.*.*.*\n", "effect-open"),
        (b"example.jp true\n", "effect-local-domain"),
        (b"*.example.jp true\n", "effect-local-domain"),
        (b"example.net true\n", "effect-domain"),
        (b"10.0.0.0/4 true\n", "effect-no-pattern"),
        (b"16.0.0.0/4 true\n", "effect-wide"),
        (b"192.0.2.1 false", "effect-no-end"),
        (b"192.0.2.0/24 false\n192.0.2.9 true\n", "effect-behind"),
        (b"*.*.*.* only\n192.0.2.9 true\n", "effect-behind-only"),
        (b"* norelay\n192.0.2.9 true\n", "effect-behind-all"),
    ],
)
def test_dangerous_lines_of_effect(site: Site, line: bytes, name: str) -> None:
    """Each is found, in the server's effect.dat and in one of a mailbox; without it nothing is."""
    site.log("acceptlog", b"[22/Nov/2026:08:20:44], (example.jp), [192.0.2.10]:25, Client accept now.\n")
    clean = site.found()
    assert name not in clean
    assert "effect-personal" not in clean
    site.effect(b"#<> default\n#blank false\n" + line)
    assert name in site.found()
    site.effect(b"#<> default\n#blank false\n")
    (site.spool / "inbox" / "sato" / "effect.dat").write_bytes(line)
    found = site.found()
    assert name in found
    assert found["effect-personal"] == ["effect.dat"]


def test_the_defaults_stay_first(site: Site) -> None:
    """effect.dat whose first two lines are others."""
    site.effect(b"192.0.2.9 true\n#<> default\n#blank false\n")
    assert site.found()["effect-head"] == ["effect.dat:1"]


def test_lists_that_are_not_asked(site: Site) -> None:
    """ordb.dat without a zone, mail.dat without RBL rules, or neither file."""
    assert not {"ordb-none", "mail-no-rbl"} & set(site.found())
    (site.program / "ordb.dat").write_bytes(b"'dnsbl.example\n \n")
    (site.program / "mail.dat").unlink()
    assert {"ordb-none", "mail-no-rbl"} <= set(site.found())


def test_vrfy_answered_refused_and_never_asked(site: Site) -> None:
    """From the dialogue: an account told is a warning; whoever asked nothing is not seen."""
    assert "vrfy-no-log" in site.found()
    line = b"[22/Nov/2026:00:01:46], 347c89c8, %s\n"
    site.log("receivelog", line % b"EHLO pc")
    assert "vrfy-not-asked" in site.found()
    site.log("receivelog", line % b"VRFY sato" + line % b"252 2.0.0 Cannot VRFY user; try RCPT")
    assert "vrfy-refused" in site.found()
    answer = line.replace(b"347c89c8", b"347c8000") % b"250 2.0.0 other session"
    site.log("receivelog", line % b"VRFY sato" + answer + line % b"252 no")
    assert "vrfy-answered" not in site.found()
    site.log("receivelog", line % b"VRFY sato" + line % b"250 2.0.0 Sato <sato@example.jp>")
    assert "vrfy-answered" in site.found()


def test_lock_outs_that_never_come(site: Site) -> None:
    """No counter and no row; high counters and no row; a few; and rows."""
    assert {"auth-lock-off", "ip-lock-off"} <= set(site.found())
    (site.spool / "authlock" / "203.0.113.9.smtp").write_text("500")
    assert "auth-lock-never" in site.found()
    (site.spool / "authlock" / "203.0.113.9.smtp").write_text("3")
    (site.spool / "iplock" / "2001$db8$$1.smtp").write_text("3")
    assert {"auth-lock-not-yet", "ip-lock-not-yet"} <= set(site.found())
    filetime = to_filetime(1_795_000_000)
    site.table(b"203.0.113.9\t%d\n203.0.113.8\t%d\tiplock\n" % (filetime, filetime))
    assert not {name for name in site.found() if "-lock-" in name}


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    """A folder that is missing, and nothing at all."""
    nowhere = str(tmp_path / "nowhere")
    found = {one.id for one in findings_of([nowhere], [nowhere], [], (), lambda who: "")}
    assert {"program-missing", "spool-unreadable", "unseen-registry", "unseen-domains"} <= found


def test_odd_things_in_the_folders(site: Site) -> None:
    """Links that lead nowhere or in a circle, pipes in place of files, counters that are none: nothing of it
    ends the audit, and nothing is waited for."""
    (site.spool / "receivelog" / "MAIL1" / "261122.log").symlink_to("nowhere")
    (site.spool / "inbox" / "circle").symlink_to("circle")
    (site.spool / "inbox" / "again").symlink_to("../inbox")
    for pipe in (site.program / "rejectpopip.dat", site.spool / "iplock" / "203.0.113.9.smtp"):
        os.mkfifo(pipe)
    (site.program / "rejectimapip.dat").mkdir()
    (site.spool / "authlock" / "203.0.113.9.smtp").write_bytes(b"\xff\xfe")
    (site.spool / "inbox" / os.fsdecode(b"\x93\xfa")).mkdir()
    found = site.found()
    assert found["table-unreadable"] == ["rejectpopip.dat", "rejectimapip.dat"]
    assert "vrfy-no-log" in found


def test_folders_that_may_not_be_read_are_said(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not told as a log that is off."""
    shut = {str(site.spool / folder) for folder in ("inbox/sato", "acceptlog")}
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) not in shut)
    told = list(findings_of([str(site.program)], [str(site.spool)], [], (), lambda who: ""))
    found = {one.id: one for one in told}
    assert found["unseen-folders"].args["count"] == 2
    assert "acceptlog" not in str(found["logs-off"].args["logs"])
    assert "inlog" in str(found["logs-off"].args["logs"])


def test_a_refusal_of_one_host_above_its_white_list_row(site: Site) -> None:
    """The row that a lock-out wrote and the white-list row that a hand put below it; but one that is over
    keeps nobody from it."""
    now = to_filetime(time.time())
    site.table(b"192.0.2.77\t%d\n192.0.2.77\ttrue\n" % now)
    assert site.found()["white-behind"] == ["rejectsmtpip.dat:2"]
    site.table(b"192.0.2.77\ttrue\n192.0.2.77\t%d\n" % now)
    assert "white-behind" not in site.found()
    rows = tables.parse(b"192.0.2.77\t%d\n192.0.2.77\ttrue\n" % to_filetime(1_795_000_000))
    assert not list(audit._behind("", rows, 600.0, 1_795_000_601.0))
    assert list(audit._behind("", rows, 600.0, 1_795_000_599.0))


def test_a_binary_effect_is_counted(site: Site) -> None:
    """What is wrong with each of a thousand lines is told of the first twenty."""
    site.effect(b"#<> default\n#blank false\n" + b"nonsense of all kinds\n" * 1000)
    assert sum(name == "effect.dat:3" for name in site.found()["effect-no-type"]) == 1
    assert len(site.found()["effect-no-type"]) == 20
    assert "more" in site.found()


def test_own_rows_are_known_however_the_folder_is_named(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the program folder is given from the current one."""
    state = tmp_path / "state.sqlite"
    driver = Epost(f"{site.program}//", ("smtp",), state=str(state))
    driver.open([Ban(network("192.0.2.20"), time.time(), None)], time.time())
    driver.close(keep=True)
    where = str(site.program)
    monkeypatch.setattr(cli, "place_of", lambda _: Place(where, str(state)))
    monkeypatch.chdir(site.program.parent)
    for folder in (where, f"{where}/", "program", "./program/../program"):
        found = {one.id for one in findings_of([folder], [], GUARDED, (), lambda who: "")}
        assert "caught" not in found


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.command, list(arguments), standalone_mode=False)


def test_exit_codes_and_json(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """0 nothing, 1 warnings, 2 severe, 66 no folder; JSON has id, place, arguments and the sentence."""
    monkeypatch.setenv("MAILGUARD_SOCKET", str(tmp_path / "none"))
    monkeypatch.delenv("MAILGUARD_CONFIG", raising=False)
    where = ("--program", str(site.program), "--spool", str(site.spool))
    (site.spool / "authlock" / "203.0.113.9.smtp").write_text("3")
    (site.spool / "iplock" / "203.0.113.9.smtp").write_text("3")
    assert run("audit", *where).return_value == 0
    site.table(b"nonsense\n")
    assert run("audit", *where).return_value == 1
    site.table(b"192.0.2.77\t0\n")
    result = run("audit", *where, "--own", "192.0.2.77", "-o", "json")
    assert result.return_value == 2
    first = json.loads(result.stdout.splitlines()[0])
    assert (first["severity"], first["id"], first["args"]["network"]) == ("severe", "caught", "192.0.2.77")
    assert first["where"].endswith("rejectsmtpip.dat:1")
    none = run("audit", "--program", str(tmp_path / "no"), "--spool", str(tmp_path / "no"))
    assert none.return_value == 66


def test_every_finding_has_a_sentence() -> None:
    """No id in the audit without its words."""
    source = (Path(__file__).parents[2] / "mailguard" / "epost" / "audit.py").read_text()
    import re

    for name in re.findall(r'(?:SEVERE|WARNING|NOTE|UNSEEN), "([a-z-]+)"', source):
        assert f"audit.{name}" in MESSAGES


def test_rows_in_our_form_that_no_list_has_are_named(site: Site) -> None:
    """Those of a list that was lost; not those that a hand writes, nor what ended or is a comment."""
    site.table(b"198.51.100.1\n198.51.100.2\t\n'198.51.100.3\t0\n198.51.100.4\t133977293793391816\n")
    assert "rows-unknown" not in site.found()
    site.table(b"198.51.100.1\n198.51.100.5\t0\n2001:db8::/64\t0\n198.51.100.6\t0\tiplock\n")
    assert site.found()["rows-unknown"] == ["rejectsmtpip.dat:2"]


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("width", [40, 80, 132])
def test_findings_fit_the_terminal(
    site: Site, monkeypatch: pytest.MonkeyPatch, language: str, width: int
) -> None:
    """No line is wider than the terminal but one that holds a path, which stands whole with its line number
    at the end of a line; wide characters count twice, and all sentences begin in one column."""
    monkeypatch.setattr(cli, "is_terminal", lambda: True)
    monkeypatch.setattr(cli, "get_terminal_size", lambda: os.terminal_size((width, 24)))
    site.table(b"192.0.2.0/24\t0\n192.0.2*\n198.51.100.5\t0\nnonsense\n" * 3)
    arguments = ["--program", str(site.program), "--spool", str(site.spool), "--own", "192.0.2.20"]
    locale.use(language)
    try:
        said = CliRunner().invoke(cli.command, ["audit", *arguments]).output
    finally:
        locale.use("en")
    lines = said.splitlines()
    paths = [line for line in lines if str(site.program) in line or str(site.spool) in line]
    assert any(line.endswith("rejectsmtpip.dat:1") for line in paths)
    assert all(columns(line) <= width for line in lines if line not in paths)
    sentences = [line for line in lines if line.startswith("  ")]
    assert len({len(line) - len(line.lstrip()) for line in sentences}) == 1
    assert ("行" in said) == (language == "ja")
