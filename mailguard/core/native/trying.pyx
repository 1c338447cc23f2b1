"""Many settings over one set of events, in figures alone: the engine and the ban timeline of a replay once more, on
numbers and arrays only.

`Tried` takes the events once; `run` then says in a tenth of a microsecond for each event what an engine of some
settings would have banned, whom that would have caught, stopped and hurt. It makes no offence, no evidence and no
alert. What it decides is what `core.engine`, `detectors`, `window`, `standing`, `policy`, `bans` and
`replay.timeline` decide: they are the reference, and `tests/tuning` holds the two together. Where something could
happen that is not worked out here (somebody gives way to somebody, a history of more than a year), `why_not` or
`run` say so, and the caller asks the reference.

Bounds: keys are numbers given here and looked up in arrays of as many; a record is written after the room for it
was made.
"""

cimport cython
from libc.math cimport INFINITY, NAN, floor, fmod
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, qsort, realloc
from libc.string cimport memmove, memset

from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc, PyMem_Realloc

from ...model import HOSTILE, VALUE_FIELD
from ...notation import V6
from ..detectors import KIND_NUMBER, SCOPE_NUMBER
from ..networks import network_key, source_key, source_value
from ..policy import FORGIVEN, SLOW

cdef int LOCKED_OUT = KIND_NUMBER["locked_out"]

INTERFACE = 3

include "trying_row.pxi"
include "trying_numbers.pxi"
include "trying_who.pxi"
include "trying_rows.pxi"
include "trying_columns.pxi"
include "trying_keep.pxi"
include "trying_state.pxi"
include "trying_policy.pxi"
include "trying_run.pxi"
