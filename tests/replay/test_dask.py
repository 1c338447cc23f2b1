"""The parse stage on a cluster: the same bytes out, whatever becomes of its workers; refusals."""

from __future__ import annotations

import gzip
import itertools
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from mailguard.core.rules import Parser
from mailguard.definitions.parsers import load_parsers
from mailguard.replay import remote
from mailguard.replay.pieces import Parse, Piece, unpacked
from mailguard.replay.sources import PACKED, PLAIN
from mailguard.replay.workers import Definitions

from .conftest import Try, output
from .test_workers import story

distributed = pytest.importorskip("distributed", reason="Dask is not installed")

from mailguard.replay.cluster import Cluster, ClusterError  # noqa: E402

ARRIVAL = 1_760_100_000


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("logs") / "mail.log"
    path.write_text(story(1, 1500))
    os.utime(path, (ARRIVAL, ARRIVAL))
    return path


def local_cluster(workers: int) -> Any:
    """Workers in processes of their own, on loopback."""
    return distributed.LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs=50,
    )


@pytest.fixture(scope="module")
def workers() -> Iterator[Any]:
    with local_cluster(3) as made:
        yield made


@pytest.fixture
def cluster(workers: Any, parsers: Sequence[Parser]) -> Iterator[Cluster]:
    made = Cluster(workers.scheduler_address, parsers)
    yield made
    made.close()
    made.close()


# ---------------------------------------------------------------- what a worker answers


def request_for(parsers: Sequence[Parser], piece: Piece, **more: Any) -> remote.Request:
    seen = remote.samples(piece.path, piece.start, piece.end)
    return remote.Request(remote.about(), remote.digest(parsers), tuple(piece), seen, **more)


@pytest.fixture
def piece(log: Path) -> Piece:
    size = log.stat().st_size
    start = log.read_bytes().index(b"\n", size // 2) + 1
    return Piece(str(log), PLAIN, float(ARRIVAL), "UTC", (), None, 3, start, size)


@pytest.fixture
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_loaded", {})


@pytest.mark.usefixtures("nothing_loaded")
def test_definitions_are_asked_for_once(parsers: Sequence[Parser], piece: Piece) -> None:
    asked = request_for(parsers, piece)
    assert remote.work(tuple(asked)) == (remote.WANT_DEFINITIONS, None)
    word, answer = remote.work(tuple(asked._replace(texts=remote.texts_of(parsers))))
    assert word == remote.PARTS
    assert unpacked(answer) == Definitions(parsers)()(piece)
    assert remote.work(tuple(asked)) == (word, answer)


@pytest.mark.usefixtures("nothing_loaded")
def test_bytes_that_are_sent_are_the_file(parsers: Sequence[Parser], piece: Piece, tmp_path: Path) -> None:
    """Events keep the log's name and their places in it."""
    asked = request_for(parsers, piece, texts=remote.texts_of(parsers), data=remote.bytes_of(piece))
    away = asked._replace(piece=tuple(piece._replace(path=str(tmp_path / "elsewhere"))))
    found = unpacked(remote.work(tuple(away))[1])
    here = Definitions(parsers)()(piece)
    assert [(one[7] if len(one) > 2 else one[0][7]) for one in found.drafts] == [
        (one[7] if len(one) > 2 else one[0][7]) for one in here.drafts
    ]
    assert found.records == here.records > 100


@pytest.mark.usefixtures("nothing_loaded")
def test_another_file_of_that_name_is_not_read(
    parsers: Sequence[Parser], log: Path, piece: Piece, tmp_path: Path
) -> None:
    """Every host has a mail.log; not there, too short, or other bytes in it: the worker wants ours."""
    other = tmp_path / "mail.log"
    moved = piece._replace(path=str(other))
    asked = request_for(parsers, piece, texts=remote.texts_of(parsers))._replace(piece=tuple(moved))
    assert remote.work(tuple(asked)) == (remote.WANT_BYTES, None)
    other.write_bytes(log.read_bytes()[:-1])
    assert remote.work(tuple(asked)) == (remote.WANT_BYTES, None)
    other.write_text(story(2, 1600))
    assert remote.work(tuple(asked)) == (remote.WANT_BYTES, None)
    shutil.copyfile(log, other)
    assert remote.work(tuple(asked))[0] == remote.PARTS


@pytest.mark.usefixtures("nothing_loaded")
def test_other_definitions_are_refused(parsers: Sequence[Parser], piece: Piece) -> None:
    """What a worker makes of the texts must be what was made of them here."""
    texts = remote.texts_of(parsers)
    changed = [(path, text.replace("auth_failure", "tls_failure")) for path, text in texts]
    word, why = remote.work(tuple(request_for(parsers, piece, texts=changed)))
    assert word == remote.REFUSED
    assert why[0] == "definitions"


def test_another_version_is_refused(parsers: Sequence[Parser], piece: Piece) -> None:
    """Before anything else of the request is looked at, which another version may have made otherwise."""
    for nature in (("0.0.1", *remote.about()[1:]), (*remote.about()[:1], "3.9", remote.about()[2])):
        assert remote.work((nature, object())) == (remote.REFUSED, ("nature", remote.about()))


def test_the_digest_is_of_what_definitions_say(parsers: Sequence[Parser], tmp_path: Path) -> None:
    """All shipped ones have one, loaded from wherever; another template is another."""
    shipped = load_parsers()
    assert remote.digest(shipped) == remote.digest(load_parsers(check=False))
    assert remote.digest(parsers) == remote.digest(load_parsers(("postfix", "dovecot")))
    assert remote.digest(parsers) != remote.digest(parsers[:1])
    assert remote.digest(parsers) != remote.digest(parsers[::-1])


@pytest.mark.usefixtures("nothing_loaded")
def test_threads_of_a_worker_take_turns(parsers: Sequence[Parser], piece: Piece) -> None:
    asked = tuple(request_for(parsers, piece, texts=remote.texts_of(parsers)))
    expected = remote.work(asked)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(remote.work(asked))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 8


# ---------------------------------------------------------------- a cluster


def test_the_same_bytes_out(rehearse: Try, log: Path, cluster: Cluster) -> None:
    """As of one process, with sessions that go over the ends of pieces."""
    one = output(rehearse(log, workers=1))
    assert output(rehearse(log, executor=cluster, piece=8000)) == one
    assert output(rehearse(log, executor=cluster, piece=1 << 20)) == one
    assert len(one) > 5000


def test_compressed_logs(rehearse: Try, log: Path, cluster: Cluster, tmp_path: Path) -> None:
    """Their parts go to one worker, in order."""
    packed = tmp_path / "mail.log.gz"
    packed.write_bytes(gzip.compress(log.read_bytes()))
    os.utime(packed, (ARRIVAL, ARRIVAL))
    assert output(rehearse(packed, executor=cluster, piece=20_000)) == output(rehearse(log))
    assert len(+cluster._logs) == 0


def test_logs_that_overlap(rehearse: Try, cluster: Cluster, tmp_path: Path) -> None:
    names = []
    for name in ("a", "b", "c"):
        path = tmp_path / f"{name}.log"
        path.write_text(story(ord(name), 300))
        names.append(path)
    assert output(rehearse(*names, executor=cluster, piece=3000)) == output(rehearse(*names))


def test_a_worker_without_the_file(
    rehearse: Try, log: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is sent the bytes; a compressed log is read here. What the workers see is another file."""
    monkeypatch.setattr(remote, "samples", lambda path, start, end: "another file")
    packed = tmp_path / "mail.log.gz"
    packed.write_bytes(gzip.compress(log.read_bytes()))
    os.utime(packed, (ARRIVAL, ARRIVAL))
    one = output(rehearse(log))
    assert output(rehearse(log, executor=cluster, piece=8000)) == one
    assert output(rehearse(packed, executor=cluster, piece=20_000)) == one


def pieces_of(log: Path, parts: int) -> list[Piece]:
    data = log.read_bytes()
    size = len(data)
    points = [0] + [data.index(b"\n", size * n // parts) + 1 for n in range(1, parts)] + [size]
    return [
        Piece(str(log), PLAIN, float(ARRIVAL), "UTC", (), None, number, begin, end)
        for number, (begin, end) in enumerate(itertools.pairwise(points))
    ]


def test_no_more_than_a_window_is_on_the_way(log: Path, cluster: Cluster) -> None:
    """Who reads slowly is not buried."""
    asked = 0

    def counted() -> Iterator[Piece]:
        nonlocal asked
        for one in pieces_of(log, 60):
            asked += 1
            yield one

    results = cluster.run(counted(), False)
    for taken in range(1, 20):
        next(results)
        assert asked <= taken + 6  # twice as many as there are workers
    results.close()


@pytest.mark.parametrize("killed", [1, 2])
def test_workers_that_die_lose_nothing(
    log: Path, parsers: Sequence[Parser], killed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one left, what they owed goes there; with none, it is parsed here, and said."""
    monkeypatch.setattr("mailguard.replay.cluster.PATIENCE", 1.0)
    make = Definitions(parsers)
    pieces = pieces_of(log, 24)
    expected = [make()(piece) for piece in pieces]
    lost: list[str] = []
    with local_cluster(2) as made:
        cluster = Cluster(made.scheduler_address, parsers, tell=lost.append)
        try:
            results: list[Any] = []
            for result in cluster.run(iter(pieces), False):
                results.append(result)
                if len(results) == 3:
                    for worker in list(made.workers.values())[:killed]:
                        worker.close_gracefully()  # its nanny shall start no other in its place
                        os.kill(worker.pid, signal.SIGKILL)
            assert results == expected
        finally:
            cluster.close()
        assert lost == ([made.scheduler_address] if killed == 2 else [])


def test_a_compressed_log_survives_its_worker(log: Path, parsers: Sequence[Parser], tmp_path: Path) -> None:
    """Another worker reads it from its beginning, and drops what was there before."""
    packed = tmp_path / "mail.log.gz"
    packed.write_bytes(gzip.compress(log.read_bytes()))
    first = Piece(str(packed), PACKED, float(ARRIVAL), "UTC", (), None, 0, size=20_000)
    make = Parse(Definitions(parsers)().scanner)
    expected = []
    while not (expected and expected[-1].complete):
        expected.append(make(first._replace(number=len(expected))))
    assert len(expected) > 6
    with local_cluster(2) as made:
        cluster = Cluster(made.scheduler_address, parsers)
        try:
            results: list[Any] = []
            for result in cluster.run((first._replace(number=n) for n in itertools.count()), True):
                results.append(result)
                if len(results) == 2:
                    busy = max(cluster._logs, key=lambda one: cluster._logs[one])
                    pid = cluster._client.run(os.getpid, workers=[busy])[busy]
                    os.kill(pid, signal.SIGKILL)
                if result.complete:
                    break
            assert results == expected
        finally:
            cluster.close()


def test_the_whole_cluster_goes(log: Path, parsers: Sequence[Parser]) -> None:
    """Scheduler and workers: the rest is parsed here."""
    pieces = pieces_of(log, 12)
    make = Definitions(parsers)
    expected = [make()(piece) for piece in pieces]
    lost: list[str] = []
    made = local_cluster(1)
    cluster = Cluster(made.scheduler_address, parsers, tell=lost.append)
    try:
        results: list[Any] = []
        for result in cluster.run(iter(pieces), False):
            results.append(result)
            if len(results) == 2:
                made.close()
        assert results == expected
        assert lost == [cluster.address]
    finally:
        cluster.close()
        made.close()


# ---------------------------------------------------------------- refusals


def test_nobody_listens(parsers: Sequence[Parser], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailguard.replay.cluster.PATIENCE", 0.5)
    with pytest.raises(ClusterError) as error:
        Cluster("tcp://127.0.0.1:9", parsers)
    assert error.value.id == "unreachable"


def test_nobody_works(parsers: Sequence[Parser], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailguard.replay.cluster.PATIENCE", 2)
    with local_cluster(0) as made, pytest.raises(ClusterError) as error:
        Cluster(made.scheduler_address, parsers)
    assert error.value.id == "idle"


def test_a_worker_of_another_version(
    workers: Any, parsers: Sequence[Parser], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named, with what it has and what we have."""
    mine = remote.nature()._replace(program="9.9.9")
    monkeypatch.setattr(remote, "nature", lambda: mine)
    with pytest.raises(ClusterError) as error:
        Cluster(workers.scheduler_address, parsers)
    assert error.value.id == "differs"
    assert "9.9.9" in error.value.arguments["here"]
    assert f"{sys.version_info[0]}.{sys.version_info[1]}" in error.value.arguments["there"]


def test_definitions_that_differ_at_a_worker(
    cluster: Cluster, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was loaded here is not what the file says now: nobody parses by it."""
    monkeypatch.setattr(cluster, "_digest", "0" * 64)
    with pytest.raises(ClusterError) as error:
        list(cluster.run(iter(pieces_of(log, 3)), False))
    assert error.value.id == "definitions"
