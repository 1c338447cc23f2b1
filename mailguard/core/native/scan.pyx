"""The compiled scan: the equal twin of the Python path of `core/scanner.py`.

Finds the literals of a block, bounds its lines, opens the common prefixes, asks the rules and builds their
events. Whatever is not common (a cut line, another prefix, a message repeated N times, a pattern the machine
does not cover) is handed, as a whole line, to the Python path, before anything was counted or changed; so every
line is read by one of two paths that read alike.

Memory: a block is bytes that this module holds while it looks at them; every index into it is compared with the
end of the line or of the block before it is used. What it allocates is freed when its objects go.
Limits: at most 1024 literals (`Lines` then raises ValueError, and the Python path is used).
"""

from array import array

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_GET_SIZE, PyTuple_New, PyTuple_SET_ITEM
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdlib cimport free, realloc
from libc.string cimport memchr, memcmp, memcpy, memset

from ...model import HOSTILE, KINDS
from ...model import Block
from ...model import Event as _Event
from ...notation import V6
from ..compiled import REST
from ..envelope import EPOST, EPOST_LINE, SYSLOG, Opened
from ..grams import BITS as _BITS
from ..grams import STRIDE as _STRIDE
from ..grams import grams as make_grams
from ..grams import place_of
from ..items import AHEAD as _AHEAD
from ..items import ALL as _ALL
from ..items import EVERY as _EVERY
from ..items import LINE_LIMIT as _LINE_LIMIT
from ..items import MOST_ATTEMPTS as _MOST_ATTEMPTS
from ..items import SAMPLE_EVERY as _SAMPLE_EVERY
from ..items import Draft as _Draft
from ..items import family
from ..pattern.program import Pool, shapes
from ..rules import IGNORE, SCOPES, decode
from ..stamps import HALF_YEAR as _HALF_YEAR

cdef extern from *:
    """
    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    #define little(value) __builtin_bswap32(value)
    #else
    #define little(value) (value)
    #endif
    #if !defined(__linux__) && !defined(__FreeBSD__)
    static const void *memrchr(const void *data, int byte, size_t length) {
        const unsigned char *at = (const unsigned char *) data + length;
        while (at > (const unsigned char *) data)
            if (*--at == (unsigned char) byte)
                return at;
        return 0;
    }
    #endif
    """
    unsigned int little(unsigned int) nogil
    const void *memrchr(const void *, int, size_t) nogil

cdef extern from "Python.h":
    object PyType_GenericAlloc(type, Py_ssize_t)
    void PyObject_GC_UnTrack(void *)
    bint PyUnicode_IS_COMPACT_ASCII(object)
    Py_ssize_t PyUnicode_GET_LENGTH(object)
    void *PyUnicode_DATA(object)

INTERFACE = 7

cdef enum:
    BITS = 16
    STRIDE = 4
    LINE_LIMIT = 8192
    MOST_ATTEMPTS = 65535

cdef object V6_ = V6
cdef dict KIND_NUMBERS = {kind: number for number, kind in enumerate(KINDS)}  # as in core/detectors.py
cdef tuple SCOPE_NAMES = SCOPES
cdef double HALF_YEAR = _HALF_YEAR, AHEAD = _AHEAD
cdef long ALL = _ALL, EVERY = _EVERY
cdef Py_ssize_t SAMPLE_EVERY = _SAMPLE_EVERY
#: Literals that one search may have.
MOST_LITERALS = 1024

if (BITS, STRIDE, LINE_LIMIT, MOST_ATTEMPTS) != (_BITS, _STRIDE, _LINE_LIMIT, _MOST_ATTEMPTS):
    raise ImportError("compiled from another version of mailguard")

include "row.pxi"
include "search.pxi"
include "match.pxi"
include "open.pxi"
include "pack.pxi"
include "rows.pxi"
include "make.pxi"
include "plans.pxi"
include "event.pxi"
include "taking.pxi"
include "lines.pxi"
