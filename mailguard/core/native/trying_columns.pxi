# Events as columns (see `mailguard.eventfile.columns`) to rows, without making an event. Included by trying.pyx.

cdef enum:
    MOST_TESTS = 64


cdef class Column:
    """A column of codes; what each value comes to is worked out when it comes for the first time."""

    cdef object codes
    cdef list values
    cdef const int32_t *at
    cdef Py_ssize_t size
    cdef uint32_t *found  # of each value, and UNKNOWN

    def __cinit__(self):
        self.at, self.found = NULL, NULL

    def __dealloc__(self):
        PyMem_Free(self.found)

    def __init__(self, object column, Py_ssize_t rows):
        """`column`: the codes and values, or None: no row has a value. ValueError for codes of no value."""
        cdef const int32_t[::1] codes
        cdef Py_ssize_t i
        self.values = [] if column is None else list(column.values)
        self.size = len(self.values)
        self.found = <uint32_t *>PyMem_Malloc(max(1, self.size) * sizeof(uint32_t))
        if self.found == NULL:
            raise MemoryError
        for i in range(self.size):
            self.found[i] = UNKNOWN
        if column is None or not rows:
            return
        codes = column.codes
        if codes.shape[0] != rows:
            raise ValueError("the columns are not equally long")
        self.codes, self.at = codes, &codes[0]
        for i in range(rows):
            if self.at[i] < -1 or self.at[i] >= self.size:
                raise ValueError("a code stands for no value")

    cdef inline int32_t code(self, Py_ssize_t row) noexcept:
        """-1: the row has no value."""
        return self.at[row] if self.at != NULL else -1


cdef struct Test:  # one word of a condition
    int condition
    const int32_t *at
    const uint32_t *found  # 1: the value that is wanted


cdef int take(Events events, object columns) except -1:
    """The rows of `columns`, as `Events.one` takes events."""
    cdef Py_ssize_t rows = len(columns), i
    cdef const double[::1] times = columns.time
    cdef const int32_t[::1] weights = columns.weight
    cdef const uint8_t[::1] may_ban = columns.may_ban
    cdef Column kinds = Column(columns.kind, rows), sources = Column(columns.source, rows)
    cdef Column scopes = Column(columns.scope, rows), proofs = Column(columns.proved, rows)
    cdef Column users = Column(columns.field("user"), rows), senders = Column(columns.field("sender"), rows)
    cdef dict others = {name: Column(columns.field(name), rows) for name in events.fields_wanted()}
    cdef list values = [others.get(name) for name in events.value_fields]  # of each kind
    cdef list extras = [
        Column(columns.field("recipient" if form == "recipient_domain" else form), rows) for form in events.extras
    ]
    cdef Test[MOST_TESTS] tests
    cdef int testing = 0
    cdef list tested = []  # keeps them
    cdef Column column
    cdef bint[32] valued
    cdef uint8_t fits
    cdef Row *row
    cdef double time
    cdef uint8_t number, role
    cdef uint32_t kind, proof
    cdef int32_t code, weight
    cdef int at, extra_count = len(extras)
    if times.shape[0] != rows or weights.shape[0] != rows or may_ban.shape[0] != rows:
        raise ValueError("the columns are not equally long")
    for i in range(kinds.size):
        kinds.found[i] = events.kinds[kinds.values[i]]
    for i in range(scopes.size):
        scopes.found[i] = events.scopes[scopes.values[i]]
    for i in range(proofs.size):
        proofs.found[i] = events.proof_of(proofs.values[i])
    for i in range(32):
        valued[i] = i < len(values) and values[i] is not None and (<Column>values[i]).at != NULL
    for i, unless in enumerate(events.conditions):
        for name, wanted in unless:
            if testing == MOST_TESTS:
                raise ValueError("more conditions than there is room for")
            column = Column(columns.field(name), rows)
            for at in range(column.size):
                column.found[at] = column.values[at] == wanted
            tested.append(column)
            tests[testing].condition, tests[testing].at, tests[testing].found = i, column.at, column.found
            testing += 1
    events.make_room(rows)
    for i in range(rows):
        time = times[i]
        if kinds.code(i) < 0 or scopes.code(i) < 0 or proofs.code(i) < 0:
            raise ValueError("a row says no kind, no scope or not what is proved")
        kind = kinds.found[kinds.code(i)]
        events.tally[kind] += 1
        number = <uint8_t>kind
        role = events.roles[number]
        if time > events.clock:
            events.clock = events.latest = time
        if time < events.earliest:
            events.earliest = time
        if role & HOSTILE_KIND:
            events.hostile += 1
        code = sources.code(i)
        if code < 0 or not role:
            continue
        row = events.rows + events.count
        memset(row, 0, sizeof(Row))
        row.time, row.clock, row.kind, row.role, row.lanes = time, events.clock, number, role, 0xFF
        if role & (MAIL_KIND | LOGIN_KIND):
            row.midnight = DAY * day_of(time)
        if sources.found[code] == UNKNOWN:
            events.sources.place(row, sources.values[code])
            sources.found[code] = row.source
        row.source = sources.found[code]
        row.network, row.valued = events.sources.network_at[row.source], events.sources.valued_at[row.source]
        weight = weights[i]
        row.weight = <uint16_t>(0 if weight < 0 else 0xFFFF if weight > 0xFFFF else weight)
        row.flags = <uint8_t>scopes.found[scopes.code(i)] | (HEAVY if weight > 1 else 0)
        if not may_ban[i]:
            row.flags |= UNTRUSTED
            events.suspicious = True
        proof = proofs.found[proofs.code(i)]
        code = users.code(i)
        if code >= 0:
            if users.found[code] == UNKNOWN:
                users.found[code] = <uint32_t>events.names.of(users.values[code]) if users.values[code] else NOTHING
            if users.found[code] != NOTHING:
                events.names.write(row, users.found[code], proof & 1 != 0, events.value_is_user >> number & 1)
        if valued[number] and not row.value:
            column = <Column>values[number]
            code = column.code(i)
            if code >= 0:
                if column.found[code] == UNKNOWN:
                    column.found[code] = events.names.values.of(column.values[code]) if column.values[code] else NOTHING
                if column.found[code] != NOTHING:
                    row.value = column.found[code]
        if role & MAIL_KIND:
            row.person = NO_DOMAIN
            code = senders.code(i)
            if code >= 0:
                if senders.found[code] == UNKNOWN:
                    sender = senders.values[code]
                    senders.found[code] = events.names.domain(sender) if sender else NO_DOMAIN
                row.person = senders.found[code]
        if testing:
            fits = 0xFF
            for at in range(testing):
                if tests[at].at == NULL or tests[at].at[i] < 0 or not tests[at].found[tests[at].at[i]]:
                    fits &= ~(<uint8_t>1 << tests[at].condition)
            for at in range(events.conditioned):
                if fits >> at & 1 and proof >> 1 + at & 1 and events.condition_kinds[at] >> number & 1:
                    row.conditions |= <uint8_t>(1 << at)
        for at in range(extra_count):
            if events.extra_kinds[at] >> number & 1 and proof >> 9 + at & 1:
                column = <Column>extras[at]
                code = column.code(i)
                if code >= 0:
                    if column.found[code] == UNKNOWN:
                        column.found[code] = events.extra_of(at, column.values[code]) if column.values[code] else 0
                    row.extra[at] = column.found[code]
        events.count += 1
    return 0
