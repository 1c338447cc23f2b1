# The machine that runs the code of core/pattern/program.py. Every read of a line stands behind a comparison
# with `end`; `end` is the end of the message, which lies inside the block.

cdef enum:
    WIDTH = 6
    MOST_CAPTURES = 32

cdef enum Kind:
    TEXT, RUN, QUOTED, QUOTES, OPEN, SHUT, MAYBE, CHOICE, DONE

cdef enum ShapeKind:
    BOUNDED, FOREIGN, REPEATED


cdef struct Reading:
    # One attempt at a message.
    const unsigned char *data
    Py_ssize_t start, end
    const unsigned char *planes
    const unsigned char *texts
    const int *choices
    const int *code
    bint whole  # DONE only at the end
    Py_ssize_t stop  # where DONE was reached
    Py_ssize_t begins[MOST_CAPTURES]  # -1: absent
    Py_ssize_t ends[MOST_CAPTURES]


cdef Py_ssize_t quoted(Reading *on, const int *op, Py_ssize_t at, int most) noexcept nogil:
    """Where the quoted string that begins at `at` ends; -1: there is none. A unit is a byte of the first set, or
    a backslash and a byte of the second."""
    cdef const unsigned char *inner = on.planes + 256 * (op[1] >> 3)
    cdef const unsigned char *escaped = on.planes + 256 * (op[2] >> 3)
    cdef unsigned char inner_bit = 1 << (op[1] & 7), escaped_bit = 1 << (op[2] & 7)
    cdef int units = 0
    if at >= on.end or on.data[at] != 34:
        return -1
    at += 1
    while units < most and at < on.end:
        if inner[on.data[at]] & inner_bit:
            at += 1
        elif on.data[at] == 92 and at + 1 < on.end and escaped[on.data[at + 1]] & escaped_bit:
            at += 2
        else:
            break
        units += 1
    if at < on.end and on.data[at] == 34:
        return at + 1
    return -1


cdef inline Py_ssize_t span(Reading *on, int chars, Py_ssize_t at, int most) noexcept nogil:
    """Where the bytes of a set that begin at `at` end, `most` of them at most."""
    cdef const unsigned char *plane = on.planes + 256 * (chars >> 3)
    cdef unsigned char bit = 1 << (chars & 7)
    cdef Py_ssize_t stop = on.end if on.end - at < most else at + most
    while at < stop and plane[on.data[at]] & bit:
        at += 1
    return at


cdef inline bint stands(Reading *on, Py_ssize_t at, int place, int length) noexcept nogil:
    """Whether a literal text stands at `at`."""
    return (
        on.end - at >= length
        and on.data[at] == on.texts[place]
        and memcmp(on.data + at, on.texts + place, length) == 0
    )


cdef bint run(Reading *on, int pc, Py_ssize_t at) noexcept nogil:
    """Whether the code from `pc` on fits the line from `at` on. It calls itself at most once for each
    instruction on the way, and code has no way back, so the depth is bounded by its length."""
    cdef const int *op
    cdef const int *text
    cdef Py_ssize_t stop
    cdef int one
    while True:
        op = on.code + WIDTH * pc
        if op[0] == TEXT:
            if not stands(on, at, op[1], op[2]):
                return False
            at += op[2]
        elif op[0] == RUN:
            stop = span(on, op[1], at, op[3])
            if stop - at < op[2]:
                return False
            if op[5] >= 0:
                on.begins[op[5]] = at
            if not op[4]:
                while True:
                    if op[WIDTH] != TEXT or stands(on, stop, op[WIDTH + 1], op[WIDTH + 2]):
                        if op[5] >= 0:
                            on.ends[op[5]] = stop
                        if run(on, pc + 1, stop):
                            return True
                    stop -= 1
                    if stop - at < op[2]:
                        return False
            if op[5] >= 0:
                on.ends[op[5]] = stop
            at = stop
        elif op[0] == MAYBE:
            if (op[WIDTH] != TEXT or stands(on, at, op[WIDTH + 1], op[WIDTH + 2])) and run(on, pc + 1, at):
                return True
            for one in range(op[2], op[3]):
                on.begins[one] = -1
            pc = op[1]
            continue
        elif op[0] == CHOICE:
            for one in range(op[2]):
                text = on.choices + op[1] + 2 * one
                if stands(on, at, text[0], text[1]):
                    if op[3]:
                        at += text[1]
                        break
                    if run(on, pc + 1, at + text[1]):
                        return True
            else:
                return False
        elif op[0] == OPEN:
            on.begins[op[1]] = at
        elif op[0] == SHUT:
            on.ends[op[1]] = at
        elif op[0] == QUOTES:
            for one in range(op[5]):
                stop = quoted(on, op, at, op[4])
                if stop < 0:
                    break
                at = span(on, op[3], stop, op[4])
        elif op[0] == QUOTED:
            at = quoted(on, op, at, op[3])
            if at < 0:
                return False
        else:
            on.stop = at
            return not on.whole or at == on.end
        pc += 1


cdef class Shape:
    """One way to read a line, with its code; see `program.Shape`."""

    cdef int kind, betweens
    cdef bytes _head, _tail, _lead, _last, _places
    cdef tuple _between, stops
    cdef const int *head
    cdef const int *tail
    cdef const unsigned char *lead
    cdef const unsigned char *last
    cdef int lead_length, last_length
    cdef const int *foreign
    cdef bytes _foreign
    cdef int least, most, reach

    def __init__(self, made):
        self.kind = made.kind
        self._head, self._tail, self._lead, self._last = made.head, made.tail, made.lead, made.last
        self._between = made.between
        self._foreign = array("i", [*made.foreign, -1]).tobytes()
        self.betweens = len(made.between)
        self.head = <const int *> PyBytes_AS_STRING(self._head) if made.head else NULL
        self.tail = <const int *> PyBytes_AS_STRING(self._tail) if made.tail else NULL
        self.lead = <const unsigned char *> PyBytes_AS_STRING(self._lead)
        self.last = <const unsigned char *> PyBytes_AS_STRING(self._last)
        self.lead_length, self.last_length = len(made.lead), len(made.last)
        self.foreign = <const int *> PyBytes_AS_STRING(self._foreign)
        self.least, self.most = made.least, made.most
        self.stops, self.reach = made.stops, made.reach


cdef Py_ssize_t rightmost(const unsigned char *data, Py_ssize_t begin, Py_ssize_t end,
                          const unsigned char *text, Py_ssize_t length) noexcept nogil:
    """`data.rfind(text, begin, end)`."""
    cdef Py_ssize_t at = end - length
    while at >= begin:
        if data[at] == text[0] and memcmp(data + at, text, length) == 0:
            return at
        at -= 1
    return -1


cdef Py_ssize_t nearest(Reading *on, Shape shape):
    """Where the shortest beginning of the message ends that fits the head, of a head that can end at several
    places; -1: there is none."""
    cdef Py_ssize_t end = on.end, place = on.start
    cdef Py_ssize_t limit = end if end - place < shape.reach else place + shape.reach
    cdef bytes text
    cdef bint found
    on.whole = True
    while place <= limit:
        for text in shape.stops:
            if place - on.start >= PyBytes_GET_SIZE(text) and memcmp(
                on.data + place - PyBytes_GET_SIZE(text), PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text)
            ) == 0:
                on.end = place
                found = run(on, 0, on.start)
                on.end = end
                if found:
                    return place
                break
        place += 1
    return -1


cdef bint fits(Reading *on, Shape shape):
    """Whether the message can be read that way; the captures then say where what stands. The source is not
    looked at. Of a repeated text only the first length of its middle is tried: see `fits_repeated`."""
    cdef Py_ssize_t place = on.start, stop = on.end, here
    cdef int number
    cdef bytes text
    if shape.kind == BOUNDED:
        on.code = shape.head
        on.whole = True
        return run(on, 0, on.start)
    if shape.head != NULL:
        on.code = shape.head
        if PyTuple_GET_SIZE(shape.stops) == 0:
            on.whole = False
            if not run(on, 0, on.start):
                return False
            place = on.stop
        else:
            place = nearest(on, shape)
            if place < 0:
                return False
    if shape.tail != NULL:
        on.code = shape.tail
        on.whole = True
        here = on.end - shape.most
        if here < place:
            here = place
        stop = on.end - shape.lead_length
        while stop >= here:
            if shape.lead_length == 0 or (
                on.data[stop] == shape.lead[0] and memcmp(on.data + stop, shape.lead, shape.lead_length) == 0
            ):
                if run(on, 0, stop + shape.lead_length):
                    break
            stop -= 1
        else:
            return False
    for number in range(shape.betweens - 1, -1, -1):
        text = <bytes> shape._between[number]
        here = rightmost(on.data, place, stop, <const unsigned char *> PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
        if here < 0:
            return False
        if shape.foreign[number + 1] >= 0:
            on.begins[shape.foreign[number + 1]] = here + PyBytes_GET_SIZE(text)
            on.ends[shape.foreign[number + 1]] = stop
        stop = here
    if shape.foreign[0] >= 0:
        on.begins[shape.foreign[0]] = place
        on.ends[shape.foreign[0]] = stop
    return True


cdef Py_ssize_t fits_repeated(Reading *on, Shape shape, Py_ssize_t length):
    """The least length of the middle, `length` or more, with which the message is `lead`, a text, the middle,
    the same text, `last`; -1: there is none. -1 as `length`: from the beginning."""
    cdef Py_ssize_t first = on.start + shape.lead_length, last = on.end - shape.last_length
    cdef Py_ssize_t room = last - first, each, end = on.end
    cdef bint found
    if room < shape.least or memcmp(on.data + on.start, shape.lead, shape.lead_length) != 0 or memcmp(
        on.data + last, shape.last, shape.last_length
    ) != 0:
        return -1
    if length < 0:
        length = shape.least + (room - shape.least) % 2
    on.code = shape.head
    on.whole = True
    while length <= shape.most and length <= room:
        each = (room - length) // 2
        if memcmp(on.data + first, on.data + last - each, each) == 0:
            on.end = last - each
            found = run(on, 0, first + each)
            on.end = end
            if found:
                if shape.foreign[0] >= 0:
                    on.begins[shape.foreign[0]] = first
                    on.ends[shape.foreign[0]] = first + each
                return length
        length += 2
    return -1
