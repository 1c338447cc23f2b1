# The row of an open session as `sessions._pack` makes it. Included by sessions.pyx.

from json import JSONEncoder

cdef enum:
    ROW = 34  # "<ddB17s"
    MOST_KEPT = 4096  # bytes of a row that is made here
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


cdef inline char *put_word(char *into, char *end, const char *word, Py_ssize_t size) noexcept:
    """Bytes, and where the next come; NULL: there is no room, or was none."""
    if into == NULL or end - into < size:
        return NULL
    memcpy(into, word, size)
    return into + size


cdef char *put_text(char *into, char *end, object text) except? NULL:
    """A text as JSON writes it, where that is as it is; NULL: it is not, or there is no room, or was none."""
    cdef const uint8_t *data
    cdef Py_ssize_t at, size
    if into == NULL or type(text) is not str or not PyUnicode_IS_COMPACT_ASCII(text):
        return NULL
    size = PyUnicode_GET_LENGTH(text)
    if end - into < size + 2:
        return NULL
    data = <const uint8_t *>PyUnicode_1BYTE_DATA(text)
    into[0] = 34
    for at in range(size):
        if data[at] < 32 or data[at] > 126 or data[at] == 34 or data[at] == 92:
            return NULL
        into[1 + at] = <char>data[at]
    into[1 + size] = 34
    return into + size + 2
