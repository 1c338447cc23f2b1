# Events as columns (see `mailguard.eventfile.columns`) to what was told, without an object for each. Included by
# sessions.pyx.

from cpython.mem cimport PyMem_Calloc, PyMem_Free

cdef enum:
    MOST_CAPTURED = 32  # columns of captured fields
    MOST_PAIRS = 1 << 22  # of rule and what is proved, in one stretch of columns
    NOT_YET = 0xFFFF  # a number that was not looked for
    NO_NUMBER = 0xFFFE  # there is none left


cdef struct Address:
    uint64_t low, rest
    uint8_t bits


cdef struct Captured:  # a column of texts
    const int32_t *codes  # NULL: row i has text i
    const int32_t *offsets
    const uint8_t *data
    const uint8_t *there  # NULL: all are
    Py_ssize_t first
    uint8_t name


cdef class Columns:
    """A stretch of events as columns, looked over once: whatever is read of it later is where it should be."""

    cdef object of  # the columns
    cdef list kept  # what the pointers lead to
    cdef readonly Py_ssize_t count
    cdef const double *times
    cdef const int64_t *positions
    cdef const int32_t *weights
    cdef const uint8_t *may_ban
    cdef const int32_t *kind
    cdef const int32_t *scope
    cdef const int32_t *source
    cdef const int32_t *rule
    cdef const int32_t *log
    cdef const int32_t *proof
    cdef uint8_t *kinds  # of each value, its number
    cdef uint8_t *scopes
    cdef Address *addresses
    cdef uint16_t *numbers  # of rule and what is proved, in the list of rules
    cdef uint16_t *log_numbers  # in the batch `latest`
    cdef Told latest
    cdef uint8_t *sure  # of what is proved, for each field whether it is among that
    cdef list rules, logs, proofs
    cdef Captured[MOST_CAPTURED] captured
    cdef Py_ssize_t fields

    def __cinit__(self):
        self.kinds = self.scopes = self.sure = NULL
        self.addresses = NULL
        self.numbers = self.log_numbers = NULL

    def __dealloc__(self):
        PyMem_Free(self.kinds)
        PyMem_Free(self.scopes)
        PyMem_Free(self.sure)
        PyMem_Free(self.addresses)
        PyMem_Free(self.numbers)
        PyMem_Free(self.log_numbers)

    def __init__(self, columns):
        """Raises ValueError for columns that do not hold together, OverflowError for more different values than can
        be numbered (its events can be made all the same)."""
        cdef const double[::1] times = columns.time
        cdef const int32_t[::1] weights = columns.weight
        cdef const int64_t[::1] positions = columns.position
        cdef const uint8_t[::1] may_ban = columns.may_ban
        cdef Py_ssize_t place
        cdef Address *address
        self.of, self.kept, self.count = columns, [times, weights, positions, may_ban], times.shape[0]
        if weights.shape[0] != self.count or positions.shape[0] != self.count or may_ban.shape[0] != self.count:
            raise ValueError("the columns are not equally long")
        if self.count:
            self.times, self.weights = &times[0], &weights[0]
            self.positions, self.may_ban = &positions[0], &may_ban[0]
        self.kind = self.codes(columns.kind.codes, len(columns.kind.values), False)
        self.scope = self.codes(columns.scope.codes, len(columns.scope.values), False)
        self.source = self.codes(columns.source.codes, len(columns.source.values), True)
        self.rule = self.codes(columns.rule.codes, len(columns.rule.values), False)
        self.log = self.codes(columns.log.codes, len(columns.log.values), False)
        self.proof = self.codes(columns.proved.codes, len(columns.proved.values), False)
        self.rules, self.logs = list(columns.rule.values), list(columns.log.values)
        self.proofs = list(columns.proved.values)
        for name in (*self.rules, *self.logs):
            if type(name) is not str:
                raise ValueError("a rule or a log has no name")
        if len(self.rules) * len(self.proofs) > MOST_PAIRS:
            raise OverflowError("more rules than can be numbered")
        self.kinds = <uint8_t *>room(len(columns.kind.values))
        for place, name in enumerate(columns.kind.values):
            self.kinds[place] = <uint8_t>KIND_NUMBERS[name]
        self.scopes = <uint8_t *>room(len(columns.scope.values))
        for place, name in enumerate(columns.scope.values):
            self.scopes[place] = <uint8_t>SCOPES_.index(name)
        self.addresses = <Address *>room(len(columns.source.values) * <Py_ssize_t>sizeof(Address))
        for place, source in enumerate(columns.source.values):
            address = &self.addresses[place]
            address.bits = ROW_SOURCE
            if source < V6_:
                address.low = source
                address.bits |= ROW_NARROW
            else:
                address.low, address.rest = source - V6_ >> 64, source & 0xFFFFFFFFFFFFFFFF
        self.numbers = <uint16_t *>room(len(self.rules) * len(self.proofs) * 2)
        memset(self.numbers, 0xFF, len(self.rules) * len(self.proofs) * 2)
        self.log_numbers = <uint16_t *>room(len(self.logs) * 2)
        self.texts(columns.texts)

    cdef const int32_t *codes(self, object codes, Py_ssize_t values, bint optional) except? NULL:
        """A column of codes, each of which stands for one of so many values."""
        cdef const int32_t[::1] view = codes
        cdef Py_ssize_t place
        cdef int32_t least = -1 if optional else 0
        if view.shape[0] != self.count:
            raise ValueError("the columns are not equally long")
        if not self.count:
            return NULL
        for place in range(self.count):
            if view[place] < least or view[place] >= values:
                raise ValueError("a code stands for no value")
        self.kept.append(view)
        return &view[0]

    cdef int texts(self, dict texts) except -1:
        """The columns of captured fields."""
        cdef const int32_t[::1] offsets
        cdef const uint8_t[::1] data, there
        cdef Py_ssize_t place, size, text
        cdef Captured *one
        if len(texts) > MOST_CAPTURED:
            raise ValueError("more fields than there are")
        self.fields = len(texts)
        for place, (name, found) in enumerate(texts.items()):
            one = &self.captured[place]
            one.name, one.first = <uint8_t>FIELD_NUMBERS[name], found.first
            offsets, data = found.offsets, found.data
            size = offsets.shape[0] - 1
            self.kept += [offsets, data]
            if size < 0 or offsets[0] < 0 or offsets[size] > data.shape[0]:
                raise ValueError("a text is nowhere")
            for text in range(size):
                if offsets[text] > offsets[text + 1]:
                    raise ValueError("a text is nowhere")
            one.offsets, one.data, one.there = &offsets[0], NULL, NULL
            if data.shape[0]:
                one.data = &data[0]
            if found.there is not None and size:
                there = found.there
                if one.first < 0 or (one.first + size + 7) // 8 > there.shape[0]:
                    raise ValueError("the columns are not equally long")
                self.kept.append(there)
                one.there = &there[0]
            one.codes = NULL
            if found.codes is not None:
                one.codes = self.codes(found.codes, size, True)
            elif size != self.count:
                raise ValueError("the columns are not equally long")
        self.sure = <uint8_t *>room(len(self.proofs) * MOST_CAPTURED)
        for place, proof in enumerate(self.proofs):
            for number, name in enumerate(texts):
                self.sure[place * MOST_CAPTURED + <Py_ssize_t>number] = name in proof
        return 0

    def running(self, double newest):
        """The running maximum of the stamps, from `newest` on."""
        cdef Py_ssize_t place
        cdef double before = newest
        cdef double *stamps
        for place in range(self.count):
            if self.times[place] < before:
                break
            before = self.times[place]
        else:
            return self.of.time
        made = bytearray(self.count * <Py_ssize_t>sizeof(double))
        stamps = <double *>PyByteArray_AS_STRING(made)
        for place in range(self.count):
            if self.times[place] > newest:
                newest = self.times[place]
            stamps[place] = newest
        return memoryview(made).cast("d")

    cdef object event(self, Py_ssize_t place):
        """One of them as an object."""
        return self.of.events(place, place + 1)[0]


cdef void *room(Py_ssize_t size) except NULL:
    cdef void *found = PyMem_Calloc(max(1, size), 1)
    if found == NULL:
        raise MemoryError
    return found


cdef class Reader:
    """Makes what was told of columns. The rules are numbered in one list for all."""

    cdef list rules
    cdef dict numbers

    def __init__(self):
        self.rules, self.numbers = [], {}

    def begin(self):
        """An empty batch, to be filled by `take`."""
        return Told(self.rules)

    cdef uint16_t number(self, object rule, object proved) except? NOT_YET:
        """The place of a rule with what is proved; NO_NUMBER: there are too many."""
        found = self.numbers.get((rule, proved))
        if found is None:
            if len(self.rules) >= NO_NUMBER:
                return NO_NUMBER
            found = self.numbers[rule, proved] = len(self.rules)
            self.rules.append((rule, proved))
        return found

    def take(self, Told told, Columns columns, Py_ssize_t begin, Py_ssize_t stop):
        """The rows from `begin` up to `stop`, put behind what was told."""
        cdef Text[MOST_CAPTURED] texts
        cdef uint8_t[MOST_CAPTURED] names
        cdef const Captured *one
        cdef const uint8_t *sure
        cdef const Address *address
        cdef Heard *heard
        cdef unsigned char *into
        cdef uint16_t *number
        cdef Py_ssize_t place, field, pair, size, proofs = len(columns.proofs), text
        cdef int32_t code, log
        cdef int fields
        cdef uint16_t length, known
        cdef bint fits
        if not 0 <= begin <= stop <= columns.count:
            raise IndexError(stop)
        if columns.latest is not told:
            columns.latest = told
            memset(columns.log_numbers, 0xFF, len(columns.logs) * 2)
        for place in range(begin, stop):
            log = columns.log[place]
            if columns.log_numbers[log] == NOT_YET:
                columns.log_numbers[log] = told.log_number(columns.logs[log])
            pair = columns.rule[place] * proofs + columns.proof[place]
            number = &columns.numbers[pair]
            if number[0] == NOT_YET:
                number[0] = self.number(columns.rules[columns.rule[place]], columns.proofs[columns.proof[place]])
            fits = number[0] != NO_NUMBER
            sure = columns.sure + columns.proof[place] * MOST_CAPTURED
            fields = 0
            size = 0
            for field in range(columns.fields):
                one = &columns.captured[field]
                text = place
                if one.codes != NULL:
                    if one.codes[place] < 0:
                        continue
                    text = one.codes[place]
                if one.there != NULL and not one.there[one.first + text >> 3] >> (one.first + text & 7) & 1:
                    continue
                texts[fields].at = one.data + one.offsets[text]
                texts[fields].length = one.offsets[text + 1] - one.offsets[text]
                texts[fields].proved = sure[field]
                fits = fits and texts[fields].length <= 0xFFFF
                names[fields] = one.name
                size += FIELD_HEAD + texts[fields].length
                fields += 1
            if not fits:
                told.add(columns.event(place))
                continue
            heard = told.next(size)
            heard.text = <uint32_t>told.size
            into = told.texts + told.size
            for field in range(fields):
                length = <uint16_t>texts[field].length
                memcpy(into, &length, 2)
                into[2], into[3] = names[field], texts[field].proved
                memcpy(into + FIELD_HEAD, texts[field].at, length)
                into += FIELD_HEAD + length
            told.size += size
            heard.time, heard.position = columns.times[place], columns.positions[place]
            heard.low = heard.rest = 0
            heard.bits = ROW_MAY_BAN if columns.may_ban[place] else 0
            code = columns.source[place]
            if code >= 0:
                address = &columns.addresses[code]
                heard.low, heard.rest = address.low, address.rest
                heard.bits |= address.bits
            heard.weight = columns.weights[place]
            heard.rule, heard.log = number[0], columns.log_numbers[log]
            heard.kind, heard.scope = columns.kinds[columns.kind[place]], columns.scopes[columns.scope[place]]
            heard.fields = <uint8_t>fields
            told.count += 1


def between(Told told, double since, double until):
    """Those told from the one stamp up to the other; `told` itself where these are all."""
    cdef Told found = Told(told.rules)
    cdef Py_ssize_t place, kept = 0
    for place in range(told.count):
        kept += since <= told.heard[place].time < until
    if kept == told.count:
        return told
    found.logs, found.objects = told.logs, told.objects
    if kept and told.size:
        found.next(told.size)
        memcpy(found.texts, told.texts, told.size)
        found.size = told.size
    for place in range(told.count):
        if since <= told.heard[place].time < until:
            found.next(0)[0] = told.heard[place]
            found.count += 1
    return found
