# Histories, windows and what watches them: `core.window` and `core.detectors` on arrays. Included by trying.pyx.

cdef enum:
    LATENESS = 3600
    ANY = 1
    STRANGER = 2
    KNOWN_ONLY = 3

cdef struct Record:
    double time
    uint32_t source, network, value, both  # `value`: what counts as different, 0 for nothing
    uint16_t weight
    uint8_t kind, flags

cdef struct History:
    Record *records
    int32_t size, room
    bint heavy

cdef struct Watch:
    uint32_t kinds  # a bit each
    double within
    int64_t count, distinct, least
    bint by_network, bans, slow
    uint8_t mask, want, who
    double first, factor, longest
    uint32_t detector
    uint32_t forgiven  # its kinds, all of them forgivable

cdef struct Span:
    double last
    uint32_t kinds
    uint8_t scope
    int32_t begin, end

cdef struct Need:
    double within
    int64_t records, values


@cython.final
cdef class Lane:
    """One form of key: histories, and marks of each watch."""

    cdef str name
    cdef int form, extra, bit
    cdef Py_ssize_t keys
    cdef History *histories
    cdef double *marks
    cdef double *suspicions  # NULL where nothing is suspicious
    cdef Watch *watches
    cdef int watching
    cdef uint8_t[32] who  # 0: no event of the kind is recorded
    cdef int64_t[32] least
    cdef Need[32] needs
    cdef uint32_t needed
    cdef int[32][64] counting  # of each kind; ends with -1
    cdef int[32][64] completing
    cdef uint8_t[32][8] condition_bit  # of a record's flags
    cdef uint8_t[32][8] condition_row  # of a row's conditions
    cdef int[32] conditioned
    cdef bint pardons
    cdef uint16_t lightest  # records weigh at least so much
    cdef Record *trimmed
    cdef int32_t *buckets
    cdef Py_ssize_t trim_room

    def __cinit__(self):
        self.histories, self.marks, self.suspicions = NULL, NULL, NULL
        self.watches, self.trimmed, self.buckets = NULL, NULL, NULL

    def __dealloc__(self):
        cdef Py_ssize_t key
        if self.histories != NULL:
            for key in range(self.keys):
                free(self.histories[key].records)
        free(self.histories)
        free(self.marks)
        free(self.suspicions)
        free(self.watches)
        free(self.trimmed)
        free(self.buckets)

    def __init__(self, str form, Events events):
        forms = {"source": ON_SOURCE, "network": ON_NETWORK, "user": ON_USER, "user+network": ON_BOTH}
        self.name, self.form = form, forms.get(form, ON_EXTRA)
        self.extra = events.extras.index(form) if self.form == ON_EXTRA else 0
        self.bit = self.form + self.extra
        self.keys = events.keys(form)
        self.histories = <History *>calloc(max(1, self.keys), sizeof(History))
        if self.histories == NULL:
            raise MemoryError

    cdef int begin(self, object lane, Events events, dict detectors, bint pardons) except -1:
        """Begin anew, empty, as `lane` of an engine; `detectors`: name -> number. ValueError for more than there is
        room for."""
        cdef Watch *watch
        cdef Py_ssize_t key
        cdef int place, kind, at
        if len(lane.watches) > 63:
            raise ValueError("more detectors of one form of key than there is room for")
        if self.watches == NULL or len(lane.watches) != self.watching:
            free(self.watches)
            free(self.marks)
            free(self.suspicions)
            self.watches, self.marks, self.suspicions = NULL, NULL, NULL
            self.watching = len(lane.watches)
            self.watches = <Watch *>malloc(max(1, self.watching) * sizeof(Watch))
            self.marks = <double *>malloc(max(1, self.keys * self.watching) * sizeof(double))
            if self.watches == NULL or self.marks == NULL:
                raise MemoryError
            if events.suspicious:
                self.suspicions = <double *>malloc(max(1, self.keys * self.watching) * sizeof(double))
                if self.suspicions == NULL:
                    raise MemoryError
        self.pardons, self.needed, self.lightest = pardons, 0, 0
        memset(self.watches, 0, max(1, self.watching) * sizeof(Watch))
        for key in range(self.keys):
            self.histories[key].size, self.histories[key].heavy = 0, False
        for key in range(self.keys * self.watching):
            self.marks[key] = -INFINITY
        if self.suspicions != NULL:
            for key in range(self.keys * self.watching):
                self.suspicions[key] = -INFINITY
        numbers = {id(one): number for number, one in enumerate(lane.watches)}
        for place in range(self.watching):
            found = lane.watches[place]
            detector, ask = found.detector, found.ask
            watch = &self.watches[place]
            for kind in ask.kinds:
                watch.kinds |= <uint32_t>1 << kind
            watch.within, watch.count, watch.distinct, watch.least = ask.within, ask.count, ask.distinct, found.least
            watch.by_network, watch.mask, watch.want = ask.by_network, ask.mask, ask.want
            watch.who = {"any": ANY, "stranger": STRANGER, "known": KNOWN_ONLY}[detector.who]
            watch.detector = detectors[detector.name]
            watch.slow = detector.within >= SLOW
            watch.bans = detector.ban is not None
            if detector.ban is not None:
                watch.first, watch.factor = detector.ban.first, detector.ban.factor
                watch.longest = detector.ban.longest
            for name in detector.on:
                if name in FORGIVEN:
                    watch.forgiven |= <uint32_t>1 << <int>KIND_NUMBER[name]
        for kind in range(32):
            self.counting[kind][0] = self.completing[kind][0] = -1
            self.who[kind], self.least[kind], self.conditioned[kind] = 0, 1 << 30, 0
        for kind, who in lane.who.items():
            self.who[<int>kind] = {"any": ANY, "stranger": STRANGER, "known": KNOWN_ONLY}[who]
            self.least[<int>kind] = lane.least[kind]
            for at, watched in enumerate(lane.counting[kind]):
                self.counting[<int>kind][at], self.counting[<int>kind][at + 1] = numbers[id(watched)], -1
            for at, (bit, unless) in enumerate(lane.unless[kind]):
                self.condition_bit[<int>kind][at] = bit
                self.condition_row[<int>kind][at] = 1 << events.conditions.index(unless)
                self.conditioned[<int>kind] = at + 1
        for kind, watched in lane.completing.items():
            for at, one in enumerate(watched):
                self.completing[<int>kind][at], self.completing[<int>kind][at + 1] = numbers[id(one)], -1
        for kind, need in lane.history.needs.items():
            self.needed |= <uint32_t>1 << <int>kind
            self.needs[<int>kind].within, self.needs[<int>kind].records = need.within, need.records
            self.needs[<int>kind].values = need.values
        return 0

    cdef inline uint32_t key(self, Row *row) noexcept nogil:
        """The row's key; NONE without one."""
        if self.form == ON_SOURCE:
            return row.source
        if self.form == ON_NETWORK:
            return row.network
        if self.form == ON_USER:
            return row.user if row.user else NONE
        if self.form == ON_BOTH:
            return row.both if row.both else NONE
        return row.extra[self.extra] if row.extra[self.extra] else NONE

    cdef int add(self, uint32_t key, Row *row, uint8_t flags, Py_ssize_t *place) except -1:
        """`History.add`, but for the trimming that follows a look; where the record stands."""
        cdef History *history = &self.histories[key]
        cdef Record *record
        cdef Py_ssize_t at
        cdef int i
        if history.size and row.clock - row.time > LATENESS:
            self.trim(history, row.clock)
        if history.size == history.room:
            self.grow(history)
        at = history.size
        if at and row.time < history.records[at - 1].time:
            while at and history.records[at - 1].time > row.time:
                at -= 1
            memmove(history.records + at + 1, history.records + at, (history.size - at) * sizeof(Record))
        record = history.records + at
        record.time, record.source, record.network = row.time, row.source, row.network
        record.value = row.value if self.form == ON_SOURCE else row.source + 1 if row.valued else 0
        record.both, record.weight, record.kind = row.both, max(row.weight, self.lightest), row.kind
        for i in range(self.conditioned[row.kind]):
            if row.conditions & self.condition_row[row.kind][i]:
                flags |= self.condition_bit[row.kind][i]
        record.flags = flags
        if flags & HEAVY:
            history.heavy = True
        history.size += 1
        place[0] = at
        return 0

    cdef int grow(self, History *history) except -1:
        cdef int32_t room = max(4, 2 * history.room)
        cdef void *grown = realloc(history.records, room * sizeof(Record))
        if grown == NULL:
            raise MemoryError
        history.records, history.room = <Record *>grown, room
        return 0

    cdef int trim(self, History *history, double clock) except -1:
        """`History.trim`."""
        cdef Py_ssize_t size = history.size, i, j, kept
        cdef Record *records = history.records
        cdef Record *record
        cdef Need *need
        cdef int32_t counted, different
        cdef uint8_t bucket
        cdef bint seen
        cdef Py_ssize_t room
        if size > self.trim_room:
            room = 2 * size
            free(self.trimmed)
            free(self.buckets)
            self.trimmed = <Record *>malloc(room * sizeof(Record))
            self.buckets = <int32_t *>malloc(256 * 32 * sizeof(int32_t))
            self.trim_room = room if self.trimmed != NULL and self.buckets != NULL else 0
            if not self.trim_room:
                raise MemoryError
            memset(self.buckets, 0, 256 * 32 * sizeof(int32_t))
        kept = 0  # the newest first
        for i in range(size - 1, -1, -1):
            record = records + i
            need = &self.needs[record.kind]
            if not self.needed >> record.kind & 1 or record.time < clock - need.within - LATENESS:
                continue
            bucket = record.flags & BUCKET
            counted = self.buckets[<int32_t>record.kind << 8 | bucket]
            if counted < need.records:
                self.buckets[<int32_t>record.kind << 8 | bucket] = counted + 1
            else:
                seen, different = False, 0
                for j in range(kept):
                    if self.trimmed[j].kind == record.kind and self.trimmed[j].flags & BUCKET == bucket:
                        if self.trimmed[j].value == record.value:
                            seen = True
                            break
                        if self.first_of_its_value(j):
                            different += 1
                if seen or different >= need.values:
                    continue
            self.trimmed[kept] = record[0]
            kept += 1
        for j in range(kept):
            self.buckets[<int32_t>self.trimmed[j].kind << 8 | self.trimmed[j].flags & BUCKET] = 0
            records[kept - 1 - j] = self.trimmed[j]
        history.size = <int32_t>kept
        history.heavy = False
        for j in range(kept):
            if records[j].flags & HEAVY:
                history.heavy = True
        return 0

    cdef bint first_of_its_value(self, Py_ssize_t place) noexcept:
        """No record kept before has the value, in the same bucket."""
        cdef Record *record = self.trimmed + place
        cdef Py_ssize_t j
        for j in range(place):
            if (
                self.trimmed[j].value == record.value
                and self.trimmed[j].kind == record.kind
                and self.trimmed[j].flags & BUCKET == record.flags & BUCKET
            ):
                return False
        return True

    cdef int forget(self, uint32_t key, uint8_t kind, uint32_t value) noexcept:
        """`History.forget`."""
        cdef History *history = &self.histories[key]
        cdef Py_ssize_t i, kept = 0
        for i in range(history.size):
            if history.records[i].kind != kind or history.records[i].value != value:
                history.records[kept] = history.records[i]
                kept += 1
        if kept != history.size:
            history.size = <int32_t>kept
            history.heavy = False
            for i in range(kept):
                if history.records[i].flags & HEAVY:
                    history.heavy = True
        return 0

    # ------------------------------------------------------------ windows

    cdef bint before(self, History *history, Watch *watch, double at, double mark, bint untrusted, Span *span) noexcept:
        """`find_before`."""
        cdef Py_ssize_t end = history.size, i, j, fitting = 0
        cdef Record *records = history.records
        cdef Record *record
        cdef uint8_t mask = watch.mask if untrusted else watch.mask | UNTRUSTED
        cdef int64_t total = 0, different = 0
        cdef double oldest = at - watch.within
        cdef bint enough = watch.distinct == 0
        span.kinds, span.scope, span.last, span.begin = 0, 0, 0.0, 0
        while end and records[end - 1].time > at:
            end -= 1
        span.end = <int32_t>end
        for i in range(end - 1, -1, -1):
            record = records + i
            if record.time < oldest or record.time <= mark:
                break
            span.begin = <int32_t>i
            if not watch.kinds >> record.kind & 1 or record.flags & mask != watch.want:
                continue
            if not fitting:
                span.last = record.time
            fitting += 1
            total += record.weight if history.heavy else 1
            span.kinds |= <uint32_t>1 << record.kind
            if record.flags & SCOPE > span.scope:
                span.scope = record.flags & SCOPE
            if not enough and record.value:
                if self.new(records, i, end, watch, mask):
                    different += 1
                    enough = different >= watch.distinct
        return fitting > 0 and total >= watch.count and fitting >= watch.distinct and enough

    cdef inline bint new(
        self, Record *records, Py_ssize_t place, Py_ssize_t end, Watch *watch, uint8_t mask
    ) noexcept:
        """No fitting record after `place` has the same value."""
        cdef Py_ssize_t j
        for j in range(place + 1, end):
            if not watch.kinds >> records[j].kind & 1 or records[j].flags & mask != watch.want or not records[j].value:
                continue
            if watch.by_network:
                if records[j].network == records[place].network:
                    return False
            elif records[j].value == records[place].value:
                return False
        return True

    cdef bint find(
        self, History *history, Py_ssize_t place, Watch *watch, double mark, bint untrusted, Span *span
    ) noexcept:
        """`window.find`."""
        cdef Record *record = history.records + place
        cdef uint8_t mask = watch.mask if untrusted else watch.mask | UNTRUSTED
        cdef double around = record.time, last = NAN
        cdef Py_ssize_t i
        if around <= mark or not watch.kinds >> record.kind & 1 or record.flags & mask != watch.want:
            return False
        for i in range(place, history.size):
            if history.records[i].time - around > watch.within:
                break
            if history.records[i].time == last:
                continue
            last = history.records[i].time
            if self.before(history, watch, last, mark, untrusted, span):
                return True
        return False

    cdef bint look(
        self, uint32_t key, Py_ssize_t place, int number, Span *span, bint *trusted
    ) noexcept:
        """`Watch.look`."""
        cdef History *history = &self.histories[key]
        cdef Watch *watch = self.watches + number
        cdef Py_ssize_t size = history.size, i
        cdef double mark, other
        if not history.heavy:
            if size < watch.least:
                return False
            if (
                place == size - 1
                and history.records[size - watch.least].time < history.records[place].time - watch.within
            ):
                return False
        mark = self.marks[<Py_ssize_t>key * self.watching + number]
        trusted[0] = True
        if self.find(history, place, watch, mark, False, span):
            return True
        if self.suspicions == NULL:
            return False
        for i in range(size):
            if history.records[i].flags & UNTRUSTED:
                trusted[0] = False
                other = self.suspicions[<Py_ssize_t>key * self.watching + number]
                return self.find(history, place, watch, max(mark, other), True, span)
        return False

    cdef bint look_before(self, uint32_t key, double at, int number, Span *span, bint *trusted) noexcept:
        """`Watch.look_before`."""
        cdef History *history = &self.histories[key]
        cdef Watch *watch = self.watches + number
        cdef double mark = self.marks[<Py_ssize_t>key * self.watching + number]
        trusted[0] = True
        if self.before(history, watch, at, mark, False, span):
            return True
        if self.suspicions == NULL:
            return False
        trusted[0] = False
        mark = max(mark, self.suspicions[<Py_ssize_t>key * self.watching + number])
        return self.before(history, watch, at, mark, True, span)

    cdef inline void consume(self, uint32_t key, int number, double until, bint trusted) noexcept:
        """`Watch.consume`."""
        cdef double *marks = self.marks if trusted else self.suspicions
        cdef Py_ssize_t place = <Py_ssize_t>key * self.watching + number
        if until > marks[place]:
            marks[place] = until
