# Events made ready once, to be judged many times. Included by engine.pyx.
#
# A row is what `Feeder.one` works out of an event. Rows stand one behind the other, so that going through them is
# kind to the processor's cache; they are owned by `Prepared`, whose `rows` has room for `count` of them.

cdef struct Row:
    double time, clock  # `clock`: the newest stamp up to here, of all events, also of those left out
    int64_t position
    uint64_t low, user, alias, short_, value
    uint32_t source  # place in `sources`
    uint32_t pair
    uint32_t event  # place in `events`
    uint16_t log, rule, weight
    uint8_t kind, flags, conditions, bits
    uint8_t lanes  # by `Form`: where its key may fire, and so where it has to be recorded

cdef enum:
    SOURCED = 1
    NARROW = 2
    MAY_BAN = 4
    NAMED = 8


cdef class Prepared:
    """Events as rows, with the texts that belong to them."""

    cdef Row *rows
    cdef readonly Py_ssize_t count
    cdef double clock  # the newest stamp of all
    cdef readonly list events
    cdef list sources  # keys of sources
    cdef list addresses  # a packed address for each
    cdef dict numbers, source_numbers
    cdef readonly list logs, rules
    cdef readonly bytes secret
    cdef tuple conditions

    def __cinit__(self):
        self.rows = NULL

    def __dealloc__(self):
        PyMem_Free(self.rows)

    def __init__(self, list events, object hasher, tuple conditions):
        """`conditions`: every `unless` of the detectors to come, at most 8. ValueError for an event that cannot
        be prepared: a source that is no address, a stranger kind."""
        cdef Hashing hashing = Hashing(hasher, hasher._secret)
        cdef Happening here = Happening(hashing)
        cdef dict logs = {}, rules = {}, routes = {kind: Route(kind) for kind in KIND_NUMBER}
        cdef Py_ssize_t place
        cdef double clock = -INFINITY
        cdef int64_t weight
        cdef tuple told
        cdef Row *row
        if len(conditions) > 8:
            raise ValueError("more than 8 different `unless`")
        if len(events) >= 0xFFFFFFFF:
            raise ValueError("too many events at once")
        self.events, self.secret, self.conditions = events, hasher._secret, conditions
        self.sources, self.addresses, self.source_numbers = [], [], {}
        self.numbers = {unless: 1 << place for place, unless in enumerate(conditions)}
        self.rows = <Row *>PyMem_Calloc(max(1, len(events)), sizeof(Row))
        if self.rows == NULL:
            raise MemoryError
        for place in range(len(events)):
            event = events[place]
            if not isinstance(event, tuple) or len(<tuple>event) != 12:
                raise TypeError("an Event is wanted")
            told = <tuple>event
            here.route = <Route?>routes.get(told[0])
            if told[2] is not None and not here.who.take(told[2]):
                raise ValueError(f"{told[2]} is no packed address")
            here.event_, here.fields, here.proved, here.user_looked = event, <dict?>told[5], told[10], 0
            row = &self.rows[place]
            row.time = told[1]
            clock = max(clock, row.time)
            row.clock, row.kind, row.event = clock, here.route.kind, <uint32_t>place
            row.position, weight = told[7], told[4]
            row.weight = <uint16_t>(0 if weight < 0 else 0xFFFF if weight > 0xFFFF else weight)
            row.flags = <uint8_t>SCOPE_NUMBER[told[8]] | (0 if told[9] else UNTRUSTED) | (HEAVY if weight > 1 else 0)
            row.bits = MAY_BAN if told[9] else 0
            row.lanes = 0xFF
            if told[2] is not None:
                row.bits |= SOURCED | (NARROW if here.who.narrow else 0)
                row.low, row.source = here.who.low, self.source(here.who)
            row.log = <uint16_t>min(<Py_ssize_t>logs.setdefault(told[6], len(logs)), 0xFFFF)
            row.rule = <uint16_t>min(<Py_ssize_t>rules.setdefault(told[3], len(rules)), 0xFFFF)
            if here.has_user():
                row.bits |= NAMED
                row.user, row.alias, row.short_ = here.user(), here.alias(), here.short()
            row.value = here.value()
            if here.route.mail:
                row.pair = here.pair()
            for unless, number in self.numbers.items():
                if here.holds(unless, 0):
                    row.conditions |= <uint8_t>number
            self.count += 1
        self.clock = clock
        self.logs, self.rules = list(logs), list(rules)
        self.source_numbers = None

    cdef uint32_t source(self, Who who) except? 0xFFFFFFFF:
        """The number of the source."""
        cdef object number = self.source_numbers.get(who.source)
        if number is None:
            number = self.source_numbers[who.source] = len(self.sources)
            self.sources.append(who.source)
            self.addresses.append(who.address)
        return number

    cdef int fit(self, Feeder feeder) except -1:
        """Make an engine know the names by the numbers of the rows. ValueError when it is none for these."""
        cdef Track track
        if feeder.engine.hasher._secret != self.secret:
            raise ValueError("the events were prepared under another secret")
        for names, known in ((feeder.engine.logs, self.logs), (feeder.engine.rules, self.rules)):
            for number, name in enumerate(known):
                if names.number(name) != min(number, 0xFFFF):
                    raise ValueError("the engine has seen events before")
        for track in feeder.tracks:
            track.numbers = self.numbers
            for _, unless in track.lane.conditions:
                if unless not in self.numbers:
                    raise ValueError("a detector has an `unless` that the events were not prepared for")
        return 0

    cdef bint show(self, Py_ssize_t place, Happening here, list routes) except *:
        """Put the row at `place` in hand."""
        cdef Row *row
        cdef Who who = here.who
        if not 0 <= place < self.count:
            raise IndexError(place)
        row = &self.rows[place]
        here.prepared, here.events, here.place = True, self.events, row.event
        here.route = <Route>routes[row.kind]
        here.record.time, here.record.position, here.record.kind = row.time, row.position, row.kind
        here.record.log, here.record.rule, here.record.weight = row.log, row.rule, row.weight
        here.record.flags, here.conditions = row.flags, row.conditions
        here.sourced, here.may_ban = row.bits & SOURCED != 0, row.bits & MAY_BAN != 0
        here.scope = SCOPE_NAMES[row.flags & SCOPE]
        here.user_looked = 1 if row.bits & NAMED else 2
        here.name_, here.alias_, here.short_, here.value_ = row.user, row.alias, row.short_, row.value
        here.pair_, here.lanes = row.pair, row.lanes
        if here.sourced:
            who.source, who.address = self.sources[row.source], self.addresses[row.source]
            who.low, who.narrow, who.mixed, who.network_ = row.low, row.bits & NARROW != 0, False, None
        return True

    def keep(self, list live, frozenset counted):
        """Only the rows that can matter where `live` tells for each form of key which keys may fire, and how an
        event's key is found; `counted`: the kinds that some detector counts. These are: everything hostile of
        the sources and networks that a ban could be about, and what speaks for them.

        Why that is exact: a key that never fires has no consequence, whatever it counts. A ban is about a source
        that took part in something that fired, or about a network that fired. What is asked about those besides
        are the standing of their networks, their users' logins, and whether a user exists; a login that ends a
        sequence asks for the standing from where it came.
        """
        cdef dict found = {form: keys for form, keys, _ in live}
        cdef list others = [(key_of, keys) for form, keys, key_of in live if form not in FORMS]
        cdef set sources = set(), networks = set(), users = set(), guilty = found.get("network", set())
        cdef set by_user = found.get("user", set()), by_both = found.get("user+network", set())
        cdef set by_source = found.get("source", set())
        cdef Py_ssize_t place, kept = 0
        cdef Happening here = Happening(None)
        cdef list routes = [Route(kind) for kind in KIND_NUMBER]
        cdef Who who = here.who
        cdef bint wanted
        cdef Row *row
        for place in range(self.count):
            self.show(place, here, routes)
            row = &self.rows[place]
            row.lanes = 0
            if here.user_looked == 1:
                row.lanes |= (here.name_ in by_user) << USER
            for key_of, keys in others:
                row.lanes |= (key_of(here.event()) in keys) << OTHER
            if here.sourced:
                row.lanes |= (who.source in by_source) << SOURCE | (who.network() in guilty) << NETWORK
                if here.user_looked == 1:
                    row.lanes |= (who.with_user(here.name_) in by_both) << USER_NETWORK
                if row.lanes and here.route.name in counted:
                    sources.add(who.source)
        for place in range(self.count):
            self.show(place, here, routes)
            if here.sourced and (
                who.source in sources or who.network() in guilty or here.route.login and self.rows[place].lanes
            ):
                networks.add(who.network())
                if here.user_looked == 1:
                    users.add(here.name_)
        for place in range(self.count):
            self.show(place, here, routes)
            wanted = here.route.name in counted and self.rows[place].lanes != 0
            if here.sourced:
                # What makes no ban matters where it meets one: if it is hostile.
                if here.route.hostile:
                    wanted = wanted or who.source in sources or who.network() in guilty
                if here.route.login and here.user_looked == 1:
                    wanted = wanted or here.name_ in users
                if here.route.login or here.route.mail:
                    wanted = wanted or who.network() in networks
            if wanted:
                row = &self.rows[kept]
                row[0] = self.rows[place]
                kept += 1
        self.count = kept
