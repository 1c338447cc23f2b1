# The compiled twin of `deltas.pack`. Included by keep.pyx.
#
# The values of a checkpoint lie anywhere, and are cold: they were made up to half a second ago. So they are looked
# for several at a time, and both the looking and the copying go on without Python's lock: the judge, which waits
# for nothing here, may want it.
#
# Memory safety: whoever hands in a part does not change it any more (`model.Changes`), so its dictionary holds
# what is looked at without the lock, and all of that is immutable: types, lengths and contents of `bytes`. The
# bytes written are as many as were summed from the very objects that are copied.

cdef extern from *:
    """
    #if defined(__GNUC__) || defined(__clang__)
    #define prefetch(place) __builtin_prefetch(place)
    #else
    #define prefetch(place) ((void)(place))
    #endif
    #define KIND_OTHER 0
    #define KIND_NONE 1
    #define KIND_NUMBER 2
    #define KIND_BYTES 3
    #define KIND_TUPLE 4
    static int kind_of(const PyObject *one) {
        if (PyBytes_CheckExact(one)) return KIND_BYTES;
        if (PyLong_CheckExact(one)) return KIND_NUMBER;
        if (PyTuple_CheckExact(one) && ((const PyVarObject *) one)->ob_size == 1) return KIND_TUPLE;
        return one == Py_None ? KIND_NONE : KIND_OTHER;
    }
    static PyObject *only_of(PyObject *one) { return ((PyTupleObject *) one)->ob_item[0]; }
    static const char *content_of(PyObject *one) { return ((PyBytesObject *) one)->ob_sval; }
    static Py_ssize_t length_of(PyObject *one) { return ((PyVarObject *) one)->ob_size; }
    """
    enum:
        KIND_NONE
        KIND_NUMBER
        KIND_BYTES
        KIND_TUPLE
    void prefetch(const void *place) nogil
    int kind_of(const PyObject *one) nogil
    PyObject *only_of(PyObject *one) nogil
    const char *content_of(PyObject *one) nogil
    Py_ssize_t length_of(PyObject *one) nogil

cdef extern from "Python.h":
    bint PyDict_Next(object mapping, Py_ssize_t *at, PyObject **key, PyObject **value)

cdef enum:
    HEAD = 9        # bytes of a packed checkpoint before the names: version, rows, length of the names
    VERSION = 1
    AHEAD = 12      # pieces that are fetched meanwhile
    NUMBER = 24     # most bytes of a key that is a number: more is no key of ours
    UNMARKED = 2

cdef struct Piece:  # one row
    PyObject *key
    PyObject *value  # as it was told; once looked at: the bytes, NULL: deleted
    const char *prefix
    int32_t before  # bytes of the prefix
    int32_t width  # of the value with its mark, -1: deleted
    uint32_t length  # of the key with its prefix
    uint16_t table
    uint8_t mark  # what comes before the value; UNMARKED: nothing
    uint8_t number  # bytes of the key, where it is one
    uint8_t[NUMBER] digits


cdef object WORD = 64
cdef bytes NOTHING = b""


def pack(list rows, list parts=None):
    """`deltas.pack` of the rows of a `model.Changes`."""
    cdef dict numbers = {}
    cdef list held = []  # what the pieces point into
    cdef Py_ssize_t count = 0, at, wrong
    cdef Py_ssize_t keys = 0, contents = 0, size
    cdef Piece *pieces
    cdef char *into
    cdef char *words
    cdef bytes names, made
    parts = [] if parts is None else parts
    for row in rows:
        name, key, value = row
        if type(name) is not str or type(key) is not bytes or value is not None and type(value) is not bytes:
            raise TypeError("a row is a table, a key and a value, or None in its place")
        numbers.setdefault(name, len(numbers))
        held.append(row if type(row) is tuple else (name, key, value))
    count = len(held)
    for name, prefix, values in parts:
        if type(name) is not str or type(prefix) is not bytes or type(values) is not dict:
            raise TypeError("a part is a table, a prefix and a dictionary")
        if len(<bytes>prefix) > 0xFFFF:
            raise ValueError("the prefix of a part is too long")
        if not values:
            continue
        numbers.setdefault(name, len(numbers))
        count += len(<dict>values)
        held.append((name, prefix, values))
    if not count:
        return b""
    names = "\n".join(numbers).encode()
    if len(numbers) > 0xFFFF or count > 0x7FFFFFFF:
        raise OverflowError("a checkpoint of too many rows")
    pieces = <Piece *>PyMem_RawMalloc(count * sizeof(Piece))
    if pieces == NULL:
        raise MemoryError
    try:
        lay(pieces, count, held, len(rows), numbers)
        with nogil:
            wrong = look(pieces, count)
        if wrong >= 0:
            raise TypeError("a part holds numbers with bytes or tuples of them, or bytes with bytes, or None")
        for at in range(count):
            if pieces[at].number:
                digits(&pieces[at])
            keys += pieces[at].length
            contents += max(0, pieces[at].width)
        made = PyBytes_FromStringAndSize(NULL, HEAD + len(names) + 10 * count + keys + contents)
        into, words, size = PyBytes_AS_STRING(made), PyBytes_AS_STRING(names), len(names)
        with nogil:
            write(pieces, count, into, words, size, keys)
    finally:
        PyMem_RawFree(pieces)
    return made


cdef int lay(Piece *pieces, Py_ssize_t count, list held, Py_ssize_t rows, dict numbers) except -1:
    """Where the keys and values are, one piece for each row."""
    cdef Py_ssize_t number, at = 0, place
    cdef PyObject *key = NULL
    cdef PyObject *value = NULL
    cdef dict values
    cdef bytes prefix
    cdef uint16_t table
    for number in range(len(held)):
        if number < rows:
            name, content, told = <tuple>held[number]
            pieces[at].key, pieces[at].value = <PyObject *>content, <PyObject *>told
            pieces[at].prefix, pieces[at].before, pieces[at].table = PyBytes_AS_STRING(NOTHING), 0, numbers[name]
            at += 1
            continue
        name, prefix, values = <tuple>held[number]
        table, place = numbers[name], 0
        while PyDict_Next(values, &place, &key, &value):
            if at >= count:
                raise RuntimeError("the rows changed")
            pieces[at].key, pieces[at].value = key, value
            pieces[at].prefix, pieces[at].before = PyBytes_AS_STRING(prefix), <int32_t>len(prefix)
            pieces[at].table = table
            at += 1
    if at != count:
        raise RuntimeError("the rows changed")
    return 0


cdef Py_ssize_t look(Piece *pieces, Py_ssize_t count) noexcept nogil:
    """How long keys and values are; the place of a piece that is none, -1: there is none such."""
    cdef Py_ssize_t at, size
    cdef Piece *one
    cdef int kind
    for at in range(count):  # what stands in tuples is a step further away
        if at + AHEAD < count:
            prefetch(pieces[at + AHEAD].key)
            prefetch(pieces[at + AHEAD].value)
        one = &pieces[at]
        kind = kind_of(one.key)
        one.mark, one.number, one.length = UNMARKED, 0, 0
        if kind == KIND_NUMBER:
            one.number, one.mark = NUMBER, 0
        elif kind == KIND_BYTES and length_of(one.key) <= 0x7FFFFFFF:
            one.length = <uint32_t>(one.before + length_of(one.key))
        else:
            return at
        kind = kind_of(one.value)
        if kind == KIND_TUPLE and one.number:
            one.value, one.mark = only_of(one.value), 1
        elif kind == KIND_NONE:
            one.value = NULL
        elif kind != KIND_BYTES:
            return at
    for at in range(count):
        if at + AHEAD < count and pieces[at + AHEAD].mark == 1:
            prefetch(pieces[at + AHEAD].value)
        one = &pieces[at]
        one.width = -1
        if one.value == NULL:
            continue
        if one.mark == 1 and kind_of(one.value) != KIND_BYTES:
            return at
        size = length_of(one.value) + (one.mark != UNMARKED)
        if size > 0x7FFFFFFF:
            return at
        one.width = <int32_t>size
    return -1


cdef int digits(Piece *one) except -1:
    """The key as the shortest bytes, the highest first."""
    cdef uint64_t[3] parts
    cdef object rest = <object>one.key, high
    cdef int at, begin = 0, beyond = 0
    cdef long long low = PyLong_AsLongLongAndOverflow(rest, &beyond)
    if beyond < 0 or not beyond and low < 0:
        raise ValueError("a key is below 0")
    parts[0] = PyLong_AsUnsignedLongLongMask(rest)
    parts[1] = parts[2] = 0
    if beyond:
        high = rest >> WORD
        parts[1] = PyLong_AsUnsignedLongLongMask(high)
        high = high >> WORD
        if high > 0xFFFFFFFFFFFFFFFF:
            raise ValueError("a key is too large")
        parts[2] = PyLong_AsUnsignedLongLongMask(high)
    for at in range(NUMBER):
        one.digits[at] = <uint8_t>(parts[2 - (at >> 3)] >> (8 * (7 - (at & 7))))
    while begin < NUMBER - 1 and one.digits[begin] == 0:
        begin += 1
    one.number = <uint8_t>(NUMBER - begin)
    one.length = <uint32_t>(one.before + one.number)
    return 0


cdef void write(
    const Piece *pieces, Py_ssize_t count, char *into, const char *names, Py_ssize_t size, Py_ssize_t keys
) noexcept nogil:
    """All of it; `keys` is how many bytes the keys are."""
    cdef char *tables = into + HEAD + size
    cdef char *lengths = tables + 2 * count
    cdef char *widths = lengths + 4 * count
    cdef char *key = widths + 4 * count
    cdef char *value = key + keys
    cdef const Piece *one
    cdef uint32_t whole = <uint32_t>count
    cdef Py_ssize_t at, rest
    into[0] = VERSION
    memcpy(into + 1, &whole, 4)
    whole = <uint32_t>size
    memcpy(into + 5, &whole, 4)
    memcpy(into + HEAD, names, size)
    for at in range(count):
        if at + AHEAD < count and pieces[at + AHEAD].value != NULL:
            prefetch(content_of(pieces[at + AHEAD].value) + 32)
            prefetch(content_of(pieces[at + AHEAD].value) + 96)
        one = &pieces[at]
        memcpy(tables + 2 * at, &one.table, 2)
        memcpy(lengths + 4 * at, &one.length, 4)
        memcpy(widths + 4 * at, &one.width, 4)
        memcpy(key, one.prefix, one.before)
        key += one.before
        if one.number:
            memcpy(key, one.digits + NUMBER - one.number, one.number)
        else:
            memcpy(key, content_of(one.key), one.length - one.before)
        key += one.length - one.before
        if one.value == NULL:
            continue
        rest = one.width
        if one.mark != UNMARKED:
            value[0] = <char>one.mark
            value += 1
            rest -= 1
        memcpy(value, content_of(one.value), rest)
        value += rest
