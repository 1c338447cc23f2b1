# Histories: what `History.add`, `History.trim` and `find` say, for the event that comes in the order of its key's
# stamps. A late event, a history that cannot be one, and whatever fires go back to Python, which says what fired.
# Included by engine.pyx.
#
# Every pointer below runs over the bytes of one `bytes` object whose length is a multiple of 32, which `Lane.feed`
# looks at before; `index` is always below `size`, that length divided by 32.

cdef enum:
    SIZE = 32  # "=dqQHHHBB"
    VALUE_AT = 16
    WEIGHT_AT = 28
    KIND_AT = 30
    FLAGS_AT = 31
    SCOPE = 0x03
    UNTRUSTED = 0x04
    KNOWN = 0x08
    HEAVY = 0x80
    BUCKET = 0xFF ^ SCOPE ^ HEAVY
    MOST_VALUES = 64  # a detector that counts more different values is Python's
    MOST_BUCKETS = 32
    MOST_TRIMMED = 4096  # records of a history that is trimmed here
    MOST_COMPARED = 512  # of one whose values are compared

cdef double LATENESS = 3600.0


cdef inline double time_at(const char *data, Py_ssize_t index) noexcept:
    cdef double time
    memcpy(&time, data + index * SIZE, 8)
    return time


cdef inline uint64_t value_at(const char *data, Py_ssize_t index) noexcept:
    cdef uint64_t value
    memcpy(&value, data + index * SIZE + VALUE_AT, 8)
    return value


cdef inline uint16_t weight_at(const char *data, Py_ssize_t index) noexcept:
    cdef uint16_t weight
    memcpy(&weight, data + index * SIZE + WEIGHT_AT, 2)
    return weight


cdef inline uint8_t kind_at(const char *data, Py_ssize_t index) noexcept:
    return <uint8_t>data[index * SIZE + KIND_AT]


cdef inline uint8_t flags_at(const char *data, Py_ssize_t index) noexcept:
    return <uint8_t>data[index * SIZE + FLAGS_AT]


cdef struct Record:  # what is packed
    double time
    int64_t position
    uint64_t value
    uint16_t log, rule, weight
    uint8_t kind, flags


cdef inline void write_record(char *data, const Record *record) noexcept:
    memcpy(data, &record.time, 8)
    memcpy(data + 8, &record.position, 8)
    memcpy(data + VALUE_AT, &record.value, 8)
    memcpy(data + 24, &record.log, 2)
    memcpy(data + 26, &record.rule, 2)
    memcpy(data + WEIGHT_AT, &record.weight, 2)
    data[KIND_AT] = <char>record.kind
    data[FLAGS_AT] = <char>record.flags


cdef class Watcher:
    """A `Watch`: whether some window that ends now fulfils its `Ask`."""

    cdef object watch
    cdef uint8_t[256] counts  # kind -> does it count
    cdef double within
    cdef Py_ssize_t count, distinct, least
    cdef bint by_network
    cdef uint8_t mask, want
    cdef dict marks, suspicions

    def __init__(self, object watch):
        cdef object ask = watch.ask
        cdef Py_ssize_t kind
        self.watch = watch
        for kind in range(256):
            self.counts[kind] = kind in ask.kinds
        self.within, self.count, self.distinct = ask.within, ask.count, ask.distinct
        self.least, self.by_network = watch.least, ask.by_network
        self.mask, self.want = ask.mask, ask.want
        self.marks, self.suspicions = watch.marks._until, watch.suspicions._until

    cdef inline double mark(self, dict marks, object key) except? -1.0:
        cdef PyObject *found
        if not marks:
            return -INFINITY
        found = PyDict_GetItemWithError(marks, key)
        return -INFINITY if found == NULL else PyFloat_AsDouble(<object>found)

    cdef inline bint fits(self, const char *data, Py_ssize_t index, uint8_t mask) noexcept:
        """The record counts."""
        return self.counts[kind_at(data, index)] and flags_at(data, index) & mask == self.want

    cdef bint may_fire(self, object key, const char *data, Py_ssize_t size, double at, bint newest) except *:
        """Could the window that ends at `at` fulfil the `Ask`? False is certain. `newest`: the last record is
        the event in question."""
        cdef double mark = self.mark(self.marks, key)
        cdef double begin = at - self.within
        cdef bint doubtful = False
        if newest and (at <= mark or flags_at(data, size - 1) & self.mask != self.want):
            return False
        if self.holds(data, size, begin, at, mark, self.mask | UNTRUSTED, &doubtful):
            return True
        if not doubtful:
            return False
        return self.holds(data, size, begin, at, max(mark, self.mark(self.suspicions, key)), self.mask, &doubtful)

    cdef bint holds(
        self, const char *data, Py_ssize_t size, double begin, double end, double mark, uint8_t mask,
        bint *doubtful,
    ) noexcept:
        """`window.find_before`; `doubtful` is set where a record of the window may not ban."""
        cdef uint64_t[MOST_VALUES] seen
        cdef Py_ssize_t index, fit = 0, total = 0, different = 0, place
        cdef uint64_t value
        cdef double time
        for index in range(size - 1, -1, -1):
            time = time_at(data, index)
            if time > end:
                continue
            if time < begin or time <= mark:
                return False
            if flags_at(data, index) & UNTRUSTED:
                doubtful[0] = True
            if not self.counts[kind_at(data, index)] or flags_at(data, index) & mask != self.want:
                continue
            fit += 1
            total += weight_at(data, index) if flags_at(data, index) & HEAVY else 1
            if self.distinct and different < self.distinct:
                if self.distinct > MOST_VALUES:
                    different = fit  # so many are not counted here
                else:
                    value = value_at(data, index)
                    if value:
                        if self.by_network:
                            value &= ~<uint64_t>0xFFFF if value >> 32 else ~<uint64_t>0xFF
                        for place in range(different):
                            if seen[place] == value:
                                break
                        else:
                            seen[different] = value  # below `distinct`, which is at most MOST_VALUES
                            different += 1
            if total >= self.count and different >= self.distinct:
                return True
        return False


cdef class Trimmer:
    """`History.trim`."""

    cdef object history
    cdef bint[256] wanted
    cdef double[256] within
    cdef Py_ssize_t[256] records, values

    def __init__(self, object history):
        cdef Py_ssize_t kind
        self.history = history
        memset(self.wanted, 0, sizeof(self.wanted))
        for kind, need in history.needs.items():
            if not 0 <= kind < 256:
                raise ValueError(f"no kind has the number {kind}")
            self.wanted[kind] = True
            self.within[kind], self.records[kind], self.values[kind] = need

    cdef bytes trim(self, bytes buffer, double clock):
        """The history without what no window can want any more."""
        cdef Py_ssize_t size = len(buffer) // SIZE, index, other, kept = 0, bucket, buckets = 0, known
        cdef uint8_t[MOST_TRIMMED] keep
        cdef uint16_t[MOST_BUCKETS] sort
        cdef Py_ssize_t[MOST_BUCKETS] counted, different
        cdef const char *data = PyBytes_AS_STRING(buffer)
        cdef char *into
        cdef uint8_t kind
        cdef uint16_t name
        cdef uint64_t value
        cdef bytes made
        if size > MOST_TRIMMED:
            return self.history.trim(buffer, clock)
        for index in range(size - 1, -1, -1):
            keep[index] = 0
            kind = kind_at(data, index)
            if not self.wanted[kind] or time_at(data, index) < clock - self.within[kind] - LATENESS:
                continue
            name = <uint16_t>kind << 8 | flags_at(data, index) & BUCKET
            for bucket in range(buckets):
                if sort[bucket] == name:
                    break
            else:
                if buckets == MOST_BUCKETS:
                    return self.history.trim(buffer, clock)
                bucket = buckets
                sort[bucket], counted[bucket], different[bucket] = name, 0, 0
                buckets += 1
            if self.values[kind] > 1:
                if size > MOST_COMPARED:
                    return self.history.trim(buffer, clock)
                value, known = value_at(data, index), 0
                for other in range(index + 1, size):
                    if (
                        keep[other] and value_at(data, other) == value and kind_at(data, other) == kind
                        and (flags_at(data, other) ^ flags_at(data, index)) & BUCKET == 0
                    ):
                        known = 1
                        break
                if counted[bucket] < self.records[kind]:
                    counted[bucket] += 1
                elif known or different[bucket] >= self.values[kind]:
                    continue
                different[bucket] += 1 - known
            elif counted[bucket] < self.records[kind]:
                counted[bucket] += 1
            else:
                continue
            keep[index] = 1
            kept += 1
        if kept == size:
            return buffer
        made = PyBytes_FromStringAndSize(NULL, kept * SIZE)
        into = PyBytes_AS_STRING(made)
        for index in range(size):
            if keep[index]:
                memcpy(into, data + index * SIZE, SIZE)
                into += SIZE
        return made
