"""The compiled twins of `Lines.write`'s rows, of `Redactor.line` for plain lines, of `writer.latest` and of
`deltas.pack`.

Memory safety: lines and texts are looked at within their own lengths. Of packing.pxi see there.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_AsUnsignedLongLongMask
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy

from json import dumps

from ...notation import V6
from ..redact import LINE, PERSONAL, Known

cdef extern from "Python.h":
    PyObject *PyDict_GetItemWithError(object mapping, object key) except? NULL
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    bint PyTuple_Check(object one)
    Py_ssize_t PyTuple_GET_SIZE(object one)
    PyObject *PyTuple_GET_ITEM(object one, Py_ssize_t at)

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    /* struct sched_attr, linux/sched/types.h: the first 48 bytes, which stand since Linux 3.14 */
    struct mg_sched {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    };
    static int mg_scheduled(struct mg_sched *now) {
    #if defined(SYS_sched_getattr) && defined(SYS_sched_setattr)
        memset(now, 0, sizeof(*now));
        return syscall(SYS_sched_getattr, 0, now, (unsigned)sizeof(*now), 0) == 0;
    #else
        return 0;
    #endif
    }
    static int mg_unhurried(uint64_t slice) {
    #if defined(SYS_sched_getattr) && defined(SYS_sched_setattr)
        struct mg_sched now;
        if (!mg_scheduled(&now) || (now.policy != 0 && now.policy != 3)) /* SCHED_OTHER, SCHED_BATCH */
            return 0;
        now.size = sizeof(now);
        now.runtime = slice;
        return syscall(SYS_sched_setattr, 0, &now, 0) == 0;
    #else
        return 0;
    #endif
    }
    """
    void *memmem(const void *text, size_t size, const void *part, size_t wide) nogil
    struct mg_sched:
        uint32_t policy
        int32_t nice
        uint64_t runtime
    bint mg_scheduled(mg_sched *now) nogil
    bint mg_unhurried(uint64_t slice) nogil

INTERFACE = 5


def unhurried(uint64_t slice):
    """Ask the scheduler for turns of so many nanoseconds for this thread, and thereby to let every thread with
    shorter turns (of whatever program) go before it at once; its share of the processor stays. Whether the
    kernel took it: Linux 6.12 and later heeds it (SCHED_OTHER, sched_setattr(2)), earlier ones pass over it."""
    return mg_unhurried(slice)


def scheduled():
    """Policy, nice value and turn in nanoseconds (0 where the kernel does not tell) of this thread; None: nobody
    tells. For tests."""
    cdef mg_sched now
    return (now.policy, now.nice, now.runtime) if mg_scheduled(&now) else None

cdef enum:
    SHORT = 4       # a value no longer than this is replaced where it stands alone only
    RUN = 16        # letters before a `=` that may be a secret
    BITS = 18       # see core.table.SIEVE
    EVENT = 12      # values of an Event
    EARLY = 6       # events whose pieces are fetched meanwhile

cdef uint64_t ONES = 0x0101010101010101, HIGHS = 0x8080808080808080
cdef Py_ssize_t LONGEST = LINE
cdef tuple NAMES = PERSONAL
cdef object V6_ = V6


cdef bint _letters(const char *text) noexcept nogil:
    """RUN letters of base64 stand there, without `=`."""
    cdef int at
    cdef char one
    for at in range(RUN):
        one = text[at]
        if not (97 <= one <= 122 or 65 <= one <= 90 or 47 <= one <= 57 or one == 43):
            return False
    return True


cdef inline const char *_next(const char *at, const char *end, int letter) noexcept nogil:
    """Where the letter stands next; NULL: nowhere."""
    return <const char *>memchr(at, letter, end - at)


cdef bint _careful(const char *text, Py_ssize_t size) noexcept nogil:
    """A word stands in it that may announce a secret, or so much base64: see `redact.secrets_out`.

    Each word is looked for by its rarest letter. What is told of a word here is true of every text in which its
    pattern finds something, and "SASL LOGIN authentication failed" and "lost connection after AUTH from" are
    not left to Python.
    """
    cdef const char *end = text + size
    cdef const char *at
    cdef int letter
    at = _next(text, end, 61)
    while at != NULL:  # =: base64, or pass=
        if at - text >= RUN and _letters(at - RUN) or at - text >= 4 and not memcmp(at - 4, b"pass", 4):
            return True
        at = _next(at + 1, end, 61)
    at = _next(text, end, 112)
    while at != NULL:  # p
        if at - text >= 3 and not memcmp(at - 3, b"res", 3):
            return True
        if end - at >= 5 and at[4] == 58 and not memcmp(at, b"pass", 4):
            return True
        at = _next(at + 1, end, 112)
    for letter in range(87, 120, 32):  # W, w
        at = _next(text, end, letter)
        while at != NULL:
            if at - text >= 3 and not memcmp(at - 3, b"ass" if letter == 119 else b"ASS", 3):
                return True
            at = _next(at + 1, end, letter)
    at = _next(text, end, 80)
    while at != NULL:  # P
        if end - at >= 5 and not memcmp(at, b"PASS ", 5):
            return True
        at = _next(at + 1, end, 80)
    at = _next(text, end, 85)
    while at != NULL:  # U
        if at > text and end - at >= 5 and (at - 1)[0] == 65 and at[1] == 84 and at[2] == 72:  # AUTH
            if at[3] == 69 or at[3] == 32 and at[4] in (80, 76, 88, 79):  # PLAIN, LOGIN, XOAUTH2, OAUTHBEARER
                return True
        at = _next(at + 1, end, 85)
    at = _next(text, end, 71)
    while at != NULL:  # G
        if at - text >= 3 and end - at >= 4 and not memcmp(at - 3, b" LOGIN ", 7):
            if end - at < 19 or memcmp(at + 4, b"authentication ", 15):
                return True
        at = _next(at + 1, end, 71)
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


cdef bint _plain(const char *data, Py_ssize_t size) noexcept nogil:
    """Printable ASCII, all of it. Eight at a time: what has a bit of `HIGHS` is below 32, 127 or above."""
    cdef uint64_t eight, found = 0
    cdef Py_ssize_t at = 0
    while size - at >= 8:
        memcpy(&eight, data + at, 8)
        found |= eight | (eight - ONES * 32) | (eight + ONES)
        at += 8
    if found & HIGHS:
        return False
    while at < size:
        if not 32 <= data[at] < 127:
            return False
        at += 1
    return True


cdef bytearray _line(bytes raw, dict fields, redactor, object known, dict short_forms, bint full):
    """`Redactor.line` of a plain line, as UTF-8; None: it is to be asked."""
    cdef const char *data = PyBytes_AS_STRING(raw)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(raw), wide, long, times = 0
    cdef object value = None
    cdef bytearray made
    cdef const char *end
    cdef const char *name
    cdef const char *by
    cdef const char *at
    cdef const char *found
    cdef char *into
    cdef PyObject *one
    while size and (data[size - 1] == 10 or data[size - 1] == 13):
        size -= 1
    if not _plain(data, size):
        return None
    if not full:
        for key in NAMES:
            one = PyDict_GetItemWithError(fields, key)
            if one == NULL or not <object>one or <object>one == value:
                continue
            if known is not None and _shown(known, <object>one):
                continue  # as `Redactor.shown`
            if value is not None:
                return None
            value = <object>one
    if value is None:
        if size > LONGEST or _careful(data, size):
            return None
        return PyByteArray_FromStringAndSize(data, size)
    if type(value) is not str or PyUnicode_GET_LENGTH(value) <= SHORT or not PyUnicode_IS_COMPACT_ASCII(value):
        return None
    name = PyUnicode_AsUTF8AndSize(value, &wide)
    end = data + size
    found = <const char *>memmem(data, size, name, wide)
    if found == NULL:
        return None
    one = PyDict_GetItemWithError(short_forms, value)
    short = redactor._short(value) if one == NULL else <object>one
    by = PyUnicode_AsUTF8AndSize(short, &long)
    at = found
    while at != NULL:
        times += 1
        at += wide
        at = <const char *>memmem(at, end - at, name, wide)
    if size + times * (PyUnicode_GET_LENGTH(short) - PyUnicode_GET_LENGTH(value)) > LONGEST:
        return None
    made = PyByteArray_FromStringAndSize(NULL, size + times * (long - wide))
    into = PyByteArray_AS_STRING(made)
    at = data
    while found != NULL:
        memcpy(into, at, found - at)
        into += found - at
        memcpy(into, by, long)
        into += long
        at = found + wide
        found = <const char *>memmem(at, end - at, name, wide)
    memcpy(into, at, end - at)
    if _careful(PyByteArray_AS_STRING(made), PyByteArray_GET_SIZE(made)):
        return None
    return made


def line(bytes raw, dict fields, redactor):
    """`Redactor.line` of a plain line; None: it is to be asked."""
    made = _line(raw, fields, redactor, redactor.known, redactor._names, redactor.full)
    return None if made is None else made.decode()


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


cdef inline void _soon(object event) noexcept:
    """Have what a row is made of brought from memory: it was made long ago, by another processor perhaps."""
    cdef const char *raw
    if not PyTuple_Check(event) or PyTuple_GET_SIZE(event) != EVENT:
        return
    prefetch(PyTuple_GET_ITEM(event, 1))
    prefetch(PyTuple_GET_ITEM(event, 5))
    prefetch(PyTuple_GET_ITEM(event, 7))
    raw = <const char *>PyTuple_GET_ITEM(event, 11)
    prefetch(raw)
    prefetch(raw + 64)
    prefetch(raw + 128)


def newest(list batches, Py_ssize_t most):
    """`evidence.newest`."""
    cdef dict counts = {}
    cdef list kept = [], looked = [], batch
    cdef object source, event
    cdef Py_ssize_t at, count
    cdef PyObject *before
    for batch in reversed(batches):
        for at in range(len(batch) - 1, -1, -1):
            event = batch[at]
            if not PyTuple_Check(event) or PyTuple_GET_SIZE(event) != EVENT:
                raise TypeError("no event")
            source = <object>PyTuple_GET_ITEM(event, 2)
            if source is None:
                continue
            before = PyDict_GetItemWithError(counts, source)
            count = 1 if before == NULL else <Py_ssize_t><object>before + 1
            if count > most:
                continue
            counts[source] = count
            kept.append(event)
            if count == most >> 1 or count == 1 and not <object>PyTuple_GET_ITEM(event, 7) & 7:
                looked.append(source)
    kept.reverse()
    return kept, looked


def bindable(object source):
    """`evidence.bindable`."""
    return _address(source)


def values(list events, redactor, storable):
    """`Lines._values`; a line is the UTF-8 of its text."""
    cdef list found = []
    cdef object last = None, log = "", text, shown, known = redactor.known
    cdef dict short_forms = redactor._names
    cdef bint full = redactor.full
    cdef Py_ssize_t at, count = len(events)
    for at in range(min(EARLY, count)):
        _soon(events[at])
    for at in range(count):
        if at + EARLY < count:
            _soon(events[at + EARLY])
        kind, time, source, rule, weight, fields, name, position, _, _, _, raw = events[at]
        if name is not last:
            last, log = name, storable(name)
        shown = "{}"
        text = _line(raw, fields, redactor, known, short_forms, full)
        if text is None:
            text = redactor.line(raw, fields)
            if not text:
                shown = dumps(redactor.fields(fields), ensure_ascii=False)
            text = bytearray(text.encode())
        elif not text:
            shown = dumps(redactor.fields(fields), ensure_ascii=False)
        found += (_address(source), time, kind, rule, log, position, weight, text, shown)
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
