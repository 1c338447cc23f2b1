"""In which language commands and the guard speak, on which terminals, and in which forms never."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard import cli, locale
from mailguard.cli import messages, moments, output, speaking, wide, wrongs
from mailguard.daemon import words
from mailguard.locale.said import said
from mailguard.model import Notice
from mailguard.problems import Problem
from tests.cli.test_telling import STATUS
from tests.locale.texts import commands

JAPANESE = re.compile(r"[ぁ-んァ-ヶ一-龠]")
JA = {"LANG": "ja_JP.UTF-8"}


def mailguard(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """One command in a process of its own, with that environment and no other language in it."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name != "LANG" and name != "LANGUAGE" and not name.startswith(("LC_", "PYTHONIO", "PYTHONUTF"))
    }
    return subprocess.run(
        [sys.executable, "-m", "mailguard", *arguments],
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env=kept | environment,
    )


# ---------------------------------------------------------------- which language


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "ja_JP.UTF-8"}, "ja"),
        ({"LANG": "ja_JP.eucJP"}, "ja"),
        ({"LANG": "ja"}, "ja"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "ja_JP.UTF-8", "LC_MESSAGES": "C"}, "en"),
        ({"LANG": "ja_JP.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
        ({"LANG": "C", "LC_MESSAGES": "ja_JP.UTF-8"}, "ja"),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "ja_JP.UTF-8"}, "ja"),
        ({"LANG": "ja_JP.UTF-8", "LC_ALL": ""}, "ja"),
        ({"LANG": "en_US.UTF-8", "LANGUAGE": "ja"}, "ja"),
        ({"LANG": "en_US.UTF-8", "LANGUAGE": "xx:ja:en"}, "ja"),
        ({"LANG": "ja_JP.UTF-8", "LANGUAGE": "en:ja"}, "en"),
        ({"LANG": "C", "LANGUAGE": "ja"}, "en"),
        ({"LANGUAGE": "ja"}, "en"),
        ({"LANG": "../../ja"}, "en"),
        ({"LANG": "en_US.UTF-8", "LANGUAGE": "../ja/../ja"}, "en"),
    ],
)
def test_the_environment_names_the_language(environment: dict[str, str], language: str) -> None:
    """By the rules of gettext."""
    assert locale.asked(environment) == language


@pytest.mark.parametrize(
    ("told", "environment", "language"),
    [
        ("auto", JA, "ja"),
        ("auto", {}, "en"),
        ("ja", {}, "ja"),
        ("ja", {"LC_ALL": "C"}, "ja"),
        ("en", JA, "en"),
    ],
)
def test_the_settings_come_before_the_environment(
    tmp_path: Path, told: str, environment: dict[str, str], language: str
) -> None:
    """`[general] language`; "auto" leaves it to the environment."""
    settings = tmp_path / "mailguard.toml"
    settings.write_text(f'[general]\nlanguage = "{told}"\n')
    assert speaking.language(["check", "--config", str(settings)], environment) == language


@pytest.mark.parametrize("content", [b"[general", b"\xff", b"general = 3", b"[general]\nlanguage = 3"])
def test_settings_that_are_wrong_settle_nothing(tmp_path: Path, content: bytes) -> None:
    """`check` says what is wrong with them; here they count as not there."""
    settings = tmp_path / "mailguard.toml"
    settings.write_bytes(content)
    assert speaking.language([f"--config={settings}"], JA) == "ja"


@pytest.mark.parametrize("option", [["-o", "json"], ["-oplain"], ["--output", "csv"], ["--output=jsonl"]])
def test_forms_for_programs_are_nobodys_language(option: list[str]) -> None:
    """Plain lines, JSON and the others are the same bytes in every language."""
    assert speaking.language(["bans", *option], JA) == "en"
    assert speaking.language(["bans", "--", *option], JA) == "ja"


# ---------------------------------------------------------------- commands


@pytest.mark.parametrize("language", ["ja", "en"])
def test_every_command_helps_in_the_language(speak: Any, language: str) -> None:
    """No sentence of `--help` is left in the other language."""
    speak(LANG=f"{language}_XX.UTF-8")
    speaking.begin([])
    speaking.localize(cli.program)
    for command in commands():
        context = click.Context(command, info_name="mailguard")
        told = command.get_help(context)
        assert bool(JAPANESE.search(told)) == (language == "ja"), told
        if language == "ja":
            left = re.findall(r"(?<![\w/.:=-])[A-Z]?[a-z]{2,} [a-z]{2,} [a-z]{2,} [a-z]{2,}", told)
            assert not left, told
            widest = max(output.columns(line) for line in told.splitlines())
            assert widest <= 80


def test_languages_follow_each_other(speak: Any) -> None:
    """English stays with each command: another language may be spoken later in the same process."""
    command = cli.program.get_command(click.Context(cli.program), "ban")
    assert command is not None
    english = command.help
    speak(**JA)
    speaking.begin([])
    speaking.localize(command)
    assert command.help != english
    speak()
    speaking.begin([])
    speaking.localize(command)
    assert command.help == english


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "使い方: mailguard"),
        (["baan"], "コマンド 'baan' はありません。 'ban' の間違いではありませんか?"),
        (["ban"], "エラー: 引数がありません: 'NETWORK'"),
        (["ban", "192.0.2.7/24"], "ネットワークは 192.0.2.0/24 です"),
        (["bans", "--nonsense"], "オプション '--nonsense' はありません。"),
        (["bans", "-o"], "オプション '-o' には値が必要です。"),
        (["bans", "-o", "xml"], "'xml' は指定できません。"),
        (["status", "--socket", "/nowhere"], "mailguard は稼働していません: 接続できません"),
        (["parser", "list"], "E-Post SMTP 受信: receivelog"),
        (["explain", "nonsense"], "行         nonsense"),
    ],
)
def test_what_commands_say(speak: Any, run: Any, arguments: list[str], says: str) -> None:
    """Answers, usage errors and click's own words."""
    speak(**JA)
    said = run(*arguments)
    assert says in said.out + said.err


def test_status_in_japanese(speak: Any, run: Any, guard: Any) -> None:
    """Headline, warnings, facts; what the guard itself calls blindness, too."""
    guard.answers["status"] = STATUS | {"blind": ["log-silent /var/log/mail.log"]}
    speak(**JA, TZ="Asia/Tokyo")
    said = run("status").out
    assert "mailguard は稼働していますが、警告があります" in said
    assert "見落としている恐れがあります: /var/log/mail.log への書き込みがありません" in said
    assert "/var/log/mail.log\t10秒前\t" in said
    english = run("status", "-o", "plain").out
    assert "mailguard stands, with a warning" in english
    assert not JAPANESE.search(english)


def test_problems_in_japanese(speak: Any) -> None:
    """The labels always, the text where it is known; the rest stays."""
    problems = [
        Problem("a.toml:3", "[general]: unknown key 'foo'", instead="There are: mode, state."),
        Problem("a.toml:4", "something that nobody translated", "a reason\nof two lines"),
    ]
    speak(**JA)
    speaking.begin([])
    assert wrongs.told(problems) == (
        "エラー: a.toml:3: [general]: 不明なキー 'foo' があります\n"
        "  対処: 指定できるもの: mode, state。\n"
        "エラー: a.toml:4: something that nobody translated\n"
        "  理由: a reason\n        of two lines"
    )
    speak()
    speaking.begin([])
    assert wrongs.told(problems) == "\n".join(str(problem) for problem in problems)


def test_times_and_lengths(speak: Any) -> None:
    """As people write them, and as `--since` takes them again."""
    speak(**JA)
    speaking.begin([])
    assert locale.length(5400) == "1時間30分"
    assert moments.rough(8 * 86400 + 7300) == "8日2時間"
    assert moments.left(None) == "無期限"
    assert re.fullmatch(r"2026年11月22日 \d\d:00:00 \S+", moments.local(1795312800))
    assert messages.text("bans.title", count=3) == "有効な遮断 3 件"


# ---------------------------------------------------------------- terminals


@pytest.mark.parametrize(
    ("environment", "charset", "japanese"),
    [
        ({"LANG": "ja_JP.UTF-8"}, "utf-8", True),
        ({"LANG": "ja_JP.eucJP"}, "euc_jp", True),
        ({"LANG": "ja_JP.SJIS"}, "shift_jis", True),
        ({"LANG": "ja_JP.UTF-8", "PYTHONIOENCODING": "ascii"}, "ascii", False),
        ({"LANG": "ja_JP.UTF-8", "PYTHONIOENCODING": "latin-1"}, "latin-1", False),
        ({"LANG": "ja_JP.nonsense"}, "utf-8", True),
        ({"LC_ALL": "C"}, "utf-8", False),
        ({"LC_ALL": "POSIX", "LANGUAGE": "ja"}, "utf-8", False),
        ({}, "utf-8", False),
    ],
)
def test_terminals_get_what_they_can_show(environment: dict[str, str], charset: str, japanese: bool) -> None:
    """The character set of the locale, installed or not; English where that has no Japanese. No crash."""
    said = mailguard("--help", **environment)
    assert (said.returncode, said.stderr) == (0, b"")
    assert bool(JAPANESE.search(said.stdout.decode(charset))) == japanese
    wrong = mailguard("nonsense", **environment)
    assert wrong.returncode == 64
    assert bool(JAPANESE.search(wrong.stderr.decode(charset))) == japanese


@pytest.mark.parametrize("charset", ["ascii", "euc_jp", "latin-1"])
def test_a_character_that_is_missing_ends_nothing(charset: str) -> None:
    """What stands in a log is written as numbers where the terminal has not the characters."""
    said = mailguard("explain", "한글 Ωmega 佐藤", LANG="C", PYTHONIOENCODING=charset)
    assert said.returncode == 1
    assert b"should not happen" not in said.stderr
    assert b"\\ud55c" in said.stdout


# ---------------------------------------------------------------- wide characters

WORDS = st.text(st.sampled_from("漢字かなカナ、。「」()（）ーabc XYZ-0123ﾊﾝ"), max_size=80)


@given(text=WORDS, width=st.integers(10, 60))
def test_lines_fit_the_columns(text: str, width: int) -> None:
    """No line is wider than the terminal but one piece that is; nothing is lost, and no line begins with a
    closing mark that something stood before."""
    lines = wide.wrap(text, width)
    assert "".join("".join(lines).split()) == "".join(text.split())
    pieces = set(wide.pieces(" ".join(text.split())))
    for line in lines:
        assert output.columns(line) <= width or line in pieces
    for line in lines[1:]:
        assert line[0] not in "、。）」" or text.split()[0][:1] in "、。）」" or f" {line[0]}" in text


@given(cells=st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=6))
def test_cells_stand_below_each_other(cells: list[tuple[str, str]]) -> None:
    """The second column of a list begins at the same column of the terminal in every row, whatever
    characters stand before it."""
    formatter = wide.WideFormatter(width=400)
    formatter.write_dl([(f"<{first.strip()}", "|") for first, _ in cells], col_max=200)
    places = {output.columns(line[: line.rindex("|")]) for line in formatter.getvalue().splitlines()}
    assert len(places) == 1


@given(rows=st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=6))
def test_tables_stand_in_columns(rows: list[tuple[str, str]]) -> None:
    """A table on a terminal: every cell of a column begins at the same column, counted as terminals do."""
    import io
    from unittest.mock import patch

    class Terminal(io.StringIO):
        encoding = "utf-8"  # type: ignore[assignment]

        def isatty(self) -> bool:
            return True

    screen = Terminal()
    environment = {"COLUMNS": "600", "NO_COLOR": "1", "TERM": "xterm"}
    with patch.object(sys, "stdout", screen), patch.dict(os.environ, environment):
        output.write_table("auto", "", ("列", "b"), [(f"<{a}", f"|{b}") for a, b in rows])
    plain = re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue())
    places = {output.columns(line[: line.index("|")]) for line in plain.splitlines() if "|" in line}
    assert len(places) == 1


@given(text=st.text(max_size=40))
def test_columns_are_those_of_the_tables(text: str) -> None:
    """Counted as `rich` counts for what people write: letters, Japanese and other wide characters."""
    from rich.cells import cell_len

    kept = "".join(char for char in text if char.isascii() or JAPANESE.match(char) or char in "、。（）ﾊ「」")
    assert output.columns(kept) == cell_len(kept) or any(ord(char) < 32 or ord(char) == 127 for char in kept)


# ---------------------------------------------------------------- the guard


@pytest.mark.parametrize(
    ("setting", "terminal", "japanese"),
    [("auto", False, False), ("auto", True, True), ("ja", False, True), ("en", True, False)],
)
def test_the_guard_speaks_english_into_logs(speak: Any, setting: str, terminal: bool, japanese: bool) -> None:
    """Unless the settings say otherwise; on a terminal it follows the environment."""
    speak(**JA)
    words.speak(setting, JA, terminal=terminal)
    said = words.sentence(Notice("log-silent", {"log": "mail.log", "seconds": 7200, "patience": 600}, True))
    assert bool(JAPANESE.search(said)) == japanese
    if japanese:
        assert said == "監視不能: mail.log への書き込みが2時間ありません (通常の間隔は10分以内)"
    else:
        assert said.startswith("BLIND: mail.log has been silent for 2h")


def test_a_guard_that_is_told_to_speaks_japanese_but_effects_stay(speak: Any) -> None:
    """`language = "ja"`: sentences change, the notation of effects does not."""
    import io

    from mailguard.daemon.printer import Printer
    from mailguard.model import Lift
    from mailguard.notation import parse_network

    network = parse_network("192.0.2.7")
    assert network is not None
    speak()
    out, err = io.StringIO(), io.StringIO()
    printer = Printer("plain", out, err)
    printer.speak("ja")
    printer.notice(Notice("firewall", {"words": "bans by nftables (nftables, table inet mailguard)"}))
    printer.effect(Lift(network, 1795312800.0, "unban"))
    assert "ファイアウォール: nftables で遮断します (nftables, table inet mailguard)" in err.getvalue()
    assert "lift 192.0.2.7: unban" in out.getvalue()


def test_several_texts_in_one() -> None:
    """What is put together with semicolons is taken apart again, also where one of the texts holds some."""
    locale.use("ja")
    try:
        away = "/x/rejectsmtpip.dat: No such file (is the share mounted? where there was never such a file, "
        away += "create it once, empty; mailguard makes no file beside programs)"
        told = said(
            f"bans by action epost (tables); rows in a.dat stand until mailguard takes them away; {away}"
        )
        assert told.count("; ") == 2
        assert "stand until" not in told
        assert "create it once" not in told
        assert "create it once" not in said(f"not yet: {away}")
        assert said("nobody knows this; nor that") == "nobody knows this; nor that"
        assert said("; " * 50) == "; " * 50
    finally:
        locale.use("en")
