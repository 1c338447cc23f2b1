# What was told, joined and in order, as plain bytes: sessions write it; engine and timeline read it. Included by
# them, behind row.pxi.

cdef enum:
    TOLD_SOURCE = 1  # bits, as of a Row
    TOLD_NARROW = 2
    TOLD_MAY_BAN = 4
    TOLD_OBJECT = 16  # it is an Event: `text` is its place among the objects; kind, time and source stand here too
    TOLD_UNKNOWN = 0xFF  # as a kind: none of those that are known
    FIELD_HEAD = 4  # bytes before the text of a field: two of its length, its name, and whether it was proved


cdef struct Heard:
    # Behind `text` stand the fields, each with a head. A length there is that of UTF-8.
    double time
    int64_t position
    uint64_t low, rest  # as in a Row
    uint32_t text  # place in the texts
    int32_t weight
    uint16_t rule, log  # places in the lists of rules and logs
    uint8_t kind, scope, bits, fields


cdef struct Text:  # of a field
    const uint8_t *at
    Py_ssize_t length
    bint proved


cdef inline bint field_of(const Heard *one, const uint8_t *texts, uint8_t name, Text *into) noexcept nogil:
    """The field with this number; False: there is none."""
    cdef const uint8_t *at = texts + one.text
    cdef uint16_t length
    cdef int number
    for number in range(one.fields):
        memcpy(&length, at, 2)
        if at[2] == name:
            into.at, into.length, into.proved = at + FIELD_HEAD, length, at[3] != 0
            return True
        at += FIELD_HEAD + length
    return False
