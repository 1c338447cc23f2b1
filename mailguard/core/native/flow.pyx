"""The compiled twin of what a replay does with batches besides judging them: their stamps, their order, their
figures, and the timeline of `replay/timeline.py` for the usual event.

Works on the timeline's own dictionaries, lists and sets. What a ban has to do with, but for being counted under it,
and every generation of records that is full go back to the Python methods.

Bounds: tuples are looked at for their length before they are read; everything else is indexed by checked code.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.float cimport PyFloat_AsDouble
from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from ...model import FIELDS, HOSTILE, KINDS, Event
from ...notation import V6
from ..detectors import SCOPES

cdef extern from "Python.h":
    PyObject *PyDict_GetItemWithError(object mapping, object key) except? NULL

INTERFACE = 4

include "told.pxi"
include "sieve.pxi"

cdef object V6_ = V6
cdef tuple KINDS_ = tuple(KINDS), SCOPES_ = tuple(SCOPES)
cdef dict FIELD_NUMBERS = {name: number for number, name in enumerate(FIELDS)}
cdef uint8_t USER = FIELD_NUMBERS["user"], SENDER = FIELD_NUMBERS["sender"], RECIPIENT = FIELD_NUMBERS["recipient"]
cdef uint8_t HOSTILE_KINDS = len(HOSTILE)  # they come first
cdef uint8_t MAIL = KINDS_.index("mail_accepted"), LOGIN = KINDS_.index("auth_success")
cdef enum:
    EVENT = 12  # fields of an Event
    DRAFT = 2
    KINDS_MOST = 256  # numbers of kinds
    DIFFERENT = 64  # different kinds that are counted at once
    # places in the records, as in replay/timeline.py and replay/known.py
    LAST = 1
    COUNTERS = 2
    SINCE = 3
    COUNT = 4
    MESSAGES = 0
    PAIRS = 1
    LAST_MAIL = 2
    LOGINS = 3
    ACCOUNTS = 4
    LAST_LOGIN = 5


cdef inline tuple told_by(object one):
    """The twelve items of an event, or of a draft's event."""
    if type(one) is not Event:
        if not isinstance(one, tuple) or len(<tuple>one) != DRAFT:
            raise TypeError("events and drafts are wanted")
        one = (<tuple>one)[0]
    if not isinstance(one, tuple) or len(<tuple>one) != EVENT:
        raise TypeError("an Event is wanted")
    return <tuple>one


def times_of(drafts):
    """`merging.times_of`."""
    cdef list times = []
    for one in drafts:
        times.append(told_by(one)[1])
    return times


def running(list times, double newest):
    """`merging.running`; the very same list where it never falls."""
    cdef list stamps
    cdef double time
    cdef object latest = newest
    cdef bint same = True
    cdef double before = newest
    for at in times:
        time = PyFloat_AsDouble(at)
        if time < before:
            same = False
            break
        before = time
    if same:
        return times
    stamps = []
    for at in times:
        time = PyFloat_AsDouble(at)
        if time > newest:
            newest, latest = time, at
        stamps.append(latest)
    return stamps


cdef inline bytes rows_of(object events):
    """The rows of a `Told`; None: these are objects."""
    return None if type(events) is list else getattr(events, "rows", None)


def latest(events):
    """The newest stamp of events; there is at least one."""
    cdef bytes rows = rows_of(events)
    cdef const Heard *heard
    cdef Py_ssize_t place
    if rows is not None:
        heard = <const Heard *>PyBytes_AS_STRING(rows)
        time = heard[0].time
        for place in range(1, len(rows) // <Py_ssize_t>sizeof(Heard)):
            if heard[place].time > time:
                time = heard[place].time
        return time
    return latest_of(<list?>events)


cdef object latest_of(list events):
    cdef object newest = told_by(events[0])[1]
    cdef double at = PyFloat_AsDouble(newest), time
    for event in events:
        time = PyFloat_AsDouble(told_by(event)[1])
        if time > at:
            at, newest = time, told_by(event)[1]
    return newest


def tally(events, object by_kind):
    """Count the events by their kinds; their earliest and latest stamp. There is at least one."""
    cdef bytes rows = rows_of(events)
    cdef const Heard *heard
    cdef Py_ssize_t[KINDS_MOST] counts
    cdef Py_ssize_t place
    cdef double first, last
    if rows is None:
        return tally_of(<list?>events, by_kind)
    memset(counts, 0, sizeof(counts))
    heard = <const Heard *>PyBytes_AS_STRING(rows)
    first = last = heard[0].time
    for place in range(len(rows) // <Py_ssize_t>sizeof(Heard)):
        if heard[place].kind == TOLD_UNKNOWN:
            kind = events.event(place)[0]
            by_kind[kind] = by_kind.get(kind, 0) + 1
        else:
            counts[heard[place].kind] += 1
        if heard[place].time > last:
            last = heard[place].time
        if heard[place].time < first:
            first = heard[place].time
    for place in range(len(KINDS_)):
        if counts[place]:
            by_kind[KINDS_[place]] = by_kind.get(KINDS_[place], 0) + counts[place]
    return first, last


cdef tuple tally_of(list events, object by_kind):
    cdef (PyObject *)[DIFFERENT] names
    cdef Py_ssize_t[DIFFERENT] counts
    cdef Py_ssize_t used = 0, place
    cdef tuple told = told_by(events[0])
    cdef object kind
    cdef object first = told[1], last = told[1]
    cdef double earliest = PyFloat_AsDouble(first), newest = earliest, time
    for event in events:
        told = told_by(event)
        kind = told[0]
        for place in range(used):
            if names[place] == <PyObject *>kind:
                counts[place] += 1
                break
        else:
            if used == DIFFERENT:
                by_kind[kind] = by_kind.get(kind, 0) + 1
            else:  # the events hold their kinds while this runs
                names[used], counts[used] = <PyObject *>kind, 1
                used += 1
        time = PyFloat_AsDouble(told[1])
        if time > newest:
            newest, last = time, told[1]
        if time < earliest:
            earliest, first = time, told[1]
    for place in range(used):
        kind = <object>names[place]
        by_kind[kind] = by_kind.get(kind, 0) + counts[place]
    return first, last


def places(events, set times):
    """The indexes of the events at these times: by log and position, and the first at each time."""
    cdef dict by_place = {}, by_time = {}
    cdef Py_ssize_t index
    cdef tuple told
    cdef bytes rows = rows_of(events)
    cdef const Heard *heard
    cdef list logs
    cdef double before = 0.0
    cdef bint wanted = False
    if rows is not None:
        heard, logs = <const Heard *>PyBytes_AS_STRING(rows), events.logs
        for index in range(len(rows) // <Py_ssize_t>sizeof(Heard)):
            if index == 0 or heard[index].time != before:
                before = heard[index].time
                wanted = before in times
            if wanted:
                by_place[logs[heard[index].log], heard[index].position] = index
                by_time.setdefault(before, index)
        return by_place, by_time
    for index in range(len(events)):
        told = told_by(events[index])
        if told[1] in times:
            by_place[told[6], told[7]] = index
            by_time.setdefault(told[1], index)
    return by_place, by_time


def inside(dict records, object first, Py_ssize_t count, object step):
    """The values of `count` keys from `first` on, `step` apart, that are there."""
    cdef list found = []
    cdef object key = first
    cdef PyObject *value
    if not records:
        return found
    for _ in range(count):
        value = PyDict_GetItemWithError(records, key)
        if value != NULL:
            found.append(<object>value)
        key = key + step
    return found


include "walk.pxi"
