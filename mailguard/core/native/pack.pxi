# Lines as rows of bytes (row.pxi) instead of objects; see core/packed.py.

cdef enum:
    MOST_PREFIX = 4096  # bytes of a declaration in a session's key
    MOST_HOST = 8192
    FIRST_ROOM = 1 << 16


@cython.final
cdef class Room:
    """Bytes that grow."""

    cdef unsigned char *data
    cdef Py_ssize_t used, size

    def __cinit__(self):
        self.data = NULL
        self.used = self.size = 0

    def __dealloc__(self):
        free(self.data)

    cdef inline unsigned char *more(self, Py_ssize_t count) except NULL:
        """Room for so many bytes behind those that are there."""
        if self.size - self.used < count:
            self.grow(count)
        return self.data + self.used

    cdef int grow(self, Py_ssize_t count) except -1:
        cdef Py_ssize_t size = max(<Py_ssize_t> FIRST_ROOM, 2 * self.size, self.used + count)
        cdef unsigned char *grown = <unsigned char *> realloc(self.data, size)
        if grown == NULL:
            raise MemoryError("no room for the rows of a block")
        self.data, self.size = grown, size
        return 0

    cdef bytes take(self):
        """What is there; the room is empty again."""
        cdef bytes taken = PyBytes_FromStringAndSize(<const char *> self.data, self.used) if self.used else b""
        self.used = 0
        return taken


@cython.final
cdef class Packing:
    """The rows of a block while they are gathered."""

    cdef Room rows, texts
    cdef list objects

    def __init__(self):
        self.rows, self.texts, self.objects = Room(), Room(), []

    cdef inline Row *row(self) except NULL:
        """One more row, all zeros."""
        cdef Row *row = <Row *> self.rows.more(sizeof(Row))
        memset(row, 0, sizeof(Row))
        self.rows.used += sizeof(Row)
        return row

    cdef int add_objects(self, list found) except -1:
        """Events and drafts as they are; `found` is empty then."""
        cdef Row *row
        for one in found:
            row = self.row()
            event = one if type(one) is _Event else one.event
            row.time, row.bits, row.text = event.time, ROW_OBJECT, len(self.objects)
            self.objects.append(one)
        found.clear()
        return 0

    cdef int add_line(self, Rule rule, long weight, Source source, unsigned char scope, Origin origin,
                      int64_t position, Prefix *prefix, Reading *on) except -1:
        """The row of a line that `rule` took, as `Maker.make` makes its event; `source` None: it names none."""
        cdef Row *row
        cdef Room texts = self.texts
        cdef unsigned char *out
        cdef Py_ssize_t at, length
        cdef uint16_t absent = ROW_ABSENT
        cdef int slot
        row = self.row()
        row.time, row.position, row.weight = prefix.time, position, <int32_t> weight
        row.text = <uint32_t> texts.used
        row.rule, row.kind, row.scope = rule.number, rule.kind_number, scope
        if source is not None:
            row.bits = ROW_SOURCE
            row.low = source.low
            if source.narrow:
                row.bits |= ROW_NARROW
            else:
                row.rest = source.rest
        if origin.may_ban and not rule.guessed:
            row.bits |= ROW_MAY_BAN
        for at in range(PyTuple_GET_SIZE(rule.names)):
            slot = rule.slots[at]
            if on.begins[slot] < 0:
                memcpy(texts.more(2), &absent, 2)
                texts.used += 2
                continue
            length = on.ends[slot] - on.begins[slot]
            out = texts.more(2 + length)
            texts.used = put_text(out, on.data + on.begins[slot], length) - texts.data
        if rule.stateful:
            row.bits |= ROW_DRAFT
            self.add_keys(rule, origin, prefix, on)
        return 0

    cdef int add_keys(self, Rule rule, Origin origin, Prefix *prefix, Reading *on) except -1:
        """The keys of a line's sessions; see `keys_of`."""
        cdef Room texts = self.texts
        cdef const unsigned char *host = prefix.host
        cdef Py_ssize_t host_length = prefix.host_length, length, number
        cdef const int *part = rule.parts
        cdef bytes begin, named
        cdef char digits[24]
        cdef int count = 0, at, parts
        cdef long long pid
        cdef unsigned char *out
        cdef uint16_t stated
        if host_length == 0:
            named = origin.family()
            if PyBytes_GET_SIZE(named) > MOST_HOST:
                raise ValueError("a log's name is too long")
            host, host_length = <const unsigned char *> PyBytes_AS_STRING(named), PyBytes_GET_SIZE(named)
        for number in range(PyTuple_GET_SIZE(rule.keys)):
            begin = <bytes> (<tuple> rule.keys[number])[0]
            parts = part[0]
            part += 1
            length = host_length + PyBytes_GET_SIZE(begin)
            for at in range(parts):
                if part[at] < 0:
                    if count == 0:
                        pid = prefix.pid
                        while True:
                            count += 1
                            digits[24 - count] = 48 + pid % 10
                            pid //= 10
                            if pid == 0:
                                break
                    length += 1 + count
                elif on.begins[part[at]] < 0:
                    length = 0
                    break
                else:
                    length += 1 + on.ends[part[at]] - on.begins[part[at]]
            out = texts.more(2 + length)
            stated = <uint16_t> length
            memcpy(out, &stated, 2)
            texts.used += 2 + length
            if length:
                out += 2
                memcpy(out, host, host_length)
                out += host_length
                memcpy(out, PyBytes_AS_STRING(begin), PyBytes_GET_SIZE(begin))
                out += PyBytes_GET_SIZE(begin)
                for at in range(parts):
                    out[0] = 0
                    out += 1
                    if part[at] < 0:
                        memcpy(out, digits + 24 - count, count)
                        out += count
                    else:
                        memcpy(out, on.data + on.begins[part[at]], on.ends[part[at]] - on.begins[part[at]])
                        out += on.ends[part[at]] - on.begins[part[at]]
            part += parts
        return 0


cdef inline unsigned char *put_text(unsigned char *out, const unsigned char *text, Py_ssize_t length) noexcept nogil:
    """A length and as many bytes; where the next may stand."""
    cdef uint16_t stated = <uint16_t> length
    memcpy(out, &stated, 2)
    memcpy(out + 2, text, length)
    return out + 2 + length
