# A source and its keys, worked out once for an event. Included by engine.pyx.

cdef object P_ = 0xFFFFFFFFFFFFFFC5
cdef enum:
    SHIFT = 64

cdef class Who:
    """The source of the event in hand: `networks.source_key`, `network_key` and so on."""

    cdef object address  # packed, as the event has it
    cdef object source  # the key of the source
    cdef object network_  # the key of its network; None: not worked out yet
    cdef uint64_t low  # IPv4: the address; IPv6: its upper 64 bits
    cdef bint narrow  # IPv4
    cdef bint mixed
    cdef uint64_t mixed_

    cdef bint take(self, object address) except *:
        """False where that is no address that can be told in 64 bits: Python looks at the event."""
        cdef int beyond = 0
        cdef long long number = PyLong_AsLongLongAndOverflow(address, &beyond)
        cdef object high
        self.mixed = False
        self.network_ = None
        self.address = address
        if beyond == 0:
            self.source = address
            self.low = <uint64_t>number
            self.narrow = True
            return number >= 0
        if beyond < 0 or address < V6_:
            return False
        high = address >> SHIFT
        self.source = high << SHIFT
        self.low = PyLong_AsUnsignedLongLongMask(high)
        self.narrow = False
        return True

    cdef inline int tell(self, uint64_t low, bint narrow) except -1:
        """The source of a row."""
        self.mixed, self.network_, self.low, self.narrow = False, None, low, narrow
        self.source = self.address = low if narrow else V6_ + (<object>low << SHIFT)
        return 0

    cdef inline uint64_t wide(self) noexcept:
        """`low` of its network's key."""
        return self.low & ~<uint64_t>0xFF if self.narrow else self.low & ~<uint64_t>0xFFFF

    cdef inline object network(self):
        """The key of its /24 or /48."""
        if self.network_ is None:
            self.network_ = self.low & ~<uint64_t>0xFF if self.narrow else self.source >> 80 << 80
        return self.network_

    cdef inline Py_ssize_t source_shard(self, Shelf shelf) noexcept:
        return shelf.narrow(self.low) if self.narrow else shelf.broad(self.low)

    cdef inline Py_ssize_t network_shard(self, Shelf shelf) noexcept:
        return shelf.narrow(self.low & ~<uint64_t>0xFF) if self.narrow else shelf.broad(self.low & ~<uint64_t>0xFFFF)

    cdef inline uint64_t with_user(self, uint64_t user) except? 0:
        """`keys.user_network`."""
        if not self.mixed:
            if self.narrow:
                self.mixed_ = (self.low & ~<uint64_t>0xFF) * <uint64_t>0x9E3779B97F4A7C15
            else:
                self.mixed_ = <uint64_t>(self.network() % P_) * <uint64_t>0x9E3779B97F4A7C15
            self.mixed = True
        return user ^ self.mixed_

    cdef inline uint64_t value(self) noexcept:
        """`networks.source_value`."""
        return self.low if self.narrow or self.low >> 32 else 0
