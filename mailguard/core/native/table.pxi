# The way in and out of a `Table` for what happens all the time: a key that is there, a new weak key where there
# is room, a weak key that grows strong. Everything else (giving way, dropping, sweeping) the Table does itself,
# so there is one account of who gives way to whom. Included by engine.pyx.

cdef object V6_ = V6
cdef object TWO64_ = 1 << 64

cdef enum Place:
    NOWHERE = 0
    WEAK = 1
    STRONG = 2


include "sieve.pxi"


cdef class Shelf:
    """Sees into one `Table`: the very same dictionaries."""

    cdef object table
    cdef list weak, strong
    cdef bytearray sieve_
    cdef uint8_t *sieve
    cdef list fresh  # of one dictionary: what changed; empty: nobody asks
    cdef uint64_t salt, count, wide, step
    cdef Py_ssize_t room, strong_room
    cdef bint told, told_narrow  # somebody wants to know which keys come, also of those below 2**64
    cdef dict in48, in32  # the counts of a `Quota`, which is all that wants to know; None: there is none
    cdef Py_ssize_t per48, per32

    def __init__(self, object table):
        hook = table.on_enter
        self.table = table
        self.weak, self.strong, self.fresh = table._weak, table._strong, table._fresh
        self.salt, self.count = table._salt, table._count
        self.sieve_ = table.sieve
        self.sieve = sieve_of(self.sieve_)
        self.wide, self.step = (1 << 128) % table._count, (1 << 64) % table._count
        self.room, self.strong_room = table._room, table._strong_room
        self.told = hook is not None
        quota = getattr(hook, "__self__", None)
        self.told_narrow = self.told
        if isinstance(quota, Quota):
            self.in48, self.in32, self.per48, self.per32 = quota._in48, quota._in32, quota.per48, quota.per32
            self.told = self.told_narrow = False

    cdef inline Py_ssize_t narrow(self, uint64_t key) noexcept:
        """The shard of a key below 2**64."""
        return <Py_ssize_t>((key ^ self.salt) % self.count)

    cdef inline Py_ssize_t broad(self, uint64_t high) noexcept:
        """The shard of the key 2**128 + high * 2**64. (The salt falls into the bits that are 0.)"""
        return <Py_ssize_t>(
            (self.wide + (high % self.count) * self.step + self.salt % self.count) % self.count
        )

    cdef inline bint never(self, uint64_t low) noexcept:
        """No such key ever came; of a key of an IPv6 network `low` is its upper half."""
        return not came_by(self.sieve, low)

    cdef inline void came(self, object key) noexcept:
        """Note that the key came."""
        cdef uint64_t place = sieve_low(key) * <uint64_t>0x9E3779B97F4A7C15 >> 64 - SIEVE
        self.sieve[place >> 3] |= <uint8_t>(1 << (place & 7))

    cdef bytes get(self, object key, Py_ssize_t shard, Place *place):
        """The value, None where there is none; `place` says where it was."""
        cdef PyObject *found = PyDict_GetItemWithError(<dict>self.strong[shard], key)
        if found != NULL:
            place[0] = STRONG
            return <bytes>found
        found = PyDict_GetItemWithError(<dict>self.weak[shard], key)
        if found != NULL:
            place[0] = WEAK
            return <bytes>found
        place[0] = NOWHERE
        return None

    cdef int put(
        self, object key, Py_ssize_t shard, bint narrow, bytes value, bint strong, Place place
    ) except -1:
        """Keep `value` under a key that `get` just found in `place`; `narrow`: it is below 2**64."""
        cdef dict weak = <dict>self.weak[shard], firm = <dict>self.strong[shard]
        cdef object told
        if place == STRONG:
            firm[key] = value
        elif place == WEAK and not strong:
            weak[key] = value
        elif place == WEAK and len(firm) < self.strong_room:
            del weak[key]
            firm[key] = value
        elif (
            place == NOWHERE
            and not strong
            and not (self.told_narrow if narrow else self.told)
            and len(firm) + len(weak) < self.room
        ):
            self.came(key)
            if not narrow and self.in48 is not None:
                self.enter(key)
            weak[key] = value
        else:
            self.table.put(key, value, strong)
            return 0
        if len(self.fresh):
            told = value
            if strong or place == STRONG:
                told = PyTuple_New(1)
                Py_INCREF(value)
                PyTuple_SET_ITEM(told, 0, value)
                PyObject_GC_UnTrack(<void *>told)  # it holds no more than bytes
            (<dict?>self.fresh[0])[key] = told
        return 0

    cdef int enter(self, object key) except -1:
        """`Quota._enter` of a key of IPv6."""
        cdef object part = key >> 80
        cdef PyObject *found = PyDict_GetItemWithError(self.in48, part)
        self.in48[part] = 1 if found == NULL else <object>found + 1
        part = key >> 96
        found = PyDict_GetItemWithError(self.in32, part)
        self.in32[part] = 1 if found == NULL else <object>found + 1
        return 0

    cdef bint roomy(self, object key) except *:
        """Its networks have not used up their quota: a key of IPv6 that is not there comes as it is."""
        cdef PyObject *found = PyDict_GetItemWithError(self.in48, key >> 80)
        if found != NULL and <Py_ssize_t><object>found >= self.per48:
            return False
        found = PyDict_GetItemWithError(self.in32, key >> 96)
        return found == NULL or <Py_ssize_t><object>found < self.per32

    cdef int amend(self, object key, Py_ssize_t shard, bytes value, Place place) except -1:
        """`Table.amend` of a key that `get` just found in `place`."""
        (<dict>(self.strong if place == STRONG else self.weak)[shard])[key] = value
        return 0


cdef inline uint64_t sieve_low(object key) noexcept:
    """The 64 bits of a key that `table.sieve_place` looks at."""
    cdef int beyond = 0
    PyLong_AsLongLongAndOverflow(key, &beyond)
    if beyond == 0 or key < TWO64_:
        return PyLong_AsUnsignedLongLongMask(key)
    return PyLong_AsUnsignedLongLongMask(key >> SHIFT)
