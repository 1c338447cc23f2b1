# A line that a rule took as an event or draft; the twin of `Maker.make`.

@cython.final
cdef class Origin:
    """Where lines come from: what those of a block, or entries handed in together, share."""

    cdef object log, may_ban
    cdef object family_log  # the log that ...
    cdef bytes _family  # ... this is the family of
    cdef bytes host  # of the line before

    def __init__(self):
        self.host = self._family = b""

    cdef bytes family(self):
        """What stands for the host where a line names none; see `items.family`."""
        if self.family_log is not self.log:
            self._family, self.family_log = family(self.log), self.log
        return self._family

    cdef bytes host_of(self, Prefix *prefix):
        """The host that a line names, nearly always that of the line before; the log's family where it names
        none."""
        cdef Py_ssize_t length = prefix.host_length
        if length == 0:
            return self.family()
        if PyBytes_GET_SIZE(self.host) != length or memcmp(PyBytes_AS_STRING(self.host), prefix.host, length) != 0:
            self.host = text_bytes(prefix.host, length)
        return self.host


@cython.final
cdef class Maker:
    """Makes the events and drafts of lines."""

    cdef bint keep_lines  # a hostile event carries its line
    cdef double time  # of the line before ...
    cdef object moment  # ... as an object

    def __init__(self, bint keep_lines):
        self.keep_lines = keep_lines

    cdef object make(self, Rule rule, long weight, Source source, scope, Origin origin, const unsigned char *text,
                     Py_ssize_t begin, Py_ssize_t stop, int64_t position, Prefix *prefix, Reading *on):
        """The event or draft of the line text[begin:stop], which `rule` took; `source` None: it names none."""
        cdef int at
        cdef Py_ssize_t number
        cdef object event, value
        cdef dict fields = {}
        for number in range(PyTuple_GET_SIZE(rule.names)):
            at = rule.slots[number]
            if on.begins[at] >= 0:
                value = text_of(on.data + on.begins[at], on.ends[at] - on.begins[at], rule.latest[number])
                rule.latest[number] = value
                fields[rule.names[number]] = value
        if prefix.time != self.time or self.moment is None:
            self.time = prefix.time
            self.moment = prefix.time
        event = new_row(_Event, 12)
        put(event, 0, rule.kind)
        put(event, 1, self.moment)
        put(event, 2, None if source is None else source.packed())
        put(event, 3, rule.full_name)
        put(event, 4, weight)
        put(event, 5, fields)
        put(event, 6, origin.log)
        put(event, 7, position)
        put(event, 8, scope)
        put(event, 9, False if rule.guessed else origin.may_ban)
        put(event, 10, rule.proved)
        put(event, 11, text_bytes(text + begin, stop - begin) if self.keep_lines and rule.hostile else b"")
        if rule.stateful:
            event = new_draft(event, keys_of(rule, on, origin.host_of(prefix), prefix.pid))
        return event
