# What stands in rows (row.pxi, pack.pxi): as objects, and in which order; see core/packed.py.

cdef class Table:
    """What is alike in all lines of a rule, by the number of the rule: makes objects of rows."""

    cdef list rules  # of tuples: name, kind, names of fields, proved, guessed, how many sessions
    cdef list latest  # for each rule the texts of its fields on the line before

    def __init__(self, rules):
        self.rules = [tuple(rule) for rule in rules]
        for rule in self.rules:
            if len(rule) != 5:
                raise ValueError("a rule of a table has five values")
        self.latest = [[""] * len(rule[2]) for rule in self.rules]

    def items(self, str log, bytes rows, bytes texts, list objects, Py_ssize_t begin, Py_ssize_t stop):
        """The events and drafts of the rows from `begin` up to `stop`. Raises ValueError where they are none."""
        cdef const Row *row = <const Row *> PyBytes_AS_STRING(rows)
        cdef const unsigned char *text = <const unsigned char *> PyBytes_AS_STRING(texts)
        cdef Py_ssize_t at, place, number, length, end = PyBytes_GET_SIZE(texts)
        cdef list found = [], latest
        cdef tuple told, names, keys
        cdef dict fields
        cdef double time = 0.0
        cdef object moment = None, source, event, value, key
        if not 0 <= begin <= stop <= PyBytes_GET_SIZE(rows) // <Py_ssize_t> sizeof(Row):
            raise ValueError("rows that are not there")
        for at in range(begin, stop):
            if row[at].bits & ROW_OBJECT:
                found.append(objects[row[at].text])
                continue
            told, latest = <tuple?> self.rules[row[at].rule], <list> self.latest[row[at].rule]
            names = <tuple?> told[2]
            place = row[at].text
            fields = {}
            for number in range(PyTuple_GET_SIZE(names)):
                length = length_at(text, place, end)
                place += 2
                if length == ROW_ABSENT:
                    continue
                if end - place < length:
                    raise ValueError("a text outside its batch")
                value = text_of(text + place, length, latest[number])
                place += length
                latest[number] = value
                fields[names[number]] = value
            if moment is None or row[at].time != time:
                moment = time = row[at].time
            source = None
            if row[at].bits & ROW_SOURCE:
                source = row[at].low
                if not row[at].bits & ROW_NARROW:
                    source = V6_ + (source << 64) + row[at].rest
            event = new_row(_Event, 12)
            put(event, 0, told[1])
            put(event, 1, moment)
            put(event, 2, source)
            put(event, 3, told[0])
            put(event, 4, row[at].weight)
            put(event, 5, fields)
            put(event, 6, log)
            put(event, 7, row[at].position)
            put(event, 8, SCOPE_NAMES[row[at].scope])
            put(event, 9, (row[at].bits & ROW_MAY_BAN) != 0)
            put(event, 10, told[3])
            put(event, 11, b"")
            if not row[at].bits & ROW_DRAFT:
                found.append(event)
                continue
            keys = PyTuple_New(<Py_ssize_t> told[4])
            for number in range(PyTuple_GET_SIZE(keys)):
                length = length_at(text, place, end)
                place += 2
                if end - place < length:
                    raise ValueError("a text outside its batch")
                key = text_bytes(text + place, length)
                put(keys, number, key)
                place += length
            PyObject_GC_UnTrack(<void *> keys)
            event = new_draft(event, keys)
            found.append(event)
        return found


cdef inline object new_draft(object event, tuple keys):
    cdef object draft = new_row(_Draft, 2)
    put(draft, 0, event)
    put(draft, 1, keys)
    return draft


cdef inline Py_ssize_t length_at(const unsigned char *text, Py_ssize_t place, Py_ssize_t end) except -1:
    """The length that stands at `place`."""
    cdef uint16_t stated
    if place < 0 or end - place < 2:
        raise ValueError("a text outside its batch")
    memcpy(&stated, text + place, 2)
    return stated


def times_in(bytes rows):
    """The stamps of rows, as the bytes of an array of doubles."""
    cdef Py_ssize_t count = PyBytes_GET_SIZE(rows) // <Py_ssize_t> sizeof(Row), at
    cdef const Row *row = <const Row *> PyBytes_AS_STRING(rows)
    cdef bytes made = PyBytes_FromStringAndSize(NULL, count * sizeof(double))
    cdef double *times = <double *> PyBytes_AS_STRING(made)
    for at in range(count):
        times[at] = row[at].time
    return made


def newest_in(bytes rows, double newest):
    """The newest stamp of rows, or `newest` where that is newer."""
    cdef Py_ssize_t count = PyBytes_GET_SIZE(rows) // <Py_ssize_t> sizeof(Row), at
    cdef const Row *row = <const Row *> PyBytes_AS_STRING(rows)
    for at in range(count):
        if row[at].time > newest:
            newest = row[at].time
    return newest


def order_of(bytes rows, double newest):
    """How the stamps go on from `newest`: their running maximum, as the bytes of an array of doubles; how many are
    below it; the furthest of these, in seconds, and the maximum there (the first such place)."""
    cdef Py_ssize_t count = PyBytes_GET_SIZE(rows) // <Py_ssize_t> sizeof(Row), at, late = 0
    cdef const Row *row = <const Row *> PyBytes_AS_STRING(rows)
    cdef bytes made = PyBytes_FromStringAndSize(NULL, count * sizeof(double))
    cdef double *running = <double *> PyBytes_AS_STRING(made)
    cdef double furthest = 0.0, where = 0.0
    for at in range(count):
        if row[at].time >= newest:
            newest = row[at].time
        else:
            late += 1
            if newest - row[at].time > furthest:
                furthest, where = newest - row[at].time, newest
        running[at] = newest
    return made, late, furthest, where
