# Who did it and under which name: numbers of sources, their networks, and names. Included by trying.pyx.

cdef class Sources:
    """Numbers of sources and of the networks around them, from 0 in the order of their coming."""

    cdef list keys, network_keys  # by number
    cdef uint32_t *network_at  # of each source
    cdef uint8_t *valued_at  # whether it can be told in 64 bits
    cdef Py_ssize_t room
    cdef list four_places  # of each IPv4 source its number
    cdef Slots fours  # IPv4 sources
    cdef dict places, network_numbers
    cdef dict per48, per32  # IPv6 sources in networks of these lengths

    def __cinit__(self):
        self.network_at, self.valued_at = NULL, NULL

    def __dealloc__(self):
        PyMem_Free(self.network_at)
        PyMem_Free(self.valued_at)

    def __init__(self):
        self.keys, self.network_keys, self.four_places = [], [], []
        self.places, self.network_numbers, self.per48, self.per32 = {}, {}, {}, {}
        self.fours = Slots()

    cdef int place(self, Row *row, object source) except -1:
        """Numbers of the source and its network."""
        row.source = self.of(source)
        row.network, row.valued = self.network_at[row.source], self.valued_at[row.source]
        return 0

    cdef uint32_t of(self, object source) except? 0:
        """The number of a source."""
        cdef uint32_t number
        if source >= V6:
            return self.wide_place(source)
        number = self.fours.of(source)
        if number > len(self.four_places):
            self.four_places.append(self.fresh(source))
        return self.four_places[number - 1]

    cdef uint32_t wide_place(self, object source) except? 0:
        """The number of an IPv6 source."""
        cdef object known = self.places.get(source)
        if known is None:
            key = source_key(source)
            known = self.places.get(key)
            if known is None:
                known = self.places[key] = self.fresh(key)
            self.places[source] = known
        return known

    cdef uint32_t fresh(self, object key) except? 0:
        """The number of a source that was not seen before."""
        cdef Py_ssize_t number
        cdef void *grown
        wide = network_key(key)
        network = self.network_numbers.get(wide)
        if network is None:
            network = self.network_numbers[wide] = len(self.network_keys)
            self.network_keys.append(wide)
        if key >= V6:
            for counts, shift in ((self.per48, 80), (self.per32, 96)):
                counts[key >> shift] = counts.get(key >> shift, 0) + 1
        number = len(self.keys)
        if number == self.room:
            self.room = max(1 << 12, 2 * self.room)
            grown = PyMem_Realloc(self.network_at, self.room * sizeof(uint32_t))
            if grown == NULL:
                raise MemoryError
            self.network_at = <uint32_t *>grown
            grown = PyMem_Realloc(self.valued_at, self.room)
            if grown == NULL:
                raise MemoryError
            self.valued_at = <uint8_t *>grown
        self.network_at[number] = network
        self.valued_at[number] = 1 if key < V6 else source_value(key) != 0
        self.keys.append(key)
        return number

    cdef int close(self) except -1:
        """Nothing more comes: only the numbers given are still asked for."""
        self.places, self.fours = {}, Slots()
        return 0


cdef struct Name:
    uint32_t user, other, short  # numbers among the users: the name, without its domain or as it is, the short one
    uint32_t value, short_value, person


cdef class Names:
    """Numbers of users, of what counts as different, of people (accounts, domains of senders), and of users together
    with networks."""

    cdef Numbers users, values, people
    cdef Slots pairs  # of user and network
    cdef dict places, domains  # name -> place in `named`; sender -> number of its domain
    cdef Name *named
    cdef Py_ssize_t count, room

    def __cinit__(self):
        self.named = NULL

    def __dealloc__(self):
        PyMem_Free(self.named)

    def __init__(self):
        self.users, self.values, self.people = Numbers(), Numbers(), Numbers()
        self.people.exactly(("",))  # is NO_DOMAIN
        self.pairs = Slots()
        self.places, self.domains = {}, {}

    cdef Py_ssize_t of(self, str user) except -1:
        """The place of a name in `named`."""
        cdef object known = self.places.get(user)
        cdef void *grown
        cdef Name *name
        if known is not None:
            return known
        if self.count == self.room:
            self.room = max(1 << 12, 2 * self.room)
            grown = PyMem_Realloc(self.named, self.room * sizeof(Name))
            if grown == NULL:
                raise MemoryError
            self.named = <Name *>grown
        bare, at, _ = user.partition("@")
        other = bare + "@" if at else user
        short = bare if at else user + "@"
        name = self.named + self.count
        name.user, name.other, name.short = self.users.of(user), self.users.of(other), self.users.of(short)
        name.value, name.short_value = self.values.of(user), self.values.of(short)
        name.person = self.people.exactly(user)
        self.places[user] = self.count
        self.count += 1
        return self.count - 1

    cdef int write(self, Row *row, Py_ssize_t place, bint proved, bint counts) except -1:
        """Numbers of the name, and of what it is for short or in full, with the network, into a row; `counts`: it
        is what counts as different."""
        cdef Name *name = self.named + place
        if counts:
            row.value = name.value
        if row.role & LOGIN_KIND:
            row.person, row.short_value = name.person, name.short_value
        if not proved:
            return 0
        row.user = name.user
        row.both = self.pairs.of(<uint64_t>name.user << 32 | row.network)
        row.both_alias = <uint32_t>place  # until `link`
        return 0

    cdef uint32_t domain(self, str sender) except? 0:
        """The number of a sender's domain."""
        cdef object number = self.domains.get(sender)
        if number is None:
            domain = sender.rpartition("@")[2].lower() if "@" in sender else ""
            number = self.domains[sender] = self.people.exactly((domain,))
        return number

    cdef int link(self, Row *rows, Py_ssize_t count) except -1:
        """All rows have come: pairs under the other forms of their names, where a login speaks for those."""
        cdef Py_ssize_t i
        cdef Row *row
        cdef Name *name
        cdef bytearray logged = bytearray(len(self.users.known) + 1)
        for i in range(count):
            row = rows + i
            if row.role & LOGIN_KIND and row.user:
                name = self.named + row.both_alias
                row.both_short = self.pairs.of(<uint64_t>name.short << 32 | row.network)
                logged[name.user] = logged[name.short] = 1
        for i in range(count):
            row = rows + i
            if row.user:
                name = self.named + row.both_alias
                row.both_alias = self.pairs.find(<uint64_t>name.other << 32 | row.network) if logged[name.other] else 0
        return 0

    cdef int close(self) except -1:
        """Nothing more comes, and pairs were numbered anew: only the numbers given are still asked for."""
        self.places, self.domains, self.pairs = {}, {}, Slots()
        return 0
