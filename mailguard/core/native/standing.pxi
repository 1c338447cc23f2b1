# What speaks for somebody: `Book.mail`, `login`, `settle` and `known`, on the Book's own tables, for all that is
# not revoked. Included by engine.pyx.

cdef struct Earned:  # the record of a source or network, unpacked
    double mail1, mail2, login1, login2
    uint16_t mail_days, login_days
    uint8_t flags
    uint32_t messages, logins  # where the flags have COUNTED

cdef enum:
    RECORD_SIZE = 37  # "=ddddHHB"
    COUNTS_SIZE = 8  # "=II"
    LOGIN_SIZE = 17  # "=ddB"
    PAIRS = 8
    REVOKED = 1
    COUNTED = 2
    MORE_MAIL = 4
    MORE_LOGINS = 8

cdef double DAY = 86400.0
cdef double AGE = 396 * 86400.0
cdef double GRAIN = 600.0
cdef double RIPE = 2 * 86400.0

cdef enum:
    DAYS = 2


cdef inline double day_of(double time) noexcept:
    """time // 86400.0 as Python computes it."""
    cdef double rest = fmod(time, DAY), quotient, whole
    if rest < 0:
        rest += DAY
    quotient = (time - rest) / DAY
    whole = floor(quotient)
    return whole + 1 if quotient - whole > 0.5 else whole


cdef inline void one_more(double *first, double *last, uint16_t *days, double time) noexcept:
    """As `standing._later`."""
    if not days[0]:
        first[0] = last[0] = time
        days[0] = 1
    elif time > last[0]:
        if day_of(time) > day_of(last[0]) and days[0] < 0xFFFF:
            days[0] += 1
        last[0] = time
    else:
        if day_of(time) < day_of(first[0]) and days[0] < 0xFFFF:
            days[0] += 1
        if time < first[0]:
            first[0] = time


cdef inline Py_ssize_t pairs_at(uint8_t flags) noexcept:
    """`standing._pairs_at`."""
    return RECORD_SIZE + COUNTS_SIZE if flags & COUNTED else RECORD_SIZE


cdef inline void count(const char *data, Earned *into, bint mail) noexcept:
    """One more message or login than in the record `data`, which has room for what its flags say."""
    if into.flags & COUNTED:
        memcpy(&into.messages, data + RECORD_SIZE, 4)
        memcpy(&into.logins, data + RECORD_SIZE + 4, 4)
    else:
        into.messages = into.logins = 0
        into.flags |= COUNTED | (MORE_MAIL if into.mail_days else 0) | (MORE_LOGINS if into.login_days else 0)
    if mail:
        into.messages += into.messages != 0xFFFFFFFF
    else:
        into.logins += into.logins != 0xFFFFFFFF


cdef inline void read_earned(const char *data, Earned *into) noexcept:
    """All but the counts."""
    memcpy(&into.mail1, data, 8)
    memcpy(&into.mail2, data + 8, 8)
    memcpy(&into.login1, data + 16, 8)
    memcpy(&into.login2, data + 24, 8)
    memcpy(&into.mail_days, data + 32, 2)
    memcpy(&into.login_days, data + 34, 2)
    into.flags = <uint8_t>data[36]


cdef bytes pack_earned(Earned *earned, const char *pairs, Py_ssize_t size, uint32_t fresh):
    """The record, `size` bytes of pairs that were there, and one more unless it is 0."""
    cdef char[RECORD_SIZE + COUNTS_SIZE + 4 * PAIRS] data
    cdef Py_ssize_t end = pairs_at(earned.flags), i
    if size < 0 or size + (4 if fresh else 0) > 4 * PAIRS:
        raise ValueError("more pairs than a record holds")
    memcpy(data, &earned.mail1, 8)
    memcpy(data + 8, &earned.mail2, 8)
    memcpy(data + 16, &earned.login1, 8)
    memcpy(data + 24, &earned.login2, 8)
    memcpy(data + 32, &earned.mail_days, 2)
    memcpy(data + 34, &earned.login_days, 2)
    data[36] = <char>earned.flags
    if earned.flags & COUNTED:
        memcpy(data + RECORD_SIZE, &earned.messages, 4)
        memcpy(data + RECORD_SIZE + 4, &earned.logins, 4)
    if size:
        memcpy(data + end, pairs, size)
        end += size
    if fresh:
        for i in range(4):
            data[end + i] = <char>(fresh >> (8 * i) & 0xFF)
        end += 4
    return PyBytes_FromStringAndSize(data, end)


cdef bytes pack_login(double first, double last, uint8_t flags):
    cdef char[LOGIN_SIZE] data
    memcpy(data, &first, 8)
    memcpy(data + 8, &last, 8)
    data[16] = <char>flags
    return PyBytes_FromStringAndSize(data, LOGIN_SIZE)


cdef class Ledger:
    """Good deeds, on the tables of a `Book`. A source is a `Who`."""

    cdef object book
    cdef Shelf sources, networks, logins, users
    cdef dict owed  # None: nobody asks for changes

    def __init__(self, object book):
        self.book = book
        self.sources, self.networks = Shelf(book.sources), Shelf(book.networks)
        self.logins, self.users = Shelf(book.logins), Shelf(book.users)
        self.owed = book.owed

    cdef int earn(
        self, Shelf shelf, object key, Py_ssize_t shard, bint narrow, double time, bint mail, uint32_t pair,
        bytes value, Place place,
    ) except -1:
        """`Book._earn`; `value` and `place` are what `get` found."""
        cdef Earned earned
        cdef const char *data
        cdef const uint8_t *known
        cdef Py_ssize_t size, begin, i
        cdef double last
        cdef bint counting = shelf is self.sources
        if value is None:
            memset(&earned, 0, sizeof(Earned))
            if mail:
                earned.mail1 = earned.mail2 = time
                earned.mail_days = 1
            else:
                earned.login1 = earned.login2 = time
                earned.login_days = 1
            if counting:
                earned.flags = COUNTED
                earned.messages, earned.logins = mail, not mail
            return shelf.put(key, shard, narrow, pack_earned(&earned, NULL, 0, pair), False, NOWHERE)
        data = PyBytes_AS_STRING(value)
        begin = pairs_at(<uint8_t>data[36]) if len(value) >= RECORD_SIZE else RECORD_SIZE
        size = len(value) - begin
        if size < 0 or size > 4 * PAIRS or size & 3:
            self.book._earn(shelf.table, key, time, mail, pair)  # no row of ours
            return 0
        read_earned(data, &earned)
        if earned.flags & REVOKED:
            return 0
        if counting:
            count(data, &earned, mail)
        if pair:
            if size == 4 * PAIRS:
                pair = 0
            known = <const uint8_t *>data + begin
            for i in range(0, size, 4):
                if (
                    known[i] | <uint32_t>known[i + 1] << 8 | <uint32_t>known[i + 2] << 16
                    | <uint32_t>known[i + 3] << 24
                ) == pair:
                    pair = 0
                    break
        last = earned.mail2 if mail else earned.login2
        if not pair and 0 <= time - last < GRAIN and day_of(time) == day_of(last):
            if counting:
                shelf.amend(key, shard, pack_earned(&earned, data + begin, size, 0), place)
                if self.owed is not None:
                    self.owed[key] = None
            return 0
        if mail:
            one_more(&earned.mail1, &earned.mail2, &earned.mail_days, time)
        else:
            one_more(&earned.login1, &earned.login2, &earned.login_days, time)
        return shelf.put(
            key, shard, narrow, pack_earned(&earned, data + begin, size, pair),
            earned.mail_days >= 2 or earned.login_days >= 2, place,
        )

    cdef int mail(self, Happening here) except -1:
        """`Book.mail`."""
        cdef Who who = here.who
        cdef double time = here.record.time
        cdef Place place = NOWHERE
        cdef Py_ssize_t shard = who.source_shard(self.sources)
        cdef bytes value = self.sources.get(who.source, shard, &place)
        cdef uint32_t pair = 0
        cdef Py_ssize_t begin = RECORD_SIZE
        if value is not None and len(value) >= RECORD_SIZE:
            begin = pairs_at(<uint8_t>PyBytes_AS_STRING(value)[36])
            if PyBytes_AS_STRING(value)[36] & REVOKED:
                return 0
        if value is None or len(value) < begin + 4 * PAIRS:
            pair = here.pair()
        self.earn(self.sources, who.source, shard, who.narrow, time, True, pair, value, place)
        shard = who.network_shard(self.networks)
        value = self.networks.get(who.network(), shard, &place)
        return self.earn(self.networks, who.network(), shard, who.narrow, time, True, 0, value, place)

    cdef bint settle(self, uint64_t user, Who who, double time) except *:
        """`Book.settle`."""
        cdef Place place = NOWHERE
        cdef uint64_t number = who.with_user(user)
        cdef object key = number
        cdef Py_ssize_t shard = self.logins.narrow(number)
        cdef bytes value = self.logins.get(key, shard, &place)
        cdef double first, last
        if value is None:
            self.logins.put(key, shard, True, pack_login(time, time, 0), False, NOWHERE)
            return True
        if len(value) != LOGIN_SIZE or PyBytes_AS_STRING(value)[16] & REVOKED:
            return self.book.settle(user, who.address, time)
        memcpy(&first, PyBytes_AS_STRING(value), 8)
        memcpy(&last, PyBytes_AS_STRING(value) + 8, 8)
        if not 0 <= time - last < GRAIN:
            if isinf(first) and first < 0:
                first = time
            if time < first:
                first = time
            if time > last:
                last = time
            self.logins.put(key, shard, True, pack_login(first, last, 0), last - first >= DAY, place)
        return True

    cdef int login(self, uint64_t user, Who who, double time) except -1:
        """`Book.login`."""
        cdef Place place = NOWHERE
        cdef Py_ssize_t shard
        cdef bytes value
        cdef object key
        cdef double first, last
        if not self.settle(user, who, time):
            return 0
        shard = who.source_shard(self.sources)
        value = self.sources.get(who.source, shard, &place)
        self.earn(self.sources, who.source, shard, who.narrow, time, False, 0, value, place)
        shard = who.network_shard(self.networks)
        value = self.networks.get(who.network(), shard, &place)
        self.earn(self.networks, who.network(), shard, who.narrow, time, False, 0, value, place)
        key = user
        shard = self.users.narrow(user)
        value = self.users.get(key, shard, &place)
        if value is None:
            self.users.put(key, shard, True, pack_login(time, time, 0), False, NOWHERE)
        elif len(value) == LOGIN_SIZE:
            memcpy(&first, PyBytes_AS_STRING(value), 8)
            memcpy(&last, PyBytes_AS_STRING(value) + 8, 8)
            if time - last >= GRAIN:
                self.users.put(
                    key, shard, True, pack_login(first, time, <uint8_t>PyBytes_AS_STRING(value)[16]), True, place
                )
        return 0

    cdef bint good(self, Who who, double time) except *:
        """`Book.source(...).good`."""
        cdef Place place = NOWHERE
        cdef Earned earned
        cdef bytes value
        if self.sources.never(who.low):
            return False
        value = self.sources.get(who.source, who.source_shard(self.sources), &place)
        if value is None:
            return False
        if len(value) < RECORD_SIZE:
            return self.book.source(who.address).good(time)
        read_earned(PyBytes_AS_STRING(value), &earned)
        if earned.flags & REVOKED:
            return False
        return (
            earned.mail_days >= DAYS and earned.mail1 <= time - RIPE and earned.mail2 >= time - AGE
            or earned.login_days >= DAYS and earned.login1 <= time - RIPE and earned.login2 >= time - AGE
        )

    cdef bint known(self, uint64_t user, Who who, double time) except *:
        """`Book.known`."""
        cdef Place place = NOWHERE
        cdef uint64_t number = who.with_user(user)
        cdef bytes value
        cdef double first, last
        if self.logins.never(number):
            return False
        value = self.logins.get(number, self.logins.narrow(number), &place)
        if value is None:
            return False
        if len(value) != LOGIN_SIZE:
            return self.book.known(user, who.address, time)
        memcpy(&first, PyBytes_AS_STRING(value), 8)
        memcpy(&last, PyBytes_AS_STRING(value) + 8, 8)
        return not PyBytes_AS_STRING(value)[16] & REVOKED and first <= time and last >= time - AGE
