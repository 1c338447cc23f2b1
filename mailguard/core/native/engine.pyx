"""The compiled twin of `Engine.feed`: the usual way of an event through standing, bans and lanes.

Works on the very same tables, books and bans as the Python code, through their dictionaries. It decides that
nothing follows from an event; whatever may follow (something fires, somebody gives way, a thief's login, a late
event) is left to the Python methods, so that there is one account of everything that has consequences.
Never: keeps state of its own besides counters and a small cache of hashes.

Bounds: an index that depends on outside data runs over a `bytes` object whose length was looked at before (see
window.pxi and standing.pxi); kinds are numbers below 256 in arrays of 256.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.float cimport PyFloat_AsDouble
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_AsUnsignedLongLongMask
from cpython.object cimport PyObject
from libc.math cimport INFINITY, floor, fmod, isinf
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from ...model import HOSTILE, VALUE_FIELD
from ...notation import V6
from ..detectors import KIND_NUMBER, SCOPE_NUMBER
from ..quota import Quota
from ..window import View

cdef extern from "Python.h":
    PyObject *PyDict_GetItemWithError(object mapping, object key) except? NULL
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    void *PyUnicode_1BYTE_DATA(object text)

INTERFACE = 1

include "blake.pxi"
include "table.pxi"
include "who.pxi"
include "standing.pxi"
include "window.pxi"
include "sweep.pxi"

cdef frozenset EXCUSED = frozenset({"auth_failure", "locked_out"})  # as engine._EXCUSED


cdef class Route:
    """What is to be done with events of one kind."""

    cdef uint8_t kind
    cdef bint hostile, login, mail, excused, wanted
    cdef object value_field  # the field that a record by source carries
    cdef list strangers, known  # the tracks that take events of strangers, and of known users

    def __init__(self, str kind):
        self.kind = KIND_NUMBER[kind]
        self.hostile = kind in HOSTILE
        self.login, self.mail = kind == "auth_success", kind == "mail_accepted"
        self.excused = kind in EXCUSED
        self.value_field = VALUE_FIELD.get(kind)
        self.strangers, self.known = [], []


cdef class Happening:
    """The event in hand."""

    cdef object event
    cdef Route route
    cdef Who who
    cdef Hashing hashing
    cdef dict fields
    cdef object proved
    cdef Record record
    cdef str name  # of the user
    cdef uint64_t name_
    cdef uint8_t user_looked  # 0: not yet, 1: there is one, 2: none

    def __init__(self, Hashing hashing):
        self.hashing = hashing
        self.who = Who()

    cdef bint has_user(self) except *:
        """The event has a proved name of a user."""
        cdef PyObject *found
        if self.user_looked == 0:
            self.user_looked = 2
            found = PyDict_GetItemWithError(self.fields, "user")
            if found != NULL and <object>found and "user" in self.proved:
                self.name = <str?><object>found
                self.user_looked = 1
                self.name_ = 0
        return self.user_looked == 1

    cdef inline uint64_t user(self) except? 0:
        """Its hash; only where `has_user`."""
        if self.name_ == 0:
            self.name_ = self.hashing.of(self.name)
        return self.name_


include "lanes.pxi"


cdef str alias(str user):
    """As `engine.alias`."""
    return user.partition("@")[0] + "@" if "@" in user else user


cdef str short_name(str user):
    """As `engine.short_name`."""
    return user.partition("@")[0] if "@" in user else user + "@"


cdef class Feeder:
    """Takes events for an `Engine`."""

    cdef object engine, bans, policy, slow
    cdef dict routes, logs, rules, scopes, index4, index6
    cdef set met
    cdef list completing, pardoning
    cdef Ledger ledger
    cdef Hashing hashing
    cdef Happening event
    cdef public int64_t events, hostile, under_ban
    cdef int64_t sweep_in
    cdef double clock, soonest
    cdef uint8_t failure

    def __init__(self, object engine):
        cdef Track track
        cdef Route route
        self.engine, self.bans, self.policy, self.slow = engine, engine.bans, engine.policy, engine.feed_slowly
        self.logs, self.rules = engine.logs._number, engine.rules._number
        self.scopes = SCOPE_NUMBER
        self.index4, self.index6 = engine.bans._index
        self.met = engine.bans._hit
        self.ledger = Ledger(engine.book)
        self.hashing = Hashing(engine.hasher, engine.hasher._secret)
        self.event = Happening(self.hashing)
        self.sweep_in = engine._sweep_in
        self.failure = KIND_NUMBER["auth_failure"]
        tracks = {id(lane): Track(lane, engine._quota) for lane in engine.lanes}
        self.completing = [tracks[id(lane)] for lane in engine._completing]
        self.pardoning = [tracks[id(lane)] for lane in engine._pardoning]
        self.routes = {}
        for kind in KIND_NUMBER:
            route = self.routes[kind] = Route(kind)
            found = engine._by_kind.get(kind)
            if found is not None:
                route.wanted = True
                route.strangers = [tracks[id(lane)] for lane in found[0]]
                route.known = [tracks[id(lane)] for lane in found[1]]

    def feed(self, event):
        """What follows from one event."""
        cdef list effects = []
        self.begin()
        try:
            self.one(event, effects)
        finally:
            self.sync()
        return effects

    def feed_many(self, events):
        """What follows from these events, one after the other; all effects in order."""
        cdef list effects = []
        self.begin()
        try:
            for event in events:
                self.one(event, effects)
        finally:
            self.sync()
        return effects

    cdef inline int begin(self) except -1:
        """Python code may have changed these since the last event."""
        self.clock, self.sweep_in = self.engine.clock, self.engine._sweep_in
        self.soonest = self.bans.soonest

    cdef inline int sync(self) except -1:
        """Python code is about to look at these."""
        self.engine.clock, self.engine._sweep_in = self.clock, self.sweep_in

    @cython.boundscheck(False)  # `told` has twelve items, which is looked at before; nothing else is indexed
    cdef int one(self, object event, list effects) except -1:
        """`Engine.feed`."""
        cdef Happening here = self.event
        cdef tuple told
        cdef PyObject *found
        cdef object source, held, may_ban
        cdef double time
        cdef int64_t weight
        cdef bint known = False
        cdef uint8_t flags
        cdef Track track
        cdef list fired, settled = None
        if not isinstance(event, tuple) or len(<tuple>event) != 12:
            raise TypeError("feed wants an Event")
        told = <tuple>event
        source = told[2]
        if source is not None and not here.who.take(source):
            self.sync()
            effects += self.slow(event)
            return self.begin()
        time = told[1]
        self.events += 1
        if time > self.clock:
            self.clock = time
            if time >= self.soonest:
                self.policy.expire(time)
                self.soonest = self.bans.soonest
        self.sweep_in -= 1
        if self.sweep_in <= 0:
            self.sync()
            self.engine._sweep()
            self.sweep_in = self.engine._sweep_in
        found = PyDict_GetItemWithError(self.routes, told[0])
        if found == NULL:
            return 0
        here.route = <Route>found
        here.event, here.fields, here.proved, here.user_looked = event, <dict?>told[5], told[10], 0
        here.record.kind, here.record.time = here.route.kind, time
        may_ban = told[9]
        if here.route.hostile:
            self.hostile += 1
        elif here.route.login:
            if source is not None and here.has_user():
                self.login(here, bool(may_ban), effects)
        elif here.route.mail and source is not None and may_ban:
            self.ledger.mail(here.who, time, here.fields, self.hashing)
        if not here.route.wanted or source is None:
            return 0
        held = self.covering(here.who, told[8], time)
        if held is not None:
            if here.route.hostile:
                self.under_ban += 1
                held.hits += 1
                if time > held.last_hit:
                    held.last_hit = time
                self.met.add(held.key)
            return 0
        if here.route.excused and here.has_user():
            known = self.ledger.known(here.user(), here.who, time)
            if not known and "@" in here.name:
                known = self.ledger.known(self.hashing.of(alias(here.name)), here.who, time)
        weight = told[4]
        flags = <uint8_t>self.scopes[told[8]]
        if not may_ban:
            flags |= UNTRUSTED
        if known:
            flags |= KNOWN
        if weight > 1:
            flags |= HEAVY
        here.record.position = told[7]
        here.record.weight = <uint16_t>(0 if weight < 0 else 0xFFFF if weight > 0xFFFF else weight)
        here.record.log = self.number(self.logs, self.engine.logs, told[6])
        here.record.rule = self.number(self.rules, self.engine.rules, told[3])
        for track in here.route.known if known else here.route.strangers:
            fired = track.feed(here, flags, self.clock)
            if fired is not None:
                settled = settled or []
                settled += [(track.lane, one) for one in fired]
        if settled is not None:
            effects += self.engine._settle(settled, event)
            self.soonest = self.bans.soonest
        return 0

    cdef inline uint16_t number(self, dict known, object names, object name) except? 0:
        """`Names.number`."""
        cdef PyObject *found = PyDict_GetItemWithError(known, name)
        return <uint16_t>(names.number(name) if found == NULL else <object>found)

    cdef object covering(self, Who who, object scope, double time):
        """`Bans.covering`; None where no ban is met."""
        cdef dict index = self.index4 if who.narrow else self.index6
        cdef int shift
        cdef object key
        cdef PyObject *found
        if not index:
            return None
        for prefix, by_address in index.items():
            if not who.narrow:
                shift = 128 - prefix
                key = (who.address - V6_ >> shift << shift) + V6_
            elif prefix == 32:
                key = who.source
            else:
                shift = 32 - prefix
                key = who.low >> shift << shift
            found = PyDict_GetItemWithError(by_address, key)
            if found != NULL:
                for held in <list?><object>found:
                    if time < held.until and scope in held.scopes:
                        return held
        return None

    cdef int login(self, Happening here, bint may_ban, list effects) except -1:
        """`Engine._login`, unless it may end a sequence."""
        cdef Track track
        cdef uint64_t name, other
        for track in self.completing:
            if track.completes(here):
                effects += self.engine._login(here.event)
                self.soonest = self.bans.soonest
                return 0
        if may_ban:
            name, other = here.user(), self.hashing.of(short_name(here.name))
            self.ledger.login(name, here.who, here.record.time)
            self.ledger.settle(other, here.who, here.record.time)
            for track in self.pardoning:
                track.pardon(here, self.failure, name, other)
        return 0
