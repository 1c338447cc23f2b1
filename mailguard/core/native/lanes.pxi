# A `Lane` for the usual event. Included by engine.pyx.

cdef enum Form:
    OTHER = 0
    SOURCE = 1
    NETWORK = 2
    USER = 3
    USER_NETWORK = 4

cdef dict FORMS = {"source": SOURCE, "network": NETWORK, "user": USER, "user+network": USER_NETWORK}


cdef class Track:
    """Sees into one `Lane`: its history, and what watches it."""

    cdef object lane
    cdef Form form
    cdef Shelf shelf
    cdef Trimmer trimmer
    cdef object quota  # of the lane by source, None without one
    cdef bint heavy  # some record may stand for more than one event
    cdef list counting  # kind number -> list of Watcher, None where no event of that kind is recorded
    cdef list completing  # kind number -> list of Watcher, or None
    cdef list unless  # kind number -> conditions
    cdef list conditions_  # the same for rows: numbers of fields and values as bytes
    cdef uint8_t field  # OTHER: the field that is the key; NO_FIELD: Python finds it
    cdef object field_name  # the same as an object has it
    cdef bint domain  # of which only the domain counts
    cdef Foresight foresight  # of a lane by source, where somebody wants to know
    cdef Py_ssize_t[256] least

    def __init__(self, object lane, object quota):
        cdef dict watchers = {id(watch): Watcher(watch) for watch in lane.watches}
        cdef Py_ssize_t kind
        self.lane = lane
        self.form = FORMS.get(lane.form, OTHER)
        self.shelf = Shelf(lane.history.table)
        self.trimmer = Trimmer(lane.history)
        self.quota = quota if self.form == SOURCE else None
        self.domain = lane.form == "recipient_domain"
        self.field_name = "recipient" if self.domain else lane.form
        self.field = FIELD_NUMBERS.get(self.field_name, NO_FIELD)
        self.heavy = len(lane.history.table) > 0
        self.counting, self.completing, self.unless = [None] * 256, [None] * 256, [()] * 256
        self.conditions_ = [()] * 256
        for kind in lane.who:
            self.counting[kind] = [watchers[id(watch)] for watch in lane.counting[kind]]
            self.least[kind] = lane.least[kind]
            self.unless[kind] = lane.unless[kind]
            self.conditions_[kind] = tuple(
                [
                    (bit, tuple([(FIELD_NUMBERS[name], value.encode("utf-8", "surrogatepass")) for name, value in unless]))
                    for bit, unless in lane.unless[kind]
                ]
            )
        for kind, watches in lane.completing.items():
            self.completing[kind] = [watchers[id(watch)] for watch in watches]

    cdef object key(self, Happening event, Py_ssize_t *shard, bint *narrow):
        """The event's key here, None without one."""
        cdef Who who = event.who
        cdef object key, text
        cdef uint64_t number
        narrow[0] = True
        if self.form == SOURCE:
            narrow[0] = who.narrow
            shard[0] = who.source_shard(self.shelf)
            return who.source
        if self.form == NETWORK:
            narrow[0] = who.narrow
            shard[0] = who.network_shard(self.shelf)
            return who.network()
        if self.form == OTHER:
            if self.field != NO_FIELD:
                if event.heard != NULL:
                    number = event.key(self.field, self.domain)
                    if number == 0:
                        return None
                else:
                    text = event.field(self.field_name)
                    if text is None or self.field_name not in event.proved:
                        return None
                    if self.domain:
                        text = text.rpartition("@")[2]
                        if not text:
                            return None
                    number = event.hashing.of(text)
                shard[0] = self.shelf.narrow(number)
                return number
            key = self.lane.key_of(event.event())
            if key is not None:
                shard[0] = self.shelf.narrow(key)  # a hash: always below 2**64
            return key
        if not event.has_user():
            return None
        number = event.user() if self.form == USER else who.with_user(event.user())
        shard[0] = self.shelf.narrow(number)
        return number

    cdef bint absent(self, Happening event) except *:
        """Nothing is known here under the event's key, if it has one; True is certain."""
        if self.form == SOURCE:
            return self.shelf.never(event.who.low)
        if self.form == NETWORK:
            return self.shelf.never(event.who.wide())
        if self.form == OTHER:
            return False
        if not event.has_user():
            return True
        return self.shelf.never(event.user() if self.form == USER else event.who.with_user(event.user()))

    cdef inline bint nameable(self) noexcept:
        """Events without a source have a key here."""
        return self.form == OTHER or self.form == USER

    cdef uint64_t value(self, Happening event) except? 0:
        """`Lane.value`."""
        return event.value() if self.form == SOURCE else event.who.value() if event.sourced else 0

    cdef list feed(self, Happening event, uint8_t flags, double clock):
        """`Lane.feed`: what fires, None for nothing. The caller knows that the lane takes the event."""
        cdef Py_ssize_t shard = 0, size
        cdef bint narrow = True
        cdef Place place = NOWHERE
        cdef object key = self.key(event, &shard, &narrow)
        cdef uint8_t kind = event.record.kind
        cdef bytes buffer = None, made
        cdef char *data
        cdef list fired = None
        cdef Watcher watcher
        if key is None:
            return None
        if self.form != SOURCE or not self.shelf.never(event.who.low):
            buffer = self.shelf.get(key, shard, &place)
        if buffer is None and not narrow and self.quota is not None and not self.shelf.roomy(key):
            key = self.quota.key(key)
            shard = self.shelf.broad(PyLong_AsUnsignedLongLongMask(key >> SHIFT))
            buffer = self.shelf.get(key, shard, &place)
        if buffer is not None:
            size = len(buffer)
            if (
                size == 0 or size % SIZE or clock - event.record.time > LATENESS
                or event.record.time < time_at(PyBytes_AS_STRING(buffer), size // SIZE - 1)
            ):
                self.heavy = self.heavy or flags & HEAVY
                fired = list(
                    self.lane.feed(
                        key, event.event(), kind, flags, event.record.log, event.record.rule, clock
                    )
                )
                return fired or None
        if flags & HEAVY:
            self.heavy = True
        event.record.flags = flags | self.conditions(event)  # this lane's own; the caller's are in `flags`
        event.record.value = self.value(event)
        size = 1 if buffer is None else len(buffer) // SIZE + 1
        made = PyBytes_FromStringAndSize(NULL, size * SIZE)
        data = PyBytes_AS_STRING(made)
        if buffer is not None:
            memcpy(data, PyBytes_AS_STRING(buffer), (size - 1) * SIZE)
        write_record(data + (size - 1) * SIZE, &event.record)
        if buffer is None:
            self.shelf.put(key, shard, narrow, made, False, NOWHERE)
        elif size & 15:
            self.shelf.put(key, shard, narrow, made, True, place)
        else:
            buffer = self.trimmer.trim(made, clock)
            if buffer:
                self.shelf.put(key, shard, narrow, buffer, True, place)
            else:
                self.shelf.table.drop(key)
        if size < self.least[kind] and not self.heavy:
            return None
        for watcher in <list>self.counting[kind]:
            if not self.heavy:
                if size < watcher.least:
                    continue
                if time_at(data, size - watcher.least) < event.record.time - watcher.within:
                    continue
            if watcher.may_fire(key, data, size, event.record.time, True):
                if self.foresight is not None and self.foresight.free:
                    self.foresight.look(watcher, event, key, data, size)
                found = watcher.watch.look(key, View(made), size - 1)
                if found is not None:
                    if self.foresight is not None:
                        self.foresight.free = False  # what it brings comes first
                    fired = fired or []
                    fired.append(found)
        return fired

    cdef uint8_t conditions(self, Happening event) except? 0:
        """The flags of those `unless` that hold for the event."""
        cdef uint8_t flags = 0
        if event.heard != NULL:
            for bit, unless in <tuple>self.conditions_[event.record.kind]:
                if event.shows(unless):
                    flags |= <uint8_t>bit
            return flags
        for bit, unless in <tuple>self.unless[event.record.kind]:
            if event.holds(unless):
                flags |= <uint8_t>bit
        return flags

    cdef bint completes(self, Happening event) except *:
        """Could the event end a sequence here? False is certain."""
        cdef Py_ssize_t shard = 0
        cdef bint narrow = True
        cdef Place place = NOWHERE
        cdef object key
        cdef bytes buffer
        cdef Watcher watcher
        if self.completing[event.record.kind] is None or self.absent(event):
            return False
        key = self.key(event, &shard, &narrow)
        if key is None:
            return False
        buffer = self.shelf.get(key, shard, &place)
        if buffer is None:
            return False
        if len(buffer) % SIZE:
            return True
        for watcher in <list>self.completing[event.record.kind]:
            if watcher.may_fire(key, PyBytes_AS_STRING(buffer), len(buffer) // SIZE, event.record.time, False):
                return True
        return False

    cdef int pardon(self, Happening event, uint8_t kind, uint64_t name, uint64_t other) except -1:
        """Forget the failures of somebody who logged in after all."""
        cdef Py_ssize_t shard = 0, index, size
        cdef bint narrow = True, one = False, two = False
        cdef Place place = NOWHERE
        cdef object key
        cdef bytes buffer
        cdef const char *data
        cdef uint64_t value
        if self.absent(event):
            return 0
        key = self.key(event, &shard, &narrow)
        if key is None:
            return 0
        buffer = self.shelf.get(key, shard, &place)
        if buffer is None:
            return 0
        if self.form != SOURCE:
            name = other = event.who.value()
        data = PyBytes_AS_STRING(buffer)
        size = len(buffer) // SIZE
        for index in range(size):
            if kind_at(data, index) == kind:
                value = value_at(data, index)
                one = one or value == name
                two = two or value == other
        if one:
            self.lane.history.forget(key, kind, name)
        if two and other != name:
            self.lane.history.forget(key, kind, other)
        return 0
