# The row of an open session as `sessions._pack` makes it. Included by sessions.pyx.

from json import JSONEncoder

cdef enum:
    ROW = 34  # "<ddB17s"
    MOST_PROVED = 256  # sets of names whose words are remembered

cdef object dumps = JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode
cdef dict PROVED = {}
cdef bytes BARE = b"[{},[],{},[]]"


cdef int put_row(char *row, double opened, double used, object source) except -1:
    """The fixed part: `_ROW`."""
    cdef uint64_t parts[3]
    cdef object number = source if source is not None else 0
    cdef int at
    put_little(row, opened)
    put_little(row + 8, used)
    row[16] = 0 if source is None else 2
    parts[0] = PyLong_AsUnsignedLongLongMask(number)
    parts[1] = parts[2] = 0
    if number >> 64:
        parts[1] = PyLong_AsUnsignedLongLongMask(number >> 64)
        parts[2] = PyLong_AsUnsignedLongLongMask(number >> 128)
    for at in range(17):
        row[17 + at] = <char>(parts[(16 - at) >> 3] >> (8 * ((16 - at) & 7)) & 0xFF)
    return 0


cdef inline void put_little(char *into, double value) noexcept:
    cdef uint64_t bits
    cdef int at
    memcpy(&bits, &value, 8)
    for at in range(8):
        into[at] = <char>(bits >> (8 * at) & 0xFF)


cdef bint plain(object text) except *:
    """JSON says it as it is."""
    cdef const uint8_t *data
    cdef Py_ssize_t at
    if type(text) is not str or not PyUnicode_IS_COMPACT_ASCII(text):
        return False
    data = <const uint8_t *>PyUnicode_1BYTE_DATA(text)
    for at in range(PyUnicode_GET_LENGTH(text)):
        if data[at] < 32 or data[at] == 34 or data[at] == 92:
            return False
    return True
