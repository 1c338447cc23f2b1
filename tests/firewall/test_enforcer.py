"""The enforcer: what it takes, what it refuses, what it survives, what it may."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailguard import enforcer
from mailguard.enforcer import spawn
from mailguard.firewall import channel, native, wire
from mailguard.firewall.desired import Bans
from mailguard.firewall.enforcing import Enforcer
from mailguard.firewall.interface import FirewallError
from mailguard.firewall.nftables import Nftables
from mailguard.firewall.reach import connect_to, only_once
from mailguard.firewall.recording import Recording
from mailguard.firewall.remote import RemoteFirewall
from mailguard.model import Ban, Network
from tests.written import network


def _alive(number: str) -> bool:
    """A process that runs; a dead one that nobody collected does not count."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Served:
    """An enforcer with a recording driver, served in a thread."""

    def __init__(self, driver: Recording | None = None):
        self.driver = driver or Recording()
        self.ours, theirs = socket.socketpair()
        self.ours.settimeout(10)
        self.failed: BaseException | None = None
        self.thread = threading.Thread(target=self._serve, args=(theirs,), daemon=True)
        self.thread.start()

    def _serve(self, theirs: socket.socket) -> None:
        try:
            Enforcer(self.driver).serve(theirs)
        except BaseException as error:
            self.failed = error

    def end(self) -> None:
        """Hang up; the enforcer must have ended without an exception."""
        self.ours.close()
        self.thread.join(10)
        assert not self.thread.is_alive()
        assert self.failed is None

    def until_closed(self) -> bytes:
        """Everything it answers until it closes the connection."""
        answer = b""
        try:
            while data := self.ours.recv(1 << 16):
                answer += data
        except ConnectionError:
            pass
        return answer


@pytest.fixture
def served() -> Iterator[Served]:
    made = Served()
    yield made
    made.end()


@given(st.binary(min_size=1, max_size=200))
@settings(max_examples=60, deadline=None)
def test_garbage_closes_the_connection(data: bytes) -> None:
    """Bytes that are no frame: the connection is closed, nothing is banned, the enforcer ends cleanly."""
    served = Served()
    served.ours.sendall(data + bytes(wire.HEADER.size))
    assert served.until_closed() == b""
    served.end()
    assert served.driver.desired.bans == {}


@given(st.sampled_from(sorted(wire.ASKED)), st.binary(max_size=120))
@settings(max_examples=150, deadline=None)
def test_any_body_is_answered_or_refused(kind: int, body: bytes) -> None:
    """A well-formed frame with any body is acknowledged, or closes the connection; never anything else."""
    served = Served()
    served.ours.sendall(wire.frame(kind, 7, body))
    served.ours.shutdown(socket.SHUT_WR)
    frames = list(wire.Frames(wire.ANSWERED).feed(served.until_closed()))
    assert all(sequence == 7 for _, sequence, _ in frames)
    assert [kind for kind, _, _ in frames if kind != wire.STANDING] in ([], [wire.ACK])
    served.end()
    for scope, address, prefix in served.driver.desired.bans:
        assert 0 <= scope < 3
        assert Network(address, prefix) is not None


@pytest.mark.parametrize(
    "data",
    [
        wire.frame(wire.IMPOSE, 1, struct.pack("<BBBBdQQ", 9, 4, 32, 0, 60.0, 0, 1)),
        wire.frame(wire.LIFT, 1, b"mail_host4"),
        wire.frame(wire.PANIC, 1, b"x"),
        wire.frame(wire.CLOSE, 1, b"\2"),
        wire.frame(wire.PAUSE, 1, b"\xff" * 8),
        wire.frame(wire.SETUP, 1, b"\1\1\0\0\0\0"),
        wire.frame(wire.OPEN, 1, b""),
        wire.frame(wire.OPEN, 1, b"\3"),
        wire.frame(wire.ACK, 1),
        wire.frame(77, 1),
        b"mg\1\2" + struct.pack("<IQ", wire.LARGEST + 1, 1),
    ],
)
def test_what_is_not_allowed_closes_the_connection(served: Served, data: bytes) -> None:
    """Unknown scopes, names, directions, types and sizes end the conversation; nothing after is read."""
    good = next(wire.pack_bans([((1, 0xC0000207, 32), time.time() + 60)], time.time()))
    served.ours.sendall(data + wire.frame(wire.IMPOSE, 2, good))
    assert served.until_closed() == b""
    assert served.driver.desired.bans == {}


class Failing(Recording):
    """A driver whose system refuses."""

    broken = False

    def apply(self, operations: Any) -> None:
        if self.broken:
            raise FirewallError("the kernel says no")
        super().apply(operations)

    def restore(self, bans: Bans, now: float, gone: Any = ()) -> Any:
        if self.broken:
            raise FirewallError("no nftables here", lost=True)
        return super().restore(bans, now, gone)


def test_failures_arrive_with_their_reason(helpers: Any) -> None:
    """What the driver cannot do is raised at the judge, nothing is remembered, the call may be repeated."""
    driver = Failing()
    served = Served(driver)
    firewall = RemoteFirewall(only_once(served.ours))
    firewall.open([], time.time())
    driver.broken = True
    with pytest.raises(FirewallError, match="the kernel says no") as caught:
        firewall.impose([helpers.ban("192.0.2.7")], time.time())
    assert not caught.value.lost
    with pytest.raises(FirewallError, match="no nftables here") as caught:
        firewall.open([], time.time())
    assert caught.value.lost
    assert driver.desired.bans == {}
    driver.broken = False
    firewall.impose([helpers.ban("192.0.2.7")], time.time())
    assert {one for one, _ in firewall.banned()} == {network("192.0.2.7")}
    firewall.close(keep=True)
    served.end()


def test_many_bans_cross_in_parts(helpers: Any) -> None:
    """More bans than one frame holds are opened, imposed, told and lifted whole."""
    served = Served()
    firewall = RemoteFirewall(only_once(served.ours))
    bans = [helpers.ban(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}") for n in range(3 * wire.ROWS + 5)]
    firewall.open(bans[: 2 * wire.ROWS], time.time())
    firewall.impose(bans[2 * wire.ROWS :], time.time())
    assert {place for place, _ in firewall.banned()} == {one.network for one in bans}
    firewall.lift([(one.network, one.scope) for one in bans])
    assert firewall.banned() == {}
    firewall.close(keep=True)
    served.end()


def test_a_lost_enforcer_is_said_once(helpers: Any) -> None:
    """When it goes, calls raise `lost`, one notice says so, and it stays so where it cannot be reached."""
    served = Served()
    firewall = RemoteFirewall(only_once(served.ours))
    firewall.open([], time.time())
    served.ours.shutdown(socket.SHUT_RDWR)
    served.thread.join(10)
    (notice,) = firewall.notices()
    assert notice.id == "firewall-lost"
    for _ in range(2):
        with pytest.raises(FirewallError) as caught:
            firewall.impose([helpers.ban("192.0.2.7")], time.time())
        assert caught.value.lost
    with pytest.raises(FirewallError, match="has ended") as caught:
        firewall.open([], time.time())
    assert caught.value.lost
    assert firewall.notices() == []
    assert firewall.fileno() is None


def test_an_enforcer_that_answers_nonsense_is_left(pair: tuple[socket.socket, socket.socket]) -> None:
    """The judge too closes a connection on which something else than answers comes."""
    ours, theirs = pair
    theirs.sendall(b"HTTP/1.1 400 Bad Request\r\n")
    firewall = RemoteFirewall(only_once(ours))
    with pytest.raises(FirewallError) as caught:
        firewall.open([], time.time())
    assert caught.value.lost


def test_an_enforcer_that_does_not_answer_is_not_waited_for(
    pair: tuple[socket.socket, socket.socket], helpers: Any
) -> None:
    """Patience ends once: then calls fail at once and nothing more is sent, until the answer has come."""
    ours, theirs = pair
    firewall = RemoteFirewall(only_once(ours), patience=0.2)
    with pytest.raises(FirewallError, match="does not answer") as caught:
        firewall.open([], time.time())
    assert not caught.value.lost
    theirs.setblocking(False)
    asked = theirs.recv(4096)
    begun = time.monotonic()
    for _ in range(50):
        with pytest.raises(FirewallError, match="does not answer"):
            firewall.impose([helpers.ban("192.0.2.7")], time.time())
        with pytest.raises(FirewallError, match="does not answer"):
            firewall.open([], time.time())
        assert firewall.notices() == []
    assert time.monotonic() - begun < 5
    with pytest.raises(BlockingIOError):
        theirs.recv(4096)
    (_, sequence, _) = next(wire.Frames(wire.ASKED).feed(asked))
    theirs.sendall(wire.frame(wire.ACK, sequence))
    assert [notice.id for notice in firewall.notices()] == ["firewall-answers"]
    answer = threading.Thread(target=_acknowledge, args=(theirs,))
    answer.start()
    firewall.impose([helpers.ban("192.0.2.7")], time.time())
    answer.join()
    assert firewall.notices() == []
    firewall._hang_up()


def _acknowledge(theirs: socket.socket) -> None:
    """Answer one frame."""
    theirs.settimeout(10)
    ((_, sequence, _),) = wire.Frames(wire.ASKED).feed(theirs.recv(4096))
    theirs.sendall(wire.frame(wire.ACK, sequence))


def test_an_enforcer_that_takes_nothing_is_lost(helpers: Any) -> None:
    """Part of a frame was sent and the rest found no room in time: nothing can follow it."""
    ours, _theirs = socket.socketpair()
    firewall = RemoteFirewall(only_once(ours), patience=0.2)
    bans = [helpers.ban(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}") for n in range(3 * wire.ROWS)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(channel, "READING", 0.2)
        with pytest.raises(FirewallError, match="takes nothing") as caught:
            firewall.open(bans, time.time())
    assert caught.value.lost
    assert [notice.id for notice in firewall.notices()] == ["firewall-lost"]


@pytest.mark.kernel
def test_it_keeps_one_capability_only(enforced: RemoteFirewall) -> None:
    """Forked by root it is another user, holds CAP_NET_ADMIN alone, and can never gain more."""
    enforced.open([], time.time())
    for number in (enforced.pid, enforced.worker):
        status = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{number}/status").read_text().splitlines()
            if ":\t" in line
        )
        assert {int(one) for one in status["Uid"].split()} != {0}
        for line in ("CapEff", "CapPrm", "CapBnd"):
            assert int(status[line], 16) == 1 << 12
        assert status["NoNewPrivs"] == "1"
        assert status["Groups"].split() == []
        names = os.listdir(f"/proc/{number}/fd")
        assert len(names) <= 8  # the standard ones, the judge, its netlink sockets: nothing inherited


@pytest.mark.kernel
def test_killed_enforcer_leaves_the_bans(enforced: RemoteFirewall, helpers: Any) -> None:
    """kill -9 of the enforcer: bans stand in the kernel, the judge hears that it has gone."""
    enforced.open([helpers.ban("192.0.2.7")], time.time())
    assert enforced.worker is not None
    os.kill(enforced.worker, signal.SIGKILL)
    (notice,) = helpers.heard(enforced)
    assert notice.id == "firewall-lost"
    assert "192.0.2.7" in helpers.run("nft", "list", "ruleset")


@pytest.mark.kernel
def test_a_killed_enforcer_is_followed_by_the_next(enforced: RemoteFirewall, helpers: Any) -> None:
    """A guard in the foreground is not without a firewall for the rest of its life."""
    enforced.open([helpers.ban("192.0.2.7")], time.time())
    for _ in range(2):
        former = enforced.worker
        assert former is not None
        os.kill(former, signal.SIGKILL)
        helpers.heard(enforced)

        def again() -> bool:
            try:
                enforced.open([helpers.ban("192.0.2.7")], time.time())
            except FirewallError as error:
                return not error.lost
            return True

        helpers.until(again)
        assert enforced.worker != former
    enforced.impose([helpers.ban("192.0.2.8")], time.time())
    assert {one for one, _ in enforced.banned()} == {network("192.0.2.7"), network("192.0.2.8")}


@pytest.mark.kernel
def test_keeper_and_enforcer_end_with_a_judge_that_was_killed(namespace: Any, helpers: Any) -> None:
    """Without a word of farewell nobody is left behind."""
    judge = os.fork()
    if judge == 0:
        try:
            firewall = spawn(Nftables())
            firewall.open([], time.time())
            Path(f"/proc/{os.getpid()}/comm").write_text(f"{firewall.pid} {firewall.worker}")
            signal.pause()
        finally:
            os._exit(1)
    comm = Path(f"/proc/{judge}/comm")
    helpers.until(lambda: comm.read_text().split()[0].isdigit())
    numbers = comm.read_text().split()
    os.kill(judge, signal.SIGKILL)
    os.waitpid(judge, 0)

    def gone() -> bool:
        return not any(_alive(number) for number in numbers)

    helpers.until(gone)


@pytest.mark.kernel
def test_it_ends_with_the_judge_and_not_with_ctrl_c(namespace: Any, helpers: Any) -> None:
    """SIGINT, SIGTERM and SIGHUP do not end a spawned enforcer; the end of the connection does."""
    firewall = spawn(Nftables())
    firewall.open([], time.time())
    assert firewall.pid is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(firewall.pid, number)
    firewall.impose([helpers.ban("192.0.2.7")], time.time())
    firewall.close(keep=True)
    assert os.waitpid(firewall.pid, 0)[1] == 0


@pytest.fixture
def listening(namespace: Any, tmp_path: Path, helpers: Any) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """An enforcer as a program of its own, listening at a socket."""
    path = str(tmp_path / "socket")
    program = subprocess.Popen(
        [sys.executable, "-m", "mailguard.enforcer", "--socket", path, "--action", "nftables"],
        stderr=subprocess.PIPE,
        text=True,
    )
    helpers.until(lambda: os.path.exists(path))
    yield program, path
    program.kill()
    program.communicate()


@pytest.mark.kernel
def test_a_listening_enforcer_outlives_its_judges(listening: Any, helpers: Any) -> None:
    """The judge goes and comes again, finds its bans, and only one is served at a time; SIGTERM ends it."""
    program, path = listening
    first = RemoteFirewall(connect_to(path))
    first.open([helpers.ban("192.0.2.7")], time.time())
    second = RemoteFirewall(connect_to(path))
    with pytest.raises(FirewallError):
        second.open([], time.time())
    first.close(keep=True)
    helpers.until(lambda: _opens(second, [helpers.ban("192.0.2.8")]))
    assert {one for one, _ in second.banned()} == {network("192.0.2.7"), network("192.0.2.8")}
    program.send_signal(signal.SIGTERM)
    assert program.wait(10) == 0
    assert "192.0.2.8" in helpers.run("nft", "list", "ruleset")


@pytest.mark.kernel
def test_the_next_judge_comes_at_once(listening: Any, helpers: Any) -> None:
    """A judge that was killed makes room, also where the next one is there before its end was noticed."""
    program, path = listening
    for number in range(1, 20):
        os.kill(program.pid, signal.SIGSTOP)  # the end of one and the coming of the next are seen together
        for _ in range(number % 3):
            with socket.socket(socket.AF_UNIX) as gone:
                gone.connect(path)
        there = RemoteFirewall(connect_to(path))
        there._ready()
        os.kill(program.pid, signal.SIGCONT)
        there.open([helpers.ban("192.0.2.7")], time.time())
        assert {one for one, _ in there.banned()} == {network("192.0.2.7")}
        there._hang_up()


def _opens(firewall: RemoteFirewall, bans: Any) -> bool:
    try:
        firewall.open(bans, time.time())
    except FirewallError:
        return False
    return True


@pytest.mark.kernel
def test_systemd_passes_the_socket(namespace: Any, tmp_path: Path, helpers: Any) -> None:
    """With --systemd it listens at descriptor 3, as sd_listen_fds(3) tells."""
    path = str(tmp_path / "socket")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1)
    start = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3);"
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1');"
        "from mailguard.enforcer import main; sys.exit(main(['--systemd']))"
    )
    program = subprocess.Popen(
        [sys.executable, "-c", start, str(listener.fileno())],
        pass_fds=[listener.fileno()],
        stderr=subprocess.PIPE,
    )
    firewall = RemoteFirewall(connect_to(path))
    firewall.open([helpers.ban("192.0.2.7")], time.time())
    assert len(firewall.banned()) == 1
    firewall.close(keep=True)
    program.terminate()
    assert program.wait(10) == 0
    program.communicate()
    listener.close()


def test_wrong_arguments_and_places(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Usage errors exit 64, what is not available 69, each with its reason."""
    assert enforcer.main([]) == 64
    assert enforcer.main(["--systemd"]) == 69
    assert "systemd passed no socket" in capsys.readouterr().err
    assert enforcer.main(["--socket", str(tmp_path / "s"), "--action", "nowhere"]) == 69
    assert "there is no action 'nowhere'" in capsys.readouterr().err


@pytest.mark.kernel
def test_ports_come_from_the_judge(enforced: RemoteFirewall, helpers: Any) -> None:
    """The scopes' ports that the judge was set up with are those of the rules, also when they change."""
    enforced.open([], time.time())
    assert "dport { 25, 110" in helpers.run("nft", "list", "ruleset")
    enforced._ports = {"auth": (993,), "mail": (2525,)}
    enforced.open([helpers.ban("192.0.2.7")], time.time())
    assert "tcp dport { 993, 2525 } jump mail_ports" in helpers.run("nft", "list", "ruleset")
    assert len(enforced.banned()) == 1


@pytest.mark.kernel
def test_a_hundred_thousand_bans_come_back(enforced: RemoteFirewall, helpers: Any) -> None:
    """All of them stand after one `open`, and after the next one; ten more are imposed while they settle."""
    bans = [helpers.ban(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 3600 + n) for n in range(100_000)]
    enforced.open(bans, time.time())
    more = [helpers.ban(f"192.0.2.{n}") for n in range(10)]
    for one in more:
        enforced.impose([one], time.time())
    enforced.open(bans, time.time())
    assert {place for place, _ in enforced.banned()} == {one.network for one in (*bans, *more)}
    assert enforced.notices() == []


@pytest.mark.compiled
@pytest.mark.skipif(native.load() is None, reason="the compiled module is not built: make native")
def test_a_ban_that_was_begun() -> None:
    """`impose` of it and all other calls wait for its answer; one at a time; not where nothing is open; one
    that is imposed with another end has that; an enforcer that went meanwhile is lost."""
    served = Served()
    firewall = RemoteFirewall(only_once(served.ours), patience=10)
    now, scope = time.time(), "mail"
    one, two = network("192.0.2.1"), network("192.0.2.2")
    assert not firewall.begin(one, scope, now + 60, now)
    firewall.open([], now)
    assert not firewall.begin(one, scope, now, now)
    assert firewall.begin(one, scope, now + 60, now)
    assert not firewall.begin(two, scope, now + 60, now)
    firewall.impose([Ban(one, now, now + 60, scope=scope), Ban(two, now, now + 60, scope=scope)], now)
    assert set(firewall.banned()) == {(one, scope), (two, scope)}
    firewall.lift([(one, scope), (two, scope)])
    assert firewall.begin(one, scope, now + 60, now)
    assert firewall.notices() == []
    firewall.impose([Ban(one, now, now + 600, scope=scope)], now)
    (stands,) = firewall.banned().values()
    assert stands.expires == pytest.approx(now + 600, abs=5)
    assert firewall.begin(two, scope, now + 60, now)
    firewall.lift([(two, scope)])
    assert set(firewall.banned()) == {(one, scope)}
    assert firewall.begin(two, scope, now + 60, now)
    served.ours.shutdown(socket.SHUT_RDWR)
    with pytest.raises(FirewallError) as error:
        firewall.impose([Ban(one, now, now + 60, scope=scope)], now)
    assert error.value.lost
    assert [notice.id for notice in firewall.notices()] == ["firewall-lost"]
    served.end()


def test_a_judge_that_never_comes(capfd: pytest.CaptureFixture[str]) -> None:
    """A guard that cannot stand ends without having taken the connection: the processes beside it end without
    a word."""
    firewall = spawn(Recording())
    firewall.close(keep=True)
    assert firewall.pid is not None
    assert os.waitstatus_to_exitcode(os.waitpid(firewall.pid, 0)[1]) == 0
    assert capfd.readouterr().err == ""
