"""Events files as Parquet, through pyarrow: columns stay columns, no event is made of a row that nobody
asks for."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..model import Event
from .columns import (
    FIELD_COLUMNS,
    FURTHEST,
    Codes,
    EventColumns,
    Facts,
    Texts,
    address_text,
    check_words,
    encoded,
    packed_address,
    proved_names,
    proved_text,
)

ROWS = 1 << 18  # of one row group
_KNOWN = 1 << 20  # addresses that are remembered from row group to row group
_FORMAT = 1
_KEY = b"mailguard"
_WORDS = pa.dictionary(pa.int32(), pa.string())
#: Fields whose values hardly ever come again are plain text.
_PLAIN = frozenset({"session", "queue_id", "message_id"})
_SCHEMA = pa.schema(
    [
        ("kind", _WORDS), ("time", pa.float64()), ("source", _WORDS), ("rule", _WORDS),
        ("weight", pa.int32()),
        ("log", _WORDS), ("position", pa.int64()), ("scope", _WORDS), ("may_ban", pa.bool_()),
        ("proved", _WORDS),
        *((column, pa.string() if name in _PLAIN else _WORDS) for name, column in FIELD_COLUMNS.items()),
    ]
)  # fmt: skip
_NEEDED = ("kind", "time", "source", "rule", "weight", "log", "position", "scope", "may_ban", "proved")
_ORIGIN = frozenset({"rule", "log", "position"})  # where an event comes from decides nothing
_NONE = array("i")


class ParquetWriter:
    """Writes row groups of ROWS events."""

    def __init__(self, file: IO[bytes]):
        self._writer = pq.ParquetWriter(file, _SCHEMA, compression="zstd")
        self._waiting: list[Event] = []
        self._put_away = 0

    @property
    def events(self) -> int:
        return self._put_away + len(self._waiting)

    def write(self, events: Iterable[Event]) -> None:
        self._waiting += events
        while len(self._waiting) >= ROWS:
            ready, self._waiting = (
                self._waiting[:ROWS],
                self._waiting[ROWS:],
            )  # at once: Ctrl-C writes none twice
            self._put(ready)

    def _put(self, events: list[Event]) -> None:
        kinds, times, sources, rules, weights, captured, logs, positions, scopes, bans, proved, _ = zip(
            *events, strict=True
        )
        arrays: list[Any] = [
            _words(kinds),
            pa.array(times, pa.float64()),
            _coded(encoded(sources), address_text),
            _words(rules),
            pa.array(weights, pa.int32()),
            _words(logs),
            pa.array(positions, pa.int64()),
            _words(scopes),
            pa.array(bans, pa.bool_()),
            _coded(encoded(proved), proved_text),
        ]
        present: set[str] = set().union(*captured)
        for name in FIELD_COLUMNS:
            of = pa.string() if name in _PLAIN else _WORDS
            if name not in present:
                arrays.append(pa.nulls(len(events), of))
            elif name in _PLAIN:
                arrays.append(pa.array([_clean(fields.get(name)) for fields in captured], of))
            else:
                arrays.append(_coded(encoded([fields.get(name) for fields in captured]), _clean))
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=_SCHEMA))
        self._put_away += len(events)

    def close(self, facts: Facts) -> None:
        if self._waiting:
            self._put(self._waiting)
            self._waiting = []
        told = json.dumps({"format": _FORMAT} | facts.row())
        self._writer.add_key_value_metadata({_KEY: told.encode()})
        self._writer.close()


def _clean(text: Any) -> Any:
    """Text that UTF-8 can hold: lone surrogates, which stand for odd bytes of file names, are escaped."""
    if text is None or text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _words(values: Iterable[str]) -> Any:
    return _coded(encoded(values), _clean)


def _coded(codes: Codes, text: Any) -> Any:
    numbers = pa.array(codes.codes, pa.int32())
    if -1 in codes.codes:
        numbers = pa.array([None if code < 0 else code for code in codes.codes], pa.int32())
    return pa.DictionaryArray.from_arrays(numbers, pa.array([text(one) for one in codes.values], pa.string()))


# ---------------------------------------------------------------- reading


def _opened(path: str) -> Any:
    from . import EventFileError

    try:
        schema = pq.read_schema(path)
        missing = [name for name in _NEEDED if name not in schema.names]
        if missing:
            raise EventFileError(f"{path} holds no events: the column {missing[0]} is missing")
        for name in _SCHEMA.names:
            if schema.names.count(name) > 1 or pa.types.is_nested(_type(schema, name)):
                raise EventFileError(f"{path} holds no events: {name} is more than one column")
        coded = [one.name for one in _SCHEMA if one.type == _WORDS and one.name in schema.names]
        return pq.ParquetFile(path, read_dictionary=coded)
    except (pa.ArrowException, ValueError) as error:
        raise EventFileError(f"{path} cannot be read as Parquet: {error}") from error


def _type(schema: Any, name: str) -> Any:
    """The type of a column; null where there is none, or several."""
    place = schema.get_field_index(name)
    return pa.null() if place < 0 else schema.field(place).type


def parquet_facts(path: str) -> Facts:
    """What the end of the file says about the whole."""
    with _opened(path) as file:
        told = (file.metadata.metadata or {}).get(_KEY, b"{}")
        try:
            found = json.loads(told)
        except ValueError:
            found = {}
        facts = Facts.of(found if isinstance(found, dict) else {})
        facts.events = file.metadata.num_rows
        return facts


def read_parquet(
    path: str, fields: tuple[str, ...] | None = None, origin: bool = False
) -> Iterator[EventColumns]:
    """The row groups of a file as columns; each is read while whoever asked is busy with the one before.

    `fields`: see `eventfile.read`; without it captured fields are read when they are asked for, while the
    file is there. `origin`: with them rule, log, position and the fields' texts are read all the same."""
    from . import EventFileError

    known = _Addresses()
    with _opened(path) as file, ThreadPoolExecutor(1) as ahead:
        groups = file.num_row_groups
        coming = ahead.submit(_columns, path, file, 0, known, fields, origin) if groups else None
        for group in range(groups):
            assert coming is not None
            try:
                columns = coming.result()
            except (pa.ArrowException, ValueError) as error:
                raise EventFileError(f"{path} cannot be read: {error}") from error
            if group + 1 < groups:
                coming = ahead.submit(_columns, path, file, group + 1, known, fields, origin)
            yield columns


class _Addresses(dict[str, int | None]):
    """Packed addresses by their texts, which come again in every row group."""

    def __missing__(self, text: str) -> int | None:
        if len(self) >= _KNOWN:
            self.clear()
        found = self[text] = packed_address(text)
        return found


def _columns(
    path: str, file: Any, group: int, known: _Addresses, fields: tuple[str, ...] | None, origin: bool
) -> EventColumns:
    """The columns of a row group. The arrays are views of its memory.

    Raises ValueError for what is no event."""
    from . import EventFileError

    wanted = [name for name in _NEEDED if fields is None or origin or name not in _ORIGIN]
    names = set(file.schema_arrow.names)
    captured = {
        name: FIELD_COLUMNS[name]
        for name in fields or ()
        if FIELD_COLUMNS[name] in names and not _empty(file, group, FIELD_COLUMNS[name])
    }
    table = file.read_row_group(group, columns=[*wanted, *captured.values()])

    def field_of(name: str) -> Codes | None:
        column = FIELD_COLUMNS[name]
        try:
            if name in captured:
                found = _whole(table.column(column))
            elif fields is not None or column not in names or _empty(file, group, column):
                return None
            else:
                with _opened(path) as again:  # the reader may have gone on, to its end
                    found = _whole(again.read_row_group(group, columns=[column]).column(0))
            return _codes(found) if found.null_count < len(found) else None
        except (pa.ArrowException, ValueError) as error:
            raise EventFileError(f"{path} cannot be read: {error}") from error

    def column(name: str) -> Any:
        return _whole(table.column(name))

    def told(name: str, value: Any = None) -> Codes:
        """A column in which every row has a value."""
        if name not in wanted:
            return Codes(_NONE, [])
        found = column(name)
        if found.null_count:
            raise ValueError(f"{name} is missing in a row")
        return _codes(found, value)

    time, weight = column("time"), column("weight")
    # What is no number is less than nothing.
    if time.null_count or not pc.all(pc.less(pc.abs(time), FURTHEST), min_count=0).as_py():
        raise ValueError("time is no moment in a row")
    if not pc.all(pc.greater_equal(weight, 0), min_count=0).as_py():
        raise ValueError("weight is less than nothing in a row")
    kind, scope, proved = told("kind"), told("scope"), told("proved", proved_names)
    check_words(kind.values, scope.values, proved.values)
    return EventColumns(
        kind,
        _numbers(time, pa.float64(), "d"),
        _codes(column("source"), known.__getitem__),
        told("rule"),
        _numbers(weight, pa.int32(), "i"),
        told("log"),
        _numbers(column("position"), pa.int64(), "q") if "position" in wanted else _NONE,
        scope,
        _numbers(column("may_ban").cast(pa.uint8()), pa.uint8(), "B"),
        proved,
        field_of,
        {name: _texts(_whole(table.column(of))) for name, of in captured.items()} if origin else None,
    )


def _whole(chunked: Any) -> Any:
    """A column in one piece; of codes, with one list of values."""
    chunked = chunked.unify_dictionaries()
    return chunked.chunk(0) if chunked.num_chunks == 1 else chunked.combine_chunks()


def _empty(file: Any, group: int, column: str) -> bool:
    """Does the file itself say that no row of the group has a value there?"""
    data = file.metadata.row_group(group)
    for number in range(data.num_columns):
        one = data.column(number)
        if one.path_in_schema == column:
            told = one.statistics
            return told is not None and told.has_null_count and told.null_count == data.num_rows
    return False


def _codes(array: Any, value: Any = None) -> Codes:
    """A column of text as codes; a plain one is encoded here."""
    if not pa.types.is_dictionary(array.type):
        array = array.cast(pa.string()).dictionary_encode()
    values = array.dictionary.cast(pa.string()).to_pylist()
    return Codes(_indices(array), values if value is None else [value(one) for one in values])


def _texts(array: Any) -> Texts:
    """A column of text as views of its memory. Raises ArrowInvalid for bytes that are no UTF-8."""
    codes, texts = None, array
    if pa.types.is_dictionary(array.type):
        codes, texts = _indices(array), array.dictionary
    texts = texts.cast(pa.string())
    texts.validate(full=True)
    there, places, data = texts.buffers()
    offsets: Any = memoryview(places if places is not None else bytes(4)).cast("B").cast("i")
    return Texts(
        codes,
        offsets[texts.offset : texts.offset + len(texts) + 1],
        memoryview(data if data is not None else b"").cast("B"),
        None if there is None else memoryview(there).cast("B"),
        texts.offset,
    )


def _indices(array: Any) -> Any:
    """The codes of a column of codes."""
    indices = array.indices
    if indices.type != pa.int32():
        indices = indices.cast(pa.int32())
    return _numbers(indices.fill_null(-1) if indices.null_count else indices, pa.int32(), "i")


def _numbers(array: Any, of: Any, letter: str) -> Any:
    """A column of numbers as a view of its memory."""
    if array.type != of:
        array = array.cast(of)
    if array.null_count:
        raise ValueError("a number is missing")
    size = of.bit_width // 8
    buffer = array.buffers()[1]
    view: Any = memoryview(buffer if buffer is not None else b"")
    return view[array.offset * size : (array.offset + len(array)) * size].cast("B").cast(letter)
