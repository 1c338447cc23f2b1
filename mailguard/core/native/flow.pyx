"""The compiled twin of what a replay does with batches besides judging them: their stamps, their order, their
figures, and the timeline of `replay/timeline.py` for the usual event.

Works on the timeline's own dictionaries, lists and sets. What a ban has to do with, but for being counted under it,
and every generation of records that is full go back to the Python methods.

Bounds: tuples are looked at for their length before they are read; everything else is indexed by checked code.
"""

from cpython.float cimport PyFloat_AsDouble
from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.object cimport PyObject

from ...model import Event
from ...notation import V6

cdef extern from "Python.h":
    PyObject *PyDict_GetItemWithError(object mapping, object key) except? NULL

INTERFACE = 1

cdef object V6_ = V6
cdef enum:
    FIELDS = 12  # of an Event
    DRAFT = 2
    KINDS = 64  # different kinds that are counted at once
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
    if not isinstance(one, tuple) or len(<tuple>one) != FIELDS:
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


def latest(list events):
    """The newest stamp of events; there is at least one."""
    cdef object newest = told_by(events[0])[1]
    cdef double at = PyFloat_AsDouble(newest), time
    for event in events:
        time = PyFloat_AsDouble(told_by(event)[1])
        if time > at:
            at, newest = time, told_by(event)[1]
    return newest


def tally(list events, object by_kind):
    """Count the events by their kinds; their earliest and latest stamp. There is at least one."""
    cdef (PyObject *)[KINDS] names
    cdef Py_ssize_t[KINDS] counts
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
            if used == KINDS:
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


def places(list events, set times):
    """The indexes of the events at these times: by log and position, and the first at each time."""
    cdef dict by_place = {}, by_time = {}
    cdef Py_ssize_t index
    cdef tuple told
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


cdef list with_earlier(list bans, object ban):
    """`bans` (None: none yet), this one, and those of the same network that still stood."""
    if bans is None:
        bans = []
    while ban is not None:
        bans.append(ban)
        ban = ban.earlier
    return bans


cdef class Walk:
    """`Timeline._events`."""

    cdef object timeline, known, stopped
    cdef dict roles, hosts, wide4, wide6
    cdef object mail, login  # the roles of these
    cdef set pairs, users
    cdef Py_ssize_t most, most_pairs

    def __init__(self, timeline, dict roles, Py_ssize_t most, Py_ssize_t most_pairs):
        """`most`: pairs and accounts that are counted for a source; `most_pairs`: remembered over all."""
        self.timeline, self.known, self.roles = timeline, timeline.known, roles
        self.hosts, (self.wide4, self.wide6), self.stopped = timeline._hosts, timeline._wide, timeline.stopped
        self.mail, self.login = roles["mail_accepted"], roles["auth_success"]
        self.pairs, self.users = timeline.known._pairs, timeline.known._users
        self.most, self.most_pairs = most, most_pairs

    def take(self, list events, Py_ssize_t begin, Py_ssize_t stop):
        """The events from `begin` up to `stop`."""
        cdef dict young = self.timeline._young
        cdef tuple told
        cdef object source, key, role, kind, time
        cdef list record, bans
        cdef PyObject *found
        cdef int beyond = 0
        cdef long long number
        cdef Py_ssize_t place
        cdef bint hostile, met
        for place in range(begin, stop):
            told = told_by(events[place])
            kind, source = told[0], told[2]
            found = PyDict_GetItemWithError(self.roles, kind)
            if found == NULL or source is None:
                continue
            role = <object>found
            hostile = role is not self.mail and role is not self.login
            time = told[1]
            number = PyLong_AsLongLongAndOverflow(source, &beyond)
            key = source if beyond == 0 or source < V6_ else source >> 64 << 64
            bans = self.around(key, number, beyond == 0)
            if bans is not None:
                met = False
                if not hostile:
                    self.timeline._watched(bans, role, time, told[8], told[5])
                else:
                    for ban in bans:
                        if time < ban.until and told[8] in ban.covers:
                            met = True
                            ban.stopped += 1
                            self.stopped[kind] = self.stopped.get(kind, 0) + 1
                            if self.timeline.tell_stopped is not None:
                                self.timeline.tell_stopped(kind, time)
                            break
                if met:
                    continue
            if hostile:
                found = PyDict_GetItemWithError(young, key)
                if found == NULL:
                    record = self.timeline._find(key, time)
                    young = self.timeline._young
                else:
                    record = <list?><object>found
                if record[COUNT] == 0:
                    record[SINCE] = time
                record[COUNT] = record[COUNT] + 1
                record[COUNTERS] = record[COUNTERS] + role
                if time > record[LAST]:
                    record[LAST] = time
            elif role is self.mail:
                self.accepted(key, time, <dict?>told[5])
            else:
                self.entered(key, time, <dict?>told[5])

    cdef list around(self, object key, long long number, bint narrow):
        """`Timeline._bans_around`; None where there is none."""
        cdef PyObject *found
        cdef list bans = None
        cdef int shift
        if not narrow:
            if not self.wide6 and key not in self.hosts:
                return None
            return self.timeline._bans_around(key) or None
        found = PyDict_GetItemWithError(self.hosts, key)
        if found != NULL:
            bans = with_earlier(bans, <object>found)
        for prefix, by_address in self.wide4.items():
            shift = 32 - prefix
            found = PyDict_GetItemWithError(by_address, number >> shift << shift)
            if found != NULL:
                bans = with_earlier(bans, <object>found)
        return bans

    cdef list record(self, object key):
        cdef PyObject *found = PyDict_GetItemWithError(<dict?>self.known.young, key)
        return self.known.find(key) if found == NULL else <list?><object>found

    cdef bint fresh(self, set seen, object key) except *:
        """`key` is new to `seen`, which holds it from now on."""
        cdef object mark = hash(key)
        if mark in seen:
            return False
        if len(seen) >= self.most_pairs:
            seen.clear()
        seen.add(mark)
        return True

    cdef int accepted(self, object key, object time, dict fields) except -1:
        """`Known.mail`."""
        cdef list record = self.record(key)
        record[MESSAGES] = record[MESSAGES] + 1
        if time > record[LAST_MAIL]:
            record[LAST_MAIL] = time
        if record[PAIRS] < self.most and self.fresh(
            self.pairs, (key, fields.get("sender"), fields.get("recipient"))
        ):
            record[PAIRS] = record[PAIRS] + 1
        return 0

    cdef int entered(self, object key, object time, dict fields) except -1:
        """`Known.login`."""
        cdef list record = self.record(key)
        record[LOGINS] = record[LOGINS] + 1
        if time > record[LAST_LOGIN]:
            record[LAST_LOGIN] = time
        if record[ACCOUNTS] < self.most and self.fresh(self.users, (key, fields.get("user"))):
            record[ACCOUNTS] = record[ACCOUNTS] + 1
        return 0
