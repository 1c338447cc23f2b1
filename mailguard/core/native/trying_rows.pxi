# Events as rows of numbers. Included by trying.pyx.

cdef class Events:
    """Takes events in their order."""

    cdef Row *rows
    cdef Hot *hot  # of each row, once nothing more comes
    cdef readonly Py_ssize_t count, room
    cdef double clock
    cdef readonly double earliest, latest
    cdef readonly int64_t hostile  # hostile events, those without a source too
    cdef readonly int64_t quiet  # hostile sources whose rows were left out
    cdef readonly bint suspicious  # some event may not ban
    cdef Sources sources
    cdef Names names
    cdef bint linked
    cdef object proof  # the proved names that were seen last, and whether the user is one of them
    cdef bint proves
    cdef dict kinds, scopes
    cdef list extra_numbers, value_fields
    cdef readonly tuple conditions, extras
    cdef uint8_t[32] roles
    cdef uint32_t[8] condition_kinds
    cdef int conditioned  # how many conditions there are
    cdef uint32_t value_is_user  # a bit for each kind
    cdef Py_ssize_t[32] tally
    cdef uint32_t[EXTRAS] extra_kinds
    cdef Py_ssize_t pairs_kept

    def __cinit__(self):
        self.rows, self.hot = NULL, NULL

    def __dealloc__(self):
        PyMem_Free(self.rows)
        PyMem_Free(self.hot)

    def __init__(self, dict conditions, dict extras, wanted):
        """`wanted`: kinds that some detector counts; `conditions`: every `unless`, `extras`: the forms of key besides
        source, network, user and user+network, both with the kinds that are counted so. ValueError for more than
        there is room for."""
        if len(conditions) > 8 or len(extras) > EXTRAS:
            raise ValueError("more conditions or forms of key than a row has room for")
        if len(KIND_NUMBER) > 32:
            raise ValueError("more kinds than a mask has bits")
        self.conditions, self.extras = tuple(conditions), tuple(extras)
        self.conditioned = len(self.conditions)
        for at, kinds in enumerate(conditions.values()):
            self.condition_kinds[<int>at] = mask_of(kinds)
        for at, kinds in enumerate(extras.values()):
            self.extra_kinds[<int>at] = mask_of(kinds)
        self.clock, self.earliest, self.latest = -INFINITY, INFINITY, -INFINITY
        self.sources, self.names = Sources(), Names()
        self.kinds, self.scopes = KIND_NUMBER, SCOPE_NUMBER
        self.extra_numbers = [Numbers() for _ in extras]
        self.value_fields = [VALUE_FIELD.get(kind) for kind in KIND_NUMBER]
        for at, field in enumerate(self.value_fields):
            self.value_is_user |= <uint32_t>(field == "user") << <int>at
        for kind, number in KIND_NUMBER.items():
            self.roles[<int>number] = (
                (HOSTILE_KIND if kind in HOSTILE else 0)
                | (MAIL_KIND if kind == "mail_accepted" else 0)
                | (LOGIN_KIND if kind == "auth_success" else 0)
                | (WANTED if kind in wanted else 0)
            )

    def keys(self, str form):
        """How many keys of a form there are, with one for none."""
        if form == "source":
            return len(self.sources.keys)
        if form == "network":
            return len(self.sources.network_keys)
        if form == "user":
            return len(self.names.users.known) + 1
        if form == "user+network":
            return self.pairs_kept if self.hot != NULL else self.names.pairs.count + 1
        return len((<Numbers>self.extra_numbers[self.extras.index(form)]).known) + 1

    def add(self, list events):
        """More events. ValueError once `link` was called."""
        self.make_room(len(events))
        for event in events:
            if not isinstance(event, tuple) or len(<tuple>event) != 12:
                raise TypeError("an Event is wanted")
            self.one(<tuple>event)

    def add_columns(self, object columns):
        """The same for events as columns; how many there are of each kind, by number. ValueError too for columns
        that are none."""
        memset(self.tally, 0, sizeof(self.tally))
        take(self, columns)
        return [self.tally[number] for number in range(len(self.kinds))]

    cdef int make_room(self, Py_ssize_t more) except -1:
        cdef Py_ssize_t room
        cdef void *grown
        if self.linked:
            raise ValueError("nothing more can come")
        if self.count + more > self.room:
            room = max(1 << 16, 2 * self.room, self.count + more)
            grown = PyMem_Realloc(self.rows, room * sizeof(Row))
            if grown == NULL:
                raise MemoryError
            self.rows, self.room = <Row *>grown, room
        return 0

    def fields_wanted(self):
        """Names of the captured fields that rows are made of."""
        return dict.fromkeys(
            ["user", "sender", *[name for name in self.value_fields if name]]
            + ["recipient" if form == "recipient_domain" else form for form in self.extras]
            + [name for unless in self.conditions for name, _ in unless]
        )

    cdef uint32_t proof_of(self, object proved) except? 0:
        """Bits for what is proved: the user, the fields of each condition (from 1), that of each extra (from 9)."""
        cdef uint32_t bits = 1 if "user" in proved else 0
        for at, unless in enumerate(self.conditions):
            if all([name in proved for name, _ in unless]):
                bits |= <uint32_t>2 << <int>at
        for at, form in enumerate(self.extras):
            if ("recipient" if form == "recipient_domain" else form) in proved:
                bits |= <uint32_t>1 << 9 + <int>at
        return bits

    cdef int one(self, tuple event) except -1:
        cdef Row *row
        cdef double time = event[1]
        cdef object source = event[2]
        cdef dict fields
        cdef object proved, field, text
        cdef uint8_t number = self.kinds[event[0]]
        cdef uint8_t role = self.roles[number]
        cdef int64_t weight
        cdef int at
        if time > self.clock:
            self.clock = self.latest = time
        if time < self.earliest:
            self.earliest = time
        if role & HOSTILE_KIND:
            self.hostile += 1
        if source is None or not role:
            return 0
        row = self.rows + self.count
        memset(row, 0, sizeof(Row))
        fields, proved = event[5], event[10]
        row.time, row.clock, row.kind, row.role, row.lanes = time, self.clock, number, role, 0xFF
        if role & (MAIL_KIND | LOGIN_KIND):
            row.midnight = DAY * day_of(time)
        self.sources.place(row, source)
        weight = event[4]
        row.weight = <uint16_t>(0 if weight < 0 else 0xFFFF if weight > 0xFFFF else weight)
        row.flags = <uint8_t>self.scopes[event[8]] | (HEAVY if weight > 1 else 0)
        if not event[9]:
            row.flags |= UNTRUSTED
            self.suspicious = True
        text = fields.get("user")
        field = self.value_fields[number]
        if text:
            if proved is not self.proof:
                self.proof, self.proves = proved, "user" in proved
            self.names.write(row, self.names.of(text), self.proves, field == "user")
        if field is not None and not row.value:
            text = fields.get(field)
            if text:
                row.value = self.names.values.of(text)
        if role & MAIL_KIND:
            text = fields.get("sender")
            row.person = self.names.domain(text) if text else NO_DOMAIN
        for at in range(len(self.conditions)):
            if self.condition_kinds[at] >> number & 1 and holds(<tuple>self.conditions[at], fields, proved):
                row.conditions |= <uint8_t>(1 << at)
        for at in range(len(self.extras)):
            if self.extra_kinds[at] >> number & 1:
                row.extra[at] = self.extra(at, fields, proved)
        self.count += 1
        return 0

    def link(self):
        """All have come."""
        if not self.linked:
            self.linked = True
            self.names.link(self.rows, self.count)

    cdef uint32_t extra(self, int at, dict fields, object proved) except? 0:
        """The number of another form of key; 0: the event has none."""
        cdef str form = self.extras[at]
        cdef str field = "recipient" if form == "recipient_domain" else form
        text = fields.get(field)
        return self.extra_of(at, text) if text and field in proved else 0

    cdef uint32_t extra_of(self, int at, str text) except? 0:
        """The same of the text of its field."""
        if self.extras[at] == "recipient_domain":
            text = text.rpartition("@")[2]
        return (<Numbers>self.extra_numbers[at]).of(text) if text else 0

    def standing(self):
        """Keys of the sources and of the networks that anything speaks for, and how many users at networks, and
        users, that is."""
        return spoken_for(self)

    def keep(self, dict live):
        """Leave out the rows that can matter to no figure where `live` tells, for each form of key, which keys
        something could fire for (a byte each). Nothing can come after that."""
        keep_rows(self, live)

    @property
    def source_keys(self):
        """Packed addresses by their numbers."""
        return self.sources.keys

    @property
    def network_keys(self):
        """Packed addresses of networks by their numbers."""
        return self.sources.network_keys

    @property
    def per48(self):
        """IPv6 networks of this length -> how many sources."""
        return self.sources.per48

    @property
    def per32(self):
        """IPv6 networks of this length -> how many sources."""
        return self.sources.per32


cdef uint32_t mask_of(kinds) except? 0:
    cdef uint32_t mask = 0
    for kind in kinds:
        mask |= <uint32_t>1 << <int>KIND_NUMBER[kind]
    return mask


cdef bint holds(tuple unless, dict fields, object proved) except *:
    for name, value in unless:
        if fields.get(name) != value or name not in proved:
            return False
    return True
