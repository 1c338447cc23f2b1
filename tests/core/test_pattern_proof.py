"""The proof and the matching, held against a reader that knows no shortcut: it tries every way to read a
line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mailguard.core import pattern as p
from mailguard.core.pattern import matching
from mailguard.core.pattern.template import Again, Choice, Maybe, Node, Slot, Text
from mailguard.notation import parse_address
from mailguard.problems import ProblemsError

Spans = dict[str, tuple[int, int]]


# ---------------------------------------------------------------- the slow reader


def is_envelope_address(value: bytes) -> bool:
    """Unquoted stretches and quoted strings by turns, spelt out."""
    quoted = escaped = False
    for byte in value:
        char = bytes([byte])
        if not quoted:
            if char == b'"':
                quoted = True
            elif byte < 32 or byte == 127 or char in (b" ", b"<", b">", b"\\"):
                return False
        elif byte == 10:
            return False
        elif escaped:
            escaped = False
        elif char == b"\\":
            escaped = True
        elif char == b'"':
            quoted = False
    return not quoted


def fits(slot: Slot, value: bytes) -> bool:
    """Whether a slot may hold this text."""
    if slot.type.foreign:
        return True
    if slot.type.name == "address":
        return is_envelope_address(value)
    ends = {0}
    for chars, low, high in slot.type.runs:
        reached = set()
        for start in ends:
            for end in range(start, min(len(value), start + high) + 1):
                if end > start and not chars >> value[end - 1] & 1:
                    break
                if end >= start + low:
                    reached.add(end)
        ends = reached
    return len(value) in ends and (slot.name != "source" or parse_address(value) is not None)


def read(parts: Sequence[Node], line: bytes, at: int = 0) -> Iterator[tuple[int, Spans]]:
    """Every way to read a beginning of line[at:]: where it ends, and the spans of the named slots."""
    if not parts:
        yield at, {}
        return
    first, rest = parts[0], parts[1:]
    if isinstance(first, Text):
        ways: Iterator[tuple[int, Spans]] = iter(
            [(at + len(first.text), {})] if line.startswith(first.text, at) else []
        )
    elif isinstance(first, Choice):
        ways = iter([(at + len(text), {}) for text in first.texts if line.startswith(text, at)])
    elif isinstance(first, Maybe):
        ways = iter([*read(first.parts, line, at), (at, {})])
    elif isinstance(first, Again):
        ways = iter([(end, {"=" + first.name: (at, end)}) for end in range(at, len(line) + 1)])
    else:
        ways = iter(
            [
                (end, {first.name: (at, end)} if first.name else {})
                for end in range(at, len(line) + 1)
                if fits(first, line[at:end])
            ]
        )
    for middle, spans in ways:
        for end, more in read(rest, line, middle):
            yield end, {**spans, **more}


def readings(parts: Sequence[Node], line: bytes) -> list[Spans]:
    """Every way to read the whole line."""
    found = []
    for end, spans in read(parts, line):
        if end == len(line):
            again = {name[1:]: span for name, span in spans.items() if name.startswith("=")}
            if all(line[slice(*spans[name])] == line[slice(*span)] for name, span in again.items()):
                found.append({name: span for name, span in spans.items() if not name.startswith("=")})
    return found


def place(spans: Spans, name: str) -> tuple[int, int] | None:
    """The span of a slot; absent and empty are the same."""
    start, end = spans.get(name, (0, 0))
    return (start, end) if end > start else None


def values(pattern: p.Pattern, line: bytes, spans: Spans) -> tuple[bytes | None, ...]:
    return tuple(line[slice(*spans[name])] if name in spans else None for name in pattern.names)


# ---------------------------------------------------------------- small random templates

_TEXT = st.text("ab., <>", min_size=1, max_size=3)
_FIELDS = ["user", "sender", "helo", "recipient"]
_CLASS = st.builds(
    lambda chars, low, more: f"[{chars}]{{{low},{max(1, low + more)}}}",
    st.sampled_from(["a", "b", "ab", "a.", "ab,", "b<", "ab. ", "^a", "^,>"]),
    st.integers(0, 2),
    st.integers(0, 3),
)
_TYPE = st.one_of(
    _CLASS,
    st.just("foreign"),
    st.sampled_from(
        ["foreign", "foreign", "address", "address", "word", "host", "prose", "plain", "helo", "token"]
    ),
)
_CHOICE = st.lists(_TEXT, min_size=2, max_size=3, unique=True).map(lambda texts: "{" + "|".join(texts) + "}")


@st.composite
def templates(draw: st.DrawFn, source: bool = False) -> str:
    """Template text: mostly literal text between slots, so that many are accepted."""
    fields = list(draw(st.permutations(_FIELDS)))
    spent = [not source]

    def slot() -> str:
        if not spent[0] and draw(st.booleans()):
            spent[0] = True
            return "{source:ip}"
        name = fields.pop() if fields and draw(st.booleans()) else ""
        return f"{{{name}:{draw(_TYPE)}}}"

    def sequence(depth: int, most: int) -> str:
        out = []
        for _ in range(draw(st.integers(1 if depth < 2 else 2, most))):
            kind = draw(st.integers(0, 9))
            if kind < 6:
                if not draw(st.integers(0, 3)):
                    out.append(draw(_TEXT))
                out.append(slot())
                if draw(st.integers(0, 7)):
                    out.append(draw(_TEXT))
            elif kind < 7:
                out.append(draw(_TEXT))
            elif kind == 7:
                out.append(draw(_CHOICE))
            elif depth:
                out.append("{?" + sequence(depth - 1, 2) + "?}")
        return "".join(out) or draw(_TEXT)

    text = sequence(2, 5)
    return text if spent[0] else draw(_TEXT) + "{source:ip}" + draw(_TEXT) + text


_FILL = st.text('ab., <>"\\1:', max_size=4).map(str.encode)
_ADDRESS = st.sampled_from([b"1.2.3.4", b"10.0.0.1", b"::1", b"1::", b"a::b", b"1.1.1.11", b"1.2", b"b."])


def instance(draw: st.DrawFn, parts: Sequence[Node]) -> bytes:
    """A line that is often one of the template's."""
    out = b""
    for part in parts:
        if isinstance(part, Text):
            out += part.text
        elif isinstance(part, Choice):
            out += draw(st.sampled_from(part.texts))
        elif isinstance(part, Maybe):
            out += instance(draw, part.parts) if draw(st.booleans()) else b""
        elif isinstance(part, Slot) and part.type.name == "ip":
            out += draw(_ADDRESS)
        elif isinstance(part, Slot) and part.type.foreign and draw(st.integers(0, 2)) == 0:
            out += draw(_FILL) + instance(draw, [one for one in parts if one is not part][:3]) + draw(_FILL)
        elif isinstance(part, Slot) and not part.type.foreign:
            good = [text for text in draw(st.lists(_FILL, min_size=1, max_size=4)) if fits(part, text)]
            few = [
                bytes([byte]) * part.type.least
                for byte in b"ab1."
                if fits(part, bytes([byte]) * part.type.least)
            ]
            out += (good or few or [b"a"])[0]
        else:
            out += draw(_FILL)
    return out


@st.composite
def lines(draw: st.DrawFn, parts: Sequence[Node]) -> bytes:
    """A line of the template, often damaged."""
    line = instance(draw, parts)
    if len(line) > 28:
        line = line[:28]
    if draw(st.integers(0, 3)) == 0 and line:
        at = draw(st.integers(0, len(line)))
        line = line[:at] + draw(_FILL) + line[at + draw(st.integers(0, 1)) :]
    return line


def compiled(template: str) -> p.Pattern | None:
    try:
        return p.compile(template)
    except ProblemsError:
        return None


@pytest.fixture(params=[matching.SHORT, -1], ids=["one call", "in parts"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines up to a length are matched in one call, longer ones in parts: tests that ask for this run with
    both."""
    monkeypatch.setattr(matching, "SHORT", request.param)


def accepted(pattern: p.Pattern, line: bytes) -> bool:
    """Whether the automaton of the proof takes this line."""
    net = pattern.automaton()
    states = {0}
    for byte in line:
        states = net.step(states, byte)
    return bool(states & net.accept)


_SETTINGS = settings(max_examples=100, deadline=None, suppress_health_check=[*HealthCheck])


@_SETTINGS
@given(st.text('a"\\\\ <,', max_size=10))
@example('"\\a\\a"')
@example('"\\\\"')
@example('"\\""')
def test_the_proof_knows_every_address(text: str) -> None:
    """The automaton takes each text that is an envelope address, and no other: quotes and backslashes
    included."""
    pattern, line = p.compile("<{sender:address}>"), text.encode()
    assert accepted(pattern, b"<" + line + b">") == is_envelope_address(line)
    assert (pattern.match(b"<" + line + b">", 0, len(line) + 2) is not None) == is_envelope_address(line)


@pytest.mark.usefixtures("both_ways")
@_SETTINGS
@given(st.data())
def test_matching_and_proof_agree_with_every_reading(data: st.DataObject) -> None:
    """A line matches if and only if it can be read; what match gives is one of its readings; and what is
    proved has the same place in all of them."""
    pattern = compiled(data.draw(templates(source=data.draw(st.booleans()))))
    if pattern is None:
        return
    for _ in range(4):
        line = data.draw(lines(pattern.parts))
        found = pattern.match(line, 0, len(line))
        every = readings(pattern.parts, line)
        if "source" not in pattern.names or "source" in pattern.proved:
            assert (found is not None) == bool(every), (pattern.text, line)
        if every:
            assert accepted(pattern, line), (pattern.text, line)
        if found is not None:
            assert found in [values(pattern, line, spans) for spans in every], (pattern.text, line)
            assert all(literal in line for literal in pattern.literals)
            assert pattern.match(b"ab<" + line + b">ba", 3, 3 + len(line)) == found
            assert pattern.match(bytearray(line), 0, len(line)) == found
            assert pattern.match(memoryview(b"." + line), 1, 1 + len(line)) == found
        for name in pattern.proved:
            assert len({place(spans, name) for spans in every}) <= 1, (pattern.text, name, line)


@_SETTINGS
@given(st.data())
def test_a_refusal_shows_a_line_that_has_both_readings(data: st.DataObject) -> None:
    """The line beside an ambiguity exists, and the two readings it is said to have exist too."""
    pattern = compiled(data.draw(templates(source=data.draw(st.booleans()))))
    if pattern is None:
        return
    for name, found in pattern.ambiguous.items():
        if not found.exact or len(found.line) > 40:
            continue
        every = readings(pattern.parts, found.line)
        assert len({place(spans, name) for spans in every}) > 1, (pattern.text, name, found)
        texts = {found.line[slice(*spans.get(name, (0, 0)))] for spans in every}
        assert {found.reading_a, found.reading_b} <= texts, (pattern.text, found)


@_SETTINGS
@given(st.data())
def test_two_rules_declared_apart_never_give_two_sources(data: st.DataObject) -> None:
    """Where the proof of a pair finds nothing, no line, whole or cut anywhere, matches both with different
    sources."""
    a, b = (compiled(data.draw(templates(source=True))) for _ in range(2))
    if a is None or b is None or not {"source"} <= a.proved & b.proved or p.prove_pair(a, b) is not None:
        return
    for one in (a, b):
        line = data.draw(lines(one.parts))
        for end in range(len(line) + 1):
            for cut in (False, True):
                found = [pattern.match(line, 0, end, cut) for pattern in (a, b)]
                sources = {
                    got[pattern.names.index("source")]
                    for pattern, got in zip((a, b), found, strict=True)
                    if got
                }
                assert len(sources) <= 1, (a.text, b.text, line[:end], cut)


@_SETTINGS
@given(st.data())
def test_a_pair_that_is_refused_shows_its_line(data: st.DataObject) -> None:
    """The line beside a refused pair is read with two places of the source."""
    a, b = (compiled(data.draw(templates(source=True))) for _ in range(2))
    if a is None or b is None:
        return
    found = p.prove_pair(a, b)
    if found is None or not found.exact or found.where == "cut" or len(found.line) > 40:
        return
    places = [{place(spans, "source") for spans in readings(one.parts, found.line)} for one in (a, b)]
    assert all(places), (a.text, b.text, found)
    assert any(x != y for x, y in product(*places)), (a.text, b.text, found)


@_SETTINGS
@given(st.data())
def test_a_cut_line_gives_the_source_of_the_whole_one(data: st.DataObject) -> None:
    """Wherever a line is cut: its source is that of the whole line, or nothing."""
    pattern = compiled(data.draw(templates(source=True)))
    if pattern is None or "source" not in pattern.proved:
        return
    line = data.draw(lines(pattern.parts))
    found = pattern.match(line, 0, len(line))
    if found is None:
        return
    where = pattern.names.index("source")
    for end in range(len(line) + 1):
        cut = pattern.match(line, 0, end, True)
        assert cut is None or cut[where] == found[where], (pattern.text, line, end)


@settings(max_examples=200, deadline=None, suppress_health_check=[*HealthCheck])
@given(st.data())
def test_a_beginning_of_a_line_that_fits_fits(data: st.DataObject) -> None:
    """Progress over any beginning of a matching line reaches its end; over a line it never passes a byte that
    ends every reading."""
    pattern = compiled(data.draw(templates()))
    if pattern is None:
        return
    line = data.draw(lines(pattern.parts))
    if pattern.match(line, 0, len(line)) is not None:
        for end in range(len(line) + 1):
            assert p.progress(pattern, line[:end]) == end
    else:
        reached = p.progress(pattern, line)
        assert 0 <= reached <= len(line)
        assert p.expected(pattern, line, reached)


_ECHO = [
    "{user:foreign} a{:[ab]{1,3}}b {=user}",
    "x{user:foreign}, {helo:[ab]{1,3}} {=user}>",
    "{user:foreign}{a|aba}{=user}b",
    "<{user:foreign},{:[a.]{0,4}},{=user}>",
    "{user:foreign} {? a?}{sender:[ab]{1,2}} {=user}.",
    "{user:foreign}a{helo:word}a{=user}",
]


@pytest.mark.parametrize("template", _ECHO)
@_SETTINGS
@given(st.data())
def test_a_repeated_text_is_read_as_every_reading_says(template: str, data: st.DataObject) -> None:
    """Templates with `{=name}`: the same promise as above."""
    pattern = p.compile(template)
    shape = pattern.echo
    assert shape is not None
    middle = instance(data.draw, shape.middle)
    name = data.draw(
        st.one_of(_FILL, st.just(middle), _FILL.map(lambda text: text + middle), st.just(b"b" + middle))
    )
    line = shape.before + name + middle + name + shape.after
    if data.draw(st.integers(0, 2)) == 0:
        at = data.draw(st.integers(0, len(line)))
        line = line[:at] + data.draw(_FILL) + line[at + data.draw(st.integers(0, 1)) :]
    line = line[:40]
    every = readings(pattern.parts, line)
    found = pattern.match(line, 0, len(line))
    assert (found is not None) == bool(every)
    assert found is None or found in [values(pattern, line, spans) for spans in every]
    for slot in pattern.proved:
        assert len({place(spans, slot) for spans in every}) <= 1, (line, slot)


_ECHO_WITH_SOURCE = [
    "{user:foreign} {source:ip} {=user}",
    '{user:foreign} {source:ip} {=user}"',
    '{user:foreign}" {source:ip} {=user}',
    '{user:foreign} {source:ip} "{=user}"',
    '"{user:foreign} {source:ip} "{=user}"!',
    '{user:foreign}{?"?} {source:ip} {?"?}{=user}',
    "{user:foreign} {source:ip} {:ip} {=user}",
    "{user:foreign} {:ip} {source:ip} {=user}",
    "{user:foreign}, {source:ip},{? {:ip}?} {=user}",
    "ab{user:foreign} {source:ip} {=user}",
]


@pytest.mark.parametrize("template", _ECHO_WITH_SOURCE)
@pytest.mark.parametrize("other", _ECHO_WITH_SOURCE)
@settings(max_examples=12, deadline=None, suppress_health_check=[*HealthCheck])
@given(data=st.data())
def test_two_rules_with_a_repeated_text_keep_apart(template: str, other: str, data: st.DataObject) -> None:
    """Where the proof finds nothing, no line that nests one shape in the other has two sources."""
    a, b = p.compile(template), p.compile(other)
    if not {"source"} <= a.proved & b.proved or p.prove_pair(a, b) is not None:
        return
    line = b""
    for pattern in data.draw(st.lists(st.sampled_from([a, b]), min_size=1, max_size=3)):
        shape = pattern.echo
        assert shape is not None
        middle = instance(data.draw, shape.middle)
        name = data.draw(
            st.one_of(_FILL, st.just(line), st.just(middle), st.just(b'"'), st.just(line + middle))
        )
        line = shape.before + name + middle + name + shape.after
        if len(line) > 60:
            break
    line = line[:60]
    sources = {line[slice(*spans["source"])] for pattern in (a, b) for spans in readings(pattern.parts, line)}
    assert len(sources) <= 1, line


def test_repeated_texts_with_the_source_in_two_places_clash() -> None:
    """Two such rules that put the source into different places of one line are refused."""
    a, b = (p.compile(_ECHO_WITH_SOURCE[index]) for index in (6, 7))
    assert p.prove_pair(a, b) is not None
