"""The compiled twin of `Sessions.join`: the open sessions, and what a draft becomes with them.

`Open` and `Store` have the attributes and methods of the Python classes of `core/sessions.py`, so that snapshot,
restore and everything rare stays there. A rule that uses a session in a way that is not known here is joined by
`Sessions._join`, on the same objects.
"""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.long cimport PyLong_AsUnsignedLongLongMask
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_DecodeASCII, PyUnicode_DecodeUTF8
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memchr, memcpy, memset

from ...model import FIELDS, HOSTILE, KINDS, Event
from ...notation import V6
from ..detectors import SCOPES
from ..items import Draft
from ..rules import IGNORE, SessionUse, decode
from ..scanner import MOST_ATTEMPTS

cdef extern from *:
    """
    #if defined(__GNUC__) || defined(__clang__)
    #define prefetch(place) __builtin_prefetch(place)
    #else
    #define prefetch(place) ((void)(place))
    #endif
    """
    void prefetch(const void *place) nogil

cdef extern from "Python.h":
    bint PyDict_Next(object mapping, Py_ssize_t *at, PyObject **key, PyObject **value)
    PyObject *PyDict_GetItemWithError(object mapping, object key) except? NULL
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    void *PyUnicode_1BYTE_DATA(object text)

INTERFACE = 10

include "kept.pxi"

cdef object new_tuple = tuple.__new__
cdef object V6_ = V6
cdef tuple KINDS_ = tuple(KINDS), FIELDS_ = tuple(FIELDS), SCOPES_ = tuple(SCOPES)
cdef dict KIND_NUMBERS = {name: number for number, name in enumerate(KINDS_)}
cdef dict FIELD_NUMBERS = {name: number for number, name in enumerate(FIELDS_)}
cdef uint8_t HOSTILE_KINDS = len(HOSTILE)  # they come first
#: What this module knows of `SessionUse`; with other fields in it every draft goes back to Python.
cdef tuple KNOWN = ("session", "action", "carry", "tally", "less", "otherwise", "once", "must")


include "row.pxi"
include "told.pxi"


@cython.no_gc  # what it holds is text, numbers and containers of these: nothing leads back to it
@cython.freelist(256)
@cython.final
cdef class Open:
    """One open session."""

    cdef public double opened, used
    cdef public object source
    cdef public dict fields
    cdef public frozenset proved
    cdef public dict tallies
    cdef public tuple seen
    cdef public bint saved

    def __init__(self, double time):
        self.opened = self.used = time
        self.proved = frozenset()
        self.seen = ()


cdef bytes kept(Open session):
    """`sessions._pack` of a session with no more than plain fields; None: Python makes the row."""
    cdef PyObject *known
    cdef char[MOST_KEPT] row
    cdef char *into = row + ROW
    cdef char *end = row + MOST_KEPT
    if session.tallies:
        return None
    put_row(row, session.opened, session.used, session.source)
    if not session.fields and not session.proved and not session.seen:
        memcpy(into, PyBytes_AS_STRING(BARE), len(BARE))
        return PyBytes_FromStringAndSize(row, ROW + len(BARE))
    known = PyDict_GetItemWithError(PROVED, session.proved)
    if known == NULL:
        if len(PROVED) >= MOST_PROVED:
            PROVED.clear()
        PROVED[session.proved] = dumps(sorted(session.proved)).encode()
        known = PyDict_GetItemWithError(PROVED, session.proved)
    into = put_word(into, end, b"[{", 2)
    if session.fields:
        for name, value in session.fields.items():
            into = put_text(into, end, name)
            into = put_word(into, end, b":", 1)
            into = put_text(into, end, value)
            into = put_word(into, end, b",", 1)
        if into != NULL:
            into -= 1
    into = put_word(into, end, b"},", 2)
    into = put_word(into, end, PyBytes_AS_STRING(<bytes><object>known), len(<bytes><object>known))
    into = put_word(into, end, b",{},[", 5)
    for value in session.seen:
        into = put_text(into, end, value)
        into = put_word(into, end, b",", 1)
    if session.seen and into != NULL:
        into -= 1
    into = put_word(into, end, b"]]", 2)
    return None if into == NULL else PyBytes_FromStringAndSize(row, into - row)


cdef class Store:
    """The open sessions of one declaration, in two generations."""

    cdef public object name
    cdef public double lifetime
    cdef public Py_ssize_t cap, evicted
    cdef public dict young, old
    cdef public dict changed

    def __init__(self, name, kind, bint track=True):
        self.name = name
        self.lifetime = kind.lifetime
        self.cap = max(2, kind.cap)
        self.young, self.old = {}, {}
        self.changed = {} if track else None

    cpdef Open find(self, bytes key, double time):
        """The open session of that key, None where there is none, or it is over."""
        cdef Open session
        cdef PyObject *found = PyDict_GetItemWithError(self.young, key)
        if found != NULL:
            session = <Open?><object>found
        else:
            if not self.old:
                return None
            found = PyDict_GetItemWithError(self.old, key)
            if found == NULL:
                return None
            session = <Open?><object>found
            del self.old[key]
            self.put(key, session)
        if time - session.used > self.lifetime:
            self.drop(key)
            return None
        return session

    cpdef Open start(self, bytes key, double time):
        """A new session, in place of one that may be open."""
        cdef object before = self.old.pop(key, None)
        if before is None:
            before = self.young.get(key)
        return self.replace(key, time, before)

    cdef Open replace(self, bytes key, double time, Open before):
        """A new session in place of `before`, which is what is known under the key, None: nothing; it is not
        among the old."""
        cdef Open session = Open(time)
        if before is not None:
            session.saved = before.saved
        else:
            session.saved = self.changed is not None and key in self.changed
        self.put(key, session)
        return session

    cpdef int put(self, bytes key, Open session) except -1:
        cdef double limit
        if len(self.young) >= self.cap // 2 and key not in self.young:
            limit = session.used - self.lifetime
            for other in self.old.values():
                self.evicted += (<Open?>other).used >= limit
            if self.changed is not None:
                self.changed.update(dict.fromkeys(self.old))
            self.old = self.young
            self.young = {}
        self.young[key] = session
        return 0

    cpdef int drop(self, bytes key) except -1:
        cdef object session = self.young.pop(key, None)
        if session is None:
            session = self.old.pop(key, None)
        if self.changed is None:
            return 0
        if session is None or (<Open?>session).saved:
            self.changed[key] = None
        else:  # opened and closed between two checkpoints, as most are: no row of it was ever written
            self.changed.pop(key, None)
        return 0

    def taken(self, pack):
        """The rows by key of what changed since the last call; `pack` makes those that are not plain."""
        cdef dict changed = self.changed, made = {}
        cdef PyObject *key = NULL
        cdef PyObject *found = NULL
        cdef Py_ssize_t at = 0
        cdef Open session
        if not changed:
            return made
        self.changed = {}
        while PyDict_Next(changed, &at, &key, &found):  # they lie anywhere: several are fetched at a time
            prefetch(found)
            prefetch(<char *>found + 64)
        for name, session in changed.items():
            if session is None:
                made[name] = None
            else:
                session.saved = True
                made[name] = kept(session) or pack(session)
        return made


cdef class Use:
    """A `SessionUse`, its words made into numbers."""

    cdef bint opens, closes, once, must
    cdef bint tally_, less_
    cdef uint8_t otherwise_  # number of a kind
    cdef tuple carry
    cdef str tally, less, otherwise  # empty: none
    cdef Store store

    def __init__(self, use, Store store):
        self.opens, self.closes = use.action == "open", use.action == "close"
        self.once, self.must = use.once, use.must
        self.carry, self.tally, self.less, self.otherwise = use.carry, use.tally, use.less, use.otherwise
        self.tally_, self.less_ = bool(use.tally), bool(use.less)
        self.otherwise_ = KIND_NUMBERS.get(use.otherwise, ROW_NO_KIND)
        self.store = store


cdef class Joiner:
    """Joins drafts for `Sessions`."""

    cdef object sessions, slow
    cdef dict uses  # rule -> tuple of Use
    cdef object ignore
    cdef Py_ssize_t most

    def __init__(self, sessions):
        self.sessions, self.slow = sessions, sessions._join
        self.ignore, self.most = IGNORE, MOST_ATTEMPTS
        self.uses = {}
        if SessionUse._fields == KNOWN:
            for rule, uses in sessions._uses.items():
                self.uses[rule] = tuple([Use(use, store) for use, store in uses])

    def join(self, drafts):
        """`Sessions.join`."""
        cdef list events = []
        cdef object event
        for draft in drafts:
            if type(draft) is Event:
                events.append(draft)
                continue
            event = self.one(draft)
            if event is not None:
                events.append(event)
        return events

    def concerns(self, drafts, frozenset rules):
        """Is any of the drafts and events of one of these rules?"""
        cdef object one
        for one in drafts:
            if type(one) is not Event:
                if not isinstance(one, tuple) or len(<tuple>one) != 2:
                    raise TypeError("join wants events and drafts")
                one = (<tuple>one)[0]
            if not isinstance(one, tuple) or len(<tuple>one) != 12:
                raise TypeError("join wants events and drafts")
            if (<tuple>one)[3] in rules:
                return True
        return False

    @cython.boundscheck(False)  # `told` has twelve items and `uses` as many as `keys`: both are looked at before
    cdef object one(self, object draft):
        cdef tuple told, keys, uses
        cdef object event, kind, source, fields, proved, first, weigh
        cdef double time
        cdef Py_ssize_t place, weight, stated
        cdef bint said = True
        cdef bytes key
        cdef Use use
        cdef Open session
        cdef PyObject *found
        cdef dict carried
        event, keys = draft
        if not isinstance(event, tuple) or len(<tuple>event) != 12:
            raise TypeError("join wants events and drafts")
        told = <tuple>event
        found = PyDict_GetItemWithError(self.uses, told[3])
        if found == NULL:
            return self.slow(draft)
        uses = <tuple>found
        if len(uses) != len(keys):
            raise ValueError("a draft has one key for each session that its rule uses")
        kind, time, source, stated, fields, proved = told[0], told[1], told[2], told[4], told[5], told[10]
        weight = stated
        for place in range(len(uses)):
            use, key = <Use>uses[place], <bytes?>keys[place]
            session = None
            if key:
                session = use.store.find(key, time)
                if (session is None or not use.tally) and (use.opens or use.tally):
                    session = use.store.replace(key, time, session)  # whom `find` found is young
            if use.once and session is not None:
                if told[3] in session.seen:
                    said = False
                else:
                    session.seen = (*session.seen, told[3])
            if session is None:
                if use.must:
                    said = False
                continue
            if time > session.used:
                session.used = time
            if source is not None:
                if use.opens or session.source is None:
                    session.source = source
            else:
                source = session.source
            if session.tallies and use.less:
                weight -= <Py_ssize_t>session.tallies.get(use.less, 0)
            if use.tally:
                if session.tallies is None:
                    session.tallies = {}
                session.tallies[use.tally] = min(
                    <Py_ssize_t>session.tallies.get(use.tally, 0) + max(0, stated), self.most
                )
            if session.fields:
                fields = session.fields | fields
                proved = proved | session.proved
            if use.carry:
                carried = {name: fields[name] for name in use.carry if name in fields}
                if carried:
                    session.fields = carried if session.fields is None else session.fields | carried
                    session.proved |= proved & carried.keys()
            if use.closes:
                use.store.drop(key)
            elif use.store.changed is not None:
                use.store.changed[key] = session
        if weight <= 0:
            kind, weight = self.ignore, 1
            for use in uses:
                if use.otherwise:
                    kind = use.otherwise
                    break
        if not said or kind == self.ignore:
            return None
        if source is None and kind in HOSTILE:
            self.sessions.lost += 1
            return None
        if kind is told[0] and source is told[2] and weight == stated and fields is told[5]:
            return event
        return new_tuple(
            Event,
            (
                kind, told[1], source, told[3], weight, fields, told[6], told[7], told[8], told[9], proved,
                told[11] if kind in HOSTILE else b"",
            ),
        )


include "rowtexts.pxi"
include "telling.pxi"
include "gather.pxi"
include "columns.pxi"


def newest(list items):
    """The latest stamp among these events and drafts, of which there is one at least."""
    cdef double time, latest = 0.0
    cdef bint first = True
    for item in items:
        if type(item) is Event:
            time = (<tuple>item)[1]
        else:
            time = item.event.time
        if first or time > latest:
            latest, first = time, False
    if first:
        raise ValueError("nothing has no stamp")
    return latest


def hostile_of(events):
    """Those of the kinds in HOSTILE."""
    cdef list found = []
    for event in events:
        # Of a named tuple `event[0]` would call its type's Python slot.
        if ((<tuple>event)[0] if isinstance(event, tuple) else event.kind) in HOSTILE:
            found.append(event)
    return found
