# What was told, while it is gathered and for who asks for events. Included by sessions.pyx.

cdef enum:
    MOST_TOLD = 0x7FFFFFFF  # bytes of text in one batch


cdef class Told:
    """What was told, in order: a sequence of events that are made when somebody asks for them."""

    cdef readonly list rules  # full name and proved fields of each rule
    cdef readonly list logs, objects
    cdef list made  # events that were asked for; None: none yet
    cdef Heard *heard
    cdef unsigned char *texts
    cdef readonly Py_ssize_t count
    cdef Py_ssize_t room, size, texts_room
    cdef bytes rows_, texts_

    def __cinit__(self):
        self.heard, self.texts = NULL, NULL

    def __dealloc__(self):
        free(self.heard)
        free(self.texts)

    def __init__(self, list rules):
        self.rules, self.logs, self.objects = rules, [], []

    cdef Heard *next(self, Py_ssize_t size) except NULL:
        """Room for one more, and for so many bytes of text."""
        cdef void *grown
        if self.count == self.room:
            grown = realloc(self.heard, max(512, 2 * self.room) * sizeof(Heard))
            if grown == NULL:
                raise MemoryError
            self.heard, self.room = <Heard *>grown, max(512, 2 * self.room)
        if self.size + size > self.texts_room:
            if self.size + size > MOST_TOLD:
                raise OverflowError("more text in one batch than it can hold")
            grown = realloc(self.texts, 2 * (self.size + size) + 65536)
            if grown == NULL:
                raise MemoryError
            self.texts, self.texts_room = <unsigned char *>grown, 2 * (self.size + size) + 65536
        return &self.heard[self.count]

    cdef uint16_t log_number(self, object log) except? 0xFFFF:
        """The place of a log among those of this batch."""
        cdef Py_ssize_t place
        for place in range(len(self.logs) - 1, -1, -1):
            if self.logs[place] is log or self.logs[place] == log:
                return <uint16_t>place
        if len(self.logs) >= 0xFFFF:
            raise OverflowError("more logs in one batch than it can hold")
        self.logs.append(log)
        return <uint16_t>(len(self.logs) - 1)

    cdef int add(self, object event) except -1:
        """One more that is an event already."""
        cdef tuple told
        cdef Heard *one
        cdef object source
        if not isinstance(event, tuple) or len(<tuple>event) != 12:
            raise TypeError("an Event is wanted")
        told, one = <tuple>event, self.next(0)
        source = told[2]
        memset(one, 0, sizeof(Heard))
        one.time, one.position, one.text, one.bits = told[1], told[7], <uint32_t>len(self.objects), TOLD_OBJECT
        one.kind = <uint8_t>KIND_NUMBERS.get(told[0], TOLD_UNKNOWN)
        one.log = self.log_number(told[6])
        if source is not None:
            one.bits |= ROW_SOURCE
            if 0 <= source < V6_:
                one.low = source & 0xFFFFFFFFFFFFFFFF
                one.bits |= ROW_NARROW
            else:
                one.low, one.rest = source >> 64 & 0xFFFFFFFFFFFFFFFF, source & 0xFFFFFFFFFFFFFFFF
        self.objects.append(event)
        self.count += 1
        return 0

    def extend(self, events):
        """More that are events already."""
        for event in events:
            self.add(event)

    def fill(self, bytes rows, bytes texts, list logs, list objects):
        """Take what another process told, whose rules this batch has; nothing was told here yet. Raises ValueError
        where it does not hold together."""
        cdef Py_ssize_t count = len(rows) // <Py_ssize_t> sizeof(Heard), place, size = len(texts)
        cdef const Heard *one = <const Heard *>PyBytes_AS_STRING(rows)
        cdef const unsigned char *text = <const unsigned char *>PyBytes_AS_STRING(texts)
        cdef Py_ssize_t at, number
        cdef uint16_t length
        cdef void *grown
        if self.count or count * <Py_ssize_t> sizeof(Heard) != len(rows):
            raise ValueError("no whole rows, or a batch that is not empty")
        for place in range(count):
            at = one[place].text
            if one[place].log >= len(logs):
                raise ValueError("a row of no log")
            if one[place].bits & TOLD_OBJECT:
                if at >= len(objects):
                    raise ValueError("a row without its object")
                continue
            if one[place].rule >= len(self.rules):
                raise ValueError("a row of no rule")
            for number in range(one[place].fields):
                if size - at < FIELD_HEAD:
                    raise ValueError("a row without its text")
                memcpy(&length, text + at, 2)
                at += FIELD_HEAD + length
                if at > size:
                    raise ValueError("a row without its text")
        self.next(size)
        if count > self.room:
            grown = realloc(self.heard, count * sizeof(Heard))
            if grown == NULL:
                raise MemoryError
            self.heard, self.room = <Heard *>grown, count
        memcpy(self.heard, one, count * sizeof(Heard))
        memcpy(self.texts, text, size)
        self.count, self.size = count, size
        self.rows_, self.texts_ = rows, texts
        self.logs, self.objects = logs, objects

    # ------------------------------------------------------------ for who reads it

    @property
    def rows(self):
        """The rows; nothing may come behind them any more."""
        if self.rows_ is None:
            self.rows_ = PyBytes_FromStringAndSize(<char *>self.heard, self.count * sizeof(Heard))
        return self.rows_

    @property
    def texts(self):
        """The texts of the fields."""
        if self.texts_ is None:
            self.texts_ = PyBytes_FromStringAndSize(<char *>self.texts, self.size)
        return self.texts_

    def __len__(self):
        return self.count

    def __bool__(self):
        return self.count > 0

    def __iter__(self):
        return iter(self.events())

    def __getitem__(self, place):
        if isinstance(place, slice):
            return [self.event(one) for one in range(*place.indices(self.count))]
        return self.event(range(self.count)[place])

    def events(self):
        """All of them as events."""
        return [self.event(place) for place in range(self.count)]

    def hostile(self):
        """The hostile ones as events."""
        return [self.event(place) for place in range(self.count) if self.heard[place].kind < HOSTILE_KINDS]

    def event(self, Py_ssize_t place):
        """The event at `place`, which is made once."""
        cdef Heard *one
        cdef object source = None
        cdef dict fields
        cdef object proved
        if not 0 <= place < self.count:
            raise IndexError(place)
        one = &self.heard[place]
        if one.bits & TOLD_OBJECT:
            return self.objects[one.text]
        if self.made is None:
            self.made = [None] * self.count
        elif len(self.made) < self.count:
            self.made += [None] * (self.count - len(self.made))
        event = self.made[place]
        if event is None:
            if one.bits & ROW_SOURCE:
                source = address_of(one.low, one.rest, one.bits)
            name, proved = self.rules[one.rule]
            fields, proved = self.fields(one, proved)
            event = self.made[place] = new_tuple(
                Event,
                (
                    KINDS_[one.kind], one.time, source, name, one.weight, fields, self.logs[one.log], one.position,
                    SCOPES_[one.scope], one.bits & ROW_MAY_BAN != 0, proved, b"",
                ),
            )
        return event

    cdef tuple fields(self, Heard *one, object proved):
        """The fields by name, and the names of those that were proved; `proved`: those of the rule."""
        cdef dict found = {}
        cdef const unsigned char *at = self.texts + one.text
        cdef uint16_t length
        cdef int number
        cdef list more = None
        for number in range(one.fields):
            memcpy(&length, at, 2)
            name = FIELDS_[at[2]]
            found[name] = text_of(at + FIELD_HEAD, length)
            if at[3] and name not in proved:
                more = more or []
                more.append(name)
            at += FIELD_HEAD + length
        return found, proved if more is None else proved | frozenset(more)


cdef inline object address_of(uint64_t low, uint64_t rest, uint8_t bits):
    """A packed address."""
    if bits & ROW_NARROW:
        return low
    return (1 << 128) | (<object>low << 64) | rest


cdef object text_of(const unsigned char *text, Py_ssize_t length):
    """A field as text."""
    cdef Py_ssize_t at
    for at in range(length):
        if text[at] & 0x80:
            return PyUnicode_DecodeUTF8(<const char *>text, length, "surrogatepass")
    return PyUnicode_DecodeASCII(<const char *>text, length, NULL)
