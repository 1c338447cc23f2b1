# The lines of a block: the twin of `Scanner._scan_lines`, `Scanner.line` and `Taker.take`.

cdef enum:
    MOST_WORDS = 16  # of 64 literals
    PLANS = 1024  # places for kinds of lines that are remembered
    NEAR = 8  # places that a kind may have
    MOST_KEPT = 4096
    LONGEST_PROGRAM = 128
    LEARN = 32 << 20  # bytes of logs after which it pays to look at what they hold ...
    SAMPLE = 1 << 16  # ... in a piece of so many bytes or more


cdef class Plan:
    """The rules to ask about one kind of line, and the scopes of their events; see `compiled.Plan`."""

    cdef tuple rules, scopes
    cdef bytes scope_numbers
    cdef tuple rest  # rules that are not searched for; None: not asked for yet
    cdef bint check, known, covered, rest_covered


cdef struct Place:
    # A kind of line that was met.
    unsigned long long mixed
    int style, length, plan  # -1: free
    unsigned long long words[MOST_WORDS]
    char program[LONGEST_PROGRAM]


cdef class Machine:
    """The rules of a scanner for the machine, made when first needed."""

    cdef object pool
    cdef dict rules
    cdef bytes _planes, _texts, _choices

    def __init__(self):
        self.pool = Pool()
        self.rules = {}

    cdef Rule rule(self, entry):
        """The rule of an `Entry`."""
        made = self.rules.get(entry)
        if made is None:
            made = self.rules[entry] = Rule(entry, self.pool)
            (<Rule> made).before = tuple([self.rule(other) for other in entry.before])
            self._planes = None
        return made

    cdef pour(self):
        """Make what the code of all rules shares ready."""
        if self._planes is None:
            self._planes, self._texts = bytes(self.pool.planes), bytes(self.pool.texts)
            self._choices = self.pool.choices.tobytes()

    def give_counts(self):
        """Add to `Entry.count` how many lines each rule took."""
        cdef Rule rule
        for entry, rule in self.rules.items():
            entry.count += rule.count
            rule.count = 0


cdef class Lines:
    """Scans the blocks of logs that are read by the same parsers."""

    cdef object scanner, plans, names, taker, doubts, bits, literals
    cdef Machine machine
    cdef readonly Finder finder
    cdef public Py_ssize_t unlearned  # bytes after which the finder is made anew for what these logs hold; 0: it was
    cdef Source source, other
    cdef list kept
    cdef Place places[PLANS]
    cdef unsigned long long named[MOST_WORDS]
    cdef unsigned long long epost[MOST_WORDS]
    cdef int words
    cdef bint keep_lines
    cdef object scale
    cdef dict envelopes
    cdef object log, may_ban  # of the block
    cdef double time  # of the line before ...
    cdef object moment  # ... as an object
    cdef bytes host
    cdef Packing packed  # None: objects are made
    cdef Packing packing
    cdef object family_log
    cdef bytes family

    def __init__(self, scanner, Machine machine, search, names, scale):
        """`search`: what announces the lines of the parsers called `names`. Raises ValueError for more literals
        than 1024."""
        cdef int number
        if len(search.literals) > 64 * MOST_WORDS:
            raise ValueError(f"more than {64 * MOST_WORDS} literals")
        self.scanner, self.plans, self.names = scanner, scanner.plans, names
        self.taker, self.doubts = scanner.taker, scanner.taker.doubts
        self.keep_lines = scanner.maker.keep_lines
        self.machine = machine
        found = scanner._prefilter(names)
        self.finder = found if type(found) is Finder else Finder(search.literals)
        self.source, self.other = Source(scanner.maker.addresses), Source(scanner.maker.addresses)
        self.literals, self.unlearned = search.literals, LEARN
        self.bits = search.bits
        self.words = self.finder.words
        self.scale = scale
        self.envelopes = {}
        self.host = self.family = b""
        self.packing = Packing()
        memset(self.named, 0, sizeof(self.named))
        memset(self.epost, 0, sizeof(self.epost))
        for number, bit in enumerate(search.bits):
            if bit & search.named:
                self.named[number >> 6] |= <unsigned long long> 1 << (number & 63)
            if bit & search.epost:
                self.epost[number >> 6] |= <unsigned long long> 1 << (number & 63)
        self.forget()

    cdef forget(self):
        cdef int at
        self.kept = []
        for at in range(PLANS):
            self.places[at].plan = -1

    # ------------------------------------------------------------ plans

    cdef Plan plan(self, Prefix *prefix, unsigned long long *mask):
        """The rules to ask about a line of that style and program on which those literals were found."""
        cdef int length = prefix.program_length, at, first
        cdef unsigned long long mixed = prefix.style + 1
        cdef Place *place
        for at in range(self.words):
            mixed = (mixed ^ mask[at]) * 0x9E3779B97F4A7C15ull
        for at in range(length):
            mixed = (mixed ^ prefix.program[at]) * 0x100000001B3ull
        first = (mixed >> 40) % PLANS
        for at in range(NEAR):
            place = &self.places[(first + at) % PLANS]
            if place.plan < 0:
                break
            if (
                place.mixed == mixed
                and place.style == prefix.style
                and place.length == length
                and memcmp(place.words, mask, self.words * sizeof(unsigned long long)) == 0
                and memcmp(place.program, prefix.program, length) == 0
            ):
                return <Plan> self.kept[place.plan]
        else:
            place = &self.places[first]
        made = self.make_plan(text_bytes(prefix.program, length), prefix.style, mask)
        if len(self.kept) >= MOST_KEPT:
            self.forget()
        place.mixed, place.plan = mixed, len(self.kept)
        self.kept.append(made)
        place.style, place.length = prefix.style, length
        memcpy(place.words, mask, self.words * sizeof(unsigned long long))
        memcpy(place.program, prefix.program, length)
        return made

    cdef Plan make_plan(self, bytes program, int style, unsigned long long *mask):
        cdef Plan made = Plan()
        plan = self.plans.plan(style_name(style), program, self.bits_of(mask), self.names)
        rules = [self.machine.rule(entry) for entry in plan.entries]
        made.rules = tuple(rules)
        made.scopes = tuple([entry.scope_of(program) if entry.scopes else entry.scope for entry in plan.entries])
        made.scope_numbers = bytes([SCOPE_NAMES.index(scope) for scope in made.scopes])
        made.check, made.known = plan.check, plan.known
        made.covered = all([covered(rule) for rule in rules])
        self.machine.pour()
        return made

    # ------------------------------------------------------------ blocks

    def scan(self, block, opener, data, Py_ssize_t start, Py_ssize_t end, cuts, list found):
        """The events of the lines in data[start:end], appended to `found`; `cuts`: begins of lines that were
        cut."""
        self.packed = None
        self.hold(block, opener, data, start, end, cuts, found)

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
        self.packed = packing
        try:
            self.hold(block, opener, data, start, end, cuts, [])
        finally:
            self.packed = None
        return packing.rows.take(), packing.texts.take(), packing.objects

    cdef int hold(self, block, opener, data, Py_ssize_t start, Py_ssize_t end, cuts, list found) except -1:
        """`run`, while nobody may move the bytes."""
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            if not 0 <= start <= end <= view.len:
                raise ValueError("a block outside its data")
            return self.run(block, opener, <const unsigned char *> view.buf, start, end, cuts, found)
        finally:
            PyBuffer_Release(&view)

    cdef int run(self, block, opener, const unsigned char *text, Py_ssize_t start, Py_ssize_t end, cuts,
                 list found) except -1:
        cdef Clock clock = Clock()
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
        self.log, self.may_ban = block.log, block.may_ban
        self.scanner.counters.lines += lines_in(text + start, end - start)
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
            plan = self.plan(&prefix, mask)
            if not plan.covered:
                return self.slow(block, opener, clock, text, begin, stop, base, mask, cuts, found)
        totals.hits += 1
        prefix.time = clock.settle(prefix.time)
        if not wanted:
            return 0
        if len(plan.rules):
            if self.take(plan, text, begin, stop, base + begin, &prefix, found, totals):
                return 0
        if plan.known:
            self.unmatched(plan, text, &prefix)
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
        self.log, self.may_ban = records.log, records.may_ban
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
            self.scanner.record(records, entry, data, begin, stop, self.bits_of(mask), found)
            return 0
        prefix.style = SYSLOG_LINE
        prefix.host, prefix.host_length = <const unsigned char *> PyBytes_AS_STRING(host), len(host)
        prefix.program, prefix.program_length = <const unsigned char *> PyBytes_AS_STRING(program), len(program)
        prefix.pid, prefix.start, prefix.end = pid, begin, stop
        prefix.time = entry.time
        if records.live and prefix.time > <double> records.arrival + AHEAD:
            prefix.time = records.arrival
        plan = self.plan(&prefix, mask)
        if not plan.covered:
            self.scanner.record(records, entry, data, begin, stop, self.bits_of(mask), found)
            return 0
        totals.hits += 1
        if len(plan.rules) and self.take(plan, text, begin, stop, entry.position, &prefix, found, totals):
            return 0
        if plan.known:
            self.unmatched(plan, text, &prefix)
        return 0

    # ------------------------------------------------------------ both

    cdef count(self, Totals *totals):
        """Add to the counters of the scanner."""
        counters = self.scanner.counters
        counters.hits += totals.hits
        counters.ambiguous += totals.ambiguous
        counters.sourceless += totals.sourceless

    cdef bits_of(self, unsigned long long *mask):
        """The literals of a line as `Plans` takes them."""
        cdef int number
        bits = 0
        for number in range(len(self.bits)):
            if mask[number >> 6] >> (number & 63) & 1:
                bits |= self.bits[number]
        return bits

    cdef int slow(self, block, opener, Clock clock, const unsigned char *text, Py_ssize_t begin, Py_ssize_t stop,
                  Py_ssize_t base, unsigned long long *mask, cuts, list found) except -1:
        """The line by the Python path."""
        clock.push()
        line = text_bytes(text + begin, stop - begin)
        self.scanner.line(block, opener, (line, 0, stop - begin), base + begin, self.bits_of(mask),
                          cuts is not None and begin in cuts, found)
        clock.pull(opener.stamps)
        if self.packed is not None and found:
            self.packed.add_objects(found)
        return 0

    cdef int unmatched(self, Plan plan, const unsigned char *text, Prefix *prefix) except -1:
        """Count a line that no rule took; see `Taker.unmatched`."""
        cdef Reading on
        cdef Rule rule
        if self.doubts.skips():
            return 0
        opened = Opened(
            prefix.time,
            text_bytes(prefix.host, prefix.host_length),
            text_bytes(prefix.program, prefix.program_length),
            prefix.pid, 0, prefix.end - prefix.start, style_name(prefix.style),
        )
        message = text_bytes(text + prefix.start, prefix.end - prefix.start)
        if plan.rest is None:
            rest = self.plans.plan(opened.style, opened.program, REST, self.names)
            plan.rest = tuple([self.machine.rule(entry) for entry in rest.entries])
            plan.rest_covered = all([(<Rule> one).covered for one in plan.rest])
            self.machine.pour()
        if not plan.rest_covered:
            self.taker.unmatched(opened, message, False, self.names)
            return 0
        self.ready(&on, text, prefix)
        for rule in plan.rest:
            if reads(rule, &on, self.source):
                return 0
        self.taker.note(opened, message)
        return 0

    cdef bint take(self, Plan plan, const unsigned char *text, Py_ssize_t begin, Py_ssize_t stop, int64_t position,
                   Prefix *prefix, list found, Totals *totals) except -1:
        """Ask the rules in order; the first that fits takes the line. False when none does."""
        cdef Reading on, second
        cdef Rule rule, other
        cdef Py_ssize_t number
        self.ready(&on, text, prefix)
        for number in range(len(plan.rules)):
            rule = <Rule> plan.rules[number]
            if not reads(rule, &on, self.source):
                continue
            if len(rule.before):
                self.ready(&second, text, prefix)
                for other in rule.before:
                    if reads(other, &second, self.other):
                        return True
            if plan.check and self.doubtful(plan, rule, &on, text, prefix):
                totals.ambiguous += 1
                return True
            rule.count += 1
            if rule.silent:
                return True
            if self.packed is not None and rule.packable and not (self.keep_lines and rule.hostile):
                self.pack_line(rule, plan.scope_numbers, number, position, prefix, &on, totals)
            else:
                self.make(rule, plan.scopes[number], text, begin, stop, position, prefix, &on, found, totals)
            return True
        return False

    cdef inline void ready(self, Reading *on, const unsigned char *text, Prefix *prefix) noexcept:
        on.data = text
        on.start, on.end = prefix.start, prefix.end
        on.planes = <const unsigned char *> PyBytes_AS_STRING(self.machine._planes)
        on.texts = <const unsigned char *> PyBytes_AS_STRING(self.machine._texts)
        on.choices = <const int *> PyBytes_AS_STRING(self.machine._choices)

    cdef bint doubtful(self, Plan plan, Rule first, Reading *on, const unsigned char *text, Prefix *prefix) except -1:
        """See `Taker.doubtful`."""
        cdef Reading second
        cdef Rule rule
        cdef Py_ssize_t length
        if first.source < 0 or on.begins[first.source] < 0:
            return False
        length = on.ends[first.source] - on.begins[first.source]
        self.ready(&second, text, prefix)
        for rule in plan.rules:
            if rule.source < 0 or rule.parser == first.parser or (rule.guessed and not first.guessed):
                continue
            if reads(rule, &second, self.other) and second.begins[rule.source] >= 0 and (
                second.ends[rule.source] - second.begins[rule.source] != length
                or memcmp(second.data + second.begins[rule.source], on.data + on.begins[first.source], length) != 0
            ):
                return True
        return False

    cdef int make(self, Rule rule, scope, const unsigned char *text, Py_ssize_t begin, Py_ssize_t stop, int64_t position,
                  Prefix *prefix, Reading *on, list found, Totals *totals) except -1:
        """Append the event of a line that `rule` took, unless it makes none; see `Maker.make`."""
        cdef long weight = rule.weight
        cdef int at
        cdef Py_ssize_t number
        cdef object event, value
        cdef object source = self.source.packed() if rule.source >= 0 else None
        if source is None and rule.hostile and not rule.stateful and rule.source >= 0:
            totals.sourceless += 1
            return 0
        if rule.attempts >= 0:
            weight = number_of(on, rule.attempts) - rule.minus
            if rule.less >= 0:
                weight -= number_of(on, rule.less)
        if weight <= 0 and not rule.stateful:
            return 0
        cdef dict fields = {}
        for number in range(PyTuple_GET_SIZE(rule.names)):
            at = rule.slots[number]
            if on.begins[at] >= 0:
                value = text_of(on.data + on.begins[at], on.ends[at] - on.begins[at], rule.latest[number])
                rule.latest[number] = value
                fields[rule.names[number]] = value
        if prefix.time != self.time or self.moment is None:
            self.time = prefix.time
            self.moment = prefix.time
        event = new_row(_Event, 12)
        put(event, 0, rule.kind)
        put(event, 1, self.moment)
        put(event, 2, source)
        put(event, 3, rule.full_name)
        put(event, 4, weight)
        put(event, 5, fields)
        put(event, 6, self.log)
        put(event, 7, position)
        put(event, 8, scope)
        put(event, 9, False if rule.guessed else self.may_ban)
        put(event, 10, rule.proved)
        put(event, 11, text_bytes(text + begin, stop - begin) if self.keep_lines and rule.hostile else b"")
        if rule.stateful:
            event = new_draft(event, keys_of(rule, on, self.host_of(prefix), prefix.pid))
        found.append(event)
        if self.packed is not None:
            self.packed.add_objects(found)
        return 0

    cdef int pack_line(self, Rule rule, bytes scopes, Py_ssize_t number, int64_t position, Prefix *prefix,
                       Reading *on, Totals *totals) except -1:
        """As `make`: a row."""
        cdef bint sourced = rule.source >= 0 and self.source.there
        cdef long weight = rule.weight
        cdef Row *row
        cdef Room texts = self.packed.texts
        cdef unsigned char *out
        cdef Py_ssize_t at, length
        cdef uint16_t absent = ROW_ABSENT
        cdef int slot
        if not sourced and rule.hostile and not rule.stateful and rule.source >= 0:
            totals.sourceless += 1
            return 0
        if rule.attempts >= 0:
            weight = number_of(on, rule.attempts) - rule.minus
            if rule.less >= 0:
                weight -= number_of(on, rule.less)
        if weight <= 0 and not rule.stateful:
            return 0
        row = self.packed.row()
        row.time, row.position, row.weight = prefix.time, position, <int32_t> weight
        row.text = <uint32_t> texts.used
        row.rule, row.kind, row.scope = rule.number, rule.kind_number, <uint8_t> scopes[number]
        if sourced:
            row.bits = ROW_SOURCE
            row.low = self.source.low
            if self.source.narrow:
                row.bits |= ROW_NARROW
            else:
                row.rest = self.source.rest
        if self.may_ban and not rule.guessed:
            row.bits |= ROW_MAY_BAN
        for at in range(PyTuple_GET_SIZE(rule.names)):
            slot = rule.slots[at]
            if on.begins[slot] < 0:
                memcpy(texts.more(2), &absent, 2)
                texts.used += 2
                continue
            length = on.ends[slot] - on.begins[slot]
            out = texts.more(2 + length)
            texts.used = put_text(out, on.data + on.begins[slot], length) - texts.data
        if rule.stateful:
            row.bits |= ROW_DRAFT
            self.pack_keys(rule, on, prefix)
        return 0

    cdef int pack_keys(self, Rule rule, Reading *on, Prefix *prefix) except -1:
        """The keys of a line's sessions; see `keys_of`."""
        cdef Room texts = self.packed.texts
        cdef const unsigned char *host = prefix.host
        cdef Py_ssize_t host_length = prefix.host_length, length, number
        cdef const int *part = rule.parts
        cdef bytes begin
        cdef char digits[24]
        cdef int count = 0, at, parts
        cdef long long pid
        cdef unsigned char *out
        cdef uint16_t stated
        if host_length == 0:
            if self.family_log is not self.log:
                self.family, self.family_log = family(self.log), self.log
                if PyBytes_GET_SIZE(self.family) > MOST_HOST:
                    raise ValueError("a log's name is too long")
            host, host_length = <const unsigned char *> PyBytes_AS_STRING(self.family), PyBytes_GET_SIZE(self.family)
        for number in range(PyTuple_GET_SIZE(rule.keys)):
            begin = <bytes> (<tuple> rule.keys[number])[0]
            parts = part[0]
            part += 1
            length = host_length + PyBytes_GET_SIZE(begin)
            for at in range(parts):
                if part[at] < 0:
                    if count == 0:
                        pid = prefix.pid
                        while True:
                            count += 1
                            digits[24 - count] = 48 + pid % 10
                            pid //= 10
                            if pid == 0:
                                break
                    length += 1 + count
                elif on.begins[part[at]] < 0:
                    length = 0
                    break
                else:
                    length += 1 + on.ends[part[at]] - on.begins[part[at]]
            out = texts.more(2 + length)
            stated = <uint16_t> length
            memcpy(out, &stated, 2)
            texts.used += 2 + length
            if length:
                out += 2
                memcpy(out, host, host_length)
                out += host_length
                memcpy(out, PyBytes_AS_STRING(begin), PyBytes_GET_SIZE(begin))
                out += PyBytes_GET_SIZE(begin)
                for at in range(parts):
                    out[0] = 0
                    out += 1
                    if part[at] < 0:
                        memcpy(out, digits + 24 - count, count)
                        out += count
                    else:
                        memcpy(out, on.data + on.begins[part[at]], on.ends[part[at]] - on.begins[part[at]])
                        out += on.ends[part[at]] - on.begins[part[at]]
            part += parts
        return 0

    cdef bytes host_of(self, Prefix *prefix):
        """The host that a line names, nearly always that of the line before; the log's family where it names
        none."""
        cdef Py_ssize_t length = prefix.host_length
        if length == 0:
            return family(self.log)
        if PyBytes_GET_SIZE(self.host) != length or memcmp(PyBytes_AS_STRING(self.host), prefix.host, length) != 0:
            self.host = text_bytes(prefix.host, length)
        return self.host


cdef struct Totals:
    long hits, ambiguous, sourceless


cdef inline bytes text_bytes(const unsigned char *text, Py_ssize_t length):
    return PyBytes_FromStringAndSize(<const char *> text, length)


cdef bint covered(Rule rule):
    cdef Rule other
    return rule.covered and all([covered(other) for other in rule.before])


cdef inline bint meets(unsigned long long *mask, unsigned long long *bits, int words) noexcept nogil:
    cdef int at
    for at in range(words):
        if mask[at] & bits[at]:
            return True
    return False


cdef inline str style_name(int style):
    return SYSLOG if style == SYSLOG_LINE else EPOST if style == EPOST_COMMA else EPOST_LINE


cdef inline Py_ssize_t line_begin(const unsigned char *data, Py_ssize_t begin, Py_ssize_t at) noexcept nogil:
    """Behind the last line feed inside data[begin:at], or `begin`."""
    cdef const void *found = memrchr(data + begin, 10, at - begin)
    return begin if found == NULL else <const unsigned char *> found - data + 1


cdef inline Py_ssize_t line_end(const unsigned char *data, Py_ssize_t at, Py_ssize_t end) noexcept nogil:
    """The first line feed inside data[at:end], or `end`."""
    cdef const void *found = memchr(data + at, 10, end - at)
    return end if found == NULL else <const unsigned char *> found - data
