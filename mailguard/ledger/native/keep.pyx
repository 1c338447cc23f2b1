"""The compiled twins of `Lines.write`'s rows, of `Redactor.line` for plain lines, of `writer.latest` and of
`deltas.pack`.

Memory safety: lines and texts are looked at within their own lengths. Of packing.pxi see there.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_AsUnsignedLongLongMask
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_DecodeASCII, PyUnicode_Replace
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from json import dumps

from ...notation import V6
from ..redact import LINE, PERSONAL, Known

cdef extern from "Python.h":
    PyObject *PyDict_GetItemWithError(object mapping, object key) except? NULL
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    bint PyUnicode_IS_COMPACT_ASCII(object text)

INTERFACE = 3

cdef enum:
    SHORT = 4       # a value no longer than this is replaced where it stands alone only
    RUN = 16        # letters before a `=` that may be a secret
    BITS = 18       # see core.table.SIEVE

cdef Py_ssize_t LONGEST = LINE
cdef tuple NAMES = PERSONAL
cdef object V6_ = V6


cdef bint _careful(const char *text, Py_ssize_t size) noexcept:
    """A word stands in it that may announce a secret, or so much base64: see `redact.secrets_out`."""
    cdef Py_ssize_t at, left, run = 0
    cdef char one
    for at in range(size):
        one = text[at]
        left = size - at
        if one == 61:  # =
            if run >= RUN:
                return True
            run = 0
            continue
        if 97 <= one <= 122 or 65 <= one <= 90 or 48 <= one <= 57 or one == 43 or one == 47:
            run += 1
        else:
            run = 0
        if left < 4:
            continue
        if one == 65:  # A
            if not memcmp(text + at, b"AUTH", 4) or not memcmp(text + at, b"ASSW", 4):
                return True
        elif one == 80:  # P
            if not memcmp(text + at, b"PASS", 4):
                return True
        elif one == 97:  # a
            if not memcmp(text + at, b"assw", 4):
                return True
        elif one == 112:  # p
            if left >= 5 and not memcmp(text + at, b"pass", 4) and (text[at + 4] == 61 or text[at + 4] == 58):
                return True
        elif one == 114:  # r
            if not memcmp(text + at, b"resp", 4):
                return True
        elif one == 32:
            if left >= 7 and not memcmp(text + at, b" LOGIN ", 7):
                return True
    return False


cdef bint _shown(object known, object name) except *:
    """`known` of a `Redactor` says that the name is a user's; of a `Known` nearly always without a call."""
    cdef PyObject *found
    cdef bytearray sieve
    cdef uint64_t place
    if type(known) is Known:
        found = PyDict_GetItemWithError(known.hashes, name)
        sieve = known.sieve
        if found != NULL and PyByteArray_GET_SIZE(sieve) == 1 << BITS - 3:  # its places are below that
            place = PyLong_AsUnsignedLongLongMask(<object>found) * <uint64_t>0x9E3779B97F4A7C15 >> 64 - BITS
            if not <uint8_t>PyByteArray_AS_STRING(sieve)[place >> 3] >> (place & 7) & 1:
                return False
    return known(name)


def line(bytes raw, dict fields, redactor):
    """`Redactor.line` of a plain line; None: it is to be asked."""
    cdef const char *data = PyBytes_AS_STRING(raw)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(raw), at
    cdef object value = None, text, short, known = redactor.known
    cdef PyObject *found
    while size and (data[size - 1] == 10 or data[size - 1] == 13):
        size -= 1
    for at in range(size):
        if not 32 <= data[at] < 127:
            return None
    if not redactor.full:
        for name in NAMES:
            found = PyDict_GetItemWithError(fields, name)
            if found == NULL or not <object>found or <object>found == value:
                continue
            if known is not None and _shown(known, <object>found):
                continue  # as `Redactor.shown`
            if value is not None:
                return None
            value = <object>found
    text = PyUnicode_DecodeASCII(data, size, NULL)
    if value is not None:
        if type(value) is not str or PyUnicode_GET_LENGTH(value) <= SHORT or value not in <str>text:
            return None
        found = PyDict_GetItemWithError(redactor._names, value)
        short = redactor._short(value) if found == NULL else <object>found
        text = PyUnicode_Replace(text, value, short, -1)
    if PyUnicode_GET_LENGTH(text) > LONGEST:
        return None
    data = PyUnicode_AsUTF8AndSize(text, &size)
    return None if _careful(data, size) else text


cdef object _address(object source):
    """`evidence.pack`; of IPv6 as bytes that SQLite's driver takes without asking how."""
    cdef char[16] data
    cdef uint64_t part
    cdef int at
    if source < V6_:
        return source
    for at in range(16):
        if at == 0:
            part = PyLong_AsUnsignedLongLongMask(source >> 64)
        elif at == 8:
            part = PyLong_AsUnsignedLongLongMask(source)
        data[at] = <char>(part >> (8 * (7 - (at & 7))) & 0xFF)
    return PyByteArray_FromStringAndSize(data, 16)


def values(dict waiting, redactor, storable):
    """What `Lines.write` writes, nine values for each line."""
    cdef list found = []
    cdef object address, last = None, log = "", text, shown
    for source, queue in waiting.items():
        address = _address(source)
        for kind, time, _, rule, weight, fields, name, position, _, _, _, raw in queue:
            if name is not last:
                last, log = name, storable(name)
            text = line(raw, fields, redactor)
            if text is None:
                text = redactor.line(raw, fields)
            shown = "{}" if text else dumps(redactor.fields(fields), ensure_ascii=False)
            found += (address, time, kind, rule, log, position, weight, text, shown)
    return found


def latest(checkpoints):
    """`writer.latest`."""
    cdef dict tables = {}, here = None
    cdef object name = None
    cdef tuple row
    cdef list found = []
    for rows in checkpoints:
        for row in <list?>rows:
            if row[0] is not name:
                name = row[0]
                here = tables.get(name)
                if here is None:
                    here = tables[name] = {}
            here[row[1]] = row
    for here in tables.values():
        found.extend(here.values())
    return found


include "packing.pxi"
