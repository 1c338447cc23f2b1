# The lines of a block and entries handed in one by one: the twin of `Scanner._scan_lines`, `Scanner.line` and
# `Scanner.record`.

cdef enum:
    LEARN = 32 << 20  # bytes of logs after which it pays to look at what they hold ...
    SAMPLE = 1 << 16  # ... in a piece of so many bytes or more


cdef class Lines:
    """Scans the blocks of logs that are read by the same parsers: finds their literals, bounds and opens the lines
    that hold some, and has the rules asked (taking.pxi). What is not common goes by the Python path."""

    cdef object scanner, literals, scale
    cdef readonly Finder finder
    cdef public Py_ssize_t unlearned  # bytes after which the finder is made anew for what these logs hold; 0: it was
    cdef unsigned long long named[MOST_WORDS]  # literals of lines of the common prefix, and of E-Post's
    cdef unsigned long long epost[MOST_WORDS]
    cdef int words
    cdef dict envelopes
    cdef Plans plans
    cdef Origin origin
    cdef Taker taker
    cdef Packing packing

    def __init__(self, scanner, Machine machine, search, names, scale):
        """`search`: what announces the lines of the parsers called `names`. Raises ValueError for more literals
        than 1024."""
        cdef int number
        if len(search.literals) > 64 * MOST_WORDS:
            raise ValueError(f"more than {64 * MOST_WORDS} literals")
        self.scanner, self.literals, self.unlearned, self.scale = scanner, search.literals, LEARN, scale
        found = scanner._prefilter(names)
        self.finder = found if type(found) is Finder else Finder(search.literals)
        self.words = self.finder.words
        self.envelopes = {}
        self.plans = Plans(scanner.plans, names, search.bits, machine, self.words)
        self.origin = Origin()
        self.taker = Taker(scanner.taker, self.plans, self.origin)
        self.packing = Packing()
        memset(self.named, 0, sizeof(self.named))
        memset(self.epost, 0, sizeof(self.epost))
        for number, bit in enumerate(search.bits):
            if bit & search.named:
                self.named[number >> 6] |= <unsigned long long> 1 << (number & 63)
            if bit & search.epost:
                self.epost[number >> 6] |= <unsigned long long> 1 << (number & 63)

    # ------------------------------------------------------------ blocks

    def scan(self, block, opener, data, Py_ssize_t start, Py_ssize_t end, cuts, list found):
        """The events of the lines in data[start:end], appended to `found`; `cuts`: begins of lines that were
        cut."""
        self.taker.packed = None
        self.hold(block, opener, Clock(), data, start, end, cuts, found)

    def pack(self, block, opener, data, Py_ssize_t start, Py_ssize_t end, cuts):
        """The same as rows, their texts, and the objects beside them."""
        cdef Packing packing = self.packing
        if self.unlearned > 0:
            if end - start < self.unlearned:
                self.unlearned -= end - start
            elif end - start >= SAMPLE:  # else the next piece, or the one after
                self.unlearned = 0
                self.finder = Finder(self.literals, seen_in(data, start, end))
        packing.rows.used = packing.texts.used = 0
        packing.objects = []
        self.taker.packed = packing
        try:
            self.hold(block, opener, Clock(), data, start, end, cuts, [])
        finally:
            self.taker.packed = None
        return packing.rows.take(), packing.texts.take(), packing.objects

    cdef int hold(self, block, opener, Clock clock, data, Py_ssize_t start, Py_ssize_t end, cuts,
                  list found) except -1:
        """`run`, while nobody may move the bytes."""
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            if not 0 <= start <= end <= view.len:
                raise ValueError("a block outside its data")
            return self.run(block, opener, clock, <const unsigned char *> view.buf, start, end, cuts, found)
        finally:
            PyBuffer_Release(&view)

    cdef int run(self, block, opener, Clock clock, const unsigned char *text, Py_ssize_t start, Py_ssize_t end,
                 cuts, list found) except -1:
        cdef Envelope envelope = self.envelopes.get((opener.syslog, opener.epost))
        cdef Py_ssize_t base = block.position - start
        cdef Py_ssize_t begin = start, stop = start - 1, at, hit
        cdef unsigned long long mask[MOST_WORDS]
        cdef int number
        cdef bint some = False
        cdef object cut = cuts if cuts else None
        cdef Totals totals
        if envelope is None:
            envelope = self.envelopes[opener.syslog, opener.epost] = Envelope(opener.syslog, opener.epost, self.scale)
        memset(&totals, 0, sizeof(totals))
        self.origin.log, self.origin.may_ban = block.log, block.may_ban
        totals.lines = lines_in(text + start, end - start)
        clock.pull(opener.stamps)
        self.finder.search(text, start, end)
        try:
            for hit in range(self.finder.count):
                at = <Py_ssize_t> (self.finder.hits[hit] >> SHIFT) - 1
                number = self.finder.hits[hit] & (1 << SHIFT) - 1
                if at > stop:
                    if some:
                        self.line(block, opener, clock, envelope, text, begin, stop, base, mask, cut, found, &totals)
                    begin = line_begin(text, stop + 1, at)
                    stop = line_end(text, at, end)
                    memset(mask, 0, self.words * sizeof(unsigned long long))
                    some = True
                mask[number >> 6] |= <unsigned long long> 1 << (number & 63)
            if some:
                self.line(block, opener, clock, envelope, text, begin, stop, base, mask, cut, found, &totals)
        finally:
            clock.push()
            self.count(&totals)
        return 0

    cdef int line(self, block, opener, Clock clock, Envelope envelope, const unsigned char *text,
                  Py_ssize_t begin, Py_ssize_t stop, Py_ssize_t base, unsigned long long *mask, cuts, list found,
                  Totals *totals) except -1:
        """One line on which literals were found; see `Scanner.line`."""
        cdef Prefix prefix
        cdef Plan plan = None
        cdef bint wanted
        if stop - begin > LINE_LIMIT or (cuts is not None and begin in cuts):
            return self.slow(block, opener, clock, text, begin, stop, base, mask, cuts, found)
        if not envelope.open(text, begin, stop, clock, &prefix):
            return self.slow(block, opener, clock, text, begin, stop, base, mask, cuts, found)
        wanted = meets(mask, &self.epost[0] if text[begin] == 91 else &self.named[0], self.words)
        if wanted:
            plan = self.plans.of(&prefix, mask)
            if not plan.covered:
                return self.slow(block, opener, clock, text, begin, stop, base, mask, cuts, found)
        totals.hits += 1
        prefix.time = clock.settle(prefix.time)
        if not wanted:
            return 0
        if len(plan.rules):
            if self.taker.take(plan, text, begin, stop, base + begin, &prefix, found, totals):
                return 0
        if plan.known:
            self.taker.unmatched(plan, text, &prefix)
        return 0

    # ------------------------------------------------------------ records

    def scan_records(self, records, list messages, bytes data, list found):
        """The events of entries whose envelope is already open, appended to `found`. `data`: the messages, a
        line feed behind each."""
        cdef const unsigned char *text = <const unsigned char *> PyBytes_AS_STRING(data)
        cdef Py_ssize_t begin = 0, stop = -1, at, hit, one = -1
        cdef unsigned long long mask[MOST_WORDS]
        cdef int number
        cdef bint some = False
        cdef Totals totals
        memset(&totals, 0, sizeof(totals))
        self.origin.log, self.origin.may_ban = records.log, records.may_ban
        self.finder.search(text, 0, PyBytes_GET_SIZE(data))
        try:
            for hit in range(self.finder.count):
                at = <Py_ssize_t> (self.finder.hits[hit] >> SHIFT) - 1
                number = self.finder.hits[hit] & (1 << SHIFT) - 1
                if at > stop:
                    if some:
                        self.record(records, one, data, begin, stop, mask, found, &totals)
                    while at > stop:
                        one += 1
                        begin = stop + 1
                        stop = begin + PyBytes_GET_SIZE(<bytes> messages[one])
                    memset(mask, 0, self.words * sizeof(unsigned long long))
                    some = True
                mask[number >> 6] |= <unsigned long long> 1 << (number & 63)
            if some:
                self.record(records, one, data, begin, stop, mask, found, &totals)
        finally:
            self.count(&totals)

    cdef int record(self, records, Py_ssize_t one, bytes data, Py_ssize_t begin, Py_ssize_t stop,
                    unsigned long long *mask, list found, Totals *totals) except -1:
        """One entry on which literals were found; see `Scanner.record`."""
        cdef const unsigned char *text = <const unsigned char *> PyBytes_AS_STRING(data)
        cdef Prefix prefix
        cdef Plan plan
        entry = records.records[one]
        cdef bytes host = entry.host, program = entry.program
        pid = entry.pid
        if (
            stop - begin > LINE_LIMIT or entry.cut or len(program) > LONGEST_PROGRAM or not 0 <= pid < 1 << 62
            or not -(1 << 62) < entry.position < 1 << 62
        ):
            self.scanner.record(records, entry, data, begin, stop, self.plans.bits_of(mask), found)
            return 0
        prefix.style = SYSLOG_LINE
        prefix.host, prefix.host_length = <const unsigned char *> PyBytes_AS_STRING(host), len(host)
        prefix.program, prefix.program_length = <const unsigned char *> PyBytes_AS_STRING(program), len(program)
        prefix.pid, prefix.start, prefix.end = pid, begin, stop
        prefix.time = entry.time
        if records.live and prefix.time > <double> records.arrival + AHEAD:
            prefix.time = records.arrival
        plan = self.plans.of(&prefix, mask)
        if not plan.covered:
            self.scanner.record(records, entry, data, begin, stop, self.plans.bits_of(mask), found)
            return 0
        totals.hits += 1
        if len(plan.rules) and self.taker.take(plan, text, begin, stop, entry.position, &prefix, found, totals):
            return 0
        if plan.known:
            self.taker.unmatched(plan, text, &prefix)
        return 0

    # ------------------------------------------------------------ both

    cdef count(self, Totals *totals):
        """Add to the counters of the scanner."""
        counters = self.scanner.counters
        if totals.lines:
            counters.lines += totals.lines
        if totals.hits:
            counters.hits += totals.hits
        if totals.ambiguous:
            counters.ambiguous += totals.ambiguous
        if totals.sourceless:
            counters.sourceless += totals.sourceless

    cdef int slow(self, block, opener, Clock clock, const unsigned char *text, Py_ssize_t begin, Py_ssize_t stop,
                  Py_ssize_t base, unsigned long long *mask, cuts, list found) except -1:
        """The line by the Python path."""
        clock.push()
        line = text_bytes(text + begin, stop - begin)
        self.scanner.line(block, opener, (line, 0, stop - begin), base + begin, self.plans.bits_of(mask),
                          cuts is not None and begin in cuts, found)
        clock.pull(opener.stamps)
        if self.taker.packed is not None and found:
            self.taker.packed.add_objects(found)
        return 0


cdef class Way:
    """The usual block of one live log: what `Scanner.scan` looks up for it, looked up once."""

    cdef object opener, zone, counters
    cdef str log
    cdef tuple stated, parsers  # as its blocks name them, and those that read it
    cdef dict sampled
    cdef Lines lines
    cdef Clock clock

    def __init__(self, block, tuple parsers, opener, Lines lines, scanner):
        """`block`: one of the log. The log is no dialogue, and that is settled."""
        self.log, self.zone, self.stated, self.parsers = block.log, block.timezone, block.parsers, parsers
        self.opener, self.lines, self.clock = opener, lines, Clock()
        self.counters, self.sampled = scanner.counters, scanner._sampled

    def scan(self, block):
        """What `Scanner.scan` gives for the block; None where the block is not usual: nothing was done."""
        cdef tuple told
        cdef Py_ssize_t start, end, place
        cdef list found
        if type(block) is not Block:
            return None
        told = <tuple> block
        data, start, end, place = told[1], told[2], told[3], told[4]
        if (
            type(data) is not bytearray or told[8] != () or told[9] != self.zone or told[11] != self.stated
            or self.sampled.get(self.log) != place // SAMPLE_EVERY
        ):
            return None
        if self.parsers is not self.stated:
            block = block._replace(parsers=self.parsers)
        self.counters.bytes += end - start
        self.opener.stamps.arrive(told[5], told[6], told[10])
        found = []
        self.lines.taker.packed = None
        self.lines.hold(block, self.opener, self.clock, data, start, end, None, found)
        if found:
            latest = found[len(found) - 1]
            self.counters.matched[self.log] = (<tuple> (latest if type(latest) is _Event else (<tuple> latest)[0]))[1]
        return found


cdef inline bint meets(unsigned long long *mask, unsigned long long *bits, int words) noexcept nogil:
    cdef int at
    for at in range(words):
        if mask[at] & bits[at]:
            return True
    return False


cdef inline Py_ssize_t line_begin(const unsigned char *data, Py_ssize_t begin, Py_ssize_t at) noexcept nogil:
    """Behind the last line feed inside data[begin:at], or `begin`."""
    cdef const void *found = memrchr(data + begin, 10, at - begin)
    return begin if found == NULL else <const unsigned char *> found - data + 1


cdef inline Py_ssize_t line_end(const unsigned char *data, Py_ssize_t at, Py_ssize_t end) noexcept nogil:
    """The first line feed inside data[at:end], or `end`."""
    cdef const void *found = memchr(data + at, 10, end - at)
    return end if found == NULL else <const unsigned char *> found - data
