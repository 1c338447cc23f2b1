"""The compiled twin of `Engine.feed`: the usual way of an event through standing, bans and lanes.

Works on the very same tables, books and bans as the Python code, through their dictionaries. It decides that
nothing follows from an event; whatever may follow (something fires, somebody gives way, a thief's login, a late
event) is left to the Python methods, so that there is one account of everything that has consequences.
Never: keeps state of its own besides counters and a small cache of hashes.

Bounds: an index that depends on outside data runs over a `bytes` object whose length was looked at before (see
window.pxi and standing.pxi); kinds are numbers below 256 in arrays of 256.
"""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.float cimport PyFloat_AsDouble
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_AsUnsignedLongLongMask
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM
from libc.math cimport INFINITY, floor, fmod, isinf
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.string cimport memchr, memcmp, memcpy, memset

from ...model import FIELDS, HOSTILE, VALUE_FIELD, Evidence, Network
from ...notation import V6
from ..detectors import KIND_NUMBER, SCOPE_NUMBER, SCOPES
from ..names import UNNAMED
from ..policy import FORGIVEN, SLOW
from ..quota import Quota
from ..window import View

cdef extern from "Python.h":
    PyObject *PyDict_GetItemWithError(object mapping, object key) except? NULL
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    void *PyUnicode_1BYTE_DATA(object text)
    void PyObject_GC_UnTrack(void *)

INTERFACE = 8

cdef object new_tuple = tuple.__new__

include "told.pxi"
include "blake.pxi"
include "table.pxi"
include "who.pxi"
include "standing.pxi"
include "window.pxi"
include "sweep.pxi"
include "unfold.pxi"

cdef dict FIELD_NUMBERS = {name: number for number, name in enumerate(FIELDS)}
cdef uint8_t USER_FIELD = FIELD_NUMBERS["user"], SENDER = FIELD_NUMBERS["sender"]
cdef uint8_t RECIPIENT = FIELD_NUMBERS["recipient"]
cdef enum:
    NO_FIELD = 0xFF
cdef tuple SCOPE_NAMES = (*SCOPES, *SCOPES)[:4]  # a flag has two bits
cdef frozenset EXCUSED = frozenset({"auth_failure", "locked_out"})  # as engine._EXCUSED
cdef frozenset USUAL = frozenset({"mail_accepted", "mail_bounced"})  # as engine._USUAL


cdef class Feeder
cdef class Foresight


cdef class Route:
    """What is to be done with events of one kind."""

    cdef str name
    cdef uint8_t kind
    cdef bint hostile, login, mail, excused, usual, wanted
    cdef bint idle  # nothing follows from such an event but that time goes on
    cdef object value_field  # the field that a record by source carries
    cdef uint8_t value_number  # its number; NO_FIELD: there is none
    cdef list strangers, known  # the tracks that take events of strangers, and of known users

    def __init__(self, str kind):
        self.name, self.kind = kind, KIND_NUMBER[kind]
        self.hostile = kind in HOSTILE
        self.login, self.mail = kind == "auth_success", kind == "mail_accepted"
        self.excused = kind in EXCUSED
        self.usual = kind in USUAL
        self.value_field = VALUE_FIELD.get(kind)
        self.value_number = FIELD_NUMBERS.get(self.value_field, NO_FIELD)
        self.strangers, self.known = [], []


include "happening.pxi"
include "lanes.pxi"
include "foresight.pxi"


cdef class Feeder:
    """Takes events for an `Engine`."""

    cdef object engine, bans, policy, slow
    cdef dict routes, logs, rules, scopes, index4, index6
    cdef set met
    cdef list completing, pardoning, tracks, by_kind
    cdef Ledger ledger
    cdef Hashing hashing
    cdef Happening event
    cdef Foresight foresight  # None: nobody wants to know bans before they are decided
    cdef public int64_t events, hostile, under_ban
    cdef int64_t sweep_in
    cdef double clock, soonest
    cdef uint8_t failure
    cdef bytearray sieve_  # of the bans
    cdef const uint8_t *sieve

    def __init__(self, object engine, object tell=None):
        """`tell`: see `Engine.foretell`."""
        cdef Track track
        cdef Route route
        self.engine, self.bans, self.policy, self.slow = engine, engine.bans, engine.policy, engine.feed_slowly
        self.logs, self.rules = engine.logs._number, engine.rules._number
        self.scopes = SCOPE_NUMBER
        self.index4, self.index6 = engine.bans._index
        self.met = engine.bans._hit
        self.sieve_ = engine.bans.sieve
        self.sieve = sieve_of(self.sieve_)
        self.ledger = Ledger(engine.book)
        self.hashing = Hashing(engine.hasher, engine.hasher._secret)
        self.event = Happening(self.hashing)
        self.sweep_in = engine._sweep_in
        self.failure = KIND_NUMBER["auth_failure"]
        tracks = {id(lane): Track(lane, engine._quota) for lane in engine.lanes}
        self.tracks = list(tracks.values())
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
            route.idle = not (route.hostile or route.login or route.mail or route.wanted)
        self.by_kind = list(self.routes.values())
        if tell is not None:
            self.foresight = Foresight(self, tell)
            for track in self.tracks:
                track.foresight = self.foresight if track.form == SOURCE else None

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
            if type(events) is list or getattr(events, "rows", None) is None:
                for event in events:
                    self.one(event, effects)
            else:
                self.all(events, effects)
        finally:
            self.sync()
        return effects

    cdef int all(self, object told, list effects) except -1:
        """What follows from a `Told`."""
        cdef Happening here = self.event
        cdef bytes rows = told.rows, texts = told.texts
        cdef const Heard *heard = <const Heard *>PyBytes_AS_STRING(rows)
        cdef list objects = told.objects, logs = told.logs, rules = told.rules
        cdef Py_ssize_t place, count = len(rows) // sizeof(Heard)
        cdef object log = None, rule = None
        cdef uint16_t log_number = 0, rule_number = 0
        cdef int64_t weight
        here.told, here.texts = told, <const uint8_t *>PyBytes_AS_STRING(texts)
        for place in range(count):
            if heard.bits & TOLD_OBJECT:
                self.one(objects[heard.text], effects)
                heard += 1
                continue
            self.at(heard.time)
            if heard.kind >= len(self.by_kind):
                raise ValueError("a kind that is not known")
            here.heard, here.event_, here.place = heard, None, place
            here.route = <Route>self.by_kind[heard.kind]
            here.sourced, here.may_ban = heard.bits & TOLD_SOURCE != 0, heard.bits & TOLD_MAY_BAN != 0
            here.user_looked = 0
            here.scope = SCOPE_NAMES[heard.scope & SCOPE]
            here.record.kind, here.record.time = heard.kind, heard.time
            if here.sourced:
                here.who.tell(heard.low, heard.bits & TOLD_NARROW != 0)
            if here.route.idle or not self.first(here, effects):
                heard += 1
                continue
            weight = heard.weight
            here.record.flags = heard.scope
            if not here.may_ban:
                here.record.flags |= UNTRUSTED
            if weight > 1:
                here.record.flags |= HEAVY
            here.record.position = heard.position
            here.record.weight = <uint16_t>(0 if weight < 0 else 0xFFFF if weight > 0xFFFF else weight)
            if log is not logs[heard.log]:
                log = logs[heard.log]
                log_number = self.number(self.logs, self.engine.logs, log)
            here.record.log = log_number
            if rule is not rules[heard.rule]:
                rule = rules[heard.rule]
                rule_number = self.number(self.rules, self.engine.rules, (<tuple>rule)[0])
            here.record.rule = rule_number
            self.record(here, effects)
            heard += 1
        here.told = here.event_ = None
        here.heard = NULL
        return 0

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
        cdef object source
        cdef double time
        cdef int64_t weight
        if not isinstance(event, tuple) or len(<tuple>event) != 12:
            raise TypeError("feed wants an Event")
        told = <tuple>event
        source = told[2]
        if source is not None and not here.who.take(source):
            self.sync()
            effects += self.slow(event)
            return self.begin()
        time = told[1]
        self.at(time)
        found = PyDict_GetItemWithError(self.routes, told[0])
        if found == NULL:
            return 0
        here.route = <Route>found
        here.sourced, here.may_ban, here.heard = source is not None, bool(told[9]), NULL
        here.event_, here.fields, here.proved, here.user_looked = event, <dict?>told[5], told[10], 0
        here.scope = told[8]
        here.record.kind, here.record.time = here.route.kind, time
        if not self.first(here, effects):
            return 0
        weight = told[4]
        here.record.flags = <uint8_t>self.scopes[told[8]]
        if not here.may_ban:
            here.record.flags |= UNTRUSTED
        if weight > 1:
            here.record.flags |= HEAVY
        here.record.position = told[7]
        here.record.weight = <uint16_t>(0 if weight < 0 else 0xFFFF if weight > 0xFFFF else weight)
        here.record.log = self.number(self.logs, self.engine.logs, told[6])
        here.record.rule = self.number(self.rules, self.engine.rules, told[3])
        return self.record(here, effects)

    cdef inline int at(self, double time) except -1:
        """One more event: the clock, and housekeeping."""
        self.events += 1
        self.pass_to(time)
        self.sweep_in -= 1
        if self.sweep_in <= 0:
            self.sync()
            self.engine._sweep()
            self.sweep_in = self.engine._sweep_in
        return 0

    cdef inline int pass_to(self, double time) except -1:
        """It is `time`, unless it was later before."""
        if time > self.clock:
            self.clock = time
        if self.clock >= self.soonest:  # also after a late event, whose ban may be over at once
            self.policy.expire(self.clock)
            self.soonest = self.bans.soonest
        return 0

    cdef bint first(self, Happening here, list effects) except *:
        """Standing and bans; whether the event is to be recorded."""
        cdef object held
        if here.route.hostile:
            self.hostile += 1
        elif here.route.login:
            if here.sourced and here.has_user():
                self.login(here, effects)
        elif here.route.mail and here.sourced and here.may_ban:
            self.ledger.mail(here)
        if not here.route.wanted:
            return False
        if not here.sourced:
            return True
        held = self.covering(here.who, here.scope, here.record.time)
        if held is None:
            return True
        if here.route.hostile:
            self.under_ban += 1
            held.hits += 1
            if here.record.time > held.last_hit:
                held.last_hit = here.record.time
            self.met.add(held.key)
        return False

    cdef int record(self, Happening here, list effects) except -1:
        """Every lane records it; what fires is settled by Python."""
        cdef bint known = False
        cdef uint64_t other
        cdef uint8_t flags
        cdef Track track
        cdef list fired, settled = None
        if here.route.usual:
            known = not here.sourced or self.ledger.good(here.who, here.record.time)
        elif here.route.excused and here.sourced and here.has_user():
            known = self.ledger.known(here.user(), here.who, here.record.time)
            if not known:
                other = here.alias()
                known = other != 0 and self.ledger.known(other, here.who, here.record.time)
        flags = here.record.flags | KNOWN if known else here.record.flags
        if self.foresight is not None:
            self.foresight.free = True
        for track in here.route.known if known else here.route.strangers:
            if not here.sourced and not track.nameable():
                continue
            fired = track.feed(here, flags, self.clock)
            if fired is not None:
                if self.foresight is not None:
                    self.foresight.free = False
                settled = settled or []
                settled += [(track.lane, one) for one in fired]
        if settled is not None:
            effects += self.engine._settle(settled, here.event())
            self.soonest = self.bans.soonest
        return 0

    cdef inline uint16_t number(self, dict known, object names, object name) except? 0:
        """`Names.number`."""
        cdef PyObject *found = PyDict_GetItemWithError(known, name)
        return <uint16_t>(names.number(name) if found == NULL else <object>found)

    cdef object covering(self, Who who, object scope, double time):
        """`Bans.covering`; None where no ban is met."""
        cdef dict index = self.index4 if who.narrow else self.index6
        cdef int shift, length
        cdef uint64_t low
        cdef object key
        cdef PyObject *found
        if not index:
            return None
        for prefix, by_address in index.items():
            length = prefix
            low = who.low
            if who.narrow:
                low = low >> 32 - length << 32 - length
            elif length < 64:
                low = low >> 64 - length << 64 - length if length else 0
            if not came_by(self.sieve, low):
                continue
            if not who.narrow:
                shift = 128 - length
                key = (who.address - V6_ >> shift << shift) + V6_
            elif length == 32:
                key = who.source
            else:
                key = low
            found = PyDict_GetItemWithError(by_address, key)
            if found != NULL:
                for held in <list?><object>found:
                    if time < held.until and scope in held.scopes:
                        return held
        return None

    cdef int login(self, Happening here, list effects) except -1:
        """`Earning.login`, unless it may end a sequence."""
        cdef Track track
        cdef uint64_t name, other
        for track in self.completing:
            if track.completes(here):
                effects += self.engine._login(here.event())
                self.soonest = self.bans.soonest
                return 0
        if here.may_ban:
            name, other = here.user(), here.short()
            self.ledger.login(name, here.who, here.record.time)
            self.ledger.settle(other, here.who, here.record.time)
            for track in self.pardoning:
                track.pardon(here, self.failure, name, other)
        return 0
