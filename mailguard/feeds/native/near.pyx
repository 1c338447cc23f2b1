"""One wait, and the lines that ended it, without Python in between; see `live.LiveFeed` and `tail.Tail.quick`.

Memory safety: notices and the beginning of a file are read into buffers of fixed size; lines go into the arena
between its top and its end, which are compared before they are read.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy, memset

from mailguard.feeds.marks import Imprint
from mailguard.model import Block

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        int fd
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_wait(int epoll, epoll_event *events, int most, int timeout)
    uint32_t EPOLLIN

cdef extern from "<unistd.h>" nogil:
    ssize_t read(int fd, void *data, size_t size)
    ssize_t pread(int fd, void *data, size_t size, int64_t offset)

cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int clock_gettime(int clock, timespec *now)
    int nanosleep(const timespec *wanted, timespec *left)
    int CLOCK_REALTIME
    int CLOCK_MONOTONIC

cdef extern from "<errno.h>" nogil:
    int errno
    int EINTR

INTERFACE = 5

cdef enum:
    MOST = 32           # descriptors told at once; the others are told again
    NOTICES = 4096      # bytes of notices taken at once
    NOTICE = 16         # bytes of one about a file
    MODIFY = 2
    HEAD = 256          # see marks.HEAD
    LIMIT = 8192        # see lines.LIMIT
    PIECE = 1 << 16     # bytes of lines taken at once


cdef uint32_t _crcs[256]


cdef void _table() noexcept:
    cdef uint32_t value
    cdef int at, bit
    for at in range(256):
        value = at
        for bit in range(8):
            value = (value >> 1) ^ (0xEDB88320u if value & 1 else 0)
        _crcs[at] = value


_table()


cdef inline uint64_t _sum(uint32_t crc, uint32_t low, uint32_t high) noexcept nogil:
    """Both sums as one number, as `marks.imprint` has it."""
    return <uint64_t>(crc ^ 0xFFFFFFFFu) << 32 | ((high % 65521) << 16 | low % 65521)


cdef void _sums(const char *one, const char *two, const char *three, uint64_t *found) noexcept nogil:
    """The sums of `marks.imprint` of three times HEAD bytes (too few for Adler's to come round), side by side: each
    step of one waits for the step before."""
    cdef uint32_t crc1 = 0xFFFFFFFFu, crc2 = 0xFFFFFFFFu, crc3 = 0xFFFFFFFFu
    cdef uint32_t low1 = 1, low2 = 1, low3 = 1, high1 = 0, high2 = 0, high3 = 0
    cdef uint8_t byte
    cdef int at
    for at in range(HEAD):
        byte = <uint8_t>one[at]
        crc1 = _crcs[(crc1 ^ byte) & 0xFF] ^ (crc1 >> 8)
        low1 += byte
        high1 += low1
        byte = <uint8_t>two[at]
        crc2 = _crcs[(crc2 ^ byte) & 0xFF] ^ (crc2 >> 8)
        low2 += byte
        high2 += low2
        byte = <uint8_t>three[at]
        crc3 = _crcs[(crc3 ^ byte) & 0xFF] ^ (crc3 >> 8)
        low3 += byte
        high3 += low3
    found[0] = _sum(crc1, low1, high1)
    found[1] = _sum(crc2, low2, high2)
    found[2] = _sum(crc3, low3, high3)


cdef double _clock(int clock) noexcept nogil:
    cdef timespec time
    clock_gettime(clock, &time)
    return time.tv_sec + time.tv_nsec * 1e-9


cdef object _new = tuple.__new__


cdef class Near:
    """The wait of one feed.

    `wait` is one wait, and Python does what follows from it. Between `begin` and `end` stand the waits of a loop
    that is in compiled code too (`core/native/turn.pyx`): the place in the file that grows is kept here meanwhile.
    """

    cdef int _epoll, _inotify
    cdef double _spacing, _burst, _credit, _last
    cdef object _woken
    cdef dict _calls
    cdef readonly double arrival   # wall time at which the last wait ended
    cdef readonly object notices   # bytes that were read from inotify and are still to be dealt with; None
    cdef public object left        # what `take` was told and could not deal with: descriptors as of `wait`; None
    # between `begin` and `end`
    cdef double _until, _gather
    cdef bytearray _data
    # the file that grows
    cdef object _call, _follow, _tail, _label, _may_ban, _timezone, _year, _parsers
    cdef int _fd
    cdef int64_t _offset, _base, _taken
    cdef uint64_t _last_sums, _head_sums
    cdef object _heard             # wall time of the last lines

    def __init__(self, int epoll, int inotify, dict calls, woken, double spacing, double burst):
        """`calls`: by watch, what is called when it changed; those of the type `woken` have `follow` and `tail`.
        `spacing` and `burst` as in `live`."""
        self._epoll, self._inotify, self._calls, self._woken = epoll, inotify, calls, woken
        self._spacing, self._burst, self._credit, self._last = spacing, burst, burst, 0.0
        self.notices = self.left = None

    def wait(self, double seconds, bytearray data, Py_ssize_t top):
        """Wait at most so many seconds (negative: for ever), longer than asked by less than a millisecond.

        What was called for: `(call, lines)` where whole lines of one file came, which are taken into its tail
        (`data` from `top` on is only written over); else a list of (descriptor, events) to be handled, with what
        inotify told already in `notices`. Raises OSError.
        """
        cdef epoll_event told[MOST]
        cdef int ready = self._sleep(seconds, told)
        if ready == 1 and told[0].data.fd == self._inotify and told[0].events == EPOLLIN:
            call = self._told()
            if call is not None:
                lines = _quick(call.tail, data, top) if call.follow.current is call.tail else None
                if lines is not None:
                    self.notices = None
                    return call, lines
        return [(told[at].data.fd, told[at].events) for at in range(ready)]

    cdef int _sleep(self, double seconds, epoll_event *told) except -1:
        """Wait as `wait` does; how many descriptors are ready."""
        cdef int ready, failed, timeout = -1
        cdef double credit
        cdef timespec pause
        self.notices = None
        if 0 <= seconds < 2e6:
            timeout = <int> (seconds * 1000)
            timeout += timeout < seconds * 1000
        elif seconds >= 2e6:
            timeout = 2000000000
        with nogil:
            ready = epoll_wait(self._epoll, told, MOST, timeout)
            failed = errno
            self.arrival = _clock(CLOCK_REALTIME)
            if ready > 0 and self._spacing > 0:
                credit = self._credit + max(0.0, self.arrival - self._last) / self._spacing
                if credit < 1.0:  # under load, let lines gather for a moment
                    pause.tv_sec = 0
                    pause.tv_nsec = <long> ((1.0 - credit) * self._spacing * 1e9)
                    nanosleep(&pause, NULL)
                    credit = 1.0
                    self.arrival = _clock(CLOCK_REALTIME)
                self._credit = min(self._burst, credit) - 1.0
        self._last = self.arrival
        if ready < 0:
            if failed == EINTR:
                return 0  # Python's signal handlers run now
            raise OSError(failed, "waiting failed")
        return ready

    # ------------------------------------------------------------ many waits

    def begin(self, double until, double gather, bytearray data):
        """`take` is asked from now on: until that monotonic time, and `gather` seconds after the first lines."""
        self._until, self._gather, self._data = until, gather, data

    def take(self):
        """The next lines of one file, as a block with bytes of its own. None: the time is over, or something else
        is to be done, which stands in `left`. Raises OSError."""
        cdef epoll_event told[MOST]
        cdef double monotonic = _clock(CLOCK_MONOTONIC)
        cdef uint64_t sums
        cdef int64_t count, offset
        cdef int ready
        if monotonic >= self._until:
            return None
        ready = self._sleep(self._until - monotonic, told)
        if ready == 1 and told[0].data.fd == self._inotify and told[0].events == EPOLLIN:
            call = self._told()
            if call is not None and (call is self._call or self._hold(call)):
                lines = _lines(self._fd, self._offset, self._last_sums, self._head_sums, self._data, 0, &sums)
                if lines is not None:
                    self.notices = None
                    count, offset = PyByteArray_GET_SIZE(lines), self._offset
                    self._last_sums, self._heard = sums, self.arrival
                    self._offset += count
                    self._taken += count
                    if self._gather > 0:
                        self._until = min(self._until, _clock(CLOCK_MONOTONIC) + self._gather)
                        self._gather = 0.0
                    return _new(Block, (
                        self._label, lines, 0, count, self._base + offset, self._heard, True, self._may_ban, (),
                        self._timezone, self._year, self._parsers,
                    ))
        if ready:
            self.left = [(told[at].data.fd, told[at].events) for at in range(ready)]
        return None

    def end(self):
        """`take` is asked no more: Python sees the file again, as far as it was read."""
        follow, tail = self._follow, self._tail
        self._call = self._follow = self._tail = None
        if follow is not None and self._taken:
            tail.offset, tail.last = self._offset, Imprint(HEAD, self._last_sums)
            follow.took(tail, self._taken, self._heard)

    cdef bint _hold(self, call) except -1:
        """Take over the place in this file; False where it is not one that only grows."""
        cdef object follow = call.follow, tail = call.tail, last = tail.last, head = tail.head, options
        self.end()
        if follow.current is not tail or not _simple(tail, last, head):
            return False
        options = follow.source.options
        self._fd, self._offset, self._base = tail.raw.fd, tail.offset, follow.base
        self._last_sums, self._head_sums, self._taken = last.sums, head.sums, 0
        self._label, self._may_ban, self._timezone = follow.label, options.may_ban, options.timezone
        self._year, self._parsers = options.year, options.parsers
        self._call, self._follow, self._tail = call, follow, tail
        return True

    # ------------------------------------------------------------ what came

    cdef object _told(self):
        """Take what inotify has to tell; the call of the one file that changed, None where it is anything else."""
        cdef char notices[NOTICES]
        cdef ssize_t size = read(self._inotify, notices, NOTICES), at = NOTICE
        cdef int watch
        cdef uint32_t mask
        if size < NOTICE:
            return None
        self.notices = PyBytes_FromStringAndSize(notices, size)
        memcpy(&watch, notices, 4)
        memcpy(&mask, notices + 4, 4)
        while at + NOTICE <= size and not memcmp(notices, notices + at, NOTICE):
            at += NOTICE
        if mask != MODIFY or at != size:
            return None
        calls = self._calls.get(watch)
        if calls is None or len(calls) != 1:
            return None
        for call in calls.values():
            if type(call) is self._woken:
                return call
        return None


def long_at(data, Py_ssize_t start, Py_ssize_t stop):
    """Where the first line longer than `LIMIT` begins in the whole lines data[start:stop], `stop` where there is none;
    `data` is a bytearray."""
    cdef const char *text = PyByteArray_AS_STRING(<bytearray?> data)
    cdef Py_ssize_t at
    if not 0 <= start <= stop <= PyByteArray_GET_SIZE(data):
        raise ValueError("lines outside their data")
    while stop - start > LIMIT:
        at = start + LIMIT
        while at >= start and text[at] != 10:
            at -= 1
        if at < start:
            return start
        start = at + 1
    return stop


cdef bint _simple(tail, last, head) except -1:
    """Whether the whole lines that were appended to a file are all that there is to know of it."""
    return last.size == HEAD and head.size == HEAD and not tail.skipping and <int64_t> tail.offset >= HEAD


cdef bytearray _quick(tail, bytearray data, Py_ssize_t top):
    """See `Tail.quick`: the whole lines that were appended; None where it is another case."""
    cdef object last = tail.last, head = tail.head
    cdef uint64_t sums
    if not _simple(tail, last, head):
        return None
    lines = _lines(tail.raw.fd, tail.offset, last.sums, head.sums, data, top, &sums)
    if lines is not None:
        tail.offset += PyByteArray_GET_SIZE(lines)
        tail.last = Imprint(HEAD, sums)
    return lines


cdef bytearray _lines(
    int fd, int64_t offset, uint64_t last_sums, uint64_t head_sums, bytearray data, Py_ssize_t top, uint64_t *after
):
    """The whole lines behind `offset`, where what is secret can be blotted out (nothing of them stays in `data`),
    with the sums of what they end with in `after`; None where it is another case. The sums of what stands before
    them and of the file's beginning must be these."""
    cdef char first[HEAD]
    cdef uint64_t[3] sums  # of what stands before the lines, of the file's beginning, and of the lines' end
    cdef char *text
    cdef char *taken
    cdef ssize_t count
    cdef char *begin
    cdef char *end
    if offset < HEAD or top < 0 or top > PyByteArray_GET_SIZE(data) - HEAD - PIECE:
        return None
    text = PyByteArray_AS_STRING(data) + top
    count = pread(fd, text, HEAD + PIECE, offset - HEAD) - HEAD
    if not 0 < count < PIECE or text[HEAD + count - 1] != 10:
        return None
    taken = text
    begin, end = text + HEAD, text + HEAD + count
    if memchr(begin, 0, count) is not NULL:
        return None
    if count > LIMIT:
        while begin < end:
            text = <char *> memchr(begin, 10, end - begin)
            if text - begin > LIMIT:
                return None
            begin = text + 1
    # Looked at after reading: what was read before the file was cut is whole.
    if pread(fd, first, HEAD, 0) != HEAD:
        return None
    _sums(taken, first, end - HEAD, sums)
    if sums[0] != last_sums or sums[1] != head_sums:
        return None
    after[0] = sums[2]
    lines = PyByteArray_FromStringAndSize(end - count, count)
    memset(taken, 0, HEAD + count)
    return lines
