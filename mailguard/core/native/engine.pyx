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
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject
from libc.math cimport INFINITY, floor, fmod, isinf
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from ...model import HOSTILE, VALUE_FIELD, Evidence, Network
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

INTERFACE = 3

cdef object new_tuple = tuple.__new__

include "blake.pxi"
include "table.pxi"
include "who.pxi"
include "standing.pxi"
include "window.pxi"
include "sweep.pxi"
include "unfold.pxi"

cdef tuple SCOPE_NAMES = (*SCOPES, *SCOPES)[:4]  # a flag has two bits
cdef frozenset EXCUSED = frozenset({"auth_failure", "locked_out"})  # as engine._EXCUSED
cdef frozenset USUAL = frozenset({"mail_accepted", "mail_bounced"})  # as engine._USUAL


cdef class Feeder
cdef class Foresight
cdef class Prepared


cdef class Route:
    """What is to be done with events of one kind."""

    cdef str name
    cdef uint8_t kind
    cdef bint hostile, login, mail, excused, usual, wanted
    cdef object value_field  # the field that a record by source carries
    cdef list strangers, known  # the tracks that take events of strangers, and of known users

    def __init__(self, str kind):
        self.name, self.kind = kind, KIND_NUMBER[kind]
        self.hostile = kind in HOSTILE
        self.login, self.mail = kind == "auth_success", kind == "mail_accepted"
        self.excused = kind in EXCUSED
        self.usual = kind in USUAL
        self.value_field = VALUE_FIELD.get(kind)
        self.strangers, self.known = [], []


cdef class Happening:
    """The event in hand, and what is worked out about it once and only when it is asked for."""

    cdef object event_
    cdef list events  # of a `Prepared`: there stands the event, at `place`
    cdef Py_ssize_t place
    cdef Route route
    cdef Who who
    cdef Hashing hashing
    cdef bint sourced, may_ban, prepared
    cdef object scope
    cdef dict fields  # these two only where it was not prepared
    cdef object proved
    cdef Record record
    cdef str name  # of the user
    cdef uint64_t name_, alias_, short_, value_  # hashes
    cdef uint32_t pair_
    cdef uint8_t conditions, lanes  # of a `Prepared`
    cdef uint8_t user_looked  # 0: not yet, 1: there is one, 2: none

    def __init__(self, Hashing hashing):
        self.hashing = hashing
        self.who = Who()

    cdef object event(self):
        """The event itself."""
        return self.events[self.place] if self.prepared else self.event_

    cdef object field(self, object name):
        """A field's text, None where it is empty or missing."""
        cdef PyObject *found = PyDict_GetItemWithError(self.fields, name)
        return None if found == NULL or not <object>found else <str?><object>found

    cdef bint has_user(self) except *:
        """The event has a proved name of a user."""
        if self.user_looked == 0:
            self.name = self.field("user")
            self.user_looked = 1 if self.name is not None and "user" in self.proved else 2
            self.name_ = 0
        return self.user_looked == 1

    cdef inline uint64_t user(self) except? 0:
        """The name's hash; only where `has_user`, as the next two."""
        if self.name_ == 0:
            self.name_ = self.hashing.of(self.name)
        return self.name_

    cdef uint64_t alias(self) except? 0:
        """The hash of `engine.alias`; 0: it is the name itself."""
        if self.prepared:
            return self.alias_
        return self.hashing.of(self.name.partition("@")[0] + "@") if "@" in self.name else 0

    cdef uint64_t short(self) except? 0:
        """The hash of `engine.short_name`."""
        if self.prepared:
            return self.short_
        return self.hashing.of(self.name.partition("@")[0] if "@" in self.name else self.name + "@")

    cdef uint64_t value(self) except? 0:
        """The hash of the field that a record by source carries; 0: none."""
        cdef object text
        if self.prepared:
            return self.value_
        if self.route.value_field is None:
            return 0
        text = self.field(self.route.value_field)
        return 0 if text is None else self.hashing.of(text)

    cdef uint32_t pair(self) except? 0:
        """Part of the hash of sender and recipient; 0: neither is known."""
        cdef object sender, recipient
        if self.prepared:
            return self.pair_
        sender, recipient = self.field("sender"), self.field("recipient")
        if sender is None and recipient is None:
            return 0
        return <uint32_t>self.hashing.of(f"{sender or ''}\0{recipient or ''}")

    cdef bint holds(self, tuple unless, uint8_t number) except *:
        """The event has all these field values, proved; `number`: the bit of that condition in a `Prepared`."""
        cdef PyObject *found
        if self.prepared:
            return self.conditions & number != 0
        for name, value in unless:
            found = PyDict_GetItemWithError(self.fields, name)
            if found == NULL or <object>found != value or name not in self.proved:
                return False
        return True


include "lanes.pxi"
include "prepared.pxi"
include "foresight.pxi"


cdef class Feeder:
    """Takes events for an `Engine`."""

    cdef object engine, bans, policy, slow
    cdef dict routes, logs, rules, scopes, index4, index6
    cdef set met
    cdef list completing, pardoning, tracks, by_kind
    cdef bint scouting
    cdef Ledger ledger
    cdef Hashing hashing
    cdef Happening event
    cdef Foresight foresight  # None: nobody wants to know bans before they are decided
    cdef public int64_t events, hostile, under_ban
    cdef int64_t sweep_in
    cdef double clock, soonest
    cdef uint8_t failure

    def __init__(self, object engine, object tell=None):
        """`tell`: see `Engine.foretell`."""
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
        self.by_kind = list(self.routes.values())
        if tell is not None:
            self.foresight = Foresight(self, tell)
            for track in self.tracks:
                track.foresight = self.foresight if track.form == SOURCE else None

    def run(self, Prepared prepared):
        """What follows from all that is prepared; for an engine that has seen nothing yet."""
        cdef list effects = []
        cdef Py_ssize_t place
        prepared.fit(self)
        self.begin()
        try:
            for place in range(prepared.count):
                self.again(prepared, place, effects)
            self.pass_to(prepared.clock)  # what was left out may have come after the last that was not
        finally:
            self.event.prepared = False
            self.sync()
        return effects

    def scout(self, Prepared prepared):
        """Find what can matter at all under detectors no stricter than those of this engine, which has seen
        nothing yet: for each lane the keys that could fire. None: some table is too small to say."""
        cdef Py_ssize_t place
        prepared.fit(self)
        self.scouting = True
        for track in self.tracks:
            (<Track>track).live = set()
        self.begin()
        self.sweep_in = (<int64_t>1 << 62)
        for place in range(prepared.count):
            self.again(prepared, place, None)
        for table in self.engine.tables():
            if table.evicted:
                return None
        if self.engine.folded:
            return None
        return [
            ((<Track>track).lane.form, (<Track>track).live, (<Track>track).lane.key_of) for track in self.tracks
        ]

    cdef int again(self, Prepared prepared, Py_ssize_t place, list effects) except -1:
        """The event at `place`."""
        cdef Happening here = self.event
        if not prepared.show(place, here, self.by_kind):
            return 0
        self.at(prepared.rows[place].clock)
        if self.scouting:
            if here.route.login and here.sourced and here.may_ban and here.has_user():
                self.ledger.login(here.user(), here.who, here.record.time)
                self.ledger.settle(here.short(), here.who, here.record.time)
            elif here.route.mail and here.sourced and here.may_ban:
                self.ledger.mail(here)
            if here.route.wanted:
                for track in here.route.strangers:
                    if here.sourced or (<Track>track).nameable():
                        (<Track>track).feed(here, here.record.flags, self.clock)
            return 0
        if self.first(here, effects):
            self.record(here, effects)
        return 0

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
        here.prepared, here.sourced, here.may_ban = False, source is not None, bool(told[9])
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
            known = not here.sourced or self.engine.book.source(here.who.address).good(here.record.time)
        elif here.route.excused and here.sourced and here.has_user():
            known = self.ledger.known(here.user(), here.who, here.record.time)
            if not known:
                other = here.alias()
                known = other != 0 and self.ledger.known(other, here.who, here.record.time)
        flags = here.record.flags | KNOWN if known else here.record.flags
        if self.foresight is not None:
            self.foresight.free = True
        for track in here.route.known if known else here.route.strangers:
            if here.prepared and not here.lanes >> track.form & 1:
                continue
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

    cdef int login(self, Happening here, list effects) except -1:
        """`Engine._login`, unless it may end a sequence."""
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
