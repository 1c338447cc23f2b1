"""From write() of the deciding line to the element standing in the kernel, beside fail2ban and sshguard.

    python bench/latency.py [--rate LINES]... [--seconds N] [--runs N] [--guard NAME]... [--nice N]

Needs root. Everything happens in a network namespace of its own. For each guard and each rate of lines a
second, a log of ordinary mail is written, of which 15% are failed logins, half of them from addresses that
are banned already, half from a new address each; and between them ten attackers a second fail five times
each. The clock starts before the write() of the fifth line and stops when the kernel tells that the
attacker's address is in a set (the netlink message that follows the commit).

Prints median, 99th percentile and worst in milliseconds; how many were banned; how far behind the guard was
for the last attacker (milliseconds: as much as the median where nothing lags); and the share of one core
that all processes and threads of the guard used while lines were written.

The first rows, `floor`, are no guard but the least that any must do (floor.c): two processes, inotify, one
read, one address handed over, one netlink transaction. What they take is the machine's, and this bench's:
its clock stops when its own listener has been woken.

Of the hundred bans of ten seconds the 99th percentile is the worst. `--runs` puts those of several runs of a
fresh guard together; the share of a core is then that of the whole.

`--nice -20` (for the bench and all guards alike) measures the guards on a machine that does other work too.

fail2ban and sshguard are those of Debian: fail2ban with its nftables action, its best backend that is
installed, and five failures; sshguard with its nftables sets and a threshold of five.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

SSHGUARD = Path("/usr/libexec/sshguard")
FAILURES = 5
NOISE = (
    "{t} mail1 postfix/smtpd[{n}]: connect from mail{c}.example.net[198.51.100.{c}]",
    "{t} mail1 postfix/smtpd[{n}]: {n:010X}: client=mail{c}.example.net[198.51.100.{c}]",
    "{t} mail1 postfix/cleanup[{n}]: {n:010X}: message-id=<{n}@example.net>",
    "{t} mail1 postfix/qmgr[77]: {n:010X}: from=<a@example.net>, size=2048, nrcpt=1 (queue active)",
    "{t} mail1 postfix/local[{n}]: {n:010X}: to=<b@example.org>, relay=local, delay=0.1, status=sent (ok)",
    "{t} mail1 postfix/qmgr[77]: {n:010X}: removed",
    "{t} mail1 postfix/smtpd[{n}]: disconnect from mail{c}.example.net[198.51.100.{c}] ehlo=1 mail=1 rcpt=1",
    "{t} mail1 systemd[1]: session-{n}.scope: Deactivated successfully.",
)
FAILED = (
    "{t} mail1 dovecot: imap-login: Aborted login (auth failed, 1 attempts): user=<u{n}@example.org>, "
    "method=PLAIN, rip={rip}, lip=2001:db8::25, TLS"
)
SHARE = 0.15  # of failed logins among the lines
PARTNERS = 250  # mail servers that bring ordinary mail
NAMES = 5000  # that are guessed
#: Attackers come from 2001:db8:NUMBER::/48.
PREFIX = b"\x20\x01\x0d\xb8"
_CLONE_NEWNET, _PDEATHSIG = 0x40000000, 1
_NETLINK_NETFILTER = 12
_NFNLGRP_NFTABLES, _SOL_NETLINK, _ADD_MEMBERSHIP = 7, 270, 1


class Kernel:
    """Hears which addresses come into sets of this namespace, and when: in a process of its own, which does
    nothing but wait for the kernel's messages, so that nothing else delays its clock."""

    def __init__(self) -> None:
        line = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        line.bind((0, 0))
        line.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _NFNLGRP_NFTABLES)
        self._told, tell = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self._hear(line, tell)
        line.close()
        os.close(tell)
        os.set_blocking(self._told, False)
        self._rest = b""

    @staticmethod
    def _hear(line: socket.socket, tell: int) -> None:
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)  # never left behind
        try:
            with contextlib.suppress(OSError):  # before whatever else would run: it is the clock
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
            while True:
                message = line.recv(1 << 16)
                now = time.perf_counter()
                at = message.find(PREFIX)
                while at >= 0:
                    os.write(tell, b"%d %.9f\n" % (int.from_bytes(message[at + 4 : at + 6], "big"), now))
                    at = message.find(PREFIX, at + 4)
        finally:
            os._exit(0)

    def heard(self) -> list[tuple[int, float]]:
        """The numbers of attackers whose address stood in a message since the last call, with the time."""
        with contextlib.suppress(BlockingIOError):
            self._rest += os.read(self._told, 1 << 20)
        *lines, self._rest = self._rest.split(b"\n")
        return [(int(number), float(moment)) for number, moment in (line.split() for line in lines)]

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._told)


def attacker(number: int) -> str:
    """An address in a /48 of its own."""
    return f"2001:db8:{number:x}::7"


# ---------------------------------------------------------------- the guards


def mailguard(folder: Path, log: Path) -> list[str]:
    return [
        sys.executable, "-m", "mailguard", "run", "--enforce", "--log", str(log), "--state", str(folder),
        "--config", os.devnull, "--socket", str(folder / "socket"), "--firewall", "nftables", "-o", "plain",
    ]  # fmt: skip


def fail2ban(folder: Path, log: Path) -> list[str]:
    config = folder / "fail2ban"
    shutil.copytree("/etc/fail2ban", config)
    for stray in (config / "jail.d").glob("*"):
        stray.unlink()
    (config / "jail.local").write_text(
        f"[DEFAULT]\nbanaction = nftables\nbackend = auto\nmaxretry = {FAILURES}\n"
        "findtime = 10m\nbantime = 10m\n"
        f"dbfile = {folder}/f2b.sqlite3\n"
        f"[dovecot]\nenabled = true\nlogpath = {log}\n"
    )
    (config / "fail2ban.local").write_text(
        f"[DEFAULT]\ndbfile = {folder}/f2b.sqlite3\nlogtarget = {folder}/f2b.log\n"
    )
    return [
        "fail2ban-server", "-f", "-c", str(config), "-s", f"{folder}/f2b.sock", "-p", f"{folder}/f2b.pid",
        "start",
    ]  # fmt: skip


def sshguard(folder: Path, log: Path) -> list[str]:
    # The pipeline that /usr/sbin/sshguard builds, with the threshold of the others; each attack scores ten.
    return [
        "sh", "-c",
        f"tail -n 0 -F {log} | {SSHGUARD}/sshg-parser | "
        f"{SSHGUARD}/sshg-blocker -a {10 * FAILURES} -p 600 -s 600 | {SSHGUARD}/sshg-fw-nft-sets",
    ]  # fmt: skip


def floor(folder: Path, log: Path) -> list[str]:
    program, source = folder / "floor", Path(__file__).with_name("floor.c")
    subprocess.run(["cc", "-O2", "-o", program, source], check=True)
    table = "table inet floor { set s { type ipv6_addr; flags timeout; }; }"
    subprocess.run(["nft", "-f", "-"], input=table.encode(), check=True)
    return [str(program), str(log)]


GUARDS: dict[str, Callable[[Path, Path], list[str]]] = {
    "floor": floor,
    "mailguard": mailguard,
    "fail2ban": fail2ban,
    "sshguard": sshguard,
}
NEEDS = {
    "floor": shutil.which("cc") or "cc",
    "mailguard": sys.executable,
    "fail2ban": "/usr/bin/fail2ban-server",
    "sshguard": str(SSHGUARD / "sshg-parser"),
}


# ---------------------------------------------------------------- measuring


def processor_seconds(group: int) -> float:
    """User and system time of all processes of a process group, ended children included."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group:
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


class Writer:
    """Writes the log: noise at a rate, and attackers between."""

    def __init__(self, log: Path, kernel: Kernel):
        self._file = os.open(log, os.O_WRONLY | os.O_APPEND)
        self._kernel = kernel
        self._lines = 0
        self._failed = 0
        self.began: dict[int, float] = {}
        self.banned: dict[int, float] = {}

    def attack(self, number: int, times: int) -> None:
        """`times` failed logins of one attacker, each in a write() of its own."""
        stamp = time.strftime("%b %e %H:%M:%S")
        line = FAILED.format(t=stamp, n=number, rip=attacker(number)).encode() + b"\n"
        for _ in range(times):
            self.began[number] = time.perf_counter()
            os.write(self._file, line)

    def noise(self, count: int) -> None:
        """`count` lines of ordinary mail and of other people's attacks in one write()."""
        stamp = time.strftime("%b %e %H:%M:%S")
        lines = []
        for number in range(self._lines, self._lines + count):
            if int((number + 1) * SHARE) > self._failed:
                self._failed += 1
                lines.append(self._attempt(stamp, self._failed))
            else:
                kind, session = number % len(NOISE), number // len(NOISE)
                lines.append(NOISE[kind].format(t=stamp, n=session % 30000, c=session % PARTNERS))
        self._lines += count
        os.write(self._file, ("\n".join(lines) + "\n").encode())

    def _attempt(self, stamp: str, number: int) -> str:
        """A failed login that decides nothing: its source is banned already, or never came before."""
        if number % 2 and self.banned:
            source = attacker(next(reversed(self.banned)))
        else:
            source = f"3fff:{number >> 16:x}:{number & 0xFFFF:x}::1"
        return FAILED.format(t=stamp, n=number * 7919 % NAMES, rip=source)

    def listen(self) -> None:
        for number, now in self._kernel.heard():
            if number in self.began:
                self.banned.setdefault(number, now)

    def latencies(self) -> list[float]:
        """Milliseconds of every attacker who was banned, in the order of the attackers."""
        return [(self.banned[number] - self.began[number]) * 1000 for number in sorted(self.banned)]


def ready(writer: Writer, process: subprocess.Popen[bytes]) -> None:
    """Wait until the guard bans at all: a first attacker, again and again with other addresses."""
    for number in range(60000, 60060):
        if process.poll() is not None:
            raise SystemExit(f"the guard ended with {process.returncode}")
        writer.attack(number, FAILURES)
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            writer.listen()
            if writer.banned:
                writer.banned.clear()
                writer.began.clear()
                time.sleep(1)
                writer.listen()
                writer.banned.clear()
                return
            time.sleep(0.02)
    raise SystemExit("the guard bans nobody")


def leave_the_host() -> None:
    """Go into a new network namespace, where nobody's firewall can be touched."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
        raise SystemExit(f"no network namespace: {os.strerror(ctypes.get_errno())}")


def prefer(pid: int, nice: int) -> None:
    """Give a process and its session that priority: where sessions share the processors, its own is not
    enough."""
    if nice:
        os.setpriority(os.PRIO_PROCESS, pid, nice)
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/autogroup").write_text(str(nice))


def measure(name: str, rate: int, seconds: float, runs: int) -> str:
    """One guard at one rate, as a row of the table."""
    times: list[float] = []
    spent, attacked, last = 0.0, 0, ""
    for _ in range(runs):
        found, attackers, told, used = run(name, rate, seconds)
        times += found
        spent += used / runs
        attacked += attackers
        last = f"{found[-1]:.2f}" if told and found else "never"
    if not times:
        return f"{name:10} {rate:>8} {'nobody was banned':>40}"
    times.sort()
    high = times[min(len(times) - 1, int(len(times) * 0.99))]
    return (
        f"{name:10} {rate:>8} {statistics.median(times):>10.2f} {high:>10.2f} {times[-1]:>10.2f} "
        f"{len(times):>6}/{attacked:<5} {last:>9} {spent * 100:>7.1f} %"
    )


def run(name: str, rate: int, seconds: float) -> tuple[list[float], int, bool, float]:
    """One run: milliseconds of those who were banned, how many attacked, whether the last of them was banned,
    and the share of a core."""
    leave_the_host()
    kernel = Kernel()
    with tempfile.TemporaryDirectory(prefix="latency.") as path:
        folder = Path(path)
        log = folder / "mail.log"
        log.touch()
        with open(folder / "said", "wb") as said:
            process = subprocess.Popen(
                GUARDS[name](folder, log),
                stdout=said,
                stderr=said,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        prefer(process.pid, os.getpriority(os.PRIO_PROCESS, 0))
        try:
            writer = Writer(log, kernel)
            ready(writer, process)
            used, begun = processor_seconds(process.pid), time.monotonic()
            attackers = write(writer, rate, seconds)
            spent = (processor_seconds(process.pid) - used) / (time.monotonic() - begun)
            deadline = time.monotonic() + 20
            while len(writer.banned) < attackers and time.monotonic() < deadline:
                writer.listen()
                time.sleep(0.001)
        finally:
            kernel.close()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
    return writer.latencies(), attackers, attackers in writer.banned, spent


def write(writer: Writer, rate: int, seconds: float) -> int:
    """Lines at `rate` a second in slices of a millisecond or more, ten attackers a second between.

    An attacker's deciding line comes 30 ms after those before it, which are handled by then; everybody
    else's lines go on meanwhile.
    """
    slices = min(1000, rate)
    number, sent, begun = 0, 0, time.perf_counter()
    decides: float | None = None
    while (now := time.perf_counter() - begun) < seconds or decides is not None:
        if (due := int(now * rate)) > sent:
            writer.noise(due - sent)
            sent = due
        if decides is not None:
            if now >= decides:
                writer.attack(number, 1)
                decides = None
        elif int(now * 10) > number:
            number += 1
            writer.attack(number, FAILURES - 1)
            decides = now + 0.03
        writer.listen()
        time.sleep(1 / slices)
    return number


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=int, action="append", help="lines a second (default: 200 and 20000)")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--runs", type=int, default=1, help="of each row, put together (default: 1)")
    parser.add_argument(
        "--guard", choices=list(GUARDS), action="append", help="default: all that are installed"
    )
    parser.add_argument("--nice", type=int, default=0, help="added to the priority of all processes")
    options = parser.parse_args()
    prefer(os.getpid(), options.nice)
    if os.geteuid() != 0:
        raise SystemExit("this needs root: it bans in a network namespace of its own")
    print(
        f"{'guard':10} {'lines/s':>8} {'median ms':>10} {'99 % ms':>10} {'worst ms':>10} "
        f"{'banned':>12} {'last ms':>9} {'core':>9}"
    )
    for name in options.guard or GUARDS:
        if not Path(NEEDS[name]).exists():
            print(f"{name:10} is not installed")
            continue
        for rate in options.rate or (200, 20000):
            print(measure(name, rate, options.seconds, options.runs), flush=True)


if __name__ == "__main__":
    main()
