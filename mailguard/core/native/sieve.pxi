# Which keys may be in a table or among bans: `Table.sieve`. Included by table.pxi and flow.pyx.

cdef enum:
    SIEVE = 18  # as table.SIEVE


cdef uint8_t *sieve_of(bytearray sieve) except NULL:
    """The bits of a sieve, which nobody makes longer or shorter."""
    if len(sieve) != 1 << SIEVE - 3:
        raise ValueError("a sieve of another size")
    return <uint8_t *>PyByteArray_AS_STRING(sieve)


cdef inline bint came_by(const uint8_t *sieve, uint64_t low) noexcept:
    """A key with these 64 bits may have come; False is certain."""
    cdef uint64_t place = low * <uint64_t>0x9E3779B97F4A7C15 >> 64 - SIEVE
    return sieve[place >> 3] >> (place & 7) & 1
