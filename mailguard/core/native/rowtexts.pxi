# The texts of a scan's rows, and what its table says about them. Included by sessions.pyx.

cdef enum:
    MOST_FIELDS = 24


cdef struct Keys:  # where the texts of a row are read
    const unsigned char *at
    const unsigned char *end
    const unsigned char *text  # the latest
    uint16_t length


cdef class Facts:
    """What a rule of a scan's table says about its rows."""

    cdef object full_name, kind
    cdef frozenset proved
    cdef tuple names, uses  # `uses` None: its drafts are joined by Python
    cdef uint16_t number  # in `Gatherer.rules`
    cdef int fields, keys
    cdef bint concerned  # several logs tell of it together
    cdef uint8_t[MOST_FIELDS] name, sure


cdef inline bint next_text(Keys *read) except -1:
    """The next text; False: it is absent."""
    if read.end - read.at < 2:
        raise ValueError("a row without its text")
    memcpy(&read.length, read.at, 2)
    read.at += 2
    if read.length == ROW_ABSENT:
        return False
    if read.end - read.at < read.length:
        raise ValueError("a row without its text")
    read.text = read.at
    read.at += read.length
    return True


cdef inline int skip(Keys *read) except -1:
    next_text(read)
    return 0


cdef inline bytes key_at(Keys *read):
    """The next key of a session; None where the line names none."""
    if not next_text(read) or read.length == 0:
        return None
    return PyBytes_FromStringAndSize(<const char *>read.text, read.length)


cdef dict fields_at(Facts facts, Keys *read):
    cdef dict found = {}
    cdef Py_ssize_t number
    for number in range(facts.fields):
        if next_text(read):
            found[facts.names[number]] = text_in(read)
    return found


cdef inline object text_in(Keys *read):
    """The latest text, as a field has it."""
    if printable(read.text, read.length):
        return PyUnicode_DecodeASCII(<const char *>read.text, read.length, NULL)
    return decode(PyBytes_FromStringAndSize(<const char *>read.text, read.length))


cdef inline bint printable(const unsigned char *text, Py_ssize_t length) noexcept:
    """Nothing but printable ASCII."""
    cdef Py_ssize_t at = 0
    cdef uint64_t word
    while length - at >= 8:
        memcpy(&word, text + at, 8)
        if (
            (word | word - 0x2020202020202020ull & ~word | (word ^ 0x7F7F7F7F7F7F7F7Full) - 0x0101010101010101ull)
            & 0x8080808080808080ull
        ):
            break
        at += 8
    while at < length:
        if not 32 <= text[at] <= 126:
            return False
        at += 1
    return True
