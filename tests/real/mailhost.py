"""A real mail server of Debian in namespaces of its own, and clients outside it at any documentation
address.

`Mailhost` starts Postfix, Dovecot (twice, set differently), rsyslogd and a small name server in one
network, mount, host name and process namespace; clients connect from a second network namespace, which
routes whole documentation networks, so that a test picks any address of them as its client's. Nothing
leaves the two. Both end with the processes that hold them, which end when their standard input closes:
nothing is left behind, even when the test process is killed.

Needs root and Debian's packages (`PACKAGES`); `Unusable` says what is missing.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Self

import serverconfig as config

PACKAGES = {
    "/usr/sbin/postfix": "postfix",
    "/usr/sbin/smtp-sink": "postfix",
    "/usr/sbin/dovecot": "dovecot-core",
    "/usr/lib/dovecot/imap-login": "dovecot-imapd",
    "/usr/lib/dovecot/pop3-login": "dovecot-pop3d",
    "/usr/lib/dovecot/lmtp": "dovecot-lmtpd",
    "/usr/lib/dovecot/managesieve-login": "dovecot-managesieved",
    "/usr/lib/dovecot/submission-login": "dovecot-submissiond",
    "/usr/sbin/rsyslogd": "rsyslog",
    "/usr/bin/openssl": "openssl",
    "/usr/bin/unshare": "util-linux",
    "/usr/bin/nsenter": "util-linux",
    "/usr/sbin/ip": "iproute2",
}
_CLONE_NEWNET = 0x40000000
_IPV6_FREEBIND = 78
_LIBC = ctypes.CDLL(None, use_errno=True)
_HERE = Path(__file__).parent

#: First process of the server's namespaces: makes a /dev of its own, then waits for the end of its input.
_INIT = """
set -e
root=$1
hostname mail1
mount -t proc proc /proc
mkdir $root/dev
mount -t tmpfs -o mode=755 tmpfs $root/dev
mkdir $root/dev/shm $root/dev/pts
for node in null zero full random urandom tty ptmx; do
    touch $root/dev/$node
    mount --bind /dev/$node $root/dev/$node
done
ln -s /proc/self/fd $root/dev/fd
mount --rbind $root/dev /dev
mount --bind $root/resolv.conf /etc/resolv.conf
echo ready
exec cat
"""


class Unusable(Exception):
    """This machine cannot run the mail server; the text says why."""


def missing() -> str:
    """What keeps this machine from running the server, or an empty string."""
    if os.geteuid() != 0:
        return "needs root"
    absent = sorted({package for path, package in PACKAGES.items() if not os.path.exists(path)})
    return f"needs the packages {' '.join(absent)}" if absent else ""


def wait_for(what: str, done: Callable[[], object], seconds: float = 15.0) -> None:
    """Poll until `done()` is true; raise TimeoutError naming `what` when it never is."""
    limit = time.monotonic() + seconds
    while not done():
        if time.monotonic() > limit:
            raise TimeoutError(f"waited {seconds:g} seconds for {what}")
        time.sleep(0.01)


class Mailhost:
    """The server and the outside. Use as a context manager."""

    def __init__(self) -> None:
        why = missing()
        if why:
            raise Unusable(f"the real mail server {why}")
        self.root = Path(tempfile.mkdtemp(prefix="mg-", dir="/tmp"))  # short: it holds Unix sockets
        self.root.chmod(0o755)
        self.log = self.root / "mail.log"  # traditional stamps
        self.log3339 = self.root / "mail-3339.log"
        self.log5424 = self.root / "mail-5424.log"
        self.auth_log = self.root / "auth.log"  # libpam's words
        self.dovecot_log = self.root / "dovecot.log"  # the second Dovecot, which writes its own file
        self.connections: list[tuple[int, str]] = []  # every connection made: port, source
        self._processes: list[subprocess.Popen[bytes]] = []
        self._server = self._client = 0
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # ------------------------------------------------------------ start and end

    def _start(self) -> None:
        config.write(self.root)
        self._make_certificate()
        shutil.chown(self.root / "data", "postfix")
        shutil.chown(self.root / "queue/private", "postfix")
        (self.root / "mail").chmod(0o777)
        self._make_namespaces()
        self.popen([sys.executable, str(_HERE / "responder.py"), str(self.root)])
        self.popen(
            ["rsyslogd", "-n", "-f", str(self.root / "rsyslog.conf"), "-i", str(self.root / "rsyslog.pid")]
        )
        wait_for("rsyslogd", lambda: (self.root / "dev/log").exists() or self._in_server("test -S /dev/log"))
        for port, options in ((25, []), (2025, ["-r", "RCPT"]), (3025, ["-f", "RCPT"])):
            self._spawn(
                [
                    "nsenter",
                    f"--net=/proc/{self._client}/ns/net",
                    f"--pid=/proc/{self._server}/ns/pid",
                    "smtp-sink",
                    "-u",
                    "nobody",
                    *options,
                    f"{config.SINK}:{port}",
                    "100",
                ]
            )
        self.popen(["smtp-sink", "-u", "nobody", "-f", ".", "127.0.0.1:10025", "100"])
        self.run(["postalias", "-c", str(self.root / "postfix"), f"hash:{self.root}/postfix/aliases"])
        self.run(["postfix", "-c", str(self.root / "postfix"), "start"])
        for name in ("dovecot", "quiet"):
            self.popen(["dovecot", "-F", "-c", str(self.root / name / "dovecot.conf")])
        for name in config.PORTS:
            wait_for(f"port {name}", partial(self._listens, name))

    def stop(self) -> None:
        """End everything and remove the folder. The first process of a namespace takes all others along."""
        for process in reversed(self._processes):
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes[2:]:
            process.terminate()
        for process in reversed(self._processes):
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.root, ignore_errors=True)

    def _make_certificate(self) -> None:
        subprocess.run(
            [
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=mail1.example.net",
                "-keyout",
                self.root / "tls.key",
                "-out",
                self.root / "tls.pem",
            ],
            check=True,
            capture_output=True,
        )

    def _make_namespaces(self) -> None:
        outside = self._spawn(["unshare", "--net", "sh", "-c", "echo ready; exec cat"])
        server = self._spawn(
            [
                "unshare",
                "--mount",
                "--net",
                "--uts",
                "--ipc",
                "--pid",
                "--fork",
                "--kill-child",
                "sh",
                "-c",
                _INIT,
                "init",
                str(self.root),
            ]
        )
        for process in (outside, server):
            assert process.stdout is not None
            if process.stdout.readline() != b"ready\n":
                raise Unusable("the namespaces could not be made")
        self._client = outside.pid
        self._server = int(Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()[0])
        subprocess.run(
            [
                "ip",
                "link",
                "add",
                "in0",
                "netns",
                str(self._server),
                "type",
                "veth",
                "peer",
                "name",
                "out0",
                "netns",
                str(self._client),
            ],
            check=True,
        )
        v4, v6, gate4, gate6 = config.SERVER4, config.SERVER6, config.GATEWAY4, config.GATEWAY6
        self._ip(
            self._server,
            f"""
            link set lo up
            link set in0 up
            address add {v4}/24 dev in0
            address add {v6}/64 dev in0 nodad
            route add default via {gate4}
            -6 route add default via {gate6}""",
        )
        routes = [f"route add local {net} dev lo" for net in (*config.OUTSIDE4, *config.OUTSIDE6)]
        self._ip(
            self._client,
            "\n".join(
                [
                    f"""
            link set lo up
            link set out0 up
            address add {gate4}/24 dev out0
            address add {gate6}/64 dev out0 nodad""",
                    *routes,
                ]
            ),
        )

    def _ip(self, pid: int, lines: str) -> None:
        for line in lines.strip().splitlines():
            subprocess.run([*self._enter(pid, "-n"), "ip", *line.split()], check=True)

    def _listens(self, name: str) -> bool:
        """Whether somebody listens, by the kernel's table: a trial connection would be logged as a probe."""
        port = f":{config.PORTS[name]:04X} "
        tables = Path(f"/proc/{self._server}/net/tcp"), Path(f"/proc/{self._server}/net/tcp6")
        return any(
            port in line.split(None, 3)[1] + " " and " 0A " in line
            for table in tables
            for line in table.read_text().splitlines()[1:]
        )

    # ------------------------------------------------------------ inside the server

    @property
    def server_pid(self) -> int:
        """Process id, seen from here, of the first process of the server's namespaces."""
        return self._server

    @staticmethod
    def _enter(pid: int, *namespaces: str) -> list[str]:
        return ["nsenter", "-t", str(pid), *namespaces, "--"]

    def command(self, argv: Sequence[str]) -> list[str]:
        """`argv`, to be run inside the server (its files, its network, its processes)."""
        return [*self._enter(self._server, "-m", "-n", "-u", "-i", "-p"), *argv]

    def run(self, argv: Sequence[str]) -> str:
        """Run a command inside the server and return what it printed; RuntimeError when it fails."""
        done = subprocess.run(self.command(argv), capture_output=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            log = self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""
            raise RuntimeError(f"{' '.join(argv)}: {done.stderr.decode(errors='replace')}{log}")
        return done.stdout.decode()

    def popen(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a command inside the server; it is ended with the server."""
        return self._spawn(self.command(argv))

    def _in_server(self, script: str) -> bool:
        return subprocess.run(self.command(["sh", "-c", script]), capture_output=True).returncode == 0

    def _spawn(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        error = open(self.root / "processes.err", "ab")  # noqa: SIM115 (the child owns it)
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=error)
        error.close()
        self._processes.append(process)
        return process

    # ------------------------------------------------------------ outside

    @contextmanager
    def outside(self) -> Iterator[None]:
        """Within it, sockets that this thread makes belong to the outside network."""
        with open("/proc/thread-self/ns/net") as home, open(f"/proc/{self._client}/ns/net") as there:
            _setns(there.fileno())
            try:
                yield
            finally:
                _setns(home.fileno())

    def connect(self, port: str | int, source: str, timeout: float = 10.0) -> socket.socket:
        """A TCP connection from an outside address to a port of the server, by number or name."""
        number = config.PORTS[port] if isinstance(port, str) else port
        v6 = ":" in source
        with self.outside():
            sock = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        if v6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        try:
            sock.bind((source, 0))
            sock.connect((config.SERVER6 if v6 else config.SERVER4, number))
            self.connections.append((number, source))
        except BaseException:
            sock.close()
            raise
        return sock


def client_tls() -> ssl.SSLContext:
    """A client's TLS that believes any certificate: the server's is made for the day."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _setns(descriptor: int) -> None:
    if _LIBC.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")
