# Events as rows of numbers. Included by trying.pyx.

cdef enum:
    NONE = 0xFFFFFFFF  # no source
    MAIL_KIND = 1  # what a row is for standing and for the timeline
    LOGIN_KIND = 2
    HOSTILE_KIND = 4
    WANTED = 8  # some detector may count it
    UNTRUSTED = 0x04  # as in window.py
    KNOWN = 0x08
    HEAVY = 0x80
    SCOPE = 0x03
    BUCKET = 0xFF ^ 0x03 ^ 0x80
    EXTRAS = 2  # forms of key besides the four of every policy

cdef struct Row:
    double time, clock
    uint32_t source, network
    uint32_t user, both, both_alias, both_short  # 0: none; a name, and names with the network
    uint32_t value, short_value  # what a record by source carries; the name for short
    uint32_t person  # account of a login, domain of a sender
    uint32_t[EXTRAS] extra
    uint16_t weight
    uint8_t kind, role, flags, conditions
    uint8_t valued  # the source can be told in 64 bits


cdef class Numbers:
    """Things numbered from 1 in the order of their coming."""

    cdef dict known

    def __init__(self):
        self.known = {}

    cdef inline uint32_t of(self, object thing) except? 0:
        cdef object number = self.known.get(thing)
        if number is None:
            number = self.known[thing] = len(self.known) + 1
        return number


cdef class Events:
    """Takes events in their order."""

    cdef Row *rows
    cdef readonly Py_ssize_t count, room
    cdef double clock
    cdef readonly double earliest, latest
    cdef readonly bint suspicious  # some event may not ban
    cdef readonly list source_keys, network_keys  # by number
    cdef dict source_numbers, network_numbers, names, boths, proved
    cdef Numbers users, pairs, values, people
    cdef list extra_numbers
    cdef readonly tuple conditions, extras
    cdef readonly set standing_sources, standing_networks, standing_pairs, standing_users
    cdef frozenset wanted
    cdef readonly dict per48, per32
    cdef uint8_t[32] roles

    def __cinit__(self):
        self.rows = NULL

    def __dealloc__(self):
        PyMem_Free(self.rows)

    def __init__(self, wanted, tuple conditions, tuple extras):
        """`wanted`: kinds that some detector counts; `conditions`: every `unless`; `extras`: the forms of key besides
        source, network, user and user+network. ValueError for more than there is room for."""
        if len(conditions) > 8 or len(extras) > EXTRAS:
            raise ValueError("more conditions or forms of key than a row has room for")
        if len(KIND_NUMBER) > 32:
            raise ValueError("more kinds than a mask has bits")
        self.wanted, self.conditions, self.extras = frozenset(wanted), conditions, extras
        self.clock, self.earliest, self.latest = -INFINITY, INFINITY, -INFINITY
        self.source_keys, self.network_keys = [], []
        self.source_numbers, self.network_numbers, self.names, self.boths = {}, {}, {}, {}
        self.users, self.pairs, self.values, self.people = Numbers(), Numbers(), Numbers(), Numbers()
        self.extra_numbers = [Numbers() for _ in extras]
        self.standing_sources, self.standing_networks = set(), set()
        self.standing_pairs, self.standing_users = set(), set()
        self.per48, self.per32 = {}, {}
        for kind, number in KIND_NUMBER.items():
            self.roles[<int>number] = (
                (HOSTILE_KIND if kind in HOSTILE else 0)
                | (MAIL_KIND if kind == "mail_accepted" else 0)
                | (LOGIN_KIND if kind == "auth_success" else 0)
                | (WANTED if kind in self.wanted else 0)
            )

    def keys(self, str form):
        """How many keys of a form there are, with one for none."""
        if form == "source":
            return len(self.source_keys)
        if form == "network":
            return len(self.network_keys)
        if form == "user":
            return len(self.users.known) + 1
        if form == "user+network":
            return len(self.pairs.known) + 1
        return len((<Numbers>self.extra_numbers[self.extras.index(form)]).known) + 1

    def add(self, list events):
        """More events."""
        cdef Py_ssize_t room
        cdef void *grown
        if self.count + len(events) > self.room:
            room = max(1 << 16, 2 * self.room, self.count + <Py_ssize_t>len(events))
            grown = PyMem_Realloc(self.rows, room * sizeof(Row))
            if grown == NULL:
                raise MemoryError
            self.rows, self.room = <Row *>grown, room
        for event in events:
            if not isinstance(event, tuple) or len(<tuple>event) != 12:
                raise TypeError("an Event is wanted")
            self.one(<tuple>event)

    cdef int one(self, tuple event) except -1:
        cdef Row row
        cdef double time = event[1]
        cdef object source = event[2]
        cdef dict fields = event[5]
        cdef object proved = event[10]
        cdef uint8_t number = KIND_NUMBER[event[0]]
        cdef uint8_t role = self.roles[number]
        cdef int64_t weight
        cdef int at
        if time > self.clock:
            self.clock = self.latest = time
        if time < self.earliest:
            self.earliest = time
        if source is None or not role:
            return 0
        memset(&row, 0, sizeof(Row))
        row.time, row.clock, row.kind, row.role = time, self.clock, number, role
        self.place(&row, source)
        weight = event[4]
        row.weight = <uint16_t>(0 if weight < 0 else 0xFFFF if weight > 0xFFFF else weight)
        row.flags = <uint8_t>SCOPE_NUMBER[event[8]] | (HEAVY if weight > 1 else 0)
        if not event[9]:
            row.flags |= UNTRUSTED
            self.suspicious = True
        user = fields.get("user")
        if user and "user" in proved:
            self.name(&row, user)
        field = VALUE_FIELD.get(event[0])
        if field is not None:
            text = fields.get(field)
            if text:
                row.value = self.values.of(text.lower())
        if role & LOGIN_KIND:
            row.person = self.people.of(("a", user)) if user else 0
            if user:
                row.value = self.values.of(user.lower())
                row.short_value = self.values.of(
                    (user.partition("@")[0] if "@" in user else user + "@").lower()
                )
        elif role & MAIL_KIND:
            sender = fields.get("sender", "")
            domain = sender.rpartition("@")[2].lower() if "@" in sender else ""
            row.person = self.people.of(("d", domain)) if domain else 0
        if role & (MAIL_KIND | LOGIN_KIND):
            self.standing_sources.add(row.source)
            self.standing_networks.add(row.network)
        for at in range(len(self.conditions)):
            if holds(<tuple>self.conditions[at], fields, proved):
                row.conditions |= <uint8_t>(1 << at)
        for at in range(len(self.extras)):
            row.extra[at] = self.extra(at, fields, proved)
        self.rows[self.count] = row
        self.count += 1
        return 0

    cdef int place(self, Row *row, object source) except -1:
        """Numbers of the source and its network."""
        cdef object key = source if source < V6 else source_key(source)
        cdef object number = self.source_numbers.get(key)
        if number is None:
            number = self.source_numbers[key] = len(self.source_keys)
            self.source_keys.append(key)
            wide = network_key(key)
            other = self.network_numbers.get(wide)
            if other is None:
                other = self.network_numbers[wide] = len(self.network_keys)
                self.network_keys.append(wide)
            self.network_numbers[-1 - <object>number] = other
            if key >= V6:
                for counts, shift in ((self.per48, 80), (self.per32, 96)):
                    counts[key >> shift] = counts.get(key >> shift, 0) + 1
        row.source = number
        row.network = self.network_numbers[-1 - <object>number]
        row.valued = 1 if key < V6 else source_value(key) != 0
        return 0

    cdef int name(self, Row *row, str user) except -1:
        """Numbers of the name, and of what it is for short or in full, with the network."""
        cdef tuple known = self.names.get(user)
        cdef object key
        cdef tuple boths
        if known is None:
            bare, at, _ = user.partition("@")
            other = bare + "@" if at else user
            short = bare if at else user + "@"
            known = self.names[user] = (
                self.users.of(user.lower()), self.users.of(other.lower()), self.users.of(short.lower())
            )
        row.user = known[0]
        key = known[0] << 32 | row.network
        boths = self.boths.get(key)
        if boths is None:
            boths = self.boths[key] = tuple([self.pairs.of(one << 32 | row.network) for one in known])
        row.both, row.both_alias, row.both_short = boths
        if row.role & LOGIN_KIND:
            self.standing_pairs.update((row.both, row.both_short))
            self.standing_users.add(row.user)
        return 0

    cdef uint32_t extra(self, int at, dict fields, object proved) except? 0:
        """The number of another form of key; 0: the event has none."""
        cdef str form = self.extras[at]
        cdef str field = "recipient" if form == "recipient_domain" else form
        text = fields.get(field)
        if not text or field not in proved:
            return 0
        if form == "recipient_domain":
            text = text.rpartition("@")[2]
        return (<Numbers>self.extra_numbers[at]).of(text.lower()) if text else 0


cdef bint holds(tuple unless, dict fields, object proved) except *:
    for name, value in unless:
        if fields.get(name) != value or name not in proved:
            return False
    return True
