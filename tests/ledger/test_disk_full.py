"""A disk that is really full: what stands, what is written when there is room again, what a crash leaves."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailguard.ledger import Ledger
from mailguard.ledger.writer import Writer
from mailguard.model import Ban, Event, Evidence, Impose, Lift, Network, Offence

pytestmark = pytest.mark.kernel  # mounting takes root
T = 1_760_000_000.0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Take all the room that is left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    return filler


def network(number: int) -> Network:
    return Network(0xC6336400 + number, 32)


def imposed(number: int, log: str) -> Impose:
    at = T + number
    evidence = (Evidence(at, "paper/rule", log, number, 1),)
    offence = Offence(
        "paper", f"198.51.100.{number}", at, at, 1, ("auth_failure",), evidence,
        sources=(network(number).address,),
    )  # fmt: skip
    return Impose(Ban(network(number), at, at + 86400, 1, offence), at)


def line(number: int, log: str) -> Event:
    text = f"a failed login, number {number}".encode()
    return Event(
        "auth_failure", T + number, network(number).address, "paper/rule", 1, {}, log, number, line=text
    )


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def banned(ledger: Ledger | Writer) -> set[Network]:
    return {ban.network for ban in ledger.due(T + 300)}


class Scene:
    """Bans of two logs: some written, the rest with no room for them, one of the first lifted meanwhile."""

    def __init__(self, disk: Path):
        self.path = disk / "ledger.db"
        self.ledger = Ledger(self.path)
        self.writer = Writer(self.ledger, retry_first=0.02, retry_longest=0.05)
        for number in range(5):
            self.put(number)
        self.writer.checkpoint([("t", b"k", b"before")], {"one": b"5", "two": b"5"})
        assert self.writer.settle()
        self.filler = fill(disk)
        for number in range(5, 105):
            self.put(number)
        self.writer.record([Lift(network(2), T + 105, "unban")])
        self.rows = [("t", b"%d" % n, bytes(1000)) for n in range(100)] + [("t", b"k", b"after")]
        self.writer.checkpoint(self.rows, {"one": b"105", "two": b"105"})
        until(lambda: bool(self.writer.trouble))

    def put(self, number: int) -> None:
        log = ("one", "two")[number % 2]
        self.writer.evidence([line(number, log)])
        self.writer.record([imposed(number, log)])


def test_what_is_due_stays_right_and_all_is_written_in_the_end(disk: Path) -> None:
    """While nothing can be written the bans that must stand are all known, the lifted one is not among them;
    with room again everything is in the file, once, with its lines."""
    scene = Scene(disk)
    expected = {network(number) for number in range(105) if number != 2}
    assert "full" in scene.writer.trouble
    assert banned(scene.writer) == expected
    assert scene.writer.busy
    scene.filler.unlink()
    until(lambda: not scene.writer.trouble and not scene.writer.behind)
    assert scene.writer.settle(10)
    assert scene.writer.dropped == 0
    assert scene.writer.close()
    scene.ledger.close()
    again = Ledger(scene.path)
    assert banned(again) == expected
    assert again.positions() == {"one": b"105", "two": b"105"}
    assert {(name, key): value for name, key, value in again.restore()} == {
        (name, key): value for name, key, value in scene.rows
    }
    effects = [row for row in again.answers.every_effect() if row["effect"] == "impose"]
    assert sorted(row["key"] for row in effects) == sorted(f"198.51.100.{n}" for n in range(105))
    for row in effects:
        assert [one["line"] for one in row["evidence"]] == [
            f"a failed login, number {int(row['key'].rpartition('.')[2])}"
        ]
    again.close()


def test_a_crash_while_it_is_full_goes_back_to_the_last_checkpoint(disk: Path) -> None:
    """What was not written is read again from both logs: their positions are those of what is in the file."""
    scene = Scene(disk)
    scene.ledger._db.close()  # killed: nobody writes what waits
    scene.filler.unlink()
    again = Ledger(scene.path)
    assert again.positions() == {"one": b"5", "two": b"5"}
    assert list(again.restore()) == [("t", b"k", b"before")]
    assert banned(again) >= {network(number) for number in range(5)}
    again.close()
