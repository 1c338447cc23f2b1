"""From the judge's frame to the kernel's answer and back, without Python in between; see `wire` and `netlink`.

Memory safety: everything lies in buffers of fixed size whose ends are checked before they are read or written;
a frame is taken only when it has exactly the length of one ban.
"""

from libc.string cimport memcmp, memcpy
from libc.stdint cimport int32_t, uint16_t, uint32_t, uint64_t

cdef extern from "<sys/socket.h>" nogil:
    ssize_t recv(int fd, void *data, size_t size, int flags)
    ssize_t send(int fd, const void *data, size_t size, int flags)
    int MSG_DONTWAIT
    int MSG_NOSIGNAL

cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd *waited, unsigned long count, int timeout)
    short POLLIN

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef extern from "<errno.h>" nogil:
    int errno
    int EAGAIN
    int EINTR
    int EPIPE

INTERFACE = 2

cdef enum:
    FRAME = 44      # header (16 bytes) and one row (28)
    HEADER = 16
    ACK = 128
    IMPOSE = 3
    LARGEST = 512   # bytes of a prepared transaction
    EDGE = 20       # bytes of its first and of its last message
    MOST = 16       # descriptors that are waited for


cdef inline uint64_t _reversed(uint64_t value) noexcept nogil:
    """The same number in the other byte order."""
    cdef int at
    cdef uint64_t turned = 0
    for at in range(8):
        turned = turned << 8 | (value >> (8 * at) & 0xFF)
    return turned


cdef class Hot:
    """The shortest way for one driver."""

    cdef list _prepared          # bytes by 3 * scope + kind (IPv4 host, IPv6 host, /64); see `Nftables`
    cdef int _key[9]             # where in them the address stands
    cdef int _timeout[9]         # and the timeout
    cdef int _scopes
    cdef double _longest

    def __init__(self, list prepared, double longest):
        """`prepared`: for each scope its three transactions (bytes, offset of the address, of the timeout);
        `longest`: seconds a ban may last. Raises ValueError for what does not fit."""
        cdef int number, size, key, timeout
        if len(prepared) % 3 or not 0 < len(prepared) <= 9:
            raise ValueError("three transactions for each of up to three scopes")
        self._prepared = []
        for number, (whole, key, timeout) in enumerate(prepared):
            size = 4 if number % 3 == 0 else 16
            if not isinstance(whole, bytes) or not 3 * EDGE <= len(whole) <= LARGEST:
                raise ValueError("a transaction is too long")
            if not 2 * EDGE <= key <= LARGEST or not 2 * EDGE <= timeout <= LARGEST:
                raise ValueError("a value stands outside the transaction")
            if max(key + size, timeout + 8) > len(whole) - EDGE:
                raise ValueError("a value stands outside the transaction")
            self._prepared.append(whole)
            self._key[number], self._timeout[number] = key, timeout
        self._scopes = len(prepared) // 3
        self._longest = longest

    def wait(self, int judge, int kernel, list others, int timeout, bytearray buffer, dict known, uint32_t first):
        """Wait at most `timeout` milliseconds (-1: for ever) for the judge and the descriptors `others`; then
        read from the judge, if it wrote something.

        A list: those of `others` that can be read, and nothing was read. Else what was read: (sequence, key,
        seconds, answered) where it was one new ban and the kernel took it, or how many bytes lie in `buffer`:
        0 when the judge has gone. `known` are the bans that stand; `first` is the sequence number for the first
        of three messages. `answered` False: the acknowledgement found no room yet, and is the caller's.
        Raises OSError.
        """
        cdef pollfd waited[MOST]
        cdef int at, count = 1 + <int> len(others)
        cdef int ready
        if count > MOST:
            raise ValueError("too many descriptors")
        waited[0].fd, waited[0].events, waited[0].revents = judge, POLLIN, 0
        for at in range(1, count):
            waited[at].fd, waited[at].events, waited[at].revents = others[at - 1], POLLIN, 0
        with nogil:
            ready = poll(waited, count, timeout)
        if ready <= 0:
            return []  # nothing came, or a signal did
        if not waited[0].revents:
            return [waited[at].fd for at in range(1, count) if waited[at].revents]
        return self._read(judge, kernel, buffer, known, first)

    cdef object _read(self, int judge, int kernel, bytearray buffer, dict known, uint32_t first):
        """See `wait`; -1 when nothing came."""
        cdef unsigned char frame[FRAME]
        cdef unsigned char message[LARGEST]
        cdef unsigned char answer[64]
        cdef unsigned char *data = <unsigned char *> buffer
        cdef ssize_t size
        cdef int which, length
        cdef uint64_t sequence, high, low, timeout, value
        cdef uint32_t number
        cdef double seconds
        cdef bytes whole
        if len(buffer) < FRAME:
            raise ValueError("the buffer is too small")
        while True:
            size = recv(judge, data, len(buffer), MSG_DONTWAIT)
            if size >= 0:
                break
            if errno == EAGAIN:
                return -1
            if errno != EINTR:
                raise OSError(errno, "the judge has gone")
        if size != FRAME:
            return size
        memcpy(frame, data, FRAME)
        # "mg", version 1, IMPOSE, the length of one row; scope, family, prefix, not permanent
        if frame[0] != 0x6D or frame[1] != 0x67 or frame[2] != 1 or frame[3] != IMPOSE:
            return size
        memcpy(&number, frame + 4, 4)
        if number != FRAME - HEADER or frame[HEADER] >= self._scopes or frame[HEADER + 3]:
            return size
        memcpy(&sequence, frame + 8, 8)
        memcpy(&seconds, frame + HEADER + 4, 8)
        memcpy(&high, frame + HEADER + 12, 8)
        memcpy(&low, frame + HEADER + 20, 8)
        if not 0.001 <= seconds <= self._longest:
            return size
        which = 3 * frame[HEADER]
        if frame[HEADER + 1] == 4 and frame[HEADER + 2] == 32 and not high and not low >> 32:
            key = (frame[HEADER], low, 32)
        elif frame[HEADER + 1] == 6 and frame[HEADER + 2] == 64 and high and not low:
            which += 2
            key = (frame[HEADER], V6 + (<object> high << 64), 64)
        elif frame[HEADER + 1] == 6 and frame[HEADER + 2] == 128 and high:
            which += 1
            key = (frame[HEADER], V6 + (<object> high << 64 | low), 128)
        else:
            return size
        if key in known:
            return size

        whole = <bytes> self._prepared[which]
        length = <int> len(whole)
        memcpy(message, <const unsigned char *> whole, length)
        memcpy(message + 8, &first, 4)
        number = first + 1
        memcpy(message + EDGE + 8, &number, 4)
        number = first + 2
        memcpy(message + length - EDGE + 8, &number, 4)
        if which % 3 == 0:
            value = _reversed(low)
            memcpy(message + self._key[which], <unsigned char *> &value + 4, 4)
        else:
            value = _reversed(high)
            memcpy(message + self._key[which], &value, 8)
            value = _reversed(low)
            memcpy(message + self._key[which] + 8, &value, 8)
        timeout = _reversed(<uint64_t> (seconds * 1000))
        memcpy(message + self._timeout[which], &timeout, 8)
        if send(kernel, message, length, MSG_DONTWAIT) != length:
            return size
        if recv(kernel, answer, sizeof(answer), MSG_DONTWAIT) != 36:
            return size
        if not _acknowledged(answer, first + 1):
            return size

        frame[3] = ACK
        frame[4] = frame[5] = frame[6] = frame[7] = 0
        return sequence, key, seconds, send(judge, frame, HEADER, MSG_DONTWAIT | MSG_NOSIGNAL) == HEADER


cdef bint _acknowledged(const unsigned char *answer, uint32_t wanted) noexcept nogil:
    """Whether these 36 bytes are the acknowledgement, without an error, of the message of that number."""
    cdef uint32_t length, sequence
    cdef uint16_t kind
    cdef int32_t code
    memcpy(&length, answer, 4)
    memcpy(&kind, answer + 4, 2)
    memcpy(&sequence, answer + 8, 4)
    memcpy(&code, answer + 16, 4)
    return length == 36 and kind == 2 and sequence == wanted and not code


def begin(int connection, uint64_t sequence, int scope, object address, int prefix, double seconds):
    """The judge's side: ask for one ban, as `wire.one_ban` packs it, without waiting. False: there is no room for
    it now, and nothing was sent. Raises OSError, also when a part of it alone found room.
    """
    cdef unsigned char frame[FRAME]
    cdef ssize_t size
    _pack(frame, sequence, scope, address, prefix, seconds)
    while True:
        size = send(connection, frame, FRAME, MSG_NOSIGNAL | MSG_DONTWAIT)
        if size == FRAME:
            sched_yield()  # where the enforcer was woken on this very processor it would wait until we sleep
            return True
        if size < 0 and errno == EAGAIN:
            return False
        if size >= 0 or errno != EINTR:
            raise ConnectionError(errno if size < 0 else EPIPE, "it takes nothing")


def finish(int connection, uint64_t sequence):
    """Wait for the answer to what `begin` asked, as long as the socket's own timeout says. None: it stands; else the
    first bytes that came instead of that answer, b"" when the enforcer has gone. Raises OSError, BlockingIOError
    when nothing came in time.
    """
    cdef unsigned char answer[LARGEST]
    cdef ssize_t size
    cdef int failed
    with nogil:
        size = _receive(connection, answer)
        failed = errno
    return _answered(answer, size, failed, sequence)


def ask(int connection, uint64_t sequence, int scope, object address, int prefix, double seconds):
    """Both in one; sending may wait too."""
    cdef unsigned char frame[FRAME]
    cdef unsigned char answer[LARGEST]
    cdef ssize_t size
    cdef int failed
    _pack(frame, sequence, scope, address, prefix, seconds)
    with nogil:
        while True:
            size = send(connection, frame, FRAME, MSG_NOSIGNAL)
            if size >= 0 or errno != EINTR:
                break
        if size == FRAME:
            size = _receive(connection, answer)
            failed = errno
        else:
            failed = errno if size < 0 else EPIPE
            size = -2
    if size == -2:
        raise ConnectionError(failed, "it takes nothing")
    return _answered(answer, size, failed, sequence)


cdef int _pack(
    unsigned char *frame, uint64_t sequence, int scope, object address, int prefix, double seconds
) except -1:
    """The frame of one ban, of `FRAME` bytes."""
    cdef uint64_t high = 0, low
    cdef uint32_t length = FRAME - HEADER
    frame[0], frame[1], frame[2], frame[3] = 0x6D, 0x67, 1, IMPOSE
    memcpy(frame + 4, &length, 4)
    memcpy(frame + 8, &sequence, 8)
    frame[HEADER], frame[HEADER + 1], frame[HEADER + 2], frame[HEADER + 3] = scope, 4, prefix, 0
    if address >= V6:
        frame[HEADER + 1] = 6
        high = address >> 64 & 0xFFFFFFFFFFFFFFFF
        low = address & 0xFFFFFFFFFFFFFFFF
    else:
        low = address
    memcpy(frame + HEADER + 4, &seconds, 8)
    memcpy(frame + HEADER + 12, &high, 8)
    memcpy(frame + HEADER + 20, &low, 8)
    return 0


cdef ssize_t _receive(int connection, unsigned char *answer) noexcept nogil:
    """At most `LARGEST` bytes."""
    cdef ssize_t size
    while True:
        size = recv(connection, answer, LARGEST, 0)
        if size >= 0 or errno != EINTR:
            return size


cdef object _answered(const unsigned char *answer, ssize_t size, int failed, uint64_t sequence):
    """See `finish`."""
    cdef unsigned char frame[HEADER]
    if size < 0:
        raise OSError(failed, "it does not answer")
    frame[0], frame[1], frame[2], frame[3] = 0x6D, 0x67, 1, ACK
    frame[4] = frame[5] = frame[6] = frame[7] = 0
    memcpy(frame + 8, &sequence, 8)
    if size == HEADER and not memcmp(frame, answer, HEADER):
        return None
    return answer[:size]


V6 = 1 << 128
