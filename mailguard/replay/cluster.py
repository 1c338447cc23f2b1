"""The parse stage on a Dask cluster: pieces out, columns in, in order.

Only `remote.work` runs there. As many pieces are on the way as the workers can use, at most `MOST`: what
waits is bounded, however long the logs are. A worker that dies costs time and nothing else: its pieces go
to another one, or are parsed here where none is left. Logs that are read forwards go to one worker each,
one piece after the other.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from typing import Any

from ..core.rules import Parser
from . import remote
from .pieces import Parse, Parsed, Piece, unpacked
from .processes import Gone
from .sources import PLAIN
from .workers import Definitions

MOST = 24  # pieces on the way; more workers than this are faster than anybody can judge
PATIENCE = (
    10.0  # seconds until a scheduler must have answered, and between two looks whether a worker is left
)
_FORWARD = 2  # pieces of a log that is read forwards: one is parsed, one waits


class ClusterError(Exception):
    """The cluster cannot be used: `id` of the sentence, and its arguments."""

    def __init__(self, what: str, **args: Any):
        self.id = what
        self.arguments = args
        super().__init__(f"{what}: {args}")


class Cluster:
    """An executor, see `workers`. `close` it."""

    def __init__(
        self,
        address: str,
        parsers: Sequence[Parser],
        prefilter: str = "auto",
        tell: Callable[[str], None] = lambda address: None,
    ):
        """Connects, and compares every worker with this process. `tell` hears the address of a cluster that
        was lost; the rest is then parsed here.

        Raises ClusterError, ImportError where Dask is not installed, ProblemsError where a definition cannot
        be read any more.
        """
        self.address = address
        self._definitions = Definitions(parsers, prefilter)
        self._here: Parse | None = None
        self._texts = remote.texts_of(parsers)
        self._digest = remote.digest(parsers)
        self._tell = tell
        self._lost = self._closed = False
        self._runs = 0
        self._numbers = count()
        self._logs: Counter[str] = Counter()  # worker -> logs that it reads forwards
        self._lock = threading.Lock()
        self._client = _connected(address)
        try:
            self._compare()
        except BaseException:
            self._client.close()
            raise
        self._pool = ThreadPoolExecutor(MOST, thread_name_prefix="cluster")

    def _compare(self) -> None:
        """Refuse workers that are not as we are."""
        if not self._workers():
            with suppress(OSError, TimeoutError):
                self._client.wait_for_workers(1, timeout=PATIENCE)
        try:
            told: dict[str, Any] = self._client.run(remote.about)
        except Exception as error:  # whatever keeps a worker from importing this program
            raise ClusterError("missing", address=self.address, why=_first_line(error)) from error
        if not told:
            raise ClusterError("idle", address=self.address)
        for worker, nature in sorted(told.items()):
            _same(worker, nature)

    # ------------------------------------------------------------ the executor

    def run(self, pieces: Iterator[Piece], forward: bool) -> Iterator[Parsed]:
        """What came out of each piece, in order. Raises ClusterError where a worker refuses."""
        waiting: deque[tuple[Piece, Future[Any]]] = deque()
        log = _Log()
        self._runs += 1
        try:
            ended = False
            while True:
                while not ended and len(waiting) < self._ahead(forward):
                    piece = next(pieces, None)
                    if piece is None:
                        ended = True
                        break
                    after = waiting[-1][1] if forward and waiting else None
                    waiting.append((piece, self._pool.submit(self._ask, piece, log, after)))
                if not waiting:
                    return
                piece, future = waiting.popleft()
                try:
                    yield unpacked(future.result())
                except Gone:
                    self._look()
                    yield self._parsed_here(piece)
        finally:
            self._runs -= 1
            for _, future in waiting:
                future.cancel()
            if log.worker:
                self._logs[log.worker] -= 1

    def _ahead(self, forward: bool) -> int:
        if self._lost:
            return 1
        return _FORWARD if forward else max(2, min(MOST, 2 * self._threads) // self._runs)

    def _parsed_here(self, piece: Piece) -> Parsed:
        if self._here is None:
            self._here = self._definitions()
        return self._here(piece)

    def _look(self) -> None:
        """Is anybody left?"""
        if not self._lost and not self._workers():
            self._lost = True
            self._tell(self.address)

    def _workers(self) -> dict[str, int]:
        """Addresses of the workers and their threads; none where the scheduler is gone."""
        try:
            found: dict[str, int] = dict(self._client.nthreads() or {})
        except Exception:  # a connection breaks in many ways, and all of them mean this
            found = {}
        self._threads = sum(found.values())
        return found

    # ------------------------------------------------------------ one piece, in a thread

    def _ask(self, piece: Piece, log: _Log, after: Future[Any] | None) -> bytes:
        """The packed result of a piece. Raises Gone where nobody can parse it, and ClusterError."""
        if after is not None:
            concurrent.futures.wait([after])
        if self._lost:
            raise Gone
        plain = piece.form == PLAIN
        request = remote.Request(
            remote.about(),
            self._digest,
            tuple(piece),
            remote.samples(piece.path, piece.start, piece.end if plain else None),
            self._definitions.prefilter,
            self._definitions.native,
        )
        while True:
            word, answer = self._done(request, "" if plain else self._pinned(log))
            if word == remote.PARTS:
                return bytes(answer)
            if word == remote.WANT_DEFINITIONS and request.texts is None:
                request = request._replace(texts=self._texts)
            elif word == remote.WANT_BYTES and plain and request.data is None:
                request = request._replace(data=remote.bytes_of(piece))
            elif word == remote.REFUSED:
                self._refused(*answer)
            else:  # a log read forwards that the worker has not: it is read here
                raise Gone

    def _done(self, request: remote.Request, worker: str) -> remote.Answer:
        from distributed import CancelledError, TimeoutError
        from distributed.comm.core import CommClosedError
        from distributed.scheduler import KilledWorker

        lost = (CancelledError, asyncio.CancelledError, concurrent.futures.CancelledError)
        place = {"workers": [worker], "allow_other_workers": True} if worker else {}
        try:
            future = self._client.submit(
                remote.work,
                tuple(request),
                key=f"mailguard-{id(self):x}-{next(self._numbers)}",
                pure=False,
                **place,
            )
        except Exception as error:
            raise Gone from error  # the client is closed, or cannot reach anybody
        while True:
            try:
                answer: remote.Answer = future.result(timeout=PATIENCE)
                return answer
            except TimeoutError:
                if self._closed or not self._workers():
                    raise Gone from None
            except (*lost, CommClosedError, KilledWorker, UnboundLocalError, RuntimeError) as error:
                # The last two are what distributed 2026.8 makes of a wait that is cancelled while it begins,
                # and of a loop that ended. If `work` itself raised one, it will here as well, and be seen.
                raise Gone from error

    def _pinned(self, log: _Log) -> str:
        """The worker that reads a log forwards; another one where it died."""
        there = self._workers()
        with self._lock:
            if log.worker not in there and there:
                worker = min(there, key=lambda one: (self._logs[one], one))
                if log.worker:
                    self._logs[log.worker] -= 1
                self._logs[worker] += 1
                log.worker = worker
            return log.worker

    def _refused(self, what: str, there: Any) -> None:
        if what == "nature":
            _same(self.address, there)
        raise ClusterError("definitions", address=self.address, here=self._digest[:16], there=str(there)[:16])

    def close(self) -> None:
        """Leave the cluster; it goes on for others. May be repeated."""
        if self._closed:
            return
        self._closed = True
        self._client.close()
        self._pool.shutdown(wait=True, cancel_futures=True)


class _Log:
    """A log that is read forwards, and by whom."""

    def __init__(self) -> None:
        self.worker = ""


def _connected(address: str) -> Any:
    """A client. Its library tells on standard error of each connection that breaks: what of that matters is
    told by us."""
    import distributed

    client: Any = distributed.Client
    for name in ("distributed", "tornado"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return client(address, timeout=PATIENCE, set_as_default=False, name="mailguard")
    except (OSError, TimeoutError, ValueError, TypeError) as error:
        raise ClusterError("unreachable", address=address, why=_first_line(error)) from error


def _same(worker: str, nature: Sequence[str]) -> None:
    """Raises ClusterError where a worker is not as this process."""
    here, there = remote.nature(), remote.Nature(*nature)
    if there != here:
        raise ClusterError(
            "differs",
            worker=worker,
            here=f"{here.program} ({here.code}), Python {here.python}",
            there=f"{there.program} ({there.code}), Python {there.python}",
        )


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0]
