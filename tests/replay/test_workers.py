"""The same output byte for byte: for any number of workers, size of pieces, prefilter, and compression."""

from __future__ import annotations

import bz2
import gzip
import itertools
import lzma
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailguard.core.rules import Parser
from mailguard.core.scanner import Scanner
from mailguard.feeds.archives import zstd_module
from mailguard.feeds.interface import LogOptions
from mailguard.replay import Summary, replay
from mailguard.replay.pieces import Parse, Piece, packed, together, unpacked
from mailguard.replay.processes import Processes
from mailguard.replay.sources import PACKED, PLAIN
from mailguard.replay.workers import Definitions
from tests.engines import HERE

from .conftest import Try, failed, login, mail, output

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: bytes(zstd_module().compress(data)),
}


def story(seed: int, count: int, span: int = 20_000) -> str:
    """A log of mixed lines in order of time."""
    chance = random.Random(seed)
    lines = []
    for at in sorted(chance.randrange(span) for _ in range(count)):
        host = f"192.0.2.{chance.randrange(12)}"
        draw = chance.random()
        if draw < 0.6:
            lines.append(failed(at, host, f"u{chance.randrange(5)}"))
        elif draw < 0.7:
            lines.append(login(at, host))
        elif draw < 0.9:
            lines.append(mail(at, host, f"p{chance.randrange(3)}@example.org"))
        else:
            lines.append("no line of ours\n")
    return "".join(lines)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "mail.log"
    path.write_text(story(1, 1500))
    os.utime(path, (1_760_100_000, 1_760_100_000))
    return path


@pytest.mark.parametrize("workers", [2, 7])
def test_any_number_of_workers(rehearse: Try, log: Path, workers: int) -> None:
    """Sessions that begin in one piece and end in another are joined all the same."""
    one = output(rehearse(log, workers=1))
    assert len(one) > 5000
    assert output(rehearse(log, workers=workers, piece=8000)) == one


@pytest.mark.parametrize("packer", PACKERS)
def test_compressed_is_the_same(rehearse: Try, log: Path, packer: str) -> None:
    """In whatever way, read by this process or by others, in parts of any size."""
    plain = output(rehearse(log))
    file = log.with_suffix(f".{packer}")
    file.write_bytes(PACKERS[packer](log.read_bytes()))
    os.utime(file, (1_760_100_000, 1_760_100_000))
    for workers, piece in ((1, 1 << 20), (1, 5000), (2, 20_000)):
        assert output(rehearse(file, workers=workers, piece=piece)) == plain


@pytest.mark.parametrize("prefilter", HERE)
def test_any_prefilter(rehearse: Try, log: Path, prefilter: str) -> None:
    """The prefilters find the same lines."""
    assert output(rehearse(log, prefilter=prefilter)) == output(rehearse(log))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 1000),
    count=st.integers(5, 200),
    cuts=st.lists(st.integers(0, 200), max_size=3),
    piece=st.integers(200, 30_000),
    workers=st.sampled_from([1, 2]),
)
def test_rotated_pieces_are_the_whole(
    rehearse: Try, tmp_path: Path, seed: int, count: int, cuts: list[int], piece: int, workers: int
) -> None:
    """A log that was rotated at any lines, some of it compressed, is judged as the one it was."""
    lines = story(seed, count).splitlines(keepends=True)
    whole = tmp_path / "whole.log"
    whole.write_text("".join(lines))
    folder = tmp_path / "rotated"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    edges = [0, *sorted(min(cut, len(lines)) for cut in cuts), len(lines)]
    for number, (begin, end) in enumerate(itertools.pairwise(edges)):
        data = "".join(lines[begin:end]).encode()
        if data:
            name = folder / f"mail.log.{len(cuts) - number}"
            name.write_bytes(gzip.compress(data) if number % 2 else data)
    one, parts = rehearse(whole, piece=1 << 20), rehearse(folder, workers=workers, piece=piece)
    logs = f'"logs": {len(parts.sources)}'
    assert output(parts).replace(logs, '"logs": 1') == output(one)


def test_overlapping_logs_merge_by_stamp(rehearse: Try, tmp_path: Path) -> None:
    """Logs of the same hours interleave; with workers, too."""
    names = []
    for name in ("a", "b", "c"):
        path = tmp_path / f"{name}.log"
        path.write_text(story(ord(name), 400))
        names.append(path)
    one = output(rehearse(*names, workers=1))
    assert output(rehearse(*names[::-1], workers=2, piece=3000)) == one
    assert len(one) > 5000


def test_the_rehearsal_is_the_replay(rehearse: Try, log: Path, parsers: Sequence[Parser]) -> None:
    """What the plain loop over whole logs does, line by line, the rehearsal in pieces does too."""
    from mailguard.core.engine import Engine, Setup
    from mailguard.core.judge import Judge
    from mailguard.core.sessions import Sessions
    from mailguard.feeds.recorded import RecordedLog
    from mailguard.replay.rows import row

    from .conftest import DETECTORS, moment

    judge = Judge(Scanner(parsers), Sessions(parsers), Engine(Setup(DETECTORS)), evidence=False)
    judge.enforcing = True
    summary = Summary()
    effects = list(replay([RecordedLog(str(log), LogOptions(timezone="UTC"))], judge, summary))
    rehearsed = rehearse(log, piece=7000)
    trial = rehearsed.trials[0]
    entries = [getattr(entry, "effect", entry) for entry in trial.timeline.entries]
    assert [row(effect, moment) for effect in entries] == [row(effect, moment) for effect in effects]
    mine, plain = rehearsed.summary.row(), summary.row()
    mine["summary"] |= {"imposed": trial.summary.imposed, "alerts": trial.summary.alerts}
    assert mine == plain
    assert sum(trial.timeline.stopped.values()) == judge.engine.counts["under_ban"] > 0


def test_a_piece_is_a_function_of_its_bytes(parsers: Sequence[Parser], log: Path) -> None:
    """Whatever was parsed before, and however often: the same piece gives the same, through bytes as well."""
    parse = Parse(Scanner(parsers))
    size = log.stat().st_size
    middle = log.read_bytes().index(b"\n", size // 2) + 1
    first = Piece(str(log), PLAIN, 1.76e9, "UTC", (), None, 0, 0, middle)
    second = first._replace(number=1, start=middle, end=size)
    whole = first._replace(end=size)
    a, b = parse(first), parse(second)
    assert parse(second) == b
    assert Parse(Scanner(parsers))(second) == b
    assert parse(first) == a
    assert a.drafts + b.drafts == parse(whole).drafts
    assert a.records + b.records == parse(whole).records
    assert unpacked(packed(b)) == b
    parts = list(parse.parts(second))
    assert isinstance(parts[0].drafts, list) is not parse.scanner.native
    sent = [unpacked(packed(part), parse.scanner.table, str(log)) for part in parts]
    assert together(parts) == together(sent) == b


def test_a_part_of_a_compressed_log_can_be_asked_for_alone(parsers: Sequence[Parser], log: Path) -> None:
    """Who has not read the parts before it reads and drops them."""
    file = log.with_suffix(".gz")
    file.write_bytes(gzip.compress(log.read_bytes()))
    parts = []
    parse = Parse(Scanner(parsers))
    piece = Piece(str(file), PACKED, 1.76e9, "UTC", (), None, 0, size=30_000)
    for number in range(100):
        parts.append(parse(piece._replace(number=number)))
        if parts[-1].complete:
            break
    assert len(parts) > 4
    for number in (3, 1, 2):
        assert Parse(Scanner(parsers))(piece._replace(number=number)) == parts[number]
    assert parse(piece._replace(number=2)) == parts[2]


def test_a_worker_that_is_killed_loses_nothing(parsers: Sequence[Parser], log: Path) -> None:
    """What it owed is parsed by the parent."""
    size = log.stat().st_size
    data = log.read_bytes()
    points = [0] + [data.index(b"\n", size * n // 9) + 1 for n in range(1, 9)] + [size]
    pieces = [
        Piece(str(log), PLAIN, 1.76e9, "UTC", (), None, number, begin, end)
        for number, (begin, end) in enumerate(itertools.pairwise(points))
    ]
    make = Definitions(parsers)
    expected = [make()(piece) for piece in pieces]
    pool = Processes(make, 2)
    try:
        results: list[Any] = []
        for result in pool.run(iter(pieces), False):
            results.append(together([result]))
            if len(results) == 2:
                for worker in pool._workers:
                    os.kill(worker.process.pid, signal.SIGKILL)
        assert results == expected
    finally:
        pool.close()
        pool.close()


#: Start processes that wait, or write without end; none of them may be left when this one is killed.
STARTS = {
    "workers": "from mailguard.replay.processes import Processes\nhold = Processes(lambda: None, 3)\n",
    "beside": (
        "from mailguard.replay import beside\n"
        "class Endless:\n"
        "    def __init__(self, read): pass\n"
        "    def batches(self):\n"
        "        zeros = [0] * (len(beside._Figures._fields) - 1)\n"
        "        while True: yield beside._Figures(*zeros, []), ()\n"
        "beside._Running = Endless\n"
        "hold = beside._taken(None)\n"
        "next(hold)\n"
    ),
    "tries": (
        "import time\n"
        "from mailguard.tuning.sweep import Sweep\n"
        "hold = Sweep.__new__(Sweep)\n"
        "hold.tasks = [None] * 4\n"
        "hold.measure = lambda place: place if place < 2 else time.sleep(1)\n"
        "tried = hold._forked(3)\n"
        "next(tried)\n"
    ),
}


@pytest.mark.parametrize("name", STARTS)
def test_no_process_outlives_one_that_is_killed(name: str) -> None:
    """They have its standard output, too: it ends when the last of them has."""
    code = STARTS[name] + "import sys, time\nprint('ready', flush=True)\ntime.sleep(300)\n"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        program.kill()
        program.communicate(timeout=60)


def test_an_error_of_a_worker_is_the_callers(parsers: Sequence[Parser], tmp_path: Path) -> None:
    """A file that vanished is told as it would be here."""
    pool = Processes(Definitions(parsers), 1)
    try:
        with pytest.raises(FileNotFoundError):
            list(pool.run(iter([Piece(str(tmp_path / "gone"), PLAIN, 0.0, "", (), None, 0)]), False))
    finally:
        pool.close()
