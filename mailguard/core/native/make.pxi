# From a reading of a line to its event or draft; the twin of core/making.py.

cdef class Readable:
    """A pattern for the machine."""

    cdef tuple shapes
    cdef bint covered  # False: the Python matcher is asked
    cdef int source, captures

    cdef take(self, pattern, pool, int source):
        """Translate it; `source` is the capture that must be an address, -1: none."""
        made = shapes(pattern, pool)
        self.covered = made is not None
        self.shapes = tuple([Shape(one) for one in made or ()])
        self.captures = len(pattern.names)
        self.source = source


cdef class Rule(Readable):
    """A rule made ready for the machine: an `Entry` in numbers."""

    cdef object entry, full_name, kind, proved, parser, scope
    cdef tuple keys, before
    cdef bytes _parts
    cdef const int *parts  # of the keys: for each their number, then captures; -1: the process id
    cdef tuple names  # of the fields
    cdef list latest  # their texts on the line before
    cdef bytes _slots
    cdef const int *slots  # their captures
    cdef bint hostile, stateful, silent, guessed, scoped
    cdef bint packable  # its numbers fit into a row
    cdef int attempts, less
    cdef uint16_t number
    cdef uint8_t kind_number
    cdef long weight, minus, count

    def __init__(self, entry, pool):
        rule = entry.rule
        self.entry = entry
        self.full_name, self.kind, self.proved = entry.full_name, entry.kind, entry.proved
        self.parser, self.scope, self.scoped = rule.parser, entry.scope, bool(entry.scopes)
        self.names = tuple([name for _, name in entry.fields])
        self.latest = [""] * len(self.names)
        self._slots = array("i", [at for at, _ in entry.fields]).tobytes()
        self.slots = <const int *> PyBytes_AS_STRING(self._slots)
        self.keys = entry.keys
        parts = array("i")
        for _, key in entry.keys:
            wanted = [part if type(part) is int else -1 for part in key if type(part) is int or part == "pid"]
            parts.extend((len(wanted), *wanted))
        self._parts = parts.tobytes()
        self.parts = <const int *> PyBytes_AS_STRING(self._parts)
        self.hostile, self.stateful, self.guessed = entry.hostile, entry.stateful, entry.guessed
        self.silent = entry.kind == IGNORE and not entry.stateful
        self.attempts, self.less = entry.attempts, entry.less
        self.weight, self.minus = entry.weight, entry.minus
        self.count = 0
        self.packable = (
            0 <= entry.number < 1 << 16 and abs(self.weight) < 1 << 30 and abs(self.minus) < 1 << 30
            and all([len(prefix) < MOST_PREFIX for prefix, _ in entry.keys])
        )
        self.number = entry.number if self.packable else 0
        self.kind_number = KIND_NUMBERS.get(entry.kind, ROW_NO_KIND)
        self.take(rule.pattern, pool, entry.source)
        self.before = ()


cdef bint plain_v6(const unsigned char *text, Py_ssize_t length, uint64_t *high, uint64_t *low) noexcept:
    """`notation._plain_v6`: up to eight groups of one to four hexadecimal digits, with at most one `::`. False:
    another way of writing, IPv4 in IPv6, or no address, which Python tells apart."""
    cdef unsigned int[8] groups
    cdef int count = 0, gap = -1, digits, place
    cdef unsigned int value
    cdef unsigned char one
    cdef Py_ssize_t at = 0
    if not 2 <= length <= 39:
        return False
    if text[0] == 58:  # a colon: the gap at the beginning
        if text[1] != 58:
            return False
        gap, at = 0, 2
    while at < length:
        value, digits = 0, 0
        while at < length and text[at] != 58:
            one = text[at]
            if 48 <= one <= 57:
                one -= 48
            elif 97 <= one <= 102 or 65 <= one <= 70:
                one = (one | 32) - 87
            else:
                return False
            value = value << 4 | one
            digits += 1
            at += 1
        if not 1 <= digits <= 4 or count == 8:
            return False
        groups[count] = value
        count += 1
        if at < length:  # a colon, and something behind it
            at += 1
            if at == length:
                return False
            if text[at] == 58:
                if gap >= 0:
                    return False
                gap = count
                at += 1
    if (count != 8) if gap < 0 else (count > 7):
        return False
    high[0] = low[0] = 0
    for place in range(8):
        if gap < 0 or place < gap:
            value = groups[place]
        elif place < gap + 8 - count:
            value = 0
        else:
            value = groups[place - (8 - count)]
        if place < 4:
            high[0] = high[0] << 16 | value
        else:
            low[0] = low[0] << 16 | value
    return not (high[0] == 0 and low[0] >> 32 == 0xFFFF)


def packed_v6(bytes text):
    """The packed address of such a text, for tests; None: see `plain_v6`."""
    cdef uint64_t high = 0, low = 0
    if not plain_v6(<const unsigned char *> PyBytes_AS_STRING(text), len(text), &high, &low):
        return None
    return V6_ | (<object> high << 64) | <object> low


cdef class Source:
    """The address that a reading captured."""

    cdef object addresses  # text: packed address, for those that are not plain IPv4
    cdef bint there, narrow  # narrow: IPv4, and `low` is all of it
    cdef uint64_t low, rest  # of IPv6 the upper and the lower half
    cdef object wide  # the packed address where it is not narrow

    def __init__(self, addresses):
        self.addresses = addresses
        self.there = False

    cdef inline object packed(self):
        """The packed address; None: there is none."""
        if not self.there:
            return None
        return self.low if self.narrow else self.wide

    cdef bint take(self, const unsigned char *text, Py_ssize_t length) except -1:
        """Pack the address; False: the text is none."""
        cdef unsigned int value = 0, part
        cdef Py_ssize_t at = 0
        cdef int dots = 0, digits
        while 7 <= length <= 15:
            part = 0
            digits = 0
            while at < length and digit(text[at]) and digits < 3:
                part = 10 * part + text[at] - 48
                digits += 1
                at += 1
            if digits == 0 or part > 255 or (digits > 1 and text[at - digits] == 48):
                break
            value = value << 8 | part
            if at == length:
                if dots != 3:
                    break
                self.low, self.narrow, self.there = value, True, True
                return True
            if text[at] != 46 or dots == 3:
                break
            dots += 1
            at += 1
        if plain_v6(text, length, &self.low, &self.rest):
            self.narrow, self.there = False, True
            self.wide = V6_ | (<object>self.low << 64) | <object>self.rest
            return True
        found = self.addresses[PyBytes_FromStringAndSize(<const char *> text, length)]
        self.there = found is not None
        if self.there:
            self.narrow = found < V6_
            self.wide = found
            self.low = found if self.narrow else found >> 64 & 0xFFFFFFFFFFFFFFFF
            self.rest = 0 if self.narrow else found & 0xFFFFFFFFFFFFFFFF
        return self.there


cdef bint reads(Readable rule, Reading *on, Source source) except -1:
    """Whether the rule takes the message; the twin of `Pattern.match`. `source` then holds its source."""
    cdef Shape shape
    cdef Py_ssize_t length
    cdef int at = rule.source, number
    for shape in rule.shapes:
        for number in range(rule.captures):
            on.begins[number] = -1
        if shape.kind != REPEATED:
            if fits(on, shape) and (
                at < 0 or on.begins[at] < 0 or source.take(on.data + on.begins[at], on.ends[at] - on.begins[at])
            ):
                if at < 0 or on.begins[at] < 0:
                    source.there = False
                return True
            continue
        length = fits_repeated(on, shape, -1)
        while length >= 0:
            if at < 0 or on.begins[at] < 0:
                source.there = False
                return True
            if source.take(on.data + on.begins[at], on.ends[at] - on.begins[at]):
                return True
            length = fits_repeated(on, shape, length + 2)
    return False


cdef class Matcher(Readable):
    """One pattern alone, for tests and measurements: the twin of `Pattern.match` for whole lines."""

    cdef bytes _planes, _texts, _choices
    cdef Source address

    def __init__(self, pattern, addresses):
        """Raises ValueError for a pattern that the machine does not cover."""
        pool = Pool()
        self.take(pattern, pool, pattern.names.index("source") if "source" in pattern.names else -1)
        if not self.covered:
            raise ValueError(f"not covered: {pattern.text}")
        self._planes, self._texts, self._choices = bytes(pool.planes), bytes(pool.texts), pool.choices.tobytes()
        self.address = Source(addresses)

    def match(self, bytes data, Py_ssize_t start, Py_ssize_t end):
        """The captured bytes, None for an absent part; None when data[start:end] does not fit."""
        cdef Reading on
        if not 0 <= start <= end <= PyBytes_GET_SIZE(data):
            raise ValueError("a message outside its data")
        on.data = <const unsigned char *> PyBytes_AS_STRING(data)
        on.start, on.end = start, end
        on.planes = <const unsigned char *> PyBytes_AS_STRING(self._planes)
        on.texts = <const unsigned char *> PyBytes_AS_STRING(self._texts)
        on.choices = <const int *> PyBytes_AS_STRING(self._choices)
        if not reads(self, &on, self.address):
            return None
        return tuple([data[on.begins[at] : on.ends[at]] if on.begins[at] >= 0 else None
                      for at in range(self.captures)])


cdef inline bytes text_bytes(const unsigned char *text, Py_ssize_t length):
    return PyBytes_FromStringAndSize(<const char *> text, length)


cdef object text_of(const unsigned char *data, Py_ssize_t length, object latest):
    """A captured field as text; see `rules.decode`. `latest`: the text that it may well be again."""
    cdef Py_ssize_t at
    if (
        PyUnicode_IS_COMPACT_ASCII(latest)
        and PyUnicode_GET_LENGTH(latest) == length
        and memcmp(PyUnicode_DATA(latest), data, length) == 0
    ):
        return latest
    for at in range(length):
        if not 32 <= data[at] <= 126:
            return decode(PyBytes_FromStringAndSize(<const char *> data, length))
    return PyUnicode_DecodeASCII(<const char *> data, length, NULL)


cdef long number_of(Reading *on, int capture) noexcept:
    """A captured count, bounded; 0 when the slot was absent. See `making.number`."""
    cdef Py_ssize_t at = on.begins[capture], end = on.ends[capture]
    cdef long value = 0
    cdef int digits = 0
    if at < 0 or at >= end:
        return 0
    while at < end:
        if not digit(on.data[at]):
            return 0
        if digits < 9:
            value = 10 * value + on.data[at] - 48
            digits += 1
        at += 1
    return value if value < MOST_ATTEMPTS else MOST_ATTEMPTS


cdef inline void put(object row, Py_ssize_t at, object value):
    """Fill a place of a new tuple."""
    Py_INCREF(value)
    PyTuple_SET_ITEM(row, at, value)


cdef inline object new_row(type kind, Py_ssize_t length):
    """A named tuple whose places are all to be filled at once, not tracked by the collector of cycles: what an
    event or a draft holds (text, numbers, bytes, a dictionary and a set of text) can never lead back to it, and
    looking through thousands of them again and again would cost more than making them."""
    cdef object row = PyType_GenericAlloc(kind, length)
    PyObject_GC_UnTrack(<void *> row)
    return row


cdef inline tuple keys_of(Rule rule, Reading *on, bytes host, long long pid):
    """The keys of a line's sessions; see `making.keys`."""
    cdef tuple found
    if PyTuple_GET_SIZE(rule.keys) == 1:
        found = (key_of(<tuple> rule.keys[0], on, host, pid),)
    else:
        found = tuple([key_of(<tuple> one, on, host, pid) for one in rule.keys])
    PyObject_GC_UnTrack(<void *> found)
    return found


cdef bytes key_of(tuple declared, Reading *on, bytes host, long long pid):
    """One key of a session: host, declaration, values; b"" where a slot of it is absent. See `making.keys`."""
    cdef bytes prefix = <bytes> declared[0], key
    cdef tuple parts = <tuple> declared[1]
    cdef Py_ssize_t length = PyBytes_GET_SIZE(host) + PyBytes_GET_SIZE(prefix)
    cdef char digits[24]
    cdef int count = 0, at
    cdef char *out
    for part in parts:
        if type(part) is int:
            at = part
            if on.begins[at] < 0:
                return b""
            length += 1 + on.ends[at] - on.begins[at]
        elif part == "pid":
            if count == 0:
                while True:
                    count += 1
                    digits[24 - count] = 48 + pid % 10
                    pid //= 10
                    if pid == 0:
                        break
            length += 1 + count
    key = PyBytes_FromStringAndSize(NULL, length)
    out = PyBytes_AS_STRING(key)
    memcpy(out, PyBytes_AS_STRING(host), PyBytes_GET_SIZE(host))
    out += PyBytes_GET_SIZE(host)
    memcpy(out, PyBytes_AS_STRING(prefix), PyBytes_GET_SIZE(prefix))
    out += PyBytes_GET_SIZE(prefix)
    for part in parts:
        if type(part) is int:
            at = part
            out[0] = 0
            memcpy(out + 1, on.data + on.begins[at], on.ends[at] - on.begins[at])
            out += 1 + on.ends[at] - on.begins[at]
        elif part == "pid":
            out[0] = 0
            memcpy(out + 1, digits + 24 - count, count)
            out += 1 + count
    return key
