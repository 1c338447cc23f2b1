# Events as rows of numbers. Included by trying.pyx.

cdef enum:
    NONE = 0xFFFFFFFF  # no source
    UNKNOWN = 0xFFFFFFFF  # not worked out yet
    NOTHING = 0xFFFFFFFE  # an empty text
    MAIL_KIND = 1  # what a row is for standing and for the timeline
    LOGIN_KIND = 2
    HOSTILE_KIND = 4
    WANTED = 8  # some detector may count it
    UNTRUSTED = 0x04  # as in window.py
    KNOWN = 0x08
    HEAVY = 0x80
    SCOPE = 0x03
    BUCKET = 0xFF ^ 0x03 ^ 0x80
    NO_DOMAIN = 1
    EXTRAS = 2  # forms of key besides the four of every policy
    ON_SOURCE = 0
    ON_NETWORK = 1
    ON_USER = 2
    ON_BOTH = 3
    ON_EXTRA = 4

cdef struct Hot:  # what decides whether a row is only counted
    double clock
    uint32_t source
    uint8_t scope, role

cdef struct Row:
    double time, clock
    double midnight  # when the day of `time` began (UTC); only of what speaks for somebody
    uint32_t source, network
    uint32_t user, both, both_alias, both_short  # 0: none; a name, and names with the network
    uint32_t value, short_value  # what a record by source carries; the name for short
    uint32_t person  # account of a login (0: none), domain of a sender (NO_DOMAIN: none)
    uint32_t[EXTRAS] extra
    uint16_t weight
    uint8_t kind, role, flags, conditions
    uint8_t valued  # the source can be told in 64 bits
    uint8_t lanes  # a bit for each form of key: something could fire for its key


cdef class Numbers:
    """Texts numbered from 1 in the order of their coming; letter case does not count."""

    cdef dict known, as_written

    def __init__(self):
        self.known, self.as_written = {}, {}

    cdef inline uint32_t of(self, object text) except? 0:
        cdef object number = self.as_written.get(text)
        if number is None:
            number = self.as_written[text] = self.exactly(text.lower())
        return number

    cdef inline uint32_t exactly(self, object thing) except? 0:
        cdef object number = self.known.get(thing)
        if number is None:
            number = self.known[thing] = len(self.known) + 1
        return number


cdef struct Slot:
    uint64_t key
    uint32_t number  # 0: nothing is here

cdef struct Name:
    uint32_t user, other, short  # numbers among the users: the name, without its domain or as it is, the short one
    uint32_t value, short_value, person


cdef class Slots:
    """Numbers from 1 for 64-bit keys, in the order of their coming."""

    cdef Slot *slots
    cdef uint64_t mask
    cdef uint32_t count

    def __cinit__(self):
        self.slots, self.mask = NULL, 0

    def __dealloc__(self):
        PyMem_Free(self.slots)

    cdef uint32_t find(self, uint64_t key) noexcept:
        """The key's number, 0 for none."""
        cdef uint64_t at = self.first(key)
        if self.slots == NULL:
            return 0
        while self.slots[at].number and self.slots[at].key != key:
            at = at + 1 & self.mask
        return self.slots[at].number

    cdef uint32_t of(self, uint64_t key) except 0:
        """The key's number, a new one for a new key."""
        cdef uint64_t at
        if 4 * <uint64_t>self.count >= 3 * self.mask:
            self.grow()
        at = self.first(key)
        while self.slots[at].number and self.slots[at].key != key:
            at = at + 1 & self.mask
        if not self.slots[at].number:
            self.count += 1
            self.slots[at].key, self.slots[at].number = key, self.count
        return self.slots[at].number

    cdef inline uint64_t first(self, uint64_t key) noexcept:
        key *= <uint64_t>0x9E3779B97F4A7C15
        return (key ^ key >> 32) & self.mask

    cdef int grow(self) except -1:
        cdef Slot *old = self.slots
        cdef uint64_t i, at, size = self.mask + 1 if old != NULL else 0, room = 4 * size if size else 1 << 12
        cdef Slot *fresh = <Slot *>PyMem_Calloc(room, sizeof(Slot))
        if fresh == NULL:
            raise MemoryError
        self.slots, self.mask = fresh, room - 1
        for i in range(size):
            if old[i].number:
                at = self.first(old[i].key)
                while fresh[at].number:
                    at = at + 1 & self.mask
                fresh[at] = old[i]
        PyMem_Free(old)
        return 0


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
    cdef readonly list source_keys, network_keys  # by number
    cdef uint32_t *network_at  # of each source
    cdef uint8_t *valued_at
    cdef Py_ssize_t sources_room
    cdef list four_places  # of each IPv4 source its number
    cdef dict places, network_numbers, domains
    cdef dict names  # -> place in `named`
    cdef Name *named
    cdef Py_ssize_t naming, names_room
    cdef bint linked
    cdef Slots pairs, fours  # pairs of user and network; IPv4 sources
    cdef object proof  # the proved names that were seen last, and whether the user is one of them
    cdef bint proves
    cdef dict kinds, scopes
    cdef Numbers users, values, people
    cdef list extra_numbers, value_fields
    cdef readonly tuple conditions, extras
    cdef readonly dict per48, per32
    cdef uint8_t[32] roles
    cdef uint32_t[8] condition_kinds
    cdef int conditioned  # how many conditions there are
    cdef uint32_t value_is_user  # a bit for each kind
    cdef Py_ssize_t[32] tally
    cdef uint32_t[EXTRAS] extra_kinds
    cdef Py_ssize_t pairs_kept

    def __cinit__(self):
        self.rows, self.hot, self.named, self.network_at, self.valued_at = NULL, NULL, NULL, NULL, NULL

    def __dealloc__(self):
        PyMem_Free(self.rows)
        PyMem_Free(self.hot)
        PyMem_Free(self.named)
        PyMem_Free(self.network_at)
        PyMem_Free(self.valued_at)

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
        self.source_keys, self.network_keys = [], []
        self.four_places = []
        self.places, self.network_numbers, self.names, self.domains = {}, {}, {}, {}
        self.kinds, self.scopes = KIND_NUMBER, SCOPE_NUMBER
        self.users, self.values, self.people = Numbers(), Numbers(), Numbers()
        self.pairs, self.fours = Slots(), Slots()
        self.people.exactly(("",))  # is NO_DOMAIN
        self.extra_numbers = [Numbers() for _ in extras]
        self.value_fields = [VALUE_FIELD.get(kind) for kind in KIND_NUMBER]
        for at, field in enumerate(self.value_fields):
            self.value_is_user |= <uint32_t>(field == "user") << <int>at
        self.per48, self.per32 = {}, {}
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
            return len(self.source_keys)
        if form == "network":
            return len(self.network_keys)
        if form == "user":
            return len(self.users.known) + 1
        if form == "user+network":
            return self.pairs_kept if self.hot != NULL else self.pairs.count + 1
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
        self.place(row, source)
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
            self.name(row, self.name_of(text), self.proves, field == "user")
        if field is not None and not row.value:
            text = fields.get(field)
            if text:
                row.value = self.values.of(text)
        if role & MAIL_KIND:
            text = fields.get("sender")
            row.person = self.domain(text) if text else NO_DOMAIN
        for at in range(len(self.conditions)):
            if self.condition_kinds[at] >> number & 1 and holds(<tuple>self.conditions[at], fields, proved):
                row.conditions |= <uint8_t>(1 << at)
        for at in range(len(self.extras)):
            if self.extra_kinds[at] >> number & 1:
                row.extra[at] = self.extra(at, fields, proved)
        self.count += 1
        return 0

    cdef int place(self, Row *row, object source) except -1:
        """Numbers of the source and its network."""
        cdef uint32_t number
        if source < V6:
            number = self.fours.of(source)
            if number > len(self.four_places):
                self.four_places.append(self.fresh(source))
            row.source = self.four_places[number - 1]
        else:
            row.source = self.wide_place(source)
        row.network, row.valued = self.network_at[row.source], self.valued_at[row.source]
        return 0

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
        number = len(self.source_keys)
        if number == self.sources_room:
            self.sources_room = max(1 << 12, 2 * self.sources_room)
            grown = PyMem_Realloc(self.network_at, self.sources_room * sizeof(uint32_t))
            if grown == NULL:
                raise MemoryError
            self.network_at = <uint32_t *>grown
            grown = PyMem_Realloc(self.valued_at, self.sources_room)
            if grown == NULL:
                raise MemoryError
            self.valued_at = <uint8_t *>grown
        self.network_at[number] = network
        self.valued_at[number] = 1 if key < V6 else source_value(key) != 0
        self.source_keys.append(key)
        return number

    cdef Py_ssize_t name_of(self, str user) except -1:
        """The place of a name in `named`."""
        cdef object known = self.names.get(user)
        cdef void *grown
        cdef Name *name
        if known is not None:
            return known
        if self.naming == self.names_room:
            self.names_room = max(1 << 12, 2 * self.names_room)
            grown = PyMem_Realloc(self.named, self.names_room * sizeof(Name))
            if grown == NULL:
                raise MemoryError
            self.named = <Name *>grown
        bare, at, _ = user.partition("@")
        other = bare + "@" if at else user
        short = bare if at else user + "@"
        name = self.named + self.naming
        name.user, name.other, name.short = self.users.of(user), self.users.of(other), self.users.of(short)
        name.value, name.short_value = self.values.of(user), self.values.of(short)
        name.person = self.people.exactly(user)
        self.names[user] = self.naming
        self.naming += 1
        return self.naming - 1

    cdef int name(self, Row *row, Py_ssize_t place, bint proved, bint counts) except -1:
        """Numbers of the name, and of what it is for short or in full, with the network; `counts`: it is what
        counts as different."""
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

    def link(self):
        """All have come: pairs under the other forms of their names, where a login speaks for those."""
        cdef Py_ssize_t i
        cdef Row *row
        cdef Name *name
        cdef bytearray logged = bytearray(len(self.users.known) + 1)
        if self.linked:
            return
        self.linked = True
        for i in range(self.count):
            row = self.rows + i
            if row.role & LOGIN_KIND and row.user:
                name = self.named + row.both_alias
                row.both_short = self.pairs.of(<uint64_t>name.short << 32 | row.network)
                logged[name.user] = logged[name.short] = 1
        for i in range(self.count):
            row = self.rows + i
            if row.user:
                name = self.named + row.both_alias
                row.both_alias = self.pairs.find(<uint64_t>name.other << 32 | row.network) if logged[name.other] else 0

    cdef uint32_t domain(self, str sender) except? 0:
        """The number of a sender's domain."""
        cdef object number = self.domains.get(sender)
        if number is None:
            domain = sender.rpartition("@")[2].lower() if "@" in sender else ""
            number = self.domains[sender] = self.people.exactly((domain,))
        return number

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
        cdef Py_ssize_t i
        cdef Row *row
        cdef bytearray sources = bytearray(len(self.source_keys)), networks = bytearray(len(self.network_keys))
        cdef bytearray pairs = bytearray(self.keys("user+network")), users = bytearray(self.keys("user"))
        for i in range(self.count):
            row = self.rows + i
            if row.role & (MAIL_KIND | LOGIN_KIND):
                sources[row.source] = 1
                networks[row.network] = 1
                if row.role & LOGIN_KIND and row.user:
                    pairs[row.both] = pairs[row.both_short] = users[row.user] = 1
        return (
            [key for key, there in zip(self.source_keys, sources) if there],
            [key for key, there in zip(self.network_keys, networks) if there],
            sum(pairs),
            sum(users),
        )

    def keep(self, dict live):
        """Leave out the rows that can matter to no figure where `live` tells, for each form of key, which keys
        something could fire for (a byte each).

        A source can be banned if it took part in what could fire, or lives in a network that could. Of others no
        hostile event matters but that they were never caught; nor does what speaks for somebody in networks
        where nobody can be banned, unless a login could end a sequence. The clock stands in each row."""
        cdef Py_ssize_t i, kept = 0
        cdef Row *row
        cdef bytes by_source = live.get("source", b""), by_network = live.get("network", b"")
        cdef bytes by_user = live.get("user", b""), by_both = live.get("user+network", b"")
        cdef list others = [live.get(form, b"") for form in self.extras]
        cdef bytearray guilty = bytearray(len(self.source_keys)), around = bytearray(len(self.network_keys))
        cdef bytearray silent = bytearray(len(self.source_keys))
        cdef int at
        for i in range(self.count):
            row = self.rows + i
            row.lanes = 0
            if alive(by_source, row.source):
                row.lanes |= 1 << ON_SOURCE
            if alive(by_network, row.network):
                row.lanes |= 1 << ON_NETWORK
            if row.user and alive(by_user, row.user):
                row.lanes |= 1 << ON_USER
            if row.both and alive(by_both, row.both):
                row.lanes |= 1 << ON_BOTH
            for at in range(len(others)):
                if row.extra[at] and alive(<bytes>others[at], row.extra[at]):
                    row.lanes |= 1 << ON_EXTRA + at
            if row.lanes and row.role & WANTED or row.lanes >> ON_NETWORK & 1:
                guilty[row.source] = 1
                around[row.network] = 1
        for i in range(self.count):
            row = self.rows + i
            if (
                guilty[row.source] and row.role & (HOSTILE_KIND | WANTED)
                or row.role & WANTED and row.lanes
                or row.role & LOGIN_KIND and row.lanes
                or row.role & (LOGIN_KIND | MAIL_KIND) and around[row.network]
            ):
                self.rows[kept] = row[0]
                kept += 1
            elif row.role & HOSTILE_KIND:
                silent[row.source] = 1
        self.count = kept
        self.quiet = sum(silent)
        self.settle(by_both)

    cdef int settle(self, bytes by_both) except -1:
        """Number anew the pairs of user and network that matter: those that could fire, and those that a login
        speaks for. The others (one for each guess of a name) get no number; and `hot` is made."""
        cdef Py_ssize_t i
        cdef Row *row
        cdef uint32_t number = 0
        cdef bytearray told = bytearray(self.pairs.count + 1)  # 1: by a login
        cdef uint32_t *numbers = <uint32_t *>PyMem_Calloc(len(told), sizeof(uint32_t))
        cdef void *less
        if numbers == NULL:
            raise MemoryError
        for i in range(self.count):
            row = self.rows + i
            if row.role & LOGIN_KIND:
                told[row.both] = told[row.both_short] = 1
        for i in range(1, len(told)):
            if told[i] or alive(by_both, i):
                number += 1
                numbers[i] = number
        for i in range(self.count):
            row = self.rows + i
            row.both, row.both_alias, row.both_short = (
                numbers[row.both], numbers[row.both_alias], numbers[row.both_short]
            )
        PyMem_Free(numbers)
        self.pairs_kept = number + 1
        less = PyMem_Realloc(self.rows, max(1, self.count) * sizeof(Row))
        if less != NULL:
            self.rows, self.room = <Row *>less, self.count
        self.hot = <Hot *>PyMem_Malloc(max(1, self.count) * sizeof(Hot))
        if self.hot == NULL:
            raise MemoryError
        for i in range(self.count):
            row = self.rows + i
            self.hot[i].clock, self.hot[i].source, self.hot[i].role = row.clock, row.source, row.role
            self.hot[i].scope = row.flags & SCOPE
        self.names, self.domains, self.places, self.pairs, self.fours = {}, {}, {}, Slots(), Slots()
        return 0


cdef inline bint alive(bytes live, Py_ssize_t key) except *:
    return key < len(live) and live[key] != 0


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
