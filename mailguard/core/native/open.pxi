# Opens the prefixes of nearly every line; see core/envelope.py for all of them. What is not quite so is left to
# the Python `Opener`. Every read stands behind a comparison with `end`.

cdef enum Style:
    SYSLOG_LINE, EPOST_COMMA, EPOST_PLAIN, STYLES_HERE


cdef struct Prefix:
    int style
    double time  # as it stands there
    const unsigned char *host
    const unsigned char *program
    Py_ssize_t host_length, program_length
    long long pid
    Py_ssize_t start, end  # of the message


cdef inline bint digit(unsigned char byte) noexcept nogil:
    return 48 <= byte <= 57


cdef inline bint upper(unsigned char byte) noexcept nogil:
    return 65 <= byte <= 90


cdef inline bint lower(unsigned char byte) noexcept nogil:
    return 97 <= byte <= 122


cdef inline bint two(const unsigned char *data) noexcept nogil:
    """Two digits."""
    return digit(data[0]) and digit(data[1])


cdef inline int second_of(const unsigned char *data) noexcept nogil:
    """The second that two digits say, a leap second as the one before it; -1: there is none."""
    cdef int value = 10 * (data[0] - 48) + data[1] - 48
    return 59 if value == 60 else value if value < 60 else -1


cdef class Clock:
    """The stamps of one log inside one block: the minute looked up last, and what `Stamps` holds beside it."""

    cdef object stamps
    cdef double running, limit, arrived
    cdef long ahead
    cdef bint sequence  # the year follows from the lines before
    cdef char key[32]
    cdef int length  # of the key; 0: none
    cdef double base, born

    cdef pull(self, stamps):
        """Take up the state of `stamps`. The minute stays where `stamps` has not begun to remember anew."""
        cdef bint sequence = stamps._year is not None  # Stamps.counts_years
        cdef double born = stamps._born
        if sequence or self.sequence or born != self.born or stamps is not self.stamps:
            self.length = 0
        self.stamps = stamps
        self.running, self.limit, self.arrived = stamps.running, stamps.limit, stamps._arrival
        self.sequence, self.born = sequence, born
        self.ahead = 0

    cdef push(self):
        """Give it back."""
        self.stamps.running = self.running
        if self.ahead:
            self.stamps.ahead += self.ahead
            self.ahead = 0

    cdef inline double settle(self, double time) noexcept:
        """See `Stamps.settle`."""
        if time > self.limit:
            self.ahead += 1
            time = self.arrived
        if time > self.running:
            self.running = time
        return time

    cdef bint minute(self, int style, const unsigned char *key, int length, const unsigned char *zone) except -1:
        """Put the start of a minute into `base`; False: there is no such minute. `zone`: 6 bytes behind the key
        of an ISO stamp, else NULL."""
        cdef int full = length + (6 if zone != NULL else 0)
        if (
            full == self.length
            and memcmp(self.key, key, length) == 0
            and (zone == NULL or memcmp(self.key + length, zone, 6) == 0)
            and (not self.sequence or zone != NULL or style != SYSLOG_LINE
                 or self.base >= self.running - HALF_YEAR)
        ):
            return True
        self.push()
        self.length = 0
        cdef bytes text = PyBytes_FromStringAndSize(<const char *> key, length), cached = text
        if style != SYSLOG_LINE:
            base = self.stamps.slashed(text)
        elif zone == NULL:
            base = self.stamps.yearless(text)
        else:
            offset = PyBytes_FromStringAndSize(<const char *> zone, 6)
            base = self.stamps.dated(text, offset)
            cached = text + offset
        if base is None:
            return False
        self.base = base
        if self.stamps.remembers(cached):
            memcpy(self.key, PyBytes_AS_STRING(cached), full)
            self.length = full
        return True


cdef class Envelope:
    """Which prefixes are looked for."""

    cdef bint syslog, epost
    cdef const unsigned char *words  # byte: 1 in a host's name, 2 in a program's
    cdef bytes _words
    cdef double scale[10]

    def __init__(self, syslog, epost, scale):
        self.syslog, self.epost = syslog, epost
        self._words = bytes(
            (1 if chr(byte).isalnum() or byte in b"_.-" else 0) | (2 if chr(byte).isalnum() or byte in b"_./-" else 0)
            if byte < 128 else 0
            for byte in range(256)
        )
        self.words = <const unsigned char *> PyBytes_AS_STRING(self._words)
        for number in range(10):
            self.scale[number] = scale[number]

    cdef bint open(self, const unsigned char *data, Py_ssize_t start, Py_ssize_t end, Clock clock,
                   Prefix *found) except -1:
        """Open data[start:end], its time not settled yet; False: this is for the Python `Opener`, and nothing
        has changed but minutes worked out."""
        cdef Py_ssize_t at
        cdef int second, digits = 0
        cdef long fraction = 0
        if start < end and data[end - 1] == 13:
            end -= 1
        if end - start < 24:
            return False
        cdef const unsigned char *head = data + start
        found.host = found.program = head
        found.host_length = found.program_length = 0
        found.pid = 0
        found.end = end
        if head[0] == 91:  # [30/Nov/2017:08:20:44]
            if not (
                self.epost and two(head + 1) and head[3] == 47 and upper(head[4]) and lower(head[5])
                and lower(head[6]) and head[7] == 47 and two(head + 8) and two(head + 10) and head[12] == 58
                and two(head + 13) and head[15] == 58 and two(head + 16) and head[18] == 58 and two(head + 19)
                and head[21] == 93
            ):
                return False
            at = start + 22
            found.style = EPOST_PLAIN
            if head[22] == 44:
                found.style = EPOST_COMMA
                at += 1
            if data[at] == 32:  # two bytes at least are behind the bracket
                at += 1
            found.start = at
            second = second_of(head + 19)
            if second < 0 or not clock.minute(found.style, head + 1, 17, NULL):
                return False
            found.time = clock.base + second
            return True
        if not self.syslog:
            return False
        found.style = SYSLOG_LINE
        if upper(head[0]):  # Nov  2 09:05:07
            if not (
                lower(head[1]) and lower(head[2]) and head[3] == 32 and (head[4] == 32 or digit(head[4]))
                and digit(head[5]) and head[6] == 32 and two(head + 7) and head[9] == 58 and two(head + 10)
                and head[12] == 58 and two(head + 13)
            ):
                return False
            at = self.tag(data, start + 15, end, found)
            if at < 0:
                return False
            second = second_of(head + 13)
            if second < 0 or not clock.minute(SYSLOG_LINE, head, 12, NULL):
                return False
            found.time = clock.base + second
        elif digit(head[0]):  # 2026-11-22T09:31:07.123456+09:00
            if not (
                two(head) and two(head + 2) and head[4] == 45 and two(head + 5) and head[7] == 45 and two(head + 8)
                and head[10] == 84 and two(head + 11) and head[13] == 58 and two(head + 14) and head[16] == 58
                and two(head + 17)
            ):
                return False
            at = start + 19
            if data[at] == 46:
                at += 1
                while digits < 9 and at < end and digit(data[at]):
                    fraction = 10 * fraction + data[at] - 48
                    digits += 1
                    at += 1
                if not digits:
                    return False
            if end - at < 6 or not (
                (data[at] == 43 or data[at] == 45) and two(data + at + 1) and data[at + 3] == 58 and two(data + at + 4)
            ):
                return False
            zone = data + at
            at = self.tag(data, at + 6, end, found)
            if at < 0:
                return False
            second = second_of(head + 17)
            if second < 0 or not clock.minute(SYSLOG_LINE, head, 16, zone):
                return False
            found.time = clock.base + second
            if digits:
                found.time += fraction * self.scale[digits]
        else:
            return False
        found.start = at
        return True

    cdef Py_ssize_t tag(self, const unsigned char *data, Py_ssize_t at, Py_ssize_t end, Prefix *found) noexcept:
        """Host, program and process id behind a stamp; where the message begins, -1: they are not quite so, or
        the message is a notice of repetition."""
        cdef int count = 0
        cdef Py_ssize_t begin
        if at >= end or data[at] != 32:
            return -1
        at += 1
        begin = at
        while at < end and self.words[data[at]] & 1:
            at += 1
        if at - begin < 1 or at - begin > 253 or at >= end or data[at] != 32:
            return -1
        found.host, found.host_length = data + begin, at - begin
        at += 1
        begin = at
        while at < end and self.words[data[at]] & 2:
            at += 1
        if at - begin < 1 or at - begin > 128:
            return -1
        found.program, found.program_length = data + begin, at - begin
        if at < end and data[at] == 91:
            at += 1
            while count < 10 and at < end and digit(data[at]):
                found.pid = 10 * found.pid + data[at] - 48
                count += 1
                at += 1
            if not count or at >= end or data[at] != 93:
                return -1
            at += 1
        if end - at < 2 or data[at] != 58 or data[at + 1] != 32:
            return -1
        at += 2
        if data[end - 1] == 93 and end - at >= 17 and memcmp(data + at, b"message repeated ", 17) == 0:
            return -1
        return at
