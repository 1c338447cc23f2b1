"""Several processes of this host that parse; see `workers`.

A module of its own, because a short log is read without them and what they need is slow to load.
"""

from __future__ import annotations

import marshal
import multiprocessing
import pickle
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from .pieces import Parse, Parsed, Piece, packed, unpacked
from .workers import Make


class _Worker:
    """One process and what it owes."""

    def __init__(self, process: Any, pipe: Connection):
        self.process = process
        self.pipe = pipe
        self.owes: deque[Future[Any]] = deque()
        self.gone = False


class Gone(Exception):
    """The process that was to parse a piece has ended."""


class Processes:
    """Several processes of this host. What a process that died owed is parsed here."""

    def __init__(self, make: Make, workers: int):
        """`make` makes the parse stage of a process; with fork it inherits what this process has loaded."""
        methods = multiprocessing.get_all_start_methods()
        forked = "fork" in methods
        context: Any = multiprocessing.get_context("fork" if forked else "spawn")
        self._make = make
        self._here: Parse | None = None
        self._workers: list[_Worker] = []
        self._lock = threading.Lock()
        self._runs = 0
        for _ in range(workers):
            ours, theirs = context.Pipe()
            inherited = [*(one.pipe for one in self._workers), ours] if forked else []
            process = context.Process(target=_serve, args=(theirs, make, inherited), daemon=True)
            process.start()
            theirs.close()
            self._workers.append(_Worker(process, ours))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def run(self, pieces: Iterator[Piece], forward: bool) -> Iterator[Parsed]:
        waiting: deque[tuple[Piece, Future[Any]]] = deque()
        fixed: _Worker | None = None
        self._runs += 1
        try:
            ended = False
            while True:
                # Many logs open at once share what may lie waiting.
                ahead = 3 if forward else max(2, 2 * len(self._workers) // self._runs)
                while not ended and len(waiting) < ahead:
                    piece = next(pieces, None)
                    if piece is None:
                        ended = True
                        break
                    if not forward or fixed is None or fixed.gone:
                        fixed = min(self._workers, key=lambda one: (one.gone, len(one.owes)))
                    waiting.append((piece, self._submit(fixed, piece)))
                if not waiting:
                    return
                piece, future = waiting.popleft()
                try:
                    for part in marshal.loads(future.result()):
                        yield unpacked(part, self._parse().scanner.table, piece.path)
                except Gone:
                    yield from self._parse().parts(piece)
        finally:
            self._runs -= 1

    def _parse(self) -> Parse:
        """The parse stage of this process."""
        if self._here is None:
            self._here = self._make()
        return self._here

    def _submit(self, worker: _Worker, piece: Piece) -> Future[Any]:
        future: Future[Any] = Future()
        with self._lock:
            if worker.gone:
                future.set_exception(Gone())
                return future
            worker.owes.append(future)
        with suppress(OSError):  # the reader finds it gone, too
            worker.pipe.send_bytes(pickle.dumps(piece))
        return future

    def _read(self) -> None:
        """The thread that takes results in, so that no worker waits to be rid of them."""
        pipes = {worker.pipe: worker for worker in self._workers}
        while pipes:
            for pipe in wait(list(pipes)):
                worker = pipes[pipe]  # type: ignore[index]
                try:
                    data = worker.pipe.recv_bytes()
                except (EOFError, OSError):
                    del pipes[worker.pipe]
                    self._bury(worker)
                    continue
                with self._lock:
                    future = worker.owes.popleft()
                if data[:1] == b"E":
                    future.set_exception(pickle.loads(data[1:]))
                else:
                    future.set_result(memoryview(data)[1:])

    def _bury(self, worker: _Worker) -> None:
        with self._lock:
            worker.gone = True
            owed, worker.owes = list(worker.owes), deque()
        for future in owed:
            future.set_exception(Gone())

    def close(self) -> None:
        """End the processes. May be repeated."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join()
        self._reader.join()
        for worker in self._workers:
            worker.pipe.close()
        self._workers = []


def _serve(pipe: Connection, make: Make, inherited: Sequence[Connection] = ()) -> None:
    """A worker: pieces in, results out, until the other end is closed. `inherited`: other ends that a forked
    worker has too; as long as one is open, nobody would notice that their owner was killed."""
    for one in inherited:
        one.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends us
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parse = make()
    while True:
        try:
            piece = pickle.loads(pipe.recv_bytes())
        except EOFError:
            return
        try:
            answer = b"R" + marshal.dumps([packed(part) for part in parse.parts(piece)])
        except Exception as error:
            answer = b"E" + portable(error)
        try:
            pipe.send_bytes(answer)
        except OSError:
            return


def portable(error: Exception) -> bytes:
    """An error as bytes; one that cannot be sent keeps its words."""
    try:
        data = pickle.dumps(error)
        pickle.loads(data)
    except Exception:
        data = pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
    return data
