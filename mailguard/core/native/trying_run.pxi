# One try: every row through standing, bans, histories and policy. Included by trying.pyx.

cdef enum:
    MOST_LANES = 8
    MOST_FIRED = 128

cdef struct Fired:
    int lane, watch
    uint32_t key
    bint trusted
    Span span
    int32_t sources, sourced  # where the sources that took part stand, and how many


@cython.final
cdef class Try:
    """One setting on all events; and then another."""

    cdef Events events
    cdef Book book
    cdef list lanes
    cdef dict known_lanes  # by form: their room is used again
    cdef Fired[MOST_FIRED] fired
    cdef int firing
    cdef Record *took  # records of sources that took part, as they were when something fired
    cdef int32_t taking, took_room
    cdef uint8_t failure, success

    def __cinit__(self):
        self.took = NULL

    def __dealloc__(self):
        free(self.took)

    def __init__(self, Events events, object rules, bytes spared_sources, bytes spared_networks):
        """`rules`: those of every setting to come; `spared_...`: see `Book`."""
        self.events, self.known_lanes = events, {}
        self.book = Book(events, rules, spared_sources, spared_networks)
        self.failure, self.success = KIND_NUMBER["auth_failure"], KIND_NUMBER["auth_success"]

    def begin(self, object engine, dict detectors):
        """Another setting, from the beginning. `engine`: one of the setting to try, untouched; `detectors`: name ->
        number. ValueError for a setting that is beyond what there is room for."""
        if len(engine.lanes) > MOST_LANES:
            raise ValueError("more forms of key than there is room for")
        if sum([len(one.watches) for one in engine.lanes]) > MOST_FIRED:
            raise ValueError("more detectors than there is room for")
        self.book.begin()
        self.lanes = []
        for one in engine.lanes:
            if one.form not in self.known_lanes:
                self.known_lanes[one.form] = Lane(one.form, self.events)
            (<Lane>self.known_lanes[one.form]).begin(one, self.events, detectors, one in engine._pardoning)
            self.lanes.append(self.known_lanes[one.form])

    def run(self):
        """Judge all events. ValueError before `Events.keep`."""
        cdef Py_ssize_t at
        cdef Row *row
        cdef Hot *hot = self.events.hot
        cdef double *mute = self.book.mute
        cdef double muted
        if hot == NULL:
            raise ValueError("it is not known yet who can matter")
        for at in range(self.events.count):
            muted = mute[3 * <Py_ssize_t>hot[at].source + hot[at].scope]
            row = self.events.rows + at
            if not hot[at].role & (MAIL_KIND | LOGIN_KIND):
                if hot[at].clock < muted:
                    self.book.stopped += hot[at].role & HOSTILE_KIND != 0
                    continue
                self.book.saw(row)
            elif muted != -INFINITY:  # else no ban ever concerned it
                self.book.saw(row)
            self.one(row, muted == -INFINITY)

    cdef int one(self, Row *row, bint free) except -1:
        """`Engine.feed`; `free`: no ban ever concerned its source."""
        cdef uint8_t flags = row.flags
        cdef bint known = False
        cdef Lane lane
        cdef int number, who
        cdef uint32_t key
        if row.role & LOGIN_KIND:
            if row.user:
                self.login(row)
        elif row.role & MAIL_KIND and not flags & UNTRUSTED:
            self.book.mail(row)
        if not row.role & WANTED or not free and self.book.covering(row):
            return 0
        if row.user and self.excused(row.kind):
            known = self.book.known(row.both, row.time) or self.book.known(row.both_alias, row.time)
        if known:
            flags |= KNOWN
        self.firing, self.taking = 0, 0
        for number in range(len(self.lanes)):
            lane = <Lane>self.lanes[number]
            who = lane.who[row.kind]
            if not who or who == STRANGER and known or who == KNOWN_ONLY and not known:
                continue
            if row.lanes >> lane.bit & 1:
                key = lane.key(row)
                if key != NONE:
                    self.record(lane, number, key, row, flags)
        for number in range(self.firing):
            lane = <Lane>self.lanes[self.fired[number].lane]
            if lane.form == ON_SOURCE and self.book.covering(row):
                break  # under a ban by what fired before it; the rest of its evidence stays
            self.decide(lane, self.fired + number, row)
        return 0

    def scout(self, known_only):
        """Who could matter: with detectors that fire wherever one of those to come may. For each form of key a byte
        for each key that could fire, and how many keys would be remembered; `known_only`: the forms under which
        only known users are."""
        cdef Py_ssize_t at, place
        cdef Row *row
        cdef Lane lane
        cdef bint known
        cdef uint32_t key
        cdef int i
        cdef Span span
        cdef bint trusted = True
        cdef list lives = [bytearray(lane.keys) for lane in self.lanes]
        cdef list toucheds = [bytearray(lane.keys) for lane in self.lanes]
        cdef bytearray live, touched
        cdef bint[MOST_LANES] only
        cdef int number
        for number, lane in enumerate(self.lanes):
            only[number] = lane.name in known_only
            lane.lightest = 1  # weights count only beside heavy ones, which one setting may record and another not
            for i in range(32):
                lane.needs[i].records *= 4  # records of known users are kept apart, and those that do not count
                lane.needs[i].values *= 2
        for at in range(self.events.count):
            row = self.events.rows + at
            if row.role & LOGIN_KIND:
                if row.user and not row.flags & UNTRUSTED:
                    self.book.login(row)
                    self.book.settle(row.both_short, row.time)
            if not row.role & WANTED:
                continue
            known = (
                row.user and self.excused(row.kind)
                and (self.book.known(row.both, row.time) or self.book.known(row.both_alias, row.time))
            )
            for number in range(len(self.lanes)):
                lane = <Lane>self.lanes[number]
                key = lane.key(row)
                if key == NONE or not lane.who[row.kind]:
                    continue
                live, touched = <bytearray>lives[number], <bytearray>toucheds[number]
                if known or not only[number]:
                    touched[key] = 1
                if live[key]:
                    continue
                lane.add(key, row, row.flags, &place)
                i = 0
                while lane.counting[row.kind][i] >= 0:
                    if lane.look(key, place, lane.counting[row.kind][i], &span, &trusted):
                        live[key] = 1
                        break
                    i += 1
                if not lane.histories[key].size & 15:
                    lane.trim(&lane.histories[key], row.clock)
        return {
            (<Lane>self.lanes[number]).name: (bytes(lives[number]), sum(toucheds[number]))
            for number in range(len(self.lanes))
        }

    cdef inline bint excused(self, uint8_t kind) noexcept:
        return kind == self.failure or kind == <uint8_t>LOCKED_OUT

    cdef int record(self, Lane lane, int number, uint32_t key, Row *row, uint8_t flags) except -1:
        """`Lane.feed`."""
        cdef Py_ssize_t place = 0
        cdef History *history
        cdef Fired *fired
        cdef int i, watch
        cdef bint trusted = True
        lane.add(key, row, flags, &place)
        history = &lane.histories[key]
        if history.size >= lane.least[row.kind] or history.heavy:
            i = 0
            while lane.counting[row.kind][i] >= 0:
                watch = lane.counting[row.kind][i]
                i += 1
                fired = &self.fired[self.firing]
                if lane.look(key, place, watch, &fired.span, &trusted):
                    fired.lane, fired.watch, fired.key, fired.trusted = number, watch, key, trusted
                    if lane.form != ON_SOURCE and lane.form != ON_NETWORK and lane.watches[watch].bans:
                        self.take_part(lane, history, fired)
                    self.firing += 1
        if not history.size & 15:
            lane.trim(history, row.clock)
        return 0

    cdef int take_part(self, Lane lane, History *history, Fired *fired) except -1:
        """The different sources of what fired, in the order in which each came last."""
        cdef Watch *watch = lane.watches + fired.watch
        cdef uint8_t mask = watch.mask if not fired.trusted else watch.mask | UNTRUSTED
        cdef Record *record
        cdef Py_ssize_t i, j
        cdef bint seen
        cdef void *grown
        cdef Record swapped
        fired.sources, fired.sourced = self.taking, 0
        for i in range(fired.span.end - 1, fired.span.begin - 1, -1):
            record = history.records + i
            if not record.value or not watch.kinds >> record.kind & 1 or record.flags & mask != watch.want:
                continue
            seen = False
            for j in range(fired.sources, self.taking):
                if self.took[j].value == record.value:
                    seen = True
                    break
            if seen:
                continue
            if self.taking == self.took_room:
                self.took_room = max(256, 2 * self.took_room)
                grown = realloc(self.took, self.took_room * sizeof(Record))
                if grown == NULL:
                    raise MemoryError
                self.took = <Record *>grown
            self.took[self.taking] = record[0]
            self.taking += 1
            fired.sourced += 1
        for i in range(fired.sourced // 2):
            j = fired.sources + fired.sourced - 1 - i
            swapped = self.took[fired.sources + i]
            self.took[fired.sources + i] = self.took[j]
            self.took[j] = swapped
        return 0

    cdef int decide(self, Lane lane, Fired *fired, Row *row) except -1:
        """`Settling.decide`."""
        cdef Watch *watch = lane.watches + fired.watch
        cdef Record *record
        cdef int32_t i
        lane.consume(fired.key, fired.watch, fired.span.last, fired.trusted)
        if not watch.bans:
            return 0
        if lane.form == ON_SOURCE:
            return self.book.decide(watch, &fired.span, fired.trusted, False, row.source, row.network, row)
        if lane.form == ON_NETWORK:
            return self.book.decide(watch, &fired.span, fired.trusted, True, row.network, row.network, row)
        for i in range(fired.sources, fired.sources + fired.sourced):
            record = self.took + i
            if lane.form == ON_USER and self.book.known(record.both, row.time):
                continue
            self.book.decide(watch, &fired.span, fired.trusted, False, record.source, record.network, row)
        return 0

    cdef int login(self, Row *row) except -1:
        """`Earning.login`."""
        cdef bint known = self.book.known(row.both, row.time), suspicious = False, trusted = True
        cdef Lane lane
        cdef Watch *watch
        cdef Span span
        cdef uint32_t key
        cdef int i, number
        for lane in self.lanes:
            if lane.completing[self.success][0] < 0 or not row.lanes >> lane.bit & 1:
                continue  # of a key for which nothing could fire nothing is remembered
            key = lane.key(row)
            if key == NONE or not lane.histories[key].size:
                continue
            i = 0
            while lane.completing[self.success][i] >= 0:
                number = lane.completing[self.success][i]
                i += 1
                watch = lane.watches + number
                if not lane.look_before(key, row.time, number, &span, &trusted):
                    continue
                if watch.who != ANY and (watch.who == KNOWN_ONLY) != known:
                    continue
                suspicious = suspicious or not (
                    known or good(self.book.source_standing + row.source, row.time)
                )
                lane.consume(key, number, span.last, trusted)
        if row.flags & UNTRUSTED:
            return 0
        if suspicious:
            self.book.revoke(row)
            return 0
        self.book.login(row)
        self.book.settle(row.both_short, row.time)
        for lane in self.lanes:
            if not lane.pardons or not row.lanes >> lane.bit & 1:
                continue
            key = lane.key(row)
            if key == NONE or not lane.histories[key].size:
                continue
            if lane.form == ON_SOURCE:
                lane.forget(key, self.failure, row.value)
                lane.forget(key, self.failure, row.short_value)
            else:
                lane.forget(key, self.failure, row.source + 1 if row.valued else 0)
        return 0

    # ------------------------------------------------------------ answers

    def figures(self, uint32_t own):
        """What came of it: numbers by name, as `measures.measured` makes them of the bans of a replay, and `hits`.
        `own`: the number of the detector that is tuned."""
        cdef Book book = self.book
        cdef Py_ssize_t i
        cdef int64_t caught = 0, missed = 0, owned = 0, hurt = 0, wide = 0
        cdef Stand *stand
        for i in range(book.sources):
            if book.source[i].caught:
                caught += 1
            elif book.source[i].seen:
                missed += 1
        for i in range(book.standing):
            stand = book.stands + i
            owned += stand.detector == own
            hurt += stand.hurt
            wide += stand.wide
        median, worst = self.delays()
        return {
            "caught": caught,
            "missed": missed + self.events.quiet,
            "bans": book.standing,
            "own": owned,
            "median": median,
            "worst": worst,
            "stopped": book.stopped,
            "through": self.events.hostile - book.stopped,
            "hurt": hurt,
            "logins": book.logins,
            "messages": book.messages,
            "peak": self.peak(0.0, False),
            "wide": wide,
            "banned": book.banned_targets,
            "hits": [(book.hits[i].ban, book.hits[i].person, bool(book.hits[i].login)) for i in range(book.hitting)],
        }

    cdef tuple delays(self):
        """Seconds to the ban: `statistics.median` and the most; None where no ban has any."""
        cdef Book book = self.book
        cdef double *known = <double *>malloc(max(1, book.standing) * sizeof(double))
        cdef Py_ssize_t i, count = 0
        if known == NULL:
            raise MemoryError
        for i in range(book.standing):
            if book.stands[i].delay == book.stands[i].delay:
                known[count] = book.stands[i].delay
                count += 1
        try:
            if not count:
                return None, None
            qsort(known, count, sizeof(double), by_size)
            if count & 1:
                return known[count // 2], known[count - 1]
            return (known[count // 2 - 1] + known[count // 2]) / 2, known[count - 1]
        finally:
            free(known)

    def peak(self, double linger, bint wide):
        """`measures.peak` of the bans, each `linger` seconds longer; `wide`: of those of networks alone."""
        cdef Book book = self.book
        cdef double *since = <double *>malloc(max(1, book.standing) * sizeof(double))
        cdef double *until = <double *>malloc(max(1, book.standing) * sizeof(double))
        cdef Py_ssize_t i, count = 0, most = 0, gone = 0
        cdef bint sorted = True
        cdef Stand *stand
        try:
            if since == NULL or until == NULL:
                raise MemoryError
            for i in range(book.standing):
                stand = book.stands + i
                if stand.until + linger > stand.time and (stand.wide or not wide):
                    sorted = sorted and (not count or since[count - 1] <= stand.time)
                    since[count], until[count] = stand.time, stand.until + linger
                    count += 1
            if not sorted:
                qsort(since, count, sizeof(double), by_size)
            qsort(until, count, sizeof(double), by_size)
            for i in range(count):
                while until[gone] <= since[i]:
                    gone += 1
                most = max(most, i + 1 - gone)
            return most
        finally:
            free(since)
            free(until)


cdef int by_size(const void *one, const void *other) noexcept nogil:
    cdef double a = (<const double *>one)[0], b = (<const double *>other)[0]
    return (a > b) - (a < b)
