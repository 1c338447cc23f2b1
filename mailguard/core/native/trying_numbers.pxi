# Numbers for texts and keys, given in the order of their coming. Included by trying.pyx.

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
