# The event in hand: an object, or a row of a `Told`. Included by engine.pyx.

cdef class Happening:
    """The event in hand, and what is worked out about it once and only when it is asked for."""

    cdef object event_  # None: a row, of which no event was made yet
    cdef object told  # where the row stands, at `place`
    cdef Py_ssize_t place
    cdef const Heard *heard  # NULL: it is no row
    cdef const uint8_t *texts
    cdef Route route
    cdef Who who
    cdef Hashing hashing
    cdef bint sourced, may_ban
    cdef object scope
    cdef dict fields  # these two only of an object
    cdef object proved
    cdef Record record
    cdef str name  # of the user; of an object
    cdef Text text  # the same; of a row
    cdef uint64_t name_  # its hash; 0: not worked out yet
    cdef uint8_t user_looked  # 0: not yet, 1: there is one, 2: none

    def __init__(self, Hashing hashing):
        self.hashing = hashing
        self.who = Who()
        self.heard = NULL

    cdef object event(self):
        """The event itself."""
        if self.event_ is None:
            self.event_ = self.told.event(self.place)
        return self.event_

    cdef object field(self, object name):
        """A field's text, None where it is empty or missing; of an object."""
        cdef PyObject *found = PyDict_GetItemWithError(self.fields, name)
        return None if found == NULL or not <object>found else <str?><object>found

    cdef bint has_user(self) except *:
        """The event has a proved name of a user."""
        cdef bint there
        if self.user_looked == 0:
            self.name_ = 0
            if self.heard != NULL:
                there = (
                    field_of(self.heard, self.texts, USER_FIELD, &self.text)
                    and self.text.length > 0 and self.text.proved
                )
            else:
                self.name = self.field("user")
                there = self.name is not None and "user" in self.proved
            self.user_looked = 1 if there else 2
        return self.user_looked == 1

    cdef inline uint64_t user(self) except? 0:
        """The name's hash; only where `has_user`, as the next two."""
        if self.name_ == 0:
            if self.heard != NULL:
                self.name_ = self.hashing.at(self.text.at, self.text.length)
            else:
                self.name_ = self.hashing.of(self.name)
        return self.name_

    cdef uint64_t alias(self) except? 0:
        """The hash of `earning.alias`; 0: it is the name itself."""
        cdef Py_ssize_t before
        if self.heard != NULL:
            before = self.before()
            return 0 if before < 0 else self.hashing.at(self.text.at, before + 1)
        return self.hashing.of(self.name.partition("@")[0] + "@") if "@" in self.name else 0

    cdef uint64_t short(self) except? 0:
        """The hash of `earning.short_name`."""
        cdef Py_ssize_t before
        cdef uint8_t[LONGEST + 1] longer
        if self.heard != NULL:
            before = self.before()
            if before >= 0:
                return self.hashing.at(self.text.at, before)
            if self.text.length <= LONGEST:
                memcpy(longer, self.text.at, self.text.length)
                longer[self.text.length] = 64
                return self.hashing.at(longer, self.text.length + 1)
            return self.hashing.of(str_of(self.text.at, self.text.length) + "@")
        return self.hashing.of(self.name.partition("@")[0] if "@" in self.name else self.name + "@")

    cdef inline Py_ssize_t before(self) noexcept:
        """How much of a row's name stands before the first @; -1: there is none."""
        cdef const uint8_t *found = <const uint8_t *>memchr(self.text.at, 64, self.text.length)
        return -1 if found == NULL else found - self.text.at

    cdef uint64_t value(self) except? 0:
        """The hash of the field that a record by source carries; 0: none."""
        cdef object text
        cdef Text found
        if self.heard != NULL:
            if self.route.value_number == NO_FIELD:
                return 0
            if not field_of(self.heard, self.texts, self.route.value_number, &found) or found.length == 0:
                return 0
            if self.user_looked == 1 and found.at == self.text.at:
                return self.user()
            return self.hashing.at(found.at, found.length)
        if self.route.value_field is None:
            return 0
        text = self.field(self.route.value_field)
        return 0 if text is None else self.hashing.of(text)

    cdef uint32_t pair(self) except? 0:
        """Part of the hash of sender and recipient; 0: neither is known."""
        cdef object sender, recipient
        cdef Text first, second
        cdef uint8_t[2 * LONGEST + 1] both
        if self.heard != NULL:
            first.at = second.at = self.texts
            first.length = second.length = 0
            field_of(self.heard, self.texts, SENDER, &first)
            field_of(self.heard, self.texts, RECIPIENT, &second)
            if not first.length and not second.length:
                return 0
            if first.length <= LONGEST and second.length <= LONGEST:
                memcpy(both, first.at, first.length)
                both[first.length] = 0
                memcpy(both + first.length + 1, second.at, second.length)
                return <uint32_t>self.hashing.once(both, first.length + 1 + second.length)
            return <uint32_t>self.hashing.of(
                str_of(first.at, first.length) + "\0" + str_of(second.at, second.length)
            )
        sender, recipient = self.field("sender"), self.field("recipient")
        if sender is None and recipient is None:
            return 0
        return <uint32_t>self.hashing.of(f"{sender or ''}\0{recipient or ''}")

    cdef uint64_t key(self, uint8_t number, bint domain) except? 0:
        """The hash of a row's field that keys something, `domain`: of what stands behind its last @; 0: it has none
        that is proved."""
        cdef Text found
        cdef Py_ssize_t at
        if not field_of(self.heard, self.texts, number, &found) or found.length == 0 or not found.proved:
            return 0
        if domain:
            at = found.length
            while at > 0 and found.at[at - 1] != 64:
                at -= 1
            found.at += at
            found.length -= at
            if found.length == 0:
                return 0
        return self.hashing.at(found.at, found.length)

    cdef bint holds(self, tuple unless) except *:
        """The event has all these field values, proved."""
        cdef PyObject *found
        for name, value in unless:
            found = PyDict_GetItemWithError(self.fields, name)
            if found == NULL or <object>found != value or name not in self.proved:
                return False
        return True

    cdef bint shows(self, tuple unless) except *:
        """The same of a row; `unless`: numbers of fields, and their values as bytes."""
        cdef Text found
        cdef bytes value
        for number, value in unless:
            if (
                not field_of(self.heard, self.texts, number, &found)
                or not found.proved
                or found.length != len(value)
                or memcmp(found.at, PyBytes_AS_STRING(value), found.length) != 0
            ):
                return False
        return True


cdef inline str str_of(const uint8_t *text, Py_ssize_t length):
    """A field of a row as text."""
    return PyUnicode_DecodeUTF8(<const char *>text, length, "surrogatepass")
