# Which ban will follow, said before it is decided: the enforcer begins while Python still decides, words the finding
# and notes it. Python decides all the same; whoever was told waits for the decision and takes back what was not
# (`Gate.ahead`). So this may keep silent wherever it is not sure, and looks at the usual case alone: the first of
# the event's detectors that fires, keyed by source, of an address nobody speaks for. Included by engine.pyx.

cdef object FORGIVEN_ = FORGIVEN
cdef double SLOW_ = SLOW
cdef Py_ssize_t MOST_BESIDE = 64  # bans in the same network that are looked at


cdef class Sentence:
    """What a detector that bans sources says about the length of a ban."""

    cdef object policy, detector
    cdef dict lengths  # ordinal -> seconds
    cdef bint slow
    cdef uint8_t[256] forgiven

    def __init__(self, object policy, object detector):
        cdef Py_ssize_t kind
        self.policy, self.detector, self.lengths = policy, detector, {}
        self.slow = detector.within >= SLOW_
        memset(self.forgiven, 0, sizeof(self.forgiven))
        for name, kind in KIND_NUMBER.items():
            self.forgiven[kind] = name in FORGIVEN_

    cdef double length(self, object ordinal) except? -1.0:
        """`Policy.length`."""
        cdef PyObject *found = PyDict_GetItemWithError(self.lengths, ordinal)
        if found == NULL:
            self.lengths[ordinal] = self.policy.length(self.detector, ordinal)
            return self.lengths[ordinal]
        return PyFloat_AsDouble(<object>found)


cdef class Foresight:
    """Looks for what will be banned on behalf of a `Feeder`."""

    cdef object policy, bans, ordinals, tell
    cdef dict sentences  # a `Watcher` -> its `Sentence`; those that ban sources alone
    cdef Shelf sources, times
    cdef tuple spared  # of never-list and allow list: networks of IPv4, of IPv6, by prefix
    cdef dict held, inside
    cdef list standing
    cdef tuple index
    cdef bint free  # nothing that fired came before, for the event in hand

    def __init__(self, Feeder feeder, object tell):
        """`tell(address, prefix, scope, until)` hears of each."""
        cdef Track track
        cdef object engine = feeder.engine
        self.policy, self.bans, self.ordinals, self.tell = engine.policy, engine.bans, engine.ordinals, tell
        self.sources, self.times = Shelf(engine.book.sources), Shelf(engine.ordinals.table)
        self.spared = (engine.policy.never._by_prefix, engine.policy.allow._by_prefix)
        self.held, self.inside = self.bans._held, self.bans._inside
        self.standing, self.index = self.bans._standing, self.bans._index
        self.sentences = {}
        for track in feeder.tracks:
            if track.form == SOURCE:
                for watchers in track.counting:
                    for watcher in watchers or ():
                        detector = (<Watcher>watcher).watch.detector
                        if detector.ban is not None and not (<Watcher>watcher).by_network:
                            self.sentences[watcher] = Sentence(self.policy, detector)

    cdef int look(self, Watcher watcher, Happening here, object key, const char *data, Py_ssize_t size) except -1:
        """The newest record of this history may complete something, says `Watcher.may_fire`."""
        cdef PyObject *found = PyDict_GetItemWithError(self.sentences, watcher)
        cdef double time = here.record.time, begin, mark
        cdef Py_ssize_t at
        cdef uint8_t mask = watcher.mask | UNTRUSTED
        cdef bint doubtful = False, forgiven = True, v6 = not here.who.narrow
        cdef int scope = 0, prefix = 64 if v6 else 32
        cdef Sentence sentence
        cdef object target = here.who.source, ordinal, name
        if found == NULL or not self.policy.enforcing:
            return 0
        sentence = <Sentence>found
        mark = watcher.mark(watcher.marks, key)
        begin = time - watcher.within
        if time_at(data, size - 1) != time or time <= mark or not watcher.fits(data, size - 1, mask):
            return 0
        if not watcher.holds(data, size, begin, time, mark, mask, &doubtful):
            return 0
        for at in range(size - 1, -1, -1):
            if time_at(data, at) < begin or time_at(data, at) <= mark:
                break
            if watcher.fits(data, at, mask):
                if not flags_at(data, at) & HEAVY and weight_at(data, at) != 1:
                    return 0
                scope = max(scope, flags_at(data, at) & SCOPE)
                forgiven = forgiven and sentence.forgiven[kind_at(data, at)]
        if (forgiven or sentence.slow) and self.known(here.who):
            return 0
        name = SCOPE_NAMES[scope]
        if self.touched(target, prefix, v6) or self.met(target, prefix, v6, name, time):
            return 0
        if self.standing[0] + self.standing[1] >= self.bans.max_bans or self.beside(here.who, prefix, time):
            return 0
        ordinal = self.ordinal(target, prefix, time)
        self.free = False
        self.tell(target, prefix, name, time + sentence.length(ordinal))
        return 0

    cdef bint known(self, Who who) except *:
        """Something may speak for the source."""
        cdef Place place = NOWHERE
        return self.sources.get(who.source, who.source_shard(self.sources), &place) is not None

    cdef bint touched(self, object target, int prefix, bint v6) except *:
        """`Policy.spared`: the never-list or the allow list shares a host with it."""
        cdef object base = V6_ if v6 else 0, first
        cdef int bits = 128 if v6 else 32, shift
        for families in self.spared:
            for length, known in (<dict>(<tuple>families)[v6]).items():
                if length <= prefix:
                    shift = bits - <int>length
                    first = ((target - base) >> shift << shift) + base
                    if first in <dict>known:
                        return True
                else:
                    for address in <dict>known:
                        if address >> (bits - prefix) << (bits - prefix) == target:
                            return True
        return False

    cdef bint met(self, object target, int prefix, bint v6, object scope, double time) except *:
        """`Bans.around`: a ban of it, of whatever scope, or of what is around it stands."""
        cdef object base = V6_ if v6 else 0, first
        cdef int bits = 128 if v6 else 32, shift
        cdef PyObject *found
        for length, known in (<dict>self.index[v6]).items():
            if length > prefix:
                continue
            shift = bits - <int>length
            first = ((target - base) >> shift << shift) + base
            found = PyDict_GetItemWithError(<dict>known, first)
            if found == NULL:
                continue
            for held in <list?><object>found:
                if time < held.until and (length == prefix or scope in held.scopes):
                    return True
        return False

    cdef bint beside(self, Who who, int prefix, double time) except *:
        """A ban inside it may stand, and would give way."""
        cdef PyObject *found = PyDict_GetItemWithError(self.inside, who.network())
        cdef int shift = 64 if prefix == 64 else 0
        if found == NULL:
            return False
        if len(<set?><object>found) > MOST_BESIDE:
            return True
        for place in <set><object>found:
            network = (<tuple?>place)[0]
            if network[1] >= prefix and network[0] >> shift << shift == who.source and time < self.held[place].until:
                return True
        return False

    cdef object ordinal(self, object target, int prefix, double time):
        """`Ordinals.next`."""
        cdef object key = target << 8 | prefix
        cdef Place place = NOWHERE
        if self.times.get(key, (key ^ self.times.salt) % self.times.count, &place) is None:
            return 1
        return self.ordinals.next(Network(target, prefix), time)
