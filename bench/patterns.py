"""What the patterns of the shipped parsers cost: proving, matching a line, and the worst line a client can
send.

    python bench/patterns.py [PARSER ...]

For each rule: milliseconds of its proof, microseconds of a match of its shortest line, and the slowest of
the hostile lines of 8 KiB that `hostile_lines` makes up for it; the same two by the compiled machine. The
promise is that none takes over 2 ms, whatever the foreign text.
"""

from __future__ import annotations

import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mailguard.core import native
from mailguard.core import pattern as patterns
from mailguard.core.pattern import cost
from mailguard.core.pattern.slots import members
from mailguard.core.pattern.template import Again, Choice, Maybe, Node, Slot, Text
from mailguard.core.pattern.variants import Variant
from mailguard.core.rules import Addresses

LENGTH = 8192


def text_of(part: Node, full: bool = True) -> bytes:
    """A text that fits this part; `full`: with its optional parts."""
    if isinstance(part, Text):
        return part.text
    if isinstance(part, Choice):
        return part.texts[0]
    if isinstance(part, Maybe):
        return b"".join(text_of(one) for one in part.parts) if full else b""
    if isinstance(part, Again) or part.type.foreign:
        return b""
    if part.type.name == "ip":
        return b"192.0.2.7"
    if part.type.name == "address":
        return b"a@example.net"
    if part.type.name == "stamp":
        return b"12/Dec/2017:00:01:49"
    return bytes([_plain(part.type.runs[0][0])]) * max(1, part.type.least)


def _plain(chars: int) -> int:
    return next((byte for byte in b"a1A" if chars >> byte & 1), members(chars)[0])


def full_text(part: Node) -> bytes:
    """A text as long as this part allows, of what tempts the search to go on."""
    if isinstance(part, Slot) and part.type.runs and part.type.name != "ip":
        return bytes([_plain(part.type.runs[0][0])]) * part.type.greatest
    return b"".join(map(full_text, part.parts)) if isinstance(part, Maybe) else text_of(part)


def foreign_texts(shape: Variant) -> Iterator[bytes]:
    """What a client would say to make the search for the rest of the line long."""
    tail = [text_of(part) for part in shape.tail]
    lead = next((part.text for part in shape.tail if isinstance(part, Text)), b"")
    yield from (b"a", b" ", b'"', b'\\"', b">", b",", b": ", b"\xff", b"1.")
    yield from shape.between
    for size in range(1, len(tail) + 1):
        yield b"".join(tail[:size])
        yield b"".join(tail[:size])[:-1] or b"x"
    for last in range(len(shape.tail)):
        yield b"".join([*tail[:last], full_text(shape.tail[last])])
    if lead:
        yield from (lead + b'"', lead + b'"\\"', lead + b'\\"', lead + b'"a"', lead[:1], lead[:-1] or lead)


def hostile_lines(pattern: patterns.Pattern) -> Iterator[bytes]:
    """Lines of 8 KiB: the foreign slots filled with each of `foreign_texts`, with a good and with a spoilt
    end; and beginnings in which every slot is as long as it may be."""
    for shape in pattern.shapes:
        head, tail = (b"".join(map(text_of, parts)) for parts in (shape.head, shape.tail))
        for text in foreign_texts(shape) if shape.foreign else ():
            for end in (tail, tail + b"\x01", tail[:-1]):
                filling = text * (LENGTH // len(text) + 1)
                middle = b"".join(text + filling[:64] for text in shape.between)
                yield (head + filling[: LENGTH - len(head) - len(middle) - len(end)] + middle + end)[:LENGTH]
        for index, part in enumerate(shape.head):
            before = b"".join(map(text_of, shape.head[:index]))
            for following in [b"", *(text_of(one) for one in shape.head[index + 1 : index + 3])]:
                filling = (following or full_text(part) or b"a") * LENGTH
                yield (before + full_text(part)[:10] + filling)[:LENGTH]
                yield (before + full_text(part) + filling)[:LENGTH]
    if pattern.echo is not None:
        echo = pattern.echo
        middle = b"".join(map(text_of, echo.middle))
        size = LENGTH // 2 - 100
        for name in (b"a" * size, middle * (size // len(middle)), b"x" + middle * (size // 2 // len(middle))):
            yield echo.before + name + middle + name + echo.after
            yield echo.before + name + middle + name[:-1] + b"b" + echo.after
            yield echo.before + (name + middle) * 2 + echo.after


def seconds(work: Callable[[], object], least: float = 0.002) -> float:
    """Seconds of one call, the best of five rounds."""
    number = 1
    while True:
        start = time.perf_counter()
        for _ in range(number):
            work()
        if time.perf_counter() - start > least:
            break
        number *= 2
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(number):
            work()
        best = min(best, time.perf_counter() - start)
    return best / number


def worst(pattern: patterns.Pattern, match: Callable[[bytes, int, int], object]) -> tuple[float, bytes]:
    """The slowest hostile line of a pattern for this way to match it, and its seconds."""
    slowest = (0.0, b"")
    for line in hostile_lines(pattern):
        start = time.perf_counter()
        match(line, 0, len(line))
        spent = time.perf_counter() - start
        if spent > slowest[0]:
            spent = min(spent, seconds(partial(match, line, 0, len(line)), 0))
            slowest = max(slowest, (spent, line))
    return slowest


def compiled_match(pattern: patterns.Pattern) -> Callable[[bytes, int, int], object] | None:
    """The compiled machine for a pattern, None where it is not there."""
    module = native.load("scan")
    return module.Matcher(pattern, Addresses()).match if module is not None else None


def shortest_line(pattern: patterns.Pattern) -> bytes:
    """A short line of this template."""
    return b"".join(text_of(part, full=False) for part in pattern.parts)


def report(names: Sequence[str]) -> None:
    folder = Path(__file__).resolve().parent.parent / "parsers"
    print(
        f"{'rule':44} {'proof ms':>9} {'match us':>9} {'worst ms':>9} "
        f"{'compiled':>9} {'worst ms':>9} {'bound':>8}"
    )
    slowest = slowest_compiled = 0.0
    for path in sorted(folder.glob("*.toml")):
        if names and path.stem not in names:
            continue
        compiled = []
        for rule in tomllib.loads(path.read_text()).get("rule", []):
            start = time.perf_counter()
            pattern = patterns.compile(rule["match"])
            proof = time.perf_counter() - start
            compiled.append(pattern)
            line = shortest_line(pattern)
            match = seconds(partial(pattern.match, line, 0, len(line)))
            bad = worst(pattern, pattern.match)[0]
            slowest = max(slowest, bad)
            machine = compiled_match(pattern)
            columns = f"{'':9} {'':9}"
            if machine is not None:
                compiled_bad = worst(pattern, machine)[0]
                slowest_compiled = max(slowest_compiled, compiled_bad)
                quick = seconds(partial(machine, line, 0, len(line)))
                columns = f"{quick * 1e6:9.2f} {compiled_bad * 1e3:9.3f}"
            name = f"{path.stem}/{rule['name']}"
            steps = cost.steps_of(pattern.shapes)
            print(f"{name:44} {proof * 1e3:9.2f} {match * 1e6:9.2f} {bad * 1e3:9.3f} {columns} {steps:8}")
        start = time.perf_counter()
        pairs = [(a, b) for index, a in enumerate(compiled) for b in compiled[index + 1 :]]
        for a, b in pairs:
            patterns.prove_pair(a, b)
        print(f"{path.stem}: {len(pairs)} pairs proved in {(time.perf_counter() - start) * 1e3:.0f} ms")
    print(f"slowest line of {LENGTH} bytes: {slowest * 1e3:.3f} ms, compiled {slowest_compiled * 1e3:.3f} ms")


if __name__ == "__main__":
    report(sys.argv[1:])
