"""A guard that answers what a test tells it to, and the command line run in this process."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mailguard import cli


class Said(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Said]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run one command in this process; standard output is no terminal."""

    def call(*arguments: str) -> Said:
        with pytest.raises(SystemExit) as ended:
            cli.main(list(arguments))
        out, err = capfd.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Said(code, out, err)

    return call


class FakeGuard:
    """Listens at `path` and gives `answers[verb]` to each request; `asked` are the requests."""

    def __init__(self, path: Path):
        self.path = str(path)
        self.answers: dict[str, dict[str, Any]] = {"why": {"ok": True, "standing": {}, "bans": []}}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._line.bind(self.path)
        self._line.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._line.accept()
            except OSError:
                return
            with peer, peer.makefile("rwb") as stream:
                for line in stream:
                    request = json.loads(line)
                    self.asked.append((request["verb"], request["args"]))
                    stream.write(json.dumps(self.answers[request["verb"]]).encode() + b"\n")
                    stream.flush()

    def close(self) -> None:
        self._line.shutdown(socket.SHUT_RDWR)
        self._line.close()
        self._thread.join(5)


@pytest.fixture
def guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGuard]:
    """A guard at the socket that MAILGUARD_SOCKET names."""
    fake = FakeGuard(tmp_path / "control")
    monkeypatch.setenv("MAILGUARD_SOCKET", fake.path)
    yield fake
    fake.close()
